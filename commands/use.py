"""Samples and interpolations of the nets of a run; each returns its new folder."""

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
from coopnets_tf import interpolation as paths
from coopnets_tf.data import datasets, folders
from coopnets_tf.data import images as pictures
from coopnets_tf.data.datasets import ImageDataset
from coopnets_tf.errors import DatasetError, RunError
from coopnets_tf.image_model import ImageModel
from coopnets_tf.progress import batches_on_a_bar
from coopnets_tf.runs import folder, saving
from coopnets_tf.wording import counted, lengths, nearest

GRID = 100  # images of a grid, at most
NUM_PATHS = 8  # of an interpolation, one a row
PLANE = 9  # latents of a plane either way, 0.5 apart
FRAMES = 24  # of an animation, one way; it goes there and back, or round a square
FRAME_MILLISECONDS = 80
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
    """Grids of the nets' samples, of clips films, too; by `format` the images also.

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
            _save_film(path, frames, CLIP_MILLISECONDS)
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
    numbers = [str(one) for one in range(len(model.class_shares))]
    names = saving.description(run_dir).get("classes") or numbers
    for known in (names, numbers):
        if label in known:
            return conditional.rows(known.index(label), model.class_shares, number)
    raise RunError(
        f"`label` must be one of {', '.join(names)}. Received: {label}."
        f"{nearest(label, names)}"
    )


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
        labels = splits.test.known_labels[:number]
        rows = conditional.rows(labels, model.class_shares, len(chosen))
    return Chosen(chosen, rows, splits.training)


def interpolate(
    workdir: Path | str,
    *,
    checkpoint: str | int = "newest",
    trust_network: bool = False,
    output: Path | str | None = None,
    interpolation: str = "corners",
    images: list[str] | None = None,
    resize: str = "crop",
    normalize: str = "fixed",
    grey_range: str | None = None,
    infer_steps: int = 300,
    infer_step_size: float | None = None,
    seed: int = 0,
    animation: str | None = None,
    label: str | None = None,
) -> Path:
    """Images along paths between latents: a grid, and by `animation` a film.

    Args:
      workdir, checkpoint, trust_network, output: see `sample`.
      interpolation: "linear", "spherical", "corners" or, of latents of two numbers,
        "plane": see the module of that name.
      images: None for latents of the prior, or two images between whose latents the
        path goes, a great circle in place of corners.
      resize, normalize, grey_range: see `chosen_images`.
      infer_steps, infer_step_size: of G1, to find the latents of images; see `opened`.
      seed: of the ends, or of their inference.
      animation: None, "gif" or "webp".
      label: see `labels_for`; or two with a comma between them, from the first, on the
        left, to the second. Needed by nets that are told classes.

    Raises:
      DatasetError: on any but two images.
      RunError: on a plane of other latents, or between images; if `label` is missing.
    """
    run_dir, model = opened(
        workdir,
        checkpoint,
        trust_network,
        generator_for="`mode`=interpolate",
        infer_step_size=infer_step_size,
    )
    if interpolation == "plane":
        _refuse_other_planes(model, images)
    classes = both_classes(run_dir, model, label)
    folder.refuse_used(output)
    kind, ends = interpolation, None
    if images:
        options: Any = {"images": images, "resize": resize, "normalize": normalize}
        options["grey_range"] = grey_range
        options["label"] = label and label.partition(",")[0]  # of both, see below
        ends, _, _ = chosen_images(model, run_dir, 3, data=None, **options)
        if len(ends) != 2:
            raise DatasetError(
                f"`images`: an interpolation has two ends. Received: {len(ends)}."
            )
        kind = "spherical" if kind == "corners" else kind
        rows = classes if model.class_shares else None
        latents = model.infer(ends, num_steps=infer_steps, seed=seed, labels=rows)
        latents = latents.numpy().reshape(2, 1, -1)
    else:
        latents = None if kind == "plane" else drawn(model, kind, seed)
    place = folder.new_output(output, run_dir, "interpolate")
    number = PLANE if kind == "plane" else NUM_PATHS
    path = with_classes(classes, _path(kind, latents, number))
    grid = pictures.grid(generated(model, path), num_columns=path.shape[1])
    pictures.save_png(place / f"{kind}.png", grid)
    if ends is not None:
        pictures.save_png(place / "ends.png", pictures.grid(ends))
    if animation:
        frames = _frames(kind, with_classes(classes, _path(kind, latents, FRAMES)))
        frames = [pictures.grid(generated(model, frame)) for frame in frames]
        _save_film(place / f"{kind}.{animation}", frames, FRAME_MILLISECONDS)
    print(f"Interpolation: {place}")
    return place


def _refuse_other_planes(model, images):
    length = np.prod(model.generator.latent_shape)
    if length != 2:
        raise RunError(
            "`interpolation`=plane needs a run with `latent_size`=2. Received: "
            f"latents of {counted(int(length), 'numbers')}. Take another "
            "`interpolation`."
        )
    if images:
        raise RunError(
            "`interpolation`=plane is of all latents, and not between two. Leave out "
            "`images`, or take spherical or linear."
        )


def both_classes(run_dir: Path, model: ImageModel, label: str | None) -> np.ndarray:
    """Rows of the class on the left of a path and of that on its right, [2, number of
    classes]; that is 0 where the nets are told none.

    Raises:
      RunError: if there is no such class, or a label is missing.
    """
    if not label:
        if model.class_shares:
            raise RunError(
                "Nets that are told classes need `label`, such as 3, or 3,8 from one "
                "to the other."
            )
        return np.zeros([2, 0])
    first, _, second = label.partition(",")
    ends = [labels_for(run_dir, model, one, 1) for one in (first, second or first)]
    return np.concatenate(ends)


def with_classes(classes: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Latents of a path, [rows, columns, length], with rows of `both_classes` behind
    them, from the left to the right.
    """
    between = paths.linear(classes[0], classes[1], path.shape[1])
    between = np.broadcast_to(between, (*path.shape[:2], between.shape[-1]))
    return np.concatenate([path, between], axis=-1)


