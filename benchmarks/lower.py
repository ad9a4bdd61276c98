"""The training step as StableHLO, for machines that have JAX's runtime.

    python -m benchmarks.lower --out=DIR [any flag of main.py]
    python DIR/run.py --steps=1000          # there: JAX and NumPy are enough
    python -m benchmarks.lower --state=DIR/state-1000.npz --workdir=RUN [the same flags]

The first line writes the step that main.py would run with these flags (but for --flip,
--training_mask, --init_from and networks of one's own), with its noise, optimizers and
averages: `step.mlir`; its initial state, `state.npz`; the first
training images, `images.npz`; what they are called, `step.json`; and `run.py`, which is
`benchmarks/lowered.py`. The third makes a run of what came back, to sample, evaluate,
export and resume. Noise is XLA's, which differs from TensorFlow's own.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
from absl import app
from absl import flags as absl_flags

import flags
import surroundings

OUT = absl_flags.DEFINE_string("out", None, "New folder to write.")
IMAGES = absl_flags.DEFINE_integer(
    "images_along", 1000, "How many training images to write.", lower_bound=1
)
STATE = absl_flags.DEFINE_string("state", None, "State to make a run of.")
DRIVER = Path(__file__).with_name("lowered.py")


def state_of(model):
    """The variables that a training step depends on, by name."""
    from coopnets_tf.variables import named_slots, named_variables

    named = {"step": model.step.value, "rollbacks": model.rollbacks.value}
    for part, net in model.nets.items():
        for place, variables in (
            (part, named_variables(net)),
            (f"{part}_optimizer", named_slots(part, net)),
            ("kept", model.kept),
        ):
            named |= {f"{place}.{name}": one for name, one in variables.items()}
    metrics = enumerate(model.metrics_variables)
    return named | {f"metrics.{number}": one.value for number, one in metrics}


def lowered(model, batch):
    """The step of a model as a text of StableHLO.

    Its arguments are the variables of `state_of`, in their order, and the parts of the
    batch by their names; its results the variables after the step and the metrics. More
    arguments and results, of which nothing depends, follow.
    """
    import tensorflow as tf

    variables = list(state_of(model).values())

    @tf.function(autograph=False, jit_compile=True)
    def step(state, batch):
        for variable, value in zip(variables, state, strict=True):
            variable.assign(value)
        metrics = model.train_step(batch)
        return [variable.read_value() for variable in variables], metrics

    state = [variable.read_value() for variable in variables]
    known = {one.ref() for one in variables}
    for variable in step.get_concrete_function(state, batch).graph.variables:
        if variable.ref() not in known:
            raise RuntimeError(f"{variable.name} is not in `state_of`")
    text = step.experimental_get_compiler_ir(state, batch)(stage="stablehlo")
    # A dialect of XLA's own, for what is the same as a conversion to its own type.
    return re.sub(r"mhlo\.copy (%\S+) : ", r"stablehlo.convert \1 : ", text)


def built():
    """The data and the model that the flags ask for, and the settings."""
    from commands import build, train

    settings = flags.settings()
    dataset, _ = train.data_and_evaluations({**settings, "evaluate_every": None})
    settings = train.planned(settings, dataset.steps_per_epoch(settings["batch_size"]))
    # The guard's variables are those of one session, and no part of the state.
    unguarded = {**settings, "guard": False, "jit_compile": "on"}
    model = build.model(unguarded, dataset.image_shape, dataset.num_images)
    return dataset, model, settings


def write(folder):
    """Writes what a machine with JAX needs."""
    import tensorflow as tf

    dataset, model, settings = built()
    folder = Path(folder)
    if folder.exists():
        sys.exit(f"Error: --out={folder} exists. Give a new folder.")
    folder.mkdir(parents=True)
    number = settings["batch_size"]
    most = max(min(IMAGES.value, dataset.num_images), number)
    chosen = np.arange(most // number * number)
    data = {"images": dataset[chosen]}
    if "latents" in model.kept:
        data["numbers"] = chosen.astype(np.int32)
    batch = {name: tf.constant(value[:number]) for name, value in data.items()}
    (folder / "step.mlir").write_text(lowered(model, batch))
    state = {name: variable.numpy() for name, variable in state_of(model).items()}
    np.savez_compressed(folder / "state.npz", **state)
    np.savez_compressed(folder / "images.npz", **data)
    facts = {
        "state": list(state),
        "batch": {name: number for name in data},
        "metrics": sorted(model.means),
        "flops_per_step": _flops(model, number),
        "flags": sys.argv[1:],
    }
    (folder / "step.json").write_text(json.dumps(facts, indent=1))
    shutil.copy(DRIVER, folder / "run.py")
    print(f"{folder}: run it with `python {folder}/run.py --steps=100`")


def _flops(model, batch_size):
    from benchmarks import step

    try:
        return step.step_flops(model, batch_size)
    except (ValueError, IndexError):  # of networks without a table of such layers
        return None


def make_run(state, run_dir):
    """Makes a run of a state that came back."""
    from commands import train
    from coopnets_tf.runs import folder, saving
    from coopnets_tf.runs.checkpoints import Checkpoints

    dataset, model, settings = built()
    with np.load(state) as values:
        for name, variable in state_of(model).items():
            variable.assign(values[name])
    run_dir = folder.create_run(run_dir, name="lowered")
    run = train.run_of(settings, run_dir, dataset, None)
    saving.describe(model, run)
    flags.save(run_dir / flags.SAVED, [f"of {state}"], settings)
    folder.record_data(run_dir, dataset)
    Checkpoints(model, run).save(int(model.step))
    print(f"{run_dir}: step {int(model.step)}")


def main(_):
    surroundings.load_tensorflow()
    if STATE.value:
        make_run(STATE.value, flags.settings()["workdir"])
    elif OUT.value:
        write(OUT.value)
    else:
        sys.exit("Give --out=DIR, or --state=FILE and --workdir=RUN.")


if __name__ == "__main__":
    app.run(main, flags_parser=flags.parse)
