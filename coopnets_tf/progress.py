"""What the terminal shows of long work, which does without it where there is none."""

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tqdm import tqdm

# A terminal may be gone, or closed, or lack a letter of what is printed.
BAD_OUTPUT = OSError, ValueError


def say(text: str) -> None:
    """Prints a line where it can be printed."""
    with contextlib.suppress(*BAD_OUTPUT):
        print(text, flush=True)


def tell(text: str) -> None:
    """Shows what is going on, in a line that the next one replaces; not in a pipe."""
    with contextlib.suppress(*BAD_OUTPUT):
        if _is_watched():
            width = _width()
            print(f"\r{text[:width]:<{width}}\r", end="", flush=True)


def _is_watched():
    if type(sys.stdout).__module__.startswith("ipykernel"):  # a notebook
        return True
    return sys.stdout is not None and sys.stdout.isatty()


def _width():
    """Of a line. Terminals in containers may have no size, notebooks have none."""
    try:
        known = os.get_terminal_size(sys.stdout.fileno()).columns
    except (AttributeError, *BAD_OUTPUT):  # some stand-ins have no number
        known = 0
    chosen = os.environ.get("COLUMNS", "")
    return (int(chosen) if chosen.isdecimal() else known or 80) - 1


def _bar(number, *, done=0):
    """A bar, on a terminal or in a notebook; elsewhere nothing."""
    with contextlib.suppress(*BAD_OUTPUT):
        if _is_watched():
            return tqdm(
                total=number,
                initial=done,
                file=sys.stdout,
                ncols=_width(),
                mininterval=0.1,
                smoothing=0,
                bar_format="{n_fmt}/{total_fmt} {bar} {remaining} left{postfix}",
            )
    return None


def batches_on_a_bar(batches: Iterable[Any], number: int) -> Iterator[Any]:
    """The batches, whose items, `number` in all, are counted on a bar."""
    bar = _bar(number)
    for batch in batches:
        yield batch
        if bar is not None:
            with contextlib.suppress(*BAD_OUTPUT):
                bar.ncols = _width()  # it may have been resized
                bar.update(len(batch))
    if bar is not None:
        with contextlib.suppress(*BAD_OUTPUT):
            bar.close()


class Progress:
    """The steps of a training: on a terminal or in a notebook a bar, elsewhere a line
    for each report.

    Time is counted from `started` on, so that what is left is foreseen without the
    compilation of the first step.
    """

    def __init__(self, num_iterations: int) -> None:
        self._target = num_iterations
        self._bar: tqdm | None = None
        self._start: tuple[int, float] | None = None

    def started(self, step: int) -> None:
        """The first step of this session is done: step number `step`."""
        self._start = step, time.monotonic()
        self._bar = _bar(self._target, done=step)

    def report(self, step: int, values: Mapping[str, float]) -> None:
        metrics = [f"{name} {value:.3g}" for name, value in values.items()]
        if self._bar is None:
            line = "  ".join([f"step {step}/{self._target}", *metrics])
            say(f"{line}{self._left(step)}")
            return
        with contextlib.suppress(*BAD_OUTPUT):
            self._bar.ncols = _width()  # it may have been resized
            around = len(f"{self._target}/{self._target} _ 0:00:00 left")
            fitting = _fitting(metrics, self._bar.ncols - around)
            self._bar.set_postfix_str("  ".join(fitting), refresh=False)
            self._bar.n = step
            self._bar.refresh()

    def _left(self, step):
        first, start = self._start or (step, 0.0)
        if step == first:
            return ""
        rate = (time.monotonic() - start) / (step - first)
        return f"  {tqdm.format_interval(rate * (self._target - step))} left"

    def close(self) -> None:
        if self._bar is not None:
            with contextlib.suppress(*BAD_OUTPUT):
                self._bar.close()


def _fitting(texts, room):
    """The first of the texts, as many as there is room for."""
    ends = itertools.accumulate(len(f"  {text}") for text in texts)
    return [text for text, end in zip(texts, ends, strict=True) if end <= room]
