"""What is drawn of each net to be scored, and what an evaluation of it found."""

from typing import Any, NamedTuple

import numpy as np

from coopnets_tf.data import images
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import NotFinite
from coopnets_tf.models.image_model import ImageModel


class Evaluation(NamedTuple):
    """What an evaluation found."""

    report: dict[str, Any]  # that JSON can hold
    pictures: dict[str, np.ndarray]  # uint8 [height, width, channels]
    scored: dict[str, ImageDataset]  # what has scores
    reference: ImageDataset


def nets(model: ImageModel) -> list[str]:
    """The nets whose images are scored, the one that makes the final images last."""
    names = ["generator"] if model.generator else []
    if model.revision_steps or not names:
        names.append("descriptor")
    return names


def final_net(model: ImageModel) -> str:
    """The net that makes the final images: what the pictures show."""
    return nets(model)[-1]


def samples(net: str, model: ImageModel, number: int, *, seed: int) -> ImageDataset:
    """Images of one net, as uint8 pixels.

    Raises:
      NotFinite: if they contain NaN or infinity.
    """
    pixels, steps = [], 0 if net == "generator" else None
    labels = model.draw_labels(number, seed=seed)
    options: Any = {"num_steps": steps, "labels": labels}
    for batch in model.sample_batches(number, seed=seed, **options):
        if not np.isfinite(batch).all():
            raise NotFinite(net)
        pixels.append(images.to_uint8(batch))
    classes = None if labels is None else np.argmax(labels, axis=1)
    return ImageDataset(net, np.concatenate(pixels), labels=classes, kind="samples")


def samples_by_net(
    model: ImageModel, number: int, *, seed: int
) -> dict[str, ImageDataset]:
    """As many images of each of `nets`.

    Raises:
      NotFinite: if they contain NaN or infinity.
    """
    return {net: samples(net, model, number, seed=seed) for net in nets(model)}
