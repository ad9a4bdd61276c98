"""A convolution whose gradient by the image is fast, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf.networks.image_conv import ImageConv, strided_conv
from tests import oracle

# Sums of up to some hundred float32 products.
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.mark.parametrize("shape", [(8, 8), (7, 7), (9, 6), (28, 28)])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("size", [3, 4, 5])
def test_strided_conv_and_its_gradients_equal_numpy(shape, strides, size):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, *shape, 3))
    kernel = rng.standard_normal((size, size, 3, 4))
    expected = oracle.conv(images, kernel, strides)
    upstream = rng.standard_normal(expected.shape)
    d_images, d_kernel = oracle.conv_gradients(images, kernel, strides, upstream)

    images, kernel = (tf.constant(part, tf.float32) for part in (images, kernel))
    with tf.GradientTape() as tape:
        tape.watch([images, kernel])
        result = strided_conv(images, kernel, strides=strides)
    np.testing.assert_allclose(result, expected, **CLOSE)
    gradients = tape.gradient(
        result, [images, kernel], output_gradients=tf.constant(upstream, tf.float32)
    )
    np.testing.assert_allclose(gradients[0], d_images, **CLOSE)
    np.testing.assert_allclose(gradients[1], d_kernel, **CLOSE)


def test_an_image_conv_of_any_size_is_that_of_a_size():
    images = tf.random.stateless_normal([2, 9, 7, 1], [0, 0])
    conv = ImageConv(4, 3, 2)
    sized = keras.Sequential([keras.Input((9, 7, 1)), conv])
    free = keras.Sequential([keras.Input((None, None, 1)), conv])
    np.testing.assert_allclose(free(images), sized(images), **CLOSE)
    call = tf.function(free, [tf.TensorSpec([None, None, None, 1])])
    np.testing.assert_allclose(call(images), sized(images), **CLOSE)
