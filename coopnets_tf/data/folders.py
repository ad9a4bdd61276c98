"""A place with images -> arrays of one size and colour mode, uint8."""

import concurrent.futures
import functools
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coopnets_tf import progress
from coopnets_tf.data import decoding, found, kept, sources
from coopnets_tf.data.decoding import Header, NoImage, Size, Unreadable
from coopnets_tf.data.found import Found
from coopnets_tf.data.sources import Origin
from coopnets_tf.errors import DatasetError

CACHE_BYTES = 2**30  # a folder whose images need less, once decoded, is kept in memory
MANY = 1_000  # images, whose reading shows a bar


class LazyImages:
    """Images that are decoded when needed: `lazy[indices]`, as from an array.

    A file that has changed since it was found raises a `DatasetError`.

    Args:
      image_shape: (height, width, channels) of each, as from `decode`.
    """

    def __init__(
        self,
        origins: Sequence[Origin],
        image_shape: Sequence[int],
        decode: Callable[[Origin], np.ndarray],
    ) -> None:
        self.origins = origins
        self.shape = (len(origins), *image_shape)
        self._decode = decode
        self._stamps = {path: _stamp(path) for path in {one.path for one in origins}}
        self._pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count(), "decode")

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        pixels = np.empty((len(indices), *self.shape[1:]), np.uint8)

        def fill(position):
            origin = self.origins[indices[position]]
            if _stamp(origin.path) != self._stamps[origin.path]:
                raise DatasetError(
                    f"{origin} was changed or removed while the images were in use. "
                    "Bring it back and `resume`, or begin a new run whose nets come "
                    "from this one, by `init_from`."
                )
            pixels[position] = self._decode(origin)

        list(self._pool.map(fill, range(len(indices))))  # raises what a thread raised
        return pixels


def _stamp(path):
    """What changes when a file is replaced; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def read(
    place: Path,
    *,
    image_size: Size,
    color_mode: str = "rgb",
    resize: str = "crop",
    skip_bad_images: bool = False,
    grey_range: str | None = None,
    by_number: bool = False,
    keep_decoded: bool = False,
    cache_bytes: int = CACHE_BYTES,
) -> tuple[np.ndarray | LazyImages, Found]:
    """Finds the images of a folder and of those in it, of a zip archive or an array.

    What is no image, neither by its name nor by its content, is left out. Images that
    fit into `cache_bytes` are decoded at once and kept, others whenever used.

    Args:
      place: see `sources.listing`.
      image_size, color_mode, resize: see `decoding.brought`.
      skip_bad_images: leave out images that cannot be decoded, instead of stopping. To
        know them, every one is decoded at the start, whether or not it is kept.
      grey_range: "LOW:HIGH", the 16-bit greys that become black and white. None: from 0
        to the first of 255, 511, ... 65535 that none of them exceeds.
      by_number: in the order of the numbers in their names, 2 before 10.
      keep_decoded: keep what is decoded for the next time, see `kept`.

    Returns:
      The images, uint8, and what was found.

    Raises:
      DatasetError: if there is no image, or on a bad one unless `skip_bad_images`.
    """
    options: Any = {
        "image_size": image_size,
        "color_mode": color_mode,
        "resize": resize,
    }
    listing = sources.listing(place)
    if by_number:
        listing.origins.sort(key=lambda one: _numbers(one.name))
    skipped: dict[Origin, str] = {}

    def each(function, origins):
        return _each(function, origins, skipped, skip_bad=skip_bad_images)

    greys = decoding.parse_grey_range(grey_range) if grey_range else None
    headers = dict(each(decoding.look, listing.origins))
    deep = [one for one, header in headers.items() if header.is_deep]
    if greys is None:
        greys = _smallest_range(value for _, value in each(decoding.largest_grey, deep))
    options["grey_range"] = greys
    good = [one for one in headers if one not in skipped]
    size = decoding.height_and_width(image_size)
    shape = (*size, decoding.channels(color_mode))
    decode: Callable[[Origin], np.ndarray]
    decode = functools.partial(decoding.decode, **options)
    if keep_decoded:
        due = {one: headers[one] for one in good}
        decode = kept.kept(due, shape, options) or decode
    decoded = each(decode, good)
    pixels: np.ndarray | LazyImages
    if len(good) * np.prod(shape, dtype=np.int64) <= cache_bytes:
        pixels = _stacked((image for _, image in decoded), (len(good), *shape))
    else:
        good = [one for one, _ in decoded] if skip_bad_images else good
        pixels = LazyImages(good, shape, decode)
    used = {one: header for one, header in headers.items() if one not in skipped}
    report = found.report(place, listing, used, skipped, greys if deep else None)
    if not used:
        raise DatasetError(
            f"`dataset`={place} holds no image that Pillow can read. "
            f"Received: {report}."
        )
    return pixels, report


def _numbers(name):
    """A name as texts and the numbers between them, in turns."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def read_picture(
    path: Path, *, color_mode: str = "rgb", grey_range: str | None = None
) -> tuple[np.ndarray, Found]:
    """One picture in its own size, uint8 [height, width, channels], and what it was.

    Args:
      path: of a file.
      color_mode: see `decoding.brought`.
      grey_range: see `read`.

    Raises:
      DatasetError: if it cannot be read as an image.
    """
    origin = sources.File(path, path.name)
    try:
        header = decoding.look(origin)
        greys = decoding.parse_grey_range(grey_range) if grey_range else None
        if header.is_deep and not greys:
            greys = _smallest_range([decoding.largest_grey(origin)])
        options: Any = {"grey_range": greys} if greys else {}
        pixels = decoding.decode(
            origin, image_size=None, color_mode=color_mode, **options
        )
    except (NoImage, Unreadable) as error:
        reason = error.reason if isinstance(error, Unreadable) else f"it {error}"
        raise DatasetError(
            f"`dataset`={path} cannot be read as an image: {reason}."
        ) from error
    return pixels, found.picture(path, header, greys if header.is_deep else None)


