"""A feature extractor of the user's own: any Keras network that takes images."""

import hashlib
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from coopnets_tf.errors import ExtractorError
from coopnets_tf.evaluation.features import Extractor, compiled
from coopnets_tf.wording import nearest, one_line

MAX_FEATURES = 8_192  # whose covariance takes minutes already
MAX_SCALE = 1 / 100  # of a Rescaling that begins with pixels from 0 to 255


def from_file(
    path: Path | str, image_shape: tuple[int, ...], *, layer: str | None = None
) -> Extractor:
    """Takes features from a network in a .keras file. No code in the file is run.

    Images are resized to what the network takes, and grey ones repeated to three
    channels. It is given pixels in [-1, 1], or in [0, 255] if it begins with a
    `Rescaling` by 1/100 or less, as many in `keras.applications` do.

    Args:
      image_shape: [height, width, channels], of the images that it will see.
      layer: name of the layer whose output has the features. Default: what goes into
        the last layer if that is `Dense`, else the network's output. Of maps the mean
        over their pixels.

    Returns:
      An extractor with the name of the file; with classes if the network ends in a
      softmax. Its facts have a digest of the file.

    Raises:
      ExtractorError: if it is no such network, or does not take these images.
    """
    path = Path(path)
    network, features, prepare, facts = _opened(path, image_shape, layer)
    pixels = tuple(range(1, len(features.shape) - 1))
    features = keras.ops.cast(keras.ops.mean(features, axis=pixels), "float32")
    has_classes = _ends_in_softmax(network)
    classes = network.outputs[0] if has_classes else features[:, :0]
    see = compiled(keras.Model(network.inputs, [features, classes]), prepare)
    number = _num_features(see, image_shape, path)
    facts["network"] = f"{path.name}, {number:,} features ({facts.pop('source')})"
    return Extractor(path.stem, f"Frechet ({path.stem})", facts, see, has_classes)


def maps_of_file(
    path: Path | str, image_shape: tuple[int, ...], *, layer: str | None = None
) -> tuple[Callable, dict[str, Any]]:
    """A network in a .keras file as a function: images -> a layer's maps of answers.

    Arguments, resizing and pixels as for `from_file`; the layer must have maps.

    Returns:
      images float32 [batch, *image_shape] -> [[batch, rows, columns, filters]]; facts.

    Raises:
      ExtractorError: if it is no such network or layer.
    """
    if path in ("classifier", "inception"):
        raise ExtractorError(
            f"`extractor`={path} has no maps to compare images by. Give a .keras file "
            "with maps, or leave it out."
        )
    path = Path(path)
    network, maps, prepare, facts = _opened(path, image_shape, layer)
    if len(maps.shape) != 4:
        raise ExtractorError(
            f"`extractor`={path} must answer in maps, [rows, columns, filters], to "
            f"compare images by them. Received: {list(maps.shape[1:])} "
            f"{facts['source']}. Name a layer by `layer`."
        )
    facts["network"] = f"{path.name}, maps {facts.pop('source')}"
    maps = keras.ops.cast(maps, "float32")
    see = compiled(keras.Model(network.inputs, [maps]), prepare)
    _try(see, image_shape, path)
    return see, facts


def _opened(path, image_shape, layer):
    """A file's network, the chosen output, what images need before, and facts."""
    network = _load(path)
    height, width, channels = _input_shape(network, path)
    if channels < image_shape[-1]:
        raise ExtractorError(
            f"`extractor`={path} takes grey images, and these are in colour. Give "
            "another."
        )
    features, source = _chosen(network, layer, path)
    size = height or image_shape[0], width or image_shape[1]
    is_scaling = _takes_bytes(network)

    def prepare(images):
        if size != images.shape[1:3]:
            images = tf.image.resize(images, size, antialias=True)
        if channels > images.shape[-1]:
            images = tf.image.grayscale_to_rgb(images)
        return (images + 1) * 127.5 if is_scaling else images

    facts: dict[str, Any] = {
        "source": source,
        "file": path.name,
        "digest": hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest(),
        "input": [*size, channels],
        "resize": "none" if size == image_shape[:2] else "bilinear",
        "pixels": "[0, 255]" if is_scaling else "[-1, 1]",
    }
    return network, features, prepare, facts


