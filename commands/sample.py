"""Samples of a run: grids, films of clips, and images one by one."""

from pathlib import Path

import numpy as np

from commands import by_class, use
from coopnets_tf.data import drawing
from coopnets_tf.data.images import to_uint8
from coopnets_tf.errors import RunError
from coopnets_tf.progress import batches_on_a_bar
from coopnets_tf.runs import folder

CLIPS = 16  # of a film
CLIP_MILLISECONDS = 40  # a frame; 25 a second


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
    from commands.sample import sample

    folder = sample("runs/digits-1", num_images=16)
    ```

    Args:
      workdir, checkpoint, trust_network: see `use.opened`.
      output: new folder; default: the next free one in the run's.
      num_images: of samples, of which a grid shows at most `use.GRID`.
      revise_steps: of D1, see `ImageModel.sample`.
      seed: image k depends on (seed, k) alone.
      format: "png", one file each, of clips one of each frame; "npy" or "npz" (key
        `images`, with classes also `labels`), uint8 [num_images, *image_shape]. None:
        no images but the grids.
      image_size, latent_size: of the samples, one of the two, such as "448x448" or
        "14x14"; see `ImageModel.of_size`. Default: as in training.
      animation: of clips, "gif", as None is, or "webp".
      label: see `by_class.labels_for`; "all" for as many of each class, in their order.
      devices: that share the work, see `use.opened`.

    Returns:
      The new folder.

    Raises:
      RunError: on an animation of still images.
    """
    run_dir, model = use.opened(
        workdir,
        checkpoint,
        trust_network,
        revise_steps=revise_steps,
        devices=devices,
    )
    model = use.sized(model, image_size, latent_size)
    if animation and use.num_frames(model) is None:
        raise RunError(
            "`animation` is for clips, and samples of this run are still images. Leave "
            "it out, or take `mode`=interpolate."
        )
    labels = model.draw_labels(num_images, seed=seed)
    if label:
        labels = by_class.labels_for(
            run_dir, model, label, num_images, all_in_order=True
        )
    place = folder.new_output(output, run_dir, "sample")
    steps: dict[str, int | None] = {"generator": 0} if model.generator else {}
    if model.descriptor and (revise_steps != 0 or not model.generator):
        steps["descriptor"] = revise_steps
    for net, number in steps.items():
        few = min(num_images, use.GRID)
        own = labels if labels is None else labels[:few]
        shown = model.sample(few, seed=seed, num_steps=number, labels=own).numpy()
        drawing.save_png(place / f"{net}.png", drawing.grid(shown))
        if use.num_frames(model):
            frames = [drawing.grid(one) for one in shown[:CLIPS].swapaxes(0, 1)]
            path = place / f"{net}.{animation or 'gif'}"
            drawing.save_film(path, frames, CLIP_MILLISECONDS)
    if format:
        batches = model.sample_batches(
            num_images, seed=seed, num_steps=revise_steps, labels=labels
        )
        pixels = (to_uint8(batch) for batch in batches)
        _save_images(place, batches_on_a_bar(pixels, num_images), format, labels)
    print(f"Samples of step {int(model.step)}: {place}")
    return place


def _save_images(place, batches, format, labels):
    if format == "png":
        drawing.save_pngs(place / "images", batches)
        return
    pixels = np.concatenate(list(batches))
    if format == "npy":
        np.save(place / "images.npy", pixels)
    else:
        own = {} if labels is None else {"labels": np.argmax(labels, axis=1)}
        np.savez_compressed(place / "images.npz", images=pixels, **own)
