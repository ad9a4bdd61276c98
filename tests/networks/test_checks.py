"""Which networks are refused, and which are not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf.errors import NetworkError
from tests.helpers import (
    descriptor_of,
    generator_of,
    keras_set_to,
    make_model,
    noise,
)

IMAGES, LATENTS = (4, 4, 1), (3,)


def flat(shape=IMAGES):
    """An input of a shape, and its flattened maps."""
    inputs = keras.Input(shape)
    return inputs, keras.layers.Flatten()(inputs)


def model(make, shape=IMAGES):
    """A network of one function of flattened inputs."""
    inputs, maps = flat(shape)
    return keras.Model(inputs, make(maps), name="own")


def dense(units=1, **options):
    return keras.layers.Dense(units, **options)


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """A network whose input has no shape but that of its only call."""

    def __init__(self):
        super().__init__(name="own")
        self.dense = dense()

    def call(self, inputs):
        return self.dense(inputs)


def subclassed():
    network = Subclassed()
    network(np.zeros((1, 4, 4, 1), np.float32))
    return network


def several_inputs():
    (first, maps), (second, others) = flat(), flat()
    return keras.Model([first, second], dense()(maps + others), name="own")


def several_outputs():
    inputs, maps = flat()
    return keras.Model(inputs, [dense()(maps), dense()(maps)], name="own")


def any_size():
    images = keras.Input((None, None, 1))
    maps = keras.layers.Conv2D(3, 3, padding="same", activation="relu")(images)
    return keras.Model(images, keras.layers.Conv2D(1, 3)(maps), name="own")


NAN = keras.initializers.Constant(np.nan)
REFUSED = {
    "no Keras model": (lambda: "mnist", "must be a built Keras model.*'mnist'"),
    "a layer": (dense, "must be a built Keras model.*<Dense"),
    "never built": (
        lambda: keras.Sequential([dense()], name="own"),
        "own was never built.*keras.Input",
    ),
    "no weights": (
        lambda: model(lambda maps: maps * 2.0),
        "own has no trainable weights: nothing could be learned",
    ),
    "frozen weights": (
        lambda: model(dense(trainable=False)),
        "own has no trainable weights",
    ),
    "several inputs": (several_inputs, "own must have one input. Received: 2."),
    "several outputs": (several_outputs, "own must give .*4, 4, 1.. Received: list."),
    "one number": (
        lambda: model(lambda maps: keras.ops.sum(dense()(maps))),
        r"own must give .* Received: \[\].",
    ),
    "no axis of the batch": (
        lambda: model(lambda maps: keras.ops.reshape(dense(3)(maps), (-1,))),
        r"own must give .*inputs of shape \[2, 4, 4, 1\]. Received: \[6\].",
    ),
    "integers": (
        lambda: model(lambda maps: keras.ops.cast(dense()(maps), "int32")),
        "own must give .* Received: int32 numbers.",
    ),
    "NaN": (
        lambda: model(dense(kernel_initializer=NAN)),
        "own must give .* Received: NaN or infinity.",
    ),
    "any size": (any_size, "does not say the shape of its input. Give `{}`."),
    "subclassed": (subclassed, "does not say the shape of its input. Give `{}`."),
}


@pytest.mark.parametrize("build", [descriptor_of, generator_of])
@pytest.mark.parametrize("what", REFUSED)
def test_other_networks_are_refused(build, what):
    make, text = REFUSED[what]
    argument = "image_shape" if build is descriptor_of else "latent_shape"
    with pytest.raises(NetworkError, match=text.format(argument)):
        build(make())


@pytest.mark.parametrize(
    ("build", "argument"),
    [(descriptor_of, "image_shape"), (generator_of, "latent_shape")],
)
def test_another_shape_than_the_networks_is_refused(build, argument):
    text = rf"own takes inputs of shape \[4, 4, 1\]. .*`{argument}`=\[4, 5, 1\]"
    with pytest.raises(NetworkError, match=text):
        build(model(dense()), **{argument: (4, 5, 1)})
    text = (
        r"(?s)own cannot be called with inputs of shape \[2, 4, 4, 3\]: .*incompatible"
    )
    with pytest.raises(NetworkError, match=text):
        build(subclassed(), **{argument: (4, 4, 3)})
    assert build(model(dense()), **{argument: [4, 4, 1]}).built


def test_nets_say_what_they_expect():
    with pytest.raises(NetworkError, match="must give scores or maps of scores for"):
        descriptor_of(model(dense(kernel_initializer=NAN)))
    with pytest.raises(NetworkError, match="must give images for"):
        generator_of(model(dense(kernel_initializer=NAN)))


@pytest.mark.parametrize("make", [any_size, subclassed])
def test_a_network_for_any_size_needs_a_shape(make):
    images = np.random.default_rng(0).uniform(-1, 1, (3, 4, 4, 1)).astype(np.float32)
    network = make()
    net = descriptor_of(network, image_shape=(4, 4, 1))
    maps = np.asarray(network(images), np.float64)
    assert maps.ndim == 4  # maps of outputs, whose sum is the score
    np.testing.assert_allclose(net(images), maps.sum(axis=(1, 2, 3)), rtol=1e-5)
    assert net.initial(2, chain_init="uniform", seed=[0, 0]).shape == (2, 4, 4, 1)
    made = generator_of(network, latent_shape=(6, 4, 1))
    assert made.image_shape == tuple(network(np.zeros((1, 6, 4, 1))).shape[1:])


def test_a_descriptor_with_batch_norm_is_refused():
    for norm in (keras.layers.BatchNormalization, keras.layers.LayerNormalization):

        def network(maps, norm=norm):
            return dense()(norm(name="inside")(dense(5)(maps)))

        nested = keras.Sequential([keras.Input(IMAGES), model(network), dense()])
        if norm is keras.layers.LayerNormalization:
            assert descriptor_of(nested)(np.zeros((2, *IMAGES))).shape == (2,)
            continue
        with pytest.raises(NetworkError, match="batch norm .inside.*LayerNormaliz"):
            descriptor_of(nested)


def test_what_a_step_would_silently_ignore_is_refused():
    layer = keras.layers.Dense(1, kernel_regularizer="l2")
    network = keras.Sequential([keras.Input((3,)), layer])
    with pytest.raises(NetworkError, match="losses of its own"):
        descriptor_of(network)


def two_steps():
    """Metrics and images of a small model, which are functions of its seed alone."""
    model = make_model(network="digits", num_steps=1, inference_steps=1)
    model.fit(noise(8, 8, 8, 1), batch_size=4, verbose=0, shuffle=False)
    weights = {one.dtype for net in model.nets.values() for one in net.variables}
    assert weights == {"float32"}
    return model.get_metrics_result(), model.sample(2).numpy()


@pytest.mark.parametrize("policy", ["float64", "mixed_float16"])
def test_built_in_networks_do_not_depend_on_what_keras_is_set_to(policy):
    expected, images = two_steps()
    with keras_set_to(policy):
        found, same = two_steps()
    assert found == expected
    np.testing.assert_array_equal(same, images)


@pytest.mark.parametrize(
    ("policy", "found"), [("float64", "float64"), ("mixed_float16", "float16")]
)
def test_networks_of_other_floats_are_refused(policy, found):
    with keras_set_to(policy):
        network = keras.Sequential([keras.Input((3,)), dense(3)], name="mine")
        network_of_32 = keras.Sequential(
            [keras.Input((3,), dtype="float32"), dense(3, dtype="float32")]
        )
        text = rf"Network mine must compute in float32. Received: {found}. Build it"
        for build in (descriptor_of, generator_of):
            with pytest.raises(NetworkError, match=text):
                build(network)
            assert build(network_of_32)(np.zeros((2, 3))).dtype == tf.float32
