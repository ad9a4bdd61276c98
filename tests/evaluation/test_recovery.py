"""Fills that need no learning, and the errors of recovered images, against NumPy."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf.data import masks
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.evaluation import recovery
from tests.helpers import noise


@pytest.mark.parametrize(("kind", "amount"), [("square", 5), ("random", 0.8)])
def test_nearest_fill_against_a_search(kind, amount):
    images = noise(4, 9, 7, 3)
    visible = masks.visible_pixels(
        kind, amount, number=4, image_shape=images.shape[1:], seed=0
    )
    before = images.copy(), visible.copy()
    filled = recovery.nearest_fill(images, visible)
    assert filled.dtype == np.float32 and filled.shape == images.shape
    for image, mask, result in zip(images, visible, filled, strict=True):
        seen = np.argwhere(mask[..., 0] > 0)
        for place in np.ndindex(9, 7):
            distances = ((seen - place) ** 2).sum(axis=1)
            nearest = seen[distances == distances.min()]  # ties: any will do
            values = image[nearest[:, 0], nearest[:, 1]]
            assert (values == result[place]).all(axis=1).any()
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(visible, before[1])


def test_nearest_fill_does_not_see_the_hidden_pixels():
    images = noise(3, 8, 8, 1)
    visible, occluded = masks.hide(images, "random:0.5", seed=0)
    np.testing.assert_array_equal(
        recovery.nearest_fill(images, visible),
        recovery.nearest_fill(occluded, visible),
    )


@pytest.mark.parametrize("kind", ["square", "random"])
def test_biharmonic_fill_continues_a_ramp(kind):
    pytest.importorskip("skimage")
    rows, columns = np.mgrid[-0.4:0.4:16j, -0.3:0.3:16j]
    ramps = np.stack([rows + columns, rows - columns, columns], axis=-1)
    images = np.stack([ramps, -ramps]).astype(np.float32)
    visible = np.ones_like(images)
    # Not at the borders, where scikit-image knows fewer derivatives.
    visible[:, 3:-3, 3:-3] = masks.visible_pixels(
        kind,
        {"square": 5, "random": 0.4}[kind],
        number=2,
        image_shape=(10, 10, 3),
        seed=0,
    )
    occluded = masks.occlude(images, visible, kind=kind, seed=0)
    before = occluded.copy(), visible.copy()
    filled = recovery.biharmonic_fill(occluded, visible)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(occluded, before[0])
    np.testing.assert_array_equal(visible, before[1])
    np.testing.assert_array_equal(filled[visible > 0], images[visible > 0])
    # The second derivatives of a ramp are zero; the rest is the rounding of float32.
    np.testing.assert_allclose(filled, images, atol=1e-6)


def test_without_scikit_image_biharmonic_fill_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.restoration", None)
    with pytest.raises(ImportError):
        recovery.biharmonic_fill(noise(1, 8, 8, 1), np.ones((1, 8, 8, 1), np.float32))


def ssim(images, others, window):
    """Wang et al. (2004), in float64: Gaussian window of s.d. 1.5, images in [0, 1]."""
    place = np.arange(window) - window // 2
    weights = np.exp(-(place[:, None] ** 2 + place**2) / (2 * 1.5**2))
    weights /= weights.sum()

    def local(values):
        windows = np.lib.stride_tricks.sliding_window_view(
            values, (window, window), axis=(1, 2)
        )
        return (windows * weights).sum(axis=(-2, -1))

    mean, other = local(images), local(others)
    covariance = local(images * others) - mean * other
    variances = local(images**2) - mean**2 + local(others**2) - other**2
    likeness = (2 * mean * other + 0.01**2) / (mean**2 + other**2 + 0.01**2)
    return (likeness * (2 * covariance + 0.03**2) / (variances + 0.03**2)).mean()


@pytest.mark.parametrize(
    ("height", "width", "window"),
    [(1, 1, 1), (2, 2, 1), (8, 8, 7), (8, 20, 7), (11, 11, 11), (12, 12, 11)]
    + [(32, 32, 11)],
)
def test_errors_against_numpy(height, width, window):
    images = noise(3, height, width, 3)
    # Every image is off by another amount: a mean of decibels is not that of a mean.
    amounts = np.float32([0.02, 0.2, 0.6])[:, None, None, None]
    recovered = np.clip(images + amounts * noise(*images.shape, seed=1), -1, 1)
    visible = np.repeat(noise(3, height, width, 1, seed=2) > -0.5, 3, axis=3)
    visible[:, 0, 0] = False
    found = recovery.errors(images, recovered, visible.astype(np.float32))

    scaled, others = ((one.astype(np.float64) + 1) / 2 for one in (images, recovered))
    pairs = zip(scaled - others, visible, strict=True)
    hidden = [np.abs(one[~seen]) for one, seen in pairs]
    squares = np.array([np.mean(one**2) for one in hidden])
    whole = ((scaled - others) ** 2).mean(axis=(1, 2, 3))
    each = {
        "hidden_mae": [np.mean(one) for one in hidden],
        "psnr": -10 * np.log10(whole),
        "ssim": [
            ssim(*(one[number : number + 1] for one in (scaled, others)), window)
            for number in range(3)
        ],
    }
    # Differences of float32 numbers near 1 that are as small as 0.01.
    for name, values in each.items():
        error = np.std(values, ddof=1) / np.sqrt(3)
        expected = {"mean": np.mean(values), "standard_error": error}
        assert found[name] == pytest.approx(expected, rel=5e-5)
    rmse = np.sqrt(squares.mean())
    error = np.std(squares, ddof=1) / np.sqrt(3) / (2 * rmse)
    expected = {"mean": rmse, "standard_error": error}
    assert found["hidden_rmse"] == pytest.approx(expected, rel=2e-5)


def test_errors_of_hidden_pixels_do_not_count_the_visible():
    images = np.zeros((1, 8, 8, 1), np.float32)
    visible = np.ones_like(images)
    visible[0, 0, :4] = 0
    recovered = np.where(visible > 0, images + 0.9, images)
    recovered[0, 0, :4, 0] = [0.5, -0.5, 0, 1]
    found = recovery.errors(images, recovered, visible)
    # In parts of the range from -1 to 1: 1/4, 1/4, 0, 1/2.
    assert found["hidden_mae"] == {"mean": pytest.approx(1 / 4), "standard_error": None}
    assert found["hidden_rmse"]["mean"] == pytest.approx(np.sqrt(6 / 64))


def test_errors_over_whole_images():
    images = np.full((2, 8, 8, 3), -1, np.float32)
    recovered = images.copy()
    recovered[0] += 0.2  # 0.1 of the range: 20 dB
    recovered[1] += 0.02
    found = recovery.errors(images, recovered, np.zeros_like(images))
    assert found["hidden_mae"]["mean"] == pytest.approx((0.1 + 0.01) / 2, rel=1e-5)
    assert found["psnr"]["mean"] == pytest.approx((20 + 40) / 2, rel=1e-5)


@pytest.mark.parametrize("size", [8, 32])
def test_errors_of_equal_images(size):
    images = noise(2, size, size, 1)
    found = recovery.errors(images, images.copy(), np.zeros_like(images))
    none = {"mean": 0, "standard_error": 0}
    assert found["hidden_mae"] == found["hidden_rmse"] == none
    assert found["psnr"]["mean"] == recovery.MOST_PSNR
    np.testing.assert_allclose(found["ssim"]["mean"], 1, atol=1e-6)


def test_the_mean_image_fills_hidden_pixels_alone():
    pixels = np.zeros((3, 4, 4, 1), np.uint8)
    pixels[1:] = 255
    training = ImageDataset("own", pixels)
    images, visible = noise(2, 4, 4, 1), np.ones((2, 4, 4, 1), np.float32)
    visible[:, 1] = 0
    filled = recovery.mean_fill(images, visible, training)
    np.testing.assert_allclose(filled[:, 1], 1 / 3, rtol=1e-6)
    np.testing.assert_array_equal(filled[:, 2:], images[:, 2:])


def test_the_perceptual_distance_against_numpy():
    kernel = noise(3, 5, seed=1)  # answers of five filters of one pixel

    def maps(images):
        return [tf.constant(images) @ kernel]

    images, others = noise(23, 4, 6, 3), noise(23, 4, 6, 3, seed=2)
    answers = [part.astype(np.float64) @ kernel for part in (images, others)]
    one, other = (
        part / np.sqrt((part**2).sum(axis=-1, keepdims=True)) for part in answers
    )
    expected = ((one - other) ** 2).sum(axis=-1).mean(axis=(1, 2))
    found = recovery.perceptual(images, others, maps)
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32 answers
    clips = [part[:22].reshape(11, 2, 4, 6, 3) for part in (images, others)]
    of_frames = recovery.perceptual(*clips, maps)
    np.testing.assert_allclose(of_frames.ravel(), expected[:22], rtol=1e-5)
    assert recovery.perceptual(images, 0.5 * images, maps).max() < 1e-5  # directions
    errors = recovery.errors(images, others, np.zeros_like(images), maps)
    assert errors["perceptual"]["mean"] == pytest.approx(expected.mean(), rel=1e-5)
