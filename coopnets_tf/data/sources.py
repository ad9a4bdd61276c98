"""Where images come from: files of a folder or a zip archive, rows of an array."""

import contextlib
import dataclasses
import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from coopnets_tf.data import archives
from coopnets_tf.errors import DatasetError
from coopnets_tf.files import RUN_DESCRIPTION

PACKED = (".zip", *archives.ARRAYS)  # files that hold many images
HOUSEKEEPING = {  # folders of the usual systems, in small letters
    "@eadir",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "system volume information",
    "__macosx",
    "lost+found",
    "found.000",
    "recycler",
    "@recycle",
    "@recently-snapshot",
    "@tmp",
    "@synoeastream",
}


class Origin(Protocol):
    """One image that has not been read yet; its text is what messages call it."""

    @property
    def path(self) -> Path:
        """The file on disk that it is, or is in."""

    @property
    def name(self) -> str:
        """Where it is within its folder or archive, parts joined by /."""

    @property
    def mark(self) -> str:
        """What changes with its content, as far as that is quick to see."""

    def open(self) -> AbstractContextManager[Image.Image]:
        """The image, of which only the header need be read yet."""


@dataclasses.dataclass(frozen=True, eq=False)
class File:
    path: Path
    name: str

    def __str__(self) -> str:
        return str(self.path)

    @property
    def mark(self) -> str:
        return str(self.path.stat().st_size)

    def open(self) -> AbstractContextManager[Image.Image]:
        return Image.open(self.path)


def parts_of(info: zipfile.ZipInfo) -> list[str]:
    """The folders and the name of a file in an archive."""
    return [part for part in info.filename.split("/") if part not in ("", ".")]


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    path: Path
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    def __str__(self) -> str:
        return f"{self.path}/{self.name}"

    @property
    def name(self) -> str:
        return "/".join(parts_of(self.info))

    @property
    def mark(self) -> str:
        return str(self.info.file_size)

    @contextlib.contextmanager
    def open(self) -> Iterator[Image.Image]:
        with archives.open_member(self.archive, self.info) as file:
            with Image.open(file) as image:
                yield image


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    path: Path
    array: np.ndarray
    index: int

    def __str__(self) -> str:
        return f"{self.path}[{self.index}]"

    @property
    def name(self) -> str:
        return str(self.index)

    @property
    def mark(self) -> str:
        pixels = np.ascontiguousarray(self.array[self.index])
        return hashlib.blake2b(pixels.data, digest_size=8).hexdigest()

    def open(self) -> AbstractContextManager[Image.Image]:
        pixels = np.ascontiguousarray(self.array[self.index])
        return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)


class Listing(NamedTuple):
    """The possible images of a place, in the order of their names.

    `num_followed` counts the links to folders that were followed; `housekeeping` and
    `runs` name the folders that were passed over.
    """

    origins: list[Origin]
    num_followed: int = 0
    housekeeping: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()


def listing(path: Path) -> Listing:
    """What may be an image in a folder, a zip archive or an array, or a file alone.

    Hidden files and folders, those of runs and `HOUSEKEEPING` are passed over. Links to
    folders are followed, but no folder is entered twice.

    Raises:
      DatasetError: if it cannot be read.
    """
    if path.is_dir():
        return _folder(path)
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return _zip(path)
    if suffix in archives.ARRAYS:
        array = archives.read_array(path)
        return Listing([Row(path, array, index) for index in range(len(array))])
    return Listing([File(path, path.name)])


def _folder(folder):
    files: list[File] = []
    housekeeping: list[str] = []
    runs: list[str] = []
    tops, seen, num_followed = [folder], set(), -1
    while tops:
        top = tops.pop(0)
        if os.path.realpath(top) in seen:
            continue
        num_followed += 1
        links = []
        for place, folders, names in os.walk(top, onerror=_refuse):
            seen.add(os.path.realpath(place))
            inside = sorted(folders)
            folders.clear()
            if RUN_DESCRIPTION in names and Path(place) != folder:
                runs.append(_name(Path(place), folder))  # it has pictures of its own
                continue
            paths = (Path(place, name) for name in names if not _hidden(name))
            files += (
                File(path, _name(path, folder))
                for path in paths
                if not path.exists() or path.is_file()
            )
            for name in inside:
                path = Path(place, name)
                if name.lower() in HOUSEKEEPING:
                    housekeeping.append(_name(path, folder))
                elif path.is_symlink() and not _hidden(name):
                    links.append(path)
                elif not _hidden(name) and os.path.realpath(path) not in seen:
                    folders.append(name)
        tops += sorted(links)
    files.sort(key=lambda file: file.name.split("/"))
    return Listing(
        [*files], num_followed, tuple(sorted(housekeeping)), tuple(sorted(runs))
    )


def _refuse(error):
    raise DatasetError(f"{error}. Make it readable.") from error


def _hidden(name):
    return name.startswith(".")


def _name(path, folder):
    return "/".join(path.relative_to(folder).parts)


def _zip(path):
    archive = archives.open_zip(path)
    parts = {info: parts_of(info) for info in archive.infolist() if not info.is_dir()}
    runs = [
        whole[:-1]
        for whole in parts.values()
        if whole[-1] == RUN_DESCRIPTION and whole[:-1]
    ]
    members, housekeeping = [], set()
    for info, whole in parts.items():
        kept = [part.lower() in HOUSEKEEPING for part in whole[:-1]]
        if any(kept):
            housekeeping.add("/".join(whole[: kept.index(True) + 1]))
        elif not any(map(_hidden, whole)) and not any(
            whole[: len(run)] == run for run in runs
        ):
            members.append(Member(path, archive, info))
    members.sort(key=lambda member: parts[member.info])
    names = tuple(sorted("/".join(run) for run in runs))
    return Listing([*members], 0, tuple(sorted(housekeeping)), names)
