"""Classes as users name them, and as the nets of a run are told them."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from coopnets_tf import conditional
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import RunError
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.runs import saving
from coopnets_tf.wording import nearest


def names(run_dir: Path, model: ImageModel) -> list[str]:
    """Of the classes that nets are told, in their order; without names numbers."""
    numbers = [str(one) for one in range(model.num_classes)]
    return saving.description(run_dir).get("classes") or numbers


def labels_for(
    run_dir: Path,
    model: ImageModel,
    label: str,
    number: int,
    *,
    all_in_order: bool = False,
) -> tf.Tensor:
    """The classes of `number` images as rows, see `conditional`.

    Args:
      label: a class, by its number or name.
      all_in_order: it may also be "all", as many of each in their order.

    Raises:
      RunError: if the nets are told no classes, or there is no such one.
    """
    if model.class_shares is None:
        raise RunError(
            f"`label` is for runs with `conditional`, and {run_dir} is none. Leave it "
            "out."
        )
    if label == "all" and all_in_order:
        return model.labels_in_order(number)
    own = names(run_dir, model)
    numbers = [str(one) for one in range(len(own))]
    for known in (own, numbers):
        if label in known:
            return conditional.rows(known.index(label), model.class_shares, number)
    hint = "" if label.isdigit() else nearest(label, own)
    raise RunError(f"`label` must be one of {', '.join(own)}. Received: {label}.{hint}")


def of_images(run_dir: Path, dataset: ImageDataset) -> np.ndarray:
    """The classes of images by the run's numbers, which are those of its names.

    Returns:
      int [number].

    Raises:
      DatasetError: if the images have no classes.
      RunError: if they have one that the run does not know.
    """
    known = saving.description(run_dir).get("classes")
    own, labels = list(dataset.class_names or ()), dataset.known_labels
    if known is None or known == own:
        return labels
    if strangers := sorted(set(own) - set(known)):
        raise RunError(
            f"`dataset`={dataset.name} has classes that this run does not know: "
            f"{', '.join(strangers)}. Its own are {', '.join(known)}."
        )
    return np.array([known.index(own[one]) for one in labels], int)
