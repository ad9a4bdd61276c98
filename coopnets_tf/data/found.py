"""What was found in a place with images, in words."""

import collections
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from coopnets_tf.data import decoding
from coopnets_tf.data.decoding import Header
from coopnets_tf.data.sources import Listing, Origin
from coopnets_tf.wording import counted

MAX_NAMED = 10  # subfolders in a line
Skipped = Mapping[Origin, str]  # what was left out, and why
Range = tuple[int, int] | None  # of the 16-bit greys, where there are any


class Found(NamedTuple):
    """What was found in a place; its text is one line.

    Args:
      line: that text.
      skipped: names of those files and of folders that were passed over, with reasons.
      grey_range: "LOW:HIGH" of the 16-bit greys; None where there are none.
      folders: that of each image, see `folders_of`.
    """

    line: str
    skipped: tuple[str, ...]
    grey_range: str | None
    folders: tuple[str | None, ...] = ()

    def __str__(self) -> str:
        return self.line


def report(
    place: Path,
    listing: Listing,
    headers: Mapping[Origin, Header],
    skipped: Skipped,
    greys: Range,
) -> Found:
    """What was found in a place, of which the images with `headers` are used."""
    folders = folders_of([one.name for one in headers])
    number = counted(len(headers), "images")
    parts = [f"{_text(place.name)}: {number}{_by_folder(folders)}"]
    if listing.num_followed:
        parts.append(f"{counted(listing.num_followed, 'linked folders')} followed")
    parts += _remarks(headers.values(), skipped, greys, listing)
    reasons = [f"{one.name}: {reason}" for one, reason in skipped.items()]
    reasons += [f"{name}: is a housekeeping folder" for name in listing.housekeeping]
    reasons += [f"{name}: is the folder of a run" for name in listing.runs]
    text = f"{greys[0]}:{greys[1]}" if greys else None
    return Found("; ".join(parts), tuple(reasons), text, tuple(folders))


def picture(place: Path, header: Header, greys: Range) -> Found:
    """What the one picture of a training was."""
    size = f"{header.height}x{header.width} {header.color_mode}"
    parts = [f"{_text(place.name)}: a picture of {size}"]
    parts += _remarks([header], {}, greys)
    return Found("; ".join(parts), (), f"{greys[0]}:{greys[1]}" if greys else None)


def clip(place: Path, size: str, times: Sequence[float]) -> Found:
    """What the one clip of a training was, whose pictures begin at seconds `times`."""
    line = f"{_text(place.name)}: a clip of {counted(len(times), 'frames')} of {size}"
    if len(times) > 1 and times[-1] > times[0]:
        line += f", {(len(times) - 1) / (times[-1] - times[0]):.4g} a second"
    return Found(line, (), None)


def own(headers: Collection[Header], skipped: Skipped, greys: Range, shape: str) -> str:
    """What the user's own images are, and to which `shape` they were brought."""
    line = f"{len(headers)} of your own images"
    if headers and (sizes := _sizes(headers)) != shape:
        line += f", {sizes}, brought to {shape}"
    return "; ".join([line, *_remarks(headers, skipped, greys)])


def _sizes(headers):
    """Such as "32x32 rgb"."""
    sizes = {f"{header.height}x{header.width}" for header in headers}
    size = sizes.pop() if len(sizes) == 1 else "of several sizes,"
    modes = sorted({header.color_mode for header in headers})
    return f"{size} {' and '.join(modes)}"


def folders_of(names: Sequence[str]) -> list[str | None]:
    """The folder of each image, by its path, where the paths of all part ways; None of
    one that lies beside these folders.
    """
    folders = [name.split("/")[:-1] for name in names]
    depth = len(os.path.commonprefix(folders))
    return [folder[depth] if len(folder) > depth else None for folder in folders]


def _by_folder(folders):
    """How many images each of the folders has."""
    counts = collections.Counter(folders)
    beside = counts.pop(None, 0)
    if not counts:
        return ""
    parts = [f"{_text(name)} {number:,}" for name, number in sorted(counts.items())]
    if len(parts) > MAX_NAMED:
        parts[MAX_NAMED:] = [f"and {len(parts) - MAX_NAMED} more folders"]
    parts += [f"{beside:,} beside them"] if beside else []
    return f" ({', '.join(parts)})"


def _remarks(headers, skipped, greys, listing=None):
    """What is worth knowing of images that were found, and of what else there was."""
    remarks = []
    if number := sum(header.has_pages for header in headers):
        verb = "has" if number == 1 else "have"
        remarks.append(
            f"{counted(number, 'files')} {verb} several pages, the first is taken"
        )
    if greys:
        remarks.append(f"16-bit greys from {greys[0]}:{greys[1]}")
    if number := sum(header.is_cut for header in headers):
        remarks.append(
            f"of {counted(number, 'colour images')} with 16 bits the upper 8 are kept"
        )
    reasons = collections.Counter(skipped.values())
    if number := reasons.pop(decoding.NEED_HEIF, 0):
        need = decoding.NEED_HEIF if number == 1 else "need pip install pillow-heif"
        remarks.append(f"{counted(number, '.heic files')} {need}")
    left_out = []
    if number := reasons.pop(decoding.NO_IMAGE, 0):
        are = "file that is no image" if number == 1 else "files that are no images"
        left_out.append(f"{number:,} {are}")
    if number := sum(reasons.values()):
        left_out.append(f"{counted(number, 'files')} that cannot be read")
    if listing and listing.housekeeping:
        left_out.append(counted(len(listing.housekeeping), "housekeeping folders"))
    if listing and listing.runs:
        left_out.append(counted(len(listing.runs), "folders of runs"))
    return remarks + ([f"skipped: {', '.join(left_out)}"] if left_out else [])


def _text(name):
    """A name for the terminal, which may refuse bytes that are no text."""
    return name.encode("utf-8", "backslashreplace").decode()
