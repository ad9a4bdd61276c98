"""A trained model on disk: described in its run, loaded in one line."""

import json
from pathlib import Path
from typing import Any

import keras

from coopnets_tf.algorithm_d import AlgorithmD  # the imports register them
from coopnets_tf.algorithm_g import AlgorithmG
from coopnets_tf.coopnets import CoopNets
from coopnets_tf.errors import NetworkError, RunError
from coopnets_tf.files import RUN_DESCRIPTION, write_json
from coopnets_tf.models.learner import Learner
from coopnets_tf.networks import network_file
from coopnets_tf.runs import checkpoints, weights
from coopnets_tf.runs.folder import Run
from coopnets_tf.version import __version__


def describe(model: Learner, run: Run) -> None:
    """Writes `model.json`, from which `load` builds the nets again."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)  # loaded for use, it needs no optimizers
    file = run.network_file
    content = {
        "package_version": __version__,
        "dataset": run.dataset and dict(run.dataset),
        "classes": run.classes and list(run.classes),
        "network_file": file and network_file.keep(file, run.folder),
        "model": config,
    }
    write_json(run.folder / RUN_DESCRIPTION, content)


def description(run_dir: Path) -> dict[str, Any]:
    """What `describe` wrote.

    Raises:
      RunError: if it is missing or cannot be read.
    """
    try:
        text = (run_dir / RUN_DESCRIPTION).read_text(encoding="utf-8")
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError) as error:
        raise RunError(
            f"{run_dir} holds no trained model: {RUN_DESCRIPTION} cannot be read "
            f"({error})."
        ) from error
    return found


def dataset_of(run_dir: Path) -> dict[str, Any]:
    """The images a run was trained on: arguments of `datasets.load_splits`.

    Raises:
      RunError: if it does not say.
    """
    found = description(run_dir).get("dataset")
    if not found:
        raise RunError(
            f"{run_dir} does not say which images it was trained on. Name them by "
            "`dataset`, or give your own by `images`."
        )
    found = found if isinstance(found, dict) else {"dataset": found}  # of version 0.1
    if (old := old_grey_range(run_dir)) and "image_size" in found:
        found.setdefault("grey_range", old)
    return found


def old_grey_range(run_dir: Path) -> str | None:
    """The `grey_range` of a run from before there was one; None of a later run."""
    version = str(description(run_dir).get("package_version"))
    return "0:65535" if version.startswith(("0.1.", "0.2.")) else None


def load(
    path: Path | str, *, checkpoint: str | int = "newest", trust_network: bool = False
) -> CoopNets | AlgorithmD | AlgorithmG:
    """Loads a trained model, frozen for use.

    ```python
    import coopnets_tf

    model = coopnets_tf.load("runs/digits-1")
    images = model.sample(64, seed=0)
    ```

    Args:
      path: the folder of a run, a checkpoint of a run such as
        `runs/digits-1/checkpoints/ckpt-3000`, a `.keras` file, an address of the
        Hugging Face hub, `hf://user/name`, or the name of nets that come with the
        package, "digits" or "mnist".
      checkpoint: of a run, "newest", "best" or the number of a step.
      trust_network: run Python code that comes with the model, `network.py` beside it
        and Lambda layers. Of a run, a `network.py` that this user has run before needs
        no such consent.

    Returns:
      The model. Not compiled if it comes from a run; its nets have averaged
      weights, where the run kept them, its generator exact batch norm statistics.

    Raises:
      RunError: if there is no trained model, or another version wrote it.
      NetworkError: if it needs code that is missing, was changed, or is not trusted.
    """
    if str(path).startswith("hf://") or str(path).endswith(".keras"):
        model = _keras_file(str(path), trust_network)
    else:
        model = _run(path, checkpoint, trust_network)
    model.freeze()
    return model


def _keras_file(path, trust_network):
    beside = Path(path).parent
    if path.startswith("hf://"):
        try:
            import huggingface_hub
        except ImportError as error:
            raise RunError(
                f"{path} is on the hub, which needs pip install huggingface_hub."
            ) from error
        if trust_network:
            name = path.removeprefix("hf://")
            beside = Path(huggingface_hub.snapshot_download(name))
    elif not Path(path).exists():
        raise RunError(f"{path} does not exist.")
    if trust_network and (beside / network_file.COPY).is_file():
        network_file.functions(network_file.read(beside / network_file.COPY))
    try:
        model = keras.saving.load_model(path, safe_mode=not trust_network)
    except Exception as error:  # another program's file fails in many ways
        raise RunError(
            f"{path} cannot be loaded: {error} If its networks come with Python code, "
            "read that code, and load it with `trust_network`."
        ) from error
    if not hasattr(model, "freeze"):
        raise RunError(
            f"{path} holds no model of coopnets_tf but {type(model).__name__}."
        )
    return model


def _run(path, which, trust_network):
    checkpoint = weights.find(path, which)
    run_dir = Path(checkpoint).parent.parent
    found = description(run_dir)
    trusted = trust_network
    if record := found.get("network_file"):
        file = network_file.kept(run_dir, record)
        trusted = trusted or network_file.is_trusted(file)
        if trusted:
            network_file.functions(file)  # registers the classes of its layers
    try:
        model = keras.saving.deserialize_keras_object(
            found["model"], safe_mode=not trust_network
        )
    except Exception as error:  # what another version wrote fails in many ways
        if record and not trusted:
            raise NetworkError(
                f"The networks of {run_dir} need its Python code, which you have not "
                f"run before. Read {file.path}, and give `trust_network` to run it."
            ) from error
        raise RunError(
            f"{run_dir} was written by coopnets_tf {found.get('package_version')} and "
            f"cannot be read by {__version__}: {error}"
        ) from error
    _, misfits = weights.load_for_use(model, checkpoint)
    if misfits:
        raise RunError(
            f"{checkpoint} does not fit {RUN_DESCRIPTION}: {'; '.join(misfits)}"
        )
    model.step.assign(checkpoints.step_of(checkpoint))
    return model