def _load(path):
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a damaged file fails in many ways
        raise ExtractorError(
            f"`extractor`={path} must be a .keras file of Keras' own layers, without a "
            f"Lambda. Received: {textwrap.shorten(one_line(error), 120)}"
        ) from error


def _input_shape(network, path):
    try:
        [[batch, *shape]] = [one.shape for one in network.inputs]
        [_] = network.outputs
        if batch is None and len(shape) == 3 and shape[-1] in (1, 3):
            return shape
        received = f"input {(batch, *shape)}"
    except (AttributeError, TypeError, ValueError):
        received = "not one built input and output"
    raise ExtractorError(
        f"`extractor`={path} must be a network of images, with an input of (None, "
        f"height, width, 1 or 3) and one output. Received: {received}."
    )


def _chosen(network, layer, path):
    """The layer's output, and where that is, in words."""
    if layer is None:
        return _before_classes(network)
    names = [one.name for one in network.layers]
    if layer not in names:
        raise ExtractorError(
            f"`layer` must be a layer of {path}: {', '.join(names[-5:])}, or "
            f"one before. Received: {layer}.{nearest(layer, names)}"
        )
    output = network.get_layer(layer).output
    if not isinstance(output, keras.KerasTensor) or len(output.shape) < 2:
        raise ExtractorError(
            f"`layer`={layer} must have one output, of vectors or maps."
        )
    return output, f"of layer {layer}"


def _before_classes(network):
    last = network.layers[-1]
    if isinstance(last, keras.Model):  # one within the other
        inner, source = _before_classes(last)
        return keras.Model(last.inputs, inner)(last.input), source
    if isinstance(last, (keras.layers.Activation, keras.layers.Softmax)):
        last = network.layers[-2:][0]
    if isinstance(last, keras.layers.Dense):
        return last.input, f"into layer {last.name}"
    return network.outputs[0], "its output"


def _ends_in_softmax(network):
    last = network.layers[-1]
    if isinstance(last, keras.Model):
        return _ends_in_softmax(last)
    softmax = isinstance(last, keras.layers.Softmax) or (
        getattr(last, "activation", None) is keras.activations.softmax
    )
    shape = network.outputs[0].shape
    return softmax and len(shape) == 2 and shape[-1] >= 2


def _takes_bytes(network):
    begins = keras.layers.InputLayer
    first = next((one for one in network.layers if not isinstance(one, begins)), None)
    if isinstance(first, keras.Model):
        return _takes_bytes(first)
    if isinstance(first, keras.layers.Rescaling):
        return bool(np.max(np.abs(first.scale)) <= MAX_SCALE)
    return False


def _num_features(see, image_shape, path):
    features = _try(see, image_shape, path)
    if features.ndim == 2 and features.shape[1] <= MAX_FEATURES:
        return features.shape[1]
    raise ExtractorError(
        f"`extractor`={path} makes {features.size:,} features of an image, more than "
        f"{MAX_FEATURES:,}. Name another layer by `layer`."
    )


def _try(see, image_shape, path):
    """The first answer to an image; what does not fit is refused at once."""
    refusal = (
        f"`extractor`={path} does not take images of {'x'.join(map(str, image_shape))}"
    )
    try:
        answers, *_ = see(np.zeros((1, *image_shape), np.float32))
    except Exception as error:  # such as too few pixels for its strides
        raise ExtractorError(
            f"{refusal}: {textwrap.shorten(one_line(error), 120)}"
        ) from error
    if not np.size(answers):
        raise ExtractorError(f"{refusal}: no place is left of its maps")
    return answers
