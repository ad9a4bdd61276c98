"""One image of whatever format -> uint8 of one size and colour mode."""

import functools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from coopnets_tf.data.sources import Origin
from coopnets_tf.errors import DatasetError

Size = int | Sequence[int]  # pixels: the side of a square, or (height, width)
ALL_GREYS = (0, 65535)  # of 16 bits
REAL_NUMBERS = "its pixels are real numbers of unknown range"
HEIF = (".heic", ".heif")
NO_IMAGE = "is no image"
NEED_HEIF = "needs pip install pillow-heif"
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class NoImage(Exception):
    """Something that is no image, neither by its name nor by its content."""


class Header(NamedTuple):
    """What an image says of itself.

    `is_deep`: its greys have 16 bits; `is_cut`: its colours have, of which Pillow keeps
    the upper 8.
    """

    height: int
    width: int
    color_mode: str
    is_deep: bool
    has_pages: bool
    is_cut: bool = False


@functools.cache
def know_formats() -> bool:
    """Loads the decoders of all formats; whether that of HEIC is among them."""
    Image.init()
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def look(origin: Origin) -> Header:
    """Reads the header of an image, which is quick.

    Raises:
      NoImage: if it is none, with the reason.
      DatasetError: if it says that it is one, and cannot be read.
    """
    suffix = _suffix(origin)
    if not know_formats() and suffix in HEIF:
        raise NoImage(NEED_HEIF)
    try:
        with origin.open() as image:
            kind = Image.MIME.get(image.format or "", "image/")
            if isinstance(image, ImageFile.StubImageFile) or kind[:6] != "image/":
                raise NoImage(NO_IMAGE)
            if image.mode == "F":
                raise Unreadable(origin, REAL_NUMBERS)
            grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I")
            return Header(
                image.height,
                image.width,
                "grey" if grey else "rgb",
                image.mode.startswith("I"),
                _has_pages(image),
                not grey and ";16" in str(getattr(image, "tile", "")),
            )
    except (NoImage, Unreadable):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds on a bad file
        kind = Image.MIME.get(Image.registered_extensions().get(suffix, ""), "")
        if isinstance(error, MemoryError) or getattr(error, "errno", None):
            raise _unreadable(origin, error) from error  # it may be one all the same
        if kind[:6] != "image/" and not isinstance(error, BOMBS):
            raise NoImage(NO_IMAGE) from error
        raise _unreadable(origin, error) from error


def _suffix(origin):
    match = re.search(r"\.\w+$", origin.name)
    return match[0].lower() if match else ""


def _has_pages(image):
    """Whether it is the first of several; the second ones of an MPO are previews."""
    try:
        return image.format != "MPO" and getattr(image, "is_animated", False)
    except Exception:  # what is wrong with later ones does not matter
        return False


def _unreadable(origin, error):
    """The refusal of an image; its reason is that of `error`."""
    reason = str(error).rstrip(".") or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "it is of no format that Pillow knows"
        reason += "" if know_formats() else " (if it is HEIC, it " + NEED_HEIF + ")"
    if origin.path.is_symlink() and not origin.path.exists():
        reason = "it is a link to what is not there"
    return Unreadable(origin, reason)


class Unreadable(DatasetError):
    """An image cannot be read, for a `reason`."""

    def __init__(self, origin: Origin, reason: str) -> None:
        super().__init__(
            f"{origin} cannot be read as an image: {reason}. Begin with a whole file "
            "in its place, or with `skip_bad_images`; a run that has begun already "
            "lends its nets to the new one by `init_from`."
        )
        self.origin, self.reason = origin, reason


def parse_grey_range(text: str) -> tuple[int, int]:
    """The darkest and the brightest of 16-bit greys, from "LOW:HIGH".

    Raises:
      DatasetError: unless 0 <= LOW < HIGH <= 65535.
    """
    match = re.fullmatch(r"(\d{1,5}):(\d{1,5})", text, re.ASCII)
    low, high = map(int, match.groups()) if match else (0, 0)
    if not low < high <= ALL_GREYS[1]:
        raise DatasetError(
            "`grey_range` must be LOW:HIGH, two whole numbers of at most 65535, the "
            f"lower one first. Received: {text}."
        )
    return low, high


def largest_grey(origin: Origin) -> int:
    """The largest value of an image with 16-bit greys.

    Raises:
      DatasetError: if it cannot be read.
    """
    return _decoded(origin, lambda image: int(_greys(image).max()))


def height_and_width(size: Size) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def decode(origin: Origin, **options: Any) -> np.ndarray:
    """Reads one image: uint8 [height, width, channels].

    Of several pages or of an animation the first picture is taken.

    Args:
      options: of `brought`.

    Raises:
      DatasetError: if Pillow cannot read it, or refuses it for its size.
    """
    return _decoded(origin, functools.partial(brought, **options))


def brought(
    image: Image.Image,
    *,
    image_size: Size | None,
    color_mode: str,
    resize: str = "crop",
    grey_range: tuple[int, int] = ALL_GREYS,
) -> np.ndarray:
    """An image as uint8 [height, width, channels].

    The camera's orientation is applied, transparency becomes white.

    Args:
      image_size: (height, width), or one number for both; None: its own.
      color_mode: "rgb" or "grey".
      resize: "crop" cuts out the largest centred part of that shape first, "stretch"
        does not.
      grey_range: 16-bit greys that become 0 and 255; those outside are clipped.
    """
    mode = {"rgb": "RGB", "grey": "L"}[color_mode]
    fit: Any = {"crop": ImageOps.fit, "stretch": Image.Image.resize}[resize]
    image = _eight_bits(_upright(image), grey_range)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if image.mode != mode:  # else Pillow would copy it
        image = image.convert(mode)
    if image_size is not None:
        height, width = height_and_width(image_size)
        image = fit(image, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(image.height, image.width, channels(color_mode))


def _decoded(origin, function):
    """The result of a function of the image; any error is reported by its name."""
    know_formats()
    try:
        with origin.open() as image:
            return function(image)
    except Exception as error:  # Pillow's decoders raise many kinds on a bad file
        raise _unreadable(origin, error) from error


def _upright(image):
    """As the camera was held; not a copy where it was upright, as Pillow's would be."""
    image.load()
    if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def _eight_bits(image, grey_range):
    """Scales 16-bit grey, which Pillow would clip, to 8 bits; refuses real numbers."""
    if image.mode == "F":
        raise ValueError(REAL_NUMBERS)
    if not image.mode.startswith("I"):
        return image
    low, high = grey_range
    pixels = np.clip(_greys(image), low, high) - low
    return Image.fromarray((pixels * 255 // (high - low)).astype(np.uint8))


def _greys(image):
    pixels = np.asarray(image, np.int64)
    if pixels.min() < 0 or pixels.max() > ALL_GREYS[1]:
        raise ValueError("its grey values need more than 16 bits")
    return pixels


def channels(color_mode: str) -> int:
    return {"rgb": 3, "grey": 1}[color_mode]
