import logging
import os
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import PIL
import pytest

from coopnets_tf.data import datasets, decoding, folders, kept, sources
from coopnets_tf.errors import DatasetError
from tests.data.files import flat, save

NUMBER = 6


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder of its own; all images are worth it, and old enough."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(kept, "WORTH", 0)
    monkeypatch.setattr(kept, "SETTLED", -1e9)
    return tmp_path / "keras" / "coopnets_tf"


@pytest.fixture
def photos(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(NUMBER):
        pixels = generator.integers(0, 256, (12, 16, 3), np.uint8)
        save(tmp_path / "photos" / f"{number}.png", pixels)
    return tmp_path / "photos"


@pytest.fixture
def decoded(monkeypatch):
    """The names of what is decoded from now on."""
    names, decode = [], decoding.decode

    def counting(origin, **options):
        names.append(origin.name)
        return decode(origin, **options)

    monkeypatch.setattr(decoding, "decode", counting)
    return names


def read(place, **options):
    options = {"image_size": 8, "keep_decoded": True, **options}
    pixels, found = folders.read(place, **options)
    return pixels[np.arange(len(pixels))], str(found)


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
@pytest.mark.parametrize("packed", [False, True])
def test_the_second_run_decodes_nothing_and_has_the_same_bits(
    cache, photos, decoded, cache_bytes, packed
):
    place = Path(shutil.make_archive(photos, "zip", photos)) if packed else photos
    options = {"cache_bytes": cache_bytes, "image_size": (8, 12)}
    without = read(place, keep_decoded=False, **options)
    assert not cache.exists()
    first = read(place, **options)
    assert len(decoded) == 2 * NUMBER
    second = read(place, **options)
    assert len(decoded) == 2 * NUMBER
    for pixels, found in (first, second):
        np.testing.assert_array_equal(pixels, without[0])
        assert pixels.dtype == np.uint8 and found == without[1]
    (file,) = cache.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_fingerprint_is_the_same(cache, photos, decoded):
    for cache_bytes in (0, 2**20):
        options = {"image_size": 8, "cache_bytes": cache_bytes}
        texts = [
            datasets.load(str(photos), keep_decoded=keep, **options).fingerprint()
            for keep in (False, True, True)
        ]
        assert len(set(texts)) == 1


def change(path):
    """Another image whose file has the same size, and the same time for `ls`."""
    before = path.stat()
    time.sleep(0.02)  # clocks of files tick more slowly than others
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


@pytest.mark.parametrize(
    "touch",
    [
        change,
        lambda path: save(path, flat((1, 2, 3))),
        lambda path: path.unlink(),
        lambda path: save(path.with_name("9.png"), flat((1, 2, 3))),
        lambda path: path.rename(path.with_name("9.png")),
    ],
    ids=["changed", "replaced", "removed", "added", "renamed"],
)
def test_other_images_are_decoded(cache, tmp_path, touch):
    for number in range(3):
        pixels = np.full((12, 12, 3), number, np.uint8)
        save(tmp_path / "photos" / f"{number}.bmp", pixels)
    old, _ = read(tmp_path / "photos")
    touch(tmp_path / "photos" / "1.bmp")
    expected, _ = read(tmp_path / "photos", keep_decoded=False)
    assert not np.array_equal(old, expected)
    np.testing.assert_array_equal(read(tmp_path / "photos")[0], expected)
    assert len([*cache.iterdir()]) == 2


def test_folders_that_change_places_are_decoded(cache, tmp_path):
    """Their files are of one size, and maybe of one time."""
    photos = tmp_path / "photos"
    for name, grey in [("a", 1), ("b", 2)]:
        save(photos / name / "0.bmp", flat((grey,) * 3))
        os.utime(photos / name / "0.bmp", (9, 9))
    read(photos)
    for old, new in ["ac", "ba", "cb"]:
        (photos / old).rename(photos / new)
    assert read(photos)[0][0].max() == 2


def test_an_archive_that_is_replaced_while_it_is_read(cache, tmp_path):
    places = []
    for grey in (1, 2):
        save(tmp_path / str(grey) / "a.bmp", flat((grey,) * 3))
        packed = shutil.make_archive(tmp_path / str(grey), "zip", tmp_path / str(grey))
        places.append(Path(packed))
    (origin,) = sources.listing(places[0]).origins
    header = decoding.look(origin)
    places[1].replace(places[0])
    options = {"color_mode": "rgb", "resize": "crop", "grey_range": (0, 255)}
    one = kept.kept({origin: header}, (8, 8, 3), {"image_size": 8, **options})
    assert one(origin).max() == 1  # of the open one
    assert read(places[0])[0].max() == 2


@pytest.mark.parametrize(
    "options",
    [{"image_size": 9}, {"color_mode": "grey"}, {"resize": "stretch"}],
    ids=str,
)
def test_other_settings_are_decoded(cache, photos, decoded, options):
    read(photos)
    read(photos, **options)
    assert len(decoded) == 2 * NUMBER
    read(photos)
    read(photos, **options)
    assert len(decoded) == 2 * NUMBER


def test_another_grey_range_is_decoded(cache, tmp_path, decoded):
    save(tmp_path / "photos" / "a.png", np.full((8, 8), 2000, np.uint16))
    for grey_range in (None, "0:4000", None, "0:4000"):
        read(tmp_path / "photos", grey_range=grey_range)
    assert len(decoded) == 2


def test_another_pillow_decodes_anew(cache, photos, decoded, monkeypatch):
    read(photos)
    version = kept.metadata.version
    monkeypatch.setattr(kept.metadata, "version", lambda name: f"9 {version('pillow')}")
    read(photos)
    assert len(decoded) == 2 * NUMBER


def damage(data):
    """Cut off in the middle of a record, one of zeros, one with another bit."""
    size = len(data) // NUMBER
    record = bytearray(data[size : 2 * size])
    record[-1] ^= 1
    return bytes(size) + record + data[2 * size : -size // 2]


@pytest.mark.parametrize(
    ("broken", "number"),
    [
        (damage, 3),
        (lambda data: b"", NUMBER),
        (lambda data: bytes(len(data)), NUMBER),
        (lambda data: b"something else" * len(data), NUMBER),
    ],
    ids=["damaged", "empty", "zeros", "foreign"],
)
def test_a_record_that_is_not_whole_is_decoded_and_mended(
    cache, photos, decoded, broken, number
):
    expected, _ = read(photos)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(broken(whole))
    decoded.clear()
    np.testing.assert_array_equal(read(photos)[0], expected)
    assert len(decoded) == number
    assert file.read_bytes()[: len(whole)] == whole


def test_records_of_other_images_do_not_count(cache, photos, decoded):
    """A file under the name of another one, of the same size."""
    grey, _ = read(photos, resize="stretch")
    (file,) = cache.iterdir()
    read(photos)
    (other,) = set(cache.iterdir()) - {file}
    shutil.copy(other, file)
    np.testing.assert_array_equal(read(photos, resize="stretch")[0], grey)


def test_bad_images_are_skipped_and_named_each_time(cache, photos, decoded):
    whole = (photos / "2.png").read_bytes()
    (photos / "2.png").write_bytes(whole[: len(whole) // 2])
    (photos / "notes.txt").write_text("no image")
    with pytest.raises(DatasetError, match="2.png.*`skip_bad_images`"):
        read(photos)
    options = {"image_size": 8, "skip_bad_images": True, "keep_decoded": True}
    reports = []
    for cache_bytes in (2**20, 2**20, 0):
        decoded.clear()
        lazy, found = folders.read(photos, cache_bytes=cache_bytes, **options)
        pixels = lazy[np.arange(len(lazy))]
        assert pixels.shape == (NUMBER - 1, 8, 8, 3)
        reports.append((found, pixels.tobytes()))
    assert reports[0] == reports[1] == reports[2]
    assert decoded == ["2.png"] and len(found.skipped) == 2


def test_a_file_that_changes_while_in_use_is_named_all_the_same(cache, photos):
    read(photos)
    lazy, _ = folders.read(photos, image_size=8, keep_decoded=True, cache_bytes=0)
    change(photos / "1.png")
    os.utime(photos / "1.png")
    with pytest.raises(DatasetError, match="1.png was changed or removed"):
        lazy[np.array([0, 1])]


def test_what_is_quick_or_young_or_an_array_is_not_kept(cache, photos, monkeypatch):
    np.save(photos.with_suffix(".npy"), np.zeros((3, 8, 8, 3), np.uint8))
    read(photos.with_suffix(".npy"))
    monkeypatch.setattr(kept, "SETTLED", 2)
    read(photos)  # which was made just now
    monkeypatch.setattr(kept, "SETTLED", -1e9)
    monkeypatch.setattr(kept, "WORTH", NUMBER * 12 * 16)
    read(photos)
    assert not cache.exists()


def test_a_place_that_cannot_be_written_is_a_warning(cache, photos, caplog):
    expected, _ = read(photos, keep_decoded=False)
    cache.parent.mkdir()
    cache.touch()  # no folder
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(read(photos)[0], expected)
    assert caplog.text.count("Decoded images are not kept for the next run") == 1


def test_a_full_disk_is_one_warning(cache, photos, decoded, caplog):
    """There is room for a record and a half."""
    expected, _ = read(photos)
    (file,) = cache.iterdir()
    file.unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        np.testing.assert_array_equal(read(photos)[0], expected)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caplog.text.count("Decoded images are not kept for the next run") == 1
    assert file.stat().st_size <= 300
    decoded.clear()
    for _ in range(2):
        np.testing.assert_array_equal(read(photos)[0], expected)
    assert NUMBER - 1 <= len(decoded) <= NUMBER


def test_there_is_room_for_the_newest(cache, photos, monkeypatch):
    size = NUMBER * (8 + 8 * 8 * 3)
    monkeypatch.setattr(kept, "MAX_BYTES", 2 * size)
    (cache / "images-mine").mkdir(parents=True)
    (cache / "classifier-digits.keras").write_bytes(bytes(9 * size))

    def files():
        return {file.name: file for file in cache.glob("*.pixels")}

    read(photos)
    (first,) = files()
    os.utime(cache / first, (1, 1))
    read(photos, resize="stretch")
    (second,) = set(files()) - {first}
    read(photos)  # used once more, and so the newer one
    os.utime(cache / second, (2, 2))
    read(photos, color_mode="grey")
    assert len(files()) == 2 and first in files() and second not in files()
    read(photos, image_size=16)  # too large for all
    assert len(files()) == 2 and first in files()
    assert len([*cache.iterdir()]) == 4
    monkeypatch.setattr(kept.shutil, "disk_usage", lambda _: PIL)
    monkeypatch.setattr(PIL, "free", 2 * size - 1, raising=False)
    read(photos, image_size=(8, 7), color_mode="grey")
    assert len(files()) == 3
    read(photos, image_size=(9, 8))
    assert len(files()) == 3


def test_two_at_once_write_the_same(cache, photos, decoded):
    listing = sources.listing(photos)
    headers = {one: decoding.look(one) for one in listing.origins}
    options = {"image_size": 8, "color_mode": "rgb"}
    two = [kept.kept(headers, (8, 8, 3), options) for _ in range(2)]
    for number, origin in enumerate(listing.origins):
        two[number % 2](origin)
    for one in two:
        for origin in listing.origins:
            one(origin)
    assert len(decoded) == NUMBER
