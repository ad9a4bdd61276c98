"""Images along paths between latents of the nets of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from commands import by_class, use
from coopnets_tf import interpolation as paths
from coopnets_tf.data import drawing
from coopnets_tf.errors import DatasetError, RunError
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.runs import folder
from coopnets_tf.wording import counted

NUM_PATHS = 8  # of an interpolation, one a row
PLANE = 9  # latents of a plane either way, 0.5 apart
FRAMES = 24  # of an animation, one way; it goes there and back, or round a square
FRAME_MILLISECONDS = 80


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
      workdir, checkpoint, trust_network, output: see `sample.sample`.
      interpolation: "linear", "spherical", "corners" or, of latents of two numbers,
        "plane": see the module of that name.
      images: None for latents of the prior, or two images between whose latents the
        path goes, a great circle in place of corners.
      resize, normalize, grey_range: see `use.chosen_images`.
      infer_steps, infer_step_size: of G1, to find the latents of images; see
        `use.opened`.
      seed: of the ends, or of their inference.
      animation: None, "gif" or "webp".
      label: see `by_class.labels_for`; or two with a comma between them, from the
        first, on the left, to the second. Needed by nets that are told classes.

    Raises:
      DatasetError: on any but two images.
      RunError: on a plane of other latents, or between images; if `label` is missing.
    """
    run_dir, model = use.opened(
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
        options["label"] = label and label.partition(",")[0]  # theirs are `classes`
        ends, _, _ = use.chosen_images(model, run_dir, 3, data=None, **options)
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
    grid = drawing.grid(generated(model, path), num_columns=path.shape[1])
    drawing.save_png(place / f"{kind}.png", grid)
    if ends is not None:
        drawing.save_png(place / "ends.png", drawing.grid(ends))
    if animation:
        frames = _frames(kind, with_classes(classes, _path(kind, latents, FRAMES)))
        frames = [drawing.grid(generated(model, frame)) for frame in frames]
        drawing.save_film(place / f"{kind}.{animation}", frames, FRAME_MILLISECONDS)
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
                "Nets that are told classes need `label`, one of "
                f"{', '.join(by_class.names(run_dir, model))}; to interpolate between "
                "two, both with a comma."
            )
        return np.zeros([2, 0])
    first, _, second = label.partition(",")
    ends = (first, second or first)
    return np.concatenate([by_class.labels_for(run_dir, model, one, 1) for one in ends])


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
