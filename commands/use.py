"""The nets of a run for use, and the images that they are used on."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from commands import by_class
from commands.devices import strategy
from coopnets_tf import conditional
from coopnets_tf.data import datasets, folders
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.data.images import from_uint8, normalize_per_image
from coopnets_tf.errors import RunError
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.runs import folder, saving
from coopnets_tf.wording import counted, lengths

GRID = 100  # images of a grid, at most
Data = Mapping[str, Any]  # arguments of `datasets.load_splits`


def opened(
    workdir: Path | str,
    checkpoint: str | int = "newest",
    trust_network: bool = False,
    *,
    revise_steps: int | None = None,
    generator_for: str | None = None,
    infer_step_size: float | None = None,
    devices: str = "1",
) -> tuple[Path, ImageModel]:
    """The folder of a run and its nets, frozen.

    Args:
      checkpoint, trust_network: see `coopnets_tf.load`.
      revise_steps: of D1, which need a descriptor.
      generator_for: what needs a generator.
      infer_step_size: delta of G1, in place of that of the training.
      devices: that share the drawing of samples, see `commands.devices`.

    Raises:
      RunError: if there is no such run, or it lacks that net.
    """
    run_dir = folder.find_run(workdir)
    with strategy(devices).scope():
        model = saving.load(run_dir, checkpoint=checkpoint, trust_network=trust_network)
    if generator_for and model.generator is None:
        raise RunError(
            f"{generator_for} needs a generator. Received: {run_dir}, a run of "
            "`algorithm`=descriptor. Use `mode`=sample, show, recover, evaluate or "
            "export."
        )
    if revise_steps and model.descriptor is None:
        raise RunError(
            f"`revise_steps`={revise_steps} needs a descriptor, and this is a run of "
            "`algorithm`=generator. Leave it out."
        )
    if infer_step_size and model.generator:
        model.generator.inference = dataclasses.replace(
            model.generator.inference, step_size=infer_step_size
        )
    return run_dir, model


def data_of(run_dir: Path, data: Data | None) -> Data:
    """Which images are asked for: `data`, or those that the run was trained on."""
    return saving.dataset_of(run_dir) if data is None else data


def sized(
    model: ImageModel, image_size: str | None, latent_size: str | None
) -> ImageModel:
    """The model for images of the size that was asked for, see `ImageModel.of_size`."""
    if image_size:
        sides = lengths(image_size)
        return model.of_size(image_size=sides if len(sides) > 1 else sides * 2)
    if latent_size:
        return model.of_size(latent_size=lengths(latent_size))
    return model


def num_frames(model: ImageModel) -> int | None:
    """How many frames the images of a model of clips have; None for still ones."""
    frames, *still = model.image_shape
    return frames if len(still) == 3 else None


class Chosen(NamedTuple):
    """Real images to work on."""

    images: np.ndarray  # [number, *image_shape] in [-1, 1]
    labels: tf.Tensor | None  # rows of their classes, where the nets are told any
    training: ImageDataset | None  # what the run was trained on, of its own data set


def chosen_images(
    model: ImageModel,
    run_dir: Path,
    number: int,
    *,
    images: list[str] | None,
    data: Data | None,
    resize: str,
    normalize: str,
    grey_range: str | None,
    label: str | None = None,
) -> Chosen:
    """The user's images, or some of the run's data set; says which.

    Args:
      number: at most that many.
      images: files and other places. None: the data set.
      data: see `data_of`.
      resize, normalize, grey_range: of `images`, see `folders.read_files` and
        `datasets.load_splits`.
      label: see `by_class.labels_for`. Default: the classes of the data set's images.

    Raises:
      RunError: on images for a model of clips, or for one of classes without `label`;
        if there is no such class.
      DatasetError: if the images cannot be read.
    """
    if not images:
        return _of_the_data_set(model, run_dir, number, data_of(run_dir, data), label)
    _refuse_images(model, label)
    options = {"resize": resize, "grey_range": grey_range}
    own = _own_images(model, images, number, normalize == "per_image", options)
    rows = by_class.labels_for(run_dir, model, label, len(own)) if label else None
    return Chosen(own, rows, None)


def _refuse_images(model, label):
    """Stops where images of the user's do not suit a model."""
    if not label and model.class_shares:
        raise RunError(
            "`images` have no class, and this run is one with `conditional`. Give "
            "`label`."
        )
    if frames := num_frames(model):
        raise RunError(
            f"`images` are still, and those of this run are clips of {frames} frames. "
            "Leave it out."
        )


def _own_images(model, images, number, per_image, options):
    """Those of files, [number, *image_shape]; says what was found."""
    pixels, found = folders.read_files(
        images, image_shape=model.image_shape, number=number, **options
    )
    print(found)
    scaled = from_uint8(pixels)
    return normalize_per_image(scaled) if per_image else scaled


def _of_the_data_set(model, run_dir, number, data, label):
    """Images that were held out, with their classes; says which."""
    splits = datasets.load_splits(**data)
    chosen = splits.test.shown(number)
    print(f"{splits.test.name}: {counted(len(chosen), splits.test.kind)}")
    rows = None
    if label:
        rows = by_class.labels_for(run_dir, model, label, len(chosen))
    elif model.class_shares:
        labels = by_class.of_images(run_dir, splits.test)[:number]
        rows = conditional.rows(labels, model.class_shares, len(chosen))
    return Chosen(chosen, rows, splits.training)
