import numpy as np
import pytest

from coopnets_tf.data import windows
from coopnets_tf.data.windows import Windows


def numbered(*shape):
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


def test_a_picture_has_a_window_at_every_place():
    picture = numbered(4, 5, 3)
    found = Windows(picture, (2, 3))
    assert found.shape == (9, 2, 3, 3) and found.whole is picture
    for number in range(9):
        top, left = divmod(number, 3)
        expected = picture[top : top + 2, left : left + 3]
        np.testing.assert_array_equal(found[[number, 0]][0], expected)


def test_a_clip_has_a_window_at_every_frame():
    clip = numbered(6, 2, 2, 1)
    found = Windows(clip, (4, 2, 2))
    assert found.shape == (3, 4, 2, 2, 1)
    np.testing.assert_array_equal(found[np.array([2, 0])], [clip[2:6], clip[:4]])


def test_the_whole_may_be_the_only_window():
    clip = numbered(3, 2, 2, 1)
    assert Windows(clip, (3, 2, 2)).shape[0] == 1


def test_a_window_is_a_copy():
    picture = numbered(3, 3, 1)
    Windows(picture, (2, 2))[[0]][:] = 99
    np.testing.assert_array_equal(picture, numbered(3, 3, 1))


@pytest.mark.parametrize(("most", "places"), [(25, 5), (24, 3), (9, 3), (8, 2), (3, 1)])
def test_of_too_many_windows_some_are_taken_from_all_over(monkeypatch, most, places):
    """At every pixel of 5, every second, every third or fourth, every fifth."""
    monkeypatch.setattr(windows, "MOST", most)
    picture = numbered(6, 6, 1)
    found = Windows(picture, (2, 2))
    assert found.counts == (places, places)
    step = {5: 1, 3: 2, 2: 3, 1: 5}[places]
    last = step * (places - 1)
    np.testing.assert_array_equal(
        found[[places**2 - 1]][0], picture[last : last + 2, last : last + 2]
    )


def test_windows_are_alike_where_nothing_changes_along_any_side():
    flat, stripes = np.full((4, 4, 1), 7, np.uint8), numbered(1, 4, 1).repeat(4, axis=0)
    assert Windows(flat, (2, 2)).are_alike()
    assert not Windows(stripes, (2, 2)).are_alike()
    assert not Windows(stripes.swapaxes(0, 1), (2, 2)).are_alike()
    # Frames may differ within a picture, if it does not move.
    still = numbered(1, 3, 3, 1).repeat(4, axis=0)
    assert Windows(still, (2, 3, 3)).are_alike()
