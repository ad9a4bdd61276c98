import fractions
import sys

import numpy as np
import pytest
from PIL import Image

from coopnets_tf.data import clips
from coopnets_tf.errors import DatasetError
from tests.data.files import animate, moving, save

SIZE = {"image_size": 8, "num_frames": 3}
GREYS = 16 * np.arange(6)


def film(path, frames, times=None, unit=1000):
    """Writes frames as a video, at times in parts of a second."""
    av = pytest.importorskip("av")
    times = range(0, 40 * len(frames), 40) if times is None else times
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.codec_context.time_base = fractions.Fraction(1, unit)
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            frame.pts, frame.time_base = time, fractions.Fraction(1, unit)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def greys(path, **options):
    """The mean of each frame."""
    clip, _ = clips.read(path, **{**SIZE, **options})
    assert clip.dtype == np.uint8
    return clip.mean(axis=(1, 2, 3))


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng"])
def test_an_animation_becomes_its_frames(tmp_path, suffix):
    path = animate(tmp_path / f"clip{suffix}", moving(6, (12, 10)))
    clip, found = clips.read(path, **SIZE)
    assert clip.shape == (6, 8, 8, 3)
    np.testing.assert_allclose(greys(path), GREYS, atol=2)  # webp is not exact
    assert str(found) == f"clip{suffix}: a clip of 6 frames of 12x10, 25 a second"


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".mov", ".m4v"])
def test_a_video_becomes_its_frames(tmp_path, suffix):
    path = film(tmp_path / f"clip{suffix}", moving(6, (48, 64)))
    clip, found = clips.read(path, color_mode="grey", **SIZE)
    assert clip.shape == (6, 8, 8, 1)
    np.testing.assert_allclose(greys(path), GREYS, atol=4)  # of what is compressed
    assert str(found) == f"clip{suffix}: a clip of 6 frames of 48x64, 25 a second"


def test_frames_of_a_folder_are_in_the_order_of_their_numbers(tmp_path):
    for number in (1, 2, 10, 11):
        save(tmp_path / f"frame{number}.png", np.full((8, 8, 3), number, np.uint8))
    clip, found = clips.read(tmp_path, **SIZE)
    assert clip[:, 0, 0, 0].tolist() == [1, 2, 10, 11]
    assert str(found).endswith(": 4 images")


def test_rows_of_an_array_are_frames(tmp_path):
    np.save(tmp_path / "clip.npy", moving(12))
    clip, _ = clips.read(tmp_path / "clip.npy", **SIZE)
    np.testing.assert_array_equal(clip, moving(12))


def test_frames_are_brought_to_size_as_images_are(tmp_path):
    """Cropped, the black sides are out of sight; stretched, they are not."""
    frames = np.zeros((3, 8, 24, 3), np.uint8)
    frames[:, :, 8:16] = moving(3, step=100)
    path = animate(tmp_path / "clip.apng", frames)
    np.testing.assert_array_equal(greys(path), [0, 100, 200])
    assert greys(path, resize="stretch").max() < 100


@pytest.mark.parametrize(
    ("milliseconds", "is_even"),
    [
        ([40] * 6, True),
        ([30, 40, 30, 30, 40, 30], True),  # 30 a second in hundredths
        ([40, 40, 40, 40, 40, 900], True),  # the last one stays on
        ([40, 40, 90, 40, 40, 40], False),
        ([20, 20, 20, 40, 40, 40], False),
    ],
)
def test_a_variable_frame_rate_of_an_animation(tmp_path, milliseconds, is_even):
    path = animate(tmp_path / "clip.gif", moving(6), milliseconds)
    if is_even:
        assert len(greys(path)) == 6
    else:
        with pytest.raises(DatasetError, match="variable frame rate. Give .* -r 25"):
            greys(path)


@pytest.mark.parametrize(
    ("times", "is_even"),
    [
        ([0, 33, 67, 100, 133, 167], True),  # 30 a second in thousandths
        ([0, 40, 80, 160, 200, 240], False),
    ],
)
def test_a_variable_frame_rate_of_a_video(tmp_path, times, is_even):
    path = film(tmp_path / "clip.mkv", moving(6, (48, 64)), times)
    if is_even:
        assert len(greys(path)) == 6
    else:
        with pytest.raises(DatasetError, match="variable frame rate"):
            greys(path)


def test_a_clip_of_too_few_frames_is_refused(tmp_path):
    one = save(tmp_path / "one.gif", np.zeros((8, 8), np.uint8))
    two = animate(tmp_path / "two.gif", moving(2))
    for path, text in ((one, "has 1 frame, fewer than"), (two, "has 2 frames, fewer")):
        with pytest.raises(DatasetError, match=text):
            greys(path)


def test_what_is_no_video_is_refused(tmp_path):
    pytest.importorskip("av")
    for name in ("clip.mp4", "clip.gif", "clip.jpg"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(DatasetError, match=f"{name} cannot be read as a clip: .*"):
            greys(tmp_path / name)


def test_a_video_that_ends_early_is_refused(tmp_path):
    path = film(tmp_path / "clip.mp4", moving(6, (48, 64)))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DatasetError, match="cannot be read as a clip: "):
        greys(path)


def test_sound_alone_is_no_clip(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "f4"), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DatasetError, match="it has no video stream"):
        greys(tmp_path / "song.mp4")


def test_a_video_needs_av(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DatasetError, match="clip.mp4 is a video, .* pip install av"):
        greys(tmp_path / "clip.mp4")


def test_a_clip_too_long_for_the_memory_is_refused(tmp_path, monkeypatch):
    """Whether its frames are in a film or in a folder."""
    monkeypatch.setattr(clips, "MAX_BYTES", 5 * 8 * 8 * 3)
    path = animate(tmp_path / "clip.gif", moving(6))
    for number in range(6):
        save(tmp_path / f"folder/{number}.png", moving(6)[number])
    for place in (path, tmp_path / "folder"):
        with pytest.raises(DatasetError, match="too long: 5 frames of 8x8 fit into"):
            greys(place)
    assert len(greys(animate(path, moving(5)))) == 5


class Turned:
    """A frame as PyAV has it where a phone was held upright."""

    rotation = 90

    def to_image(self):
        return Image.fromarray(np.repeat(np.uint8([[0, 255]]), 8, axis=0))


def test_a_phones_picture_is_turned_upright():
    """By 90 degrees to the left, as FFmpeg counts: what was to the right is on top."""
    upright = clips.upright(Turned())
    assert upright.size == (8, 2)
    assert np.asarray(upright)[:, 0].tolist() == [255, 0]
