"""The convolutions that Keras does not have in the form the two networks need."""

import keras
import tensorflow as tf

LEAKY_SLOPE = 0.2


def leaky_relu(maps):
    """The non-linearity of both networks."""
    return tf.nn.leaky_relu(maps, LEAKY_SLOPE)


class ImageConv(keras.layers.Conv2D):
    """A "same"-padded `Conv2D` whose gradient with respect to its input is fast.

    Langevin dynamics on images needs that gradient in every step, and for the first
    layer (1 or 3 input channels, strided) the usual kernel runs far below the speed of
    the machine. Weights and results are those of `Conv2D`.
    """

    def __init__(self, filters, kernel_size, strides, **kwargs):
        super().__init__(filters, kernel_size, strides, padding="same", **kwargs)

    def convolution_op(self, inputs, kernel):
        return strided_conv(
            inputs, tf.convert_to_tensor(kernel), strides=self.strides[0]
        )


def strided_conv(images, kernel, *, strides):
    """`tf.nn.conv2d(images, kernel, strides, "SAME")` with its own image gradient.

    The gradient is written as an ordinary convolution onto `strides**2` times the
    image's channels, followed by `depth_to_space`:

        y[o]           = sum_t kernel[t] x[s o + t - p]
        dx[s a + r]    = sum_j kernel[r + p - s j] dy[a + j],   0 <= r < s

    so that each phase r is a convolution of dy, and all phases are one.

    Args:
      images: float32 [batch, height, width, channels].
      kernel: float32 [size, size, channels, filters].
      strides: int; s.

    Returns:
      [batch, ceil(height / s), ceil(width / s), filters].
    """
    height, width = images.shape[1:3]
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


class ConvTranspose(keras.layers.Layer):
    """A transposed convolution onto maps of a given size.

    Keras' own layer cannot be told the size of its output; a map of 7x7 pixels has to
    come from 4x4 ones here. Kernel [height, width, filters, input channels], as TF's.

    Args:
      filters: int.
      kernel_size: (int, int).
      strides: int.
      output_size: (int, int); with padding "same", `ceil(output / strides)` must be
        the size of the input maps.
      padding: "same" or "valid".
      stddev: float; of the kernel's normal initial values. The bias starts at zero.
    """

    def __init__(
        self, filters, kernel_size, strides, output_size, *, padding, stddev, **kwargs
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.output_size = output_size
        self.padding = padding
        self.stddev = stddev

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, self.filters, input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=self.stddev),
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.filters,), initializer="zeros"
        )

    def call(self, maps):
        outputs = tf.nn.conv2d_transpose(
            maps,
            self.kernel,
            [tf.shape(maps)[0], *self.output_size, self.filters],
            self.strides,
            padding=self.padding.upper(),
        )
        return tf.nn.bias_add(outputs, self.bias)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.output_size, self.filters)
