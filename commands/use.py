"""What is done with the nets of a run; each mode fills one new folder."""

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from coopnets_tf import interpolation as paths
from coopnets_tf.data import datasets, folders, masks
from coopnets_tf.data import images as pictures
from coopnets_tf.errors import DatasetError, RunError
from coopnets_tf.evaluation import recovery, reports
from coopnets_tf.files import write_json
from coopnets_tf.image_model import ImageModel
from coopnets_tf.runs import folder, saving

GRID = 100  # images of a grid, at most
NUM_PATHS = 8  # of an interpolation, one a row
FRAMES = 24  # of an animation, one way; it goes there and back, or round a square
FRAME_MILLISECONDS = 80
Data = Mapping[str, Any]  # arguments of `datasets.load_splits`


def opened(
    workdir: Path | str | None,
    checkpoint: str | int = "newest",
    trust_network: bool = False,
    *,
    revise_steps: int | None = None,
    generator_for: str | None = None,
) -> tuple[Path, ImageModel]:
    """The folder of a run and its nets, frozen.

    Args:
      workdir: folder of the run.
      checkpoint, trust_network: see `coopnets_tf.load`.
      revise_steps: of D1, which need a descriptor.
      generator_for: what needs a generator.

    Raises:
      RunError: if there is no such run, or it lacks that net.
    """
    run_dir = folder.find_run(workdir)
    model = saving.load(run_dir, checkpoint=checkpoint, trust_network=trust_network)
    if generator_for and model.generator is None:
        raise RunError(
            f"{generator_for} needs a generator. Received: {run_dir}, a run of "
            "`algorithm`=descriptor. Use `mode`=sample, recover, evaluate or export."
        )
    if revise_steps and model.descriptor is None:
        raise RunError(
            f"`revise_steps`={revise_steps} needs a descriptor, and this is a run of "
            "`algorithm`=generator. Leave it out."
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
) -> Path:
    """Grids of the nets' samples, and by `format` the images themselves.

    ```python
    from commands import use

    folder = use.sample("runs/digits-1", num_images=16)
    ```

    Args:
      workdir, checkpoint, trust_network: see `opened`.
      output: new folder; default: the next free one in the run's.
      num_images: their number.
      revise_steps: of D1, see `ImageModel.sample`.
      seed: image k depends on (seed, k) alone.
      format: None; "png", one file each; "npy" or "npz" (key `images`), uint8
        [num_images, height, width, channels].

    Returns:
      The folder that was filled.
    """
    run_dir, model = opened(
        workdir, checkpoint, trust_network, revise_steps=revise_steps
    )
    place = folder.new_output(output, run_dir, "sample")
    shown = min(num_images, GRID)
    if model.generator:
        grid = pictures.grid(model.sample(shown, seed=seed, num_steps=0))
        pictures.save_png(place / "generator.png", grid)
    if model.descriptor and (revise_steps != 0 or not model.generator):
        grid = pictures.grid(model.sample(shown, seed=seed, num_steps=revise_steps))
        pictures.save_png(place / "descriptor.png", grid)
    if format:
        batches = model.sample_batches(num_images, seed=seed, num_steps=revise_steps)
        pixels = (pictures.to_uint8(batch) for batch in batches)
        _save_images(place, _counted(num_images, pixels), format)
    print(f"Samples of step {int(model.step)}: {place}")
    return place


def _save_images(place, batches, format):
    if format == "png":
        save_pngs(place / "images", batches)
        return
    pixels = np.concatenate(list(batches))
    if format == "npy":
        np.save(place / "images.npy", pixels)
    else:
        np.savez_compressed(place / "images.npz", images=pixels)


def save_pngs(place: Path, batches: Iterable[np.ndarray]) -> None:
    """Images, uint8, as `<place>/<number>.png`."""
    for number, image in enumerate(itertools.chain.from_iterable(batches)):
        pictures.save_png(place / f"{number:06d}.png", image)


def _counted(number: int, batches: Iterable) -> Iterator:
    """The batches, counted on a bar where the output is a terminal."""
    bar = (
        keras.utils.Progbar(number, unit_name="image") if sys.stdout.isatty() else None
    )
    for batch in batches:
        yield batch
        if bar:
            bar.add(len(batch))


