import pytest

from coopnets_tf.wording import counted, nearest, one_line


@pytest.mark.parametrize(
    ("number", "things", "expected"),
    [
        (0, "images", "0 images"),
        (1, "images", "1 image"),
        (2, "images", "2 images"),
        (1_200, "training images", "1,200 training images"),
        (1, "test images, held out of training", "1 test image, held out of training"),
        (1, "steps an epoch", "1 step an epoch"),
    ],
)
def test_one_thing_is_no_plural(number, things, expected):
    assert counted(number, things) == expected


def test_errors_in_one_line_without_colours():
    assert one_line(ValueError("\x1b[1mToo\x1b[0m\n  much ")) == "Too much"


def test_the_nearest_name_if_any_is_near():
    assert nearest("digts", ["mnist", "digits"]) == " Did you mean digits?"
    assert nearest("val", ["test", "validation"]) == " Did you mean validation?"
    assert nearest("photos", ["mnist", "digits"]) == nearest("", ["mnist"]) == ""
