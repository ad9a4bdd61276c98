"""The tables of the built-in networks, and what does not fit them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf.errors import NetworkError
from coopnets_tf.networks import built_in, rows
from coopnets_tf.networks.layers import LAST
from tests.helpers import descriptor_of, generator_of, layers, noise, top


@pytest.mark.parametrize(
    ("name", "shape", "parameters", "sizes"),
    [
        # The published tables, layer by layer.
        ("mnist", (28, 28, 1), [1_088, 131_200, 524_544, 409_700], [14, 7, 4]),
        ("scene", (64, 64, 3), [4_864, 73_856, 295_168, 6_553_700], [32, 16, 16]),
        ("cifar", (32, 32, 3), [4_864, 73_856, 295_168, 1_638_500], [16, 8, 8]),
        # 3*3*1*32 + 32, 4*4*32*64 + 64, 3*3*64*128 + 128, 4*4*128*100 + 100
        ("digits", (8, 8, 1), [320, 32_832, 73_856, 204_900], [8, 4, 4]),
        # 4*4*3*64 + 64, 2*2*64*128 + 128, 32*32*128*100 + 100
        ("object", (64, 64, 3), [3_136, 32_896, 13_107_300], [32, 32]),
        ("texture", (224, 224, 3), [67_600, 567_070, 102_930], [75, 75, 75]),
    ],
)
def test_tables_of_descriptors(name, shape, parameters, sizes):
    net = descriptor_of(built_in.descriptor(name, shape), image_shape=shape)
    found = layers(net, "conv")
    found += [] if built_in.TABLES[name].sums_all else [top(net)]
    assert [layer.count_params() for layer in found] == parameters
    assert net.count_params() == sum(parameters)
    maps = np.zeros((2, *shape), np.float32)
    for conv, size in zip(layers(net, "conv"), sizes, strict=True):
        maps = conv(maps)
        assert maps.shape[1:3] == (size, size)
    scores = net(np.zeros((2, *shape), np.float32))
    assert scores.shape == (2,)
    assert scores.dtype == tf.float32


@pytest.mark.parametrize(
    ("name", "shape", "parameters", "total"),
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
        (
            "object",
            (64, 64, 3),
            [819_712, 3_277_056, 819_328, 204_864, 4_803],
            5_126_723,
        ),
        # 4*4*256*100 + 256, 3*3*128*256 + 128, 4*4*1*128 + 1; shifts
        ("digits", (8, 8, 1), [409_856, 295_040, 2_049], 706_945 + 384),
    ],
)
def test_tables_of_generators(name, shape, parameters, total):
    net = generator_of(built_in.generator(name, shape, (100,)))
    assert [layer.count_params() for layer in layers(net, "deconv")] == parameters
    trainable = sum(np.prod(weight.shape) for weight in net.trainable_variables)
    assert trainable == total
    images = net(np.ones((2, 100), np.float32))
    assert images.shape == (2, *shape)
    assert net.image_shape == shape and net.latent_shape == (100,)


def test_nets_of_objects_with_the_papers_sizes():
    """Two latents, two outputs; the first of 4*4*2*512 + 512 and 32*32*128*2 + 2."""
    net = generator_of(built_in.generator("object", (64, 64, 3), (2,)))
    assert layers(net, "deconv")[0].count_params() == 16_896
    network = built_in.descriptor("object", (64, 64, 3), num_outputs=2)
    assert network.get_layer("outputs_sum").count_params() == 262_146


def test_nets_of_textures_have_the_published_sizes():
    """13,312, 3,277,056, 819,328, 204,864, 4,803 as published; shifts."""
    net = generator_of(
        built_in.generator("texture", (224, 224, 3), (1,)), latent_shape=(7, 7, 1)
    )
    found = [layer.count_params() for layer in layers(net, "deconv")]
    assert found == [13_312, 3_277_056, 819_328, 204_864, 4_803]
    assert net.image_shape == (224, 224, 3)
    scores = built_in.descriptor("texture", (224, 224, 3))
    assert scores(np.zeros((1, 224, 224, 3))).shape == (1, 75, 75, 30)


def test_nets_of_moving_textures_have_the_published_sizes():
    """Of the authors' code, PAMI: 73,774,660 and 168,813,059 weights."""
    shape = (64, 128, 128, 3)
    network = built_in.descriptor("moving_texture", shape)
    assert network.count_params() == 73_774_660
    assert network.output_shape == (None, 8, 1, 1, 10)
    network = built_in.generator("moving_texture", shape, (5,))
    assert network.input_shape == (None, 10, 1, 1, 5)
    assert network.output_shape == (None, *shape)
    trainable = sum(np.prod(one.shape) for one in network.trainable_variables)
    assert trainable == 168_813_059


