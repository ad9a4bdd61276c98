"""Parzen windows against scikit-learn and closed forms, in float64."""

import numpy as np
import pytest
from sklearn.neighbors import KernelDensity

from coopnets_tf.evaluation import parzen


def density(samples, bandwidth):
    """scikit-learn's, of one leaf: deeper trees of it are off by up to 16 nats in 64
    dimensions (1.8, against a plain float64 sum).
    """
    return KernelDensity(bandwidth=bandwidth, leaf_size=len(samples)).fit(samples)


@pytest.fixture
def rows():
    """Samples and images in [0, 1] that come in clusters, as digits do."""
    generator = np.random.default_rng(0)
    centers = generator.random((5, 64))
    return [
        np.clip(
            centers[generator.integers(5, size=number)]
            + 0.2 * generator.standard_normal((number, 64)),
            0,
            1,
        ).astype(np.float32)
        for number in (400, 130)
    ]


def test_log_likelihoods_are_those_of_scikit_learn(rows, monkeypatch):
    samples, images = rows
    monkeypatch.setattr(parzen, "CHUNK", 50)  # two whole chunks and a part of one
    found = parzen.log_likelihoods(samples, images, parzen.BANDWIDTHS)
    for bandwidth, values in zip(parzen.BANDWIDTHS, found, strict=True):
        # A float32 distance of 64 pixels is exact to some 1e-6, divided by 2 * 0.1^2.
        np.testing.assert_allclose(
            values,
            density(samples, bandwidth).score_samples(images),
            rtol=1e-5,
            atol=1e-3,
        )


def test_one_sample_makes_a_gaussian():
    sample, image = np.full((1, 4), 0.25, np.float32), np.full((1, 4), 0.75, np.float32)
    found = parzen.log_likelihoods(sample, image, [0.5])
    expected = -4 * 0.5**2 / (2 * 0.5**2) - 4 * np.log(0.5 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(found, [[expected]], rtol=1e-6)


def test_the_chosen_bandwidth_is_the_best_of_all(rows):
    samples, images = rows
    means = [
        density(samples, bandwidth).score(images) / len(images)
        for bandwidth in parzen.BANDWIDTHS
    ]
    best = parzen.BANDWIDTHS[np.argmax(means)]
    assert parzen.choose_bandwidth(samples, images) == best
    assert 0.1 < best < 1  # neither end, so that the choice is one


def test_the_score_is_a_mean_with_its_error(rows):
    samples, images = rows
    values = density(samples, 0.3).score_samples(images)
    mean, error = parzen.score(samples, images, 0.3)
    np.testing.assert_allclose(mean, values.mean(), rtol=1e-5)
    np.testing.assert_allclose(error, values.std(ddof=1) / np.sqrt(130), rtol=1e-4)


def test_the_bandwidths_are_the_authors():
    np.testing.assert_allclose(parzen.BANDWIDTHS[[0, 1, 9]], [0.1, 10 ** (-8 / 9), 1])
