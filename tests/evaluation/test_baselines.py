"""The Gaussian has the mean and the covariance of the training pixels."""

import numpy as np
import pytest

from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.evaluation import baselines


@pytest.fixture(scope="module")
def training():
    """Images in mid greys, so that no draw is clipped; neighbours go together."""
    random = np.random.default_rng(0)
    light = random.normal(128, 12, (300, 1, 1, 1))
    pixels = light + random.normal(0, 6, (300, 3, 2, 1)) * [[[2], [1]]]
    return ImageDataset("grey", np.clip(pixels, 0, 255).astype(np.uint8))


def flat(dataset):
    return dataset[:].astype(np.float64).reshape(dataset.num_images, -1)


def test_mean_and_covariance_are_those_of_the_training(training):
    number = 40_000
    drawn = flat(baselines.gaussian(training, number, seed=0))
    fitted = flat(training)
    variances = fitted.var(axis=0)
    errors = np.sqrt(variances / number)
    assert (np.abs(drawn.mean(axis=0) - fitted.mean(axis=0)) < 5 * errors).all()
    # The standard error of a covariance is at most sqrt(2 v w / number).
    covariance = np.cov(fitted, rowvar=False, bias=True)
    rounding = (2 / 255) ** 2 / 12 * np.eye(6)
    errors = np.sqrt(2 * np.outer(variances, variances) / number)
    differences = np.cov(drawn, rowvar=False) - covariance - rounding
    assert (np.abs(differences) < 5 * errors).all()


def test_draws_are_a_function_of_the_seed(training, monkeypatch):
    one, same, other = (
        baselines.gaussian(training, 50, seed=seed)[:] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    monkeypatch.setattr(baselines, "BLOCK", 20)
    blocks = baselines.gaussian(training, 50, seed=0)
    assert blocks.num_images == 50
    np.testing.assert_allclose(blocks[:20], one[:20], atol=1.01 / 127.5)


def test_it_is_fitted_to_some_of_many_and_to_one_image(training, monkeypatch):
    monkeypatch.setattr(baselines, "NUM_FITTED", 10)
    drawn = flat(baselines.gaussian(training, 5_000, seed=3))
    chosen = flat(training.drawn(10, seed=3))
    errors = np.sqrt(chosen.var(axis=0) / 5_000)
    assert (np.abs(drawn.mean(axis=0) - chosen.mean(axis=0)) < 5 * errors).all()
    one = training.part([7])
    expected = np.broadcast_to(one[:], (4, 3, 2, 1))
    np.testing.assert_array_equal(baselines.gaussian(one, 4, seed=0)[:], expected)
