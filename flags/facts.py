"""One definition of a flag: its name, default, help and range, and who reads it."""

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from absl import flags as absl_flags

ALGORITHMS = ("coopnets", "descriptor", "generator")
USES = (
    "sample",
    "interpolate",
    "reconstruct",
    "recover",
    "show",
    "evaluate",
    "export",
)
MODES = ("train", *USES)
WITH_DESCRIPTOR, WITH_GENERATOR = ("coopnets", "descriptor"), ("coopnets", "generator")
WITH_IMAGES = ("interpolate", "reconstruct", "recover")
NEED_DATA = ("reconstruct", "recover", "evaluate")


Settings = Mapping[str, Any]  # values by the flags' names


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a flag besides its name, type and help.

    Args:
      default: its value where nothing else gives one.
      group: what it is about, for the pages of help.
      basic: a few words for the first page of help, if it is there.
      modes: those that read it.
      algorithms: those whose training reads it.
      when: whether it acts with other values, in those modes and algorithms.
      must: what a value is, to follow "must be".
      good: whether a value is that, as far as its type does not say.
      choices: values that a wrong one may have been meant to be.
      path: it may name a file or folder: `~` is a home, and what exists is saved by its
        whole path.
      place: what must be there, see `places`.
      kept: a run has what it needs of that place.
      saved: it belongs to the run and not to one call; flags.cfg has it.
      may_change: a resumed run may have another value; all else is its mathematics.
      fixed: modes that refuse another value than the run's.
      own: modes that begin with the default instead of the run's value.
      if_typed: modes in which it has no value but a typed one.
      by_algorithm: what it may be with an algorithm, where that is less than anything.
    """

    group: str
    default: Any = None
    basic: str = ""
    modes: tuple[str, ...] = ("train",)
    algorithms: tuple[str, ...] = ALGORITHMS
    when: Callable[[Settings], bool] = lambda settings: True
    must: str = ""
    good: Callable[[Any], bool] = lambda value: True
    choices: tuple[str, ...] = ()
    path: bool = False
    place: Callable[[Any], str | None] = lambda value: None
    kept: bool = False
    saved: bool = True
    may_change: bool = False
    fixed: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    if_typed: tuple[str, ...] = ()
    by_algorithm: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict
    )


FACTS: dict[str, Facts] = {}


class Group:
    """Defines flags of one group, which share `facts`; a flag may override them."""

    def __init__(self, name: str, **facts: Any) -> None:
        self._facts = {"group": name, **facts}

    def _keep(self, name, facts, **own):
        default = absl_flags.FLAGS[name].default  # as its type has it
        FACTS[name] = Facts(**{"default": default, **self._facts, **own, **facts})

    def string(self, name: str, default: str | None, help: str, **facts: Any) -> None:
        absl_flags.DEFINE_string(name, default, help)
        self._keep(name, facts, must="a text", good=bool)

    def list(self, name: str, default: str | None, help: str, **facts: Any) -> None:
        absl_flags.DEFINE_list(name, default, help)
        self._keep(name, facts, must="some, with commas", good=bool)

    def enum(
        self,
        name: str,
        default: str | None,
        values: Sequence[str],
        help: str,
        **facts: Any,
    ) -> None:
        absl_flags.DEFINE_enum(name, default, [*values], help)
        must = " or ".join([", ".join(values[:-1]), values[-1]])
        self._keep(name, facts, must=must, choices=tuple(values))

    def boolean(self, name: str, default: bool, help: str, **facts: Any) -> None:
        absl_flags.DEFINE_boolean(name, default, help)
        self._keep(name, facts, must="true or false")

    def integer(
        self,
        name: str,
        default: int | None,
        help: str,
        *,
        low: int,
        high: int | None = None,
        **facts: Any,
    ) -> None:
        absl_flags.DEFINE_integer(name, default, help, low, high)
        limits = f"of {low} or more" if high is None else f"from {low} to {high}"
        self._keep(name, facts, must=f"a whole number {limits}")

    def number(
        self,
        name: str,
        default: float | None,
        help: str,
        *,
        good: Callable[[float], bool],
        must: str,
        **facts: Any,
    ) -> None:
        """A float for which `good` holds; NaN never does."""
        absl_flags.DEFINE_float(name, default, help)
        self._keep(name, facts, good=good, must=must)

    def positive(
        self, name: str, default: float | None, help: str, **facts: Any
    ) -> None:
        good, must = lambda value: 0 < value < math.inf, "a positive number"
        self.number(name, default, help, good=good, must=must, **facts)

    def weight(self, name: str, default: float | None, help: str, **facts: Any) -> None:
        good, must = lambda value: 0 <= value < math.inf, "0 or a positive number"
        self.number(name, default, help, good=good, must=must, **facts)

    def momentum(
        self, name: str, default: float | None, help: str, **facts: Any
    ) -> None:
        """Of a moving average."""
        good, must = lambda value: 0 < value < 1, "a number between 0 and 1"
        self.number(name, default, help, good=good, must=must, **facts)

    def seed(self, name: str, default: int, help: str, **facts: Any) -> None:
        self.integer(name, default, help, low=0, high=2**31 - 1, **facts)


def defaults() -> dict[str, Any]:
    """The default of every flag."""
    return {name: facts.default for name, facts in FACTS.items()}


def acting(settings: Settings) -> list[str]:
    """The flags that mode and algorithm read with these values of the others."""
    mode, algorithm = settings["mode"], settings["algorithm"]
    return [
        name
        for name, facts in FACTS.items()
        if mode in facts.modes
        and algorithm in facts.algorithms
        and facts.when(settings)
    ]


def keeps_latents(settings: Settings) -> bool:
    """Whether a training keeps latents of each image, by Algorithm G or dual teaching.
    Such images are never mirrored.
    """
    algorithm = settings["algorithm"]
    dual = algorithm == "coopnets" and settings["data_teaching"] > 0
    return dual or algorithm == "generator"


def closest(text: str, choices: Iterable[str]) -> str | None:
    """The choice most like a wrong one, if any."""
    known, text = list(choices), text.lower()
    begun = [one for one in known if text and one.lower().startswith(text)]
    found = begun or difflib.get_close_matches(text, known, n=1)
    return found[0] if found else None


def nearest(text: str, choices: Iterable[str]) -> str:
    """The end of a message: that choice."""
    found = closest(text, choices)
    return f" Did you mean {found}?" if found else ""
