"""Images as people see them: grids, PNG files and films. No contrast is stretched."""

import io
import itertools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from coopnets_tf.data.images import to_uint8
from coopnets_tf.files import write_whole

# Small images are enlarged by a whole factor to be seen, within these widths in pixels.
MAX_WIDTH = 800  # of a picture
MAX_TILE = 256  # of an image in it
MAX_FRAMES = 16  # of a clip in a row
MAX_GROUPS = 3  # a row of `compared`
GAP, GROUP_GAP = 2, 12  # pixels between two images, two groups
HEADING = 12  # pixels, the size of its letters


def grid(
    images: np.ndarray, *, num_columns: int | None = None, gap: int = GAP
) -> np.ndarray:
    """Lays images out row by row: uint8 [grid height, grid width, channels].

    Small ones are enlarged without smoothing; empty places are white. Of clips each is
    a row of its frames, of many some that are evenly chosen.

    Args:
      images: float [num_images, height, width, channels] or [num_images, frames,
        height, width, channels] in [-1, 1]; clipped.
      num_columns: of images. The default makes the grid about square.
      gap: pixels between two images.
    """
    tiles = to_uint8(images)
    if tiles.ndim == 5:
        tiles = _strips(tiles, gap)
        num_columns = tiles.shape[1]
        tiles = tiles.reshape(-1, *tiles.shape[2:])
    if not num_columns:
        number, (height, width) = len(tiles), tiles.shape[1:3]
        num_columns = min(math.ceil(math.sqrt(number * height / width)), number)
    factor = _factor(tiles.shape[1:3], num_columns, gap)
    return _lay_out(_enlarged(tiles, factor), num_columns, gap)


def _strips(clips, gap):
    """Frames of clips that fit into a row: the first, the last, and some between."""
    number, width = clips.shape[1], clips.shape[3]
    fit = max((MAX_WIDTH - gap) // (width + gap), 2)
    chosen = np.linspace(0, number - 1, min(number, fit, MAX_FRAMES))
    return clips[:, chosen.round().astype(int)]


def compared(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Images of several kinds, those of one place as a group under their headings.

    Of clips those of one place are rows of frames, one kind below the other.

    Args:
      columns: by heading, float [num_images, height, width, 1 or 3] in [-1, 1] or clips
        of them; as many of each kind; clipped.

    Returns:
      uint8 [picture height, picture width, channels], with as many groups a row as
      leave room for the headings.
    """
    if (clips := next(iter(columns.values()))).ndim == 5:
        return grid(np.stack([*columns.values()], 1).reshape(-1, *clips.shape[1:]))
    kinds = [to_uint8(images) for images in columns.values()]
    number, *size, channels = kinds[0].shape
    widest = math.ceil(max(map(_font().getlength, columns)))
    for num_groups in range(min(MAX_GROUPS, number), 0, -1):
        factor = _factor(size, num_groups * len(kinds), GAP)
        cell = max(factor * size[1], widest)
        if num_groups * len(kinds) * cell <= MAX_WIDTH:
            break
    left = (cell - factor * size[1]) // 2
    margins = [(0, 0), (0, 0), (left, cell + GAP - left - factor * size[1]), (0, 0)]
    groups = np.concatenate(
        [
            np.pad(_enlarged(kind, factor), margins, constant_values=255)
            for kind in kinds
        ],
        axis=2,
    )
    headings = _headings(columns, cell)[None, ..., None]
    headings = headings.repeat(num_groups, axis=0).repeat(channels, axis=3)
    above, below = (
        _lay_out(part, num_groups, GROUP_GAP) for part in (headings, groups)
    )
    return np.concatenate([above, below[GROUP_GAP:]])


def _font() -> Any:
    return ImageFont.load_default(HEADING)


def _headings(names, cell):
    """Names in the middle of cells that stand `GAP` apart: uint8 [height, width]."""
    strip = Image.new("L", (len(names) * (cell + GAP), HEADING + 4), 255)
    for column, name in enumerate(names):
        middle = column * (cell + GAP) + cell / 2, strip.height / 2
        ImageDraw.Draw(strip).text(middle, name, fill=0, font=_font(), anchor="mm")
    return np.asarray(strip)


def _factor(size, num_columns, gap):
    """By how much images of (height, width) grow, so that a row is not too wide."""
    width = min((MAX_WIDTH - gap) // num_columns - gap, MAX_TILE)
    return max(1, min(width // size[1], MAX_TILE // size[0]))


def _enlarged(tiles, factor):
    """[number, height, width, channels] -> `factor` times the height and width."""
    return tiles.repeat(factor, axis=1).repeat(factor, axis=2)


def _lay_out(tiles, num_columns, gap):
    """uint8 [number, height, width, channels] row by row on white."""
    number, height, width, channels = tiles.shape
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
    write_whole(path, png(pixels))


def save_pngs(place: Path, batches: Iterable[np.ndarray]) -> None:
    """Images, uint8, as `<place>/<number>.png`, or clips as
    `<place>/<number>/<frame>.png`.
    """
    for number, image in enumerate(itertools.chain.from_iterable(batches)):
        if image.ndim == 4:
            save_pngs(place / f"{number:06d}", [image])
        else:
            save_png(place / f"{number:06d}.png", image)


def png(pixels: np.ndarray) -> bytes:
    """uint8 [height, width, 1 or 3] -> the content of a PNG file."""
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def save_film(path: Path, frames: list[np.ndarray], milliseconds: int) -> None:
    """Saves pictures, uint8 [height, width, channels], as a film, a GIF or a WebP."""
    first, *others = [Image.fromarray(frame.squeeze()) for frame in frames]
    first.save(
        path,
        append_images=others,
        save_all=True,
        duration=milliseconds,
        loop=0,
    )
