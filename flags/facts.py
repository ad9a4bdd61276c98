"""One definition of a flag: its name, default, help and range, and who reads it."""

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from absl import flags as absl_flags

ALGORITHMS = ("coopnets", "descriptor", "generator")
USES = ("sample", "interpolate", "reconstruct", "recover", "evaluate", "export")
MODES = ("train", *USES)
WITH_IMAGES = ("interpolate", "reconstruct", "recover")
NEED_DATA = ("reconstruct", "recover", "evaluate")


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a flag besides its name, default, range and help.

    Args:
      group: what it is about, for the overview of `--help`.
      modes: those that read it.
      algorithms: those whose training reads it.
      path: it may name a file or folder: `~` is a home, and what exists is saved by its
        whole path.
      saved: it belongs to the run and not to one call; flags.cfg has it.
      may_change: a resumed run may have another value; all else is its mathematics.
      fixed: modes that refuse another value than the run's.
      own: modes that begin with the default instead of the run's value.
      by_algorithm: what it may be with an algorithm, where that is less than anything.
    """

    group: str
    modes: tuple[str, ...] = ("train",)
    algorithms: tuple[str, ...] = ALGORITHMS
    path: bool = False
    saved: bool = True
    may_change: bool = False
    fixed: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    by_algorithm: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict
    )


FACTS: dict[str, Facts] = {}
Good = Callable[[float], bool]


class Group:
    """Defines flags of one group, which share `facts`; a flag may override them.

    Each may have a `check`, a function that returns what is wrong with a value, or
    nothing.
    """

    def __init__(self, name: str, **facts: Any) -> None:
        self._facts = {"group": name, **facts}

    def _keep(self, name, facts):
        if check := facts.pop("check", None):
            absl_flags.register_validator(name, _checked(check))
        FACTS[name] = Facts(**{**self._facts, **facts})

    def string(self, name: str, default: str | None, help: str, **facts: Any) -> None:
        absl_flags.DEFINE_string(name, default, help)
        self._keep(name, facts)

    def list(self, name: str, default: str | None, help: str, **facts: Any) -> None:
        absl_flags.DEFINE_list(name, default, help)
        self._keep(name, facts)

    def enum(
        self,
        name: str,
        default: str | None,
        values: Sequence[str],
        help: str,
        **facts: Any,
    ) -> None:
        absl_flags.DEFINE_enum(name, default, [*values], help)
        self._keep(name, facts)

    def boolean(self, name: str, default: bool, help: str, **facts: Any) -> None:
        absl_flags.DEFINE_boolean(name, default, help)
        self._keep(name, facts)

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
        self._keep(name, facts)

    def number(
        self,
        name: str,
        default: float | None,
        help: str,
        *,
        good: Good,
        must: str,
        **facts: Any,
    ) -> None:
        """A float for which `good` holds; NaN never does."""
        absl_flags.DEFINE_float(name, default, help)
        facts["check"] = lambda value: None if good(value) else f"must {must}"
        self._keep(name, facts)

    def positive(
        self, name: str, default: float | None, help: str, **facts: Any
    ) -> None:
        good, must = lambda value: 0 < value < math.inf, "be a positive number"
        self.number(name, default, help, good=good, must=must, **facts)

    def seed(self, name: str, default: int, help: str, **facts: Any) -> None:
        self.integer(name, default, help, low=0, high=2**31 - 1, **facts)


def _checked(check):
    def validate(value):
        wrong = None if value is None else check(value)
        if wrong:
            raise absl_flags.ValidationError(wrong)
        return True

    return validate


def overview() -> str:
    """The names of all flags, by group."""
    groups: dict[str, list[str]] = {}
    for name, facts in FACTS.items():
        groups.setdefault(facts.group, []).append(name)
    lines = []
    for group, names in groups.items():
        line = f"  {group:<11}"
        for name in names:
            if len(line) + 1 + len(name) > 88:
                lines.append(line)
                line = " " * 13
            line += f" {name}"
        lines.append(line)
    return "\n".join(lines)


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message: the known name most like an unknown one, if any."""
    found = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {found[0]}?" if found else ""
