"""Layers that Keras does not have in this form."""

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from coopnets_tf import replicas

LEAKY_SLOPE = 0.2
Shape = tuple[int | None, ...]
# Of a layer, whatever the user's keras.json or global settings say.
FLOAT: dict[str, Any] = {"dtype": "float32"}
LAST: dict[str, Any] = {**FLOAT, "data_format": "channels_last"}
register = keras.saving.register_keras_serializable("coopnets_tf")


@register
def leaky_relu(maps: tf.Tensor) -> tf.Tensor:
    """The paper's non-linearity, with a slope of 0.2 below zero."""
    return tf.nn.leaky_relu(maps, LEAKY_SLOPE)


@register
class ConvTranspose(keras.layers.Layer):
    """A transposed convolution of maps [batch, height, width, channels], or of moving
    ones, [batch, frames, height, width, channels], onto maps of a given size.

    Keras' layer does not take the size of its output; here a map of 7x7 pixels has to
    come from one of 4x4. The kernel is [*kernel_size, filters, input channels], as
    TensorFlow's.

    Args:
      filters: channels of the maps that it makes.
      kernel_size: (height, width), or (frames, height, width).
      strides: one for all axes, or one for each.
      output_size: as `kernel_size`; with padding "same", `ceil(output / strides)` must
        be the size of the input maps. None: `strides` times that, whatever it is.
      padding: "same" or "valid".
      stddev: of the kernel's normal initial values. The bias starts at zero.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: tuple[int, ...],
        strides: int | tuple[int, ...],
        output_size: tuple[int, ...] | None,
        *,
        padding: str,
        stddev: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.output_size = output_size
        self.padding = padding
        self.stddev = stddev

    def build(self, input_shape: Shape) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, self.filters, input_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=self.stddev),
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.filters,), initializer="zeros"
        )

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(maps)
        size: Any = self.compute_output_shape(maps.shape)[1:]
        if None in size:  # known when the maps are
            size = tf.concat([shape[1:-1] * self.strides, [self.filters]], axis=0)
        transposed = {2: tf.nn.conv2d_transpose, 3: tf.nn.conv3d_transpose}
        outputs = transposed[len(self.kernel_size)](
            maps,
            self.kernel,
            tf.concat([shape[:1], size], axis=0),
            self.strides,
            padding=self.padding.upper(),
        )
        return tf.nn.bias_add(outputs, self.bias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        size: Any = self.output_size
        if size is None:
            each: Any = self.strides
            each = [each] * len(self.kernel_size) if isinstance(each, int) else each
            pairs = zip(input_shape[1:-1], each, strict=True)
            size = [length and length * stride for length, stride in pairs]
        return (input_shape[0], *size, self.filters)

    def get_config(self) -> dict[str, Any]:
        names = "filters kernel_size strides output_size padding stddev".split()
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register
class SummedOutputs(keras.layers.Layer):
    """`num_outputs` linear filters over the whole map, and the sum of their answers.

    The filters are summed first, which gives the same scores for 1 / num_outputs of the
    operations. In learning they still count one by one: each takes its optimizer step,
    and the published learning rates assume 100 of them.

    Input [batch, ..., channels], output [batch]. `stddev` is that of the
    filters' normal initial values; biases start at zero.
    """

    def __init__(self, num_outputs: int, *, stddev: float, **kwargs: Any) -> None:
        super().__init__(**{**FLOAT, **kwargs})
        self.num_outputs = num_outputs
        self.stddev = stddev

    def build(self, input_shape: Shape) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*input_shape[1:], self.num_outputs),
            initializer=keras.initializers.RandomNormal(stddev=self.stddev),
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.num_outputs,), initializer="zeros"
        )

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        kernel = tf.reduce_sum(self.kernel, axis=-1)
        axes = range(1, maps.shape.rank)
        return tf.reduce_sum(maps * kernel, axis=axes) + tf.reduce_sum(self.bias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[:1]

    def get_config(self) -> dict[str, Any]:
        options = {"num_outputs": self.num_outputs, "stddev": self.stddev}
        return {**super().get_config(), **options}


@register
class ClassOutputs(keras.layers.Layer):
    """`num_outputs` linear filters over the whole map for each class, and the sum of
    the answers of its class: the projection of the map on the class.

    They start at zero, learn alike, and are therefore one filter, which counts
    `num_outputs` times. So it does what those of `SummedOutputs` would under Adam; a
    clip norm or a cap sees one gradient, `num_outputs` times as large.

    Inputs [batch, ..., channels] and rows of classes [batch, num_classes], output
    [batch].

    Source: Miyato and Koyama, arXiv:1802.05637, with a map in place of its mean.
    """

    def __init__(self, num_outputs: int, **kwargs: Any) -> None:
        super().__init__(**{**FLOAT, **kwargs})
        self.num_outputs = num_outputs

    def build(self, input_shape: list[Shape]) -> None:
        maps, labels = input_shape
        self.kernel = self.add_weight(
            name="kernel", shape=(labels[1], *maps[1:]), initializer="zeros"
        )

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        maps, labels = inputs
        kernel = self.num_outputs * tf.tensordot(labels, self.kernel, axes=1)
        return tf.reduce_sum(maps * kernel, axis=range(1, maps.shape.rank))

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        return input_shape[0][:1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_outputs": self.num_outputs}


@register
class BatchNorm(keras.layers.Layer):
    """Batch normalisation with a shift and no scale, as in the official code.

    The batch is that of all replicas. `momentum` is that of the moving averages,
    `epsilon` is added to the variance.
    """

    def __init__(
        self, momentum: float = 0.999, epsilon: float = 1e-3, **kwargs: Any
    ) -> None:
        super().__init__(**{**FLOAT, **kwargs})
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape: Shape) -> None:
        shape = input_shape[-1:]
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=shape, initializer="zeros", trainable=False
        )
        self.moving_variance = self.add_weight(
            name="moving_variance", shape=shape, initializer="ones", trainable=False
        )

    def call(self, maps: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalises maps, [batch, ..., channels], over all axes but the last.

        `training` takes this batch's statistics instead of the moving averages, and
        moves the averages towards them.
        """
        if not (training and self.trainable):
            mean, variance = self.moving_mean, self.moving_variance
            return tf.nn.batch_normalization(
                maps, mean, variance, self.beta, None, self.epsilon
            )
        if replicas.number() > 1:
            return self._normalised_together(maps)
        # Half the time of the same formula out of single operations. Its variance is
        # the unbiased one, while the maps are divided by the biased one.
        flat = maps  # moving maps one frame below the other
        if maps.shape.rank == 5:
            batch_size, _, _, width, channels = tf.unstack(tf.shape(maps))
            flat = tf.reshape(maps, [batch_size, -1, width, channels])
        batch = tf.raw_ops.FusedBatchNormV3(
            x=flat,
            scale=tf.ones_like(self.beta),
            offset=self.beta,
            mean=[],
            variance=[],
            epsilon=self.epsilon,
        )
        self._move(self.moving_mean, batch.batch_mean)
        self._move(self.moving_variance, batch.batch_variance)
        return batch.y if flat is maps else tf.reshape(batch.y, tf.shape(maps))

    def _normalised_together(self, maps):
        """The same with the maps of all replicas, which are equally many."""
        axes = range(maps.shape.rank - 1)
        mean = replicas.mean(tf.reduce_mean(maps, axes))
        centred = maps - mean
        variance = replicas.mean(tf.reduce_mean(tf.square(centred), axes))
        count = tf.size(maps) // maps.shape[-1] * replicas.number()
        count = tf.cast(count, maps.dtype)
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance * count / (count - 1))
        return centred * tf.math.rsqrt(variance + self.epsilon) + self.beta

    def _move(self, average, value):
        average.assign_add((1 - self.momentum) * (value - average))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        options = {"momentum": self.momentum, "epsilon": self.epsilon}
        return {**super().get_config(), **options}


def layers_inside(network: keras.Model) -> Iterator[keras.Layer]:
    """All layers of a network and of its layers, whatever they are made of."""
    return network._flatten_layers(include_self=False)
