"""Copies of training images are found, whatever the blocks; as loops in float64 do."""

import numpy as np
import pytest

from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.evaluation import memorisation
from coopnets_tf.evaluation.memorisation import Nearest

SHAPE = 5, 4, 3


def pixels(number, *, seed):
    return np.random.default_rng(seed).integers(0, 256, (number, *SHAPE), np.uint8)


@pytest.fixture
def training():
    return ImageDataset("training", pixels(70, seed=0))


@pytest.mark.parametrize("block", [2**24, 60 * 7, 1])
def test_the_nearest_are_those_of_a_loop(training, monkeypatch, block):
    monkeypatch.setattr(memorisation, "BLOCK", block)
    queries = ImageDataset("samples", pixels(9, seed=1))[:]
    found = memorisation.nearest(queries, training)
    for index, query in enumerate(queries.astype(np.float64)):
        distances = [
            np.sqrt(np.mean((query - image) ** 2))
            for image in training[:].astype(np.float64)
        ]
        assert found.numbers[index] == np.argmin(distances)
        np.testing.assert_allclose(found.distances[index], min(distances), 1e-6)
        expected = min(distances) / np.mean(sorted(distances)[: memorisation.NUM_NEXT])
        np.testing.assert_allclose(found.relative[index], expected, rtol=1e-5)


def test_a_copy_is_at_no_distance_at_all(training):
    found = memorisation.nearest(training[:], training)
    np.testing.assert_array_equal(found.numbers, np.arange(70))
    assert not found.distances.any() and not found.relative.any()


def test_many_copies_of_one_image_are_copies():
    same = ImageDataset("same", np.full((60, *SHAPE), 7, np.uint8))
    found = memorisation.nearest(same[:2], same)
    assert not found.distances.any() and not found.relative.any()


def test_noisy_copies_are_near_and_flat_images_are_not(training):
    """A flat image is at a smaller distance, but from all."""
    real = memorisation.nearest(ImageDataset("", pixels(200, seed=1))[:], training)
    noise = np.random.default_rng(2).normal(0, 0.4, (70, *SHAPE)).astype(np.float32)
    copies = memorisation.nearest(training[:] + noise, training)
    flat = memorisation.nearest(np.zeros((3, *SHAPE), np.float32), training)
    assert memorisation.scores(copies, real)["share_near"] > 0.95
    found = memorisation.scores(flat, real)
    assert found["share_near"] == 0
    assert found["nearest"] < real.distances.min()


def test_scores():
    def at(distances, relative):
        numbers = np.zeros(len(distances), int)
        return Nearest(numbers, np.array(distances), np.array(relative))

    real = at(np.linspace(1, 2, 21), np.linspace(0.5, 0.9, 21))
    found = at([1.0, 2.0, 6.0, 3.0], [0.51, 0.52, 0.53, 0.7])
    # 5 % of 21 values: the second one, and what equals it is not below.
    assert memorisation.scores(found, real) == pytest.approx(
        {"nearest": 3, "nearest_of_real": 1.5, "near": 0.52, "share_near": 0.25}
    )


def test_sets_are_compared_by_their_first_images(training, monkeypatch):
    monkeypatch.setattr(memorisation, "NUM_COMPARED", 20)
    reference = ImageDataset("real", pixels(30, seed=1))
    copies = np.concatenate([training.part(slice(3, 13))._pixels[3:13]] * 2)
    mixed = np.concatenate([copies[:10], pixels(20, seed=2)])
    sets = {"new": reference, "mixed": ImageDataset("mixed", mixed)}
    found, picture = memorisation.check(sets, reference, training, shown="mixed")
    assert found["new"]["nearest"] == found["new"]["nearest_of_real"]
    assert found["new"]["share_near"] == 1 / 20
    assert 0.5 <= found["mixed"]["share_near"] < 0.7
    expected = memorisation.nearest(reference[:20], training).distances.mean()
    assert found["mixed"]["nearest_of_real"] == pytest.approx(expected)
    assert picture.dtype == np.uint8 and picture.shape[-1] == 3


def test_the_picture_begins_with_the_copies(training, monkeypatch):
    shown = {}
    monkeypatch.setattr(memorisation.drawing, "compared", shown.update)
    mixed = np.concatenate([pixels(40, seed=3), training._pixels[[8, 5]]])
    sets = {"mixed": ImageDataset("mixed", mixed)}
    memorisation.check(sets, sets["mixed"], training, shown="mixed")
    assert len(shown["sample"]) == memorisation.NUM_SHOWN
    np.testing.assert_array_equal(shown["nearest"][:2], training[[8, 5]])
    np.testing.assert_array_equal(shown["sample"][:2], training[[8, 5]])
