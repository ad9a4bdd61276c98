"""The built-in networks: two tables of layers, turned into Keras models.

A network for `Descriptor` turns images into scores or maps, whose sum is f; one for
`Generator` turns latents into images. Any Keras model that does so will do; these are
those of the paper's experiments, and one for small digits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from coopnets_tf import seeds
from coopnets_tf.errors import NetworkError
from coopnets_tf.layers import (
    FLOAT,
    LAST,
    BatchNorm,
    ConvTranspose,
    ImageConv,
    SummedOutputs,
    leaky_relu,
)
from coopnets_tf.wording import nearest, one_line

DESCRIPTOR_STDDEV, GENERATOR_STDDEV = 0.01, 0.005  # of the initial kernels


class Conv(NamedTuple):
    """One convolution, "same" padding."""

    size: int
    strides: int
    filters: int
    activation: Callable | str = leaky_relu


class Deconv(NamedTuple):
    """One transposed convolution. The first one of a network turns the latent vector
    into the smallest map, whose size is also that of its kernel.
    """

    size: int | None
    strides: int
    filters: int | None  # None: the channels of the images


class Table(NamedTuple):
    """The layers of both nets.

    The descriptor's go from the image upwards, with `SummedOutputs` over the whole map
    on top. The generator's go from the latent vector down to the image; all but the
    last have batch norm and leaky ReLU, the last tanh.
    """

    descriptor: list[Conv]
    generator: list[Deconv]


_COLOUR_CONVS = [Conv(5, 2, 64), Conv(3, 2, 128), Conv(3, 1, 256)]
_SCENE_DECONVS = [
    Deconv(None, 1, 512),
    Deconv(5, 2, 256),
    Deconv(5, 2, 128),
    Deconv(5, 2, 64),
    Deconv(5, 2, None),
]
TABLES = {
    "digits": Table(
        [Conv(3, 1, 32), Conv(4, 2, 64), Conv(3, 1, 128)],
        [Deconv(None, 1, 256), Deconv(3, 1, 128), Deconv(4, 2, None)],
    ),
    "mnist": Table(
        [Conv(4, 2, 64), Conv(4, 2, 128), Conv(4, 2, 256)],
        [
            Deconv(None, 1, 512),
            Deconv(4, 2, 256),
            Deconv(4, 2, 128),
            Deconv(4, 2, None),
        ],
    ),
    "cifar": Table(
        _COLOUR_CONVS,
        [Deconv(None, 1, 256), Deconv(5, 2, 128), Deconv(5, 2, 64), Deconv(5, 2, None)],
    ),
    "scene": Table(_COLOUR_CONVS, _SCENE_DECONVS),
    "object": Table(
        [Conv(4, 2, 64, "relu"), Conv(2, 1, 128, "relu")],
        _SCENE_DECONVS,
    ),
}
LARGEST = {"digits": 16, "mnist": 28, "cifar": 32}  # sides of images, pixels


def table(name: str) -> Table:
    """The table of a name.

    Raises:
      NetworkError: if there is none.
    """
    if name not in TABLES:
        raise NetworkError(
            f"`network` must be one of {', '.join(TABLES)}. Received: network={name!r}."
            + nearest(name, TABLES)
        )
    return TABLES[name]


def for_images(image_shape: tuple[int, ...]) -> str:
    """The name of the table for images of about that size."""
    longer, sizes = max(image_shape[:2]), LARGEST.items()
    return next((name for name, side in sizes if longer <= side), "scene")


def descriptor(
    name: str, image_shape: tuple[int, int, int], *, num_outputs: int = 100
) -> keras.Model:
    """A bottom-up network: images [batch, *image_shape] -> scores [batch].

    ```python
    from coopnets_tf import networks

    network = networks.descriptor("mnist", (28, 28, 1))
    ```

    Args:
      name: a key of `TABLES`.
      image_shape: (height, width, channels) of the images.
      num_outputs: linear outputs at the top, whose sum is the score.
    """
    images = maps = keras.Input(image_shape, **FLOAT)
    for position, conv in enumerate(table(name).descriptor):
        # The gradient with respect to the image is taken in every Langevin step.
        layer, padding = keras.layers.Conv2D, {"padding": "same"}
        if position == 0:
            layer, padding = ImageConv, {}
        maps = layer(
            conv.filters,
            conv.size,
            conv.strides,
            activation=conv.activation,
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=DESCRIPTOR_STDDEV
            ),
            name=f"conv_{position}",
            **padding,
            **LAST,
        )(maps)
    top = SummedOutputs(
        num_outputs, stddev=DESCRIPTOR_STDDEV, name="outputs_sum", **FLOAT
    )
    return keras.Model(images, top(maps), name=f"{name}_descriptor")


def generator(
    name: str, image_shape: tuple[int, int, int], latent_shape: tuple[int, ...] = (100,)
) -> keras.Model:
    """A top-down network: latents [batch, d] -> images [batch, *image_shape].

    ```python
    from coopnets_tf import networks

    network = networks.generator("mnist", (28, 28, 1))
    ```

    Args:
      name, image_shape: see `descriptor`.
      latent_shape: (d,).

    Raises:
      NetworkError: on an unknown name, or latents that are not vectors.
    """
    if len(latent_shape) != 1:
        raise NetworkError(
            "The built-in networks take vectors. Received: "
            f"`latent_size`={'x'.join(map(str, latent_shape))}. Give one number."
        )
    rows = table(name).generator
    sizes = map_sizes(image_shape[:2], [row.strides for row in rows])
    latents = keras.Input(latent_shape, **FLOAT)
    maps = keras.layers.Reshape((1, 1, *latent_shape), **FLOAT)(latents)
    for position, (row, size) in enumerate(zip(rows, sizes, strict=True)):
        maps = ConvTranspose(
            row.filters or image_shape[2],
            (row.size, row.size) if row.size else size,
            row.strides,
            size,
            padding="same" if row.size else "valid",
            stddev=GENERATOR_STDDEV,
            name=f"deconv_{position}",
            **FLOAT,
        )(maps)
        if row is rows[-1]:
            break
        maps = BatchNorm(name=f"norm_{position}", **FLOAT)(maps)
        maps = keras.layers.Activation(leaky_relu, **FLOAT)(maps)
    images = keras.layers.Activation("tanh", **FLOAT)(maps)
    return keras.Model(latents, images, name=f"{name}_generator")


def map_sizes(image_size: tuple[int, int], strides: list[int]) -> list[tuple[int, int]]:
    """Sizes of a network's maps from the first to the image: each is the next one
    divided by that layer's stride, rounded up.
    """
    sizes = [image_size]
    for stride in reversed(strides[1:]):
        height, width = sizes[0]
        sizes.insert(0, (-(-height // stride), -(-width // stride)))
    return sizes


def shape_of_input(
    network: keras.Model, given: tuple[int, ...] | None, argument: str
) -> tuple[int, ...]:
    """The shape of one input of a network, without the batch.

    Args:
      network: a built Keras model with one input.
      given: that shape, where the network takes any.
      argument: what the caller calls `given`.

    Raises:
      NetworkError: if it is not a built Keras model with one input, takes another
        shape, or any shape and none is given.
    """
    if not isinstance(network, keras.Model):
        raise NetworkError(
            "`network` must be a built Keras model, such as those of "
            f"`coopnets_tf.networks`. Received: {network!r}"
        )
    if not network.built:
        raise NetworkError(
            f"Network {network.name} was never built, so that it has no weights yet. "
            "Begin it with keras.Input, or call it once."
        )
    own: Any = getattr(network, "input_shape", None)
    if isinstance(own, list | dict):
        raise NetworkError(
            f"Network {network.name} must have one input. Received: {len(own)}."
        )
    if given is None and (own is None or None in own[1:]):
        raise NetworkError(
            f"Network {network.name} does not say the shape of its input. Give "
            f"`{argument}`."
        )
    shape = tuple(own[1:] if given is None else given)
    if own is not None and not tf.TensorShape(own[1:]).is_compatible_with(shape):
        raise NetworkError(
            f"Network {network.name} takes inputs of shape {list(own[1:])}. "
            f"Received: `{argument}`={list(shape)}."
        )
    return shape


def outputs_of(
    network: keras.Model, shape: tuple[int, ...], expected: str
) -> tf.Tensor:
    """What a built network makes of two random inputs of a shape.

    Raises:
      NetworkError: if it has no trainable weights, has losses, cannot be called with
        this shape, computes in other floats than float32, or gives anything but finite
        numbers for each input, the `expected` ones.
    """
    name = f"Network {network.name}"
    if not network.trainable_variables:
        raise NetworkError(
            f"{name} has no trainable weights: nothing could be learned."
        )
    inputs = seeds.standard_normal([2, *shape], seed=tf.constant([0, 0]))
    try:
        outputs = network(inputs, training=False)
    except Exception as error:  # a layer of the user's may raise anything
        raise NetworkError(
            f"{name} cannot be called with inputs of shape {list(inputs.shape)}: "
            f"{one_line(error)}"
        ) from error
    if network.losses:
        raise NetworkError(
            f"{name} has losses of its own, such as regularizers, which no step of the "
            "algorithms descends. Use an optimizer's weight_decay, or `penalty`."
        )
    tensor = tf.is_tensor(outputs)
    if not tensor or outputs.shape.rank == 0 or outputs.shape[0] != 2:
        found = list(outputs.shape) if tensor else type(outputs).__name__
    elif not outputs.dtype.is_floating:
        found = f"{outputs.dtype.name} numbers"
    elif other := _other_floats(network, outputs):
        raise NetworkError(
            f"{name} must compute in float32. Received: {other}. Build it with "
            'dtype="float32", or reset floatx and the dtype policy in keras.config or '
            "keras.json."
        )
    elif not tf.reduce_all(tf.math.is_finite(outputs)):
        found = "NaN or infinity"
    else:
        return outputs
    raise NetworkError(
        f"{name} must give {expected} for inputs of shape {list(inputs.shape)}. "
        f"Received: {found}."
    )


def _other_floats(network, outputs):
    """The dtype of a network's inputs or outputs that is not float32, if any."""
    given = [one.dtype for one in getattr(network, "inputs", None) or []]
    names = [tf.as_dtype(one).name for one in (*given, outputs.dtype)]
    return next((name for name in names if name != "float32"), None)
