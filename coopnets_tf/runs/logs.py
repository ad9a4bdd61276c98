"""What a run reports: metrics.jsonl, PNG files, the terminal, and its trackers."""

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from coopnets_tf.data import drawing
from coopnets_tf.errors import RunError
from coopnets_tf.files import write_whole
from coopnets_tf.progress import Progress
from coopnets_tf.runs import folder, trackers
from coopnets_tf.runs.folder import Run
from coopnets_tf.runs.tracking import Tracker
from coopnets_tf.wording import reason

ON_THE_BAR = {
    "descriptor_loss": "loss_D",
    "generator_loss": "loss_G",
    "displacement": "moved",
}
WRITE_ERRORS = OSError, tf.errors.OpError  # what a full disk raises


class RunLog:
    """Writes the metrics and pictures of a run as they come. A context manager.

    Args:
      run: gives the folder, the length, the rate of lines and the trackers.
      first_step: steps done before. What an interrupted run reported of later ones is
        taken back, since they will be done again.
      again: the training has begun before in this process, so that it goes on without
        a tracker that cannot be opened.
    """

    def __init__(self, run: Run, *, first_step: int = 0, again: bool = False) -> None:
        self.run_dir = run.folder
        self._run, self._first_step, self._again = run, first_step, again
        self._rollbacks = [
            {**rollback, "rollbacks": number}
            for number, rollback in enumerate(folder.rollbacks(run.folder), start=1)
        ]
        self._trackers: list[Tracker] = []
        self._progress = Progress(run.num_iterations)
        self._last = (first_step, time.monotonic())
        self._missing: set[str] = set()  # what could not be written lately

    def __enter__(self) -> "RunLog":
        """Raises RunError if a tracker cannot begin."""
        _keep_lines(self.run_dir / "metrics.jsonl", self._first_step, self._rollbacks)
        for name in dict.fromkeys(self._run.track):
            try:
                self._trackers.append(
                    trackers.opened(name, self._run, self._first_step, self._rollbacks)
                )
            except RunError as error:
                if not self._again:
                    self._tell(lambda tracker: tracker.close(done=False))
                    raise
                logging.warning("%s", error)
        self._lines = Lines(self.run_dir / "metrics.jsonl")
        return self

    def __exit__(self, kind: type | None, *exception: Any) -> None:
        with self._tolerating("metrics.jsonl"):
            self._lines.close()
        self._tell(lambda tracker: tracker.close(done=kind is None), anew=True)
        self._progress.close()

    @contextlib.contextmanager
    def _tolerating(self, what, errors=WRITE_ERRORS):
        """What cannot be written is reported once; the training goes on without it."""
        try:
            yield
            self._missing.discard(what)
        except errors as error:
            if what not in self._missing:
                logging.warning("%s cannot be written now: %s", what, reason(error))
            self._missing.add(what)

    def _tell(self, act: Callable[[Tracker], None], *, anew: bool = False) -> None:
        """Tells all trackers, but for one that failed lately, for which each step would
        have to wait; those, too, when a checkpoint is due, `anew`.
        """
        for tracker in self._trackers:
            if anew or tracker.title not in self._missing:
                # A service fails in many ways.
                with self._tolerating(tracker.title, Exception):
                    act(tracker)

    def started(self, step: int) -> None:
        """The first step of this session, number `step`, is done."""
        self._progress.started(step)

    def metrics(self, step: int, values: dict[str, float], *, batch_size: int) -> None:
        """One line of metrics, means since the last line.

        Adds the speed: steps, and observed images, per second, with all that happened
        since the last line (pictures, checkpoints; at first the compilation).
        """
        now = time.monotonic()
        last_step, last_time = self._last
        self._last = step, now
        rate = (step - last_step) / (now - last_time)
        speed = {"steps_per_second": rate, "images_per_second": rate * batch_size}
        values = {**values, **speed}
        self._write(step, values)
        shown = ((short, name) for name, short in ON_THE_BAR.items() if name in values)
        self._progress.report(step, {short: values[name] for short, name in shown})

    def picture(self, step: int, name: str, grid: np.ndarray) -> None:
        """An image grid, uint8 [height, width, channels], as PNG and to trackers."""
        with self._tolerating("A picture"):
            drawing.save_png(self.run_dir / "samples" / f"{name}_{step:06d}.png", grid)
        self._tell(lambda tracker: tracker.picture(step, f"samples/{name}", grid))

    def evaluation(
        self, step: int, values: dict[str, float], pictures: dict[str, np.ndarray]
    ) -> None:
        """Scores, and pictures as uint8 grids, of one step, by name."""
        self._write(step, values)

        def show(tracker):
            for name, grid in pictures.items():
                tracker.picture(step, f"evaluation/{name}", grid)

        self._tell(show)

    def histograms(self, step: int, values: dict[str, tf.Tensor]) -> None:
        """Tensors by name, to trackers."""
        self._tell(lambda tracker: tracker.histograms(step, values))

    def flush(self) -> None:
        """Brings everything to the disk, as a checkpoint will claim it is there."""
        self._tell(lambda tracker: tracker.flush(), anew=True)
        with self._tolerating("metrics.jsonl"):
            self._lines.flush()

    def _write(self, step, values):
        with self._tolerating("metrics.jsonl"):
            self._lines.write({"step": step, **self._run.epoch(step), **values})
        self._tell(lambda tracker: tracker.scalars(step, values))


class Lines:
    """A file of JSON lines. What a full disk did not take is kept and written later."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._waiting = b""

    def write(self, line: Mapping[str, Any]) -> None:
        self._waiting += (json.dumps(line) + "\n").encode()
        self._write_waiting()

    def flush(self) -> None:
        """Brings everything to the disk."""
        self._write_waiting()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        try:
            self._write_waiting()
        finally:
            self._file.close()

    def _write_waiting(self):
        while self._waiting:
            written = self._file.write(self._waiting)
            self._waiting = self._waiting[written:]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a broken last one is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:  # the process ended while it wrote this one
            continue
    return lines


def _keep_lines(path, last_step, rollbacks):
    """Shortens metrics.jsonl to the lines up to a step, and those of the rollbacks."""
    kept = [
        line
        for line in read_lines(path)
        if line["step"] <= last_step and "story" not in line
    ]
    kept = sorted([*kept, *rollbacks], key=lambda line: line["step"])
    write_whole(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
