import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from coopnets_tf.data import folders
from coopnets_tf.errors import DatasetError
from tests.data.files import flat, save


def test_flat_and_nested_files_of_many_formats_in_sorted_order(tmp_path):
    names = ["b.png", "a.bmp", "c/d.tif", "c/e.gif", "f.webp", "g.jpg", "no_suffix"]
    for number, name in enumerate(names):
        options = {"format": "PNG"} if name == "no_suffix" else {}
        save(tmp_path / name, flat((number * 30,) * 3), **options)
    (tmp_path / ".DS_Store").write_bytes(b"hidden")
    save(tmp_path / "runs" / "a-1" / "samples" / "grid.png", flat((9, 9, 9)))
    (tmp_path / "runs" / "a-1" / "model.json").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"hidden")
    pixels, found = folders.read(tmp_path, image_size=8)
    assert pixels.shape == (7, 8, 8, 3) and pixels.dtype == np.uint8
    assert found.skipped == ("runs/a-1: is the folder of a run",)
    order = np.argsort([str(tmp_path / name) for name in names])
    means = pixels.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, order * 30, atol=3)  # JPEG and WebP are lossy


def test_large_folders_are_decoded_when_used(tmp_path):
    for number in range(5):
        save(tmp_path / f"{number}.png", flat((number,) * 3))
    lazy, _ = folders.read(tmp_path, image_size=8, cache_bytes=100)
    assert isinstance(lazy, folders.LazyImages)
    assert lazy.shape == (5, 8, 8, 3)
    pixels, _ = folders.read(tmp_path, image_size=8)
    np.testing.assert_array_equal(lazy[np.array([4, 0, 4])], pixels[[4, 0, 4]])


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
def test_images_of_any_shape(tmp_path, cache_bytes):
    save(tmp_path / "photos" / "wide.png", flat((9, 9, 9), (20, 40)))
    packed = shutil.make_archive(tmp_path / "photos", "zip", tmp_path / "photos")
    np.save(tmp_path / "photos.npy", flat((9, 9, 9), (20, 40))[None])
    for place in (tmp_path / "photos", Path(packed), tmp_path / "photos.npy"):
        pixels, _ = folders.read(place, image_size=(8, 12), cache_bytes=cache_bytes)
        assert pixels.shape == (1, 8, 12, 3)
        np.testing.assert_array_equal(pixels[np.array([0])], [flat((9,) * 3, (8, 12))])
    own, line = folders.read_files([packed], image_shape=(8, 12, 1), number=1)
    assert own.shape == (1, 8, 12, 1) and line.endswith(
        "20x40 rgb, brought to 8x12 grey"
    )


@pytest.mark.parametrize("replace", [True, False])
def test_a_file_that_changes_while_in_use_is_named(tmp_path, replace):
    for number in range(3):
        save(tmp_path / f"{number}.png", flat((number,) * 3))
    lazy, _ = folders.read(tmp_path, image_size=8, cache_bytes=100)
    (tmp_path / "1.png").unlink()
    if replace:
        save(tmp_path / "1.png", flat((200, 0, 0)))
    with pytest.raises(DatasetError, match="1.png was changed or removed"):
        lazy[np.array([0, 1])]


def write_bad(folder):
    """A text file, a truncated image, an empty file."""
    (folder / "notes.txt").write_text("not an image")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = save(folder / "truncated.png", noise).read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")


def test_a_bad_image_is_named_with_the_way_out(tmp_path):
    write_bad(tmp_path)
    save(tmp_path / "good.png", flat((50,) * 3))
    for name in ("empty.jpg", "truncated.png"):
        with pytest.raises(DatasetError, match=rf"{name}.*`skip_bad_images`"):
            folders.read(tmp_path, image_size=8)
        (tmp_path / name).unlink()
    pixels, found = folders.read(tmp_path, image_size=8)  # notes.txt is no image
    assert len(pixels) == 1 and found.skipped == ("notes.txt: is no image",)


