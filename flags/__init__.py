"""Flags and presets of main.py. Knows absl, not the package."""

import math
import sys
from pathlib import Path

from absl import flags as absl_flags

from flags import definitions

PRESETS = Path(__file__).parent
FLAGS = absl_flags.FLAGS
# Facts about one call and not about the run: a flagfile must not repeat them.
NOT_SAVED = (
    "mode",
    "workdir",
    "resume",
    "debug",
    "checkpoint",
    "output",
    "num_images",
    "images",
    "revise_steps",
    "infer_steps",
    "num_draws",
    "format",
    "interpolation",
    "animation",
    "mask",
    "split",
    "parzen_protocol",
    "evaluate_real",
    "export_samples",
    "export_format",
    "hub",
    "license",
)
# The data sets with a preset of their own; all others are folders.
NAMED = ("digits", "mnist", "fashion_mnist", "cifar10")
PATHS = (
    "dataset",
    "data_dir",
    "workdir",
    "init_from",
    "output",
    "mask",
    "training_mask",
    "inception_weights",
    "export_samples",
)
# Flags that only some modes read, and those.
OF_MODES = {
    "checkpoint": "sample interpolate reconstruct recover evaluate export",
    "output": "sample interpolate reconstruct recover evaluate export",
    "num_images": "sample reconstruct recover",
    "images": "interpolate reconstruct recover",
    "revise_steps": "sample recover",
    "infer_steps": "interpolate reconstruct recover",
    "num_draws": "recover",
    "format": "sample",
    "interpolation": "interpolate",
    "animation": "interpolate",
    "mask": "recover",
    "split": "evaluate",
    "parzen_protocol": "evaluate",
    "evaluate_real": "evaluate",
    "export_samples": "evaluate",
    "export_format": "export",
    "hub": "export",
    "license": "export",
}
# Flags that only some algorithms read, and those.
OF_ALGORITHMS = {
    "num_noise_steps": "coopnets descriptor",
    "langevin_clamp": "coopnets descriptor",
    "energy_penalty": "coopnets descriptor",
    "descriptor_gradient_weight": "coopnets descriptor",
    "num_persistent_chains": "descriptor",
    "refresh_probability": "descriptor",
    "generator_num_noise_steps": "coopnets generator",
    "training_mask": "generator",
}
CHAIN_INITS = {
    "coopnets": ("generator",),
    "descriptor": ("noise", "uniform", "data", "persistent"),
    "generator": (),
}
# What --keep_best of a net alone may be.
BEST_OF_ONE = {
    "descriptor": (
        "descriptor_loss",
        "energy_gap",
        "gradient_norm",
        "displacement",
        "saturation",
        "evaluation/descriptor/frechet_distance",
    ),
    "generator": ("generator_loss", "evaluation/generator/frechet_distance"),
}
# Choices of the evaluations in training, which are not those of a later one.
IN_TRAINING = (
    "metrics",
    "evaluation_samples",
    "evaluation_seed",
    "extractor",
    "inception_weights",
)
# What an evaluation must not take for something else.
TRAINED_ON = (
    "dataset",
    "num_held_out",
    "normalize",
    "image_size",
    "color_mode",
    "resize",
)
# What no use of a run can change.
IDENTITY = ("algorithm", "chain_init", "training_mask")
# What a resumed run may do otherwise than before; all else is its mathematics.
MAY_CHANGE = (
    "num_iterations",
    "data_dir",
    "log_every",
    "sample_every",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_best",
    "deterministic",
    "num_samples",
    "max_rollbacks",
    "evaluate_every",
    *IN_TRAINING,
)


def presets(dataset, algorithm):
    """The flagfiles that go with a data set and an algorithm."""
    own = PRESETS / f"{algorithm}.cfg"
    return [preset_of(dataset), *([own] if own.exists() else [])]


def preset_of(dataset):
    """The flagfile that goes with a data set; a folder is treated as scenes."""
    return PRESETS / f"{dataset if dataset in NAMED else 'scene'}.cfg"


