"""What a tracker is: where the numbers and pictures of a run go besides its folder."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from coopnets_tf.runs.folder import Run


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

    def settings(self) -> dict[str, Any]:
        """The settings of the run as texts and numbers, lists as texts."""
        return {
            name: ",".join(value) if isinstance(value, list) else value
            for name, value in self.run.settings.items()
            if value is not None
        }
