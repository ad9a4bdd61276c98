"""What a training shows in the terminal, which it can do without."""

import contextlib
import itertools
import sys
import time
from collections.abc import Mapping

from tqdm import tqdm


def say(text: str) -> None:
    """Prints a line where it can be printed: a training does not depend on that."""
    with contextlib.suppress(OSError, ValueError):  # gone, closed, or of few letters
        print(text, flush=True)


class Progress:
    """A bar on a terminal, which fits its width; elsewhere a line for each report.

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
        with contextlib.suppress(OSError, ValueError):
            if sys.stdout and sys.stdout.isatty():
                self._bar = tqdm(
                    total=self._target,
                    initial=step,
                    file=sys.stdout,
                    dynamic_ncols=True,
                    mininterval=0,
                    bar_format="{n_fmt}/{total_fmt} {bar} {remaining} left{postfix}",
                )

    def report(self, step: int, values: Mapping[str, float]) -> None:
        metrics = [f"{name} {value:.3g}" for name, value in values.items()]
        if not self._bar:
            line = "  ".join([f"step {step}/{self._target}", *metrics])
            say(f"{line}{self._left(step)}")
            return
        with contextlib.suppress(OSError, ValueError):
            around = len(f"{self._target}/{self._target} _ 0:00:00 left")
            fitting = _fitting(metrics, (self._bar.ncols or 80) - around)
            self._bar.set_postfix_str("  ".join(fitting), refresh=False)
            self._bar.update(step - self._bar.n)

    def _left(self, step):
        first, start = self._start or (step, 0.0)
        if step == first:
            return ""
        rate = (time.monotonic() - start) / (step - first)
        return f"  {tqdm.format_interval(rate * (self._target - step))} left"

    def close(self) -> None:
        if self._bar:
            with contextlib.suppress(OSError, ValueError):
                self._bar.close()


def _fitting(texts, room):
    """The first of the texts, as many as there is room for."""
    ends = itertools.accumulate(len(f"  {text}") for text in texts)
    return [text for text, end in zip(texts, ends, strict=True) if end <= room]
