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

import tensorflow as tf

from coopnets_tf.errors import NotSaved, RunError
from coopnets_tf.files import write_json, write_whole
from coopnets_tf.models.learner import Learner
from coopnets_tf.runs import logs, trained
from coopnets_tf.runs.folder import Run
from coopnets_tf.variables import named_variables
from coopnets_tf.wording import reason

PATTERN = set("[\\")  # with one of them in its path TensorFlow finds no file
KEY = "{}/.ATTRIBUTES/VARIABLE_VALUE"  # of a variable in a checkpoint's file


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


def find(source: Path | str, which: str | int = "newest") -> Path:
    """The checkpoint meant by a path, without an ending.

    Args:
      source: a run, the name of one that comes with the package, or a checkpoint, such
        as `runs/mnist-1/checkpoints/ckpt-500`.
      which: of a run, "newest", "best" (by `keep_best`) or the number of a step.

    Raises:
      RunError: if there is none.
    """
    path = trained.place(source).resolve()
    if path.suffix == ".index":
        path = path.with_suffix("")
    if path.with_name(f"{path.name}.index").is_file():
        return path
    paths = listed(path / "checkpoints", ["best", "ckpt", "stop"])
    if which in ("newest", "best"):
        kinds = ["best"] if which == "best" else ["ckpt", "stop"]
        found = listed(path / "checkpoints", kinds)
    else:
        found = [one for one in paths if str(step_of(one)) == str(which)]
    if found:
        return found[-1]
    if paths:
        names = ", ".join(one.name for one in paths)
        raise RunError(f"{source} has no checkpoint {which!r}. It has: {names}.")
    if not path.exists():
        raise RunError(f"{source} does not exist.")
    raise RunError(
        f"{source} is neither a run with checkpoints nor a checkpoint, such as "
        "runs/mnist-1/checkpoints/ckpt-500."
    )


def load_networks(
    model: Learner, source: Path | str, *, for_use: bool = False
) -> tuple[Path, list[str]]:
    """Copies the weights of the nets from a checkpoint, as far as they fit.

    Args:
      source: see `find`.
      for_use: take the moving averages of the weights instead of the weights
        themselves, where the run kept some; and also what the model keeps besides the
        nets, such as chains.

    Returns:
      The checkpoint's path, and one line for each weight that does not fit, or that the
      checkpoint has and the networks have not.

    Raises:
      RunError: if there is no checkpoint, it cannot be read, or no weight fits.
    """
    path = find(source)
    trained.check(path.parent.parent)
    try:
        with readable(path) as place:
            reader = tf.train.load_checkpoint(place)
            fitting, misfits = _matched(model, reader, for_use=for_use)
    except Exception as error:  # a damaged file fails in many ways
        raise RunError(f"{path} cannot be read: {reason(error)}") from error
    if not fitting:
        raise RunError(f"No weight of {path} fits the networks. {'; '.join(misfits)}")
    for variable, value in fitting:
        variable.assign(tf.cast(value, variable.dtype))  # copies have halves
    if for_use and model.descriptor and _has_averages(reader, "descriptor"):
        model.descriptor.divide()
    return path, misfits


def _has_averages(reader, part):
    """Whether a checkpoint has moving averages of a net's weights."""
    shapes = reader.get_variable_to_shape_map()
    optimizer = f"{part}_optimizer/"
    iteration = KEY.format(f"{optimizer}iteration")
    # Before the first step Keras' averages are zero.
    return (
        any(one.startswith(optimizer) and "_average/" in one for one in shapes)
        and reader.get_tensor(iteration) > 0
    )


def _matched(model, reader, *, for_use):
    """The variables that fit, with their values; a line for each that does not."""
    fitting, misfits = [], []
    shapes = reader.get_variable_to_shape_map()
    parts = {part: named_variables(net) for part, net in model.nets.items()}
    if for_use:
        parts["kept"] = model.kept
    for part, variables in parts.items():
        averaged = for_use and _has_averages(reader, part)
        there = {key.split("/")[1] for key in shapes if key.split("/")[0] == part}
        for name in sorted(there - set(variables)):
            misfits.append(f"{part} {name}: nothing here")
        for name, variable in variables.items():
            key = KEY.format(f"{part}/{name}")
            average = KEY.format(f"{part}_optimizer/{part}_{name}_average")
            if averaged and average in shapes:
                key = average
            here, found = variable.shape.as_list(), shapes.get(key, "nothing")
            if found == here:
                fitting.append((variable, reader.get_tensor(key)))
            else:
                misfits.append(f"{part} {name}: {here} here, {found} there")
    return fitting, misfits
