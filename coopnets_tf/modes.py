"""What main.py does with a trained model; each mode fills one new folder."""

import contextlib
import itertools
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from coopnets_tf import evaluation, interpolation, logs, recovery, reports
from coopnets_tf import images as pictures
from coopnets_tf.files import write_json

GRID = 100  # images of a grid, at most
NUM_PATHS = 8  # of an interpolation, one a row
FRAMES = 24  # of an animation, one way; it goes there and back, or round a square
FRAME_MILLISECONDS = 80


def sample(model, folder, *, num_images, num_steps, seed, file_format):
    """Grids of the nets' samples, and by `file_format` the images themselves.

    Args:
      model: `ImageModel`, frozen.
      folder: `Path`.
      num_images: int.
      num_steps: int or None; of D1, see `ImageModel.sample`.
      seed: int.
      file_format: None; "png", one file each; "npy" or "npz" (key `images`), uint8
        [num_images, height, width, channels].
    """
    shown = min(num_images, GRID)
    if model.generator:
        grid = pictures.grid(model.sample(shown, seed=seed, num_steps=0))
        pictures.save_png(folder / "generator.png", grid)
    if model.descriptor and (num_steps != 0 or not model.generator):
        grid = pictures.grid(model.sample(shown, seed=seed, num_steps=num_steps))
        pictures.save_png(folder / "descriptor.png", grid)
    if file_format is None:
        return
    batches = model.sample_batches(num_images, seed=seed, num_steps=num_steps)
    pixels = _counted(num_images, (pictures.to_uint8(batch) for batch in batches))
    if file_format == "png":
        _save_pngs(folder / "images", pixels)
    else:
        pixels = np.concatenate(list(pixels))
        path = folder / f"images.{file_format}"
        if file_format == "npy":
            np.save(path, pixels)
        else:
            np.savez_compressed(path, images=pixels)


def _counted(number, batches):
    """The batches, counted on a bar where the output is a terminal."""
    bar = (
        keras.utils.Progbar(number, unit_name="image") if sys.stdout.isatty() else None
    )
    for batch in batches:
        yield batch
        if bar:
            bar.add(len(batch))


def interpolate(model, folder, *, kind, seed, ends=None, num_steps=0, animation=None):
    """Images along paths between latents: a grid, and by `animation` a film.

    Args:
      model: `ImageModel`, frozen.
      folder: `Path`.
      kind: "linear", "spherical", or "corners": see `interpolation`.
      seed: int; of the ends, or of their inference.
      ends: None for latents of the prior, or two images between whose inferred latents
        the path goes: float32 [2, height, width, channels].
      num_steps: int; of G1, for `ends`.
      animation: None, "gif" or "webp".

    Raises:
      ValueError: on the corners of two images.
    """
    if ends is not None and kind == "corners":
        raise ValueError("A square has four corners. Received: two images.")
    if ends is not None:
        latents = model.infer(ends, num_steps=num_steps, seed=seed).numpy()[:, None]
    elif kind == "corners":
        latents = _prior(model, 4, seed)
    else:
        latents = _prior(model, 2 * NUM_PATHS, seed).reshape(2, NUM_PATHS, -1)

    def path(num_points):
        if kind == "corners":
            return interpolation.four_corners(latents, num_points)
        paths = {"linear": interpolation.linear, "spherical": interpolation.spherical}
        return paths[kind](*latents, num_points)

    grid = pictures.grid(_generate(model, path(NUM_PATHS)), num_columns=NUM_PATHS)
    pictures.save_png(folder / f"{kind}.png", grid)
    if ends is not None:
        pictures.save_png(folder / "ends.png", pictures.grid(ends))
    if animation:
        if kind == "corners":
            frames = _round(path(FRAMES))
        else:
            frames = path(FRAMES).swapaxes(0, 1)
            frames = [*frames, *frames[-2:0:-1]]
        frames = [pictures.grid(_generate(model, frame)) for frame in frames]
        _save_film(folder / f"{kind}.{animation}", frames)


def _round(square):
    """The way round a square of latents along its edges: a list of [1, latent_size]."""
    edges = square[0], square[1:, -1], square[-1, -2::-1], square[-2:0:-1, 0]
    return list(np.concatenate(edges)[:, None])


def _prior(model, number, seed):
    shape = (number, model.generator.latent_size)
    return np.random.default_rng(seed).standard_normal(shape)


