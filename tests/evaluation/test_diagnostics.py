"""Long chains against closed forms: a descriptor without a score is a Gaussian."""

import numpy as np
import pytest

from coopnets_tf import Langevin
from coopnets_tf.evaluation import diagnostics
from tests.helpers import make_model

STDDEV, STEP_SIZE = 0.3, 0.05  # of the toy model
SHRINK = 1 - STEP_SIZE**2 / (2 * STDDEV**2)


def gaussian_model(**options):
    model = make_model(**options)
    for weight in model.descriptor.weights:
        weight.assign(np.zeros(weight.shape))
    for weight in model.generator.trainable_variables:
        weight.assign(30 * weight)  # drafts that differ
    model.freeze()
    return model


@pytest.fixture(scope="module")
def model():
    return gaussian_model()


def test_a_noiseless_chain_shrinks_step_by_step():
    model = gaussian_model(revision_noise_until=0)
    trace = diagnostics.run_chains(
        model, num_steps=8, seed=0, num_chains=6, keep=[0, 3, 8]
    )
    drafts = trace.states[0].astype(np.float64).reshape(6, -1)
    squares = np.sum(drafts**2, axis=1)
    powers = SHRINK ** np.arange(9)[:, None]
    # float32, 64 pixels, at most 8 steps.
    tolerance = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(
        trace.energy, powers**2 * squares / (2 * STDDEV**2), **tolerance
    )
    np.testing.assert_allclose(
        trace.gradient_norm, powers[:-1] * np.sqrt(squares) / STDDEV**2, **tolerance
    )
    np.testing.assert_allclose(
        trace.displacement, (1 - powers) * np.sqrt(squares / 64), **tolerance
    )
    np.testing.assert_allclose(
        trace.states[8].reshape(6, -1), powers[8] * drafts, **tolerance
    )
    assert sorted(trace.states) == [0, 3, 8] and not trace.saturation.any()
    # What only shrinks forgets nothing; the trained length is 3.
    np.testing.assert_allclose(trace.autocorrelation, np.ones(6), atol=1e-6)


def test_noisy_chains_forget_as_an_autoregression_does(model):
    steps, trained = 200, model.descriptor.revision.num_steps
    trace = diagnostics.run_chains(
        model, num_steps=steps, seed=1, num_chains=60, keep=[3, 200]
    )
    # x <- SHRINK x + STEP_SIZE u: what is left of the draft, and the noise so far. The
    # mean square of 60 x 64 normal numbers has an s.d. of sqrt(2 / 3840) = 2.3 %.
    stationary = 64 * STEP_SIZE**2 / (1 - SHRINK**2) / (2 * STDDEV**2)
    left = SHRINK ** (2 * np.arange(steps + 1))
    expected = left * trace.energy[0].mean() + (1 - left) * stationary
    np.testing.assert_allclose(trace.energy.mean(axis=1), expected, rtol=4 * 0.023)
    lag = steps - trained
    memory = trace.autocorrelation
    assert memory[0] == 1 and len(memory) == lag + 1
    # Of the drafts, which are alike, the chains only have their noise in common: the
    # correlation of an autoregression from its variance at the trained length on.
    variances = _variances(trace.states)
    expected = SHRINK**lag * np.sqrt(variances[trained] / variances[steps])
    # A correlation over 60 chains, pooled over 64 pixels: s.d. 1 / sqrt(3840).
    np.testing.assert_allclose(memory[-1], expected, atol=4 / np.sqrt(60 * 64))


def _variances(states):
    """The variance over chains, summed over the pixels, by step."""
    return {step: np.var(images, axis=0).sum() for step, images in states.items()}


def test_correlation_of_an_autoregression():
    generator = np.random.default_rng(0)
    states = generator.standard_normal((400, 5, 5))
    noise = generator.standard_normal((400, 5, 5))
    # s.d. of a correlation over 400 chains pooled over 25 pixels: 0.6 / 100.
    found = diagnostics.correlation(states + 3, 0.8 * states + 0.6 * noise)
    np.testing.assert_allclose(found, 0.8, atol=0.02)
    assert diagnostics.correlation(states, -2 * states) == pytest.approx(-1)
    assert np.isnan(diagnostics.correlation(states, np.ones_like(states)))


def test_a_trace_is_a_function_of_its_seed(model):
    traces = [
        diagnostics.run_chains(model, num_steps=4, seed=seed, num_chains=5).energy
        for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(traces[0], traces[1])
    assert (traces[0][-1] != traces[2][-1]).all()


def test_saturation_counts_pixels_outside_the_range():
    """With s = 0.3, and steps as large as that, every image has pixels beyond 1."""
    model = gaussian_model()
    model.descriptor.revision = Langevin(1, 0.5)
    trace = diagnostics.run_chains(
        model, num_steps=2, seed=0, num_chains=9, keep=[1, 2]
    )
    for step in (1, 2):
        expected = np.mean(np.abs(trace.states[step]) > 1)
        assert expected > 0.01
        np.testing.assert_allclose(trace.saturation[step], expected, rtol=1e-6)


def toy_trace(energies):
    return diagnostics.Trace(
        energy=np.array(energies, float)[:, None] + 100,
        gradient_norm=np.array([[4.0], [2.0]]),
        displacement=np.array([[0.0], [0.1], [0.2]]),
        saturation=np.array([0.0, 0.25, 0.5]),
        autocorrelation=np.array([1.0, 0.7]),
        states={},
    )


REAL = np.array([99.0, 101.0])  # mean 100, s.d. 1


@pytest.mark.parametrize(
    ("last", "later_distance", "text"),
    [
        (0.5, None, "they stay: mean energy 0.5 s.d. above"),
        (-30, None, "they drift away in energy: mean energy 30 s.d. below"),
        (9, None, "they drift away in energy: mean energy 9 s.d. above"),
        (0.5, 0.25, "they stay: mean energy 0.5 s.d. above"),
        (0.5, 0.9, "they drift away in distance: mean energy 0.5 s.d. above"),
        (9, 0.9, "they drift away in energy and distance: mean energy 9"),
        (np.nan, None, "1 of 1 chains"),
    ],
)
def test_the_verdict_is_by_energy_and_distance(last, later_distance, text):
    distances = {}
    if later_distance is not None:
        values = (0.4, 0.2, later_distance)
        distances = {
            step: {"value": value, "standard_error": 0.02}  # 1: the trained length
            for step, value in enumerate(values)
        }
    trace = toy_trace([5, 0, last])
    found = diagnostics.summary(trace, trained=1, real_energy=REAL, distances=distances)
    assert text in found["verdict"]
    assert found["gradient_norm"] == {"draft": 4.0, "trained": 2.0, "last": 2.0}
    assert found["displacement"] == {"draft": 0.0, "trained": 0.1, "last": 0.2}
    assert found["saturation"]["last"] == 0.5 and found["autocorrelation"] == 0.7
    gaps = found["energy_minus_real"]
    assert (gaps["draft"], gaps["trained"]) == (5, 0)
    assert gaps["last"] == last or (np.isnan(last) and gaps["last"] is None)


def test_real_images_of_one_energy_have_no_unit_for_a_drift():
    found = diagnostics.summary(
        toy_trace([5, 0, 1]), trained=1, real_energy=REAL * 0 + 100, distances={}
    )
    assert "inf s.d." in found["verdict"]


def test_the_plot_shows_the_trace():
    picture = diagnostics.plot(toy_trace([5, 0, np.nan]), trained=1, real_energy=REAL)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
