"""Names of weights, and of their optimizers' variables, in checkpoints."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import AlgorithmD, Descriptor, Langevin
from coopnets_tf.errors import NetworkError
from coopnets_tf.variables import named_slots, named_variables, stable_paths

SHAPE = (4, 4, 1)


def descriptor_of(network):
    return Descriptor(network, revision=Langevin(1, 0.01), reference_stddev=0.1)


def counted(conv=keras.layers.Conv2D):
    """A network all of whose layers Keras names and counts, one model inside."""
    inner = keras.Sequential([keras.Input((4, 4, 2)), conv(2, 1), conv(2, 1)])
    images = keras.Input(SHAPE)
    maps = keras.layers.LayerNormalization()(conv(2, 3, padding="same")(images))
    maps = keras.layers.Flatten()(inner(maps))
    outputs = keras.layers.Dense(1)(keras.layers.Dense(3)(maps))
    return descriptor_of(keras.Model(images, outputs))


def test_names_are_unique_and_the_same_whatever_keras_has_counted():
    first = counted()
    keras.layers.Conv2D(1, 1)  # counts, too
    second = counted()
    assert first.variables[0].path != second.variables[0].path
    names = list(named_variables(first))
    assert names == list(named_variables(second))
    assert len(set(names)) == len(first.variables) == 12
    assert names[:2] == ["conv2d_kernel", "conv2d_bias"]
    assert {"sequential_conv2d_2_kernel", "dense_1_bias"} < set(names)
    for variable, found in zip(
        second.variables, named_variables(second).values(), strict=True
    ):
        assert found is variable.value


@pytest.mark.parametrize(
    "own",
    [
        ("up_0", "up_1", "scores"),
        ("up_0", "up_1", "up_1_1"),
    ],
)
def test_names_of_ones_own_stay(own):
    dense = [keras.layers.Dense(3, name=name) for name in own]
    net = descriptor_of(keras.Sequential([keras.Input((3,)), *dense]))
    kernels = [name for name in named_variables(net) if "kernel" in name]
    assert [name.removeprefix("sequential_") for name in kernels] == [
        f"{name}_kernel" for name in own
    ]


def trained(net, step_size):
    """A learner after one step."""
    model = AlgorithmD(net, num_chains=2, chain_init="noise")
    model.compile(keras.optimizers.Adam(step_size, 0.5))
    model.train_step(tf.ones([3, *SHAPE]))
    return model


def test_a_checkpoint_of_one_process_fits_the_net_of_another(tmp_path):
    """Here of a net that was built twice, so that Keras has counted on."""
    first, second = trained(counted(), 0.1), trained(counted(), 0.2)
    slots = [named_slots("descriptor", model.descriptor) for model in (first, second)]
    assert list(slots[0]) == list(slots[1])
    assert len(slots[0]) == len(first.descriptor.optimizer.variables) == 26
    assert "descriptor_sequential_conv2d_1_kernel_momentum" in slots[0]
    path = first.checkpoint().write(str(tmp_path / "one"))
    second.checkpoint().read(path).assert_consumed()
    nets = first.descriptor, second.descriptor
    for variables in (
        [net.variables for net in nets],
        [net.optimizer.variables[2:] for net in nets],  # 0, 1: iteration, rate
    ):
        for one, other in zip(*variables, strict=True):
            np.testing.assert_array_equal(one, other)
            assert np.any(one) or "bias" in one.path, one.path


def test_two_weights_of_one_name_are_refused():
    """Two models inside, each with a layer `same`: Keras allows that."""
    inputs = maps = keras.Input((3,))
    for _ in range(2):
        part = keras.Input((3,))
        maps = keras.Model(part, keras.layers.Dense(3, name="same")(part))(maps)
    net = descriptor_of(keras.Model(inputs, maps))
    with pytest.raises(NetworkError, match="descriptor's .* called same_kernel. Give"):
        AlgorithmD(net, num_chains=2, chain_init="noise")


def sequential(*layers, **options):
    return keras.Sequential([keras.Input((4,)), *layers], **options)


def test_a_sequential_network_has_the_same_names_when_it_is_loaded():
    """Keras leaves out the model's name there."""
    dense, norm = keras.layers.Dense, keras.layers.BatchNormalization
    latents = keras.Input((4,))
    inside = sequential(dense(4), norm())(dense(4)(latents))
    for network in (
        sequential(dense(4), norm()),
        sequential(dense(4), sequential(dense(4)), sequential(dense(4)), name="mine"),
        keras.Model(latents, inside),
    ):
        config = keras.saving.serialize_keras_object(network)
        loaded = keras.saving.deserialize_keras_object(config)
        assert stable_paths(loaded) == stable_paths(network)
