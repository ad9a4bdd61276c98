"""Checkpoints: the whole state of a training on disk, and back.

`ckpt-<step>` are written at the regular steps, `stop-<step>` where a run ended between
two of them; the latter only serve to go on from. `best-<step>` is a copy that stays.
A checkpoint is a file `.data-...` and, put beside it when that is whole, an `.index`.
"""

import contextlib
import json
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from coopnets_tf.errors import NotSaved, RunError
from coopnets_tf.files import write_json, write_whole
from coopnets_tf.models.learner import Learner
from coopnets_tf.runs import logs
from coopnets_tf.runs.folder import Run
from coopnets_tf.wording import reason

PATTERN = set("[\\")  # with one of them in its path TensorFlow finds no file


def step_of(path: Path | str) -> int:
    """The step of a checkpoint from its name."""
    return int(str(path).rsplit("-", 1)[1])


def listed(folder: Path, kinds: Sequence[str] = ("ckpt", "stop")) -> list[Path]:
    """The checkpoints in a folder, oldest first, without an ending."""
    found = [
        path.with_suffix("")
        for path in folder.glob("*.index")
        if path.stem.split("-")[0] in kinds
    ]
    return sorted(found, key=step_of)


def remove(path: Path) -> None:
    """Takes a checkpoint off the disk, its index first: none is listed in part."""
    path.with_name(f"{path.name}.index").unlink(missing_ok=True)
    for part in path.parent.glob(f"{path.name}.data-*"):
        part.unlink()


@contextlib.contextmanager
def readable(path: Path) -> Iterator[str]:
    """The path of a checkpoint, without an ending, for TensorFlow to read from.

    TensorFlow takes it for a pattern and finds nothing in a folder such as `a [1]`, so
    that it is given a link to that folder.
    """
    if not PATTERN & set(str(path)):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as place:
        link = Path(place, "checkpoints")
        link.symlink_to(path.parent.resolve())
        yield str(link / path.name)


