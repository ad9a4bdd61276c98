"""Batches of images as training steps take them."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from coopnets_tf.errors import DatasetError

RANGE = "Images must be float32 in [-1, 1]."
SCALE = "Give pixels / 127.5 - 1."
ROUNDING = 1e-3  # by which images may leave their range


def as_batch(
    data: Any, image_shape: tuple[int, ...], *, incomplete: bool = False
) -> dict[str, tf.Tensor]:
    """A batch as the training steps take it.

    Args:
      data: a dict, or images alone; or a tuple that begins with either, as Keras' `fit`
        has it. By name: `images`, float [batch, *image_shape] in [-1, 1], and where
        there are any `numbers`, int [batch]; `visible`, as `images`, 1 where a pixel is
        known and 0 where not; `labels`, int [batch].
      incomplete: whether the algorithm learns from incomplete images.

    Raises:
      DatasetError: on images of another shape, of integers, or incomplete ones.
    """
    batch = _by_name(data)
    images = tf.convert_to_tensor(batch["images"])
    if not images.dtype.is_floating:
        raise DatasetError(f"{RANGE} Received: {images.dtype.name}. {SCALE}")
    shape = images.shape[1:]
    if not shape.is_compatible_with(image_shape):
        raise DatasetError(
            f"The nets are for images of shape {list(image_shape)}. Received: "
            f"{list(shape)}."
        )
    if "visible" in batch and not incomplete:
        raise DatasetError(
            "Only Algorithm G learns from incomplete images. Received: a batch with "
            "`visible`."
        )
    return {**batch, "images": tf.cast(images, tf.float32)}


def check_batch(data: Any, *, num_classes: int = 0) -> None:
    """Looks at what only the values of a batch tell; costs a pass over its images.

    Args:
      data: see `as_batch`; the images may be of any number. Hidden pixels, those with
        `visible` 0, may hold anything.
      num_classes: of nets that are told classes; else labels may be anything.

    Raises:
      DatasetError: if images are of integers, contain NaN, or leave [-1, 1], or a label
        is no class.
    """
    batch = _by_name(data)
    if num_classes and "labels" in batch:
        _check_labels(np.asarray(batch["labels"]), num_classes)
    images = batch["images"]
    pixels = images.numpy() if tf.is_tensor(images) else np.asarray(images)
    if "visible" in batch:
        pixels = pixels[np.broadcast_to(batch["visible"], pixels.shape) > 0]
    low, high = map(float, (pixels.min(), pixels.max()) if pixels.size else (0, 0))
    dtype = tf.as_dtype(pixels.dtype)
    if dtype.is_floating and max(-low, high) <= 1 + ROUNDING:  # not where it is NaN
        return
    found = f", from {low:g} to {high:g}. {SCALE}"
    if not np.isfinite([low, high]).all():
        found = " with NaN or infinity in it."
    raise DatasetError(f"{RANGE} Received: {dtype.name}{found}")


def _check_labels(labels, num_classes):
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise DatasetError(
            f"Labels must be classes from 0 to {num_classes - 1}. Received: from "
            f"{labels.min()} to {labels.max()}."
        )


def _by_name(data):
    """A batch as a dict, whatever form it comes in; see `as_batch`."""
    images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    return images if isinstance(images, dict) else {"images": images}


def checked(data: Any, *, num_classes: int = 0) -> Any:
    """Data for `fit`, whose first batch, or all that is an array, has been checked; see
    `check_batch`.
    """
    if isinstance(data, keras.utils.PyDataset):
        first = [data[0]]
    elif isinstance(data, tf.data.Dataset):
        first = list(data.take(1))
    elif isinstance(data, Iterator):
        first = list(itertools.islice(data, 1))
        data = (batch for batch in itertools.chain(first, data))
    elif isinstance(data, dict) or hasattr(data, "dtype"):
        first = [data]
    else:  # for Keras to judge
        first = []
    for batch in first:
        check_batch(batch, num_classes=num_classes)
    return data
