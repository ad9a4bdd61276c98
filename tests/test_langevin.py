import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import seeds
from coopnets_tf.energies import gaussian_energy
from coopnets_tf.langevin import Langevin, energy_gradient, langevin_chain

SEED = tf.constant([7, 8])


def gaussian(stddev):
    return lambda states: gaussian_energy(states, stddev=stddev)


def test_gaussian_target_is_reached():
    """The discretised chain is x <- a x + delta u, a = 1 - delta^2 / (2 s^2), whose
    stationary s.d. is delta / sqrt(1 - a^2); a^200 of the start is left (6e-8).
    """
    stddev, delta, draws = 0.5, 0.2, 40_000
    dynamics = Langevin(200, delta, unroll=False)
    start = tf.ones([draws, 1])
    states, _ = tf.function(langevin_chain, autograph=False)(
        gaussian(stddev), start, dynamics, seed=SEED
    )
    decay = 1 - delta**2 / (2 * stddev**2)
    expected = delta / np.sqrt(1 - decay**2)
    error = expected / np.sqrt(2 * draws)  # standard error of a standard deviation
    assert abs(np.std(states) - expected) < 5 * error
    assert abs(np.mean(states)) < 5 * expected / np.sqrt(draws)


def test_without_noise_a_chain_is_gradient_descent():
    stddev, delta = 0.5, 0.2
    start = np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2)
    states, info = langevin_chain(
        gaussian(stddev), start, Langevin(5, delta), seed=SEED, noise_scale=0.0
    )
    decay = 1 - delta**2 / (2 * stddev**2)
    np.testing.assert_allclose(states, start * decay**5, rtol=1e-6)
    norms = [np.linalg.norm(start * decay**k / stddev**2, axis=1) for k in range(5)]
    np.testing.assert_allclose(info.gradient_norm, np.mean(norms, axis=0), rtol=1e-6)


def test_without_gradient_a_chain_adds_noise_of_size_delta():
    start = tf.zeros([20_000, 2])
    states, _ = langevin_chain(
        lambda states: tf.reduce_sum(0 * states, axis=1),
        start,
        Langevin(4, 0.3),
        seed=SEED,
    )
    expected = 0.3 * np.sqrt(4)
    assert abs(np.std(states) - expected) < 5 * expected / np.sqrt(2 * 40_000)


def test_noise_scale_may_be_a_tensor():
    start = tf.ones([3, 2])
    dynamics = Langevin(2, 0.2)
    for scale in (0.0, 1.0):
        one, _ = langevin_chain(
            gaussian(1.0), start, dynamics, seed=SEED, noise_scale=scale
        )
        other, _ = langevin_chain(
            gaussian(1.0), start, dynamics, seed=SEED, noise_scale=tf.constant(scale)
        )
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("unroll", [True, False])
def test_zero_steps_return_the_start(unroll):
    start = tf.ones([3, 2])
    states, info = langevin_chain(
        gaussian(1.0), start, Langevin(0, 0.1, unroll), seed=SEED
    )
    np.testing.assert_array_equal(states, start)
    np.testing.assert_array_equal(info.gradient_norm, np.zeros(3))


def test_unrolled_equals_while():
    start = tf.random.stateless_normal([6, 4, 4, 1], [1, 1])
    results = [
        tf.function(langevin_chain, autograph=False)(
            gaussian(0.5), start, Langevin(6, 0.1, unroll), seed=SEED
        )
        for unroll in (True, False)
    ]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_allclose(
        results[0][1].gradient_norm, results[1][1].gradient_norm, rtol=1e-6
    )


def test_the_noise_of_a_step_hangs_on_its_number():
    start = tf.ones([3, 2])
    short, _ = langevin_chain(gaussian(1.0), start, Langevin(1, 0.1), seed=SEED)
    noise = seeds.standard_normal([3, 2], seed=seeds.fold_in(SEED, 0))
    np.testing.assert_allclose(short, (1 - 0.005) * start + 0.1 * noise, rtol=1e-6)


def test_an_energy_without_chain_axis_is_refused():
    for energy_fn in (tf.reduce_mean, tf.square, lambda states: states[:1, 0]):
        with pytest.raises(ValueError, match="one energy per chain"):
            energy_gradient(energy_fn, tf.ones([3, 2]))


def test_a_clamp_limits_the_moves_and_not_the_reported_norm():
    """Gradients -8 .. 8, clamped to 1: no step moves by more than delta^2 / 2."""
    start = np.linspace(-2, 2, 6, dtype=np.float32).reshape(3, 2)
    states, info = langevin_chain(
        gaussian(0.5),
        start,
        Langevin(1, 0.2, max_gradient=1.0),
        seed=SEED,
        noise_scale=0.0,
    )
    moves = 0.02 * np.clip(4 * start, -1, 1)
    np.testing.assert_allclose(states, start - moves, rtol=1e-6)
    np.testing.assert_allclose(
        info.gradient_norm, np.linalg.norm(4 * start, axis=1), rtol=1e-6
    )


def test_a_weight_of_its_own_replaces_half_the_squared_step():
    """Nijkamp's form, x - E'(x) w + delta e: from its formula, state by state."""
    start = np.linspace(-2, 2, 6, dtype=np.float32).reshape(3, 2)
    states, _ = langevin_chain(
        gaussian(0.5), start, Langevin(2, 0.2, gradient_weight=0.05), seed=SEED
    )
    expected = start.astype(np.float64)
    for index in range(2):
        noise = seeds.standard_normal([3, 2], seed=seeds.fold_in(SEED, index))
        expected = expected - 0.05 * expected / 0.25 + 0.2 * np.asarray(noise)
    np.testing.assert_allclose(states, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "dynamics",
    [(-1, 0.1), (1, 0.0), (1, -1.0), (1, 0.1, True, 0.0), (1, 0.1, True, None, 0.0)],
)
def test_impossible_dynamics_are_refused(dynamics):
    with pytest.raises(ValueError, match="Received"):
        Langevin(*dynamics)
