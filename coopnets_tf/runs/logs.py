"""What a run reports: metrics.jsonl, TensorBoard, PNG files, and the terminal."""

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams import api as hparams

from coopnets_tf.data import images
from coopnets_tf.evaluation import reports
from coopnets_tf.files import write_whole
from coopnets_tf.progress import Progress
from coopnets_tf.runs import folder
from coopnets_tf.runs.folder import Run

ON_THE_BAR = {
    "descriptor_loss": "loss_D",
    "generator_loss": "loss_G",
    "displacement": "moved",
}


class Curve(NamedTuple):
    """How TensorBoard shows a metric: the group and name of its curve, and a text."""

    tag: str
    description: str


CURVES = {
    "descriptor_loss": Curve(
        "loss/descriptor",
        "Mean score of revised minus observed images; D2 descends it.",
    ),
    "generator_loss": Curve(
        "loss/generator",
        "Mean of |images - g(latents)|^2 / (2 sigma^2); G2 descends it.",
    ),
    "reconstruction_loss": Curve(
        "loss/reconstruction",
        "The same of observed images, given the latents kept for each.",
    ),
    "energy_gap": Curve(
        "chains/energy_gap", "Mean energy of revised minus observed images."
    ),
    "gradient_norm": Curve(
        "chains/gradient_norm", "Norm of the energy's gradient along the chains of D1."
    ),
    "displacement": Curve(
        "chains/displacement",
        "How far D1 moved an image, root mean square over its pixels.",
    ),
    "saturation": Curve(
        "chains/saturation", "Share of revised pixels outside [-1, 1]."
    ),
    "latent_gradient_norm": Curve(
        "chains/latent_gradient_norm",
        "Norm of the energy's gradient along the chains of G1.",
    ),
    "latent_rms": Curve(
        "chains/latent_rms",
        "Root mean square of the inferred latents; 1 under the prior.",
    ),
    "descriptor_learning_rate": Curve("rates/descriptor", "Of the next step."),
    "generator_learning_rate": Curve("rates/generator", "Of the next step."),
    "steps_per_second": Curve(
        "speed/steps_per_second", "With all that happened between two lines of metrics."
    ),
    "images_per_second": Curve("speed/images_per_second", "Observed images."),
}

WRITE_ERRORS = OSError, tf.errors.OpError  # what a full disk raises


