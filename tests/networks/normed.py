"""Generators with batch norm, on maps of 2x3 places, and what NumPy makes of them."""

import keras
import numpy as np
import tensorflow as tf

from coopnets_tf import frozen, seeds

SEED = tf.constant([3, 4])
LATENTS = 4


def rows(norm):
    """Layers of a generator with three norms, the first one on top of the latents."""
    dense = keras.layers.Dense
    return [
        norm(name="norm_a"),
        dense(2 * 3 * 5, name="dense_a"),
        keras.layers.Reshape((2, 3, 5)),
        norm(name="norm_b"),
        keras.layers.Activation("relu"),
        dense(4, name="dense_b"),
        norm(name="norm_c"),
        dense(1, name="dense_c", activation="tanh"),
    ]


def called(maps, some):
    for layer in some:
        maps = layer(maps)
    return maps


def functional(some, shape=(LATENTS,)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, called(inputs, some))


def sequential(some, shape=(LATENTS,)):
    return keras.Sequential([keras.Input(shape), *some])


def keras_own(name):
    return keras.layers.BatchNormalization(name=name)


def by_numpy(some, latents, *, axis):
    """The images of frozen layers in float64, and (mean, variance) of each norm."""
    maps, found = latents.astype(np.float64), []
    for layer in some:
        if hasattr(layer, "moving_mean"):
            last = np.moveaxis(maps, axis, -1)
            others = tuple(range(last.ndim - 1))
            mean, variance = last.mean(others), last.var(others)
            found.append((mean, variance))
            last = (last - mean) / np.sqrt(variance + 1e-3)
            last = last * np.asarray(getattr(layer, "gamma", 1.0), np.float64)
            maps = np.moveaxis(last + np.asarray(layer.beta, np.float64), -1, axis)
        elif hasattr(layer, "kernel"):
            maps = maps @ np.asarray(layer.kernel, np.float64)
            maps = maps + np.asarray(layer.bias, np.float64)
            maps = np.tanh(maps) if maps.shape[-1] == 1 else maps
        elif isinstance(layer, keras.layers.Reshape):
            maps = maps.reshape(len(maps), *layer.target_shape)
        else:
            maps = np.maximum(maps, 0)
    return maps, found


def randomise(net):
    rng = np.random.default_rng(0)
    for weight in net.trainable_variables:
        weight.assign(0.5 + rng.standard_normal(weight.shape))


def prior(num_latents, batch_size):
    """The latents over which `frozen` measures."""
    starts = range(0, num_latents, batch_size)
    return np.concatenate(
        [
            seeds.standard_normal(
                [batch_size, LATENTS], seed=seeds.fold_in(SEED, start)
            )
            for start in starts
        ]
    )


def assert_frozen_as_numpy(net, some, *, axis=-1):
    latents = prior(60, 20)
    with frozen(net, seed=SEED, num_latents=60, batch_size=20):
        images, expected = by_numpy(some, latents, axis=axis)
        norms = [layer for layer in some if hasattr(layer, "moving_mean")]
        assert len(norms) == len(expected) == 3
        for norm, (mean, variance) in zip(norms, expected, strict=True):
            np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-4)
        np.testing.assert_allclose(net(latents), images, atol=1e-4)