class Checkpoints:
    """The checkpoints of one run of a compiled learner.

    The regular steps are the multiples of `checkpoint_every`. After `log_every` more
    good steps a checkpoint has proved healthy. Kept are the `keep_checkpoints` newest,
    and besides them the newest that has proved healthy and the one after it; by
    `keep_best`, a metric, also the one before which its mean over `checkpoint_every`
    steps was smallest in size.
    """

    def __init__(self, model: Learner, run: Run) -> None:
        self.folder = run.folder / "checkpoints"
        self._lines = run.folder / "metrics.jsonl"
        self._every, self._keep = run.checkpoint_every, run.keep_checkpoints
        self._margin, self._best = run.log_every, run.keep_best
        self._state = model.checkpoint()
        self._current: Path | None = None  # the one whose content the model has

    def save(self, step: int) -> None:
        """Writes the checkpoint of a step, after which all has been well until now.

        Raises:
          NotSaved: if the disk is full or the like.
        """
        self._keep_best(now=step)
        kind = "stop" if step % self._every else "ckpt"
        if self._current == (target := self.folder / f"{kind}-{step}"):
            return
        new = self.folder / ".new"
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            self._state.write(str(new / target.name))
            for part in sorted(new.glob(f"{target.name}.*")):  # the index is last
                os.replace(part, self.folder / part.name)
        except logs.WRITE_ERRORS as error:
            raise NotSaved(
                f"The checkpoint of step {step} was not written: {reason(error)}"
            ) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
        self._current = target
        regular, healthy = listed(self.folder, ["ckpt"]), self._healthy(step)
        # Besides the newest healthy one, the next that can become so.
        kept = regular[-self._keep :] + regular[max(len(healthy) - 1, 0) :][:2]
        for path in listed(self.folder):
            if path not in kept and path != target:
                remove(path)

    def _healthy(self, now):
        """The regular checkpoints that have proved healthy if all is well until now."""
        regular = listed(self.folder, ["ckpt"])
        return [path for path in regular if step_of(path) + self._margin < now]

    def restore(self) -> None:
        """Restores the newest that can be read; does nothing where there is none.

        Raises:
          RunError: if none of them can be read, or they are not of this model.
        """
        if paths := listed(self.folder):
            self._restore_first(paths[::-1])

    def restore_step(self, step: int) -> None:
        """Restores that of a step, which another host has just written or read; at step
        0 there may be none.

        Raises:
          RunError: if it is not there after a minute, or cannot be read.
        """
        for _ in range(60 if step else 1):  # a network disk may show it later
            paths = [path for path in listed(self.folder) if step_of(path) == step]
            if paths:
                break
            time.sleep(1)
        if paths or step:
            self._restore_first(paths)

    def _restore_first(self, paths):
        """Restores the first that can be read and returns its path."""
        failed = ""
        for path in paths:
            try:
                with readable(path) as place:
                    self._state.read(place).assert_consumed()
                self._current = path
                return path
            except (AssertionError, ValueError) as error:
                raise RunError(
                    f"{path} does not fit the networks: {reason(error)} Build them as "
                    "that run did, with the version that wrote it."
                ) from error
            except Exception as error:  # a damaged file fails in many ways
                failed = failed or f"{path.name}: {reason(error)}"
                logging.warning("%s cannot be read, trying the one before", path)
        failed = failed or "there is none"
        raise RunError(
            f"No checkpoint in {self.folder} can be read ({failed}). Nothing there was "
            "changed."
        )

    def way_back(self, *, diverged: int, last: int | None = None) -> list[Path]:
        """The checkpoints to which `roll_back` may go, in the order of trying."""
        paths = self._healthy(diverged) or listed(self.folder, ["ckpt"])[:1]
        if len(paths) > 1 and step_of(paths[-1]) == last:
            paths = paths[:-1]
        return paths[::-1]

    def roll_back(self, *, diverged: int, last: int | None = None) -> int:
        """Restores the newest that has proved healthy, or the oldest, and returns its
        step.

        Newer ones are taken off the disk, since they led to the divergence.

        Args:
          diverged: the step at which the run diverged.
          last: the step to which the previous rollback went: a run that diverges from
            there again goes to an older one, if there is one.

        Raises:
          RunError: if none can be read.
        """
        path = self._restore_first(self.way_back(diverged=diverged, last=last))
        for other in listed(self.folder):
            if step_of(other) > step_of(path):
                remove(other)
        return step_of(path)

    def _keep_best(self, *, now):
        """Copies the newest healthy one to `best-<step>` if it is the best so far.

        `best.json` has its metric.
        """
        if not self._best or not (healthy := self._healthy(now)):
            return
        step, record = step_of(healthy[-1]), self.folder / "best.json"
        values = [
            line[self._best]
            for line in logs.read_lines(self._lines)
            if step - self._every < line["step"] <= step and self._best in line
        ]
        mean = sum(values) / len(values) if values else math.inf
        if abs(mean) < abs(self._best_so_far(record)):
            try:
                self._copy_best(healthy[-1])
                story = {"step": step, "metric": self._best, "mean": mean}
                write_json(record, story)
                for path in listed(self.folder, ["best"]):
                    if step_of(path) != step:
                        remove(path)
            except OSError as error:
                logging.warning("The best checkpoint was not copied: %s", error)

    def _best_so_far(self, record):
        try:
            story = json.loads(record.read_text())
            return story["mean"] if story["metric"] == self._best else math.inf
        except (OSError, ValueError, KeyError):  # none yet, or not as it was written
            return math.inf

    def _copy_best(self, path):
        name = f"best-{step_of(path)}"
        for part in sorted(self.folder.glob(f"{path.name}.*")):  # the index is last
            write_whole(
                self.folder / part.name.replace(path.name, name), part.read_bytes()
            )


def last_step(run_dir: Path) -> int | None:
    """The step of a run's newest checkpoint, None without one."""
    paths = listed(run_dir / "checkpoints")
    return step_of(paths[-1]) if paths else None