class RunLog:
    """Writes the metrics and pictures of a run as they come. A context manager.

    Args:
      run: gives the folder, the length and the rate of lines.
      first_step: steps done before. What an interrupted run reported of later ones is
        taken back, since they will be done again.
    """

    def __init__(self, run: Run, *, first_step: int = 0) -> None:
        self.run_dir = run.folder
        self._first_step = first_step
        self._rollbacks = [
            {**rollback, "rollbacks": number}
            for number, rollback in enumerate(folder.rollbacks(run.folder), start=1)
        ]
        self._steps_per_epoch = run.steps_per_epoch
        self._progress = Progress(run.num_iterations)
        self._last = (first_step, time.monotonic())
        self._missing: set[str] = set()  # what could not be written lately

    def __enter__(self) -> "RunLog":
        _keep_lines(self.run_dir / "metrics.jsonl", self._first_step, self._rollbacks)
        # Before the first checkpoint a run begins anew, with what it reports at step 0.
        last_step = self._first_step or -1
        for events in (self.run_dir / "tensorboard").glob("events.*"):
            _keep_events(events, last_step)
        self._lines = Lines(self.run_dir / "metrics.jsonl")
        self._events = tf.summary.create_file_writer(str(self.run_dir / "tensorboard"))
        for rollback in self._rollbacks:
            with self._summaries(rollback["step"]):
                tf.summary.text("rollbacks/story", rollback["story"])
                tf.summary.scalar("rollbacks/number", rollback["rollbacks"])
        return self

    def __exit__(self, *exception: Any) -> None:
        with self._tolerating("metrics.jsonl"):
            self._lines.close()
        with self._tolerating("TensorBoard's file"):
            self._events.close()
        self._progress.close()

    @contextlib.contextmanager
    def _tolerating(self, what):
        """What cannot be written is reported once; the training goes on without it."""
        try:
            yield
            self._missing.discard(what)
        except WRITE_ERRORS as error:
            if what not in self._missing:
                logging.warning("%s cannot be written now: %s", what, reason(error))
            self._missing.add(what)

    def settings(self, values: Mapping[str, Any]) -> None:
        """Hyper-parameters by name, to TensorBoard's HPARAMS and TEXT pages.

        Those that are None are left out.
        """
        values = {  # TensorBoard takes texts and numbers alone
            name: ",".join(value) if isinstance(value, list) else value
            for name, value in values.items()
            if value is not None
        }
        rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
        with self._summaries(0):
            hparams.hparams(values, trial_id=self.run_dir.resolve().name)
            tf.summary.text("settings", f"| setting | value |\n|---|---|\n{rows}")

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
        with self._summaries(step):
            for name, value in values.items():
                curve = CURVES.get(name, Curve(f"metrics/{name}", ""))
                tf.summary.scalar(curve.tag, value, description=curve.description)
        shown = ((short, name) for name, short in ON_THE_BAR.items() if name in values)
        self._progress.report(step, {short: values[name] for short, name in shown})

    def picture(self, step: int, name: str, grid: np.ndarray) -> None:
        """An image grid, uint8 [height, width, channels], to TensorBoard and PNG."""
        with self._tolerating("A picture"):
            images.save_png(self.run_dir / "samples" / f"{name}_{step:06d}.png", grid)
        with self._summaries(step):
            tf.summary.image(f"samples/{name}", grid[None])

    def evaluation(
        self, step: int, values: dict[str, float], pictures: dict[str, np.ndarray]
    ) -> None:
        """Scores, and pictures as uint8 grids, of one step, by name."""
        self._write(step, values)
        with self._tolerating("TensorBoard's file"):
            show_evaluation(self._events, step, values, pictures)

    def histograms(self, step: int, values: dict[str, tf.Tensor]) -> None:
        """Tensors by name, to TensorBoard's HISTOGRAMS page."""
        with self._summaries(step):
            for name, value in values.items():
                tf.summary.histogram(name, value)

    def flush(self) -> None:
        """Brings everything to the disk, as a checkpoint will claim it is there."""
        with self._tolerating("TensorBoard's file"):
            self._events.flush()
        with self._tolerating("metrics.jsonl"):
            self._lines.flush()

    def _write(self, step, values):
        epochs = self._steps_per_epoch
        epoch = {"epoch": step / epochs} if epochs else {}
        with self._tolerating("metrics.jsonl"):
            self._lines.write({"step": step, **epoch, **values})

    @contextlib.contextmanager
    def _summaries(self, step):
        with self._tolerating("TensorBoard's file"), self._events.as_default(step=step):
            yield


def show_evaluation(
    events: tf.summary.SummaryWriter,
    step: int,
    values: dict[str, float],
    pictures: dict[str, np.ndarray],
) -> None:
    """Scores, and pictures, uint8 [height, width, channels], to TensorBoard."""
    with events.as_default(step=step):
        for name, value in values.items():
            tf.summary.scalar(name, value, description=reports.meaning(name))
        for name, picture in pictures.items():
            tf.summary.image(f"evaluation/{name}", picture[None])
    events.flush()


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


def _keep_events(path, last_step):
    """Shortens a TensorBoard file to the events up to a step, without the rollbacks.

    Raises:
      OSError: if it cannot be written.
    """
    kept = path.with_name(f".{path.name}.kept")
    try:
        with tf.io.TFRecordWriter(str(kept)) as writer:
            for record in _records(path):
                event = event_pb2.Event.FromString(record)
                tags = {value.tag.partition("/")[0] for value in event.summary.value}
                stays = event.step <= last_step and "rollbacks" not in tags
                if event.file_version or stays:
                    writer.write(record)
        os.replace(kept, path)
    except tf.errors.OpError as error:
        raise OSError(f"{path} cannot be shortened: {reason(error)}") from error
    finally:
        kept.unlink(missing_ok=True)


def _records(path):
    try:
        yield from tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    except tf.errors.DataLossError:
        return  # the process ended while it wrote the last one


def reason(error: BaseException) -> str:
    """The first line of an error, without TensorFlow's internals."""
    line = str(error).partition("\n")[0] or repr(error)
    return re.sub(r"{{.*?}} | \[Op:.*", "", line)
