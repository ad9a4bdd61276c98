"""Images along paths between latents of the nets of a run."""

from pathlib import Path

import numpy as np

from commands import use
from commands.paths import between, both_classes, drawn, frames, generated, with_classes
from coopnets_tf.data import drawing
from coopnets_tf.errors import DatasetError, RunError
from coopnets_tf.runs import folder
from coopnets_tf.wording import counted

NUM_POINTS = 8  # of a path, ends included
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

    Returns:
      The new folder.

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
    kind, ends, latents = interpolation, None, None
    if images:
        options = {"resize": resize, "normalize": normalize, "grey_range": grey_range}
        ends = _own_ends(run_dir, model, images, label, options)
        kind = "spherical" if kind == "corners" else kind
        latents = _explaining(model, ends, classes, infer_steps, seed)
    elif kind != "plane":
        latents = drawn(model, kind, seed)
    place = folder.new_output(output, run_dir, "interpolate")
    number = PLANE if kind == "plane" else NUM_POINTS
    path = with_classes(classes, between(kind, latents, number))
    grid = drawing.grid(generated(model, path), num_columns=path.shape[1])
    drawing.save_png(place / f"{kind}.png", grid)
    if ends is not None:
        drawing.save_png(place / "ends.png", drawing.grid(ends))
    if animation:
        path = with_classes(classes, between(kind, latents, FRAMES))
        film = [drawing.grid(generated(model, frame)) for frame in frames(kind, path)]
        drawing.save_film(place / f"{kind}.{animation}", film, FRAME_MILLISECONDS)
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


def _own_ends(run_dir, model, images, label, options):
    """Two images of the user's, [2, *image_shape]."""
    first = label and label.partition(",")[0]  # the path has the classes of both
    ends, _, _ = use.chosen_images(
        model, run_dir, 3, images=images, data=None, label=first, **options
    )
    if len(ends) != 2:
        raise DatasetError(
            f"`images`: an interpolation has two ends. Received: {len(ends)}."
        )
    return ends


def _explaining(model, ends, classes, infer_steps, seed):
    """Latents of two images by G1, the ends of one path, [2, 1, length]."""
    rows = classes if model.class_shares else None
    latents = model.infer(ends, num_steps=infer_steps, seed=seed, labels=rows)
    return latents.numpy().reshape(2, 1, -1)
