"""Where the numbers and pictures of a run go besides metrics.jsonl and samples/.

A tracker is a class, here or in `services`, and its line in `TRACKERS`, of which
`Run.track` has names.
"""

import csv
import importlib.util
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams import api as hparams

from coopnets_tf.errors import RunError
from coopnets_tf.files import write_whole
from coopnets_tf.runs.curves import curve
from coopnets_tf.runs.folder import Run
from coopnets_tf.runs.services import MLflow, Wandb
from coopnets_tf.runs.tracking import Tracker
from coopnets_tf.wording import nearest, one_line, reason


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
        values = self.settings()
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
        self._row |= {"step": step, **self.run.epoch(step), **values}

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
