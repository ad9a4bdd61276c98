"""Frozen generators: exact statistics of batch norm, averaged weights, and back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import Generator, Langevin, frozen, seeds
from coopnets_tf.errors import NetworkError
from coopnets_tf.freezing import freeze
from coopnets_tf.networks import built_in
from coopnets_tf.networks.layers import BatchNorm
from tests.helpers import layers, spread

SEED = tf.constant([3, 4])
LATENTS = 4


def generator_of(network, **options):
    return Generator(
        network, inference=Langevin(2, 0.1), residual_stddev=0.3, **options
    )


def digits():
    return spread(generator_of(built_in.generator("digits", (8, 8, 1), (6,))))


def test_exact_statistics_are_those_of_the_prior():
    """The first map is linear in X ~ N(0, I): mean = bias, variance = sum kernel^2,
    averaged over its 4x4 places. 20,000 latents leave 5 s.e. of a variance: 5 %.
    """
    inputs = keras.Input((6,))
    first = keras.layers.Dense(4 * 4 * 8, name="first")
    maps = keras.layers.Reshape((4, 4, 8))(first(inputs))
    norm = BatchNorm()
    net = generator_of(keras.Model(inputs, norm(maps)))
    rng = np.random.default_rng(0)
    first.kernel.assign(0.1 * rng.standard_normal(first.kernel.shape))
    biases = np.linspace(-1, 1, 8)
    first.bias.assign(np.tile(biases, 16))
    variance = np.square(first.kernel).sum(axis=0).reshape(16, 8).mean(axis=0)
    with frozen(net, seed=SEED, num_latents=20_000, batch_size=2_000):
        np.testing.assert_allclose(norm.moving_variance, variance, rtol=0.05)
        np.testing.assert_allclose(
            norm.moving_mean, biases, atol=5 * np.sqrt(1 / 20_000)
        )


def test_exact_statistics_normalise_every_layer():
    net = digits()
    with frozen(net, seed=SEED, num_latents=4_000, batch_size=1_000):
        maps = tf.random.stateless_normal([4_000, 6], [9, 9])[:, None, None, :]
        norms = layers(net, "norm")
        for deconv, norm in zip(layers(net, "deconv")[:-1], norms, strict=True):
            maps = norm(deconv(maps))
            np.testing.assert_allclose(
                np.mean(maps, axis=(0, 1, 2)), norm.beta, atol=0.1
            )
            np.testing.assert_allclose(np.var(maps, axis=(0, 1, 2)), 1.0, atol=0.15)
            maps = tf.nn.leaky_relu(maps, 0.2)


def test_exact_statistics_free_an_image_of_its_batch_mates_and_leave_no_trace():
    net = digits()
    before = net.get_weights()
    latents = tf.random.stateless_normal([6, 6], [1, 1])
    with frozen(net, seed=SEED):
        together, alone = net(latents), net(latents[:2])
    np.testing.assert_allclose(together[:2], alone, atol=1e-6)
    for one, other in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# Networks of any form, on maps of 2x3 places.


def rows(norm):
    """Layers of a generator with three norms, the first one on top of the latents."""
    dense = keras.layers.Dense
    return [
        norm(name="norm_a"),
        dense(2 * 3 * 5, name="dense_a"),
        keras.layers.Reshape((2, 3, 5)),
        norm(name="norm_b"),
        keras.layers.Activation("relu"),
        dense(4, name="dense_b"),
        norm(name="norm_c"),
        dense(1, name="dense_c", activation="tanh"),
    ]


def called(maps, some):
    for layer in some:
        maps = layer(maps)
    return maps


def functional(some, shape=(LATENTS,)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, called(inputs, some))


def sequential(some, shape=(LATENTS,)):
    return keras.Sequential([keras.Input(shape), *some])


def functional_in_functional(some):
    return functional([some[0], functional(some[1:5]), functional(some[5:], (2, 3, 5))])


def sequential_in_functional(some):
    return functional([sequential(some[:5]), sequential(some[5:], (2, 3, 5))])


def functional_in_sequential(some):
    return sequential([functional(some[:6]), functional(some[6:], (2, 3, 4))])


def three_deep(some):
    inner = functional([sequential(some[5:7], (2, 3, 5)), some[7]], (2, 3, 5))
    return functional([*some[:4], functional([some[4], inner], (2, 3, 5))])


def ours(name):
    return BatchNorm(name=name)


def keras_own(name):
    return keras.layers.BatchNormalization(name=name)


def of_the_first_axis(name):
    return keras.layers.BatchNormalization(axis=1, name=name)


def by_numpy(some, latents, *, axis):
    """The images of frozen layers in float64, and (mean, variance) of each norm."""
    maps, found = latents.astype(np.float64), []
    for layer in some:
        if hasattr(layer, "moving_mean"):
            last = np.moveaxis(maps, axis, -1)
            others = tuple(range(last.ndim - 1))
            mean, variance = last.mean(others), last.var(others)
            found.append((mean, variance))
            last = (last - mean) / np.sqrt(variance + 1e-3)
            last = last * np.asarray(getattr(layer, "gamma", 1.0), np.float64)
            maps = np.moveaxis(last + np.asarray(layer.beta, np.float64), -1, axis)
        elif hasattr(layer, "kernel"):
            maps = maps @ np.asarray(layer.kernel, np.float64)
            maps = maps + np.asarray(layer.bias, np.float64)
            maps = np.tanh(maps) if maps.shape[-1] == 1 else maps
        elif isinstance(layer, keras.layers.Reshape):
            maps = maps.reshape(len(maps), *layer.target_shape)
        else:
            maps = np.maximum(maps, 0)
    return maps, found


def randomise(net):
    rng = np.random.default_rng(0)
    for weight in net.trainable_variables:
        weight.assign(0.5 + rng.standard_normal(weight.shape))


def prior(num_latents, batch_size):
    """The latents over which `frozen` measures."""
    starts = range(0, num_latents, batch_size)
    return np.concatenate(
        [
            seeds.standard_normal(
                [batch_size, LATENTS], seed=seeds.fold_in(SEED, start)
            )
            for start in starts
        ]
    )


def assert_frozen_as_numpy(net, some, *, axis=-1):
    latents = prior(60, 20)
    with frozen(net, seed=SEED, num_latents=60, batch_size=20):
        images, expected = by_numpy(some, latents, axis=axis)
        norms = [layer for layer in some if hasattr(layer, "moving_mean")]
        assert len(norms) == len(expected) == 3
        for norm, (mean, variance) in zip(norms, expected, strict=True):
            np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-4)
        np.testing.assert_allclose(net(latents), images, atol=1e-4)


@pytest.mark.parametrize("norm", [ours, keras_own, of_the_first_axis])
@pytest.mark.parametrize(
    "build",
    [
        functional,
        sequential,
        functional_in_functional,
        sequential_in_functional,
        functional_in_sequential,
        three_deep,
    ],
)
def test_statistics_in_networks_of_any_form_equal_numpy(build, norm):
    some = rows(norm)
    net = generator_of(build(some))
    randomise(net)
    before = net.get_weights()
    assert_frozen_as_numpy(net, some, axis=1 if norm is of_the_first_axis else -1)
    for one, other in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_averaged_weights_are_frozen_with_statistics_of_their_own():
    some = rows(keras_own)
    net = generator_of(functional(some))
    randomise(net)
    net.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.8))
    before, average = [weight.numpy() for weight in net.trainable_variables], None
    with frozen(net, seed=SEED):  # nothing is averaged before the first step
        for weight, value in zip(net.trainable_variables, before, strict=True):
            np.testing.assert_array_equal(weight, value)
    images = tf.random.stateless_uniform([8, 2, 3, 1], [1, 2], -1, 1)
    for step in range(3):
        net.update(tf.constant(prior(8, 8)) + step, images)
        now = [weight.numpy().astype(float) for weight in net.trainable_variables]
        average = [
            one if average is None else 0.8 * average[place] + 0.2 * one
            for place, one in enumerate(now)
        ]
    assert (
        max(np.abs(one - two).max() for one, two in zip(average, now, strict=True))
        > 1e-3
    )
    kept = [np.array(one) for one in (*net.variables, *net.optimizer.variables)]
    with frozen(net, seed=SEED):
        for weight, value in zip(net.trainable_variables, average, strict=True):
            np.testing.assert_allclose(weight, value, rtol=1e-5, atol=1e-7)
    assert_frozen_as_numpy(net, some)
    with pytest.raises(KeyError):
        with frozen(net, seed=SEED):
            raise KeyError
    variables = (*net.variables, *net.optimizer.variables)
    for variable, value in zip(variables, kept, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)
    with frozen(net, seed=SEED):
        inside = net.get_weights()
    freeze(net, seed=SEED)
    for one, other in zip(inside, net.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


class Block(keras.layers.Layer):
    """A dense layer and its norm, out of reach of the graph around them."""

    def __init__(self):
        super().__init__(name="block")
        self.dense = keras.layers.Dense(3)
        self.norm = keras.layers.BatchNormalization(name="inside")

    def call(self, maps, training=False):
        return self.norm(self.dense(maps), training=training)


class Blocks(keras.Model):
    def __init__(self):
        super().__init__(name="blocks")
        self.block = Block()

    def call(self, latents, training=False):
        return self.block(latents, training=training)


@pytest.mark.parametrize("build", [functional, sequential, lambda some: Blocks()])
def test_a_norm_inside_a_subclassed_layer_or_model_is_refused(build):
    network = build([Block(), keras.layers.Dense(2)])
    network(np.zeros((2, LATENTS), np.float32))
    text = "batch norm inside inside a subclassed model or layer.*functional or sequen"
    with pytest.raises(NetworkError, match=text):
        generator_of(network, latent_shape=(LATENTS,))


@pytest.mark.parametrize("wrap", [lambda norm: norm, lambda norm: sequential([norm])])
def test_a_norm_that_is_called_twice_is_refused(wrap):
    part = wrap(keras.layers.BatchNormalization(name="twice"))
    network = functional([part, keras.layers.Dense(LATENTS), part])
    with pytest.raises(NetworkError, match="calls .* more than once.*Call it once"):
        generator_of(network)


@pytest.mark.parametrize("kind", [keras.layers.BatchNormalization, BatchNorm])
def test_a_norm_that_is_not_trained_keeps_its_averages(kind):
    """It uses them in training, too, so that g is the same in both."""
    latents, norm = keras.Input((LATENTS,)), kind(trainable=False)
    maps = keras.layers.Reshape((1, 1, LATENTS))(latents)
    maps = norm(keras.layers.Dense(3)(maps))
    net = generator_of(keras.Model(latents, maps))
    inputs = tf.random.stateless_normal([5, LATENTS], [1, 2])
    with frozen(net, seed=tf.constant([0, 0])):
        found = net(inputs)
    np.testing.assert_array_equal(found, net(inputs, training=True))


def test_every_place_of_a_map_of_latents_counts(monkeypatch):
    """64 latents are four maps of 4x4, of which two pass at a time."""
    net = generator_of(
        built_in.generator("weave", (16, 16, 1), (3,)), latent_shape=(4, 4, 3)
    )
    measured = []
    monkeypatch.setattr(net.statistics, "measure", measured.extend)
    freeze(net, seed=SEED, num_latents=64, batch_size=40)
    assert [one.shape for one in measured] == [(2, 4, 4, 3)] * 2
