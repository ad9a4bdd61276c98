import numpy as np
import pytest
from PIL import Image

from coopnets_tf.data import folders
from coopnets_tf.errors import DatasetError

SMALL = {"image_size": 8, "color_mode": "rgb", "resize": "crop"}


def save(path, array, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array), mode).save(path, **options)
    return path


def flat(color, size=(8, 8)):
    return np.full((*size, len(color)), color, np.uint8)


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
    pixels, num_skipped = folders.read(tmp_path, image_size=8)
    assert pixels.shape == (7, 8, 8, 3) and pixels.dtype == np.uint8
    assert num_skipped == 0
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


def test_crop_keeps_proportions_and_stretch_does_not(tmp_path):
    array = np.zeros((8, 24, 3), np.uint8)
    array[:, 8:16] = 255
    path = save(tmp_path / "wide.png", array)
    assert folders.decode(path, **SMALL).min() == 255
    stretched = folders.decode(path, **{**SMALL, "resize": "stretch"})
    assert stretched[:, 0].max() < 30 and stretched[:, 4].min() > 200


@pytest.mark.parametrize(
    ("mode", "array", "expected"),
    [
        ("L", np.full((8, 8), 100, np.uint8), (100, 100, 100)),
        ("LA", np.full((8, 8, 2), (100, 0), np.uint8), (255, 255, 255)),
        ("RGBA", np.full((8, 8, 4), (9, 9, 9, 0), np.uint8), (255, 255, 255)),
        ("RGBA", np.full((8, 8, 4), (9, 8, 7, 255), np.uint8), (9, 8, 7)),
        ("I;16", np.full((8, 8), 100 * 257, np.uint16), (100, 100, 100)),
    ],
)
def test_modes(tmp_path, mode, array, expected):
    Image.fromarray(array).save(tmp_path / "image.png")
    with Image.open(tmp_path / "image.png") as image:
        assert image.mode == mode
    pixels = folders.decode(tmp_path / "image.png", **SMALL)
    np.testing.assert_array_equal(pixels, flat(expected))


def test_palette_bilevel_and_cmyk(tmp_path):
    image = Image.fromarray(flat((10, 200, 30)))
    image.quantize(4).save(tmp_path / "palette.png")
    image.convert("1").save(tmp_path / "bilevel.png")
    image.convert("CMYK").save(tmp_path / "cmyk.tif")
    assert abs(folders.decode(tmp_path / "palette.png", **SMALL)[0, 0, 1] - 200.0) < 3
    assert set(np.unique(folders.decode(tmp_path / "bilevel.png", **SMALL))) <= {0, 255}
    np.testing.assert_allclose(
        folders.decode(tmp_path / "cmyk.tif", **SMALL)[0, 0], [10, 200, 30], atol=3
    )


def test_real_numbers_are_refused(tmp_path):
    save(tmp_path / "real.tif", np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8))
    with pytest.raises(DatasetError, match="real numbers"):
        folders.decode(tmp_path / "real.tif", **SMALL)


def test_grey(tmp_path):
    path = save(tmp_path / "red.png", flat((255, 0, 0)))
    pixels = folders.decode(path, **{**SMALL, "color_mode": "grey"})
    assert pixels.shape == (8, 8, 1)
    assert np.all(pixels == 76)  # ITU-R 601 luma, 0.299 * 255


def test_camera_orientation_is_applied(tmp_path):
    array = np.zeros((8, 8, 3), np.uint8)
    array[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    save(tmp_path / "turned.png", array, exif=exif)
    pixels = folders.decode(tmp_path / "turned.png", **SMALL)
    assert pixels[7].min() == 255 and pixels[0].max() == 0


def write_bad(folder):
    """A text file, a truncated image, an empty file."""
    (folder / "notes.txt").write_text("not an image")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = save(folder / "truncated.png", noise).read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    return ["notes.txt", "truncated.png", "empty.jpg"]


def test_every_bad_file_is_named_with_the_way_out(tmp_path):
    for name in write_bad(tmp_path):
        with pytest.raises(DatasetError, match=rf"{name}.*`skip_bad_images`"):
            folders.decode(tmp_path / name, **SMALL)
    with pytest.raises(DatasetError, match="`skip_bad_images`"):
        folders.read(tmp_path, image_size=8)


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
def test_bad_files_are_skipped_and_counted(tmp_path, cache_bytes):
    write_bad(tmp_path)
    save(tmp_path / "good.png", flat((50,) * 3))
    pixels, num_skipped = folders.read(
        tmp_path, image_size=8, skip_bad_images=True, cache_bytes=cache_bytes
    )
    assert len(pixels) == 1 and num_skipped == 3
    assert np.all(pixels[np.array([0])] == 50)


@pytest.mark.parametrize("limit", [20, 40])  # Pillow warns from once, raises from twice
def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    save(tmp_path / "bomb.png", flat((0, 0, 0)))
    with pytest.raises(DatasetError, match=r"bomb\.png.*exceeds limit"):
        folders.decode(tmp_path / "bomb.png", **SMALL)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no image.*0 files"):
        folders.read(tmp_path, image_size=8)


def test_a_link_in_a_circle_is_not_followed(tmp_path):
    save(tmp_path / "one.png", flat((1, 1, 1)))
    (tmp_path / "circle").symlink_to(tmp_path)
    assert len(folders.read(tmp_path, image_size=8)[0]) == 1


SHAPE = {"image_shape": (8, 8, 3)}


def test_files_and_folders_are_read_in_the_given_order(tmp_path):
    for number, name in enumerate(["z.png", "some/b.png", "some/a.png", "y.png"]):
        save(tmp_path / name, flat((number * 60,) * 3))
    (tmp_path / "some" / ".DS_Store").write_bytes(b"hidden")
    paths = [str(tmp_path / "z.png"), tmp_path / "some", tmp_path / "y.png"]
    pixels = folders.read_files(paths, **SHAPE, number=10)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(
        pixels, [flat((number * 60,) * 3) for number in (0, 2, 1, 3)]
    )
    few = folders.read_files(paths, **SHAPE, number=3)
    np.testing.assert_array_equal(few, pixels[:3])


def test_files_beyond_the_number_are_not_decoded(tmp_path):
    save(tmp_path / "a.png", flat((7, 7, 7)))
    (tmp_path / "b.png").write_text("not an image")
    assert len(folders.read_files([tmp_path], **SHAPE, number=1)) == 1
    with pytest.raises(DatasetError, match=r"b\.png cannot be read"):
        folders.read_files([tmp_path], **SHAPE, number=2)


def test_own_files_are_brought_to_the_shape_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    array = np.zeros((8, 24, 3), np.uint8)
    array[:, 8:16] = (255, 0, 0)
    save(tmp_path / "wide.png", array)
    pixels = folders.read_files(["~/wide.png"], image_shape=(8, 8, 3), number=1)
    np.testing.assert_array_equal(pixels, [flat((255, 0, 0))])  # cropped
    grey = folders.read_files(["~/wide.png"], image_shape=(8, 8, 1), number=1)
    np.testing.assert_array_equal(grey, np.full((1, 8, 8, 1), 76))  # 0.299 * 255


def test_missing_files_and_empty_folders_are_refused(tmp_path):
    good = save(tmp_path / "some" / "good.png", flat((1, 1, 1)))
    missing, empty = tmp_path / "missing.png", tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match=f"`images`: {missing} does not exist"):
        folders.read_files([good, missing], **SHAPE, number=1)
    with pytest.raises(DatasetError, match=f"`images`={empty} holds no image"):
        folders.read_files([empty], **SHAPE, number=1)