def chosen_images(
    model: ImageModel,
    run_dir: Path,
    number: int,
    *,
    images: list[str] | None,
    data: Data | None,
    resize: str,
    normalize: str,
) -> np.ndarray:
    """The user's own images, or some of the run's data set; says which.

    Args:
      model: for whose images.
      run_dir: folder of the run.
      number: at most that many.
      images: files and folders of the user's own.
      data: see `data_of`.
      resize, normalize: of own images, see `folders.read_files` and
        `datasets.load_splits`.
    """
    if images:
        shape = model.image_shape
        pixels = folders.read_files(
            images, image_shape=shape, resize=resize, number=number
        )
        print(f"{len(pixels)} of your own images")
        scaled = pictures.from_uint8(pixels)
        per_image = normalize == "per_image"
        return pictures.normalize_per_image(scaled) if per_image else scaled
    test = datasets.load_splits(**data_of(run_dir, data)).test
    chosen = test[:number]
    print(f"{test.name}: {len(chosen)} {test.kind}")
    return chosen


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
    infer_steps: int = 300,
    seed: int = 0,
    animation: str | None = None,
) -> Path:
    """Images along paths between latents: a grid, and by `animation` a film.

    Args:
      workdir, checkpoint, trust_network, output: see `sample`.
      interpolation: "linear", "spherical", or "corners": see the module of that name.
      images: None for latents of the prior, or two images between whose latents the
        path goes, a great circle in place of corners.
      resize, normalize: see `chosen_images`.
      infer_steps: of G1, to find the latents of images.
      seed: of the ends, or of their inference.
      animation: None, "gif" or "webp".

    Returns:
      The folder that was filled.

    Raises:
      DatasetError: on any but two images.
    """
    run_dir, model = opened(
        workdir, checkpoint, trust_network, generator_for="`mode`=interpolate"
    )
    kind, ends = interpolation, None
    if images:
        ends = chosen_images(
            model,
            run_dir,
            3,
            images=images,
            data=None,
            resize=resize,
            normalize=normalize,
        )
        if len(ends) != 2:
            raise DatasetError(
                f"`images`: an interpolation has two ends. Received: {len(ends)}."
            )
        kind = "spherical" if kind == "corners" else kind
        latents = model.infer(ends, num_steps=infer_steps, seed=seed).numpy()
        latents = latents.reshape(2, 1, -1)
    else:
        number = 4 if kind == "corners" else 2 * NUM_PATHS
        shape = (number, int(np.prod(model.generator.latent_shape)))
        latents = np.random.default_rng(seed).standard_normal(shape)
        latents = latents if kind == "corners" else latents.reshape(2, NUM_PATHS, -1)
    place = folder.new_output(output, run_dir, "interpolate")
    grid = pictures.grid(
        _generate(model, _path(kind, latents, NUM_PATHS)), num_columns=NUM_PATHS
    )
    pictures.save_png(place / f"{kind}.png", grid)
    if ends is not None:
        pictures.save_png(place / "ends.png", pictures.grid(ends))
    if animation:
        frames = _frames(kind, _path(kind, latents, FRAMES))
        frames = [pictures.grid(_generate(model, frame)) for frame in frames]
        _save_film(place / f"{kind}.{animation}", frames)
    print(f"Interpolation: {place}")
    return place


def _path(kind, latents, num_points):
    if kind == "corners":
        return paths.four_corners(latents, num_points)
    return {"linear": paths.linear, "spherical": paths.spherical}[kind](
        *latents, num_points
    )


def _frames(kind, path):
    """The latents of one frame after the other: there and back, or round the square."""
    if kind == "corners":
        edges = path[0], path[1:, -1], path[-1, -2::-1], path[-2:0:-1, 0]
        return list(np.concatenate(edges)[:, None])
    frames = path.swapaxes(0, 1)
    return [*frames, *frames[-2:0:-1]]


def _generate(model, latents):
    shape = (-1, *model.generator.latent_shape)
    return model.generate(latents.reshape(shape).astype(np.float32))


def _save_film(path, frames):
    frames = [Image.fromarray(frame.squeeze()) for frame in frames]
    frames[0].save(
        path,
        append_images=frames[1:],
        save_all=True,
        duration=FRAME_MILLISECONDS,
        loop=0,
    )


