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

from coopnets_tf import CoopNets, Descriptor, Generator, Langevin


@pytest.fixture(scope="session", autouse=True)
def keras_home():
    """Takes away the cache of the tests at their end."""
    yield
    shutil.rmtree(os.environ["KERAS_HOME"], ignore_errors=True)


def make_model(
    *,
    num_steps=3,
    inference_steps=0,
    num_noise_steps=None,
    run_seed=0,
    unroll=True,
    num_chains=5,
    limits=None,
    max_gradient=None,
    penalty=0.0,
    latent_size=6,
):
    """A small cooperative model on 8x8 images, compiled."""
    keras.utils.set_random_seed(11)
    descriptor = Descriptor(
        "digits",
        (8, 8, 1),
        revision=Langevin(num_steps, 0.05, unroll, max_gradient),
        reference_stddev=0.3,
        num_outputs=7,
        penalty=penalty,
    )
    generator = Generator(
        "digits",
        (8, 8, 1),
        inference=Langevin(inference_steps, 0.1, unroll),
        residual_stddev=0.4,
        latent_size=latent_size,
    )
    model = CoopNets(
        descriptor,
        generator,
        num_chains=num_chains,
        num_noise_steps=num_noise_steps,
        run_seed=run_seed,
        limits=limits,
    )
    model.compile(
        keras.optimizers.Adam(0.003, beta_1=0.5, epsilon=1e-8),
        keras.optimizers.Adam(0.001, beta_1=0.5, epsilon=1e-8),
    )
    return model


@pytest.fixture
def model():
    return make_model()


@pytest.fixture
def observed():
    """Eight images of the toy size, in [-1, 1]."""
    return np.random.default_rng(5).uniform(-1, 1, (8, 8, 8, 1)).astype(np.float32)
