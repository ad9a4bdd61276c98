"""Gram matrices and nearest windows against NumPy; what they tell apart."""

import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf.evaluation import textures
from tests.helpers import noise


def test_gram_matrices_equal_numpy():
    maps = noise(2, 3, 4, 5)
    expected = np.einsum("bhwi,bhwj->bij", maps, maps, dtype=np.float64) / 12
    found = textures.gram_matrices(tf.constant(maps))
    np.testing.assert_allclose(found, expected.reshape(2, 25), rtol=1e-5, atol=1e-6)


def test_the_distance_of_matrices_is_relative_and_a_mean_over_layers():
    """5 / 10 and 24 / 12 of numbers on paper."""
    found = [np.array([[9.0, 12.0]]), np.array([[0.0, 24.0]])]
    picture = [np.array([6.0, 8.0]), np.array([0.0, -12.0])]
    np.testing.assert_allclose(
        textures.gram_distance(found, picture), [(5 / 10 + 36 / 12) / 2]
    )


def test_random_filters_do_not_see_a_flat_image_nor_where_a_texture_begins():
    grams = textures.random_filters(1)
    flat = grams(np.full((1, 24, 24, 1), 0.7, np.float32))
    np.testing.assert_allclose(np.concatenate(flat, axis=1), 0, atol=1e-9)
    columns = np.sin(np.arange(65) * 2 * np.pi / 5).astype(np.float32)
    stripes = np.broadcast_to(columns, (40, 65))[..., None]
    windows = np.stack([stripes[:, start : start + 64] for start in (0, 1)])
    upright, moved = (
        [one[number] for one in textures.in_parts(grams, windows)] for number in (0, 1)
    )
    level = grams(
        np.broadcast_to(columns[:64], (1, 40, 64)).transpose(0, 2, 1)[..., None]
    )
    apart = textures.gram_distance(level, upright)[0]
    near = textures.gram_distance([one[None] for one in moved], upright)[0]
    assert near < 0.1 < 0.5 < apart


def test_shuffled_pixels_are_the_images_own():
    images = noise(3, 6, 5, 2)
    found = textures.shuffled(images, seed=0)
    assert found.shape == images.shape and np.any(found != images)
    for one, other in zip(images, found, strict=True):
        one, other = one.reshape(-1, 2).tolist(), other.reshape(-1, 2).tolist()
        assert sorted(one) == sorted(other)


def test_the_nearest_window_equals_a_search_of_all():
    picture, image = noise(9, 11, 2), noise(1, 4, 5, 2)[0]
    windows = np.lib.stride_tricks.sliding_window_view(picture, (4, 5), axis=(0, 1))
    windows = windows.transpose(0, 1, 3, 4, 2).astype(np.float64)
    distances = np.sqrt(np.square(windows - image).mean(axis=(2, 3, 4)))
    distance, place = textures.nearest_window(image, picture)
    assert place == np.unravel_index(distances.argmin(), distances.shape)
    assert distance == pytest.approx(distances.min(), rel=1e-12)


def test_a_copy_has_distance_zero_and_what_it_overlaps_can_be_left_out():
    picture = noise(14, 11, 1)
    image = picture[2:6, 3:8]
    assert textures.nearest_window(image, picture) == (0, (2, 3))
    distance, (row, column) = textures.nearest_window(image, picture, apart_from=(2, 3))
    assert distance > 0.5 and (abs(row - 2) >= 4 or abs(column - 3) >= 5)
    alone, _ = textures.nearest_window(picture, picture, apart_from=(0, 0))
    assert alone == np.inf
