import numpy as np
import pytest
from PIL import Image

from coopnets_tf.data import drawing, images


def test_uint8_round_trip_and_scale():
    pixels = np.arange(256, dtype=np.uint8)
    scaled = images.from_uint8(pixels)
    np.testing.assert_allclose(scaled, np.arange(256) / 127.5 - 1, atol=1e-7)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(images.to_uint8(scaled), pixels)


def test_to_uint8_clips_and_refuses_what_is_not_finite():
    np.testing.assert_array_equal(
        images.to_uint8(np.array([-3, 0, 9.0])), [0, 128, 255]
    )
    with pytest.raises(ValueError, match="must be finite"):
        images.to_uint8(np.array([0.0, np.nan]))


def test_normalize_per_image_stretches_each_and_zeroes_a_flat_one():
    batch = np.array([[0.0, 0.5], [0.25, 0.25]]).reshape(2, 1, 2, 1)
    expected = np.array([[-1.0, 1.0], [0.0, 0.0]]).reshape(2, 1, 2, 1)
    np.testing.assert_array_equal(images.normalize_per_image(batch), expected)


def test_grid_places_tiles_row_by_row():
    batch = np.linspace(-1, 1, 5).reshape(5, 1, 1, 1) * np.ones((1, 200, 130, 3))
    grid = drawing.grid(batch, num_columns=3, gap=2)
    assert grid.shape == (2 * 202 + 2, 3 * 132 + 2, 3)
    assert grid.dtype == np.uint8
    for position, value in enumerate([0, 64, 128, 191, 255]):
        row, column = divmod(position, 3)
        tile = grid[2 + 202 * row :, 2 + 132 * column :][:200, :130]
        assert np.all(tile == value)
    assert np.all(grid[204:404, 266:396] == 255)  # the empty place
    assert np.all(grid[:2] == 255)


def test_grid_enlarges_small_images_without_smoothing():
    grid = drawing.grid(np.array([-1.0, 1, 1, -1]).reshape(1, 2, 2, 1), gap=0)
    assert grid.shape == (256, 256, 1)
    assert np.all(grid[:128, :128] == 0) and np.all(grid[:128, 128:] == 255)


@pytest.mark.parametrize(
    ("size", "columns", "factor"),
    [((8, 8), 8, 12), ((8, 8), 10, 9), ((28, 28), 10, 2), ((64, 64), 8, 1)]
    + [((8, 8), 1, 32), ((40, 8), 1, 6), ((8, 8), 200, 1), ((300, 300), 5, 1)],
)
def test_grids_are_as_wide_as_they_may_be(size, columns, factor):
    """800 pixels, and 256 an image."""
    grid = drawing.grid(np.zeros((columns, *size, 1)), num_columns=columns)
    assert grid.shape == (factor * size[0] + 4, (factor * size[1] + 2) * columns + 2, 1)


@pytest.mark.parametrize(
    ("size", "number", "rows", "columns"),
    [((300, 300), 9, 3, 3), ((300, 300), 10, 3, 4), ((300, 600), 8, 4, 2)]
    + [((600, 300), 8, 2, 4), ((100, 900), 3, 3, 1), ((900, 100), 3, 1, 3)],
)
def test_grids_are_about_square(size, number, rows, columns):
    grid = drawing.grid(np.zeros((number, *size, 1)), gap=0)
    assert grid.shape == (rows * size[0], columns * size[1], 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_compared_images_stand_in_groups_under_headings(channels):
    """Four groups, three a row, in tiles of 80 pixels: 2 apart, groups 12 apart."""
    values = np.linspace(-1, 1, 8).reshape(2, 4, 1, 1, 1)
    kinds = values * np.ones((1, 1, 8, 8, channels))
    picture = drawing.compared({"original": kinds[0], "found": kinds[1]})
    tile, group = 128, 2 * 130 + 12
    assert picture.shape == (40 + 2 * (tile + 12), 12 + 3 * group, channels)
    for place in range(4):
        row, column = divmod(place, 3)
        for kind in range(2):
            left = 12 + column * group + kind * 130
            found = picture[40 + row * 140 :, left:][:tile, :tile]
            assert np.all(found == images.to_uint8(kinds[kind, place, 0, 0]))
    for column in range(3):
        for kind in range(2):  # a heading above each, and nothing between two
            left = 12 + column * group + kind * 130
            assert (picture[12:28, left : left + tile] < 128).any()
            assert np.all(picture[:40, left + tile : left + 130] == 255)


@pytest.mark.parametrize(
    ("size", "groups"), [((8, 8), 3), ((8, 2), 3), ((64, 64), 3), ((300, 200), 1)]
)
def test_headings_have_room_whatever_the_images_are(size, groups):
    """A heading of underscores is one stroke, which none of the others touches."""
    white = np.ones((5, *size, 1))
    picture = drawing.compared({"_" * number: white for number in (10, 11, 12)})
    assert picture.shape[1] <= 850
    inked = (picture[:40, :, 0] < 255).any(axis=0)
    assert (np.diff(inked.astype(int)) == 1).sum() == 3 * groups
    assert not inked[0] and not inked[-1]


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_pixel(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    path = tmp_path / "new" / "picture.png"
    drawing.save_png(path, pixels)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize(
    ("frames", "width", "shown"), [(32, 64, 12), (32, 8, 16), (5, 64, 5), (9, 500, 2)]
)
def test_a_clip_is_a_row_of_the_frames_that_fit(frames, width, shown):
    """The first and the last of them, and others evenly between."""
    values = np.linspace(-1, 1, frames)[None, :, None, None, None]
    clips = values * np.ones((2, frames, 8, width, 1))
    strip = drawing.grid(clips)
    tile = (strip.shape[1] - 2) // shown
    found = strip[5, 2 + np.arange(shown) * tile, 0].astype(int)
    expected = np.linspace(0, frames - 1, shown).round().astype(int)
    assert found.tolist() == images.to_uint8(values[0, expected, 0, 0, 0]).tolist()
    assert strip.shape[1] <= 800 or shown == 2
    again = drawing.grid(clips[:1])
    np.testing.assert_array_equal(strip[: len(again)], again)


def test_compared_clips_stand_one_below_the_other():
    clips = np.linspace(-1, 1, 4).reshape(2, 2, 1, 1, 1, 1) * np.ones((3, 8, 8, 1))
    pairs = drawing.compared({"sample": clips[0], "nearest": clips[1]})
    np.testing.assert_array_equal(
        pairs, drawing.grid(clips[[0, 1, 0, 1], [0, 0, 1, 1]])
    )
