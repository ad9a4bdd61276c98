"""Paths between latents, and the classes along them, as pictures are made of them."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from commands import by_class
from coopnets_tf import interpolation
from coopnets_tf.errors import RunError
from coopnets_tf.models.image_model import ImageModel

NUM_PATHS = 8  # between latents of the prior, one a row of a picture


def drawn(model: ImageModel, kind: str, seed: int) -> np.ndarray:
    """Latents of the prior, as `between` takes them.

    Returns:
      The four corners, [4, length]; of other kinds two ends of each path, [2,
      NUM_PATHS, length].
    """
    generator: Any = model.generator
    number = 4 if kind == "corners" else 2 * NUM_PATHS
    shape = (number, int(np.prod(generator.latent_shape)))
    latents = np.random.default_rng(seed).standard_normal(shape)
    return latents if kind == "corners" else latents.reshape(2, NUM_PATHS, -1)


def between(kind: str, latents: np.ndarray | None, num_points: int) -> np.ndarray:
    """Latents along paths, [rows, num_points, length].

    Args:
      kind: "linear", "spherical", "corners" or "plane".
      latents: two ends of each path, [2, rows, length]; four corners, [4, length]; None
        for the plane, which has no ends.
    """
    if latents is None:
        return interpolation.plane(num_points)
    if kind == "corners":
        return interpolation.four_corners(latents, num_points)
    start, end = latents
    along = {"linear": interpolation.linear, "spherical": interpolation.spherical}
    return along[kind](start, end, num_points)


def frames(kind: str, path: np.ndarray) -> list[np.ndarray]:
    """The latents of one frame of a film after the other, each [number, length]: there
    and back, or round the square.

    Args:
      kind: see `between`.
      path: [rows, columns, length].
    """
    if kind in ("corners", "plane"):
        edges = path[0], path[1:, -1], path[-1, -2::-1], path[-2:0:-1, 0]
        return list(np.concatenate(edges)[:, None])
    columns = path.swapaxes(0, 1)
    return [*columns, *columns[-2:0:-1]]


def both_classes(run_dir: Path, model: ImageModel, label: str | None) -> np.ndarray:
    """Rows of the class on the left of a path and of that on its right, [2, number of
    classes]; that is 0 where the nets are told none.

    Args:
      label: see `interpolate.interpolate`.

    Raises:
      RunError: if there is no such class, or a label is missing.
    """
    if not label:
        if model.class_shares:
            raise RunError(
                "Nets that are told classes need `label`, one of "
                f"{', '.join(by_class.names(run_dir, model))}; to interpolate between "
                "two, both with a comma."
            )
        return np.zeros([2, 0])
    first, _, second = label.partition(",")
    ends = (first, second or first)
    return np.concatenate([by_class.labels_for(run_dir, model, one, 1) for one in ends])


def with_classes(classes: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Latents of a path, [rows, columns, length], with rows of `both_classes` behind
    them, from the left to the right.
    """
    rows = interpolation.linear(classes[0], classes[1], path.shape[1])
    rows = np.broadcast_to(rows, (*path.shape[:2], rows.shape[-1]))
    return np.concatenate([path, rows], axis=-1)


def generated(model: ImageModel, path: np.ndarray) -> tf.Tensor:
    """Images of latents, [..., length], with rows of their classes behind them where
    the nets are told any; one after the other.
    """
    generator: Any = model.generator
    shape = (-1, *generator.latent_shape)
    length = int(np.prod(shape[1:]))
    latents = path[..., :length].reshape(shape).astype(np.float32)
    labels = path[..., length:].reshape(len(latents), -1)
    return model.generate(latents, labels=labels if model.class_shares else None)
