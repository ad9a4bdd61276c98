"""The words of a command line, and the lines of flagfiles, become flags' values."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags as absl_flags

from flags.facts import FACTS, MODES, closest, nearest

FLAGS: Any = absl_flags.FLAGS
PRESETS = Path(__file__).parent
OLD_NAMES = {  # the first two in flags.cfg of version 0.1
    "num_noise_steps": "descriptor_noise_until",
    "generator_num_noise_steps": "generator_noise_until",
    "evaluate_real": "evaluate_baselines",
}


class Refused(Exception):
    """What is wrong with a command line, in a sentence or two."""


class Given(NamedTuple):
    """A flag that was given: its value, and the flagfile that has it, if any."""

    name: str
    value: Any
    flagfile: str | None = None


class Word(NamedTuple):
    text: str
    flagfile: str | None = None
    line: int = 0

    def refusal(self, wrong: str) -> Refused:
        place = f"{self.flagfile}, line {self.line}: " if self.flagfile else ""
        return Refused(f"{place}{wrong}")


def with_mode(words: list[str]) -> list[str]:
    """The words of a command line, of which the first may be a mode, as flags alone.

    Raises:
      Refused: if it is neither a mode nor a flag, or the mode is given twice.
    """
    if not words or words[0].startswith("-"):
        return words
    mode, rest = words[0], words[1:]
    if mode not in MODES:
        raise Refused(
            f"The first word must be a flag, or a mode: {', '.join(MODES)}. Received: "
            f"{mode or 'nothing'}.{nearest(mode, MODES)}"
        )
    if any(name_of(word) == "mode" for word in rest):
        raise Refused(f"The mode is {mode} already. Leave out --mode.")
    return [*rest, f"--mode={mode}"]  # at the end, so that it wins over a flagfile's


def read(words: Iterable[str]) -> list[Given]:
    """The flags among the words of a command line, and in the flagfiles it names.

    Raises:
      Refused: if a word is no flag, or has a wrong value.
    """
    return list(_read(Word(text) for text in words))


def read_file(path: Path) -> list[Given]:
    """The flags in a flagfile, UTF-8, one a line; comments begin with # or //."""
    return read([f"--flagfile={path}"])


def name_of(word: str) -> str:
    """The flag that a word is about, such as seed of --seed=3."""
    return word.lstrip("-").partition("=")[0] if word.startswith("-") else ""


def value_of(name: str, text: str) -> Any:
    """The value that a text is for a flag.

    Raises:
      Refused: if it is none.
    """
    facts = FACTS.get(name)
    try:
        value = FLAGS[name].parser.parse(text)
    except ValueError as error:
        if not facts:  # a benchmark's own
            raise Refused(f"--{name}={text}: {error}.") from error
    else:
        if not facts or facts.good(value):
            return value
    unknown = [one for one in text.split(",") if one not in facts.choices]
    hint = nearest(unknown[0] if unknown else text, facts.choices)
    raise Refused(
        f"--{name} must be {facts.must}. Received: {text or 'nothing'}.{hint}"
    )


def _read(words: Iterable[Word], within: tuple[str, ...] = ()) -> Iterator[Given]:
    rest = iter(words)
    for word in rest:
        name, equals, text = word.text.lstrip("-").partition("=")
        name = OLD_NAMES.get(name, name)
        if not word.text.startswith("-") or not name:
            raise word.refusal(f"Flags begin with --. Received: {word.text}.")
        if name not in FLAGS and name != "flagfile":
            name, equals, text = _switched_off(word, name, equals), "=", "false"
        if not equals and name in FLAGS and FLAGS[name].boolean:
            text = "true"
        elif not equals:
            following = next(rest, None)
            if following is None or following.text.startswith("--"):
                raise word.refusal(f"--{name} needs a value: --{name}=...")
            text = following.text
        if name == "flagfile":
            yield from _read(_lines(word, text, within), (*within, text))
            continue
        try:
            yield Given(name, value_of(name, text), word.flagfile)
        except Refused as error:
            raise word.refusal(str(error)) from error


def _switched_off(word, name, equals):
    """The switch that --no<name> is about."""
    switch = name.removeprefix("no")
    switch = OLD_NAMES.get(switch, switch)
    if switch == name or switch not in FLAGS or not FLAGS[switch].boolean:
        raise word.refusal(f"There is no flag --{name}.{_suggestion(name)}")
    if equals:
        raise word.refusal(f"--{name} takes no value. Received: {word.text}.")
    return switch


def _suggestion(name):
    found = [known for known in FACTS if known.endswith(f"_{name}")]
    found = found or difflib.get_close_matches(name, FACTS, cutoff=0.8)
    found = found or [known for known in FACTS if known.startswith(f"{name}_")]
    return f" Did you mean {' or '.join(f'--{one}' for one in found)}?" if found else ""


def _lines(word, path, within):
    """The words of a flagfile, which a word names."""
    if path in within:
        raise word.refusal(f"--flagfile={path} is within itself.")
    try:
        content = _place(path).read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(getattr(error, "strerror", None) or error).rstrip(".")
        preset = closest(Path(path).stem, [one.stem for one in PRESETS.glob("*.cfg")])
        hint = f" Did you mean flags/{preset}.cfg?" if preset else ""
        wrong = f"--flagfile={path} cannot be read: {reason}.{hint}"
        raise word.refusal(wrong) from error
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise Word("", path, number).refusal("This is not text in UTF-8.") from error
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.strip().startswith(("#", "//")):
            yield Word(line.strip(), path, number)


def _place(path):
    """A flagfile; where there is no flags/mnist_fast.cfg, that is the preset."""
    place = Path(path).expanduser()
    is_preset = place.parent == Path("flags") and not place.exists()
    return PRESETS / place.name if is_preset else place
