import numpy as np
import pytest

from coopnets_tf import energies

RNG = np.random.default_rng(0)
IMAGES, OTHERS = RNG.uniform(-1, 1, (2, 3, 4, 4, 2)).astype(np.float32)
LATENTS = RNG.standard_normal((3, 5)).astype(np.float32)
# Sums of up to 32 float32 terms.
CLOSE = {"rtol": 1e-5}


def squares(values):
    return (values.astype(np.float64) ** 2).reshape(len(values), -1).sum(axis=1)


def test_gaussian_energy():
    energy = energies.gaussian_energy(IMAGES, stddev=0.4)
    np.testing.assert_allclose(energy, squares(IMAGES) / 0.32, **CLOSE)


def test_descriptor_energy():
    scores = np.array([1.0, -2.0, 3.0], np.float32)
    energy = energies.descriptor_energy(scores, IMAGES, reference_stddev=0.5)
    np.testing.assert_allclose(energy, squares(IMAGES) / 0.5 - scores, **CLOSE)


def test_latent_energy():
    energy = energies.latent_energy(LATENTS, IMAGES, OTHERS, residual_stddev=0.3)
    expected = squares(IMAGES - OTHERS) / 0.18 + squares(LATENTS) / 2
    np.testing.assert_allclose(energy, expected, **CLOSE)


def test_descriptor_loss_takes_different_numbers_of_images():
    loss = energies.descriptor_loss(np.float32([1, 2, 6]), np.float32([4, 10]))
    np.testing.assert_allclose(loss, 7 - 3)


def test_energy_penalty():
    penalty = energies.energy_penalty(np.float32([1, 2, 6]), np.float32([4, 10]))
    np.testing.assert_allclose(penalty, 41 / 3 + 116 / 2)


def test_generator_loss():
    loss = energies.generator_loss(IMAGES, OTHERS, residual_stddev=0.3)
    np.testing.assert_allclose(loss, squares(IMAGES - OTHERS).mean() / 0.18, **CLOSE)


def test_hidden_pixels_count_for_nothing_whatever_they_hold():
    visible = RNG.integers(0, 2, IMAGES.shape).astype(np.float32)
    unknown = np.where(visible > 0, IMAGES, np.nan)
    expected = squares((IMAGES - OTHERS) * visible) / 0.18
    options = {"residual_stddev": 0.3, "visible": visible}
    energy = energies.residual_energy(unknown, OTHERS, **options)
    np.testing.assert_allclose(energy, expected, **CLOSE)
    loss = energies.generator_loss(unknown, OTHERS, **options)
    np.testing.assert_allclose(loss, expected.mean(), **CLOSE)
    energy = energies.latent_energy(LATENTS, unknown, OTHERS, **options)
    np.testing.assert_allclose(energy, expected + squares(LATENTS) / 2, **CLOSE)


def test_without_a_reference_the_energy_is_minus_the_score():
    scores = np.array([1.0, -2.0, 3.0], np.float32)
    energy = energies.descriptor_energy(scores, IMAGES, reference_stddev=np.inf)
    np.testing.assert_array_equal(energy, -scores)


@pytest.mark.parametrize("shape", [(3, 32), (3, 4, 4, 2), (3, 2, 4, 4, 1)])
def test_displacement_is_over_all_axes_of_an_image(shape):
    images, others = IMAGES.reshape(shape), OTHERS.reshape(shape)
    expected = np.sqrt(squares(images - others) / 32)
    np.testing.assert_allclose(energies.displacement(images, others), expected, **CLOSE)


def test_saturation():
    share = energies.saturation(np.float32([[0.5, -1.1], [1.0, 3.0], [-1, 0]]))
    np.testing.assert_allclose(share, 2 / 6, **CLOSE)


def test_reference_gap():
    gap = energies.reference_gap(IMAGES, OTHERS, stddev=0.5)
    expected = (squares(OTHERS).mean() - squares(IMAGES).mean()) / 0.5
    np.testing.assert_allclose(gap, expected, rtol=1e-4)
