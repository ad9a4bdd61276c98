"""Whether a synthesised texture is that of a picture: statistics of what an independent
network answers to it, wherever in the image that is.

The Gram matrix of a layer says how strong its filters' answers are together,

    G_ij = mean over places of  a_i a_j

and two textures are as far apart as their matrices are. Random windows of the picture
itself are the floor: no synthesis has a reason to be nearer. The same pixels in random
order, and other pictures, are the ceiling.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from scipy.signal import fftconvolve

from coopnets_tf import seeds

SIZES = (3, 7, 15)  # of the random filters, pixels
NUM_FILTERS = 48  # of each size
NEAR_ZERO = 1e-12
Grams = Callable[[np.ndarray], list[np.ndarray]]  # one [images, numbers] of each layer


def gram_matrices(maps: tf.Tensor) -> tf.Tensor:
    """Of answers, [batch, height, width, filters], the Gram matrix of each image,
    [batch, filters * filters].
    """
    flat = tf.reshape(maps, [tf.shape(maps)[0], -1, maps.shape[-1]])
    places = tf.cast(tf.shape(flat)[1], flat.dtype)
    return tf.reshape(
        tf.matmul(flat, flat, transpose_a=True) / places,
        [tf.shape(maps)[0], maps.shape[-1] ** 2],
    )


def random_filters(channels: int) -> Grams:
    """Gram matrices of the answers of random filters of several sizes, rectified.

    Nothing was ever learned by them, so that they favour no net, and they need no
    download. An image is taken as it is, and must be 15 pixels or larger each way.

    Source: Ustyuzhaninov et al., "What does it take to generate natural textures?",
    ICLR 2017, that one layer of random filters of several sizes tells textures apart.
    """
    kernels = []
    for number, size in enumerate(SIZES):
        shape = [size, size, channels, NUM_FILTERS]
        kernel = seeds.standard_normal(shape, seed=tf.constant([0, number]))
        # Of no answer to a flat image, and of one size of answers to noise.
        kernel -= tf.reduce_mean(kernel, axis=[0, 1, 2], keepdims=True)
        length = tf.sqrt(tf.reduce_sum(tf.square(kernel), axis=[0, 1, 2]))
        kernels.append(kernel / length)

    @tf.function
    def grams(images):
        answers = [tf.nn.conv2d(images, kernel, 1, "VALID") for kernel in kernels]
        return [gram_matrices(tf.nn.relu(one)) for one in answers]

    return lambda images: [one.numpy() for one in grams(tf.constant(images))]


def in_parts(grams: Grams, images: np.ndarray) -> list[np.ndarray]:
    """The matrices of many images, one after the other."""
    parts = [grams(images[number : number + 1]) for number in range(len(images))]
    return [np.concatenate(one) for one in zip(*parts, strict=True)]


def gram_distance(
    found: Sequence[np.ndarray], picture: Sequence[np.ndarray]
) -> np.ndarray:
    """How far the matrices of images are from those of a picture, float64 [images].

        mean over layers of  ||G - G_picture|| / ||G_picture||

    Args:
      found: of each layer, [images, numbers].
      picture: of each layer, [numbers].
    """
    layers = [
        np.linalg.norm(np.subtract(one, whole, dtype=np.float64), axis=1)
        / max(np.linalg.norm(whole), NEAR_ZERO)
        for one, whole in zip(found, picture, strict=True)
    ]
    return np.mean(layers, axis=0)


def shuffled(images: np.ndarray, *, seed: int) -> np.ndarray:
    """The same pixels, each image's in a random order."""
    random = np.random.default_rng(seed)
    flat = images.reshape(len(images), -1, images.shape[-1])
    return np.stack([random.permutation(one) for one in flat]).reshape(images.shape)


def nearest_window(
    image: np.ndarray, picture: np.ndarray, *, apart_from: tuple[int, int] | None = None
) -> tuple[float, tuple[int, int]]:
    """The window of a picture that is nearest to an image.

        ||window - image||^2 = ||window||^2 - 2 <window, image> + ||image||^2

    of all windows at once: sums over windows are correlations.

    Args:
      image: float [height, width, channels], in the scale of the picture.
      picture: float [rows, columns, channels].
      apart_from: a window's place; windows that share pixels with it do not count.

    Returns:
      The r.m.s. distance of pixels, infinite where no window counts, and the place
      (row, column) of the window.
    """
    image, picture = image.astype(np.float64), picture.astype(np.float64)
    height, width = image.shape[:2]
    turned = image[::-1, ::-1]
    products = sum(
        fftconvolve(picture[..., one], turned[..., one], "valid")
        for one in range(image.shape[2])
    )
    ones = np.ones((height, width))
    squares = fftconvolve(np.square(picture).sum(axis=2), ones, "valid")
    distances = squares - 2 * products + np.square(image).sum()
    if apart_from:
        row, column = apart_from
        rows = slice(max(row - height + 1, 0), row + height)
        distances[rows, max(column - width + 1, 0) : column + width] = np.inf
    place = np.unravel_index(np.argmin(distances), distances.shape)
    row, column = int(place[0]), int(place[1])
    if np.isinf(distances[row, column]):
        return float("inf"), (row, column)
    # The sums above are large; that of a copy must be exactly 0.
    window = picture[row : row + height, column : column + width]
    return float(np.sqrt(np.mean(np.square(window - image)))), (row, column)
