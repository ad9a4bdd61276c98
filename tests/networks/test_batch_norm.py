"""Batch norm in networks of any form: exact statistics, and what is out of reach."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import frozen
from coopnets_tf.errors import NetworkError
from coopnets_tf.networks.layers import BatchNorm
from tests.helpers import generator_of
from tests.networks.normed import (
    LATENTS,
    assert_frozen_as_numpy,
    functional,
    keras_own,
    randomise,
    rows,
    sequential,
)


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


def of_the_first_axis(name):
    return keras.layers.BatchNormalization(axis=1, name=name)


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
