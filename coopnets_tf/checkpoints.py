"""Checkpoints: the whole state of a training on disk, and back.

`ckpt-<step>` are the newest, kept in turn by TensorFlow's manager; `best-<step>` is a
copy that stays.
"""

import json
import logging
import math
import os
import shutil
from pathlib import Path

import tensorflow as tf

from coopnets_tf import logs
from coopnets_tf.coopnets import named_variables
from coopnets_tf.files import write_whole
from coopnets_tf.runs import RunError

KEY = "{}/.ATTRIBUTES/VARIABLE_VALUE"  # of a variable in a checkpoint's file


class NotSaved(OSError):
    """A checkpoint could not be written; those before are as they were."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
      model: `CoopNets`, compiled.
      run_dir: `Path`.
      keep: int; so many of the newest are kept.
      best: None, or the metric by which one more is kept: the one after whose lines its
        mean over the last `window` steps was smallest in size.
      window: int; steps.
    """

    def __init__(self, model, run_dir, *, keep, best=None, window=1):
        self.folder = run_dir / "checkpoints"
        self._lines = run_dir / "metrics.jsonl"
        self._best = best
        self._window = window
        self._state = model.checkpoint()
        self._manager = tf.train.CheckpointManager(
            self._state, str(self.folder), max_to_keep=keep
        )

    def save(self, step):
        """Writes the checkpoint of a step.

        Raises:
          NotSaved: if the disk is full or the like.
        """
        try:
            self._manager.save(checkpoint_number=step)
        except logs.WRITE_ERRORS as error:
            for part in self.folder.glob(f"ckpt-{step}*temp*"):
                shutil.rmtree(part) if part.is_dir() else part.unlink()
            raise NotSaved(
                f"The checkpoint of step {step} was not written: {logs.reason(error)}"
            ) from error

    def restore(self):
        """Restores the newest that can be read; does nothing where there is none.

        Raises:
          RunError: if there are checkpoints and none can be read.
        """
        for path in reversed(self._manager.checkpoints):
            try:
                self._state.restore(path).assert_consumed()
                return
            except Exception as error:  # a damaged file fails in many ways
                logging.warning(
                    "%s cannot be read, trying the one before: %r", path, error
                )
        files = self.folder.glob("ckpt-*.index")
        if self._manager.checkpoints or any(step_of(path.stem) for path in files):
            raise RunError(
                f"No checkpoint in {self.folder} can be read. Move them away to begin "
                "again from step 0."
            )

    def restore_healthy(self, *, before):
        """Restores the newest of an earlier step than `before`, else the oldest.

        Newer ones are taken off the disk, since they led to a divergence.

        Returns:
          Its step, None where there is no checkpoint.
        """
        paths = sorted(self._manager.checkpoints, key=step_of)
        if not paths:
            return None
        path = ([path for path in paths if step_of(path) < before] or paths[:1])[-1]
        self._state.restore(path).assert_consumed()
        for newer in paths[paths.index(path) + 1 :]:
            for part in self.folder.glob(f"{Path(newer).name}.*"):
                part.unlink()
        return step_of(path)

    def keep_best(self):
        """Copies the newest checkpoint to `best-<step>` if it is the best so far.

        To be called when it has proved healthy. `best.json` tells its metric.
        """
        if not self._best or not self._manager.latest_checkpoint:
            return
        newest = Path(self._manager.latest_checkpoint)
        step, record = step_of(newest), self.folder / "best.json"
        values = [
            line[self._best]
            for line in logs.read_lines(self._lines)
            if step - self._window < line["step"] <= step and self._best in line
        ]
        mean = sum(values) / len(values) if values else math.inf
        held = json.loads(record.read_text())["mean"] if record.exists() else math.inf
        if abs(mean) < abs(held):
            try:
                self._copy_best(newest)
                story = {"step": step, "metric": self._best, "mean": mean}
                write_whole(record, (json.dumps(story) + "\n").encode())
            except OSError as error:
                logging.warning("The best checkpoint was not copied: %s", error)

    def _copy_best(self, newest):
        """Copies a checkpoint and takes the best one before it off the disk."""
        name = newest.name.replace("ckpt", "best")
        new = self.folder / ".best.new"
        for part in sorted(self.folder.glob(f"{newest.name}.*")):  # the index is last
            shutil.copyfile(part, new)
            os.replace(new, self.folder / part.name.replace(newest.name, name))
        for part in self.folder.glob("best-*"):
            if not part.name.startswith(f"{name}."):
                part.unlink()


def step_of(path):
    """The step of a checkpoint from its name."""
    return int(str(path).rsplit("-", 1)[1])


def last_step(run_dir):
    """The step of a run's newest checkpoint, None without one."""
    path = tf.train.latest_checkpoint(str(run_dir / "checkpoints"))
    return step_of(path) if path else None


def find(source, which="newest"):
    """The checkpoint meant by a path.

    Args:
      source: path of a run, or of a checkpoint, such as
        `runs/mnist-1/checkpoints/ckpt-500`.
      which: of a run, "newest", "best" (by `--keep_best`) or the number of a step.

    Raises:
      RunError: if there is none.
    """
    path = Path(source).expanduser()
    folder = path / "checkpoints"
    if which == "newest":
        newest = tf.train.latest_checkpoint(str(folder))
        if newest:
            return newest
    else:
        names = sorted(one.stem for one in folder.glob("*.index"))
        for name in names:
            if name == f"ckpt-{which}" or name.startswith(f"{which}-"):
                return str(folder / name)
        raise RunError(
            f"{folder} has no checkpoint {which}. It has: {', '.join(names)}."
        )
    if path.suffix == ".index":
        path = path.with_suffix("")
    if path.with_name(f"{path.name}.index").is_file():
        return str(path)
    raise RunError(
        f"{source} is neither a run with checkpoints nor a checkpoint, such as "
        "runs/mnist-1/checkpoints/ckpt-500."
    )


def load_networks(model, source, *, averaged=False):
    """Copies the weights of both nets from a checkpoint, as far as they fit.

    Args:
      model: `CoopNets`.
      source: path; see `find`.
      averaged: bool; the moving average of the generator's weights instead of the
        weights themselves, where the run kept one.

    Returns:
      The checkpoint's path, and one line for each weight that does not fit.

    Raises:
      RunError: if there is no checkpoint, it cannot be read, or no weight fits.
    """
    path = find(source)
    try:
        reader = tf.train.load_checkpoint(path)
        shapes = reader.get_variable_to_shape_map()
        fitting, misfits = [], []
        for part in ("descriptor", "generator"):
            for name, variable in named_variables(getattr(model, part)).items():
                key = KEY.format(f"{part}/{name}")
                average = KEY.format(f"{part}_optimizer/{part}_{name}_average")
                if averaged and average in shapes:
                    key = average
                if shapes.get(key) == variable.shape.as_list():
                    fitting.append((variable, reader.get_tensor(key)))
                else:
                    there = shapes.get(key, "nothing")
                    misfits.append(
                        f"{part} {name}: {variable.shape.as_list()} here, {there} there"
                    )
    except Exception as error:  # a damaged file fails in many ways
        raise RunError(f"{path} cannot be read: {logs.reason(error)}") from error
    if not fitting:
        raise RunError(f"No weight of {path} fits the networks. {'; '.join(misfits)}")
    for variable, value in fitting:
        variable.assign(value)
    return path, misfits