def test_a_bad_header_is_found_before_anything_is_decoded(tmp_path):
    save(tmp_path / "good.png", flat((50,) * 3))
    (tmp_path / "header.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="header.png"):
        folders.read(tmp_path, image_size=8, cache_bytes=0)
    (tmp_path / "header.png").unlink()
    write_bad(tmp_path)
    (tmp_path / "empty.jpg").unlink()
    lazy, _ = folders.read(tmp_path, image_size=8, cache_bytes=0)
    with pytest.raises(DatasetError, match="truncated.png.*`skip_bad_images`"):
        lazy[np.array([0, 1])]


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
def test_bad_files_are_skipped_and_counted(tmp_path, cache_bytes):
    write_bad(tmp_path)
    save(tmp_path / "good.png", flat((50,) * 3))
    pixels, found = folders.read(
        tmp_path, image_size=8, skip_bad_images=True, cache_bytes=cache_bytes
    )
    assert len(pixels) == 1 and len(found.skipped) == 3
    assert np.all(pixels[np.array([0])] == 50)
    reasons = dict(line.split(": ", 1) for line in found.skipped)
    assert reasons["notes.txt"] == "is no image"
    assert reasons["empty.jpg"].startswith("cannot be read: it is of no format")
    assert reasons["truncated.png"].startswith("cannot be read: ")
    assert "skipped: 1 file that is no image, 2 files that cannot be read" in str(found)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no image.*0 images"):
        folders.read(tmp_path, image_size=8)


SHAPE = {"image_shape": (8, 8, 3)}


def test_files_and_folders_are_read_in_the_given_order(tmp_path):
    for number, name in enumerate(["z.png", "some/b.png", "some/a.png", "y.png"]):
        save(tmp_path / name, flat((number * 60,) * 3))
    (tmp_path / "some" / ".DS_Store").write_bytes(b"hidden")
    paths = [str(tmp_path / "z.png"), tmp_path / "some", tmp_path / "y.png"]
    pixels, _ = folders.read_files(paths, **SHAPE, number=10)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(
        pixels, [flat((number * 60,) * 3) for number in (0, 2, 1, 3)]
    )
    few, _ = folders.read_files(paths, **SHAPE, number=3)
    np.testing.assert_array_equal(few, pixels[:3])


def test_files_beyond_the_number_are_not_decoded(tmp_path):
    save(tmp_path / "a.png", flat((7, 7, 7)))
    (tmp_path / "b.png").write_text("not an image")
    (tmp_path / "a.txt").write_text("passed over")
    assert len(folders.read_files([tmp_path], **SHAPE, number=1)[0]) == 1
    with pytest.raises(DatasetError, match=r"b\.png cannot be read"):
        folders.read_files([tmp_path], **SHAPE, number=2)


def test_own_files_are_brought_to_the_shape_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    array = np.zeros((8, 24, 3), np.uint8)
    array[:, 8:16] = (255, 0, 0)
    save(tmp_path / "wide.png", array)
    pixels, _ = folders.read_files(["~/wide.png"], image_shape=(8, 8, 3), number=1)
    np.testing.assert_array_equal(pixels, [flat((255, 0, 0))])  # cropped
    grey, _ = folders.read_files(["~/wide.png"], image_shape=(8, 8, 1), number=1)
    np.testing.assert_array_equal(grey, np.full((1, 8, 8, 1), 76))  # 0.299 * 255


def test_missing_files_and_empty_folders_are_refused(tmp_path):
    good = save(tmp_path / "some" / "good.png", flat((1, 1, 1)))
    missing, empty = tmp_path / "missing.png", tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match=f"`images`: {missing} does not exist"):
        folders.read_files([good, missing], **SHAPE, number=1)
    with pytest.raises(DatasetError, match=f"`images`={empty} holds no image"):
        folders.read_files([empty], **SHAPE, number=1)


def ramp(largest, size=(8, 8)):
    """16-bit greys from 0 to `largest`."""
    return np.linspace(0, largest, size[0] * size[1]).astype(np.uint16).reshape(size)


@pytest.mark.parametrize(
    ("largest", "given", "used"),
    [
        ([4000, 100], None, "0:4095"),
        ([4096], None, "0:8191"),
        ([60000], None, "0:65535"),
        ([100], None, "0:255"),
        ([4000], "1000:3000", "1000:3000"),
    ],
)
@pytest.mark.parametrize("cache_bytes", [0, 2**20])
def test_16_bit_greys_have_the_range_of_the_folder(
    tmp_path, largest, given, used, cache_bytes
):
    for number, value in enumerate(largest):
        save(tmp_path / f"{number}.png", ramp(value))
    save(tmp_path / "eight.png", np.full((8, 8), 200, np.uint8))
    options = {"image_size": 8, "color_mode": "grey", "cache_bytes": cache_bytes}
    pixels, found = folders.read(tmp_path, grey_range=given, **options)
    assert found.grey_range == used and f"16-bit greys from {used}" in str(found)
    low, high = map(int, used.split(":"))
    expected = (np.clip(ramp(largest[0]).astype(int), low, high) - low) / (high - low)
    scaled = pixels[np.array([0])][0, ..., 0]
    np.testing.assert_allclose(scaled, 255 * expected, atol=1)
    assert np.all(pixels[np.array([len(largest)])] == 200)
    own, _ = folders.read_files(
        [tmp_path], image_shape=(8, 8, 1), number=9, grey_range=given
    )
    np.testing.assert_array_equal(own, pixels[np.arange(len(own))])