def _stacked(images, shape):
    """At most as many images as the shape says, in one array without copies of all."""
    pixels, number = np.empty(shape, np.uint8), 0
    for number, image in enumerate(images, 1):
        pixels[number - 1] = image
    return pixels[:number]


def _each(
    function: Callable[[Origin], Any],
    origins: Sequence[Origin],
    skipped: dict[Origin, str],
    *,
    skip_bad: bool,
) -> Iterator[tuple[Origin, Any]]:
    """The results of a function by origin; those without one are put into `skipped`."""

    def outcome(origin):
        try:
            return function(origin)
        except (NoImage, Unreadable) as error:
            return error

    decoding.know_formats()
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count(), "look")
    try:
        chunks = pool.map(lambda part: [outcome(one) for one in part], _parts(origins))
        if len(origins) >= MANY:
            chunks = progress.batches_on_a_bar(chunks, len(origins))
        results = itertools.chain.from_iterable(chunks)
        for origin, result in zip(origins, results, strict=True):
            if isinstance(result, NoImage):
                skipped[origin] = str(result)
            elif isinstance(result, Unreadable) and skip_bad:
                skipped[origin] = f"cannot be read: {result.reason}"
            elif isinstance(result, Unreadable):
                raise result
            else:
                yield origin, result
    finally:
        pool.shutdown(cancel_futures=True)  # also when the user has had enough


def _parts(origins):
    """What a thread reads at a time: of many several, for rows of arrays are quick."""
    size = min(32, 1 + len(origins) // MANY)
    return [origins[start : start + size] for start in range(0, len(origins), size)]


def _smallest_range(largest: Iterable[int]) -> tuple[int, int]:
    """From 0 to the smallest 2^k - 1, k in 8 to 16, that holds the largest value."""
    return 0, 2 ** max(8, max(largest, default=0).bit_length()) - 1


def read_files(
    images: Sequence[Path | str],
    *,
    image_shape: Sequence[int],
    number: int,
    resize: str = "crop",
    grey_range: str | None = None,
) -> tuple[np.ndarray, str]:
    """At most `number` images of files and other places.

    Args:
      images: files of one image, or places as for `read`.
      image_shape: (height, width, channels) to which they are brought, as in `decode`.
      resize, grey_range: see `read`.

    Returns:
      uint8 [number, *image_shape], and what was found and done, one line.

    Raises:
      DatasetError: if one is missing or cannot be read.
    """
    paths = [Path(path).expanduser() for path in images]
    for path in paths:
        if not path.exists():
            raise DatasetError(f"`images`: {path} does not exist.")
    headers: dict[Origin, Header] = {}
    skipped: dict[Origin, str] = {}
    color_mode = "rgb" if image_shape[2] == 3 else "grey"
    try:
        for path in paths:
            _look_into(path, headers, skipped, number=number)
        deep = [one for one, header in headers.items() if header.is_deep]
        if grey_range is None:
            greys = _smallest_range(decoding.largest_grey(one) for one in deep)
        else:
            greys = decoding.parse_grey_range(grey_range)
        options: Any = {"color_mode": color_mode, "resize": resize}
        options |= {"image_size": image_shape[:2], "grey_range": greys}
        pixels = [decoding.decode(origin, **options) for origin in headers]
    except Unreadable as error:
        raise DatasetError(
            f"`images`: {error.origin} cannot be read as an image: {error.reason}."
        ) from error
    shape = f"{image_shape[0]}x{image_shape[1]} {color_mode}"
    report = found.own(headers.values(), skipped, greys if deep else None, shape)
    if not headers:
        raise DatasetError(
            f"`images`={','.join(map(str, images))} holds no image. Received: {report}."
        )
    return np.stack(pixels), report


def _look_into(path, headers, skipped, *, number):
    """Adds the images of a place, as long as they are fewer than `number`."""
    is_named = path.is_file() and path.suffix.lower() not in sources.PACKED
    for origin in sources.listing(path).origins:
        if len(headers) == number:
            return
        try:
            headers[origin] = decoding.look(origin)
        except NoImage as error:
            if is_named:
                raise Unreadable(origin, f"it {error}") from error
            skipped[origin] = str(error)