def silu(values):
    return values / (1 + np.exp(-values))


def part_of(network, begin, end):
    """The layers of a network after one, up to another, as a function."""
    inside = keras.Model(network.get_layer(begin).output, network.get_layer(end).output)
    return lambda maps: inside(maps).numpy()


def test_a_residual_block_that_halves():
    network = built_in.descriptor("residual", (16, 16, 3))
    network.get_layer("conv_1_1").bias.assign(noise(112, seed=1))
    maps = noise(2, 8, 8, 64, seed=2)
    pooled = maps.reshape(2, 4, 2, 4, 2, 64).mean(axis=(2, 4))

    def conv(maps, kind):
        layer = network.get_layer(f"conv_1_{kind}")
        return tf.nn.conv2d(maps, layer.kernel, 1, "SAME").numpy() + layer.bias.numpy()

    expected = silu(conv(silu(conv(pooled, 0)), 1) + conv(pooled, "beside"))
    (end,) = [one.name for one in network.layers if "activation" in one.name][:1]
    found = part_of(network, "conv_0", end)(maps)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.1


@pytest.mark.parametrize("name", ["residual", "moving_texture_small", "object"])
def test_another_activation_takes_the_place_of_the_tables_own(name):
    shape = (26, 8, 8, 1) if "moving" in name else (16, 16, 3)

    def activations(**options):
        network = built_in.descriptor(name, shape, **options)
        layers = [one for one in network.layers if hasattr(one, "activation")]
        return [keras.activations.serialize(one.activation) for one in layers]

    own, other = activations(), activations(activation="gelu")
    usual = {"residual": "silu"}.get(name, "relu")
    assert usual in own and len(own) == len(other)
    for before, after in zip(own, other, strict=True):
        assert after == ("gelu" if before == usual else before)


def test_a_residual_block_that_doubles():
    network = built_in.generator("residual", (32, 32, 3))
    for layer in network.layers:
        if layer.name.startswith("deconv_1"):  # so that the numbers differ
            layer.kernel.assign(layer.kernel * 20)
    begin = network.layers[network.layers.index(network.get_layer("norm_0")) + 1]
    maps = noise(3, 2, 2, 256, seed=2)

    def up(maps, kind, strides):
        kernel = network.get_layer(f"deconv_1_{kind}").kernel
        return tf.nn.conv2d_transpose(maps, kernel, (3, 4, 4, 160), strides).numpy()

    found = up(maps, 0, 2) / np.sqrt(1 + 1e-3)  # as the averages are at first
    expected = up(silu(found), 1, 1) + up(maps, "beside", 2)
    (end,) = [one.name for one in network.layers if one.name.startswith("add")][:1]
    found = part_of(network, begin.name, end)(maps)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.1


def test_residual_nets_begin_with_hes_kernels():
    """Standard deviation sqrt(2 / fan-in), of 6e4 numbers or more: 3 % is ten s.d."""
    network = built_in.descriptor("residual", (64, 64, 3))
    for name, inputs in (("conv_1_0", 9 * 64), ("conv_2_1", 9 * 160)):
        kernel = network.get_layer(name).kernel
        assert np.std(kernel) == pytest.approx(np.sqrt(2 / inputs), rel=0.03)