def parse(argv):
    """Parses the presets of `--dataset` and `--algorithm` first, then the user's own
    flags, which win.

    With `--resume`, and in all modes but train, the flags of the run take the place of
    the presets; with `--resume` what would change its mathematics is refused.

    A `flags_parser` for `absl.app.run`: what is wrong ends the program with one line.
    """
    try:
        return _parse(argv)
    except (absl_flags.Error, OSError, UnicodeDecodeError) as error:
        _refuse(f"{error}. See --help.")


def _parse(argv):
    try:
        FLAGS(argv, known_only=True)
    except absl_flags.Error:
        pass  # the last line meets it again and explains it
    bases = presets(FLAGS["dataset"].value, FLAGS["algorithm"].value)
    typed = {name for name in IN_TRAINING if FLAGS[name].present}
    saved = None
    if FLAGS["resume"].value or FLAGS["mode"].value != "train":
        _expand("workdir")
        workdir = FLAGS["workdir"].value or newest_run()
        own = Path(workdir or "") / "flags.cfg"
        argv = [*argv, f"--workdir={workdir}"] if workdir else argv
        if workdir and own.is_file():
            bases, saved = [own], _parse_alone(argv[0], own)
    FLAGS.unparse_flags()
    rest = FLAGS([argv[0], *[f"--flagfile={base}" for base in bases], *argv[1:]])
    for name in PATHS:
        _expand(name)
    # A flagfile has to mean the same paths wherever it is used.
    dataset = FLAGS["dataset"].value
    if preset_of(dataset).name == "scene.cfg" and Path(dataset).is_dir():
        FLAGS["dataset"].value = str(Path(dataset).resolve())
    for name in ("init_from", "data_dir", "inception_weights"):
        if FLAGS[name].value:
            FLAGS[name].value = str(Path(FLAGS[name].value).resolve())
    mask = FLAGS["training_mask"].value
    if mask and Path(mask).is_file():
        FLAGS["training_mask"].value = str(Path(mask).resolve())
    scheduled = FLAGS["learning_rate_schedule"].value != "constant"
    if scheduled and FLAGS["schedule_steps"].value is None:
        FLAGS["schedule_steps"].value = FLAGS["num_iterations"].value
    mode = FLAGS["mode"].value
    for name, modes in OF_MODES.items():
        if FLAGS[name].present and mode not in modes.split():
            _refuse(
                f"--{name} is for --mode={modes.replace(' ', '|')}. "
                f"Received: --mode={mode}. See --help."
            )
    if mode == "evaluate":
        for name in set(IN_TRAINING) - typed:
            FLAGS[name].unparse()
    if saved is not None and FLAGS["resume"].value:
        mathematics = [name for name in saved if name not in MAY_CHANGE]
        _refuse_changes(saved, own, mathematics, "begin a new run without --resume")
    elif saved is not None:
        names = TRAINED_ON if _needs_its_data() else ()
        _refuse_changes(saved, own, (*IDENTITY, *names), "use a run that has it")
    _refuse_of_other_algorithms()
    _lines()  # refuses what could not be saved, before anything is done
    return rest


def _needs_its_data():
    """Whether what is done with a run needs the images it was trained on, as it was."""
    if FLAGS["mode"].value == "evaluate":
        return True
    if FLAGS["mode"].value != "recover" or FLAGS["mask"].value != "training":
        return False
    if FLAGS["training_mask"].value is None:
        _refuse(
            "--mask=training needs a run with --training_mask. Name another --mask."
        )
    if FLAGS["images"].value:
        _refuse("--mask=training is for the training images. Leave out --images.")
    return True


