"""Trackers that send reports elsewhere: Weights & Biases and MLflow."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from coopnets_tf.files import write_json
from coopnets_tf.progress import say
from coopnets_tf.runs.curves import curve
from coopnets_tf.runs.tracking import Tracker

PROJECT = "coopnets_tf"  # of wandb, or experiment of MLflow, if no variable names one


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
            rollback = self.rollbacks[-1]
            self._explain(rollback["story"])
            self._send(rollback["step"], {"rollbacks/number": rollback["rollbacks"]})

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

    def _explain(self, story: str) -> None:
        """Says in a new run, beside its curves, why it does not begin at step 0."""
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
            config=self.settings(),
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

    def _explain(self, story):
        self._run.summary["rollbacks/story"] = story

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
            mlflow.log_params(self.settings())
        say(f"MLflow: run {begun.info.run_id} at {mlflow.get_tracking_uri()}")
        return begun.info.run_id

    def _send(self, step, values):
        self._mlflow.log_metrics(values, step=step)

    def _send_picture(self, step, tag, grid):
        self._mlflow.log_image(grid, key=tag, step=step, synchronous=True)

    def _explain(self, story):
        self._mlflow.set_tag("rollback", story)

    def close(self, *, done: bool = True) -> None:
        self._mlflow.end_run("FINISHED" if done else "KILLED")
