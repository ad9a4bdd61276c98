"""A trained model as others find it: described in its run, loaded in one line."""

import json
from pathlib import Path

import keras

from coopnets_tf import checkpoints
from coopnets_tf.files import write_json
from coopnets_tf.runs import RunError
from coopnets_tf.version import __version__

DESCRIPTION = "model.json"


def describe(model, run_dir, *, dataset):
    """Writes `model.json`, from which `load` builds the nets again.

    Args:
      model: `Learner`.
      run_dir: `Path`.
      dataset: str; what it is trained on.
    """
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)  # loaded for use, it needs no optimizers
    content = {"package_version": __version__, "dataset": dataset, "model": config}
    write_json(run_dir / DESCRIPTION, content)


def description(run_dir):
    """What `describe` wrote, a dict.

    Raises:
      RunError: if it is missing or cannot be read.
    """
    try:
        found = json.loads((run_dir / DESCRIPTION).read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError) as error:
        raise RunError(
            f"{run_dir} holds no trained model: {DESCRIPTION} cannot be read ({error})."
        ) from error
    return found


def load(path, *, checkpoint="newest"):
    """Loads a trained model, frozen for use.

    ```python
    import coopnets_tf

    model = coopnets_tf.load("runs/digits-1")
    images = model.sample(64, seed=0)
    ```

    Args:
      path: the folder of a run (its newest checkpoint), a checkpoint of a run such as
        `runs/digits-1/checkpoints/ckpt-3000`, a `.keras` file, or an address of the
        Hugging Face hub, `hf://user/name`.
      checkpoint: of a run, "newest", "best" or the number of a step.

    Returns:
      `CoopNets`, `AlgorithmD` or `AlgorithmG`. Not compiled if it comes from a run; its
      generator has averaged weights, where the run kept them, and exact batch norm
      statistics.

    Raises:
      RunError: if there is no trained model, or it is of another version's making.
    """
    if str(path).startswith("hf://") or str(path).endswith(".keras"):
        model = _keras_file(str(path))
    else:
        model = _run(path, checkpoint)
    model.freeze()
    return model


def _keras_file(path):
    try:
        model = keras.saving.load_model(path)
    except ImportError:
        raise  # Keras tells what to install
    except Exception as error:  # a file of other making fails in many ways
        raise RunError(f"{path} cannot be loaded: {error}") from error
    if not hasattr(model, "freeze"):
        raise RunError(
            f"{path} holds no model of coopnets_tf but {type(model).__name__}."
        )
    return model


def _run(path, which):
    checkpoint = checkpoints.find(path, which)
    run_dir = Path(checkpoint).parent.parent
    found = description(run_dir)
    try:
        model = keras.saving.deserialize_keras_object(found["model"])
    except Exception as error:  # what another version wrote fails in many ways
        raise RunError(
            f"{run_dir} was written by coopnets_tf {found.get('package_version')} and "
            f"cannot be read by {__version__}: {error}"
        ) from error
    _, misfits = checkpoints.load_networks(model, checkpoint, for_use=True)
    if misfits:
        raise RunError(f"{checkpoint} does not fit {DESCRIPTION}: {'; '.join(misfits)}")
    model.step.assign(checkpoints.step_of(checkpoint))
    return model
