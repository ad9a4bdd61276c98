"""A convolution of images whose gradient by the image is fast."""

from typing import Any

import keras
import tensorflow as tf

from coopnets_tf.networks.layers import register


@register
class ImageConv(keras.layers.Conv2D):
    """A "same"-padded `Conv2D` whose gradient with respect to its input is fast.

    Langevin dynamics on images needs that gradient in every step, and for the first
    layer (1 or 3 input channels, strided) the usual kernel runs far below the speed of
    the machine. Weights and results are those of `Conv2D`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int],
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, kernel_size, strides, **{**kwargs, "padding": "same"})

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return strided_conv(
            inputs, tf.convert_to_tensor(kernel), strides=self.strides[0]
        )


def strided_conv(images: tf.Tensor, kernel: tf.Tensor, *, strides: int) -> tf.Tensor:
    """`tf.nn.conv2d(images, kernel, strides, "SAME")` with another image gradient.

    The gradient is written as an ordinary convolution onto `strides**2` times the
    image's channels, followed by `depth_to_space`:

        y[o]           = sum_t kernel[t] x[s o + t - p]
        dx[s a + r]    = sum_j kernel[r + p - s j] dy[a + j],   0 <= r < s

    so that each phase r is a convolution of dy, and all phases are one.

    Args:
      images: float32 [batch, height, width, channels].
      kernel: float32 [size, size, channels, filters].
      strides: s.

    Returns:
      [batch, ceil(height / s), ceil(width / s), filters].
    """
    height, width = images.shape[1:3]
    if height is None or width is None:  # the phases are laid out beforehand
        return tf.nn.conv2d(images, kernel, strides, "SAME")
    rows, columns = (
        _window(length, kernel.shape[0], strides) for length in (height, width)
    )

    @tf.custom_gradient
    def conv(images, kernel):
        def gradient(upstream):
            phases = _phase_kernel(kernel, rows, columns, strides)
            padding = [[0, 0], rows[:2], columns[:2], [0, 0]]
            fine = tf.nn.conv2d(upstream, phases, 1, padding)
            if strides > 1:
                fine = tf.nn.depth_to_space(fine, strides)
            kernel_gradient = tf.raw_ops.Conv2DBackpropFilter(
                input=images,
                filter_sizes=kernel.shape,
                out_backprop=upstream,
                strides=[1, strides, strides, 1],
                padding="SAME",
            )
            return fine[:, :height, :width], kernel_gradient

        return tf.nn.conv2d(images, kernel, strides, "SAME"), gradient

    return conv(images, kernel)


def _window(length, size, strides):
    """Along one axis: entries of dy before and after `a` that reach dx[s a + r]; p."""
    outputs = -(-length // strides)
    before = max((outputs - 1) * strides + size - length, 0) // 2
    return (size - 1 - before) // strides, (before + strides - 1) // strides, before


def _phase_kernel(kernel, rows, columns, strides):
    """Sorts a kernel's entries by phase: [size, size, channels, filters] to
    [row window, column window, filters, strides * strides * channels].
    """
    size, _, channels, filters = kernel.shape
    padding, spans = [], []
    for up, down, before in (rows, columns):
        span = up + down + 1
        start = strides * down - before
        padding.append([start, strides * span - start - size])
        spans.append(span)
    phases = tf.reshape(
        tf.pad(kernel, [*padding, [0, 0], [0, 0]]),
        [spans[0], strides, spans[1], strides, channels, filters],
    )
    phases = tf.transpose(tf.reverse(phases, [0, 2]), [0, 2, 5, 1, 3, 4])
    return tf.reshape(phases, [*spans, filters, strides * strides * channels])
