"""Images as numbers, as grids and as PNG files. No contrast is ever stretched."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from coopnets_tf.files import write_whole

SMALL_TILE = 32  # pixels; smaller images are enlarged by a whole factor to be seen


def from_uint8(pixels: np.ndarray) -> np.ndarray:
    """uint8 [0, 255] -> float32 [-1, 1], by pixels / 127.5 - 1."""
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_uint8(images: Any) -> np.ndarray:
    """float [-1, 1] -> uint8 [0, 255], clipped and rounded.

    Raises:
      ValueError: if a value is not finite.
    """
    images = np.asarray(images)
    if not np.isfinite(images).all():
        raise ValueError("`images` must be finite. Received: NaN or infinity in them")
    return np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)


def normalize_per_image(images: np.ndarray) -> np.ndarray:
    """Stretches each image, [batch, ...], to [-1, 1]; a flat one becomes zeros."""
    axes = tuple(range(1, images.ndim))
    low = images.min(axis=axes, keepdims=True)
    span = images.max(axis=axes, keepdims=True) - low
    scaled = 2 * (images - low) / np.where(span > 0, span, 1) - 1
    return np.where(span > 0, scaled, 0).astype(np.float32)


def grid(
    images: np.ndarray, *, num_columns: int | None = None, gap: int = 2
) -> np.ndarray:
    """Lays images out row by row: uint8 [grid height, grid width, channels].

    Of moving images each is a row of its frames; empty places are white.

    Args:
      images: float [num_images, height, width, channels] or [num_images, frames,
        height, width, channels] in [-1, 1]; clipped.
      num_columns: the default makes the grid about square.
      gap: pixels between two images.
    """
    tiles = to_uint8(images)
    if tiles.ndim == 5:
        num_columns = num_columns or tiles.shape[1]
        tiles = tiles.reshape(-1, *tiles.shape[2:])
    number, height, width, channels = tiles.shape
    factor = max(1, round(SMALL_TILE / max(height, width)))
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = height * factor, width * factor
    num_columns = num_columns or math.ceil(math.sqrt(number))
    num_rows = math.ceil(number / num_columns)
    canvas = np.full(
        (num_rows * (height + gap) + gap, num_columns * (width + gap) + gap, channels),
        255,
        np.uint8,
    )
    for position, tile in enumerate(tiles):
        row, column = divmod(position, num_columns)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        canvas[top : top + height, left : left + width] = tile
    return canvas


def save_png(path: Path, pixels: np.ndarray) -> None:
    """Writes uint8 [height, width, 1 or 3] to `path`; folders are made."""
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    write_whole(path, content.getvalue())
