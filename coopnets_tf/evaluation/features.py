"""Feature extractors: what a trained classifier sees in an image, as numbers."""

import contextlib
import hashlib
import inspect
import itertools
import logging
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import ExtractorError
from coopnets_tf.files import keras_folder
from coopnets_tf.networks.layers import FLOAT, LAST

INFERENCE_BATCH = 100  # images
TRAINING_STEPS = 1_500
TRAINING_BATCH = 100  # images
FILTERS = (32, 64)
NUM_FEATURES = 128
NUM_SCALING_IMAGES = 1_000
INCEPTION_SIZE = 299  # pixels


class Extractor(NamedTuple):
    """A network with a name, so that a score says what it was measured with."""

    name: str
    frechet_name: str  # of the Frechet distance of its features
    facts: dict[str, Any]  # for the report: strings and numbers
    network: Callable  # images in [-1, 1] -> features, probabilities of the classes
    has_classes: bool = True  # else there are 0 of them
    knows_labels: bool = False  # its classes are those of the data set

    def __call__(self, dataset: ImageDataset) -> tuple[np.ndarray, np.ndarray]:
        """Features [number, dimensions], and class probabilities [number, classes]."""
        parts = [
            self.network(dataset[first : first + INFERENCE_BATCH])
            for first in range(0, dataset.num_images, INFERENCE_BATCH)
        ]
        features, probabilities = zip(*parts, strict=True)
        return np.concatenate(features), np.concatenate(probabilities)


def classifier(
    training: ImageDataset, test: ImageDataset, *, cache: Path | None = None
) -> Extractor:
    """A small ConvNet, trained once on the labels of the data set's training images.

    Args:
      training: with labels.
      test: with labels; on which its accuracy is measured.
      cache: folder where trained ones are kept. Default: `coopnets_tf` in that of
        Keras.

    Returns:
      128 features; its facts have the accuracy and a digest of its weights.

    Raises:
      ExtractorError: if the data set has no labels.
    """
    if training.labels is None or test.labels is None:
        raise ExtractorError(
            f"`extractor`=classifier needs labels, and {training.name} has none; the "
            "subfolders of a folder are labels in runs with `conditional` alone. Give "
            "`extractor`=inception, or =FILE.keras, a network of your own."
        )
    cache = cache or keras_folder() / "coopnets_tf"
    name = Path(training.name).name  # which may be the path of a folder
    path = cache / f"classifier-{name}-{_recipe(training)}.keras"
    trained = _cached(path)
    if trained is None:
        with tf.device("CPU:0"):  # whose bits do not change from run to run
            trained = _train(training)
        _keep(trained, path)
    extractor = Extractor("classifier", "Frechet", {}, compiled(trained))
    _, probabilities = extractor(test)
    accuracy = np.mean(probabilities.argmax(axis=1) == test.labels)
    weights = b"".join(one.tobytes() for one in trained.get_weights())
    facts = {
        "network": f"ConvNet, {NUM_FEATURES} features, trained on {training}",
        "accuracy": float(accuracy),
        "accuracy_on": str(test),
        "file": path.name,
        "weights": hashlib.blake2b(weights, digest_size=8).hexdigest(),
    }
    return extractor._replace(facts=facts, knows_labels=True)


def _recipe(training):
    """A text that changes with all that decides the classifier's weights: the images,
    the labels, and how it is built and trained.
    """
    code = [inspect.getsource(one) for one in (_train, _with_features, _classifier)]
    constants = (
        TRAINING_STEPS,
        TRAINING_BATCH,
        FILTERS,
        NUM_FEATURES,
        NUM_SCALING_IMAGES,
        FLOAT,
        LAST,
    )
    digest = hashlib.blake2b(str((code, constants)).encode(), digest_size=8)
    versions = [metadata.version(name) for name in ("tensorflow", "keras")]
    facts = training.fingerprint(), training.per_image, versions
    digest.update(str(facts).encode())
    for part in (training.places, training.labels):
        digest.update(np.ascontiguousarray(part, np.int64).data)
    return digest.hexdigest()


def _cached(path):
    try:
        return keras.saving.load_model(path, compile=False) if path.is_file() else None
    except Exception as error:  # a damaged file fails in many ways
        logging.warning("%s cannot be read and is made again: %s", path, error)
        return None


def _keep(trained, path):
    new = path.with_name(f".{path.stem}.{os.getpid()}.keras")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        trained.save(new)
        os.replace(new, path)
    except OSError as error:
        logging.warning("The classifier is not kept for the next time: %s", error)
        with contextlib.suppress(OSError):
            new.unlink()


