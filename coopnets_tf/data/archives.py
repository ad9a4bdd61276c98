"""Files that hold many images: zip archives, and arrays in .npy and .npz files.

They may come from anywhere: nothing is unpickled, nothing is written to disk, and what
a file claims about sizes is checked before memory is taken for it.
"""

import math
import os
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from coopnets_tf.errors import DatasetError

MAX_MEMBER = 2**30  # bytes of one file in an archive, unpacked
MAX_RATIO = 200  # of a file to what it takes in the archive, if it is no small one
SMALL_MEMBER = 2**24  # bytes
ARRAYS = (".npy", ".npz")
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def open_zip(path: Path) -> zipfile.ZipFile:
    """Opens a zip archive, which several threads may read.

    Raises:
      DatasetError: if it cannot be read, or is encrypted.
    """
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # a damaged file fails in many ways
        raise DatasetError(f"{path} cannot be read as a zip file: {error}.") from error
    members = archive.infolist()
    if any(member.flag_bits & 1 for member in members):
        raise DatasetError(f"{path} is encrypted. Unpack it, and name the folder.")
    if sum(member.compress_size for member in members) > os.path.getsize(path):
        raise DatasetError(f"{path} claims to hold more than its size allows.")
    return archive


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """Opens one file of an archive.

    Raises:
      ValueError: if it would be absurdly large.
    """
    size, packed = member.file_size, member.compress_size
    if size > MAX_MEMBER or size > max(SMALL_MEMBER, MAX_RATIO * packed):
        raise ValueError(f"it claims to unpack {packed:,} bytes to {size:,}")
    return archive.open(member)


def read_array(path: Path) -> np.ndarray:
    """The images of an array file: uint8 [number, height, width] or [..., 1 or 3].

    Of an .npz file the array `images`, else the only one, else `x_train`, in memory; of
    an .npy file a view of the file.

    Raises:
      DatasetError: if it holds anything else, or not what it claims.
    """
    try:
        if path.suffix.lower() == ".npz":
            return _npz(path)
        with path.open("rb") as file:
            shape, order = _header(file, path.stat().st_size)
            return np.memmap(path, np.uint8, "r", file.tell(), shape, order)
    except DatasetError:
        raise
    except Exception as error:  # a damaged file fails in many ways
        raise DatasetError(
            f"{path} must hold images, uint8 [number, height, width] or [number, "
            f"height, width, 1 or 3]. Received: {error}."
        ) from error


def _npz(path):
    with open_zip(path) as archive:
        members = {
            member.filename.removesuffix(".npy"): member
            for member in archive.infolist()
            if member.filename.endswith(".npy")
        }
        names = ["images", *(members if len(members) == 1 else ()), "x_train"]
        chosen = next((members[name] for name in names if name in members), None)
        if chosen is None:
            raise ValueError(f"arrays {', '.join(sorted(members)) or 'of no name'}")
        try:
            opened = open_member(archive, chosen)
        except ValueError as error:
            raise DatasetError(
                f"{path} is too large, or packed too well, to be read safely: "
                f"{error} bytes. Save the array as .npy."
            ) from error
        with opened as file:
            shape, order = _header(file, chosen.file_size)
            return np.frombuffer(file.read(), np.uint8).reshape(shape, order=order)


def _header(file, num_bytes):
    """Shape and order of the array in a file of `num_bytes`, from its beginning."""
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"an .npy file of version {version}")
    shape, is_fortran, dtype = HEADERS[version](file)
    colours = shape[3:] in ((), (1,), (3,))
    if dtype != np.uint8 or len(shape) < 3 or not colours or min(shape) < 1:
        raise ValueError(f"{dtype} {list(shape)}")
    present = num_bytes - file.tell()
    if math.prod(shape) != present:
        raise ValueError(f"{dtype} {list(shape)}, of which {present:,} bytes are there")
    return shape, "F" if is_fortran else "C"
