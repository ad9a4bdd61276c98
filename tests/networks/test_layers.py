"""Layers that Keras does not have in this form, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf.networks.layers import BatchNorm, ConvTranspose
from tests import oracle

# Sums of up to some hundred float32 products.
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.mark.parametrize(
    ("inputs", "size", "strides", "outputs", "padding"),
    [
        ((1, 1), 4, 1, (4, 4), "valid"),
        ((4, 4), 4, 2, (7, 7), "same"),
        ((4, 4), 5, 2, (8, 8), "same"),
        ((3, 5), 3, 2, (6, 9), "same"),
    ],
)
def test_conv_transpose_equals_numpy(inputs, size, strides, outputs, padding):
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((2, *inputs, 3))
    layer = ConvTranspose(
        4, (size, size), strides, outputs, padding=padding, stddev=1.0
    )
    layer.build(maps.shape)
    layer.bias.assign(rng.standard_normal(4))
    expected = oracle.conv_transpose(
        maps,
        np.asarray(layer.kernel, np.float64),
        strides,
        outputs,
        same=padding == "same",
    )
    expected = expected + np.asarray(layer.bias, np.float64)
    result = layer(tf.constant(maps, tf.float32))
    assert result.shape == layer.compute_output_shape(maps.shape)
    np.testing.assert_allclose(result, expected, **CLOSE)


@pytest.mark.parametrize(
    ("inputs", "size", "strides", "outputs", "padding"),
    [
        # Of the networks of moving textures: 14x1x1 onto 32 frames, one row more than
        # the default; "same" with a stride for each axis.
        ((3, 1, 1), (5, 4, 3), (2, 1, 1), (10, 4, 3), "valid"),
        ((2, 3, 2), (5, 5, 5), 2, (4, 6, 4), "same"),
        ((3, 2, 3), (2, 5, 5), (1, 2, 2), (3, 4, 6), "same"),
        ((3, 2, 3), (2, 5, 5), (1, 2, 2), None, "same"),
    ],
)
def test_conv_transpose_of_moving_maps_equals_numpy(
    inputs, size, strides, outputs, padding
):
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((2, *inputs, 3))
    layer = ConvTranspose(4, size, strides, outputs, padding=padding, stddev=1.0)
    layer.build(maps.shape)
    layer.bias.assign(rng.standard_normal(4))
    each, inside = np.broadcast_to(strides, 3), np.array(inputs)
    outputs = np.array(outputs or each * inside)
    kernel, expected = np.asarray(layer.kernel, np.float64), np.zeros((2, *outputs, 4))
    lost = np.maximum((inside - 1) * each + size - outputs, 0)
    before = lost // 2 if padding == "same" else 0
    for place in np.ndindex(*inputs):
        for offset in np.ndindex(*size):
            there = each * place + offset - before
            if np.all((there >= 0) & (there < outputs)):
                expected[:, *there] += maps[:, *place] @ kernel[offset].T
    expected += np.asarray(layer.bias, np.float64)
    result = layer(tf.constant(maps, tf.float32))
    assert result.shape == layer.compute_output_shape(maps.shape)
    np.testing.assert_allclose(result, expected, **CLOSE)


def test_conv_transpose_of_maps_of_any_size_scales_them():
    layer = ConvTranspose(2, (5, 5), 2, None, padding="same", stddev=1.0)
    maps = np.random.default_rng(0).standard_normal((1, 4, 3, 3)).astype(np.float32)
    whole = layer(maps)
    assert whole.shape == (1, 8, 6, 2)
    any_size = tf.function(layer, [tf.TensorSpec([None, None, None, 3])])
    np.testing.assert_array_equal(any_size(maps), whole)
    assert layer.compute_output_shape((None, None, 3, 3)) == (None, None, 6, 2)


def test_batch_norm_of_moving_maps_is_that_of_their_pixels():
    maps = np.random.default_rng(0).normal(2, 3, (4, 5, 2, 5, 3)).astype(np.float32)
    moving, still = BatchNorm(), BatchNorm()
    result = moving(maps, training=True)
    flat = still(maps.reshape(4, 10, 5, 3), training=True)
    np.testing.assert_allclose(result, np.reshape(flat, maps.shape), rtol=1e-6)
    for one, other in zip(moving.get_weights(), still.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_batch_norm_equals_numpy():
    maps = np.random.default_rng(0).normal(2, 3, (4, 5, 5, 3)).astype(np.float32)
    norm = BatchNorm()
    norm.build(maps.shape)
    norm.beta.assign([0.1, 0.2, 0.3])
    mean, variance = maps.mean(axis=(0, 1, 2)), maps.var(axis=(0, 1, 2))
    expected = (maps - mean) / np.sqrt(variance + 1e-3) + [0.1, 0.2, 0.3]
    result = norm(maps, training=True)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.moving_mean, 0.001 * mean, rtol=1e-3)
    unbiased = variance * 100 / 99
    np.testing.assert_allclose(
        norm.moving_variance, 0.999 + 0.001 * unbiased, rtol=1e-5
    )
    kept = norm.get_weights()
    norm(maps)
    for one, other in zip(kept, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
