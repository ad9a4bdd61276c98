"""A folder of image files -> arrays of one size and colour mode, uint8."""

import concurrent.futures
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from coopnets_tf.errors import DatasetError
from coopnets_tf.files import RUN_DESCRIPTION

CACHE_BYTES = 2**30  # a folder whose images need less, once decoded, is kept in memory


class LazyImages:
    """Images that are decoded when needed: `lazy[indices]`, as from an array.

    A file that has changed since it was found raises a `DatasetError`.

    Args:
      image_size: height and width of every image.
      color_mode: "rgb" or "grey".
      resize: "crop" cuts out the largest centred square first, "stretch" does not.
    """

    def __init__(
        self, paths: Sequence[Path], *, image_size: int, color_mode: str, resize: str
    ) -> None:
        self.paths = paths
        self._stamps = {path: _stamp(path) for path in paths}
        self.shape = (len(paths), image_size, image_size, _channels(color_mode))
        self._decode = lambda path: decode(
            path, image_size=image_size, color_mode=color_mode, resize=resize
        )
        self._pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count(), "decode")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        pixels = np.empty((len(indices), *self.shape[1:]), np.uint8)

        def fill(position):
            path = self.paths[indices[position]]
            if _stamp(path) != self._stamps[path]:
                raise DatasetError(
                    f"{path} was changed or removed while the images were in use. "
                    "Bring it back and `resume`, or begin a new run whose nets come "
                    "from this one, by `init_from`."
                )
            pixels[position] = self._decode(path)

        list(self._pool.map(fill, range(len(indices))))  # raises what a thread raised
        return pixels

    def readable(self) -> list[int]:
        """The indices of the files that can be decoded; reads every one."""

        def check(index):
            try:
                self._decode(self.paths[index])
            except DatasetError:
                return False
            return True

        checks = self._pool.map(check, range(len(self)))
        return [index for index, readable in enumerate(checks) if readable]


def read(
    folder: Path,
    *,
    image_size: int,
    color_mode: str = "rgb",
    resize: str = "crop",
    skip_bad_images: bool = False,
    cache_bytes: int = CACHE_BYTES,
) -> tuple[np.ndarray | LazyImages, int]:
    """Finds the images of a folder and of the folders in it.

    Hidden files and folders and those of runs are passed over, links to folders are not
    followed. Images that fit into `cache_bytes` are decoded at once and kept, others
    whenever used.

    Args:
      image_size, color_mode, resize: see `LazyImages`.
      skip_bad_images: leave out what cannot be decoded, instead of stopping. To know
        them, every file is decoded at the start, whether or not it is kept.

    Returns:
      The images, uint8, and how many files were left out.

    Raises:
      DatasetError: if there is no image, or on a bad one unless `skip_bad_images`.
    """
    paths = sorted(_files(folder))
    options: Any = {"color_mode": color_mode, "resize": resize}
    options["image_size"] = image_size
    lazy = LazyImages(paths, **options)
    if skip_bad_images:
        lazy = LazyImages([paths[index] for index in lazy.readable()], **options)
    if not len(lazy):
        raise DatasetError(
            f"`dataset`={folder} holds no image that Pillow can read. "
            f"Received: {len(paths)} files."
        )
    num_skipped = len(paths) - len(lazy)
    if np.prod(lazy.shape, dtype=np.int64) > cache_bytes:
        return lazy, num_skipped
    return lazy[range(len(lazy))], num_skipped


def read_files(
    images: Sequence[Path | str],
    *,
    image_shape: Sequence[int],
    number: int,
    resize: str = "crop",
) -> np.ndarray:
    """At most `number` images of files and folders, uint8 [number, *image_shape].

    Args:
      images: files, or folders as for `read`.
      image_shape: (height, width, channels) to which they are brought, as in `decode`.
      resize: see `LazyImages`.

    Raises:
      DatasetError: if one is missing or cannot be read.
    """
    found = []
    for path in (Path(path).expanduser() for path in images):
        if not path.exists():
            raise DatasetError(f"`images`: {path} does not exist.")
        found += sorted(_files(path)) if path.is_dir() else [path]
    if not found:
        raise DatasetError(f"`images`={','.join(map(str, images))} holds no image.")
    color_mode = "rgb" if image_shape[2] == 3 else "grey"
    options: Any = {"color_mode": color_mode, "resize": resize}
    pixels = []
    for path in found[:number]:
        try:
            pixels.append(decode(path, image_size=image_shape[0], **options))
        except DatasetError as error:
            raise DatasetError(
                f"`images`: {path} cannot be read as an image: {error.__cause__}."
            ) from error
    return np.stack(pixels)


def _files(folder):
    def refuse(error):
        raise DatasetError(f"{error}. Make it readable.") from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        if RUN_DESCRIPTION in names:  # the folder of a run, with its pictures
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(place, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if not path.exists() or path.is_file())


def _stamp(path):
    """What changes when a file is replaced; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def decode(path: Path, *, image_size: int, color_mode: str, resize: str) -> np.ndarray:
    """Reads one image file: uint8 [image_size, image_size, channels].

    The camera's orientation is applied, transparency becomes white, 16-bit grey is
    scaled to 8 bits. Of an animation the first picture is taken.

    Raises:
      DatasetError: if Pillow cannot read the file, or refuses it for its size.
    """
    mode = {"rgb": "RGB", "grey": "L"}[color_mode]
    fit: Any = {"crop": ImageOps.fit, "stretch": Image.Image.resize}[resize]
    size = (image_size, image_size)
    try:
        with Image.open(path) as file:
            image = _eight_bits(ImageOps.exif_transpose(file))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            image = image.convert(mode)
            image = fit(image, size, Image.Resampling.BICUBIC)
            return np.asarray(image).reshape(*size, _channels(color_mode))
    except Exception as error:  # Pillow's decoders raise many kinds on a bad file
        raise DatasetError(
            f"{path} cannot be read as an image: {error}. Remove it, or give "
            "`skip_bad_images` to leave such files out."
        ) from error


def _eight_bits(image):
    """Scales 16-bit grey, which Pillow would clip, to 8 bits; refuses real numbers."""
    if image.mode == "F":
        raise ValueError("its pixels are real numbers of unknown range")
    if not image.mode.startswith("I"):
        return image
    pixels = np.asarray(image, np.int64)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("its grey values need more than 16 bits")
    return Image.fromarray((pixels // 257).astype(np.uint8))


def _channels(color_mode):
    return {"rgb": 3, "grey": 1}[color_mode]
