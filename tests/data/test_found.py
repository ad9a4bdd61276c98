from pathlib import Path

import pytest

from coopnets_tf.data import decoding, found
from coopnets_tf.data.decoding import Header
from coopnets_tf.data.sources import File, Listing

PLAIN = Header(8, 8, "rgb", False, False)
PAGES = PLAIN._replace(has_pages=True)


def report(names, *, header=PLAIN, skipped=None, greys=None, **listing):
    used = {File(Path(name), name): header for name in names}
    left_out = {
        File(Path(name), name): reason for name, reason in (skipped or {}).items()
    }
    whole = Listing([*used, *left_out], **listing)
    return found.report(Path("some/photos"), whole, used, left_out, greys)


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (["a.png", "b.png"], ""),
        (["cats/a.png", "cats/b.png", "dogs/c.png"], " (cats 2, dogs 1)"),
        (["cats/a.png", "b.png"], " (cats 1, 1 beside them)"),
        (["top/cats/a.png", "top/dogs/b.png"], " (cats 1, dogs 1)"),
        (["top/a.png", "top/b.png"], ""),
        (
            [f"{number:02d}/a.png" for number in range(22)],
            " (" + ", ".join(f"{number:02d} 1" for number in range(10)) + ", "
            "and 12 more folders)",
        ),
    ],
)
def test_images_are_counted_by_folder(names, counts):
    number = "1 image" if len(names) == 1 else f"{len(names)} images"
    assert str(report(names)) == f"photos: {number}{counts}"


def test_one_line_says_all():
    skipped = {"a.txt": decoding.NO_IMAGE, "b.heic": decoding.NEED_HEIF}
    skipped |= {"c.heic": decoding.NEED_HEIF, "d.png": "cannot be read: odd"}
    story = report(
        ["x.tif", "y.tif"],
        header=PAGES,
        skipped=skipped,
        greys=(0, 4095),
        num_followed=1,
        housekeeping=("@eaDir",),
    )
    assert str(story) == (
        "photos: 2 images; 1 linked folder followed; 2 files have several pages, the "
        "first is taken; 16-bit greys from 0:4095; 2 .heic files need pip install "
        "pillow-heif; skipped: 1 file that is no image, 1 file that cannot be read, 1 "
        "housekeeping folder"
    )
    assert (len(story.skipped), story.grey_range) == (5, "0:4095")
    assert story.skipped == (
        "a.txt: is no image",
        "b.heic: needs pip install pillow-heif",
        "c.heic: needs pip install pillow-heif",
        "d.png: cannot be read: odd",
        "@eaDir: is a housekeeping folder",
    )


def test_a_name_that_is_no_text_can_be_shown():
    str(report(["\udcff/a.png", "b/c.png"])).encode()
