import io
import struct
import sys
import types
import zlib

import numpy as np
import pytest
from PIL import Image

from coopnets_tf.data import decoding, sources
from coopnets_tf.errors import DatasetError
from tests.data.files import flat, save

SMALL = {"image_size": 8, "color_mode": "rgb", "resize": "crop"}


def origin(path):
    return sources.File(path, path.name)


def decode(path, **options):
    return decoding.decode(origin(path), **options)


def test_crop_keeps_proportions_and_stretch_does_not(tmp_path):
    array = np.zeros((8, 24, 3), np.uint8)
    array[:, 8:16] = 255
    path = save(tmp_path / "wide.png", array)
    assert decode(path, **SMALL).min() == 255
    stretched = decode(path, **{**SMALL, "resize": "stretch"})
    assert stretched[:, 0].max() < 30 and stretched[:, 4].min() > 200


@pytest.mark.parametrize("size", [(8, 16), [8, 16]])  # lists come from JSON
def test_images_need_not_be_square(tmp_path, size):
    """The largest centred part of that shape, or the whole squeezed into it."""
    columns = np.repeat([0, 1, 2, 3, 4, 5, 6, 7], 4).astype(np.uint8) * 30
    path = save(tmp_path / "wide.png", np.tile(columns, (8, 1)))
    grey = {"image_size": size, "color_mode": "grey"}
    cropped = decode(path, **grey, resize="crop")
    np.testing.assert_array_equal(cropped[..., 0], np.tile(columns[8:24], (8, 1)))
    stretched = decode(path, **grey, resize="stretch")
    assert stretched.shape == (8, 16, 1)
    assert stretched[:, 0].max() < 30 and stretched[:, -1].min() > 180
    tall = save(tmp_path / "tall.png", np.tile(columns[:, None], (1, 8)))
    cropped = decode(tall, **grey, resize="crop")
    assert cropped.shape == (8, 16, 1)
    assert 80 < cropped.min() < cropped.max() < 130  # rows 14 to 17 of 32


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
    pixels = decode(tmp_path / "image.png", **SMALL)
    np.testing.assert_array_equal(pixels, flat(expected))


def test_palette_bilevel_and_cmyk(tmp_path):
    image = Image.fromarray(flat((10, 200, 30)))
    image.quantize(4).save(tmp_path / "palette.png")
    image.convert("1").save(tmp_path / "bilevel.png")
    image.convert("CMYK").save(tmp_path / "cmyk.tif")
    assert abs(decode(tmp_path / "palette.png", **SMALL)[0, 0, 1] - 200.0) < 3
    assert set(np.unique(decode(tmp_path / "bilevel.png", **SMALL))) <= {0, 255}
    np.testing.assert_allclose(
        decode(tmp_path / "cmyk.tif", **SMALL)[0, 0], [10, 200, 30], atol=3
    )


def test_real_numbers_are_refused(tmp_path):
    save(tmp_path / "real.tif", np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8))
    with pytest.raises(DatasetError, match="real numbers"):
        decode(tmp_path / "real.tif", **SMALL)
    with pytest.raises(DatasetError, match="real.tif cannot be read.*real numbers"):
        decoding.look(origin(tmp_path / "real.tif"))


def test_grey(tmp_path):
    path = save(tmp_path / "red.png", flat((255, 0, 0)))
    pixels = decode(path, **{**SMALL, "color_mode": "grey"})
    assert pixels.shape == (8, 8, 1)
    assert np.all(pixels == 76)  # ITU-R 601 luma, 0.299 * 255


