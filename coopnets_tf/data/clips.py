"""A clip, from a video or from still frames -> one array of its frames, uint8."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from coopnets_tf.data import decoding, folders, found, sources
from coopnets_tf.data.decoding import Size
from coopnets_tf.data.folders import LazyImages
from coopnets_tf.data.found import Found
from coopnets_tf.errors import DatasetError
from coopnets_tf.wording import counted

VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")  # for PyAV to read
SUFFIXES = (*VIDEOS, ".gif", ".apng")  # Pillow reads these, and other animations
MAX_BYTES = 2**31  # of a clip in memory
TICKS = {"GIF": 0.01}  # seconds; the unit of a format's times, else 1 ms

Timed = tuple[float, Image.Image]  # the second at which a picture begins


def read(
    place: Path,
    *,
    num_frames: int,
    image_size: Size,
    color_mode: str = "rgb",
    resize: str = "crop",
    grey_range: str | None = None,
    keep_decoded: bool = False,
) -> tuple[np.ndarray, Found]:
    """The frames of one clip: uint8 [frames, height, width, channels].

    A video is decoded frame by frame, each of which is brought to its size at once.

    Args:
      place: a video or an animation; or a folder, zip archive or array of its frames,
        in the order of the numbers in their names.
      num_frames: that it must have at least.
      image_size, color_mode, resize: see `decoding.brought`.
      grey_range: of still frames, see `folders.read`; these are taken as even.
      keep_decoded: of still frames, see `folders.read`.

    Returns:
      The frames, and what was found.

    Raises:
      DatasetError: if it cannot be read, has fewer frames, or more than fit into
        `MAX_BYTES`, or if they do not follow each other evenly.
    """
    options: Any = {"image_size": image_size, "color_mode": color_mode}
    options["resize"] = resize
    clip: Any
    if place.is_dir() or place.suffix.lower() in sources.PACKED:
        options |= {"grey_range": grey_range, "keep_decoded": keep_decoded}
        clip, line = folders.read(
            place, by_number=True, cache_bytes=MAX_BYTES, **options
        )
        if isinstance(clip, LazyImages):
            _refuse_long(place, clip.shape[1:])
    else:
        clip, line = _video(place, options)
    if len(clip) < num_frames:
        raise DatasetError(
            f"`dataset`={place} has {counted(len(clip), 'frames')}, fewer than "
            f"`num_frames`={num_frames}. Give a longer clip, or fewer `num_frames`."
        )
    return clip, line


def _refuse_long(place, shape):
    most = MAX_BYTES // int(np.prod(shape))
    raise DatasetError(
        f"`dataset`={place} is too long: {most:,} frames of {shape[0]}x{shape[1]} fit "
        "into memory. Give a part of it, or a smaller `image_size`."
    )


def _video(path, options):
    """The frames of a video or an animation, and what was found."""
    read = _decoded if path.suffix.lower() in VIDEOS else _animated
    try:
        return _collected(path, read(path), options)
    except DatasetError:
        raise
    except Exception as error:  # decoders raise many kinds on a bad file
        reason = getattr(error, "strerror", None) or str(error)
        raise _unreadable(path, reason or type(error).__name__) from error


def _unreadable(path, reason):
    return DatasetError(
        f"`dataset`={path} cannot be read as a clip: {reason.rstrip('.')}."
    )


def _collected(
    path: Path, pictures: Iterable[Timed], options: dict[str, Any]
) -> tuple[np.ndarray, Found]:
    """Pictures as one array, which grows in place."""
    pixels, times, size, shape = bytearray(), [], "", (0, 0, 0)
    for time, picture in pictures:
        frame = decoding.brought(picture, **options)
        shape, size = frame.shape, f"{picture.height}x{picture.width}"
        if len(pixels) + frame.nbytes > MAX_BYTES:
            _refuse_long(path, shape)
        pixels += frame.tobytes()
        times.append(time)
    clip = np.frombuffer(pixels, np.uint8).reshape(len(times), *shape)
    return clip, found.clip(path, size, times)


def _refuse_uneven(path: Path, times: list[float], tick: float) -> None:
    """Stops where a frame begins more than a tick away from its even time."""
    if not times:
        return
    even = np.linspace(times[0], times[-1], len(times))
    if np.abs(times - even).max() > 1.01 * tick:  # .01: of floats
        raise DatasetError(
            f"`dataset`={path} has a variable frame rate. Give one of even frames, as "
            f"`ffmpeg -i {path.name} -r 25 even.mp4` makes it."
        )


def _decoded(path: Path) -> Iterator[Timed]:
    """The pictures of a video, by PyAV."""
    try:
        import av
    except ImportError as error:
        raise DatasetError(
            f"`dataset`={path} is a video, which needs pip install av."
        ) from error
    times: list[float] = []
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise _unreadable(path, "it has no video stream")
        stream: Any = container.streams.video[0]
        stream.thread_type = "AUTO"
        frame: Any
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise _unreadable(path, f"frame {len(times)} is damaged")
            times.append(float(frame.pts * frame.time_base))
            yield times[-1], upright(frame)
        _refuse_uneven(path, times, float(stream.time_base))


def upright(frame: Any) -> Image.Image:
    """The picture of PyAV's frame; phones say by how much it is to be turned."""
    picture = frame.to_image()
    degrees = frame.rotation  # to the left
    return picture.rotate(degrees, expand=True) if degrees else picture


def _animated(path: Path) -> Iterator[Timed]:
    """The pictures of an animation, by Pillow."""
    decoding.know_formats()
    times = [0.0]
    with Image.open(path) as image:
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()
            yield times[-1], image
            times.append(times[-1] + image.info.get("duration", 0) / 1000)
        # The last one may stay on, as it often does.
        _refuse_uneven(path, times[:-1], TICKS.get(image.format or "", 0.001))
