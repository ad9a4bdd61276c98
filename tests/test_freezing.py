"""Frozen generators: exact statistics of batch norm, averaged weights, and back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import frozen
from coopnets_tf.freezing import freeze
from coopnets_tf.networks import built_in
from coopnets_tf.networks.layers import BatchNorm
from tests.helpers import generator_of, layers, spread
from tests.networks.normed import (
    SEED,
    assert_frozen_as_numpy,
    functional,
    keras_own,
    prior,
    randomise,
    rows,
)


def digits():
    return spread(generator_of(built_in.generator("digits", (8, 8, 1), (6,))))


def test_exact_statistics_are_those_of_the_prior():
    """The first map is linear in X ~ N(0, I): mean = bias, variance = sum kernel^2,
    averaged over its 4x4 places. 20,000 latents leave 5 s.e. of a variance: 5 %.
    """
    inputs = keras.Input((6,))
    first = keras.layers.Dense(4 * 4 * 8, name="first")
    maps = keras.layers.Reshape((4, 4, 8))(first(inputs))
    norm = BatchNorm()
    net = generator_of(keras.Model(inputs, norm(maps)))
    rng = np.random.default_rng(0)
    first.kernel.assign(0.1 * rng.standard_normal(first.kernel.shape))
    biases = np.linspace(-1, 1, 8)
    first.bias.assign(np.tile(biases, 16))
    variance = np.square(first.kernel).sum(axis=0).reshape(16, 8).mean(axis=0)
    with frozen(net, seed=SEED, num_latents=20_000, batch_size=2_000):
        np.testing.assert_allclose(norm.moving_variance, variance, rtol=0.05)
        np.testing.assert_allclose(
            norm.moving_mean, biases, atol=5 * np.sqrt(1 / 20_000)
        )


def test_exact_statistics_normalise_every_layer():
    net = digits()
    with frozen(net, seed=SEED, num_latents=4_000, batch_size=1_000):
        maps = tf.random.stateless_normal([4_000, 6], [9, 9])[:, None, None, :]
        norms = layers(net, "norm")
        for deconv, norm in zip(layers(net, "deconv")[:-1], norms, strict=True):
            maps = norm(deconv(maps))
            np.testing.assert_allclose(
                np.mean(maps, axis=(0, 1, 2)), norm.beta, atol=0.1
            )
            np.testing.assert_allclose(np.var(maps, axis=(0, 1, 2)), 1.0, atol=0.15)
            maps = tf.nn.leaky_relu(maps, 0.2)


def test_exact_statistics_free_an_image_of_its_batch_mates_and_leave_no_trace():
    net = digits()
    before = net.get_weights()
    latents = tf.random.stateless_normal([6, 6], [1, 1])
    with frozen(net, seed=SEED):
        together, alone = net(latents), net(latents[:2])
    np.testing.assert_allclose(together[:2], alone, atol=1e-6)
    for one, other in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_averaged_weights_are_frozen_with_statistics_of_their_own():
    some = rows(keras_own)
    net = generator_of(functional(some))
    randomise(net)
    net.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.8))
    before, average = [weight.numpy() for weight in net.trainable_variables], None
    with frozen(net, seed=SEED):  # nothing is averaged before the first step
        for weight, value in zip(net.trainable_variables, before, strict=True):
            np.testing.assert_array_equal(weight, value)
    images = tf.random.stateless_uniform([8, 2, 3, 1], [1, 2], -1, 1)
    for step in range(3):
        net.update(tf.constant(prior(8, 8)) + step, images)
        now = [weight.numpy().astype(float) for weight in net.trainable_variables]
        average = [
            one if average is None else 0.8 * average[place] + 0.2 * one
            for place, one in enumerate(now)
        ]
    assert (
        max(np.abs(one - two).max() for one, two in zip(average, now, strict=True))
        > 1e-3
    )
    kept = [np.array(one) for one in (*net.variables, *net.optimizer.variables)]
    with frozen(net, seed=SEED):
        for weight, value in zip(net.trainable_variables, average, strict=True):
            np.testing.assert_allclose(weight, value, rtol=1e-5, atol=1e-7)
    assert_frozen_as_numpy(net, some)
    with pytest.raises(KeyError):
        with frozen(net, seed=SEED):
            raise KeyError
    variables = (*net.variables, *net.optimizer.variables)
    for variable, value in zip(variables, kept, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)
    with frozen(net, seed=SEED):
        inside = net.get_weights()
    freeze(net, seed=SEED)
    for one, other in zip(inside, net.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_place_of_a_map_of_latents_counts(monkeypatch):
    """64 latents are four maps of 4x4, of which two pass at a time."""
    net = generator_of(
        built_in.generator("weave", (16, 16, 1), (3,)), latent_shape=(4, 4, 3)
    )
    measured = []
    monkeypatch.setattr(net.statistics, "measure", measured.extend)
    freeze(net, seed=SEED, num_latents=64, batch_size=40)
    assert [one.shape for one in measured] == [(2, 4, 4, 3)] * 2
