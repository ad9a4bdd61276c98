import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import Generator, Langevin, exact_statistics
from coopnets_tf.generator import KERNEL_STDDEV, BatchNorm

SEED = tf.constant([3, 4])


def build(network="digits", shape=(8, 8, 1), **changes):
    options = {
        "inference": Langevin(2, 0.1),
        "residual_stddev": 0.3,
        "latent_size": 6,
        **changes,
    }
    return Generator(network, shape, **options)


@pytest.mark.parametrize(
    ("network", "shape", "parameters", "total"),
    [
        # The published tables, layer by layer; the total has one shift per channel.
        (
            "mnist",
            (28, 28, 1),
            [819_712, 2_097_408, 524_416, 2_049],
            3_444_481,
        ),
        (
            "scene",
            (64, 64, 3),
            [819_712, 3_277_056, 819_328, 204_864, 4_803],
            5_126_723,
        ),
        # 4*4*256*100 + 256, 5*5*128*256 + 128, 5*5*64*128 + 64, 5*5*3*64 + 3; shifts
        ("cifar", (32, 32, 3), [409_856, 819_328, 204_864, 4_803], 1_438_851 + 448),
        # 4*4*256*100 + 256, 3*3*128*256 + 128, 4*4*1*128 + 1; shifts
        ("digits", (8, 8, 1), [409_856, 295_040, 2_049], 706_945 + 384),
    ],
)
def test_layer_tables(network, shape, parameters, total):
    net = build(network, shape, latent_size=100)
    assert [layer.count_params() for layer in net.deconvs] == parameters
    trainable = sum(np.prod(weight.shape) for weight in net.trainable_variables)
    assert trainable == total
    images = net(np.ones((2, 100), np.float32))
    assert images.shape == (2, *shape)


def test_initial_weights():
    net = build("mnist", (28, 28, 1), latent_size=100)
    for layer in net.deconvs:
        np.testing.assert_array_equal(layer.bias, np.zeros(layer.bias.shape))
        kernel = np.asarray(layer.kernel)
        assert abs(kernel.std() - 0.005) < 5 * 0.005 / np.sqrt(2 * kernel.size)


def test_any_image_size_and_colour():
    for shape in ((30, 44, 3), (64, 64, 1), (96, 96, 3)):
        assert build("scene", shape)(np.ones((1, 6), np.float32)).shape == (1, *shape)


def test_batch_norm_equals_numpy():
    maps = np.random.default_rng(0).normal(2, 3, (4, 5, 5, 3)).astype(np.float32)
    norm = BatchNorm()
    norm.build(maps.shape)
    norm.beta.assign([0.1, 0.2, 0.3])
    mean, variance = maps.mean(axis=(0, 1, 2)), maps.var(axis=(0, 1, 2))
    expected = (maps - mean) / np.sqrt(variance + 1e-3) + [0.1, 0.2, 0.3]
    result = norm(maps, training=True)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.moving_mean, 0.001 * mean, rtol=1e-3)
    unbiased = variance * 100 / 99
    np.testing.assert_allclose(
        norm.moving_variance, 0.999 + 0.001 * unbiased, rtol=1e-5
    )
    kept = norm.get_weights()
    norm(maps, training=True, move_averages=False)
    norm(maps)
    for one, other in zip(kept, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def spread(net):
    """Larger weights, so that the statistics differ from their initial values."""
    for layer in net.deconvs:
        layer.kernel.assign(np.asarray(layer.kernel) * 0.1 / KERNEL_STDDEV)
    return net


def test_exact_statistics_are_those_of_the_prior():
    """The first map is linear in X ~ N(0, I): mean = bias, variance = sum kernel^2,
    averaged over its 4x4 places. 20,000 latents leave 5 s.e. of a variance: 5 %.
    """
    net = spread(build())
    first = net.deconvs[0]
    first.bias.assign(np.linspace(-1, 1, 256))
    variance = np.square(first.kernel).sum(axis=-1).mean(axis=(0, 1))
    with exact_statistics(net, seed=SEED, num_latents=20_000, batch_size=2_000):
        np.testing.assert_allclose(net.norms[0].moving_variance, variance, rtol=0.05)
        np.testing.assert_allclose(
            net.norms[0].moving_mean, first.bias, atol=5 * np.sqrt(1 / 20_000)
        )


def test_exact_statistics_normalise_every_layer():
    net = spread(build())
    with exact_statistics(net, seed=SEED, num_latents=4_000, batch_size=1_000):
        maps = tf.random.stateless_normal([4_000, 6], [9, 9])[:, None, None, :]
        for deconv, norm in zip(net.deconvs[:-1], net.norms, strict=True):
            maps = norm(deconv(maps))
            np.testing.assert_allclose(
                np.mean(maps, axis=(0, 1, 2)), norm.beta, atol=0.1
            )
            np.testing.assert_allclose(np.var(maps, axis=(0, 1, 2)), 1.0, atol=0.15)
            maps = tf.nn.leaky_relu(maps, 0.2)


def test_exact_statistics_free_an_image_of_its_batch_mates_and_leave_no_trace():
    net = spread(build())
    before = net.get_weights()
    latents = tf.random.stateless_normal([6, 6], [1, 1])
    with exact_statistics(net, seed=SEED):
        together, alone = net(latents), net(latents[:2])
    np.testing.assert_allclose(together[:2], alone, atol=1e-6)
    for one, other in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


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

    class Linear:
        inference = Langevin(400, 0.2, unroll=False)
        residual_stddev = sigma

        def __call__(self, latents, training, move_averages):
            return latents @ tf.constant(factors, tf.float32)

    images = tf.tile(tf.constant(image[None], tf.float32), [chains, 1])
    infer = tf.function(Generator.infer, autograph=False)
    latents, _ = infer(Linear(), tf.zeros([chains, 2]), images, seed=SEED)
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


@pytest.mark.parametrize(
    ("network", "changes", "text"),
    [
        ("vgg", {}, "must be one of digits, mnist.*network='vgg'"),
        ("digits", {"residual_stddev": -1.0}, "residual_stddev=-1.0"),
    ],
)
def test_impossible_arguments_are_refused(network, changes, text):
    with pytest.raises(ValueError, match=text):
        build(network, **changes)
