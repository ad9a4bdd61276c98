"""What main.py prints about its flags: a page of help, all flags, or a flagfile."""

import shlex
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from absl import flags as absl_flags

from flags import program
from flags.facts import FACTS, Settings, acting
from flags.words import Refused

WIDTH, COLUMN = 80, 36  # of the first page, and where its help begins
FIRST = """\
Trains cooperative networks, and uses what was trained. Two nets learn together:
the generator drafts images, the descriptor revises them by Langevin dynamics.
Each run fills a folder with metrics, pictures, checkpoints and the nets.

  {train:<34}trains on a data set, or your FOLDER
  {use:<34}uses the newest run; also interpolate,
                                    reconstruct, recover, evaluate, export
  {show:<34}serves a page to look at it and to play

What matters most, with the values in effect:
"""
LAST = """
For small machines: --flagfile=flags/face_fast.cfg (photographs), digits_fast,
mnist_fast, cifar10_fast. All flags: --helpfull. As a flagfile: --print_config.
Of another data set, algorithm or mode: --help --dataset=mnist, sample --help.
A mode may be the first word or --mode=sample. What is installed: --version."""


def first(settings: Settings) -> str:
    """The flags that matter most, with the values that they would have: one screen."""
    shown = [name for name in acting(settings) if FACTS[name].basic]
    name = program.name()
    top = FIRST.format(
        train=f"{name} --dataset=mnist",
        use=f"{name} --mode=sample",
        show=f"{name} show",
    )
    return "\n".join([top, *(_row(name, settings[name]) for name in shown), LAST])


def _row(name, value):
    flag = f"  {_shown(name, value)}"
    if len(flag) > COLUMN - 2:
        return f"{flag}\n{' ' * COLUMN}{FACTS[name].basic}"
    return f"{flag:<{COLUMN}}{FACTS[name].basic}"


def _shown(name, value):
    return f"--{name}" if value is None else f"--{name}={_text(value)}"


def _text(value):
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)


def full(settings: Settings) -> str:
    """All flags by what they are about, as wide as the terminal."""
    width = max(shutil.get_terminal_size((WIDTH, 24)).columns, 60)
    groups: dict[str, list[str]] = {}
    for name, facts in FACTS.items():
        groups.setdefault(facts.group, []).append(_entry(name, settings[name], width))
    return "\n\n".join(
        "\n".join([group.capitalize(), *entries]) for group, entries in groups.items()
    )


def _entry(name, value, width):
    flag: Any = absl_flags.FLAGS[name]
    choices = getattr(flag.parser, "enum_values", None)
    help = flag.help
    if choices:  # absl has put them in front
        help = f"{help.partition('>: ')[2]} One of {', '.join(choices)}."
    text = textwrap.fill(
        help,
        width,
        initial_indent="      ",
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"  {_shown(name, value)}\n{text}"


def config(settings: Settings, words: Sequence[str]) -> str:
    """The flagfile of the values in effect.

    Raises:
      Refused: if it cannot hold one of them.
    """
    lines = [
        line(name, settings[name])
        for name in acting(settings)
        if settings["mode"] != "train"
        or FACTS[name].saved
        or settings[name] != FACTS[name].default
        if settings[name] is not None and name not in ("print_config", "trust_network")
    ]
    comment = " ".join([program.name(), *map(shlex.quote, words)])
    comment = comment.encode("utf-8", "backslashreplace").decode("utf-8")
    return "\n".join([*(f"# {one}" for one in comment.splitlines()), *lines])


def line(name: str, value: Any) -> str:
    """One line of a flagfile.

    Raises:
      Refused: if it cannot hold the value, as not every name that a folder may have.
    """
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    text = f"--{name}={_text(value)}"
    printable = text.encode("utf-8", "replace").decode("utf-8") == text
    if not printable or [text.strip()] != text.splitlines():
        raise Refused(
            f"--{name} has line breaks, spaces at its end or bytes that are not text, "
            f"which a flagfile cannot hold. Received: {value!r}. Rename it."
        )
    return text
