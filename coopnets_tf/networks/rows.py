"""The rows of the networks' tables, and the layers that each stands for."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from coopnets_tf.errors import NetworkError
from coopnets_tf.networks.image_conv import ImageConv
from coopnets_tf.networks.layers import (
    FLOAT,
    LAST,
    BatchNorm,
    ConvTranspose,
    leaky_relu,
)

Lengths = int | tuple[int | None, ...]  # of a layer, for all axes or for each
Options = dict[str, Any]  # of layers


def each(lengths: Any, number: int) -> tuple:
    """One value for each axis, where one for all may be given."""
    return lengths if isinstance(lengths, tuple) else (lengths,) * number


class Conv(NamedTuple):
    """One convolution of a descriptor, "same" padding.

    With a `size` of (n, None) or (n, None, None) its filters span the map along all
    axes but the first: each of the others is left with one place, and its strides are
    ignored. The first is padded with half a filter of zeros at both ends.
    """

    size: Lengths
    strides: int | tuple[int, ...]
    filters: int
    activation: Callable | str | None = leaky_relu

    def of(self, maps: tf.Tensor, position: int, options: Options) -> tf.Tensor:
        """The answers to a map.

        Args:
          position: of the row in its table.
          options: of the convolutions.

        Raises:
          NetworkError: if the filters would span other axes.
        """
        name = f"conv_{position}"
        options = {"activation": self.activation, "name": name, **options}
        rank = len(maps.shape) - 2
        size, strides = each(self.size, rank), each(self.strides, rank)
        if None in size:
            if size[0] is None or set(size[1:]) != {None}:
                raise NetworkError(
                    "A filter that spans its map does so along all axes but the first. "
                    f"Received: size={size}. Give the first axis a number and all "
                    "others None, or each axis a number."
                )
            return _spanning_conv(self.filters, size[0], strides[0], maps, options)
        kind = keras.layers.Conv2D if rank == 2 else keras.layers.Conv3D
        if position == 0 and rank == 2:
            # The gradient with respect to the image is taken in every Langevin step.
            kind = ImageConv
        return kind(self.filters, size, strides, padding="same", **options)(maps)


class Halving(NamedTuple):
    """A residual block of a descriptor that halves its map, rounding up:

        pooled = mean of every 2x2 of the map
        silu(conv3x3(silu(conv3x3(pooled))) + conv1x1(pooled))

    with He's initial kernels. Source: the blocks of He et al., arXiv:1512.03385, with
    the mean in place of strides.
    """

    filters: int
    activation: Callable | str = "silu"

    def of(self, maps: tf.Tensor, position: int, options: Options) -> tf.Tensor:
        """As for `Conv`."""

        def conv(size, kind, **more):
            more |= {"padding": "same", "name": f"conv_{position}_{kind}", **options}
            more["kernel_initializer"] = "he_normal"
            return keras.layers.Conv2D(self.filters, size, **more)

        pooled = keras.layers.AveragePooling2D(2, padding="same", **LAST)(maps)
        found = conv(3, 1)(conv(3, 0, activation=self.activation)(pooled))
        found = keras.layers.Add(**FLOAT)([found, conv(1, "beside")(pooled)])
        return keras.layers.Activation(self.activation, **FLOAT)(found)


class Deconv(NamedTuple):
    """One transposed convolution of a generator, "same" padding. Where `size` is None,
    the filter spans the map that it makes, out of one place along that axis; the other
    axes then have "valid" padding.
    """

    size: Lengths | None
    strides: int | tuple[int, ...]
    filters: int | None  # None: the channels of the images
    activation: Callable | str = leaky_relu

    def onto(
        self, size: tuple[int, ...], maps: tf.Tensor, position: int, options: Options
    ) -> tf.Tensor:
        """The map of a size that it makes of another, without norm and activation.

        Arguments as for `Conv.of`.
        """
        kernel = each(self.size, len(size))
        layer = ConvTranspose(
            kernel_size=tuple(
                side or whole for side, whole in zip(kernel, size, strict=True)
            ),
            strides=self.strides,
            padding="valid" if None in kernel else "same",
            name=f"deconv_{position}",
            **{"filters": self.filters, **options},
        )
        return layer(maps)


class Doubling(NamedTuple):
    """A residual block of a generator that doubles its map, by transposed convolutions:

        conv3x3(silu(norm(up4x4(map)))) + up2x2(map)

    Norm and activation follow, as after every row.
    """

    filters: int
    activation: Callable | str = "silu"

    @property
    def size(self) -> int:
        return 4

    @property
    def strides(self) -> int:
        return 2

    def onto(
        self, size: tuple[int, ...], maps: tf.Tensor, position: int, options: Options
    ) -> tf.Tensor:
        """As for `Deconv`."""

        def up(side, strides, kind):
            name = f"deconv_{position}_{kind}"
            more = {"padding": "same", "name": name, **options}
            return ConvTranspose(self.filters, (side, side), strides, **more)

        found = up(self.size, self.strides, 0)(maps)
        found = BatchNorm(name=f"norm_{position}_0", **FLOAT)(found)
        found = up(3, 1, 1)(keras.layers.Activation(self.activation, **FLOAT)(found))
        return keras.layers.Add(**FLOAT)([found, up(2, self.strides, "beside")(maps)])


def _spanning_conv(filters, size, strides, maps, options):
    """Filters over some frames and all their pixels, half a filter of zeros before and
    after the first and last frame: [batch, frames, height, width, channels] to [batch,
    fewer frames, 1, 1, filters]. Pixels are channels, convolved along the frames. Of a
    still map its rows take the place of frames.
    """
    frames, *pixels = maps.shape[1:]
    flat = keras.layers.Reshape((frames, 1, math.prod(pixels)), **FLOAT)(maps)
    padded = keras.layers.ZeroPadding2D((size // 2, 0), **LAST)(flat)
    found = keras.layers.Conv2D(filters, (size, 1), (strides, 1), **options)(padded)
    ones = [1] * (len(pixels) - 1)
    return keras.layers.Reshape((found.shape[1], *ones, filters), **FLOAT)(found)