def reconstruct(
    workdir: Path | str,
    *,
    checkpoint: str | int = "newest",
    trust_network: bool = False,
    output: Path | str | None = None,
    images: list[str] | None = None,
    data: Data | None = None,
    resize: str = "crop",
    normalize: str = "fixed",
    num_images: int = 64,
    infer_steps: int = 300,
    seed: int = 0,
) -> dict[str, float]:
    """Original, reconstruction and their difference (black: none), side by side.

    Args:
      workdir, checkpoint, trust_network, output: see `sample`.
      images, data, resize, normalize: see `chosen_images`.
      num_images: at most that many.
      infer_steps: of G1.
      seed: of G1.

    Returns:
      `recovery.errors` over all pixels, also written to `errors.json`.
    """
    run_dir, model = opened(
        workdir, checkpoint, trust_network, generator_for="`mode`=reconstruct"
    )
    originals = chosen_images(
        model,
        run_dir,
        num_images,
        images=images,
        data=data,
        resize=resize,
        normalize=normalize,
    )
    place = folder.new_output(output, run_dir, "reconstruct")
    found = model.reconstruct(originals, num_steps=infer_steps, seed=seed).numpy()
    difference = np.abs(originals - found) - 1
    _save_triples(place / "reconstruct.png", originals, found, difference)
    errors = recovery.errors(originals, found, np.zeros_like(originals))
    errors = {name.replace("hidden_", ""): value for name, value in errors.items()}
    write_json(place / "errors.json", errors)
    print(reports.table({"reconstruction": errors}))
    print(f"Original, reconstruction, difference: {place}/reconstruct.png")
    return errors


def recover(
    workdir: Path | str,
    *,
    checkpoint: str | int = "newest",
    trust_network: bool = False,
    output: Path | str | None = None,
    images: list[str] | None = None,
    data: Data | None = None,
    resize: str = "crop",
    normalize: str = "fixed",
    mask: str | None = None,
    training_mask: str | None = None,
    num_images: int = 64,
    infer_steps: int = 300,
    revise_steps: int | None = None,
    num_draws: int = 1,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Original, occluded and recovered images side by side, and their errors.

    Args:
      workdir, checkpoint, trust_network, output: see `sample`.
      images, data, resize, normalize: see `chosen_images`.
      mask: see `masks.hide`; or "training", what `training_mask` hid in training.
      training_mask: see `masks.training_masks`.
      num_images: at most that many.
      infer_steps, revise_steps, num_draws: see `ImageModel.recover`.
      seed: of random masks and of the chains.

    Returns:
      `recovery.errors` by method, also written to `errors.json`: the nets, of two nets
      also the generator alone, and fills that need no learning.
    """
    run_dir, model = opened(
        workdir, checkpoint, trust_network, revise_steps=revise_steps
    )
    if mask == "training":
        originals, visible, occluded = _training_images(
            run_dir, num_images, data_of(run_dir, data), training_mask
        )
    else:
        originals = chosen_images(
            model,
            run_dir,
            num_images,
            images=images,
            data=data,
            resize=resize,
            normalize=normalize,
        )
        visible, occluded = masks.hide(originals, mask, seed=seed)
    place = folder.new_output(output, run_dir, "recover")
    filled = model.recover(
        occluded,
        visible,
        infer_steps=infer_steps,
        revise_steps=0,
        num_draws=num_draws,
        seed=seed,
    )
    best, fills = " and ".join(model.nets), {}
    if model.descriptor:
        fills[best] = model.revise(
            filled, num_steps=revise_steps, seed=seed, visible=visible
        ).numpy()
    if model.generator:
        fills["generator alone" if model.descriptor else best] = filled.numpy()
    fills |= _simple_fills(occluded, visible)
    _save_triples(place / "recover.png", originals, occluded, fills[best])
    errors = {
        name: recovery.errors(originals, fill, visible) for name, fill in fills.items()
    }
    write_json(place / "errors.json", errors)
    print(reports.table(errors))
    print(f"Original, occluded, recovered: {place}/recover.png")
    return errors


def _simple_fills(occluded, visible):
    fills = {"nearest pixel": recovery.nearest_fill(occluded, visible)}
    try:
        fills["biharmonic"] = recovery.biharmonic_fill(occluded, visible)
    except ImportError:
        print("Without scikit-image there is no biharmonic baseline.")
    return fills


def _training_images(run_dir, number, data, training_mask):
    """Training images, their pixels that were seen, and images of those alone."""
    whole = datasets.load(**data)
    seen = whole.incomplete(masks.training_masks(training_mask, whole.image_shape))
    folder.check_data(
        run_dir,
        fingerprint=seen.fingerprint(),
        way_out="Bring the old ones back, or name another `mask`.",
    )
    first = slice(number)
    visible = seen.visible(first)
    print(
        f"{whole.name}: the first {len(visible)} {whole.kind}, as they were trained on"
    )
    masks.refuse_extremes(
        visible, f"`training_mask`={training_mask}", "Take fewer `num_images`."
    )
    return whole[first], visible, seen[first]


def _save_triples(path, *triples):
    """Three images side by side for each of the first ones, three triples a row."""
    rows = np.stack([part[: GRID // 3] for part in triples], axis=1)
    grid = pictures.grid(rows.reshape(-1, *rows.shape[2:]), num_columns=9)
    pictures.save_png(path, grid)
