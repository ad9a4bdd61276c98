"""One definition of a flag: its name, default, help and range, and who reads it."""

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping

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
      path: it may name a file or folder: `~` is a home, and what exists is saved by
        its whole path.
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


class Group:
    """Defines flags that are about one thing; facts are shared, and may be given anew.

    Args:
      name: of the group.
      **facts: of `Facts`.
    """

    def __init__(self, name: str, **facts):
        self._facts = {"group": name, **facts}

    def _keep(self, name, holder, facts, check=None):
        FACTS[name] = Facts(**{**self._facts, **facts})
        if check:
            absl_flags.register_validator(name, _checked(check))
        return holder

    def string(self, name, default, help, *, check=None, **facts):
        """`check` returns what is wrong with a value, or nothing."""
        holder = absl_flags.DEFINE_string(name, default, help)
        return self._keep(name, holder, facts, check)

    def list(self, name, default, help, *, check=None, **facts):
        holder = absl_flags.DEFINE_list(name, default, help)
        return self._keep(name, holder, facts, check)

    def enum(self, name, default, choices, help, **facts):
        holder = absl_flags.DEFINE_enum(name, default, list(choices), help)
        return self._keep(name, holder, facts)

    def boolean(self, name, default, help, **facts):
        return self._keep(name, absl_flags.DEFINE_boolean(name, default, help), facts)

    def integer(self, name, default, help, *, low, high=None, **facts):
        holder = absl_flags.DEFINE_integer(
            name, default, help, lower_bound=low, upper_bound=high
        )
        return self._keep(name, holder, facts)

    def number(self, name, default, help, *, good, must, **facts):
        """A float for which `good` holds; NaN never does."""
        holder = absl_flags.DEFINE_float(name, default, help)
        return self._keep(
            name, holder, facts, lambda value: None if good(value) else f"must {must}"
        )

    def positive(self, name, default, help, **facts):
        good = {
            "good": lambda value: 0 < value < math.inf,
            "must": "be a positive number",
        }
        return self.number(name, default, help, **good, **facts)

    def seed(self, name, default, help, **facts):
        return self.integer(name, default, help, low=0, high=2**31 - 1, **facts)


def _checked(check: Callable[[object], str | None]):
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


def nearest(name: str, names) -> str:
    """The end of a message: the known name that is most like an unknown one, if any."""
    found = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {found[0]}?" if found else ""
