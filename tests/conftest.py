"""Toy models and data shared by the tests."""

import os
import shutil
import tempfile

os.environ["KERAS_HOME"] = tempfile.mkdtemp()  # the user's own cache stays as it is
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import pytest

from coopnets_tf import (
    AlgorithmD,
    AlgorithmG,
    CoopNets,
    Descriptor,
    Generator,
    Langevin,
)


@pytest.fixture(scope="session", autouse=True)
def keras_home():
    """Takes away the cache of the tests at their end."""
    yield
    shutil.rmtree(os.environ["KERAS_HOME"], ignore_errors=True)


def make_descriptor(
    *,
    num_steps=3,
    unroll=True,
    max_gradient=None,
    gradient_weight=None,
    reference_stddev=0.3,
    penalty=0.0,
):
    keras.utils.set_random_seed(11)
    return Descriptor(
        "digits",
        (8, 8, 1),
        revision=Langevin(num_steps, 0.05, unroll, max_gradient, gradient_weight),
        reference_stddev=reference_stddev,
        num_outputs=7,
        penalty=penalty,
    )


def make_generator(*, inference_steps=0, unroll=True, latent_size=6):
    return Generator(
        "digits",
        (8, 8, 1),
        inference=Langevin(inference_steps, 0.1, unroll),
        residual_stddev=0.4,
        latent_size=latent_size,
    )


def adam(rate):
    return keras.optimizers.Adam(rate, beta_1=0.5, epsilon=1e-8)


def make_model(
    *,
    inference_steps=0,
    latent_size=6,
    unroll=True,
    num_chains=5,
    num_noise_steps=None,
    num_inference_noise_steps=None,
    run_seed=0,
    limits=None,
    **descriptor,
):
    """A small cooperative model on 8x8 images, compiled."""
    model = CoopNets(
        make_descriptor(unroll=unroll, **descriptor),
        make_generator(
            inference_steps=inference_steps, unroll=unroll, latent_size=latent_size
        ),
        num_chains=num_chains,
        num_noise_steps=num_noise_steps,
        num_inference_noise_steps=num_inference_noise_steps,
        run_seed=run_seed,
        limits=limits,
    )
    model.compile(adam(0.003), adam(0.001))
    return model


def make_descriptor_model(
    *, num_chains=5, chain_init="persistent", num_persistent_chains=12, **options
):
    """A small descriptor that learns alone, compiled."""
    own = ("refresh_probability", "run_seed", "limits")
    own = {name: options.pop(name) for name in own if name in options}
    model = AlgorithmD(
        make_descriptor(**options),
        num_chains=num_chains,
        chain_init=chain_init,
        num_persistent_chains=num_persistent_chains,
        **own,
    )
    model.compile(adam(0.003))
    return model


def make_generator_model(*, num_images=10, inference_steps=2, run_seed=0, **options):
    """A small generator that learns alone, compiled."""
    keras.utils.set_random_seed(11)
    model = AlgorithmG(
        make_generator(inference_steps=inference_steps, **options),
        num_images=num_images,
        run_seed=run_seed,
    )
    model.compile(generator_optimizer=adam(0.001))
    return model


@pytest.fixture
def model():
    return make_model()


@pytest.fixture
def observed():
    """Eight images of the toy size, in [-1, 1]."""
    return np.random.default_rng(5).uniform(-1, 1, (8, 8, 8, 1)).astype(np.float32)