def drawn(model: ImageModel, kind: str, seed: int) -> np.ndarray:
    """Latents of the prior: the four corners, [4, length], or two ends of each path."""
    generator: Any = model.generator
    number = 4 if kind == "corners" else 2 * NUM_PATHS
    shape = (number, int(np.prod(generator.latent_shape)))
    latents = np.random.default_rng(seed).standard_normal(shape)
    return latents if kind == "corners" else latents.reshape(2, NUM_PATHS, -1)


def _path(kind, latents, num_points):
    if kind == "plane":
        return paths.plane(num_points)
    if kind == "corners":
        return paths.four_corners(latents, num_points)
    start, end = latents
    along = {"linear": paths.linear, "spherical": paths.spherical}[kind]
    return along(start, end, num_points)


def _frames(kind, path):
    """The latents of one frame after the other: there and back, or round the square."""
    if kind in ("corners", "plane"):
        edges = path[0], path[1:, -1], path[-1, -2::-1], path[-2:0:-1, 0]
        return list(np.concatenate(edges)[:, None])
    frames = path.swapaxes(0, 1)
    return [*frames, *frames[-2:0:-1]]


def generated(model: ImageModel, path: np.ndarray) -> tf.Tensor:
    """Images of latents, [..., length], with rows of their classes behind them where
    the nets are told any; one after the other.
    """
    generator: Any = model.generator
    shape = (-1, *generator.latent_shape)
    length = int(np.prod(shape[1:]))
    latents = path[..., :length].reshape(shape).astype(np.float32)
    labels = path[..., length:].reshape(len(latents), -1)
    return model.generate(latents, labels=labels if model.class_shares else None)


def _save_film(path, frames, milliseconds):
    frames = [Image.fromarray(frame.squeeze()) for frame in frames]
    frames[0].save(
        path,
        append_images=frames[1:],
        save_all=True,
        duration=milliseconds,
        loop=0,
    )
