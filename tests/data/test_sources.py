import zipfile

import numpy as np
import pytest

from coopnets_tf.data import archives, sources
from coopnets_tf.errors import DatasetError
from tests.data.files import flat, save


def names(place):
    return [origin.name for origin in sources.listing(place).origins]


def touch(folder, *files):
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


HIDDEN = [".a.png", "._a.png", ".git/b.png", "run/model.json", "run/samples/c.png"]
KEPT = ["a.png", "b/a.png", "b/c/a.png", "b.png"]
HOUSES = ["@eaDir", "b/#recycle", "__MACOSX", "System Volume Information"]


def test_a_folder_without_what_is_hidden_or_housekeeping(tmp_path):
    touch(tmp_path, *KEPT, *HIDDEN, *(f"{house}/x/y.png" for house in HOUSES))
    found = sources.listing(tmp_path)
    assert names(tmp_path) == ["a.png", "b/a.png", "b/c/a.png", "b.png"]
    assert found.housekeeping == tuple(sorted(HOUSES)) and found.num_followed == 0


def test_an_archive_without_what_is_hidden_or_housekeeping(tmp_path):
    packed = tmp_path / "photos.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.mkdir("b")
        for name in [*KEPT, *HIDDEN, *(f"{house}/x/y.png" for house in HOUSES)]:
            archive.writestr(name, b"")
    assert names(packed) == ["a.png", "b/a.png", "b/c/a.png", "b.png"]
    assert sources.listing(packed).housekeeping == tuple(sorted(HOUSES))
    assert sources.listing(packed).runs == ("run",)


def test_images_beside_a_description_of_somebody_else_are_no_run(tmp_path):
    """In the place itself: who names it wants its images."""
    touch(tmp_path / "photos", "model.json", "a.png")
    packed = tmp_path / "photos.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("./model.json", "./cats/a.png", "/b.png"):
            archive.writestr(name, b"")
    assert "a.png" in names(tmp_path / "photos")
    listing = sources.listing(packed)
    assert len(listing.origins) == 3 and listing.runs == ()


def test_linked_folders_are_entered_once_and_circles_are_broken(tmp_path):
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    touch(photos, "a.png", "sub/b.png")
    touch(elsewhere, "c.png", "deep/d.png")
    (photos / "linked").symlink_to(elsewhere)
    (photos / "linked again").symlink_to(elsewhere)
    (photos / "deep").symlink_to(elsewhere / "deep")
    (photos / "circle").symlink_to(photos)
    (photos / "twice").symlink_to(photos / "sub")
    (elsewhere / "back").symlink_to(photos)
    found = sources.listing(photos)
    assert names(photos) == ["a.png", "deep/d.png", "linked/c.png", "sub/b.png"]
    assert found.num_followed == 2


def test_the_order_does_not_depend_on_the_place(tmp_path):
    for place in ("z", "a/b c"):
        touch(tmp_path / place, "b/x.png", "b-1/x.png", "b.png", "a/x.png")
    assert names(tmp_path / "z") == names(tmp_path / "a/b c")


def test_members_and_rows_open_as_images(tmp_path):
    path = save(tmp_path / "a.png", flat((1, 2, 3)))
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(path, "cats/a.png")
    greys = np.arange(6, 8, dtype=np.uint8)[:, None, None, None]
    np.save(tmp_path / "grey.npy", np.broadcast_to(greys, (2, 8, 8, 1)))
    (member,) = sources.listing(tmp_path / "photos.zip").origins
    assert str(member) == f"{tmp_path}/photos.zip/cats/a.png"
    assert member.mark == sources.File(path, "a.png").mark
    with member.open() as image:
        np.testing.assert_array_equal(np.asarray(image), flat((1, 2, 3)))
    other, row = sources.listing(tmp_path / "grey.npy").origins
    assert str(row) == f"{tmp_path}/grey.npy[1]" and row.mark != other.mark
    with row.open() as image:
        assert image.mode == "L" and np.all(np.asarray(image) == 7)


def test_a_member_of_absurd_size_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SMALL_MEMBER", 2**10)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(2**20))
    (member,) = sources.listing(tmp_path / "x.zip").origins
    with pytest.raises(ValueError, match=r"it claims to unpack 1,0\d\d bytes to 1,048"):
        with member.open():
            pass


def test_unreadable_places_are_refused(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK damaged")
    with pytest.raises(DatasetError, match="x.zip cannot be read as a zip file"):
        sources.listing(tmp_path / "x.zip")
