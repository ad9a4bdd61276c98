"""Flags and presets of main.py. Knows absl, not the package."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from absl import flags as absl_flags

from flags import definitions  # noqa: F401, defines them
from flags.facts import FACTS, overview

__all__ = ["FACTS", "SAVED", "overview", "parse", "save", "saved_names", "settings"]

PRESETS = Path(__file__).parent
FLAGS: Any = absl_flags.FLAGS
# The data sets with a preset; all others are folders.
NAMED = ("digits", "mnist", "fashion_mnist", "cifar10")
SAVED = "flags.cfg"  # in the folder of a run that main.py made


def presets(dataset: str, algorithm: str) -> list[Path]:
    """The flagfiles that go with a data set and an algorithm."""
    own = PRESETS / f"{algorithm}.cfg"
    return [preset_of(dataset), *([own] if own.exists() else [])]


def preset_of(dataset: str) -> Path:
    """The flagfile that goes with a data set; a folder is treated as scenes."""
    return PRESETS / f"{dataset if dataset in NAMED else 'scene'}.cfg"


def settings() -> dict[str, Any]:
    """The value of every flag, by name, as the commands take them."""
    return {name: FLAGS[name].value for name in FACTS}


def parse(argv: list[str]) -> list[str]:
    """Parses the presets of data set and algorithm, then the user's flags, which win.

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
    typed = {name for name in FACTS if FLAGS[name].present}
    resume, mode = FLAGS["resume"].value, FLAGS["mode"].value
    bases, saved = presets(FLAGS["dataset"].value, FLAGS["algorithm"].value), None
    if resume or mode != "train":
        _expand("workdir")
        workdir = FLAGS["workdir"].value or newest_run()
        argv = [*argv, f"--workdir={workdir}"] if workdir else argv
        bases, saved = _of_run(argv[0], Path(workdir or "nowhere"), bases)
    FLAGS.unparse_flags()
    words = [f"--flagfile={one}" if isinstance(one, Path) else one for one in bases]
    rest = FLAGS([argv[0], *words, *argv[1:]])
    if saved == {} and not {"dataset"} & {*typed, *_names(words)}:
        FLAGS["dataset"].value = None  # made in Python, of images that it did not name
    _complete()
    _refuse_of_other_modes(_names(argv[1:]))
    for name, facts in FACTS.items():
        if mode in facts.own and name not in typed:
            FLAGS[name].unparse()
    FLAGS["trust_network"].value = _consents(argv[1:])
    if saved:
        _refuse_changes(saved, Path(FLAGS["workdir"].value) / SAVED)
    _refuse_of_other_algorithms()
    for name in saved_names():
        _line(name, FLAGS[name].value)  # refuses what could not be saved
    return rest


def _of_run(program, workdir, otherwise):
    """What stands in place of the presets, and the values that a run was begun with.

    The latter are empty for a run that Python made, and None where there is no run.
    """
    if (workdir / SAVED).is_file():
        return [workdir / SAVED], _parse_alone(program, workdir / SAVED)
    if not (workdir / "model.json").is_file():
        return otherwise, None
    try:
        found = json.loads((workdir / "model.json").read_text(encoding="utf-8"))
        dataset = found.get("dataset") or {}
    except (ValueError, AttributeError):
        return [], {}  # whoever loads it says what is wrong
    if not isinstance(dataset, dict):
        dataset = {"dataset": dataset}
    given = {name: value for name, value in dataset.items() if value is not None}
    return [_line(name, value) for name, value in given.items() if name in FACTS], {}


def _consents(words):
    """Whether the user, and not a flagfile of somebody's, consents to run a file.

    Who names a file that is there has consented to run that one.
    """
    values = [word.lstrip("-").partition("=") for word in words if word[:1] == "-"]
    said = {name: value.lower() for name, _, value in values}
    if "notrust_network" in said:
        return False
    if said.get("trust_network", "false") in ("", "true", "t", "1", "yes", "y"):
        return True
    return "network" in said and Path(FLAGS["network"].value).is_file()


def _names(words):
    """The flags that are named among the words of a command line."""
    names = {word.lstrip("-").partition("=")[0] for word in words if word[:1] == "-"}
    return {name if name in FACTS else name.removeprefix("no") for name in names}


def _complete():
    """Paths mean the same wherever a flagfile is used; a schedule has a length."""
    for name, facts in FACTS.items():
        if not facts.path or not FLAGS[name].value:
            continue
        _expand(name)
        path = Path(FLAGS[name].value)
        named = name == "dataset" and FLAGS[name].value in NAMED
        if facts.saved and path.exists() and not named:
            FLAGS[name].value = str(path.resolve())
    scheduled = FLAGS["learning_rate_schedule"].value != "constant"
    if scheduled and FLAGS["schedule_steps"].value is None:
        FLAGS["schedule_steps"].value = FLAGS["num_iterations"].value


def _refuse_of_other_modes(typed):
    mode = FLAGS["mode"].value
    for name in sorted(typed & set(FACTS)):
        facts = FACTS[name]
        if mode not in (*facts.modes, *facts.fixed):
            _refuse(
                f"--{name} is for --mode={'|'.join(facts.modes)}. "
                f"Received: --mode={mode}. See --help."
            )


