"""Whether samples repeat the training: how far each is from its nearest training image.

Pixels are compared as they are: a copy that was mirrored or moved counts as another
image. Flat images are near to many, without being copies; what tells a copy is that it
is much nearer to one image than to the next ones.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from coopnets_tf.data import drawing
from coopnets_tf.data.image_dataset import ImageDataset

NUM_COMPARED = 1_000  # images of each set
NUM_NEXT = 50  # training images nearest to an image
NUM_SHOWN = 30  # pairs in the picture
NEAR = 5  # per cent of the real images that count as near to one of the training
BLOCK = 2**24  # numbers that are kept at a time


class Nearest(NamedTuple):
    """The nearest training images of some images."""

    numbers: np.ndarray  # int [images], of the training images
    distances: np.ndarray  # float64 [images], r.m.s. over the pixels, pixel units
    relative: np.ndarray  # [images] in [0, 1], to the mean of the `NUM_NEXT` nearest


def check(
    scored: Mapping[str, ImageDataset],
    reference: ImageDataset,
    training: ImageDataset,
    *,
    shown: str,
) -> tuple[dict[str, dict[str, float]], np.ndarray]:
    """Compares sets of images with the training, by the first ones of each.

    Args:
      scored: the sets, by name.
      reference: real images, held out of the training.
      shown: the set that is in the picture.

    Returns:
      By set what `scores` makes of it; a picture of the pairs that are nearest by the
      relative distance, uint8 [height, width, channels].
    """
    sets = [one[:NUM_COMPARED] for one in (reference, *scored.values())]
    found = nearest(np.concatenate(sets), training)
    ends = np.cumsum([len(one) for one in sets])[:-1]
    real, *others = map(Nearest, *(np.split(part, ends) for part in found))
    own = dict(zip(scored, others, strict=True))
    chosen = np.argsort(own[shown].relative, kind="stable")[:NUM_SHOWN]
    pairs = {
        "sample": scored[shown][chosen],
        "nearest": training[own[shown].numbers[chosen]],
    }
    numbers = {name: scores(one, real) for name, one in own.items()}
    return numbers, drawing.compared(pairs)


def scores(found: Nearest, real: Nearest) -> dict[str, float]:
    """What distances from the training tell, beside those of real images.

    Returns:
      `nearest` and `nearest_of_real`, mean distances; `near`, the relative distance
      below which `NEAR` per cent of the real images are; `share_near`, of the images
      that are below: about `NEAR` / 100 if they are as new as real ones, 1 of copies.
    """
    near = np.percentile(real.relative, NEAR)
    return {
        "nearest": float(np.mean(found.distances)),
        "nearest_of_real": float(np.mean(real.distances)),
        "near": float(near),
        "share_near": float(np.mean(found.relative < near)),
    }


def nearest(queries: np.ndarray, training: ImageDataset) -> Nearest:
    """The nearest training image of each image, float32 [number, *image_shape]."""
    rows = queries.reshape(len(queries), -1)
    step = max(1, BLOCK // max(rows.shape))
    numbers, least = np.zeros((len(rows), 0), int), np.zeros((len(rows), 0), np.float32)
    for first in range(0, training.num_images, step):
        block = training[first : first + step].reshape(-1, rows.shape[1])
        # Half the squared distances, but for the image's own square.
        gaps = np.square(block).sum(axis=1) / 2 - rows @ block.T
        found, gaps = _smallest(gaps)
        numbers = np.concatenate([numbers, first + found], axis=1)
        kept, least = _smallest(np.concatenate([least, gaps], axis=1))
        numbers = np.take_along_axis(numbers, kept, axis=1)
    squares = 2 * least + np.square(rows).sum(axis=1)[:, None]
    means = np.sqrt(np.maximum(squares, 0) / rows.shape[1]).mean(axis=1)
    best = least.argmin(axis=1)[:, None]
    numbers = np.take_along_axis(numbers, best, axis=1)[:, 0]
    # What was summed so far are large numbers; that of a copy must be exactly 0.
    parts = [slice(first, first + step) for first in range(0, len(rows), step)]
    distances = np.concatenate(
        [_distances(queries[part], training[numbers[part]]) for part in parts]
    )
    relative = distances / np.maximum(means, np.finfo(np.float32).tiny)
    return Nearest(numbers, distances, np.minimum(relative, 1))


def _smallest(values):
    """Where the `NUM_NEXT` smallest of each row are, and what, in any order."""
    last = min(NUM_NEXT, values.shape[1]) - 1
    places = np.argpartition(values, last, axis=1)[:, : last + 1]
    return places, np.take_along_axis(values, places, axis=1)


def _distances(one, other):
    squares = np.square(one - other, dtype=np.float64)
    return np.sqrt(squares.mean(axis=tuple(range(1, one.ndim))))
