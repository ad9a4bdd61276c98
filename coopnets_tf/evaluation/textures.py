"""Whether a synthesised texture is that of a picture: statistics of what an independent
network answers to it, wherever in the image that is.

The Gram matrix of a layer says how strong its filters' answers are together,

    G_ij = mean over places of  a_i a_j

and two textures are as far apart as their matrices are. Random windows of the picture
itself are the floor: no synthesis has a reason to be nearer. The same pixels in random
order, and other pictures, are the ceiling.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.signal import fftconvolve

from coopnets_tf import seeds
from coopnets_tf.data import drawing, images, named
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.data.windows import Windows
from coopnets_tf.errors import DatasetError
from coopnets_tf.evaluation import drawn, facts, metrics, own_extractor, reports
from coopnets_tf.evaluation.drawn import Evaluation
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.wording import by

SIZES = (3, 7, 15)  # of the random filters, pixels
NUM_FILTERS = 48  # of each size
NEAR_ZERO = 1e-12
MOST_IMAGES = 16  # of a set: one alone has thousands of places
Maps = Callable[[np.ndarray], Sequence[Any]]  # images -> maps of each layer
WINDOWS, SHUFFLED = "windows of the picture", "its pixels shuffled"


def evaluate(
    model: ImageModel,
    training: ImageDataset,
    *,
    num_samples: int,
    seed: int,
    maps: Maps,
    extractor: dict[str, Any],
) -> Evaluation:
    """Scores what the nets make of one picture.

    Args:
      training: the windows of the picture.
      num_samples: images of each set, at most `MOST_IMAGES`.
      seed: in [0, 2**31); of the draws.
      maps, extractor: an independent network and its facts, see `maps_for`.

    Returns:
      An evaluation whose scores are `gram`, the distance of Gram matrices from those of
      the windows of the picture, and `nearest`, how far images are from the nearest
      window of it; of each net, of other windows, and of other textures.

    Raises:
      NotFinite: if a net makes images that contain NaN or infinity.
    """
    number = min(num_samples, MOST_IMAGES)
    grams = functools.partial(gram_matrices_of, maps)
    windows = training.drawn(2 * number, seed=seed)
    known, fresh = windows.part(slice(0, None, 2)), windows.part(slice(1, None, 2))
    picture = [one.mean(axis=0) for one in grams(known[:])]
    sets = drawn.samples_by_net(model, number, seed=seed)
    others = {WINDOWS: fresh[:]} if fresh.num_images else {}
    others |= other_pictures(training, number, seed=seed)
    others[SHUFFLED] = shuffled(known[:], seed=seed)
    scores = {
        name: {
            "num_images": len(one),
            "gram": metrics.with_error(gram_distance(grams(one), picture)),
        }
        for name, one in ({net: one[:] for net, one in sets.items()} | others).items()
    }
    found = {net: nearest_windows(one[:], training) for net, one in sets.items()}
    for net, (distances, _) in found.items():
        scores[net]["nearest"] = metrics.with_error(distances)
    if fresh.num_images and len(apart := windows_apart(fresh, training)):
        scores[WINDOWS]["nearest"] = metrics.with_error(apart)
    protocol = {
        "num_samples": number,
        "seed": seed,
        "trained_on": str(training),
        "window": list(training.image_shape),
        "extractor": extractor,
    }
    report = facts.report(model, protocol, scores)
    net = drawn.final_net(model)
    pairs = {"sample": sets[net][:], "nearest": found[net][1]}
    return Evaluation(
        report, {"nearest": drawing.compared(pairs)}, sets, training.part(known.places)
    )


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


def maps_for(
    image_shape: tuple[int, ...],
    extractor: Path | str | None = None,
    *,
    layer: str | None = None,
) -> tuple[Maps, dict[str, Any]]:
    """The answers that textures are compared by: of `random_filters`, or of a layer of
    a network of the user's, see `own_extractor.maps_of_file`; and facts.

    Raises:
      DatasetError: if the images are smaller than a filter.
      ExtractorError: if the extractor does not have maps.
    """
    if extractor:
        return own_extractor.maps_of_file(extractor, image_shape, layer=layer)
    return random_filters(image_shape)


def random_filters(image_shape: tuple[int, ...]) -> tuple[Maps, dict[str, Any]]:
    """The answers of random filters of several sizes, rectified.

    Nothing was ever learned by them, so that they favour no net, and they need no
    download.

    Returns:
      images float32 [batch, *image_shape] in [-1, 1] -> maps of each size; facts.

    Raises:
      DatasetError: if the images are smaller than a filter.

    Source: Ustyuzhaninov et al., "What does it take to generate natural textures?",
    ICLR 2017, that one layer of random filters of several sizes tells textures apart.
    """
    if min(image_shape[:2]) < max(SIZES):
        raise DatasetError(
            f"An evaluation of textures needs {max(SIZES)} pixels or more each way. "
            f"Received: images of {by(image_shape[:2])}."
        )
    kernels = []
    for number, size in enumerate(SIZES):
        shape = [size, size, image_shape[-1], NUM_FILTERS]
        kernel = seeds.standard_normal(shape, seed=tf.constant([0, number]))
        # Of no answer to a flat image, and of one size of answers to noise.
        kernel -= tf.reduce_mean(kernel, axis=[0, 1, 2], keepdims=True)
        length = tf.sqrt(tf.reduce_sum(tf.square(kernel), axis=[0, 1, 2]))
        kernels.append(kernel / length)

    @tf.function
    def maps(images):
        return [tf.nn.relu(tf.nn.conv2d(images, one, 1, "VALID")) for one in kernels]

    sizes = ", ".join(map(str, SIZES))
    about = {"network": f"random filters, {NUM_FILTERS} each of {sizes} pixels"}
    return maps, about


def gram_matrices_of(maps: Maps, found: np.ndarray) -> list[np.ndarray]:
    """The matrices of images, [images, numbers] of each layer; one image at a time,
    whose maps may be large.
    """
    parts = [
        [gram_matrices(tf.constant(one)).numpy() for one in maps(found[k : k + 1])]
        for k in range(len(found))
    ]
    return [np.concatenate(layer) for layer in zip(*parts, strict=True)]


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


def nearest_windows(
    found: np.ndarray, training: ImageDataset
) -> tuple[np.ndarray, np.ndarray]:
    """How far each image is from the nearest window of the picture; these windows."""
    picture = _picture(training)
    height, width = training.image_shape[:2]
    distances, windows = [], []
    for image in found:
        distance, (row, column) = nearest_window(image, picture)
        distances.append(distance)
        windows.append(picture[row : row + height, column : column + width])
    return np.array(distances), np.stack(windows)


def windows_apart(windows: ImageDataset, training: ImageDataset) -> np.ndarray:
    """How far windows are from the nearest one that shares no pixel with them; of those
    that have one.
    """
    picture = _picture(training)
    distances = []
    for image in windows[:]:
        _, own_place = nearest_window(image, picture)
        distances.append(nearest_window(image, picture, apart_from=own_place)[0])
    return np.array([one for one in distances if np.isfinite(one)])


def _picture(training):
    return images.from_uint8(training.whole)


def other_pictures(
    training: ImageDataset, number: int, *, seed: int
) -> dict[str, np.ndarray]:
    """Windows of the built-in pictures, as far as they are installed and other ones."""
    height, width, channels = training.image_shape
    found: dict[str, np.ndarray] = {}
    for name in named.TEXTURES:
        try:
            pixels = named.texture(name)
        except DatasetError:  # scikit-image is optional
            continue
        if training.name == name or any(np.less(pixels.shape[:2], (height, width))):
            continue
        pixels = np.broadcast_to(pixels, (*pixels.shape[:2], channels))
        whole = ImageDataset(name, Windows(pixels, (height, width)))
        found[name] = whole.drawn(number, seed=seed)[:]
    return found


def text(report: Mapping[str, Any]) -> str:
    """The scores, a row for each of what was scored, and what they are."""
    rows = {
        name: {
            "images": str(own["num_images"]),
            "Gram distance": reports.plus_minus(own["gram"], 3),
            "nearest window": "nearest" in own
            and reports.plus_minus(own["nearest"], 3)
            or "",
        }
        for name, own in report["scores"].items()
    }
    protocol = report["protocol"]
    return reports.wrapped(
        [
            reports.table(rows),
            f"Of images of {by(protocol['window'][:2])}, {protocol['trained_on']}.",
            "Gram distance: from the statistics of the picture's windows "
            f"({protocol['extractor']['network']}); smaller is better.",
            "Nearest window: r.m.s. distance of the pixels; of windows from those that "
            "share no pixel with them. A sample much nearer than that is a copy.",
            "±: standard error over images; windows overlap, and theirs is too small.",
        ]
    )
