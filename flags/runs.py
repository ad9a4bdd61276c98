"""The runs that a command line is about: where they are, and with what they began."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flags import places, words
from flags.facts import FACTS, nearest
from flags.words import Refused

SAVED = "flags.cfg"  # in the folder of a run that main.py made
DESCRIPTION = "model.json"  # in that of every run that has begun
SUMS = "SHA256SUMS"  # in that of a copy for others


class Begun(NamedTuple):
    """The folder of a run, the values that it has in place of presets, and whether it
    was made in Python.
    """

    folder: Path
    values: Mapping[str, Any]
    in_python: bool


def newest_run(root: Path = Path("runs")) -> Path | None:
    """The folder in `root` whose run was begun or resumed last; None without one."""
    found = sorted(root.glob(f"*/{DESCRIPTION}"), key=lambda path: path.stat().st_mtime)
    return found[-1].parent if found else None


def begun(workdir: str | None, *, resume: bool) -> Begun:
    """The run in a folder, by default the newest one.

    Args:
      workdir: also the name of trained nets that come with the program, to use them.
      resume: it is to go on, as only one can that main.py made; else it is to be used.

    Raises:
      Refused: if there is none, or what it began with cannot be read.
    """
    folder = Path(workdir) if workdir else newest_run()
    if folder is None:
        raise Refused("runs/ holds no run. Name the folder of one by --workdir.")
    if not (folder / DESCRIPTION).is_file() and workdir:
        folder = next(iter(places.trained(workdir)), folder)
    if resume and (folder / SUMS).is_file():
        name = workdir or folder
        raise Refused(
            f"--workdir={name} is a copy of a run, without what it would go on with. "
            f"Begin a new run with its nets: --init_from={name}."
        )
    if not folder.exists():
        known = [one.name for one in places.trained()]
        hint = nearest(str(workdir), known) or places.beside(folder)
        raise Refused(f"--workdir={folder} does not exist.{hint}")
    needed = SAVED if resume else DESCRIPTION
    if not (folder / needed).is_file():
        python = " One made in Python goes on there, by coopnets_tf.train."
        way_out = python if (folder / DESCRIPTION).is_file() else ""
        raise Refused(f"--workdir={folder} holds no run: it has no {needed}.{way_out}")
    if (folder / SAVED).is_file():
        given = words.read_file(folder / SAVED)
        own = {one.name: one.value for one in given if _of_runs(one.name)}
        return Begun(folder, own, in_python=False)
    return Begun(folder, _described(folder / DESCRIPTION), in_python=True)


def _of_runs(name):
    return name in FACTS and FACTS[name].saved


def _described(path):
    """Which images a run made in Python has, if it says so."""
    try:
        dataset = json.loads(path.read_text(encoding="utf-8")).get("dataset")
    except (ValueError, AttributeError):
        return {"dataset": None}  # whoever loads it says what is wrong
    if not isinstance(dataset, dict):
        dataset = {"dataset": dataset}
    try:
        return {"dataset": None} | {
            name: words.value_of(name, _text(value))
            for name, value in dataset.items()
            if value is not None and _of_runs(name)
        }
    except Refused as error:
        raise Refused(f"{path}: {error}") from error


def _text(value):
    """As a flag has it; the only lists are sizes, [height, width]."""
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def refuse_used(workdir: str) -> None:
    """Stops where a new run would meet another one."""
    folder = Path(workdir)
    if any((folder / name).exists() for name in (SAVED, DESCRIPTION)):
        raise Refused(
            f"--workdir={workdir} holds a run already, which is never overwritten. "
            "Give another, none for a new one, or --resume to go on with it."
        )
    if folder.is_file():
        raise Refused(f"--workdir={workdir} is a file. Give another.")
