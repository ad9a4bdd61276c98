"""Masks: which pixels of an image are visible, and images without the others."""

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from coopnets_tf.errors import MaskError
from coopnets_tf.wording import nearest

KINDS = ("square", "random", "salt_pepper")


def parse_mask(
    text: str | None, image_shape: Sequence[int], *, argument: str = "mask"
) -> tuple[str, int | float]:
    """The kind and the amount of a mask's description.

    Args:
      text: "square:<side in pixels>", "random:<share>" or "salt_pepper:<share>", the
        share of hidden pixels, in (0, 1). None: a square of half the shorter side.
      image_shape: (height, width, channels).
      argument: what the caller calls the mask.

    Returns:
      Kind, and amount: an int for a square, else a float.

    Raises:
      MaskError: if it describes no mask, or one that hides nothing or everything.
    """
    shortest, longest = sorted(image_shape[:2])
    kind, _, amount = (text or f"square:{shortest // 2}").partition(":")
    if kind not in KINDS:
        lost = ", which does not exist" if Path(kind).suffix else ""
        raise MaskError(
            f"`{argument}` must be square:<pixels>, random:<share>, "
            f"salt_pepper:<share> or an image file. Received: {text}{lost}."
            f"{nearest(kind, KINDS)}"
        )
    number: Callable = float
    limit, rule = 1, "the share of hidden pixels must be between 0 and 1"
    if kind == "square":
        number, limit = int, shortest + (longest > shortest)  # something stays visible
        size = "x".join(map(str, image_shape[:2]))
        rule = f"the square of an image of {size} pixels may have a side of 1 to "
        rule += str(limit - 1)
    with contextlib.suppress(ValueError):
        if 0 < number(amount) < limit:
            return kind, number(amount)
    raise MaskError(f"`{argument}`: {rule}. Received: {text}.")


def hide(
    images: np.ndarray, mask: str | None, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hides a part of images, of clips the same one in all frames.

    Args:
      images: float32 [number, height, width, channels] or [number, frames, height,
        width, channels] in [-1, 1].
      mask: see `parse_mask`, or the path of an image file in which black is hidden.

    Returns:
      `visible` and `occluded`, as `images`: see `visible_pixels` and `occlude`.

    Raises:
      MaskError: if the mask cannot be used.
    """
    shape = images.shape[-3:]
    path = os.path.expanduser(mask or "")
    if os.path.isfile(path):
        kind, visible = "file", read_mask(Path(path), shape)
    else:
        kind, amount = parse_mask(mask, shape)
        visible = visible_pixels(
            kind, amount, number=len(images), image_shape=shape, seed=seed
        )
        visible = visible.reshape(-1, *[1] * (images.ndim - 4), *shape)
    visible = np.broadcast_to(visible, images.shape)
    refuse_extremes(visible, f"`mask`={mask}", "Give another share, or another `seed`.")
    return visible, occlude(images, visible, kind=kind, seed=seed)


def refuse_extremes(visible: np.ndarray, origin: str, way_out: str) -> None:
    """Stops where a mask, from `origin`, hides nothing or everything of an image."""
    shares = visible.mean(axis=tuple(range(1, visible.ndim)))
    if shares.min() == 0 or shares.max() == 1:
        raise MaskError(
            f"{origin} hides nothing or everything of at least one image. {way_out}"
        )


def training_masks(
    mask: str, image_shape: Sequence[int]
) -> Callable[[np.ndarray], np.ndarray]:
    """Which pixels of training images are never seen, always the same ones.

    Args:
      mask: see `hide`; salt and pepper are random pixels here, since nobody sees them.
      image_shape: (height, width, channels).

    Returns:
      Function of int [number], the images' numbers, that returns which pixels are
      visible: bool [number, height, width, 1].

    Raises:
      MaskError: if the mask cannot be used.
    """
    argument, shape = "training_mask", (*image_shape[:2], 1)
    path = os.path.expanduser(mask)
    if os.path.isfile(path):
        common = read_mask(Path(path), shape, argument=argument)
    else:
        kind, amount = parse_mask(mask, shape, argument=argument)
        if kind != "square":  # another one for each image
            return lambda places: np.stack(
                [  # 2: other draws than those of `visible_pixels` and `occlude`
                    np.random.default_rng([int(place), 2]).random(shape) >= amount
                    for place in places
                ]
            )
        common = visible_pixels(kind, amount, number=1, image_shape=shape, seed=0)[0]
    return lambda places: np.broadcast_to(common > 0, (len(places), *shape))


def read_mask(
    path: Path, image_shape: Sequence[int], *, argument: str = "mask"
) -> np.ndarray:
    """A mask from an image file of the images' size: float32 [height, width, channels].

    Raises:
      MaskError: if it cannot be read, has another size, or hides nothing or all.
    """
    try:
        with Image.open(path) as image:
            dark = np.asarray(image.convert("L")) < 128
    except Exception as error:  # Pillow's decoders raise many kinds on a bad file
        raise MaskError(f"`{argument}`={path} cannot be read: {error}.") from error
    if dark.shape != tuple(image_shape[:2]):
        raise MaskError(
            f"`{argument}`={path} must have the images' size, {image_shape[0]}x"
            f"{image_shape[1]}. Received: {dark.shape[0]}x{dark.shape[1]}."
        )
    if dark.all() or not dark.any():
        raise MaskError(f"`{argument}`={path} hides nothing or everything.")
    visible = np.where(dark, 0, 1).astype(np.float32)
    return np.repeat(visible[..., None], image_shape[2], axis=2)


def visible_pixels(
    kind: str,
    amount: int | float,
    *,
    number: int,
    image_shape: Sequence[int],
    seed: int,
) -> np.ndarray:
    """Masks, float32 [number, height, width, channels]: 1 where a pixel is visible, 0
    where it is hidden, the same in all colours.

    Args:
      kind, amount: from `parse_mask`. A square is in the middle.
      number: of masks, which differ where they are random.
      image_shape: (height, width, channels).
    """
    height, width, _ = image_shape
    visible = np.ones((number, height, width, 1), np.float32)
    if kind == "square":
        top, left = (height - amount) // 2, (width - amount) // 2
        visible[:, top : top + amount, left : left + amount] = 0
    else:
        draws = np.random.default_rng([seed, 0]).random(visible.shape)
        visible[draws < amount] = 0
    return np.broadcast_to(visible, (number, *image_shape)).copy()


def occlude(
    images: np.ndarray, visible: np.ndarray, *, kind: str, seed: int
) -> np.ndarray:
    """Images whose hidden pixels are mid grey, or, for salt and pepper, black or white.

    `images` are float32 in [-1, 1], see `hide`, as is `visible`.
    """
    noise = np.zeros_like(images)
    if kind == "salt_pepper":
        draws = np.random.default_rng([seed, 1]).random((*images.shape[:-1], 1))
        noise = np.where(draws < 0.5, -1, 1).astype(np.float32)
    return np.where(visible > 0, images, noise)
