import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import Generator, Langevin
from coopnets_tf.networks import built_in
from tests.helpers import spread

SEED = tf.constant([3, 4])


def build(*, latent_size=6, **changes):
    network = built_in.generator("digits", (8, 8, 1), (latent_size,))
    options = {"inference": Langevin(2, 0.1), "residual_stddev": 0.3, **changes}
    return Generator(network, **options)


def test_on_batch_is_g_in_training_but_moves_no_average():
    net = spread(build())
    latents = tf.random.stateless_normal([6, 6], [1, 1])
    before = net.get_weights()
    found = net.on_batch(latents)
    assert np.abs(found - net(latents)).max() > 0.1
    for one, other in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found, net(latents, training=True))
    moved = [
        np.any(one != two) for one, two in zip(before, net.get_weights(), strict=True)
    ]
    assert sum(moved) == 4  # two means and two variances


def test_g1_moves_each_chain_by_its_own_energy():
    """On frozen statistics; a mean over chains would shrink the gradient to a third."""
    net = spread(build())
    latents = tf.random.stateless_normal([6, 6], [1, 1])
    images = tf.random.stateless_uniform([6, 8, 8, 1], [2, 2], -1, 1)

    def inferred(number):
        return net.infer(latents[:number], images[:number], seed=SEED, noise_scale=0.0)[
            0
        ]

    together, alone = inferred(6), inferred(2)
    np.testing.assert_allclose(together[:2], alone, rtol=1e-4, atol=1e-5)
    assert np.abs(together - latents).max() > 1e-3


def test_g1_reaches_the_posterior_of_a_linear_generator():
    """For g(X) = A X the posterior is Gaussian, with precision I + A'A / sigma^2 and
    mean precision^-1 A'Y / sigma^2. Precisions are 2.1 and 2.9 here, so that 400
    steps of delta^2/2 = 0.02 forget the start (e^-16), and the discretised chain's
    variances are too large by delta^2/4 * precision, 3 %.
    """
    factors = np.array([[0.6, 0.0, 0.3], [0.0, 0.5, -0.2]])
    image, sigma, chains = np.array([1.0, -2.0, 0.5]), 0.5, 20_000
    precision = np.eye(2) + factors @ factors.T / sigma**2
    covariance = np.linalg.inv(precision)
    mean = covariance @ factors @ image / sigma**2
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    network.set_weights([factors, np.zeros(3)])
    linear = Generator(
        network, inference=Langevin(400, 0.2, unroll=False), residual_stddev=sigma
    )
    images = tf.tile(tf.constant(image[None], tf.float32), [chains, 1])
    infer = tf.function(linear.infer, autograph=False)
    latents, _ = infer(tf.zeros([chains, 2]), images, seed=SEED)
    error = np.sqrt(np.diag(covariance) / chains)
    assert np.all(np.abs(np.mean(latents, axis=0) - mean) < 5 * error)
    np.testing.assert_allclose(
        np.cov(latents.numpy().T), covariance, atol=0.08 * covariance.max()
    )


def test_config_round_trip():
    net = build(latent_size=5)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(net)
    )
    assert isinstance(again, Generator)
    assert again.get_config() == net.get_config()
    assert again.inference == Langevin(2, 0.1)
    assert again.latent_shape == (5,)


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="residual_stddev=-1.0"):
        build(residual_stddev=-1.0)
