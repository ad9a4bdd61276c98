"""What D2 may see changed, against images moved by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import Descriptor, augmentation, seeds
from coopnets_tf.seeds import Purpose
from flags.definitions import networks as definitions
from tests import helpers
from tests.helpers import descriptor_of, make_descriptor, make_model, noise

SEED = tf.constant([3, 4])


def moved(image, rows, columns):
    """An image moved down and to the right, its borders repeated."""
    wide = np.pad(image, [(4, 4), (4, 4), (0, 0)], mode="edge")
    height, width = image.shape[:2]
    return wide[4 - rows :, 4 - columns :][:height, :width]


def test_half_of_the_images_are_mirrored():
    images = noise(1_000, 4, 6, 2)
    found = augmentation.flipped(images, seed=SEED).numpy()
    mirrored = np.all(found == images[:, :, ::-1], axis=(1, 2, 3))
    kept = np.all(found == images, axis=(1, 2, 3))
    assert np.all(mirrored ^ kept)
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / np.sqrt(1_000)  # standard errors


def test_images_are_shifted_by_all_distances_alike():
    images = noise(1_800, 8, 17, 2)  # by at most 1 row and 2 columns
    found = augmentation.shifted(images, seed=SEED).numpy()
    counts = np.zeros((3, 5), int)
    for image, other in zip(images, found, strict=True):
        (place,) = (
            (rows + 1, columns + 2)
            for rows in (-1, 0, 1)
            for columns in (-2, -1, 0, 1, 2)
            if np.array_equal(other, moved(image, rows, columns))
        )
        counts[place] += 1
    # Each of 15 is expected 120 times, with a standard deviation of 10.6.
    assert np.abs(counts - 120).max() < 5 * 10.6


def test_small_sides_are_not_shifted():
    images = noise(3, 4, 7, 1)
    np.testing.assert_array_equal(augmentation.shifted(images, seed=SEED), images)


@pytest.mark.parametrize("name", augmentation.WAYS)
def test_frames_of_a_clip_are_changed_alike(name):
    clips = np.repeat(noise(20, 1, 8, 8, 1), 3, axis=1)
    found = augmentation.WAYS[name](clips, seed=SEED).numpy()
    assert np.any(found != clips)
    np.testing.assert_array_equal(found, np.repeat(found[:, :1], 3, axis=1))


@pytest.mark.parametrize("name", augmentation.WAYS)
def test_an_image_is_changed_by_its_own_draw(name):
    one = augmentation.WAYS[name](noise(6, 8, 8, 1), seed=SEED)
    few = augmentation.WAYS[name](noise(6, 8, 8, 1)[:2], seed=SEED)
    np.testing.assert_array_equal(one[:2], few)


def test_d2_learns_from_both_sides_changed():
    observed, revised = np.split(noise(13, 8, 8, 1), [6])
    nets = [make_descriptor(augment=ways) for ways in ((), ("flip", "shift"))]
    for net in nets:
        net.compile(helpers.adam(0.003))
    sides = []
    for side, images in enumerate((observed, revised)):
        own = seeds.fold_in(SEED, side)
        flipped = augmentation.flipped(images, seed=seeds.fold_in(own, 0))
        sides.append(augmentation.shifted(flipped, seed=seeds.fold_in(own, 1)))
    assert nets[0].update(*sides) == nets[1].update(observed, revised, seed=SEED)
    weights = zip(*(net.get_weights() for net in nets), strict=True)
    for one, other in weights:
        np.testing.assert_array_equal(one, other)


def test_a_step_changes_images_by_a_draw_of_its_own(monkeypatch):
    given = []
    update = Descriptor.update

    def watched(self, observed, revised, *, seed):
        given.append(seed.numpy())
        return update(self, observed, revised, seed=seed)

    monkeypatch.setattr(Descriptor, "update", watched)
    model = make_model(augment=("shift",))
    for _ in range(2):
        model.train_step({"images": tf.constant(noise(6, 8, 8, 1))})
    expected = [
        seeds.draw_seed(model.run_seed, step=step, purpose=Purpose.AUGMENTATION)
        for step in range(2)
    ]
    np.testing.assert_array_equal(given, expected)


def test_it_is_kept_and_loaded():
    net = make_descriptor(augment=["flip"])
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(net)
    )
    assert again.augment == net.augment == ("flip",)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="flip, shift. Received: turn"):
        make_descriptor(augment=("turn", "flip"))
    net = make_descriptor(augment=("flip",))
    with pytest.raises(ValueError, match="height, width and channels.*shape .6."):
        dense = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
        descriptor_of(dense, augment=("flip",))
    with pytest.raises(ValueError, match="needs the `seed`"):
        net.update(noise(2, 8, 8, 1), noise(2, 8, 8, 1))


def test_flags_have_the_same_names():
    assert definitions.AUGMENTATIONS == tuple(augmentation.WAYS)
