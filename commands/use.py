"""The nets of a run for use, the images that they are used on, and samples."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from commands.devices import strategy
from coopnets_tf import conditional
from coopnets_tf.data import datasets, folders
from coopnets_tf.data import images as pictures
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import RunError
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.progress import batches_on_a_bar
from coopnets_tf.runs import folder, saving
from coopnets_tf.wording import counted, lengths, nearest

GRID = 100  # images of a grid, at most
CLIPS = 16  # of a film of samples
CLIP_MILLISECONDS = 40  # a frame; 25 a second
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


def sample(
    workdir: Path | str,
    *,
    checkpoint: str | int = "newest",
    trust_network: bool = False,
    output: Path | str | None = None,
    num_images: int = 64,
    revise_steps: int | None = None,
    seed: int = 0,
    format: str | None = None,
    image_size: str | None = None,
    latent_size: str | None = None,
    animation: str | None = None,
    label: str | None = None,
    devices: str = "1",
) -> Path:
    """Saves grids of samples, of clips films, too, and with `format` the images.

    ```python
    from commands import use

    folder = use.sample("runs/digits-1", num_images=16)
    ```

    Args:
      workdir, checkpoint, trust_network: see `opened`.
      output: new folder; default: the next free one in the run's.
      revise_steps: of D1, see `ImageModel.sample`.
      seed: image k depends on (seed, k) alone.
      format: "png", one file each, of clips one of each frame; "npy" or "npz" (key
        `images`, with classes also `labels`), uint8 [num_images, *image_shape]. None:
        no images but the grids.
      image_size, latent_size: of the samples, one of the two, such as "448x448" or
        "14x14"; see `ImageModel.of_size`. Default: as in training.
      animation: of clips, "gif", as None is, or "webp".
      label: see `labels_for`; "all" for as many of each class, in their order.
      devices: that share the work, see `opened`.

    Raises:
      RunError: on an animation of still images.
    """
    run_dir, model = opened(
        workdir,
        checkpoint,
        trust_network,
        revise_steps=revise_steps,
        devices=devices,
    )
    model = sized(model, image_size, latent_size)
    if animation and num_frames(model) is None:
        raise RunError(
            "`animation` is for clips, and samples of this run are still images. Leave "
            "it out, or take `mode`=interpolate."
        )
    labels = model.draw_labels(num_images, seed=seed)
    if label:
        labels = labels_for(run_dir, model, label, num_images, all_in_order=True)
    place = folder.new_output(output, run_dir, "sample")
    steps: dict[str, int | None] = {"generator": 0} if model.generator else {}
    if model.descriptor and (revise_steps != 0 or not model.generator):
        steps["descriptor"] = revise_steps
    for net, number in steps.items():
        few = min(num_images, GRID)
        own = labels if labels is None else labels[:few]
        shown = model.sample(few, seed=seed, num_steps=number, labels=own).numpy()
        pictures.save_png(place / f"{net}.png", pictures.grid(shown))
        if num_frames(model):
            frames = [pictures.grid(one) for one in shown[:CLIPS].swapaxes(0, 1)]
            path = place / f"{net}.{animation or 'gif'}"
            save_film(path, frames, CLIP_MILLISECONDS)
    if format:
        batches = model.sample_batches(
            num_images, seed=seed, num_steps=revise_steps, labels=labels
        )
        pixels = (pictures.to_uint8(batch) for batch in batches)
        _save_images(place, batches_on_a_bar(pixels, num_images), format, labels)
    print(f"Samples of step {int(model.step)}: {place}")
    return place


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
    names = class_names(run_dir, model)
    numbers = [str(one) for one in range(len(names))]
    for known in (names, numbers):
        if label in known:
            return conditional.rows(known.index(label), model.class_shares, number)
    raise RunError(
        f"`label` must be one of {', '.join(names)}. Received: {label}."
        f"{nearest(label, names)}"
    )


def class_names(run_dir: Path, model: ImageModel) -> list[str]:
    """Of the classes that nets are told, in their order; without names numbers."""
    numbers = [str(one) for one in range(model.num_classes)]
    return saving.description(run_dir).get("classes") or numbers


def sized(
    model: ImageModel, image_size: str | None, latent_size: str | None
) -> ImageModel:
    """The model for images of the size that was asked for, see `sample`."""
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


def _save_images(place, batches, format, labels):
    if format == "png":
        save_pngs(place / "images", batches)
        return
    pixels = np.concatenate(list(batches))
    if format == "npy":
        np.save(place / "images.npy", pixels)
    else:
        own = {} if labels is None else {"labels": np.argmax(labels, axis=1)}
        np.savez_compressed(place / "images.npz", images=pixels, **own)


def save_pngs(place: Path, batches: Iterable[np.ndarray]) -> None:
    """Images, uint8, as `<place>/<number>.png`, or clips as
    `<place>/<number>/<frame>.png`.
    """
    for number, image in enumerate(itertools.chain.from_iterable(batches)):
        if image.ndim == 4:
            save_pngs(place / f"{number:06d}", [image])
        else:
            pictures.save_png(place / f"{number:06d}.png", image)


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
      label: see `labels_for`. Default: the classes of the data set's images.

    Raises:
      RunError: on images for a model of clips, or for one of classes without `label`.
    """
    if images and not label and model.class_shares:
        raise RunError(
            "`images` have no class, and this run is one with `conditional`. Give "
            "`label`."
        )
    if images and num_frames(model):
        raise RunError(
            f"`images` are still, and those of this run are clips of "
            f"{num_frames(model)} frames. Leave it out."
        )
    if images:
        pixels, found = folders.read_files(
            images,
            image_shape=model.image_shape,
            number=number,
            resize=resize,
            grey_range=grey_range,
        )
        print(found)
        scaled = pictures.from_uint8(pixels)
        per_image = normalize == "per_image"
        if per_image:
            scaled = pictures.normalize_per_image(scaled)
        own = label and labels_for(run_dir, model, label, len(scaled))
        return Chosen(scaled, own, None)
    splits = datasets.load_splits(**data_of(run_dir, data))
    chosen = splits.test.shown(number)
    print(f"{splits.test.name}: {counted(len(chosen), splits.test.kind)}")
    rows = None
    if label:
        rows = labels_for(run_dir, model, label, len(chosen))
    elif model.class_shares:
        labels = _known_classes(run_dir, splits.test)[:number]
        rows = conditional.rows(labels, model.class_shares, len(chosen))
    return Chosen(chosen, rows, splits.training)


def _known_classes(run_dir, dataset):
    """The classes of images by the run's numbers, which are those of its names."""
    names = saving.description(run_dir).get("classes")
    own, labels = list(dataset.class_names or ()), dataset.known_labels
    if names is None or names == own:
        return labels
    if strangers := sorted(set(own) - set(names)):
        raise RunError(
            f"`dataset`={dataset.name} has classes that this run does not know: "
            f"{', '.join(strangers)}. Its own are {', '.join(names)}."
        )
    return np.array([names.index(own[one]) for one in labels], int)


def save_film(path: Path, frames: list[np.ndarray], milliseconds: int) -> None:
    """Saves pictures, uint8 [height, width, channels], as a film, a GIF or a WebP."""
    first, *others = [Image.fromarray(frame.squeeze()) for frame in frames]
    first.save(
        path,
        append_images=others,
        save_all=True,
        duration=milliseconds,
        loop=0,
    )
