"""What benchmarks measure, as a table and as a file for `benchmarks.compare`."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Units, and whether less of it is better.
LESS_IS_BETTER = {"s": True, "MB": True, "images/s": False, "of the product": False}


class Row(NamedTuple):
    """A number, what it is of, and its unit, a key of `LESS_IS_BETTER`."""

    name: str
    value: float
    unit: str


def rounded(value: float) -> str:
    """Three significant digits, and all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table as Markdown has it, in columns that are wide enough."""
    cells = [list(header), *map(list, lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(map(str.ljust, line, widths))} |" for line in cells
    )


def shown(rows: Iterable[Row]) -> str:
    """Rows as a table."""
    lines = [(row.name, rounded(row.value), row.unit) for row in rows]
    return table(("what", "measured", "unit"), lines)


def write(path: Path | str, rows: Iterable[Row], facts: dict[str, Any]) -> None:
    """Writes a report: rows, and where and of what they were measured."""
    content = {**facts, "rows": [row._asdict() for row in rows]}
    Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read(path: Path | str) -> tuple[dict[str, Row], dict[str, Any]]:
    """The rows of a report by name, and its facts.

    Raises:
      OSError, ValueError: if there is no report.
    """
    facts = json.loads(Path(path).read_text(encoding="utf-8"))
    try:
        rows = [Row(**row) for row in facts.pop("rows")]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("it is not a report of benchmarks.run") from error
    return {row.name: row for row in rows}, facts
