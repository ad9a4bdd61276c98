import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import Descriptor, Langevin

DYNAMICS = Langevin(3, 0.01)


def build(network, shape, **changes):
    options = {"revision": DYNAMICS, "reference_stddev": 0.016, **changes}
    return Descriptor(network, shape, **options)


@pytest.mark.parametrize(
    ("network", "shape", "parameters", "sizes"),
    [
        # The published tables, layer by layer.
        ("mnist", (28, 28, 1), [1_088, 131_200, 524_544, 409_700], [14, 7, 4]),
        ("scene", (64, 64, 3), [4_864, 73_856, 295_168, 6_553_700], [32, 16, 16]),
        ("cifar", (32, 32, 3), [4_864, 73_856, 295_168, 1_638_500], [16, 8, 8]),
        # 3*3*1*32 + 32, 4*4*32*64 + 64, 3*3*64*128 + 128, 4*4*128*100 + 100
        ("digits", (8, 8, 1), [320, 32_832, 73_856, 204_900], [8, 4, 4]),
    ],
)
def test_layer_tables(network, shape, parameters, sizes):
    net = build(network, shape)
    layers = [*net.convs, net.outputs_sum]
    assert [layer.count_params() for layer in layers] == parameters
    maps = np.zeros((2, *shape), np.float32)
    for conv, size in zip(net.convs, sizes, strict=True):
        maps = conv(maps)
        assert maps.shape[1:3] == (size, size)
    scores = net(np.zeros((2, *shape), np.float32))
    assert scores.shape == (2,)
    assert scores.dtype == tf.float32


def test_initial_weights():
    net = build("mnist", (28, 28, 1))
    for layer in (*net.convs, net.outputs_sum):
        np.testing.assert_array_equal(layer.bias, np.zeros(layer.bias.shape))
        kernel = np.asarray(layer.kernel)
        error = 0.01 / np.sqrt(2 * kernel.size)
        assert abs(kernel.std() - 0.01) < 5 * error
    first, second = (build("digits", (8, 8, 1)).get_weights() for _ in range(2))
    assert np.any(first[0] != second[0])


def test_scores_are_the_sum_of_linear_outputs():
    net = build("digits", (8, 8, 1), num_outputs=5)
    images = np.random.default_rng(0).uniform(-1, 1, (3, 8, 8, 1)).astype(np.float32)
    maps = images
    for conv in net.convs:
        maps = conv(maps)
    head = net.outputs_sum
    head.bias.assign([1.0, 2.0, 3.0, 4.0, 5.0])
    outputs = np.einsum("bhwc,hwco->bo", maps, head.kernel) + np.asarray(head.bias)
    np.testing.assert_allclose(net(images), outputs.sum(axis=1), rtol=1e-5)


def test_any_image_size_and_colour():
    assert build("scene", (48, 32, 1))(np.zeros((1, 48, 32, 1))).shape == (1,)


def test_chains_start_from_the_reference_or_from_uniform_pixels():
    net = build("digits", (8, 8, 1), reference_stddev=0.5)
    seed = tf.constant([1, 2])
    noise = net.initial(500, chain_init="noise", seed=seed).numpy()
    uniform = net.initial(500, chain_init="uniform", seed=seed).numpy()
    number = noise.size  # five standard errors of a s.d. of Gaussian and uniform draws
    assert abs(noise.std() / 0.5 - 1) < 5 / np.sqrt(2 * number)
    assert abs(uniform.std() * np.sqrt(3) - 1) < 5 * np.sqrt(0.2 / number)
    assert uniform.min() >= -1 and uniform.max() < 1
    with pytest.raises(ValueError, match="Received: data"):
        net.initial(1, chain_init="data", seed=seed)
    with pytest.raises(ValueError, match="finite.*reference_stddev=inf"):
        build("digits", (8, 8, 1), reference_stddev=None).initial(
            1, chain_init="noise", seed=seed
        )


@pytest.mark.parametrize("changes", [{}, {"reference_stddev": None}])
def test_config_round_trip(changes):
    net = build("digits", (8, 8, 1), num_outputs=3, penalty=0.1, **changes)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(net)
    )
    assert isinstance(again, Descriptor)
    assert again.get_config() == net.get_config()
    assert again.revision == DYNAMICS


@pytest.mark.parametrize(
    ("network", "changes", "text"),
    [
        ("vgg", {}, "must be one of digits, mnist.*network='vgg'"),
        ("digits", {"reference_stddev": 0.0}, "reference_stddev=0.0"),
        ("digits", {"penalty": -1.0}, "penalty.*-1.0"),
    ],
)
def test_impossible_arguments_are_refused(network, changes, text):
    with pytest.raises(ValueError, match=text):
        build(network, (8, 8, 1), **changes)