def _train(training):
    """Trains the classifier; a function of the images and labels alone."""
    network = _classifier(training.image_shape, int(training.labels.max()) + 1)
    network.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(1e-3, TRAINING_STEPS)
        ),
        keras.losses.SparseCategoricalCrossentropy(),
        jit_compile=False,
    )
    size = min(TRAINING_BATCH, training.num_images)
    order = training.order(size, run_seed=0)
    for chosen in itertools.islice(order, TRAINING_STEPS):
        network.train_on_batch(training[chosen], training.labels[chosen])
    return _with_features(network, training[:NUM_SCALING_IMAGES])


def _with_features(network, images):
    """The network with its last but one layer, in units of its r.m.s. on some images.

    The unit makes a score independent of a scale that means nothing.
    """
    features = keras.Model(network.inputs, network.layers[-2].output)
    scale = float(np.sqrt(np.mean(np.square(features.predict(images, verbose=0)))))
    scaled = keras.layers.Rescaling(1 / scale, **FLOAT)(network.layers[-2].output)
    return keras.Model(network.inputs, [scaled, network.output])


def _classifier(image_shape, num_classes):
    images = maps = keras.Input(image_shape, **FLOAT)
    for number, filters in enumerate(FILTERS):
        initializer = keras.initializers.HeUniform(seed=number)
        maps = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer=initializer,
            **LAST,
        )(maps)
        maps = keras.layers.MaxPooling2D(**LAST)(maps)
    flat = keras.layers.Flatten(**LAST)(maps)
    features = keras.layers.Dense(
        NUM_FEATURES,
        activation="relu",
        kernel_initializer=keras.initializers.HeUniform(seed=len(FILTERS)),
        **FLOAT,
    )(flat)
    classes = keras.layers.Dense(
        num_classes,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(seed=len(FILTERS) + 1),
        **FLOAT,
    )(features)
    return keras.Model(images, classes)


def inception(*, inception_weights: str | None = None) -> Extractor:
    """Keras' InceptionV3, trained on ImageNet, for images of any size and colour.

    Its weights and its resizing are not those of the network that published FIDs use:
    scores can only be compared with each other.

    Args:
      inception_weights: path of its weights, with the classes on top. Default: Keras
        downloads them into its cache, or finds them there.

    Returns:
      2,048 features, of images of any size, grey or RGB.

    Raises:
      ExtractorError: if the weights are not available or do not fit.
    """
    weights = inception_weights
    if weights and not Path(weights).is_file():
        found = "is not a file" if Path(weights).exists() else "does not exist"
        raise ExtractorError(f"`inception_weights`={weights} {found}.")
    try:
        network = keras.applications.InceptionV3(weights=weights or "imagenet")
    except Exception as error:  # no network, or other weights
        raise ExtractorError(
            "The weights of InceptionV3 are not available "
            f"({str(error).splitlines()[0]}). Where there is no network, bring that "
            "file (inception_v3_weights_tf_dim_ordering_tf_kernels.h5) and name it by "
            "`inception_weights`=FILE. Or take a network of your own, "
            "`extractor`=FILE.keras; for named data sets with labels, and folders of "
            "runs with `conditional`, there is `extractor`=classifier."
        ) from error
    network = keras.Model(
        network.inputs, [network.get_layer("avg_pool").output, network.output]
    )
    facts = {
        "network": "keras.applications.InceptionV3, 2,048 features (avg_pool)",
        "weights": Path(weights).name if weights else "imagenet",
        "resize": f"bilinear, to {INCEPTION_SIZE}x{INCEPTION_SIZE}",
        "note": "other weights and another resizing than those of published FIDs",
    }
    # Never "FID" alone: that is a number of another network's weights.
    return Extractor(
        "Keras InceptionV3",
        "FID (Keras InceptionV3)",
        facts,
        compiled(network, _for_inception),
    )


def _for_inception(images):
    size = (INCEPTION_SIZE, INCEPTION_SIZE)
    images = tf.image.resize(images, size, antialias=True)
    return tf.image.grayscale_to_rgb(images) if images.shape[-1] == 1 else images


def compiled(network: keras.Model, prepare: Callable = tf.identity) -> Callable:
    """A function of images in [-1, 1] that returns the network's outputs, as arrays."""
    function = tf.function(lambda images: network(prepare(images), training=False))
    # A network loaded from a file gives one output without a list.
    return lambda images: [
        part.numpy() for part in tf.nest.flatten(function(tf.constant(images)))
    ]
