"""Flags and presets of main.py. Knows absl, not the package."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from absl import flags as absl_flags

import flags.definitions  # noqa: F401, defines them
from flags import pages, program, rules, runs, words
from flags.facts import FACTS, Settings, acting, defaults, keeps_latents
from flags.places import ARCHIVES, CLIPS, NAMED, TEXTURES
from flags.runs import SAVED
from flags.words import PRESETS, Given, Refused

__all__ = [
    "FACTS",
    "PRESETS",
    "SAVED",
    "acting",
    "faster",
    "keeps_latents",
    "parse",
    "program",
    "save",
    "saved",
    "settings",
]

FLAGS: Any = absl_flags.FLAGS
# Presets for small machines, by those that are loaded unasked.
FAST = {"mnist": "mnist_fast", "cifar10": "cifar10_fast", "scene": "face_fast"}
# Lengths, and what says nothing of how a net learns.
NO_CHOICE = {"dataset", "num_iterations", "sample_every", "checkpoint_every"}
ARGUMENTS = {  # of the package, that are flags by another name
    "class_folders": "conditional",
    "layer": "extractor_layer",
    "num_classes": "conditional",
}
HELP = {
    **dict.fromkeys(["h", "help", "helpshort"], pages.first),
    "helpfull": pages.full,
}


def with_flags(text: str) -> str:
    """A message of the package, whose arguments in backquotes are flags here."""

    def flag(match):
        name = ARGUMENTS.get(match[1], match[1])
        return f"--{name}" if name in FACTS else match[0]

    return re.sub(r"`(\w+)`", flag, text)


def presets(settings: Settings) -> list[Path]:
    """The flagfiles that go with a data set and an algorithm; a later one wins."""
    own = PRESETS / f"{settings['algorithm']}.cfg"
    preset = preset_of(settings["dataset"], settings["num_frames"])
    return [*_for_g1(settings), preset, *([own] if own.exists() else [])]


def _for_g1(settings):
    """The step that G1 needs in CoopNets; on digits that of the authors was stable."""
    joint = settings["algorithm"] == "coopnets" and settings["generator_num_steps"]
    return [PRESETS / "g1.cfg"] if joint and settings["dataset"] != "digits" else []


def preset_of(dataset: str, num_frames: int | None = None) -> Path:
    """The flagfile that goes with a data set.

    A folder is treated as scenes, or, with `num_frames`, as frames of one clip.
    """
    path = Path(dataset)
    suffix = path.suffix.lower()
    if dataset in NAMED:
        name = "texture" if dataset in TEXTURES else dataset
    elif num_frames or suffix in CLIPS:
        name = "moving_texture"
    elif path.is_file() and suffix not in ARCHIVES:
        name = "texture"
    else:
        name = "scene"
    return PRESETS / f"{name}.cfg"


def faster(settings: Settings) -> Path | None:
    """The preset for small machines that goes with a data set, if a training has those
    of the data set's own settings that it would change, lengths apart; else None.
    """
    if settings["mode"] != "train" or settings["resume"]:
        return None
    preset = preset_of(settings["dataset"], settings["num_frames"])
    if preset.stem not in FAST or settings["algorithm"] != "coopnets":
        return None
    path = PRESETS / f"{FAST[preset.stem]}.cfg"
    slow = {**defaults(), **{one.name: one.value for one in words.read_file(preset)}}
    fast = {**slow, **{one.name: one.value for one in words.read_file(path)}}
    changed = {name for name in fast if fast[name] != slow[name]} - NO_CHOICE
    kept = (changed | {"network"}) - {"image_size"}
    return path if all(settings[name] == slow[name] for name in kept) else None


def settings() -> dict[str, Any]:
    """The value of every flag, by name, as the commands take them."""
    return {name: FLAGS[name].value for name in FACTS}


def saved(settings: Settings) -> dict[str, Any]:
    """The values that a run records: of the flags that act in it, and are its own."""
    return {
        name: settings[name]
        for name in acting(settings)
        if FACTS[name].saved and settings[name] is not None
    }


def parse(argv: list[str]) -> list[str]:
    """Parses the presets of data set and algorithm, then the user's flags, which win.

    The first word may be a mode: `sample` is short for `--mode=sample`.

    With `--resume`, and in all modes but train, the flags of the run take the place of
    the presets; with `--resume` what would change its mathematics is refused.

    What is wrong ends the program with one line; `--help`, `--print_config` and
    `--version` end it with what they print.

    Returns:
      The program's name alone, as `absl.app.run` wants it.
    """
    if "version" in map(words.name_of, argv[1:]):
        _show(program.versions())
    given = [word for word in argv[1:] if not _page(word)]
    page = next(filter(None, map(_page, argv[1:])), None)
    text = ""
    try:
        given = words.with_mode(given)
        values = _values(given)
        if page or values["print_config"]:
            text = page(values) if page else pages.config(values, given)
    except (Refused, OSError) as error:
        if page is None:
            _refuse(f"{error} See --help.")
        text = f"{page(_unchecked(given))}\n\nThis would be refused: {error}"
    if text:
        _show(text)
    for name, value in values.items():
        FLAGS[name].value = value
    FLAGS.mark_as_parsed()
    return argv[:1]


def _page(word):
    """The help that a word asks for; that of absl where a benchmark uses its app."""
    name = words.name_of(word)
    return None if name in FLAGS else HELP.get(name)


def _unchecked(texts):
    """What help can show of a command line that is refused."""
    try:
        typed = {one.name: one.value for one in words.read(texts)}
    except Refused:
        typed = {}
    values = {**defaults(), **typed}
    return {**values, **_preset_values(values), **typed}


def _show(text: str) -> NoReturn:
    print(text, flush=True)
    sys.exit(0)


def _refuse(text: str) -> NoReturn:
    line = text.replace("\n", "\\n")  # a value may have any characters
    print(f"Error: {line}", file=sys.stderr)
    sys.exit(2)


def _values(texts):
    """The value of every flag on a command line."""
    given = words.read(texts)
    own = {one.name: one for one in given if one.name in FACTS}  # the last one wins
    typed = {name: one.value for name, one in own.items()}
    values = _complete({**defaults(), **typed})
    rules.other_modes(values, given)
    rules.pairs(values)
    mode, workdir, run = values["mode"], values["workdir"], None
    if values["resume"] or mode != "train":
        run = runs.begun(workdir, resume=values["resume"])
        base, workdir = run.values, str(run.folder)
    else:
        base = _preset_values(values)
        if workdir:
            runs.refuse_used(workdir)
    fresh = {name for name, facts in FACTS.items() if mode in facts.own}
    base = {name: value for name, value in base.items() if name not in fresh}
    base |= {name: None for name, facts in FACTS.items() if mode in facts.if_typed}
    values = _complete({**defaults(), **base, **typed}) | {"workdir": workdir}
    values |= {"epochs": _epochs(own), "trust_network": _consents(own, values)}
    _refuse_wrong(values, set(typed), run)
    for one in given:
        if one.name not in FACTS:  # a benchmark's own, also the help of absl's app
            FLAGS[one.name].parse(str(one.value))
    return values


def _refuse_wrong(values, typed, run):
    if run and not run.in_python:
        begun = _complete({**defaults(), **run.values})
        rules.changes(values, begun, run.folder / SAVED)
    rules.training_masks(values)
    rules.two_sizes(values)
    rules.hosts(values)
    rules.other_algorithms(values, _names_in_presets(values))
    rules.impossible_chains(values)
    rules.dual_teaching(values)
    rules.missing_places(values, typed, in_run=run is not None)
    for name, value in saved(values).items():
        pages.line(name, value)  # refuses what could not be saved


def _preset_values(values):
    files = presets(values)
    return {one.name: one.value for path in files for one in words.read_file(path)}


def _names_in_presets(values):
    """The flags that presets of data sets give to all algorithms: of pictures any, as
    in flagfiles made from them, of clips their own.
    """
    files = set(map(preset_of, (*NAMED, "folder")))
    if values["dataset"]:
        files.add(preset_of(values["dataset"], values["num_frames"]))
    return {one.name for path in files for one in words.read_file(path)}


def _complete(values):
    """Paths mean the same wherever a flagfile is used."""
    return {
        name: _whole_path(name, value) if value and FACTS[name].path else value
        for name, value in values.items()
    }


def _whole_path(name, value):
    """A path that begins with ~ is in a home; what exists is saved in full."""
    if isinstance(value, list):
        return [_whole_path(name, one) for one in value]
    try:
        path = Path(value).expanduser()
    except RuntimeError as error:
        raise Refused(f"--{name}={value}: {error}") from error
    if value in FACTS[name].choices:
        return value
    return str(path.resolve() if FACTS[name].saved and path.exists() else path)


def _epochs(own: Mapping[str, Given]) -> int | None:
    """They are the length of a training if they were typed: a flagfile's --epochs give
    way to --num_iterations on the command line, and the other way round.
    """
    steps, epochs = own.get("num_iterations"), own.get("epochs")
    if steps and epochs and steps.flagfile == epochs.flagfile:
        raise Refused(
            "--epochs and --num_iterations are two lengths of one training. Leave one "
            "of them out."
        )
    return None if not epochs or steps and epochs.flagfile else epochs.value


def _consents(own: Mapping[str, Given], values: Settings) -> bool:
    """Whether the user, and not a flagfile of somebody's, consents to run a file.

    Who names a file that is there has consented to run that one.
    """
    said, named = own.get("trust_network"), own.get("network")
    if said and not said.flagfile:
        return said.value
    return bool(named and not named.flagfile and Path(values["network"]).is_file())


def save(path: Path, heading: list[str], settings: Settings) -> None:
    """Writes the run's flags as a flagfile that repeats the run.

    Args:
      path: the comments of a file that is there already are kept.
      heading: comments.
      settings: values by the flags' names.
    """
    old = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    lines = [line for line in old if line.startswith("#")]
    lines += [f"# {line}" for text in heading for line in text.splitlines()]
    lines += [pages.line(*item) for item in saved(settings).items()]
    new = path.with_name(f".{path.name}.new")
    # A comment may name a folder whose name is not text.
    text = "\n".join(lines) + "\n"
    new.write_text(text, encoding="utf-8", errors="backslashreplace")
    new.replace(path)