def _needs_its_data():
    """Whether what is done with a run needs the images it was trained on, as it was."""
    if FLAGS["mode"].value != "recover" or FLAGS["mask"].value != "training":
        return FLAGS["mode"].value == "evaluate"
    if FLAGS["training_mask"].value is None:
        _refuse(
            "--mask=training needs a run with --training_mask. Name another --mask."
        )
    if FLAGS["images"].value:
        _refuse("--mask=training is for the training images. Leave out --images.")
    return True


def _refuse_changes(saved, flagfile):
    """Stops where a flag would make a run another one."""
    resume, mode = FLAGS["resume"].value, FLAGS["mode"].value
    mode = "evaluate" if not resume and _needs_its_data() else mode
    way_out = "begin a new run without --resume" if resume else "use a run that has it"
    for name in saved:
        facts, value = FACTS[name], FLAGS[name].value
        free = facts.may_change if resume else mode not in facts.fixed
        if name == "dataset" and not {value, saved[name]} & {*NAMED}:
            free = True  # the same images at another place, which is checked later
        if value != saved[name] and not free:
            _refuse(
                f"--{name}={value} would change the run, which has "
                f"--{name}={saved[name]} in {flagfile}. Leave it out, or {way_out}."
            )


def _refuse_of_other_algorithms():
    """Stops where a flag does not go together with the algorithm, or with another."""
    algorithm = FLAGS["algorithm"].value
    received = f"Received: --algorithm={algorithm}. Leave it out; see --help."
    for name, facts in FACTS.items():
        value, changed = FLAGS[name].value, FLAGS[name].value != FLAGS[name].default
        given, owners = f"--{name}", list(facts.algorithms)
        if algorithm in owners and value in facts.by_algorithm.get(algorithm, (value,)):
            continue
        if algorithm in owners:
            given = f"--{name}={value}"
            owners = [
                one for one in owners if value in facts.by_algorithm.get(one, (value,))
            ]
        if value is not None and changed and name not in _names_in_presets():
            _refuse(f"{given} is for --algorithm={'|'.join(owners)}. {received}")
    for net in {algorithm} & {"descriptor", "generator"}:
        if FLAGS[f"{net}_num_steps"].value == 0:
            _refuse(
                f"--algorithm={net} needs --{net}_num_steps=1 or more. Received: 0."
            )
    _refuse_impossible_chains(FLAGS["chain_init"].value)


def _names_in_presets():
    """The flags that presets of data sets give to all algorithms."""
    files = {preset_of(name) for name in (*NAMED, "folder")}
    return _names(word for path in files for word in path.read_text().split())


def _refuse_impossible_chains(init):
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
    """A path that begins with ~ is in a home."""
    if FLAGS[name].value:
        try:
            FLAGS[name].value = str(Path(FLAGS[name].value).expanduser())
        except RuntimeError as error:
            _refuse(f"--{name}={FLAGS[name].value}: {error}")


def newest_run(root: Path = Path("runs")) -> Path | None:
    """The folder in `root` whose run was begun or resumed last; None without one."""
    runs = sorted(root.glob("*/model.json"), key=lambda path: path.stat().st_mtime)
    return runs[-1].parent if runs else None


def _parse_alone(program, flagfile):
    FLAGS.unparse_flags()
    try:
        words = FLAGS([program, f"--flagfile={flagfile}"])[1:]
    except (absl_flags.Error, OSError, UnicodeDecodeError) as error:
        _refuse(f"{flagfile} is not as the run wrote it: {error}. Fix that line.")
    if words:
        _refuse(
            f"{flagfile} contains what is not a flag: {words[0]}. Remove that line."
        )
    return {name: FLAGS[name].value for name in saved_names()}


def _refuse(text: str) -> NoReturn:
    print(f"Error: {text}", file=sys.stderr)
    sys.exit(2)


def saved_names() -> list[str]:
    return [name for name, facts in FACTS.items() if facts.saved]


def save(path: Path, heading: list[str], settings: Mapping[str, Any]) -> None:
    """Writes the run's flags as a flagfile that repeats the run.

    Args:
      path: the comments of a file that is there already are kept.
      heading: comments.
      settings: values by the flags' names.
    """
    old = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    lines = [line for line in old if line.startswith("#")]
    lines += [f"# {line}" for text in heading for line in text.splitlines()]
    values = {name: settings[name] for name in saved_names()}
    lines += [_line(*item) for item in values.items() if item[1] is not None]
    new = path.with_name(f".{path.name}.new")
    # A comment may name a folder whose name is not text.
    text = "\n".join(lines) + "\n"
    new.write_text(text, encoding="utf-8", errors="backslashreplace")
    new.replace(path)


def _line(name, value):
    """One line of a flagfile, which cannot hold every name that a folder may have."""
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    line = f"--{name}={','.join(value) if isinstance(value, list) else value}"
    printable = line.encode("utf-8", "replace").decode("utf-8") == line
    if not printable or [line.strip()] != line.splitlines():
        _refuse(
            f"--{name} has line breaks, spaces at its end or bytes that are not text, "
            f"which {SAVED} cannot hold. Received: {value!r}. Rename it."
        )
    return line
