import io
import zipfile

import numpy as np
import pytest

from coopnets_tf.data import archives
from coopnets_tf.errors import DatasetError

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    "pixels", [PIXELS, PIXELS[..., :1], PIXELS[..., 0], np.asfortranarray(PIXELS)]
)
def test_arrays_are_read_as_they_were_written(tmp_path, pixels):
    np.save(tmp_path / "a.npy", pixels)
    np.savez_compressed(tmp_path / "a.npz", images=pixels, other=np.zeros(3))
    np.savez(tmp_path / "one.npz", pixels)
    np.savez(tmp_path / "keras.npz", x_test=PIXELS[:1], x_train=pixels, y_train=[1])
    for name in ("a.npy", "a.npz", "one.npz", "keras.npz"):
        np.testing.assert_array_equal(archives.read_array(tmp_path / name), pixels)


def test_an_npy_file_is_not_taken_into_memory(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS)
    assert isinstance(archives.read_array(tmp_path / "a.npy"), np.memmap)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (PIXELS.astype(np.float32), r"float32 \[3, 4, 5, 3\]"),
        (PIXELS[0, 0], r"uint8 \[5, 3\]"),
        (PIXELS[..., :2], r"uint8 \[3, 4, 5, 2\]"),
        (PIXELS[:0], r"uint8 \[0, 4, 5, 3\]"),
        (np.array([{}], object), r"object \[1\]"),
    ],
)
def test_other_arrays_are_refused_by_what_they_hold(tmp_path, array, text):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", array)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DatasetError, match=f"{name} must hold images.*: {text}"):
            archives.read_array(tmp_path / name)


def header(shape):
    file = io.BytesIO()
    content = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, content)
    return file.getvalue()


def test_a_claim_is_checked_before_memory_is_taken(tmp_path):
    lie = header((10**9, 10**4, 10**4)) + bytes(99)
    (tmp_path / "a.npy").write_bytes(lie)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", lie)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DatasetError, match=f"{name} must.*which 99 bytes are"):
            archives.read_array(tmp_path / name)


def test_no_array_and_no_file_of_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", b=PIXELS, c=PIXELS)
    with pytest.raises(DatasetError, match="Received: arrays b, c"):
        archives.read_array(tmp_path / "a.npz")
    for content in (b"", b"not an array", b"PK"):
        for name in ("b.npy", "b.npz"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(DatasetError, match=name):
                archives.read_array(tmp_path / name)


def test_an_absurd_array_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SMALL_MEMBER", 2**10)
    np.savez_compressed(tmp_path / "a.npz", np.zeros((2**14, 8, 8), np.uint8))
    with pytest.raises(DatasetError, match=r"a\.npz .*claims to unpack"):
        archives.read_array(tmp_path / "a.npz")
    monkeypatch.setattr(archives, "MAX_MEMBER", 2**10)
    np.savez(tmp_path / "b.npz", np.zeros((2**10, 8, 8), np.uint8))
    with pytest.raises(DatasetError, match=r"b\.npz .*claims to unpack"):
        archives.read_array(tmp_path / "b.npz")


def test_an_archive_cannot_be_larger_within_or_encrypted(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", bytes(99))
    content = path.read_bytes()
    start = content.index(b"PK\x01\x02")

    def refusal(place, value):
        changed = bytearray(content)
        changed[start + place : start + place + len(value)] = value
        path.write_bytes(changed)
        with pytest.raises(DatasetError) as refused:
            archives.open_zip(path)
        return str(refused.value)

    assert "is encrypted. Unpack it" in refusal(8, b"\x01\x00")
    assert "more than its size allows" in refusal(20, b"\xff\xff\xff\x00")
