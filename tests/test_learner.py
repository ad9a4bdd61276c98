"""Names of weights in checkpoints, and the form of batches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import AlgorithmD, Descriptor, Langevin
from coopnets_tf.errors import DatasetError, NetworkError
from coopnets_tf.learner import (
    as_batch,
    check_batch,
    named_slots,
    named_variables,
    stable_paths,
)
from tests.helpers import make_descriptor_model, noise

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


@pytest.mark.parametrize(
    "wrap",
    [
        lambda images: images,
        lambda images: {"images": images},
        lambda images: ({"images": images}, None),
        lambda images: (images, np.arange(3)),
    ],
)
def test_batches_are_dicts_of_images_of_the_nets_shape(wrap):
    images = noise(3, *SHAPE).astype(np.float64)
    batch = as_batch(wrap(images), SHAPE)
    assert list(batch) == ["images"] and batch["images"].dtype == tf.float32
    np.testing.assert_array_equal(batch["images"], images)
    for shape in [(3, 4, 4), (3, 4, 4, 3), (3, 8, 8, 1), (3, 4, 4, 1, 1), (3,)]:
        text = rf"shape \[4, 4, 1\]. Received: \[{', '.join(map(str, shape[1:]))}\]."
        with pytest.raises(DatasetError, match=text):
            as_batch(wrap(np.zeros(shape, np.float32)), SHAPE)


def test_what_else_a_batch_holds_stays():
    batch = {"images": np.zeros((3, *SHAPE)), "numbers": np.arange(3)}
    found = as_batch(batch, SHAPE)
    assert list(found) == list(batch) and found["numbers"] is batch["numbers"]


def test_incomplete_images_are_for_one_algorithm():
    batch = {"images": tf.zeros([2, 3]), "visible": tf.ones([2, 3])}
    assert list(as_batch(batch, (3,), incomplete=True)) == ["images", "visible"]
    with pytest.raises(DatasetError, match="Only Algorithm G.*`visible`"):
        as_batch(batch, (3,))


GREY = np.resize(np.arange(256), (8, 8, 8, 1)).astype(np.float32)
REFUSED = r"in \[-1, 1\]. Received: {}, from 0 to 255. Give pixels / 127.5 - 1.$"


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float16"])
def test_pixels_from_0_to_255_are_no_images(dtype):
    pixels = GREY.astype(dtype)
    for batch in (pixels, tf.constant(pixels), ({"images": pixels}, None)):
        with pytest.raises(DatasetError, match=REFUSED.format(dtype)):
            check_batch(batch)
    if "int" in dtype:
        with pytest.raises(DatasetError, match=f"Received: {dtype}. Give"):
            as_batch(pixels, (8, 8, 1))


def test_images_may_touch_their_range_but_not_leave_it_nor_hold_nan():
    images = noise(2, *SHAPE)
    images[0, 0, 0], images[0, 0, 1] = 1.0001, -1.0001  # by rounding
    check_batch(images)
    for value, found in ((1.01, "to 1.01"), (np.nan, "NaN"), (np.inf, "NaN")):
        images[1, 2, 2] = value
        with pytest.raises(DatasetError, match=found):
            check_batch(images)
    visible = np.ones_like(images)
    visible[1, 2, 2] = 0
    check_batch({"images": images, "visible": visible})


class Sequence(keras.utils.PyDataset):
    def __init__(self, images):
        super().__init__()
        self.images = images

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.images[4 * index :][:4]


WAYS_IN = {
    "array": lambda images: images,
    "tensor": tf.constant,
    "dict": lambda images: {"images": images},
    "dataset": lambda images: tf.data.Dataset.from_tensor_slices(images).batch(4),
    "sequence": Sequence,
    "generator": lambda images: ((images[first:][:4],) for first in (0, 4)),
    "iterator": lambda images: iter([(images[:4],), (images[4:],)]),
}


@pytest.mark.parametrize("way", WAYS_IN)
def test_fit_looks_at_the_first_batch_and_loses_none(way):
    model, wrap = make_descriptor_model(num_steps=1), WAYS_IN[way]
    with pytest.raises(DatasetError, match="from 0 to 255"):
        model.fit(wrap(GREY))
    assert int(model.step) == 0
    options = {"batch_size": 4} if way in ("array", "tensor", "dict") else {}
    options |= {"steps_per_epoch": 2} if "ator" in way else {}
    model.fit(wrap(noise(8, 8, 8, 1)), verbose=0, shuffle=False, **options)
    assert int(model.step) == 2


def test_train_on_batch_looks_at_it():
    model = make_descriptor_model(num_steps=1)
    with pytest.raises(DatasetError, match="from 0 to 255"):
        model.train_on_batch(GREY)
    model.train_on_batch(noise(8, 8, 8, 1))
    assert int(model.step) == 1


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
