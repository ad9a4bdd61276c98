"""Where the numbers and pictures of a run go besides metrics.jsonl and samples/.

A tracker is a class here and its line in `TRACKERS`, of which `Run.track` has names.
"""

import csv
import importlib.util
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams import api as hparams

from coopnets_tf.errors import RunError
from coopnets_tf.files import write_json, write_whole
from coopnets_tf.progress import say
from coopnets_tf.runs.curves import curve
from coopnets_tf.runs.folder import Run
from coopnets_tf.wording import nearest, one_line, reason

PROJECT = "coopnets_tf"  # of wandb, or experiment of MLflow, if no variable names one


class Tracker:
    """What becomes of the reports of a run. One that has no use for some ignores them.

    It is opened at the start of a session, and another one after a rollback. What it
    raises at the start stops the training; later it is warned of, and left alone until
    the next checkpoint.

    Args:
      run: gives the folder and the settings.
      first_step: steps done before. What an interrupted run reported of later ones is
        to be taken back, or not to be reported again: they will be done once more.
      rollbacks: all of the run, each with its `step`, `story` and number, `rollbacks`.
    """

    title = ""  # in warnings
    library: str | None = None  # what it needs to have installed
    way_out = ""  # where it cannot begin

    def __init__(
        self,
        run: Run,
        first_step: int = 0,
        rollbacks: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.run, self.first_step, self.rollbacks = run, first_step, rollbacks

    def open(self) -> None:
        """Begins, or goes on after `first_step`."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics, or scores of an evaluation, by their names in metrics.jsonl."""

    def picture(self, step: int, tag: str, grid: np.ndarray) -> None:
        """A picture, uint8 [height, width, 1 or 3]; `tag` such as samples/generator."""

    def histograms(self, step: int, values: Mapping[str, tf.Tensor]) -> None:
        """Weights and latents by name."""

    def flush(self) -> None:
        """Brings everything to where it stays: a checkpoint will follow."""

    def close(self, *, done: bool = True) -> None:
        """`done`: all went well until here."""


class TensorBoard(Tracker):
    """Event files in tensorboard/, from which later steps are taken back."""

    title = "TensorBoard's file"

    def open(self) -> None:
        folder = self.run.folder / "tensorboard"
        old = list(folder.glob("events.*"))
        for events in old:
            _keep_events(events, _last_step(self.first_step))
        self._events = tf.summary.create_file_writer(str(folder))
        if self.run.settings and not (self.first_step and old):
            self._show_settings()
        for rollback in self.rollbacks:
            with self._events.as_default(step=rollback["step"]):
                tf.summary.text("rollbacks/story", rollback["story"])
                tf.summary.scalar("rollbacks/number", rollback["rollbacks"])

    def _show_settings(self):
        """On the pages HPARAMS and TEXT."""
        values = _settings(self.run)
        rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
        with self._events.as_default(step=0):
            hparams.hparams(values, trial_id=self.run.folder.resolve().name)
            tf.summary.text("settings", f"| setting | value |\n|---|---|\n{rows}")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        with self._events.as_default(step=step):
            for name, value in values.items():
                tag, description = curve(name)
                tf.summary.scalar(tag, value, description=description)

    def picture(self, step: int, tag: str, grid: np.ndarray) -> None:
        with self._events.as_default(step=step):
            tf.summary.image(tag, grid[None])

    def histograms(self, step: int, values: Mapping[str, tf.Tensor]) -> None:
        with self._events.as_default(step=step):
            for name, value in values.items():
                tf.summary.histogram(name, value)

    def flush(self) -> None:
        self._events.flush()

    def close(self, *, done: bool = True) -> None:
        self._events.close()


class Table(Tracker):
    """metrics.csv: a row for a step, with the names of metrics.jsonl as columns."""

    title = "metrics.csv"

    def open(self) -> None:
        self._path = self.run.folder / "metrics.csv"
        rows = {int(row["step"]): row for row in self._rows()}
        last = _last_step(self.first_step)
        rows = {step: row for step, row in rows.items() if step <= last}
        for row in rows.values():
            row.pop("rollbacks", None)
        for rollback in self.rollbacks:
            step = rollback["step"]
            row = rows.setdefault(step, {"step": step})
            row["rollbacks"] = rollback["rollbacks"]
        self._row: dict[str, Any] = {}  # that of the present step
        self._file: Any = None
        self._begin([rows[step] for step in sorted(rows)])

    def _rows(self):
        """Those that were written whole."""
        text = self._path.read_text("utf-8") if self._path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        return [
            {name: value for name, value in row.items() if value}
            for row in csv.DictReader(io.StringIO(whole))
        ]

    def _begin(self, rows):
        """Writes the file anew, with all the columns that these rows have."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        whole = io.StringIO()
        writer = csv.DictWriter(whole, columns, lineterminator="\n")
        if rows:
            writer.writeheader()
            writer.writerows(rows)
        write_whole(self._path, whole.getvalue().encode())  # the old file stays open
        file = self._path.open("a", newline="", encoding="utf-8")
        if self._file:
            self._file.close()
        self._file, self._columns = file, columns

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self._row.get("step") != step:
            self._write()
        epochs = self.run.steps_per_epoch
        epoch = {"epoch": step / epochs} if epochs else {}
        self._row |= {"step": step, **epoch, **values}

    def _write(self):
        row, self._row = self._row, {}
        if set(row) <= set(self._columns):
            writer = csv.DictWriter(self._file, self._columns, lineterminator="\n")
            if row:
                writer.writerow(row)
        else:  # the first one, or the first evaluation
            self._begin([*self._rows(), row])
        self._file.flush()

    def flush(self) -> None:
        self._write()
        os.fsync(self._file.fileno())

    def close(self, *, done: bool = True) -> None:
        try:
            self._write()
        finally:
            self._file.close()


class Service(Tracker):
    """One that takes nothing back: what was sent once is not sent again.

    The steps that an interrupted run does once more are the same ones. After a rollback
    they are others, so that a run of its own begins there, in the same group. The id,
    the number of rollbacks and the last step sent are in `<library>.json`.
    """

    def open(self) -> None:
        self._record = self.run.folder / f"{self.library}.json"
        known = json.loads(self._record.read_text()) if self._record.exists() else {}
        number = len(self.rollbacks)
        goes_on = known.get("rollbacks") == number
        self._sent = known["step"] if goes_on else -1
        name = self.run.folder.resolve().name
        title = f"{name}, rollback {number}" if number else name
        key = self._begin(known["id"] if goes_on else None, title, group=name)
        self._state = {"id": key, "rollbacks": number, "step": self._sent}
        write_json(self._record, self._state)
        if number and not goes_on:
            self._rolled_back(self.rollbacks[-1])

    def _is_new(self, step):
        """Whether a step was not sent by an earlier session; from now on it was."""
        if step <= self._sent:
            return False
        if step != self._state["step"]:
            self._state["step"] = step
            write_json(self._record, self._state)
        return True

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self._is_new(step):
            self._send(step, {curve(name).tag: one for name, one in values.items()})

    def picture(self, step: int, tag: str, grid: np.ndarray) -> None:
        if self._is_new(step):
            self._send_picture(step, tag, grid)

    def _begin(self, known: str | None, title: str, group: str) -> str:
        """Goes on with a known run, or begins one; returns its id."""
        raise NotImplementedError

    def _send(self, step: int, values: dict[str, float]) -> None:
        raise NotImplementedError

    def _send_picture(self, step: int, tag: str, grid: np.ndarray) -> None:
        raise NotImplementedError

    def _rolled_back(self, rollback: Mapping[str, Any]) -> None:
        """Says in a new run why it begins at this step."""
        raise NotImplementedError


class Wandb(Service):
    """A run of Weights & Biases, whose own variables say where: WANDB_PROJECT, ..."""

    title = library = "wandb"
    way_out = "Or set WANDB_MODE=offline, and `wandb sync` later."

    def _begin(self, known, title, group):
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=known,
            resume="allow" if known else None,
            name=title,
            group=group,
            dir=str(self.run.folder),
            config=_settings(self.run),
            reinit="create_new",
            # The terminal is the user's, with the folders of the user's machine.
            settings=wandb.Settings(console="off", silent=True),
        )
        offline = self._run.settings.mode == "offline"
        say(f"wandb: {Path(self._run.dir).parent if offline else self._run.url}")
        return self._run.id

    def _send(self, step, values):
        self._run.log(values, step=step)

    def _send_picture(self, step, tag, grid):
        import wandb

        self._run.log({tag: wandb.Image(grid)}, step=step)

    def _rolled_back(self, rollback):
        self._run.summary["rollbacks/story"] = rollback["story"]
        self._send(rollback["step"], {"rollbacks/number": rollback["rollbacks"]})

    def close(self, *, done: bool = True) -> None:
        self._run.finish(exit_code=0 if done else 1)


class MLflow(Service):
    """A run of MLflow, whose own variables say where: MLFLOW_TRACKING_URI, ..."""

    title, library = "MLflow", "mlflow"
    way_out = "MLFLOW_TRACKING_URI says where it looks."

    def _begin(self, known, title, group):
        import mlflow

        # Else each call waits four minutes for a server that has gone.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        self._mlflow = mlflow
        chosen = {"MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"} & set(os.environ)
        if not (known or chosen):
            mlflow.set_experiment(PROJECT)
        begun = mlflow.start_run(run_id=known, run_name=title, tags={"group": group})
        if not known:
            mlflow.log_params(_settings(self.run))
        say(f"MLflow: run {begun.info.run_id} at {mlflow.get_tracking_uri()}")
        return begun.info.run_id

    def _send(self, step, values):
        self._mlflow.log_metrics(values, step=step)

    def _send_picture(self, step, tag, grid):
        self._mlflow.log_image(grid, key=tag, step=step, synchronous=True)

    def _rolled_back(self, rollback):
        self._mlflow.set_tag("rollback", rollback["story"])
        self._send(rollback["step"], {"rollbacks/number": rollback["rollbacks"]})

    def close(self, *, done: bool = True) -> None:
        self._mlflow.end_run("FINISHED" if done else "KILLED")


TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "mlflow": MLflow,
    "csv": Table,
}


def check(names: Iterable[str]) -> None:
    """Stops before a training whose trackers are not there.

    Raises:
      RunError: if one is unknown, or lacks its library.
    """
    for name in names:
        if name not in TRACKERS:
            raise RunError(
                f"`track` must be some of {', '.join(TRACKERS)}. Received: {name}."
                f"{nearest(name, TRACKERS)}"
            )
        library = TRACKERS[name].library
        if library and not importlib.util.find_spec(library):
            raise RunError(f"`track`={name} needs pip install {library}.")


def opened(
    name: str, run: Run, first_step: int, rollbacks: Sequence[Mapping[str, Any]]
) -> Tracker:
    """The tracker of that name.

    Raises:
      RunError: if it cannot begin.
    """
    tracker = TRACKERS[name](run, first_step, rollbacks)
    try:
        tracker.open()
    except Exception as error:  # a service fails in many ways
        text = f"`track`={name} cannot begin: {one_line(error).rstrip('.')}."
        raise RunError(f"{text} {tracker.way_out}".rstrip()) from error
    return tracker


def _settings(run):
    """What trackers take: texts and numbers."""
    return {
        name: ",".join(value) if isinstance(value, list) else value
        for name, value in run.settings.items()
        if value is not None
    }


def _last_step(first_step):
    """The last step whose reports stay. Before the first checkpoint a run begins anew,
    with what it reports at step 0.
    """
    return first_step or -1


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
