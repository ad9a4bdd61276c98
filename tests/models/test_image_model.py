"""What trained nets can do: integers that make no sense are refused in a sentence."""

import numpy as np
import pytest

from coopnets_tf.errors import UserError
from coopnets_tf.models import image_model
from tests.helpers import (
    make_descriptor_model,
    make_generator_model,
    make_model,
    noise,
)

IMAGES = noise(2, 8, 8, 1)
SEED = np.array([0, 0], np.int32)


@pytest.fixture(scope="module")
def model():
    return make_model(inference_steps=1)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda model: model.sample(0),
            "`num_images` must be a whole number of 1 or more. Received: 0.",
        ),
        (lambda model: model.sample(-1), "`num_images` .*Received: -1."),
        (
            lambda model: model.sample(2.5),
            "a whole number of 1 or more. Received: 2.5.",
        ),
        (lambda model: model.sample("3"), "a whole number of 1 or more. Received: 3."),
        (
            lambda model: model.sample(1, seed=-1),
            "`seed` must be a whole number of 0 or more.",
        ),
        (
            lambda model: model.sample(1, num_steps=-1),
            "`num_steps` must be a whole number of 0 or more",
        ),
        (lambda model: model.sample_batches(0), "`num_images`"),
        (lambda model: model.sample_batches(2, batch_size=0), "`batch_size`"),
        (lambda model: model.shown(0, seed=SEED), "`num_images`"),
        (lambda model: model.revise(IMAGES, num_steps=-1), "`num_steps`"),
        (lambda model: model.revise(IMAGES, seed=-1), "`seed`"),
        (lambda model: model.infer(IMAGES, num_steps=-1), "`num_steps`"),
        (lambda model: model.infer(IMAGES, num_steps=1, draw=-1), "`draw`"),
        (lambda model: model.reconstruct(IMAGES, num_steps=-2), "`num_steps`"),
        (
            lambda model: recover(model, num_draws=0),
            "`num_draws` must be a whole number of 1 or more.",
        ),
        (lambda model: recover(model, infer_steps=-1), "`infer_steps`"),
        (lambda model: recover(model, revise_steps=-1), "`revise_steps`"),
    ],
)
def test_integers_that_make_no_sense_are_refused(model, call, text):
    with pytest.raises(UserError, match=text):
        call(model)


def recover(model, **options):
    options = {"infer_steps": 1, **options}
    return model.recover(IMAGES, np.ones_like(IMAGES), **options)


def test_so_they_are_of_one_net():
    for model in (make_descriptor_model(), make_generator_model()):
        with pytest.raises(UserError, match="`num_images`"):
            model.shown(0, seed=SEED)
    with pytest.raises(UserError, match="`num_steps` must be 0 without a descriptor"):
        model.sample(1, num_steps=1)


# Images of another size.


@pytest.mark.parametrize("make", [make_model, make_descriptor_model])
def test_nets_for_any_size_make_images_of_another_one(make):
    options = {} if make is make_model else {"chain_init": "noise"}
    model = make(network="weave", **options)
    model.step.assign(3)
    large = model.of_size(image_size=(16, 8))
    assert large.image_shape == (16, 8, 1) and int(large.step) == 3
    images = large.sample(2, seed=0)
    assert images.shape == (2, 16, 8, 1)
    # Weights and statistics are the model's, which gives these images their energy.
    np.testing.assert_allclose(
        large.energy(images), model.energy(images), rtol=1e-6, atol=1e-6
    )
    if model.generator:
        latents = noise(2, 4, 2, 6)
        np.testing.assert_allclose(
            large.generate(latents), model.generate(latents), rtol=1e-6
        )
        other = model.of_size(latent_size=(4, 2))
        np.testing.assert_array_equal(other.sample(2, seed=0), images)
        same = model.of_size(latent_size=(2, 2, 6)).sample(2, seed=0)
        np.testing.assert_allclose(same, model.sample(2, seed=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("network", "size", "message"),
    [
        ("toy", {"image_size": (16, 16)}, "is for images of 8x8 alone"),
        (
            "weave",
            {"image_size": (16, 9)},
            "must have 2 sides, multiples of 4. Received: 16x9. Take 16x8.",
        ),
        ("weave", {"image_size": (16,)}, "must have 2 sides"),
        (
            "weave",
            {"latent_size": (4, 4, 5)},
            "a map of 2 sides such as 14x14, of 6 at each place. Received: 4x4x5.",
        ),
        ("weave", {"latent_size": (4,)}, "a map of 2 sides"),
    ],
)
def test_other_sizes_are_refused(network, size, message):
    with pytest.raises(UserError, match=message):
        make_model(network=network).of_size(**size)


def test_a_map_of_latents_needs_a_generator():
    model = make_descriptor_model(network="weave", chain_init="noise")
    with pytest.raises(UserError, match="Give `image_size`"):
        model.of_size(latent_size=(4, 4))


def test_large_images_pass_through_the_nets_a_few_at_a_time(model, monkeypatch):
    assert model.num_at_once == 100
    small = model.sample(7, seed=1), model.generate(np.ones((7, 6), np.float32))
    monkeypatch.setattr(image_model, "MOST_AT_ONCE", 3 * 64)
    assert [len(batch) for batch in model.sample_batches(7)] == [3, 3, 1]
    large = model.sample(7, seed=1), model.generate(np.ones((7, 6), np.float32))
    for one, other in zip(small, large, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    monkeypatch.setattr(image_model, "MOST_AT_ONCE", 1)
    assert model.num_at_once == 1