def _generate(model, latents):
    latents = latents.reshape(-1, latents.shape[-1]).astype(np.float32)
    return model.generate(latents)


def _save_film(path, frames):
    frames = [Image.fromarray(frame.squeeze()) for frame in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(
        path,
        append_images=frames[1:],
        save_all=True,
        duration=FRAME_MILLISECONDS,
        loop=0,
    )


def reconstruct(model, folder, images, *, num_steps, seed):
    """Original, reconstruction and their difference (black: none), side by side.

    Args:
      model: `ImageModel`, frozen.
      folder: `Path`.
      images: float32 [number, height, width, channels] in [-1, 1].
      num_steps: int; of G1.
      seed: int.

    Returns:
      `recovery.errors` over all pixels, also written to `errors.json`.
    """
    found = model.reconstruct(images, num_steps=num_steps, seed=seed).numpy()
    _save_triples(folder / "reconstruct.png", images, found, np.abs(images - found) - 1)
    errors = recovery.errors(images, found, np.zeros_like(images))
    errors = {name.replace("hidden_", ""): value for name, value in errors.items()}
    write_json(folder / "errors.json", errors)
    return errors


def recover(
    model,
    folder,
    images,
    visible,
    occluded,
    *,
    num_steps,
    revise_steps,
    num_draws,
    seed,
):
    """Original, occluded and recovered images side by side, and their errors.

    Args:
      model: `ImageModel`, frozen.
      folder: `Path`.
      images: float32 [number, height, width, channels] in [-1, 1].
      visible: as `images`; 1 visible, 0 hidden.
      occluded: as `images`, from `recovery.occlude`.
      num_steps, revise_steps: int; of G1 and of D1 (None: as trained).
      num_draws: int; see `ImageModel.recover`.
      seed: int.

    Returns:
      `recovery.errors` by method, also written to `errors.json`: the nets, of two nets
      also the generator alone, and fills that need no learning.
    """
    filled = model.recover(
        occluded,
        visible,
        inference_steps=num_steps,
        revision_steps=0,
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
    fills["nearest pixel"] = recovery.nearest_fill(occluded, visible)
    try:
        fills["biharmonic"] = recovery.biharmonic_fill(occluded, visible)
    except ImportError:
        print("Without scikit-image there is no biharmonic baseline.")
    _save_triples(folder / "recover.png", images, occluded, fills[best])
    errors = {
        name: recovery.errors(images, fill, visible) for name, fill in fills.items()
    }
    write_json(folder / "errors.json", errors)
    return errors


def _save_triples(path, *triples):
    """Three images side by side for each of the first ones, three triples a row."""
    rows = np.stack([part[: GRID // 3] for part in triples], axis=1)
    grid = pictures.grid(rows.reshape(-1, *rows.shape[2:]), num_columns=9)
    pictures.save_png(path, grid)


def evaluate(model, folder, splits, protocol, *, extractor, tell):
    """The report of `evaluation.evaluate` as `report.json`, its pictures, TensorBoard.

    Args:
      model: `ImageModel`, frozen.
      folder: `Path`.
      splits, protocol, extractor, tell: as for `evaluation.evaluate`.

    Returns:
      `Evaluation`.
    """
    found = evaluation.evaluate(model, splits, protocol, extractor=extractor, tell=tell)
    write_json(folder / "report.json", found.report)
    for name, picture in found.pictures.items():
        pictures.save_png(folder / f"{name}.png", picture)
    for name, samples in found.scored.items():
        pictures.save_png(
            folder / f"{_file_name(name)}.png", pictures.grid(samples[:GRID])
        )
    events = tf.summary.create_file_writer(str(folder / "tensorboard"))
    with contextlib.closing(events):
        logs.show_evaluation(
            events, found.report["step"], reports.scalars(found.report), found.pictures
        )
    return found


def _file_name(name):
    return name.replace(" ", "_")


def export_samples(folder, sets):
    """Every image of every set as `<folder>/<set>/<number>.png`.

    Args:
      folder: path; new, or an empty folder.
      sets: dict of `ImageDataset`, by name.
    """
    for name, samples in sets.items():
        starts = range(0, samples.num_images, GRID)
        pixels = (pictures.to_uint8(samples[one : one + GRID]) for one in starts)
        _save_pngs(Path(folder) / _file_name(name), pixels)


def _save_pngs(folder, batches):
    for number, image in enumerate(itertools.chain.from_iterable(batches)):
        pictures.save_png(folder / f"{number:06d}.png", image)
