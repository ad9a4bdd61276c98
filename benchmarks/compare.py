"""Two reports of `benchmarks.run` or `benchmarks.peers`, row by row.

    python -m benchmarks.compare BEFORE.json AFTER.json [--any_machine]

`ratio` is after over before. Times and memory are better where it is below 1, rates
where it is above. Reports of different machines say nothing about the code, and are
refused without `--any_machine`.
"""

import argparse
import sys

from benchmarks import reports

MACHINE = ("device", "machine")  # facts that have to be equal


def refuse_other_machine(before, after):
    """Stops where two reports were not made on the same kind of machine."""
    kinds = [[facts.get(name) for name in MACHINE] for facts in (before, after)]
    if kinds[0] != kinds[1]:
        lines = [", ".join(map(str, kind)) for kind in kinds]
        sys.exit(
            "Error: reports of different machines:\n"
            + "\n".join(lines)
            + "\nMeasure both on one, or give --any_machine."
        )


def verdict(row, ratio):
    """Which of two is better, where it is not the same."""
    if ratio == 1:
        return "same"
    return "better" if (ratio < 1) == reports.LESS_IS_BETTER[row.unit] else "worse"


def lines(before, after):
    """What both reports have, side by side, then what one alone has."""
    for name, row in before.items():
        if name in after:
            other = after[name]
            ratio = other.value / row.value if row.value else float("nan")
            numbers = map(reports.rounded, (row.value, other.value, ratio))
            yield name, *numbers, row.unit, verdict(row, ratio)
    for name, row in before.items():
        if name not in after:
            yield name, reports.rounded(row.value), "-", "-", row.unit, "before only"
    for name, row in after.items():
        if name not in before:
            yield name, "-", reports.rounded(row.value), "-", row.unit, "after only"


def differences(before, after):
    """The facts in which two reports differ, a line each."""
    for name in {**before, **after}:
        if before.get(name) != after.get(name):
            yield f"{name}: {before.get(name)} -> {after.get(name)}"


def opened(path):
    try:
        return reports.read(path)
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {path} cannot be read: {str(error).splitlines()[0]}")


def main(argv=None):
    options = argparse.ArgumentParser("benchmarks.compare", description=__doc__)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("before")
    options.add_argument("after")
    options.add_argument("--any_machine", action="store_true")
    given = options.parse_args(argv)
    (before, of_before), (after, of_after) = opened(given.before), opened(given.after)
    if not given.any_machine:
        refuse_other_machine(of_before, of_after)
    header = ("what", "before", "after", "ratio", "unit", "")
    for line in differences(of_before, of_after):
        print(line)
    print(reports.table(header, lines(before, after)))


if __name__ == "__main__":
    main()
