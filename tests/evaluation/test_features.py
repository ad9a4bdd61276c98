"""Feature extractors: what they see, and that they are made once and always alike."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf.data import datasets
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import ExtractorError
from coopnets_tf.evaluation import features


@pytest.fixture(scope="module")
def splits():
    return datasets.load_splits("digits", num_held_out=597)


@pytest.fixture(scope="module")
def extractor(splits):
    return features.classifier(splits.training, splits.test)


def test_the_classifier_knows_digits(extractor, splits):
    found, probabilities = extractor(splits.test)
    assert found.shape == (splits.test.num_images, features.NUM_FEATURES)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    accuracy = np.mean(probabilities.argmax(axis=1) == splits.test.labels)
    # A nearest neighbour has 98 % on this data set; 299 images tell 1 % apart.
    assert accuracy > 0.95
    assert extractor.facts["accuracy"] == accuracy
    assert extractor.facts["accuracy_on"] == str(splits.test)
    assert "1,200 training images" in extractor.facts["network"]


def test_features_are_in_units_of_their_size_on_training_images(extractor, splits):
    found, _ = extractor(splits.training.part(slice(features.NUM_SCALING_IMAGES)))
    np.testing.assert_allclose(np.sqrt(np.mean(found**2)), 1, rtol=1e-4)


def test_a_cached_classifier_is_used_and_a_damaged_one_made_again(
    splits, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(features, "TRAINING_STEPS", 50)

    def features_of_test_images():
        extractor = features.classifier(splits.training, splits.test, cache=tmp_path)
        assert path is None or path.name == extractor.facts["file"]
        return extractor(splits.test)[0]

    path = None
    expected = features_of_test_images()
    [path] = tmp_path.iterdir()

    def refused(*arguments):
        raise AssertionError("It should have been in the cache.")

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "train_on_batch", refused)
        np.testing.assert_array_equal(features_of_test_images(), expected)

    path.write_bytes(b"damaged")
    # Made twice, by the same computation: equal bit for bit on one machine.
    np.testing.assert_array_equal(features_of_test_images(), expected)
    assert str(path) in caplog.text


def test_other_images_labels_or_normalisation_make_another_classifier(splits):
    training = splits.training
    relabelled = training.part(slice(None))
    relabelled.labels = 9 - training.labels
    stretched = datasets.load("digits", num_held_out=597, normalize="per_image")
    others = [training.part(slice(1, None)), training.drawn(seed=0)]
    parts = [training, relabelled, stretched, *others]
    assert len({features._recipe(part) for part in parts}) == len(parts)


MAKERS = ("_train", "_with_features", "_classifier")
CONSTANTS = (
    "TRAINING_STEPS",
    "TRAINING_BATCH",
    "FILTERS",
    "NUM_FEATURES",
    "NUM_SCALING_IMAGES",
    "FLOAT",
    "LAST",
)


@pytest.mark.parametrize("name", [*MAKERS, *CONSTANTS])
def test_another_recipe_makes_another_classifier(splits, monkeypatch, name):
    before = features._recipe(splits.training)
    other = features.inception if name in MAKERS else "another"
    monkeypatch.setattr(features, name, other)
    assert features._recipe(splits.training) != before


def test_the_recipe_has_all_that_is_used(splits):
    """Functions and constants of the package, by their names in the code."""
    used = {}
    for name in MAKERS:
        used |= inspect.getclosurevars(getattr(features, name)).globals
    own = {name for name, value in used.items() if not inspect.ismodule(value)}
    assert own | {"_train"} == {*MAKERS, *CONSTANTS}


def test_other_code_of_the_file_leaves_the_cache_as_it_is(splits, monkeypatch):
    before = features._recipe(splits.training)
    for name in ("inception", "compiled", "_keep", "INCEPTION_SIZE", "INFERENCE_BATCH"):
        monkeypatch.setattr(features, name, None)
    assert features._recipe(splits.training) == before


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    splits, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(features, "TRAINING_STEPS", 2)
    (tmp_path / "file").write_text("in the way")
    found = features.classifier(splits.training, splits.test, cache=tmp_path / "file")
    assert "not kept" in caplog.text
    assert found(splits.test.part(slice(5)))[0].shape == (5, 128)


def test_without_labels_there_is_no_classifier():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), np.uint8)
    photos = ImageDataset("photos", pixels)
    with pytest.raises(ExtractorError, match="photos has none.*`extractor`=inception"):
        features.classifier(photos, photos)


def test_an_extractor_takes_images_in_batches(monkeypatch):
    monkeypatch.setattr(features, "INFERENCE_BATCH", 4)
    pixels = np.arange(10, dtype=np.uint8)[:, None, None, None]
    sizes = []

    def network(images):
        sizes.append(len(images))
        return images[:, 0, 0], images[:, 0, 0] + 5

    extractor = features.Extractor("counting", "Frechet", {}, network)
    found, classes = extractor(ImageDataset("numbers", pixels))
    assert sizes == [4, 4, 2]
    np.testing.assert_allclose(found[:, 0], np.arange(10) / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(classes - found, np.full_like(found, 5), atol=1e-6)


def test_keras_inception(tmp_path, monkeypatch):
    """Random weights from a file; features, classes, colours and sizes as it takes."""
    keras.utils.set_random_seed(0)
    network = keras.applications.InceptionV3(weights=None)
    path = tmp_path / "inception.weights.h5"
    network.save_weights(path)
    extractor = features.inception(inception_weights=str(path))
    assert extractor.name == "Keras InceptionV3"
    assert extractor.frechet_name == "FID (Keras InceptionV3)"
    assert extractor.facts["weights"] == path.name
    pixels = np.random.default_rng(0).integers(0, 256, (2, 299, 299, 3), np.uint8)
    outputs = [network.get_layer("avg_pool").output, network.output]
    network = keras.Model(network.inputs[0], outputs)
    for images in (pixels, pixels[:, :28, :28, :1]):
        found, classes = extractor(ImageDataset("images", images))
        assert found.shape == (2, 2048)
        colour = np.broadcast_to(images, (*images.shape[:3], 3)) / 127.5 - 1
        large = tf.image.resize(colour, (299, 299), antialias=True)
        expected = network(colour if len(images[0]) == 299 else large, training=False)
        np.testing.assert_allclose(found, expected[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(classes, expected[1], rtol=1e-4)


def test_weights_of_inception_that_are_not_available_are_named(tmp_path, monkeypatch):
    missing = tmp_path / "no.h5"
    with pytest.raises(
        ExtractorError, match="`inception_weights`=.*no.h5 does not exist"
    ):
        features.inception(inception_weights=str(missing))

    def offline(*, weights):
        raise Exception("URL fetch failure on https://...")

    monkeypatch.setattr(keras.applications, "InceptionV3", offline)
    with pytest.raises(
        ExtractorError, match="URL fetch.*inception_v3_weights.*`inception_weights`"
    ):
        features.inception()
