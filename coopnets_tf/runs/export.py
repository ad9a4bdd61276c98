"""Trained nets for programs that have nothing of this package."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from coopnets_tf.errors import RunError
from coopnets_tf.files import RUN_DESCRIPTION, write_json
from coopnets_tf.generator import Generator
from coopnets_tf.models import endpoints
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.networks import network_file
from coopnets_tf.networks.checks import takes_any
from coopnets_tf.runs import saving
from coopnets_tf.runs.checkpoints import PATTERN
from coopnets_tf.runs.folder import DATA
from coopnets_tf.variables import named_variables
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
    nets take any. Of nets that are told classes each has a last argument `labels`, one
    row for each image: float32 [batch, num_classes], 1 for its class and 0 for others.

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
    labels = [_called("labels", one) for one in endpoints.labels_spec(model)]

    def sample(number, seed, *labels):
        return functions["draw"](0, number, model.revision_steps, seed, *labels)

    archive.add_endpoint("sample", sample, [num_images, seed, *labels])
    if model.generator:
        latents = endpoints.latents_spec(model)
        trained = tf.TensorSpec([None, *model.image_shape], tf.float32, "images")
        archive.add_endpoint(
            "generate", functions["generate"], [_called("latents", latents), *labels]
        )
        archive.add_endpoint(
            "reconstruct", functions["reconstruct"], [trained, num_steps, seed, *labels]
        )
    if model.descriptor:
        images = _called("images", endpoints.images_spec(model))

        def revise(images, steps, seed, *labels):
            return functions["revise"](images, steps, seed, 0, *labels)

        archive.add_endpoint("revise", revise, [images, num_steps, seed, *labels])
        archive.add_endpoint("energy", functions["energy"], [images, *labels])
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


def for_litert(model: ImageModel) -> Generator:
    """The generator of a model, if LiteRT has a place for it.

    Raises:
      RunError: if there is none, or it is told classes.
    """
    if model.generator is None:
        raise RunError(
            "`export_format`=litert is for generators. Received: a run of "
            "`algorithm`=descriptor. Take savedmodel or keras."
        )
    _refuse_classes(model, "litert")
    return model.generator


def export_litert(generator: Generator, path: Path) -> None:
    """Writes a generator, see `for_litert`, as a file `.tflite`. Batch norm as for
    `export`.
    """
    latents = tf.TensorSpec([None, *generator.latent_shape], tf.float32, "latents")
    generator.export(
        str(path), format="litert", input_signature=[latents], verbose=False
    )


def _refuse_classes(model, export_format):
    if model.class_shares:
        raise RunError(
            f"`export_format`={export_format} is for nets without classes, and this is "
            "a run with `conditional`. Take savedmodel or keras."
        )


Halves = dict[str, dict[str, tf.Variable]]  # of each net by name, and what is kept


def halves(model: ImageModel) -> Halves:
    """The weights of a model, and what it keeps besides, in half precision.

    Raises:
      RunError: if one is too large for that.
    """
    parts = {name: named_variables(net) for name, net in model.nets.items()}
    return {
        part: {name: tf.Variable(_half(name, value)) for name, value in named.items()}
        for part, named in {**parts, "kept": model.kept}.items()
    }


def export_run(model: ImageModel, halves: Halves, run_dir: Path, place: Path) -> None:
    """Writes a copy of a run for others: its description, and the nets in half
    precision, with averaged weights, to compute in float32 anywhere.

    Of paths in the description the last part is left.

    Args:
      model: of the run, see `saving.load`.
      halves: of the model.
      place: a folder.
    """
    found = saving.description(run_dir)
    if found.get("dataset"):
        dataset = saving.dataset_of(run_dir)
        name = Path(dataset["dataset"]).name
        found["dataset"] = {**dataset, "dataset": name, "data_dir": None}
    # Not every processor has bfloat16.
    found = json.loads(json.dumps(found).replace("mixed_bfloat16", "float32"))
    write_json(place / RUN_DESCRIPTION, found)
    if (run_dir / DATA).is_file():
        shutil.copyfile(run_dir / DATA, place / DATA)
    network_file.copy_beside(run_dir, place)
    path = place / "checkpoints" / f"ckpt-{int(model.step)}"
    path.parent.mkdir()
    tf.train.Checkpoint(**halves).write(str(path))


def _half(name, variable):
    if not variable.dtype.is_floating:
        return variable
    half = tf.cast(variable, tf.float16)
    if not np.isfinite(half).all():
        raise RunError(
            f"{name} is too large for half precision. Take `export_format`=keras."
        )
    return half


def onnx_nets(model: ImageModel) -> dict[str, bytes]:
    """The nets for ONNX, as far as the model has them, each for any batch.

    `generator.onnx` makes `images` of `latents`, `energy.onnx` `energies` of `images`;
    shapes, ranges and batch norm are those of `export`.

    Returns:
      The content of each file, by its name.

    Raises:
      RunError: without the library, or of nets that compute in bfloat16 or are told
        classes.
    """
    _refuse_classes(model, "onnx")
    try:
        import tf2onnx
    except ImportError as error:
        raise RunError("`export_format`=onnx needs pip install tf2onnx.") from error

    def converted(endpoint, given, spec, result):
        function = model.endpoints()[endpoint]
        found, _ = tf2onnx.convert.from_function(
            tf.function(lambda inputs: {result: function(inputs)}),  # names the output
            [_called(given, spec)],
        )
        if _has_bfloat16(found.graph):
            raise RunError(
                "`export_format`=onnx is for nets in float32: onnxruntime does not "
                "load those of `precision`=bfloat16. Take savedmodel."
            )
        return found.SerializeToString()

    nets = {}
    if model.generator:
        spec = endpoints.latents_spec(model)
        nets["generator.onnx"] = converted("generate", "latents", spec, "images")
    if model.descriptor:
        spec = endpoints.images_spec(model)
        nets["energy.onnx"] = converted("energy", "images", spec, "energies")
    return nets


def _has_bfloat16(graph):
    """Whether weights of it are of ONNX's type 16, or something becomes so."""
    weights = {one.data_type for one in graph.initializer}
    casts = [node for node in graph.node if node.op_type == "Cast"]
    return 16 in weights | {one.i for node in casts for one in node.attribute}


def metadata(model: ImageModel, dataset: str | None) -> dict[str, Any]:
    """What a user of an export has to know."""
    return {
        "dataset": Path(dataset).name if dataset else None,
        "algorithm": type(model).__name__,
        "image_shape": list(model.image_shape),
        "value_range": [-1, 1],
        "latent_shape": list(model.generator.latent_shape) if model.generator else None,
        "any_size": all(map(takes_any, model.nets.values())),
        "num_classes": model.num_classes,
        "revision_steps": model.revision_steps,
        "training_steps": int(model.step),
        "package": f"coopnets_tf {__version__}",
    }