def _refuse_of_other_algorithms():
    """Stops where a flag does not go together with the algorithm, or with another."""
    algorithm = FLAGS["algorithm"].value
    received = f"Received: --algorithm={algorithm}. Leave it out; see --help."
    for name, own in OF_ALGORITHMS.items():
        flag = FLAGS[name]
        if flag.value != flag.default and algorithm not in own.split():
            _refuse(f"--{name} is for --algorithm={own.replace(' ', '|')}. {received}")
    for net in {algorithm} & set(BEST_OF_ONE):
        if FLAGS[f"{net}_num_steps"].value == 0:
            _refuse(
                f"--algorithm={net} needs --{net}_num_steps=1 or more. Received: 0."
            )
    best, init = FLAGS["keep_best"].value, FLAGS["chain_init"].value
    if best and best not in BEST_OF_ONE.get(algorithm, (best,)):
        _refuse(f"--keep_best={best} is not a metric of this algorithm. {received}")
    if init and init not in CHAIN_INITS[algorithm]:
        _refuse(
            "--chain_init=generator is for --algorithm=coopnets, all others for "
            f"--algorithm=descriptor. Received: --chain_init={init} and "
            f"--algorithm={algorithm}. Leave it out."
        )
    if init == "noise" and FLAGS["reference_stddev"].value == math.inf:
        _refuse(
            "--chain_init=noise draws from the reference, and --reference_stddev=inf "
            "is none. Take --chain_init=uniform."
        )
    kept, moved = FLAGS["num_persistent_chains"].value, FLAGS["num_chains"].value
    if init == "persistent" and kept < moved:
        _refuse(
            "--num_persistent_chains must be --num_chains or more. Received: "
            f"--num_persistent_chains={kept} and --num_chains={moved}."
        )
    for name in ("num_persistent_chains", "refresh_probability"):
        if init != "persistent" and FLAGS[name].value != FLAGS[name].default:
            _refuse(
                f"--{name} is for --chain_init=persistent. "
                f"Received: --chain_init={init}. Leave it out."
            )


def _expand(name):
    """A path that begins with ~ is meant to be in a home."""
    if FLAGS[name].value:
        try:
            FLAGS[name].value = str(Path(FLAGS[name].value).expanduser())
        except RuntimeError as error:
            _refuse(f"--{name}={FLAGS[name].value}: {error}")


def newest_run(root=Path("runs")):
    """The folder in `root` whose run was begun or resumed last; None without one."""
    runs = sorted(root.glob("*/flags.cfg"), key=lambda path: path.stat().st_mtime)
    return runs[-1].parent if runs else None


def _parse_alone(program, flagfile):
    FLAGS.unparse_flags()
    try:
        words = FLAGS([program, f"--flagfile={flagfile}"])[1:]
    except (absl_flags.Error, OSError, UnicodeDecodeError) as error:
        _refuse(f"{flagfile} is not as the run wrote it: {error}. Mend that line.")
    if words:
        _refuse(f"{flagfile} holds what is no flag: {words[0]}. Remove that line.")
    return values()


def _refuse_changes(saved, flagfile, names, way_out):
    for name in names:
        value = FLAGS[name].value
        if value != saved[name]:
            _refuse(
                f"--{name}={value} would change the run, which has "
                f"--{name}={saved[name]} in {flagfile}. Leave it out, or {way_out}."
            )


def _refuse(text):
    print(f"Error: {text}", file=sys.stderr)
    sys.exit(2)


def values():
    """The run's flags by name, in the order of their definition."""
    names = [flag.name for flag in FLAGS.get_key_flags_for_module(definitions)]
    return {name: FLAGS[name].value for name in names if name not in NOT_SAVED}


def save(path, heading):
    """Writes the run's flags as a flagfile that repeats the run.

    Args:
      path: `Path`; the comments of a file that is there already are kept.
      heading: list of str; comments.
    """
    old = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    lines = [line for line in old if line.startswith("#")]
    lines += [f"# {line}" for text in heading for line in text.splitlines()]
    lines += _lines()
    new = path.with_name(f".{path.name}.new")
    # A comment may name a folder whose name is no text.
    text = "\n".join(lines) + "\n"
    new.write_text(text, encoding="utf-8", errors="backslashreplace")
    new.replace(path)


def _lines():
    return [_line(FLAGS[name]) for name in values() if FLAGS[name].value is not None]


def _line(flag):
    """One line of a flagfile, which cannot hold every name that a folder may have."""
    line = flag.serialize()
    printable = line.encode("utf-8", "replace").decode("utf-8") == line
    if not printable or [line.strip()] != line.splitlines():
        _refuse(
            f"--{flag.name} has line breaks, spaces at its end or bytes that are no "
            f"text, which flags.cfg cannot hold. Received: {flag.value!r}. Rename it."
        )
    return line