def test_without_16_bit_greys_there_is_no_range(tmp_path):
    save(tmp_path / "a.png", np.full((8, 8), 200, np.uint8))
    _, found = folders.read(tmp_path, image_size=8, grey_range="0:4095")
    assert found.grey_range is None and str(found) == f"{tmp_path.name}: 1 image"


def test_own_images_tell_what_became_of_them(tmp_path):
    small = {"image_shape": (8, 8, 1), "number": 9}
    save(tmp_path / "a.png", flat((9, 9, 9), (32, 32)))
    save(tmp_path / "b.png", flat((9, 9, 9), (32, 32)))
    _, line = folders.read_files([tmp_path], **small)
    assert line == "2 of your own images, 32x32 rgb, brought to 8x8 grey"
    grey = save(tmp_path / "c.png", np.full((8, 8), 7, np.uint8))
    _, line = folders.read_files([tmp_path], **small)
    assert "3 of your own images, of several sizes, grey and rgb, brought to" in line
    _, line = folders.read_files([grey], **small)
    assert line == "1 of your own images"
    notes = tmp_path / "notes.txt"
    notes.write_text("no image")
    _, line = folders.read_files([tmp_path], **small)
    assert line.endswith("; skipped: 1 file that is no image")
    with pytest.raises(DatasetError, match="`images`: .*notes.txt cannot be read"):
        folders.read_files([notes], **small)


def test_archives_and_arrays_are_read_like_folders(tmp_path):
    photos = tmp_path / "photos"
    for number, name in enumerate(["cats/a.png", "dogs/b.png"]):
        save(photos / name, flat((60 * number + 9,) * 3, (8, 12)))
    packed = shutil.make_archive(tmp_path / "photos", "zip", photos)
    pixels = np.stack([flat((60 * number + 9,) * 3, (8, 12)) for number in range(2)])
    np.save(tmp_path / "photos.npy", pixels)
    np.savez(tmp_path / "photos.npz", images=pixels)
    expected, found = folders.read(photos, image_size=8)
    assert str(found) == "photos: 2 images (cats 1, dogs 1)"
    for place in (packed, tmp_path / "photos.npy", tmp_path / "photos.npz"):
        for cache_bytes in (0, 2**20):
            own, found = folders.read(
                Path(place), image_size=8, cache_bytes=cache_bytes
            )
            np.testing.assert_array_equal(own[np.arange(2)], expected)
        folded = " (cats 1, dogs 1)" if place == packed else ""
        assert str(found) == f"{Path(place).name}: 2 images{folded}"
    several = [photos / "cats/a.png", packed, tmp_path / "photos.npy"]
    own, _ = folders.read_files(several, **SHAPE, number=4)
    np.testing.assert_array_equal(own, expected[[0, 0, 1, 0]])


def test_a_changed_archive_is_named(tmp_path):
    save(tmp_path / "photos" / "a.png", flat((9, 9, 9)))
    packed = shutil.make_archive(tmp_path / "photos", "zip", tmp_path / "photos")
    lazy, _ = folders.read(Path(packed), image_size=8, cache_bytes=0)
    assert lazy[np.array([0])].max() == 9
    Path(packed).write_bytes(b"")
    with pytest.raises(DatasetError, match="photos.zip/a.png was changed or removed"):
        lazy[np.array([0])]


def test_many_files_show_a_bar_on_a_terminal_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folders, "MANY", 2)
    for number in range(3):
        save(tmp_path / f"{number}.png", flat((number,) * 3))
    folders.read(tmp_path, image_size=8)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    folders.read(tmp_path, image_size=8)
    assert "3/3" in capsys.readouterr().out
