"""Images found again by the nets of a run: reconstructed, or with pixels hidden."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from commands import use
from commands.use import Data
from coopnets_tf.data import datasets, drawing, masks
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import ExtractorError
from coopnets_tf.evaluation import own_extractor, recovery, reports
from coopnets_tf.files import write_json
from coopnets_tf.runs import folder
from coopnets_tf.wording import counted

Errors = dict[str, dict[str, float | None]]  # by name, see `recovery.errors`


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
    grey_range: str | None = None,
    num_images: int = 64,
    infer_steps: int = 300,
    infer_step_size: float | None = None,
    label: str | None = None,
    seed: int = 0,
) -> Errors:
    """Original, reconstruction and their difference (black: none), side by side.

    Args:
      workdir, checkpoint, trust_network, output: see `sample.sample`.
      images, data, resize, normalize, grey_range, label: see `use.chosen_images`.
      num_images: at most that many.
      infer_steps, infer_step_size, seed: of G1, see `use.opened`.

    Returns:
      `recovery.errors` over all pixels, also written to `errors.json`.
    """
    run_dir, model = use.opened(
        workdir,
        checkpoint,
        trust_network,
        generator_for="`mode`=reconstruct",
        infer_step_size=infer_step_size,
    )
    originals, labels, _ = use.chosen_images(
        model,
        run_dir,
        num_images,
        images=images,
        data=data,
        resize=resize,
        normalize=normalize,
        grey_range=grey_range,
        label=label,
    )
    place = folder.new_output(output, run_dir, "reconstruct")
    found = model.reconstruct(
        originals, num_steps=infer_steps, seed=seed, labels=labels
    ).numpy()
    difference = np.abs(originals - found) - 1
    columns = {
        "original": originals,
        "reconstruction": found,
        "difference": difference,
    }
    picture = _save_compared(place / "reconstruct.png", columns)
    errors = recovery.errors(originals, found, np.zeros_like(originals))
    errors = {name.replace("hidden_", ""): value for name, value in errors.items()}
    write_json(place / "errors.json", errors)
    print(_table({"reconstruction": errors}))
    print(picture)
    return errors


class Occluded(NamedTuple):
    """Images with a hidden part."""

    originals: np.ndarray  # [number, *image_shape] in [-1, 1]
    visible: np.ndarray  # their shape; 1 = visible, 0 = to complete
    occluded: np.ndarray  # what is visible of them
    labels: Any  # classes or rows of them, where the nets are told any
    training: ImageDataset | None  # see `use.Chosen`


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
    grey_range: str | None = None,
    mask: str | None = None,
    training_mask: str | None = None,
    num_images: int = 64,
    infer_steps: int = 300,
    infer_step_size: float | None = None,
    revise_steps: int | None = None,
    num_draws: int = 1,
    label: str | None = None,
    extractor: Path | str | None = None,
    extractor_layer: str | None = None,
    seed: int = 0,
) -> dict[str, Errors]:
    """Original, occluded and recovered images side by side, and their errors.

    Args:
      workdir, checkpoint, trust_network, output: see `sample.sample`.
      images, data, resize, normalize, grey_range, label: see `use.chosen_images`.
      mask: see `masks.hide`; or "training", what `training_mask` hid in training.
      training_mask: see `masks.training_masks`.
      num_images: at most that many.
      infer_steps, revise_steps, num_draws: see `ImageModel.recover`.
      infer_step_size: of G1, see `use.opened`.
      extractor, extractor_layer: a network by whose maps images are compared, too, see
        `own_extractor.maps_of_file`.
      seed: of random masks and of the chains.

    Returns:
      `recovery.errors` by method, also written to `errors.json`: the nets, of two nets
      also the generator alone, and fills that need no learning.
    """
    run_dir, model = use.opened(
        workdir,
        checkpoint,
        trust_network,
        revise_steps=revise_steps,
        infer_step_size=infer_step_size,
    )
    maps, facts = _maps(extractor, model.image_shape, extractor_layer)
    if mask == "training":
        given = _training_images(
            model, run_dir, num_images, use.data_of(run_dir, data), training_mask
        )
    else:
        chosen = use.chosen_images(
            model,
            run_dir,
            num_images,
            images=images,
            data=data,
            resize=resize,
            normalize=normalize,
            grey_range=grey_range,
            label=label,
        )
        given = _hidden(chosen, mask, seed)
    place = folder.new_output(output, run_dir, "recover")
    inference = {"infer_steps": infer_steps, "num_draws": num_draws}
    by_the_nets = _by_the_nets(model, given, inference, revise_steps, seed)
    fills = {**by_the_nets, **_simple_fills(given)}
    columns = {
        "original": given.originals,
        "occluded": given.occluded,
        "recovered": next(iter(by_the_nets.values())),
    }
    picture = _save_compared(place / "recover.png", columns)
    errors = {
        name: recovery.errors(given.originals, fill, given.visible, maps)
        for name, fill in fills.items()
    }
    write_json(place / "errors.json", errors)
    if maps:
        write_json(place / "extractor.json", facts)
        print(f"perceptual: by {facts['network']}, digest {facts['digest']}")
    print(_table(errors))
    print(picture)
    return errors


def _maps(extractor, image_shape, layer):
    """A network's answers to still images, or frames, and facts; None without one."""
    if layer and not extractor:
        raise ExtractorError(
            "`extractor_layer` is for a network of your own, `extractor`=FILE.keras. "
            "Received: none."
        )
    if not extractor:
        return None, {}
    return own_extractor.maps_of_file(extractor, image_shape[-3:], layer=layer)


