"""Images as numbers: whole ones of 256 steps, and those that nets take."""

from typing import Any

import numpy as np


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
