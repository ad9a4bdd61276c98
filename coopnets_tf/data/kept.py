"""Decoded images of a place, kept in Keras' folder for the next run.

A file holds a record of each image: a checksum and its pixels. What is not there yet,
was cut off or is something else does not match its checksum, and is decoded; so nobody
need wait for a file to be whole, nor for others that write the same.
"""

import contextlib
import hashlib
import logging
import os
import platform
import shutil
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import features

from coopnets_tf.data import decoding, sources
from coopnets_tf.data.decoding import Header
from coopnets_tf.data.sources import Origin
from coopnets_tf.files import keras_folder

WORTH = 500_000_000  # pixels; to decode them takes a core about five seconds
MAX_BYTES = 2**33  # of all files
SETTLED = 2  # seconds; a file that is younger may change once more at the same time
CHECKSUM = 8  # bytes
LIBRARIES = ("jpg", "libjpeg_turbo", "jpg_2000", "libtiff", "webp", "avif")


class Kept:
    """Decodes images that are not in its file yet; `kept(origin)` is as from `decode`.

    Args:
      path: of the file, which need not be there.
      key: bytes; other images, or ways to decode them, have another.
      origins: the images, in the order of their records.
      shape: of a decoded image.
      options: of `decoding.decode`.

    Raises:
      OSError: if the file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        key: bytes,
        origins: Sequence[Origin],
        shape: Sequence[int],
        options: Mapping[str, Any],
    ) -> None:
        path.touch(mode=0o600)
        self._file = path.open("r+b", buffering=0)
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self._key, self._shape, self._options = key, tuple(shape), options
        self._size = CHECKSUM + int(np.prod(shape))
        self._places = {one: self._size * index for index, one in enumerate(origins)}
        self._is_full = False

    def __call__(self, origin: Origin) -> np.ndarray:
        record = self._read(origin)
        pixels = record[CHECKSUM:]
        if record[:CHECKSUM] == self._checksum(pixels):
            return np.frombuffer(pixels, np.uint8).reshape(self._shape)
        decoded = decoding.decode(origin, **self._options)
        self._write(origin, decoded.tobytes())
        return decoded

    def _checksum(self, pixels):
        return hashlib.blake2b(pixels, digest_size=CHECKSUM, key=self._key).digest()

    def _read(self, origin):
        with self._lock, contextlib.suppress(OSError):
            self._file.seek(self._places[origin])
            return self._file.read(self._size)
        return b""

    def _write(self, origin, pixels):
        record = self._checksum(pixels) + pixels
        with self._lock:
            if self._is_full:
                return
            try:
                self._file.seek(self._places[origin])
                self._file.write(record)
            except OSError as error:
                self._is_full = True
                _warn(error)


def kept(
    headers: Mapping[Origin, Header], shape: Sequence[int], options: Mapping[str, Any]
) -> Kept | None:
    """The images of a place as they are kept; None where that does not pay or work.

    Args:
      headers: of the images, in a fixed order.
      shape: of a decoded image.
      options: of `decoding.decode`.
    """
    size = len(headers) * (CHECKSUM + int(np.prod(shape)))
    is_quick = sum(one.height * one.width for one in headers.values()) <= WORTH
    if is_quick or any(isinstance(one, sources.Row) for one in headers):
        return None
    try:
        key = _key([*headers], {**options, "image_size": tuple(shape)})
        path = _path(key, size) if key else None
        return Kept(path, key, [*headers], shape, options) if path else None
    except OSError as error:
        _warn(error)
        return None


def _warn(error):
    logging.warning("Decoded images are not kept for the next run: %s", error)


def _key(origins, options):
    """What changes with the images and with how they are decoded; none of young files.

    An image is known by its name, and as for git by the size, place and times of its
    file: that of the last change (ctime) nobody can set. The archive that is open may
    have been replaced since; what it says of its files counts, too.
    """
    stamps = {path: path.stat() for path in {one.path for one in origins}}
    if max(one.st_ctime for one in stamps.values()) > time.time() - SETTLED:
        return b""
    code = Path(decoding.__file__).read_bytes()
    versions = [platform.machine(), *map(features.version, LIBRARIES)]
    for package in ("pillow", "pillow-heif"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    digest = hashlib.blake2b(code, digest_size=16)
    digest.update(f"{sorted(options.items())} {versions}".encode())
    for one in origins:
        own = stamps[one.path]
        facts = [own.st_size, own.st_ino, own.st_mtime_ns, own.st_ctime_ns]
        if isinstance(one, sources.Member):
            facts += [one.info.file_size, one.info.CRC]
        digest.update(os.fsencode(f"\0{one.name}\0{facts}"))
    return digest.digest()


def _path(key, size):
    """Of a file in use from now on; None, if there is no room for that many bytes."""
    folder = keras_folder() / "coopnets_tf"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"images-{key.hex()}.pixels"
    if path.exists():
        os.utime(path)
        return path
    if size > min(MAX_BYTES, shutil.disk_usage(folder).free // 2):
        return None
    others = {one: one.stat() for one in folder.glob("images-*.pixels")}
    total = size + sum(one.st_size for one in others.values())
    for other in sorted(others, key=lambda one: others[one].st_mtime):
        if total > MAX_BYTES:  # the one that was not used for the longest time
            other.unlink(missing_ok=True)
            total -= others[other].st_size
    return path