def _hidden(chosen, mask, seed):
    """Images with what a mask hides of them."""
    visible, occluded = masks.hide(chosen.images, mask, seed=seed)
    return Occluded(chosen.images, visible, occluded, chosen.labels, chosen.training)


def _by_the_nets(model, given, inference, revise_steps, seed):
    """What all nets of a model make of hidden pixels that the generator has filled, if
    there is one; of two nets also the generator's.
    """
    visible, own = given.visible, {"seed": seed, "labels": given.labels}
    filled = model.recover(given.occluded, visible, revise_steps=0, **inference, **own)
    best = " and ".join(model.nets)
    if not model.descriptor:
        return {best: filled.numpy()}
    revised = model.revise(filled, num_steps=revise_steps, visible=visible, **own)
    alone = {"generator alone": filled.numpy()} if model.generator else {}
    return {best: revised.numpy(), **alone}


def _simple_fills(given):
    """Fills that need no learning; of clips, of each frame by itself."""
    shape = given.occluded.shape
    frames = [part.reshape(-1, *shape[-3:]) for part in (given.occluded, given.visible)]
    fills = {"nearest pixel": recovery.nearest_fill(*frames)}
    try:
        fills["biharmonic"] = recovery.biharmonic_fill(*frames)
    except ImportError:
        print("The biharmonic baseline needs pip install scikit-image.")
    fills = {name: fill.reshape(shape) for name, fill in fills.items()}
    if given.training is not None:
        fills["mean image"] = recovery.mean_fill(
            given.occluded, given.visible, given.training
        )
    return fills


def _table(errors):
    """Errors by method, as text."""
    return reports.table(
        {
            method: {
                name: reports.plus_minus(value, 2 if name == "psnr" else 4)
                for name, value in own.items()
            }
            for method, own in errors.items()
        }
    )


def _training_images(model, run_dir, number, data, training_mask):
    """Training images, of which those pixels are visible that were trained on."""
    whole = datasets.load(**data)
    seen = whole.incomplete(masks.training_masks(training_mask, whole.image_shape))
    folder.check_data(run_dir, seen, way_out="Or name another `mask`.")
    first = slice(number)
    visible: Any = seen.visible(first)
    first_ones = counted(len(visible), whole.kind)
    print(f"{whole.name}: the first {first_ones}, as they were trained on")
    masks.refuse_extremes(
        visible, f"`training_mask`={training_mask}", "Take fewer `num_images`."
    )
    labels = whole.labels if model.class_shares else None
    labels = labels if labels is None else labels[first]
    return Occluded(whole[first], visible, seen[first], labels, None)


def _save_compared(path, columns):
    """Saves the first images of each kind side by side; returns a line about it."""
    number = len(next(iter(columns.values())))
    shown = {name: images[: use.GRID] for name, images in columns.items()}
    drawing.save_png(path, drawing.compared(shown))
    part = f", the first {use.GRID} of {number:,}" if number > use.GRID else ""
    return f"{', '.join(columns).capitalize()}{part}: {path}"
