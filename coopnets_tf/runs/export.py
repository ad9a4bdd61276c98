"""Trained nets for programs that have nothing of this package."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from coopnets_tf import endpoints
from coopnets_tf.errors import RunError
from coopnets_tf.generator import Generator
from coopnets_tf.image_model import ImageModel
from coopnets_tf.runs.checkpoints import PATTERN
from coopnets_tf.sizes import takes_any
from coopnets_tf.version import __version__

FILES = {"assets", "fingerprint.pb", "metadata.json", "saved_model.pb", "variables"}


def export(model: ImageModel, directory: Path, *, dataset: str | None = None) -> None:
    """Writes a SavedModel whose endpoints hold the Langevin loops, too.

    Its endpoints, each also a signature of that name, as far as the model has the nets
    that they need; images are float32 [batch, *image_shape] in [-1, 1], numbers int32
    scalars:
      sample(num_images, seed) -> images; the serving default. Revised as in training.
      generate(latents) -> images; latents float32 [batch, *latent_shape] from N(0, I)
      revise(images, num_steps, seed) -> images
      energy(images) -> float32 [batch]
      reconstruct(images, num_steps, seed) -> images
    To `generate`, `revise` and `energy` latents and images may have any size if the
    nets take any.

    `metadata.json` beside it says what it is. Batch norm uses its moving averages as
    they are now: the model is frozen, or this is called inside `ImageModel.frozen`.

    Args:
      directory: an older export there is replaced once the new one is whole.
      dataset: what the model was trained on.

    Raises:
      OSError: if it cannot be written, or the folder holds other files.
    """
    if directory.exists() and not {path.name for path in directory.iterdir()} <= FILES:
        raise OSError(f"{directory} holds other files. Move them, or name another.")
    functions = model.endpoints()
    num_images, num_steps, seed = (
        tf.TensorSpec([], tf.int32, name)
        for name in ("num_images", "num_steps", "seed")
    )
    archive = keras.export.ExportArchive()
    for net in model.nets.values():
        archive.track(net)
    # What else the endpoints read. The latents of training images stay at home.
    others = tf.Module()
    others.step = model.step.value
    if model.num_independent:
        others.chains = model.chains
    archive.track(others)
    archive.add_endpoint(
        "sample",
        lambda number, seed: functions["draw"](0, number, model.revision_steps, seed),
        [num_images, seed],
    )
    if model.generator:
        latents = endpoints.latents_spec(model)
        trained = tf.TensorSpec([None, *model.image_shape], tf.float32, "images")
        archive.add_endpoint(
            "generate", functions["generate"], [_called("latents", latents)]
        )
        archive.add_endpoint(
            "reconstruct", functions["reconstruct"], [trained, num_steps, seed]
        )
    if model.descriptor:
        images = _called("images", endpoints.images_spec(model))
        archive.add_endpoint(
            "revise",
            lambda images, steps, seed: functions["revise"](images, steps, seed, 0),
            [images, num_steps, seed],
        )
        archive.add_endpoint("energy", functions["energy"], [images])
    _write(archive, directory, metadata(model, dataset))


def _called(name, spec):
    return tf.TensorSpec(spec.shape, spec.dtype, name)


def _write(archive, directory, facts):
    new = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        archive.write_out(new, verbose=False)
    except tf.errors.OpError as error:
        raise OSError(f"{directory} was not written: {error.message}") from error
    content = json.dumps(facts, indent=1) + "\n"
    (new / "metadata.json").write_text(content, encoding="utf-8")
    shutil.rmtree(directory, ignore_errors=True)
    new.rename(directory)
    if PATTERN & set(str(directory.resolve())):
        logging.warning(
            "TensorFlow loads nothing from a folder with [ or \\ in its path. Copy %s "
            "to another one to serve it; this package does without it.",
            directory,
        )


def export_litert(generator: Generator, path: Path) -> None:
    """Writes a generator for LiteRT, a file `.tflite`. Batch norm as for `export`."""
    latents = tf.TensorSpec([None, *generator.latent_shape], tf.float32, "latents")
    generator.export(
        str(path), format="litert", input_signature=[latents], verbose=False
    )


def export_onnx(model: ImageModel, folder: Path) -> None:
    """Writes the nets for ONNX, as far as the model has them, each for any batch.

    `generator.onnx` makes `images` of `latents`, `energy.onnx` `energies` of `images`;
    shapes, ranges and batch norm are those of `export`.

    Raises:
      RunError: without the library.
    """
    converter = onnx_converter()

    def write(name, endpoint, given, spec, result):
        function = model.endpoints()[endpoint]
        converter.convert.from_function(
            tf.function(lambda inputs: {result: function(inputs)}),  # names the output
            [_called(given, spec)],
            output_path=str(folder / name),
        )

    if model.generator:
        latents = endpoints.latents_spec(model)
        write("generator.onnx", "generate", "latents", latents, "images")
    if model.descriptor:
        images = endpoints.images_spec(model)
        write("energy.onnx", "energy", "images", images, "energies")


def onnx_converter() -> Any:
    """The library that writes ONNX.

    Raises:
      RunError: if it is not there.
    """
    try:
        import tf2onnx
    except ImportError as error:
        raise RunError("`export_format`=onnx needs pip install tf2onnx.") from error
    return tf2onnx


def metadata(model: ImageModel, dataset: str | None) -> dict[str, Any]:
    """What a user of an export has to know."""
    return {
        "dataset": Path(dataset).name if dataset else None,
        "algorithm": type(model).__name__,
        "image_shape": list(model.image_shape),
        "value_range": [-1, 1],
        "latent_shape": list(model.generator.latent_shape) if model.generator else None,
        "any_size": all(map(takes_any, model.nets.values())),
        "revision_steps": model.revision_steps,
        "training_steps": int(model.step),
        "package": f"coopnets_tf {__version__}",
    }
