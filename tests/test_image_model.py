"""What trained nets can do: integers that make no sense are refused in a sentence."""

import numpy as np
import pytest

from coopnets_tf.errors import UserError
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
