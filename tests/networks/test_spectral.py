"""Kernels divided by their largest singular value, against NumPy's decomposition."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import coopnets_tf
from coopnets_tf import Descriptor, Langevin, variables
from coopnets_tf.errors import NetworkError
from coopnets_tf.freezing import averaged, take_average
from coopnets_tf.models.optimizers import CappedAdam
from coopnets_tf.networks import built_in, spectral
from coopnets_tf.runs import weights
from tests import helpers
from tests.helpers import descriptor_of, make_model, noise

OBSERVED, REVISED = np.split(noise(11, 8, 8, 1), [6])


def network(**options):
    keras.utils.set_random_seed(3)
    return built_in.descriptor("digits", (8, 8, 1), num_outputs=3, **options)


def matrices(net):
    return [matrix(layer.kernel) for layer in spectral.wrapped_in(net)]


def convolutions(net):
    return [one for one in net.layers if one.name.startswith("conv")]


def matrix(kernel):
    """A column for each filter, float64."""
    kernel = np.asarray(kernel, float)
    return kernel.reshape(-1, kernel.shape[-1])


@pytest.mark.parametrize("options", [{}, {"num_classes": 3}, {"activation": "silu"}])
def test_convolutions_alone_are_divided_by_their_largest_singular_value(options):
    plain = network(**options)
    divided = spectral.normalised(plain)
    assert len(matrices(divided)) == 3
    for layer, found in zip(convolutions(plain), matrices(divided), strict=True):
        kernel = matrix(layer.kernel)
        largest = np.linalg.norm(kernel, 2)
        # One number divides all entries: rtol is a few roundings of float32. The power
        # iteration comes to it from below, fast where the largest stands out.
        ratio = kernel / found
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)
        assert 0.97 * largest < ratio[0, 0] < 1.00001 * largest
    top = divided.get_layer("outputs_sum")
    np.testing.assert_array_equal(top.kernel, plain.get_layer("outputs_sum").kernel)
    names = [[one.name for one in net.layers[1:]] for net in (plain, divided)]
    assert names[1] == names[0]


def test_where_one_value_stands_out_it_is_found_exactly():
    one = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 2)])
    rng = np.random.default_rng(0)
    kernel = 0.1 * rng.normal(size=(2, 2, 2, 3)) + rng.normal(size=(2, 2, 2, 1))
    bias = rng.normal(size=3)
    one.layers[0].set_weights([kernel, bias])
    divided = spectral.normalised(one)
    (found,) = spectral.wrapped_in(divided)
    expected = kernel / np.linalg.norm(matrix(kernel), 2)
    # The value is a sum of 24 products in float32: roundings of 6e-8 each.
    np.testing.assert_allclose(found.kernel, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.layer.bias, bias, rtol=1e-6)


def descriptor(net):
    made = Descriptor(net, revision=Langevin(3, 0.01), reference_stddev=0.3)
    made.compile(helpers.adam(0.003))
    return made


def test_d2_steps_and_then_divides(monkeypatch):
    """By one round of the power iteration, from the vector of the round before."""
    net = spectral.normalised(network())
    stepped, divided = descriptor(keras.models.clone_model(net)), descriptor(net)
    stepped.set_weights(divided.get_weights())
    before = [np.array(one.vector_u, float) for one in spectral.wrapped_in(net)]
    divided.update(OBSERVED, REVISED)
    monkeypatch.setattr(spectral, "divide", lambda layers, rounds: None)
    stepped.update(OBSERVED, REVISED)
    steps = zip(
        spectral.wrapped_in(stepped.network),
        spectral.wrapped_in(divided.network),
        before,
        strict=True,
    )
    for undivided, layer, vector in steps:
        kernel = matrix(undivided.kernel)
        left = vector @ kernel.T / np.linalg.norm(vector @ kernel.T)
        right = left @ kernel / np.linalg.norm(left @ kernel)
        value = (left @ kernel @ right.T).item()
        assert abs(value - 1) > 3e-4  # the step has changed it
        # Two products and two norms in float32, over 576 entries or fewer.
        np.testing.assert_allclose(layer.vector_u, right, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            matrix(layer.kernel), kernel / value, rtol=1e-4, atol=1e-7
        )


def average_of(net):
    """The moving averages of the kernels, as the optimizer has them."""
    named = variables.named_slots("descriptor", net)
    return [value.numpy() for name, value in named.items() if "kernel_average" in name]


def test_an_average_is_divided_where_it_is_used():
    net = descriptor(spectral.normalised(network()))
    net.compile(CappedAdam(0.003, use_ema=True, ema_momentum=0.5))
    for _ in range(3):
        net.update(OBSERVED, REVISED)
    before = [weight.numpy() for weight in net.weights]
    with averaged(net):
        found, once = matrices(net.network), net.energy(OBSERVED)
        take_average(net)
        # What is left to find of values that hardly stand out.
        np.testing.assert_allclose(net.energy(OBSERVED), once, rtol=1e-3)
    for divided, average in zip(found, average_of(net)[: len(found)], strict=True):
        ratio, largest = matrix(average) / divided, np.linalg.norm(matrix(average), 2)
        assert abs(largest - 1) > 3e-4
        # As for the first division, above.
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)
        assert 0.99 * largest < ratio[0, 0] < 1.00001 * largest
    for weight, value in zip(net.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_the_steps_of_a_chain_see_one_energy():
    net = descriptor(spectral.normalised(network()))
    before = net.get_weights()
    net.revise(tf.constant(REVISED), seed=tf.constant([0, 1]))
    for one, other in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_ones_own_layers_are_divided_in_training():
    keras.utils.set_random_seed(3)
    layer = keras.layers.SpectralNormalization(keras.layers.Dense(4))
    net = descriptor_of(keras.Sequential([keras.Input((3,)), layer]))
    net.compile(keras.optimizers.SGD(0.01))
    for _ in range(100):
        net.update(*np.split(noise(8, 3), 2))
    # What a round leaves of the last step's change of the singular vectors.
    assert np.linalg.norm(layer.kernel, 2) == pytest.approx(1, rel=1e-3)
    kernel = layer.kernel.numpy()
    layer.trainable = False
    spectral.divide(spectral.wrapped_in(net.network))
    np.testing.assert_array_equal(layer.kernel, kernel)


def test_a_kernel_of_zeros_stays():
    layers = [keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 2, name="of_zeros")]
    layers[1].kernel_initializer = keras.initializers.Zeros()
    (found,) = spectral.wrapped_in(spectral.normalised(keras.Sequential(layers)))
    np.testing.assert_array_equal(found.kernel, np.zeros((2, 2, 2, 3)))
    assert np.isfinite(found.vector_u).all()


def test_layers_of_inner_models_and_those_that_are_not_trained():
    inner = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 2)])
    fixed = keras.layers.Conv2D(2, 1, trainable=False)
    net = keras.Sequential(
        [keras.Input((4, 4, 2)), fixed, inner, keras.layers.Flatten()]
    )
    expected = fixed.get_weights()
    found = spectral.normalised(net)
    (divided,) = spectral.wrapped_in(found)
    assert divided.name == inner.layers[0].name
    np.testing.assert_array_equal(found.layers[0].get_weights()[0], expected[0])
    images = noise(2, 4, 4, 2)
    ratio = net(images).numpy() / found(images).numpy()  # biases are zero
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)  # sums of 8 products


def divided_model():
    return make_model(network="digits", spectral_norm=True)


def test_a_run_resumes_bit_for_bit_and_is_loaded(tmp_path):
    helpers.train(divided_model(), tmp_path / "whole", num_iterations=4)
    for number in (3, 4):
        model = divided_model()
        helpers.train(model, tmp_path / "parts", num_iterations=number)
    whole, parts = (helpers.checkpoint(tmp_path / one) for one in ("whole", "parts"))
    assert any("vector_u" in name for name in whole)
    for name, value in whole.items():
        if "save_counter" not in name:
            np.testing.assert_array_equal(parts[name], value, err_msg=name)
    images, loaded = noise(3, 8, 8, 1), coopnets_tf.load(tmp_path / "parts")
    # Another graph may sum in another order.
    np.testing.assert_allclose(loaded.energy(images), model.energy(images), rtol=1e-5)
    model.save(tmp_path / "model.keras")
    again = coopnets_tf.load(tmp_path / "model.keras")
    np.testing.assert_allclose(again.energy(images), model.energy(images), rtol=1e-5)


def test_a_divided_average_is_loaded(tmp_path):
    model = divided_model()
    adam = CappedAdam(0.003, use_ema=True, ema_momentum=0.5)
    model.compile(adam, helpers.adam(0.001))
    helpers.train(model, tmp_path / "run", num_iterations=3)
    images, loaded = noise(3, 8, 8, 1), coopnets_tf.load(tmp_path / "run")
    with model.frozen():
        expected = model.energy(images)
    np.testing.assert_allclose(loaded.energy(images), expected, rtol=1e-5)
    assert not np.allclose(model.descriptor.energy(images), expected, rtol=1e-4)


def test_a_run_begins_with_the_nets_of_one_without_division_and_back(tmp_path):
    plain, divided = make_model(network="digits"), divided_model()
    helpers.train(plain, tmp_path / "plain", num_iterations=1)
    helpers.train(divided, tmp_path / "divided", num_iterations=1)
    fresh = divided_model()
    _, misfits = weights.load_networks(fresh, tmp_path / "plain")
    assert misfits and all("vector_u" in line for line in misfits)
    kernels = [matrix(layer.kernel) for layer in convolutions(plain.descriptor.network)]
    found = matrices(fresh.descriptor.network)
    for kernel, value in zip(kernels, found, strict=True):
        ratio = kernel / value
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)
        assert 0.97 < ratio[0, 0] / np.linalg.norm(kernel, 2) < 1.00001
    back = make_model(network="digits")
    _, misfits = weights.load_networks(back, tmp_path / "divided")
    assert misfits and all("vector_u" in line for line in misfits)
    expected = matrices(divided.descriptor.network)
    for layer, kernel in zip(
        convolutions(back.descriptor.network), expected, strict=True
    ):
        np.testing.assert_array_equal(matrix(layer.kernel), kernel)


def test_weights_have_one_name_however_the_layers_were_built():
    fresh = descriptor_of(spectral.normalised(network()))
    built = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(fresh)
    )
    assert variables.stable_paths(built) == variables.stable_paths(fresh)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="mine")
        self.conv = keras.layers.Conv2D(2, 3)

    def call(self, images):
        return self.conv(images)


def test_what_has_nothing_to_divide_is_refused():
    subclassed = Subclassed()
    subclassed(np.zeros((1, 8, 8, 1)))
    with pytest.raises(NetworkError, match="mine has the convolution conv2d.* inside"):
        spectral.normalised(subclassed)
    dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(NetworkError, match="no convolution"):
        spectral.normalised(dense)
    with pytest.raises(NetworkError, match="must be a built Keras model"):
        spectral.normalised(None)
    with pytest.raises(NetworkError, match="was never built"):
        spectral.normalised(keras.Sequential([keras.layers.Conv2D(2, 3)]))
    inside = keras.layers.TimeDistributed(keras.layers.Conv2D(2, 3, name="deep"))
    with pytest.raises(NetworkError, match="convolution deep inside"):
        spectral.normalised(keras.Sequential([keras.Input((4, 8, 8, 1)), inside]))