def test_residual_nets_are_for_any_image():
    for shape in ((32, 32, 3), (64, 48, 1), (28, 28, 1)):
        scores = built_in.descriptor("residual", shape)
        assert scores(np.zeros((2, *shape))).shape == (2,)
        images = built_in.generator("residual", shape, (7,))
        assert images(np.zeros((2, 7))).shape == (2, *shape)


def test_filters_over_all_pixels_are_convolutions_over_frames():
    network = built_in.descriptor("moving_texture_small", (26, 8, 8, 1))
    first, second = (network.get_layer(name) for name in ("conv_0", "conv_1"))
    second.bias.assign(noise(20))
    maps = first(noise(2, 26, 8, 8, 1))
    kernel = np.reshape(second.kernel, (5, *maps.shape[2:], 20))
    padded = np.pad(maps, [(0, 0), (2, 2), (0, 0), (0, 0), (0, 0)])
    expected = tf.nn.conv3d(padded, kernel, [1, 2, 1, 1, 1], "VALID") + second.bias
    part = keras.Model(first.output, network.get_layer("conv_1").output)
    np.testing.assert_allclose(
        np.squeeze(part(maps)), np.squeeze(tf.nn.relu(expected)), rtol=1e-4, atol=1e-6
    )


def test_filters_over_whole_rows_are_convolutions_over_columns():
    """Of still maps, too."""
    row = rows.Conv((3, None), 2, 4, "relu")
    inputs = keras.Input((7, 5, 2))
    network = keras.Model(inputs, row.of(inputs, 0, LAST))
    layer = network.get_layer("conv_0")
    layer.bias.assign(noise(4))
    maps = noise(2, 7, 5, 2)
    padded = np.pad(maps, [(0, 0), (1, 1), (0, 0), (0, 0)])
    kernel = np.reshape(layer.kernel, (3, 5, 2, 4))
    expected = tf.nn.conv2d(padded, kernel, 2, "VALID") + layer.bias
    assert expected.shape == (2, 4, 1, 4)
    np.testing.assert_allclose(
        network(maps), tf.nn.relu(expected), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    "size", [(None, 5, 5), (5, None, 3), (5, 3, None), (None, None, None)]
)
def test_filters_that_span_other_axes_are_refused(size):
    maps = keras.Input((7, 5, 5, 2))
    with pytest.raises(NetworkError, match="all axes but the first. Received: size="):
        rows.Conv(size, 1, 4).of(maps, 1, {})


def test_nets_of_small_moving_textures():
    shape = (26, 16, 16, 1)
    net = descriptor_of(built_in.descriptor("moving_texture_small", shape))
    assert net(np.zeros((2, *shape), np.float32)).shape == (2,)
    network = built_in.generator("moving_texture_small", shape, (3,))
    latents = built_in.latent_shape_of("moving_texture_small", shape, (3,))
    images = generator_of(network)(np.ones((2, *latents), np.float32))
    assert images.shape == (2, *shape)


def test_the_smallest_texture_has_a_map_of_one_place():
    assert built_in.latent_shape_of("texture", (32, 32, 1), (1,)) == (1, 1, 1)


def test_a_texture_of_another_size_is_of_the_same_nets():
    """Far from the border a larger latent map gives what a part of it gives."""
    generator = built_in.generator("texture", (64, 64, 3), (1,))
    for weights in generator.trainable_variables:
        weights.assign(weights * 20)  # so that the pixels differ
    latents = np.random.default_rng(0).standard_normal((1, 12, 12, 1))
    large, part = generator(latents), generator(latents[:, :8])
    assert large.shape == (1, 384, 384, 3) and part.shape == (1, 256, 384, 3)
    assert np.std(large) > 1e-6
    np.testing.assert_allclose(part[:, :128], large[:, :128], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "shape", "latents", "message"),
    [
        (
            "texture",
            (100, 64, 1),
            (1,),
            "multiples of 32. Received: 100x64. Take 96x64",
        ),
        (
            "texture",
            (64, 64, 1),
            (7, 7, 1),
            "64x64 from latents of 2x2x1. Rec.*7x7x1. ",
        ),
        ("mnist", (28, 28, 1), (2, 3), "28x28 from latents of 3. Received: .*=2x3. Gi"),
        ("mnist", (8, 28, 28, 1), (2,), "for still images.*Leave out `num_frames`"),
        ("moving_texture", (28, 28, 1), (2,), "is for clips.*Give `num_frames`"),
        ("moving_texture", (24, 9, 9, 1), (2,), "of 25 frames or more. Received: 24."),
    ],
)
def test_what_does_not_fit_a_built_in_generator_is_refused(
    name, shape, latents, message
):
    with pytest.raises(NetworkError, match=message):
        built_in.generator(name, shape, latents)


