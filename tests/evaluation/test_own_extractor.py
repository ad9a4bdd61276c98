"""A network in a file: what it is given, what is taken from it, what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import ExtractorError
from coopnets_tf.evaluation import own_extractor

GREY, COLOUR = (8, 8, 1), (8, 8, 3)


@pytest.fixture(autouse=True)
def weights():
    keras.utils.set_random_seed(0)


@pytest.fixture
def extractor(tmp_path):
    """Saves a network and takes features from the file."""

    def extractor(*parts, shape=GREY, layer=None, name="mine"):
        network = parts[0] if len(parts) == 1 else keras.Sequential(parts)
        path = tmp_path / f"{name}.keras"
        network.save(path)
        return own_extractor.from_file(path, shape, layer=layer)

    return extractor


def pictures(*shape, number=3):
    pixels = np.random.default_rng(0).integers(0, 256, (number, *shape), np.uint8)
    return ImageDataset("pictures", pixels)


def classifier(*shape):
    return [
        keras.Input(shape),
        layers.Conv2D(4, 3, activation="relu", name="maps"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(5, activation="relu", name="hidden"),
        layers.Dense(3, activation="softmax", name="classes"),
    ]


def test_a_classifier_gives_what_its_last_layer_sees(extractor):
    network = keras.Sequential(classifier(*GREY))
    found = extractor(network)
    dataset = pictures(*GREY)
    features, classes = found(dataset)
    expected = dataset[:]
    for layer in network.layers[:-1]:
        expected = layer(expected)
    np.testing.assert_allclose(features, expected, rtol=1e-5)
    np.testing.assert_allclose(classes, network(dataset[:]), rtol=1e-5)
    assert (found.name, found.frechet_name) == ("mine", "Frechet (mine)")
    assert found.has_classes
    assert found.facts["network"] == "mine.keras, 5 features (into layer classes)"
    assert (found.facts["input"], found.facts["resize"]) == ([8, 8, 1], "none")


@pytest.mark.parametrize(
    "end",
    [[layers.Softmax], [layers.Activation, "softmax"], [layers.Activation, "relu"]],
)
def test_what_follows_the_last_dense_layer_is_no_feature(extractor, end):
    """Classes may come from a layer of their own."""
    *body, last = classifier(*GREY)
    last = layers.Dense(3, name="classes")
    network = keras.Sequential([*body, last, end[0](*end[1:])])
    found = extractor(network)
    features, classes = found(pictures(*GREY))
    assert features.shape == (3, 5)
    assert found.has_classes == ("relu" not in end)
    assert classes.shape == (3, 3 if found.has_classes else 0)


def test_a_network_without_classes_gives_its_output(extractor):
    found = extractor(keras.Input(GREY), layers.Conv2D(4, 3, name="last"))
    dataset = pictures(*GREY)
    features, classes = found(dataset)
    assert classes.shape == (3, 0) and not found.has_classes
    assert found.facts["network"] == "mine.keras, 4 features (its output)"
    sums = extractor(
        keras.Input(GREY),
        layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones"),
    )
    mean = dataset[:].mean(axis=(1, 2))
    np.testing.assert_allclose(sums(dataset)[0], mean, rtol=1e-4, atol=1e-6)


def test_a_network_of_one_layer_or_none(extractor):
    images = keras.Input(GREY)
    for network in (
        keras.Model(images, images),
        keras.Sequential([images, layers.Activation("relu")]),
    ):
        assert extractor(network)(pictures(*GREY))[0].shape == (3, 1)


def test_features_are_float32(extractor):
    half = layers.Conv2D(4, 3, dtype="mixed_float16")
    assert extractor(keras.Input(GREY), half)(pictures(*GREY))[0].dtype == np.float32


def test_a_layer_may_be_named(extractor):
    network = keras.Sequential(classifier(*GREY))
    found = extractor(network, layer="maps")
    dataset = pictures(*GREY)
    expected = network.layers[0](dataset[:]).numpy().mean(axis=(1, 2))
    features, classes = found(dataset)
    np.testing.assert_allclose(features, expected, rtol=1e-4)
    assert classes.shape == (3, 3)
    assert found.facts["network"] == "mine.keras, 4 features (of layer maps)"
    with pytest.raises(ExtractorError, match="`layer`.*Did you mean maps?"):
        extractor(network, layer="map")


def test_networks_within_networks(extractor):
    inner = keras.Sequential(classifier(*GREY))
    found = extractor(keras.Input(GREY), layers.Rescaling(1 / 127.5, -1), inner)
    features, classes = found(pictures(*GREY))
    assert found.has_classes and found.facts["pixels"] == "[0, 255]"
    plain = extractor(inner, name="plain")(pictures(*GREY))
    np.testing.assert_allclose(features, plain[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(classes, plain[1], rtol=1e-4)


@pytest.mark.parametrize(
    ("first", "low", "high"),
    [
        ([layers.Rescaling, 1 / 255], 0, 1),
        ([layers.Rescaling, 1 / 127.5, -1], -1, 1),
        ([layers.Rescaling, 0.5, 0.5], 0, 1),
        ([layers.Rescaling, 127.5, 127.5], 0, 255),
        ([layers.ReLU], 0, 1),
    ],
)
def test_the_values_that_it_is_given(extractor, first, low, high):
    pixels = np.stack([np.zeros(GREY, np.uint8), np.full(GREY, 255, np.uint8)])
    layer = first[0](*first[1:])
    found = extractor(keras.Input(GREY), layer, layers.AveragePooling2D(8))
    features, _ = found(ImageDataset("black and white", pixels))
    np.testing.assert_allclose(features[:, 0], [low, high], atol=1e-4)


def test_sizes_and_colours_become_those_of_the_network(extractor):
    parts = [keras.Input((4, 6, 3)), layers.Flatten()]
    grey, colour = pictures(*GREY), pictures(*COLOUR)
    found = extractor(*parts)
    large = tf.image.resize(grey[:], (4, 6), antialias=True).numpy()
    expected = np.repeat(large, 3, axis=3).reshape(3, -1)
    np.testing.assert_allclose(found(grey)[0], expected, rtol=1e-5)
    assert found.facts["resize"] == "bilinear"
    expected = tf.image.resize(colour[:], (4, 6), antialias=True).numpy()
    found = extractor(*parts, shape=COLOUR)
    np.testing.assert_allclose(found(colour)[0], expected.reshape(3, -1), rtol=1e-5)
    any_size = extractor(
        keras.Input((None, None, 1)), layers.GlobalMaxPooling2D(), layers.Flatten()
    )
    assert any_size.facts["input"] == [8, 8, 1]
    np.testing.assert_allclose(any_size(grey)[0], grey[:].max(axis=(1, 2)), rtol=1e-5)


def test_the_digest_is_of_the_file(extractor):
    one = extractor(*classifier(*GREY)).facts["digest"]
    other = extractor(*classifier(*GREY)).facts["digest"]
    assert len(one) == 16 and one != other


class Own(layers.Layer):
    def call(self, images):
        return images


def test_no_code_of_a_file_runs(extractor):
    ran = []
    unsafe = layers.Lambda(lambda images: ran.append(1) or images)
    network = keras.Sequential([keras.Input(GREY), unsafe, layers.Flatten()])
    ran.clear()
    with pytest.raises(ExtractorError, match="mine.keras must be.*without a Lambda"):
        extractor(network)
    assert not ran
    network = keras.Sequential([keras.Input(GREY), Own(), layers.Flatten()])
    with pytest.raises(ExtractorError, match="mine.keras must be.*Keras' own layers"):
        extractor(network)


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "mine.keras").write_text("damaged")
    with pytest.raises(ExtractorError, match="mine.keras must be a .keras file"):
        own_extractor.from_file(tmp_path / "mine.keras", GREY)


@pytest.mark.parametrize(
    ("parts", "shape", "text"),
    [
        ([keras.Input((8, 8, 1)), layers.Flatten()], COLOUR, "grey images.*in colour"),
        ([keras.Input((8, 8, 2)), layers.Flatten()], GREY, r"input \(None, 8, 8, 2\)"),
        ([keras.Input((64,)), layers.Dense(2)], GREY, r"input \(None, 64\)"),
        (
            [keras.Input((None, None, 1)), layers.Conv2D(1, 9), layers.Flatten()],
            GREY,
            "does not take images of 8x8x1",
        ),
        ([keras.Input((96, 96, 1)), layers.Flatten()], GREY, "9,216 features"),
    ],
)
def test_networks_that_do_not_fit_are_refused(extractor, parts, shape, text):
    with pytest.raises(ExtractorError, match=text):
        extractor(*parts, shape=shape)


def test_networks_of_several_inputs_or_outputs_are_refused(extractor):
    one, two = keras.Input(GREY), keras.Input(GREY)
    flat = layers.Flatten()(one + two)
    for network in (keras.Model([one, two], flat), keras.Model(one, [one, -one])):
        with pytest.raises(ExtractorError, match="one built input and output"):
            extractor(network)