def test_camera_orientation_is_applied(tmp_path):
    array = np.zeros((8, 8, 3), np.uint8)
    array[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    save(tmp_path / "turned.png", array, exif=exif)
    pixels = decode(tmp_path / "turned.png", **SMALL)
    assert pixels[7].min() == 255 and pixels[0].max() == 0


@pytest.mark.parametrize("limit", [20, 40])  # Pillow warns from once, raises from twice
def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    save(tmp_path / "bomb.png", flat((0, 0, 0)))
    with pytest.raises(DatasetError, match=r"bomb\.png.*exceeds limit"):
        decode(tmp_path / "bomb.png", **SMALL)


def test_what_is_an_image_by_name_or_by_content(tmp_path):
    for name, image_format in (("plain", "PNG"), ("odd.dat", "JPEG"), ("a.jpg", "PNG")):
        save(tmp_path / name, flat((1, 2, 3)), format=image_format)
        assert decoding.look(origin(tmp_path / name)).width == 8
    contents = {
        "notes.txt": b"not an image",
        "Thumbs.db": bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512),
        "clip.mpg": bytes.fromhex("000001b3") + bytes(range(64)),
        "paper.pdf": b"%PDF-1.4",
        "data.h5": bytes.fromhex("894844460d0a1a0a") + bytes(64),
        "drawing.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "nothing": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(decoding.NoImage, match="is no image"):
            decoding.look(origin(tmp_path / name))
    (tmp_path / "broken.JPG").write_bytes(b"")
    with pytest.raises(DatasetError, match="broken.JPG cannot be read as an image"):
        decoding.look(origin(tmp_path / "broken.JPG"))


def test_a_header_says_what_an_image_is(tmp_path):
    grey = np.zeros((8, 16), np.uint8)
    save(tmp_path / "a.png", grey)
    assert decoding.look(origin(tmp_path / "a.png"))[:4] == (8, 16, "grey", False)
    save(tmp_path / "a.tif", grey.astype(np.uint16))
    assert decoding.look(origin(tmp_path / "a.tif"))[:4] == (8, 16, "grey", True)
    pages = [Image.fromarray(grey + value) for value in (7, 9)]
    for name in ("pages.tif", "pages.gif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        assert decoding.look(origin(tmp_path / name)).has_pages
        assert abs(int(decode(tmp_path / name, **SMALL).max()) - 7) <= 1


@pytest.mark.parametrize("text", ["0", "5:5", "9:3", "0:65536", "-1:9", "a:b", "0:9:9"])
def test_wrong_grey_ranges_are_refused(text):
    with pytest.raises(DatasetError, match=f"`grey_range` must be.*Received: {text}"):
        decoding.parse_grey_range(text)
    assert decoding.parse_grey_range("3:65535") == (3, 65535)


@pytest.fixture
def without_heif(monkeypatch):
    """As if pillow-heif were not installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decoding.know_formats.cache_clear()
    yield
    monkeypatch.undo()
    decoding.know_formats.cache_clear()


def test_heic_files_say_what_they_need(tmp_path, without_heif):
    (tmp_path / "IMG_1.HEIC").write_bytes(b"ftypheic")
    with pytest.raises(decoding.NoImage, match="needs pip install pillow-heif"):
        decoding.look(origin(tmp_path / "IMG_1.HEIC"))


def test_heic_files_are_opened_by_pillow_heif(tmp_path, without_heif, monkeypatch):
    """A stand-in, which is called once; then whatever opens the content will do."""
    calls = []
    stand_in = types.ModuleType("pillow_heif")
    stand_in.register_heif_opener = lambda: calls.append(1)
    monkeypatch.setitem(sys.modules, "pillow_heif", stand_in)
    decoding.know_formats.cache_clear()
    content = io.BytesIO()
    Image.fromarray(flat((9, 9, 9))).save(content, "PNG")
    (tmp_path / "a.heic").write_bytes(content.getvalue())
    for _ in range(2):
        assert decoding.look(origin(tmp_path / "a.heic")).width == 8
    assert calls == [1]


def deep_colours(path):
    """A PNG file of 16 bits a colour, which Pillow reads and cannot write."""

    def chunk(kind, data):
        content = kind + data
        crc = zlib.crc32(content)
        return struct.pack(">I", len(data)) + content + struct.pack(">I", crc)

    size = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    row = b"\0" + np.full(6, 0x0FFF, ">u2").tobytes()
    chunks = [(b"IHDR", size), (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
    content = b"".join(chunk(*one) for one in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def test_colours_of_16_bits_are_said_to_lose_some(tmp_path):
    deep = origin(deep_colours(tmp_path / "deep.png"))
    assert decoding.look(deep).is_cut and not decoding.look(deep).is_deep
    save(tmp_path / "usual.png", flat((1, 2, 3)))
    save(tmp_path / "grey.png", np.full((8, 8), 300, np.uint16))
    for name in ("usual.png", "grey.png"):
        assert not decoding.look(origin(tmp_path / name)).is_cut


def test_a_link_to_nothing_is_called_that(tmp_path):
    (tmp_path / "lost.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DatasetError, match="it is a link to what is not there"):
        decoding.look(origin(tmp_path / "lost.png"))


def test_large_photographs_are_not_copied_before_they_shrink(tmp_path, monkeypatch):
    """A copy of all pixels costs as much as their decoding."""
    path = save(tmp_path / "photo.jpg", flat((90, 90, 90), (64, 64)))
    expected = decode(path, **SMALL)
    monkeypatch.delattr(Image.Image, "copy")
    np.testing.assert_array_equal(decode(path, **SMALL), expected)
