import numpy as np
import pytest

from coopnets_tf import interpolation

RNG = np.random.default_rng(0)
STARTS, ENDS = RNG.standard_normal((2, 2, 3, 5))
# A few float64 operations on numbers near 1.
CLOSE = {"rtol": 1e-12, "atol": 1e-12}
# 5 standard errors of the variance of so many normal numbers, sqrt(2 / number).
NUMBER = 100_000
VARIANCE = {"rtol": 5 * np.sqrt(2 / NUMBER)}


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def angles(ones, others):
    """Kahan's formula, which keeps its precision where an arc cosine loses it."""
    ones, others = unit(ones), unit(others)
    apart = np.linalg.norm(ones - others, axis=-1)
    return 2 * np.arctan2(apart, np.linalg.norm(ones + others, axis=-1))


def test_linear_has_both_ends_and_equal_steps():
    path = interpolation.linear(STARTS, ENDS, 5)
    assert path.shape == (2, 3, 5, 5)
    np.testing.assert_array_equal(path[..., 0, :], STARTS)
    np.testing.assert_array_equal(path[..., -1, :], ENDS)
    np.testing.assert_allclose(path[..., 2, :], (STARTS + ENDS) / 2, **CLOSE)
    steps = np.diff(path, axis=-2)
    expected = np.broadcast_to((ENDS - STARTS)[..., None, :] / 4, steps.shape)
    np.testing.assert_allclose(steps, expected, **CLOSE)


def test_two_points_are_the_ends():
    for path in (interpolation.linear, interpolation.spherical):
        expected = np.stack([STARTS, ENDS], axis=-2)
        np.testing.assert_allclose(path(STARTS, ENDS, 2), expected, **CLOSE)


def test_the_middle_of_a_line_has_half_of_the_priors_variance():
    start, end = RNG.standard_normal((2, NUMBER))
    middle = interpolation.linear(start, end, 3)[1]
    np.testing.assert_allclose(middle.var(), 0.5, **VARIANCE)


def test_spherical_keeps_the_norm_and_has_equal_angles():
    starts, ends = 3 * unit(STARTS), 3 * unit(ENDS)
    path = interpolation.spherical(starts, ends, 7)
    assert path.shape == (2, 3, 7, 5)
    np.testing.assert_allclose(path[..., 0, :], starts, **CLOSE)
    np.testing.assert_allclose(path[..., -1, :], ends, **CLOSE)
    np.testing.assert_allclose(np.linalg.norm(path, axis=-1), 3, **CLOSE)
    between = angles(path[..., :-1, :], path[..., 1:, :])
    expected = np.broadcast_to(angles(starts, ends)[..., None] / 6, between.shape)
    np.testing.assert_allclose(between, expected, **CLOSE)


def test_spherical_weighs_unequal_norms_as_it_weighs_their_directions():
    start, end = STARTS[0, 0], 10 * ENDS[0, 0]
    directions = np.stack([unit(start), unit(end)])
    across = unit(directions[1] - directions[1] @ directions[0] * directions[0])
    path = interpolation.spherical(start, end, 6)
    for part, found in zip(np.linspace(0, 1, 6), path, strict=True):
        turned = part * angles(start, end)
        point = np.cos(turned) * directions[0] + np.sin(turned) * across
        weights = np.linalg.lstsq(directions.T, point)[0]
        np.testing.assert_allclose(
            found, weights @ np.stack([start, end]), rtol=1e-10, atol=1e-10
        )


def test_a_quarter_turn():
    path = interpolation.spherical(np.array([2.0, 0]), np.array([0, 2.0]), 4)
    root = np.sqrt(3)
    np.testing.assert_allclose(path, [[2, 0], [root, 1], [1, root], [0, 2]], **CLOSE)


@pytest.mark.parametrize("factor", [1.0, 2.5, -1.0, -0.5])
def test_the_line_takes_the_place_of_an_arc_between_parallel_vectors(factor):
    ends = ENDS.copy()
    ends[0] = factor * STARTS[0]
    path = interpolation.spherical(STARTS, ends, 5)
    line = interpolation.linear(STARTS, ends, 5)
    np.testing.assert_allclose(path[0], line[0], **CLOSE)
    assert np.abs(path[1] - line[1]).max() > 0.01  # the others are still on arcs


def test_a_short_arc_is_near_the_line():
    angle = 1e-5
    start, end = np.array([1.0, 0]), np.array([np.cos(angle), np.sin(angle)])
    path = interpolation.spherical(start, end, 9)
    # Arc and chord are apart by angle**2 / 8 at most.
    np.testing.assert_allclose(path, interpolation.linear(start, end, 9), atol=1e-10)


def test_a_zero_vector_has_no_direction_and_gives_a_straight_path():
    zero, latent = np.zeros(5), STARTS[0, 0]
    path = interpolation.spherical(zero, latent, 4)
    expected = np.outer([0, 1 / 2, np.sqrt(3) / 2, 1], latent)  # sines of 0 to 90 deg
    np.testing.assert_allclose(path, expected, **CLOSE)
    np.testing.assert_array_equal(
        interpolation.spherical(zero, zero, 3), np.zeros((3, 5))
    )


def test_a_plane_is_an_even_grid_with_its_axes_to_the_right_and_up():
    plane = interpolation.plane(5)
    assert plane.shape == (5, 5, 2)
    np.testing.assert_array_equal(plane[..., 0], [[-2, -1, 0, 1, 2]] * 5)
    np.testing.assert_array_equal(plane[:, 3, 1], [2, 1, 0, -1, -2])


def test_four_corners_are_the_given_latents():
    corners = RNG.standard_normal((4, 6))
    square = interpolation.four_corners(corners, 5)
    assert square.shape == (5, 5, 6)
    found = [square[0, 0], square[0, -1], square[-1, 0], square[-1, -1]]
    np.testing.assert_allclose(found, corners, **CLOSE)
    np.testing.assert_allclose(square[2, 2], corners.sum(axis=0) / 2, **CLOSE)


def test_squared_weights_of_four_corners_sum_to_one():
    squares = interpolation.four_corners(np.eye(4), 4) ** 2
    np.testing.assert_allclose(squares.sum(axis=-1), np.ones((4, 4)), **CLOSE)
    # 30 and 60 degrees, whose squared cosines are 3/4 and 1/4.
    np.testing.assert_allclose(squares[1, 2], np.array([3, 9, 1, 3]) / 16, **CLOSE)


def test_four_corners_keep_the_priors_distribution():
    square = interpolation.four_corners(RNG.standard_normal((4, NUMBER)), 5)
    np.testing.assert_allclose(square.var(axis=-1), np.ones((5, 5)), **VARIANCE)
    means = square.mean(axis=-1)
    np.testing.assert_allclose(means, np.zeros((5, 5)), atol=5 / np.sqrt(NUMBER))
