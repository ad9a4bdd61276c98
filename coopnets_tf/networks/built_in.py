"""The built-in networks: tables of layers, turned into Keras models.

A network for `Descriptor` turns images into scores or maps, whose sum is f; one for
`Generator` turns latents into images. Any Keras model that does so will do; these are
those of the paper's experiments, one for small digits, and a residual pair.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from coopnets_tf.errors import NetworkError
from coopnets_tf.networks.layers import (
    FLOAT,
    LAST,
    BatchNorm,
    ClassOutputs,
    SummedOutputs,
)
from coopnets_tf.networks.rows import Conv, Deconv, Doubling, Halving, Options, each
from coopnets_tf.wording import by, nearest

DESCRIPTOR_STDDEV, GENERATOR_STDDEV = 0.01, 0.005  # of the initial kernels


class Table(NamedTuple):
    """The layers of both nets.

    The descriptor's go from the image upwards, with `SummedOutputs` over the whole map
    on top, or all answers of the last one summed (`sums_all`). The generator's go from
    the latents down to the image; all but the last have batch norm, the last tanh.

    Nets without a filter that spans its map take images of any size.
    """

    descriptor: Sequence[Conv | Halving]
    generator: Sequence[Deconv | Doubling]
    sums_all: bool = False
    axes: tuple[str, ...] = ("height", "width")
    stddev: float | None = DESCRIPTOR_STDDEV  # descriptor; None: He's, 0.01 on top

    @property
    def any_size(self) -> bool:
        rows: list[Any] = [*self.descriptor, *self.generator]
        sizes = [row.size for row in rows if not isinstance(row, Halving)]
        return self.sums_all and not any(None in each(size, 1) for size in sizes)


_COLOUR_CONVS = [Conv(5, 2, 64), Conv(3, 2, 128), Conv(3, 1, 256)]
_SCENE_DECONVS = [
    Deconv(None, 1, 512),
    Deconv(5, 2, 256),
    Deconv(5, 2, 128),
    Deconv(5, 2, 64),
    Deconv(5, 2, None),
]
_CLIP: dict[str, Any] = {
    "sums_all": True,
    "axes": ("frames", "height", "width"),
    "stddev": 0.001,
}
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
    "residual": Table(
        [Conv(5, 2, 64, "silu"), Halving(112), Halving(160), Halving(192)],
        [
            Deconv(None, 1, 256, "silu"),
            Doubling(160),
            Doubling(128),
            Doubling(64),
            Deconv(5, 2, None),
        ],
        stddev=None,
    ),
    "texture": Table(
        [Conv(15, 3, 100, "relu"), Conv(9, 1, 70, "relu"), Conv(7, 1, 30, "relu")],
        [Deconv(5, 2, 512), *_SCENE_DECONVS[1:]],
        sums_all=True,
    ),
    "moving_texture": Table(
        [
            Conv(5, 2, 120, "relu"),
            Conv((5, None, None), (2, 1, 1), 30, "relu"),
            Conv((5, None, None), (2, 1, 1), 10, None),
        ],
        [
            Deconv((5, None, None), 1, 256, "relu"),
            Deconv((5, None, None), (2, 1, 1), 128, "relu"),
            Deconv(5, 2, 64, "relu"),
            Deconv((2, 5, 5), (1, 2, 2), None),
        ],
        **_CLIP,
    ),
    "moving_texture_small": Table(
        [
            Conv(5, 2, 40, "relu"),
            Conv((5, None, None), (2, 1, 1), 20, "relu"),
            Conv((5, None, None), (2, 1, 1), 10, None),
        ],
        [
            Deconv((5, None, None), 1, 128, "relu"),
            Deconv((5, None, None), (2, 1, 1), 64, "relu"),
            Deconv(5, 2, 32, "relu"),
            Deconv((2, 5, 5), (1, 2, 2), None),
        ],
        **_CLIP,
    ),
}
LARGEST = {"digits": 16, "mnist": 28, "cifar": 32}  # sides of images, pixels


def table(name: str, image_shape: tuple[int, ...]) -> Table:
    """The table of a name, for images of a shape.

    Raises:
      NetworkError: if there is none, or it is for images of another kind.
    """
    if name not in TABLES:
        raise NetworkError(
            f"`network` must be one of {', '.join(TABLES)}. Received: network={name!r}."
            + nearest(name, TABLES)
        )
    found = TABLES[name]
    if len(image_shape) != len(found.axes) + 1:
        clips = "frames" in found.axes
        way_out = "Give `num_frames`" if clips else "Leave out `num_frames`"
        raise NetworkError(
            f"`network`={name} is for {'clips' if clips else 'still images'}, "
            f"[{', '.join(found.axes)}, channels]. Received: images of shape "
            f"{list(image_shape)}. {way_out}, or take another network."
        )
    return found


def for_images(image_shape: tuple[int, ...]) -> str:
    """The name of the table for images of about that size."""
    if len(image_shape) == 4:
        return "moving_texture_small"
    longer, sizes = max(image_shape[:2]), LARGEST.items()
    return next((name for name, side in sizes if longer <= side), "scene")


def descriptor(
    name: str,
    image_shape: tuple[int, ...],
    *,
    num_outputs: int = 100,
    num_classes: int = 0,
    activation: str | None = None,
    convolutions: str = "float32",
) -> keras.Model:
    """A bottom-up network: images [batch, *image_shape] -> scores [batch], or the map
    of all answers whose sum is the score.

    With classes it takes them, too, as rows [batch, num_classes], and its score has one
    more term, see `layers.ClassOutputs`.

    ```python
    from coopnets_tf.networks import built_in

    network = built_in.descriptor("mnist", (28, 28, 1))
    ```

    Args:
      name: a key of `TABLES`.
      image_shape: ([frames,] height, width, channels) of the images.
      num_outputs: linear outputs at the top, whose sum is the score, where the table
        has such a top.
      num_classes: 0 for images without classes.
      activation: Keras' name of one that takes the place of the table's.
      convolutions: Keras' dtype policy of the convolutions alone, such as
        "mixed_bfloat16". Their weights and all else are float32.

    Raises:
      NetworkError: on an unknown name, one for images of another kind, or one with no
        place for classes where there are some.
    """
    found = table(name, image_shape)
    shape = [None] * len(found.axes) if found.any_size else image_shape[:-1]
    images = maps = keras.Input((*shape, image_shape[-1]), **FLOAT)
    for position, row in enumerate(found.descriptor):
        options = {**LAST, "dtype": convolutions}
        # Each layer has its own: an initializer without a seed repeats its draw.
        options["kernel_initializer"] = _initial(found.stddev)
        if activation and row.activation:
            row = row._replace(activation=activation)
        maps = row.of(maps, position, options)
    if found.sums_all:
        _refuse_classes(name, num_classes)
        return keras.Model(images, maps, name=f"{name}_descriptor")
    stddev = found.stddev or DESCRIPTOR_STDDEV
    top = SummedOutputs(num_outputs, stddev=stddev, name="outputs_sum", **FLOAT)
    scores, inputs = top(maps), images
    if num_classes:
        labels = keras.Input((num_classes,), name="labels", **FLOAT)
        own = ClassOutputs(num_outputs, name="class_outputs", **FLOAT)
        scores = own([maps, labels]) + scores
        inputs = [images, labels]
    return keras.Model(inputs, scores, name=f"{name}_descriptor")


def _refuse_classes(name, num_classes):
    """Stops where a network that works by the place alone is to be told classes.

    Raises:
      NetworkError: if it is.
    """
    if num_classes:
        raise NetworkError(
            f"`network`={name} has no place for classes. Leave out `num_classes`, or "
            "take another network."
        )


def _initial(stddev):
    """The distribution of the initial kernels."""
    if stddev is None:
        return "he_normal"
    return keras.initializers.RandomNormal(stddev=stddev)


def generator(
    name: str,
    image_shape: tuple[int, ...],
    latent_shape: tuple[int, ...] = (100,),
    *,
    num_classes: int = 0,
    convolutions: str = "float32",
) -> keras.Model:
    """A top-down network: latents [batch, *latents] -> images [batch, *image_shape].

    With classes it takes them, too, as rows [batch, num_classes], beside the latents.

    ```python
    from coopnets_tf.networks import built_in

    network = built_in.generator("mnist", (28, 28, 1))
    ```

    Args:
      name, image_shape, num_classes, convolutions: see `descriptor`.
      latent_shape: see `latent_shape_of`.

    Raises:
      NetworkError: on an unknown name, one for images of another kind or size, one
        with no place for classes where there are some, or latents that do not fit.
    """
    found = table(name, image_shape)
    sizes = map_sizes(image_shape[:-1], found.generator)
    latent_shape = latent_shape_of(name, image_shape, latent_shape)
    vector = len(latent_shape) == 1
    any_map = (*[None] * len(found.axes), latent_shape[-1])
    inputs = maps = keras.Input(any_map if found.any_size else latent_shape, **FLOAT)
    if not vector:
        _refuse_classes(name, num_classes)
    if num_classes:
        labels = keras.Input((num_classes,), name="labels", **FLOAT)
        inputs = [maps, labels]
        maps = keras.layers.Concatenate(**FLOAT)(inputs)
    if vector:
        maps = keras.layers.Reshape((1, 1, maps.shape[-1]), **FLOAT)(maps)
    for position, (row, size) in enumerate(
        zip(found.generator, sizes[1:], strict=True)
    ):
        options: Options = {"stddev": GENERATOR_STDDEV, "dtype": convolutions}
        options["output_size"] = None if found.any_size else size
        if row.filters is None:
            options["filters"] = image_shape[-1]
        maps = row.onto(size, maps, position, options)
        if position == len(found.generator) - 1:
            break
        maps = BatchNorm(name=f"norm_{position}", **FLOAT)(maps)
        maps = keras.layers.Activation(row.activation, **FLOAT)(maps)
    images = keras.layers.Activation("tanh", **FLOAT)(maps)
    return keras.Model(inputs, images, name=f"{name}_generator")


def latent_shape_of(
    name: str, image_shape: tuple[int, ...], latent_shape: tuple[int, ...]
) -> tuple[int, ...]:
    """The shape of the latents of one image of a built-in generator.

    Args:
      name, image_shape: see `descriptor`.
      latent_shape: (d,), the numbers at each place of the latent map, of which most
        networks have one place; or all of that shape.

    Raises:
      NetworkError: if the network has no such latents, or images of another size.
    """
    found = table(name, image_shape)
    size = image_shape[:-1]
    places = map_sizes(size, found.generator)[0]
    if found.any_size:
        factor = _factor(found)
        if any(side % factor for side in size):
            lower = [max(side // factor, 1) * factor for side in size]
            raise NetworkError(
                f"`network`={name} makes images whose sides are multiples of {factor}. "
                f"Received: {by(size)}. Take {by(lower)}."
            )
    if places[0] < 1:
        longer = ((frames, *size[1:]) for frames in itertools.count(size[0]))
        fewest = next(
            one[0] for one in longer if map_sizes(one, found.generator)[0][0] > 0
        )
        raise NetworkError(
            f"`network`={name} makes clips of {fewest} frames or more. Received: "
            f"{size[0]}. Give another `num_frames`."
        )
    whole = (*places, latent_shape[-1])
    if set(places) == {1} and len(places) == 2 and not found.any_size:
        whole = whole[2:]  # a vector
    if len(latent_shape) > 1 and latent_shape != whole:
        raise NetworkError(
            f"`network`={name} makes images of {by(size)} from latents of "
            f"{by(whole)}. Received: `latent_size`={by(latent_shape)}. Give "
            f"{latent_shape[-1]}, the numbers at each place."
        )
    return whole


def _factor(found):
    """How much larger than the latent map the images of a table are."""
    return math.prod(each(row.strides, 1)[0] for row in found.generator)


def map_sizes(
    image_size: tuple[int, ...], rows: Sequence[Deconv | Doubling]
) -> list[tuple[int, ...]]:
    """Sizes of a generator's maps, from the latents to the image."""
    sizes = [tuple(image_size)]
    for row in reversed(rows):
        kernel = each(row.size, len(image_size))
        sizes.insert(
            0,
            tuple(
                -(-(side - lost) // stride)
                for side, lost, stride in zip(
                    sizes[0],
                    _lost(kernel, sizes[0]),
                    each(row.strides, len(image_size)),
                    strict=True,
                )
            ),
        )
    return sizes


def _lost(kernel, size):
    """By how much "valid" padding makes maps smaller, before strides."""
    if None not in kernel:
        return [0] * len(size)
    return [(side or whole) - 1 for side, whole in zip(kernel, size, strict=True)]
