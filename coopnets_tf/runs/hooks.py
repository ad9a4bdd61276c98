"""What a training does every few steps besides metrics and checkpoints."""

import logging
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from coopnets_tf.data import drawing
from coopnets_tf.errors import Diverged, NotFinite
from coopnets_tf.evaluation import reports
from coopnets_tf.files import write_json
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.runs.folder import Run
from coopnets_tf.runs.logs import RunLog
from coopnets_tf.seeds import Purpose, draw_seed
from coopnets_tf.variables import stable_paths


class Moment(NamedTuple):
    """When a hook is called: after step `step`, 0 before the first one."""

    model: ImageModel
    run: Run
    log: RunLog
    step: int


class Hook(NamedTuple):
    """What a training does every few steps besides metrics and checkpoints.

    Args:
      every: steps from one time to the next.
      act: may raise `Diverged`.
      at_end: also after the last step.
      at_start: called once before the first step.
    """

    every: int
    act: Callable[[Moment], None]
    at_end: bool = True
    at_start: Callable[[Moment], None] | None = None


def pictures(
    every: int, *, num_images: int = 64, observed: np.ndarray | None = None
) -> Hook:
    """A hook that draws the nets' images, always from the same random numbers.

    Args:
      num_images: in a picture.
      observed: float [number, *image_shape]; real images, shown once.
    """

    def start(moment):
        if observed is not None:
            moment.log.picture(0, "observed", drawing.grid(observed))

    return Hook(every, lambda moment: _show(moment, num_images), at_start=start)


def evaluations(every: int, evaluate: Callable[[ImageModel], Any]) -> Hook:
    """A hook that scores the nets, for metrics.jsonl, evaluations/ and trackers.

    `evaluate` is a function of the model that returns an `Evaluation`.
    """
    return Hook(every, lambda moment: _evaluate(moment, evaluate), at_end=False)


def _show(moment, num_images):
    """Pictures of the nets, and histograms."""
    model, log, step = moment.model, moment.log, moment.step
    seed = draw_seed(model.run_seed, step=0, purpose=Purpose.SAMPLING)
    with model.frozen():
        shown, latents = model.shown(num_images, seed=seed)
    # A step's metrics are older than its updates, which only the pictures show.
    for name, picture in shown.items():
        if not np.isfinite(picture).all():
            raise Diverged(step, f"a pixel of the picture {name}", math.nan)
    for name, picture in shown.items():
        log.picture(step, name, drawing.grid(picture))
    histograms = {
        f"weights/{name}/{path}": variable
        for name, net in model.nets.items()
        for path, variable in zip(stable_paths(net), net.variables, strict=True)
        if variable.trainable
    }
    if latents is not None:
        histograms["latents"] = latents
    log.histograms(step, histograms)


def _evaluate(moment, evaluate):
    try:
        found = evaluate(moment.model)
    except NotFinite as error:
        what = f"a pixel of the {error.net}'s samples"
        raise Diverged(moment.step, what) from error
    moment.log.evaluation(moment.step, reports.scalars(found.report), found.pictures)
    try:
        name = f"{moment.step:06d}.json"
        write_json(moment.run.folder / "evaluations" / name, found.report)
    except OSError as error:
        logging.warning("The report of step %s is not written: %s", moment.step, error)
