import numpy as np
import pytest
from PIL import Image

from coopnets_tf.data import images


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
    batch = np.linspace(-1, 1, 5).reshape(5, 1, 1, 1) * np.ones((1, 32, 20, 3))
    grid = images.grid(batch, num_columns=3, gap=2)
    assert grid.shape == (2 * 34 + 2, 3 * 22 + 2, 3)
    assert grid.dtype == np.uint8
    for position, value in enumerate([0, 64, 128, 191, 255]):
        row, column = divmod(position, 3)
        tile = grid[2 + 34 * row :, 2 + 22 * column :][:32, :20]
        assert np.all(tile == value)
    assert np.all(grid[36:68, 46:66] == 255)  # the empty place
    assert np.all(grid[:2] == 255)


def test_grid_enlarges_small_images_without_smoothing():
    grid = images.grid(np.array([-1.0, 1, 1, -1]).reshape(1, 2, 2, 1), gap=0)
    assert grid.shape == (32, 32, 1)
    assert np.all(grid[:16, :16] == 0) and np.all(grid[:16, 16:] == 255)


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_pixel(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    path = tmp_path / "new" / "picture.png"
    images.save_png(path, pixels)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)