STILL = [name for name, one in built_in.TABLES.items() if len(one.axes) == 2]


@pytest.mark.parametrize("name", STILL)
def test_how_the_first_layers_answer_where_the_bias_is_negative(name):
    network = built_in.descriptor(name, (8, 8, 1), num_outputs=2)
    first = network.get_layer("conv_0")
    first.bias.assign(-np.ones(first.filters))
    maps = first(np.zeros((1, 8, 8, 1)))
    answers = {"object": 0, "texture": 0, "residual": silu(-1.0)}
    expected = answers.get(name.removeprefix("toy_"), -0.2)
    np.testing.assert_allclose(maps, np.full(maps.shape, expected), rtol=1e-6)


def test_initial_weights_of_descriptors():
    net = descriptor_of(built_in.descriptor("mnist", (28, 28, 1)))
    for layer in (*layers(net, "conv"), top(net)):
        np.testing.assert_array_equal(layer.bias, np.zeros(layer.bias.shape))
        kernel = np.asarray(layer.kernel)
        error = 0.01 / np.sqrt(2 * kernel.size)
        assert abs(kernel.std() - 0.01) < 5 * error
    first, second = (
        built_in.descriptor("digits", (8, 8, 1)).get_weights() for _ in range(2)
    )
    assert np.any(first[0] != second[0])


def test_initial_weights_of_generators():
    net = generator_of(built_in.generator("mnist", (28, 28, 1)))
    for layer in layers(net, "deconv"):
        np.testing.assert_array_equal(layer.bias, np.zeros(layer.bias.shape))
        kernel = np.asarray(layer.kernel)
        assert abs(kernel.std() - 0.005) < 5 * 0.005 / np.sqrt(2 * kernel.size)


def test_any_image_size_and_colour():
    network = built_in.descriptor("scene", (48, 32, 1))
    assert network(np.zeros((1, 48, 32, 1))).shape == (1,)
    for shape, first in (
        ((30, 44, 3), (2, 3)),
        ((64, 64, 1), (4, 4)),
        ((96, 64, 3), (6, 4)),
        ((8, 100, 1), (1, 7)),
    ):
        network = built_in.generator("scene", shape, (6,))
        assert network(np.ones((1, 6), np.float32)).shape == (1, *shape)
        assert network.get_layer("deconv_0").kernel.shape == (*first, 512, 6)


@pytest.mark.parametrize(
    ("side", "name"),
    [(8, "digits"), (28, "mnist"), (32, "cifar"), (33, "scene"), (64, "scene")],
)
def test_the_table_for_images_of_a_size(side, name):
    """By the longer side."""
    for shape in ((side, side, 1), (side, 8, 1), (8, side, 1)):
        assert built_in.for_images(shape) == name


@pytest.mark.parametrize("make", [built_in.descriptor, built_in.generator])
def test_an_unknown_name_is_refused_with_the_nearest(make):
    with pytest.raises(NetworkError) as error:
        make("minst", (28, 28, 1))
    assert str(error.value) == (
        f"`network` must be one of {', '.join(built_in.TABLES)}. "
        "Received: network='minst'. Did you mean mnist?"
    )
    with pytest.raises(NetworkError, match="network='vgg'.$"):
        make("vgg", (28, 28, 1))
