"""The training loop: steps, metrics, pictures, checkpoints, export."""

import contextlib
import functools
import logging
import math
import os
import signal

import numpy as np
import tensorflow as tf

from coopnets_tf import images, reports, runs
from coopnets_tf.checkpoints import NotSaved
from coopnets_tf.evaluation import NotFinite
from coopnets_tf.export import export
from coopnets_tf.files import write_json
from coopnets_tf.folders import DatasetError
from coopnets_tf.logs import RunLog
from coopnets_tf.seeds import Purpose, draw_seed

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Diverged(RuntimeError):
    """A metric was out of bounds; the message names it, its value and the step."""

    def __init__(self, step, name, value):
        super().__init__(f"{name} became {value:.4g} at step {step}")
        self.step = step


class Stopped(Exception):
    """A signal ended the training after a checkpoint. `signal` is its number."""

    def __init__(self, signal_number, step):
        super().__init__(f"Stopped at step {step}")
        self.signal = signal_number


def build_step(model):
    """The compiled training step: a batch -> means of the metrics, by name.

    A batch is what `ImageDataset.batches` yields: observed images and their numbers.
    """
    # No Python branch hangs on a tensor, so nothing needs AutoGraph's translation.
    return tf.function(model.train_step, autograph=False)


def train(model, dataset, run_dir, checkpoints, *, max_rollbacks, **schedule):
    """Trains a compiled model and leaves everything in the run's folder.

    A run that has checkpoints is continued from the newest that can be read, and
    becomes what it would have been without the interruption. When a metric is out of
    bounds the run goes back to a healthy checkpoint and on with other noise.

    Args:
      model: `CoopNets`, `AlgorithmD` or `AlgorithmG`, compiled.
      dataset: `ImageDataset`.
      run_dir: `Path`, from `runs.create_run` or `runs.find_run`.
      checkpoints: `Checkpoints` of the model in that folder.
      max_rollbacks: int; rollbacks of the whole run before it gives up.
      **schedule: num_iterations, int, training steps, those of earlier sessions
        included; batch_size, int, observed images of a step; log_every, sample_every
        and checkpoint_every, int, steps from one to the next (the last step always
        makes a line of metrics, pictures and a checkpoint); num_samples, int, images
        in a picture; settings, dict, hyper-parameters to show in TensorBoard;
        evaluate_every, None or int, and evaluate, a function of the model that returns
        an `Evaluation`.

    Raises:
      Diverged: if a metric is out of bounds and no rollback is left.
      DatasetError: if an image can no longer be read; a checkpoint was written.
      NotSaved: if the checkpoint at the end could not be written.
      Stopped: after SIGINT or SIGTERM; the step was finished and a checkpoint written.
    """
    checkpoints.restore()
    model.rollbacks.assign(len(runs.rollbacks(run_dir)))
    go_on = functools.partial(
        _go_on, model, dataset, run_dir, checkpoints, build_step(model), **schedule
    )
    with _stop_signals() as received:
        while True:
            try:
                go_on(received)
                break
            except Diverged as error:
                _roll_back(model, run_dir, checkpoints, error, max_rollbacks)
    with model.as_shown():
        export(model, run_dir / "export", dataset=dataset.name)


def _go_on(
    model,
    dataset,
    run_dir,
    checkpoints,
    step_fn,
    received,
    *,
    num_iterations,
    batch_size,
    log_every,
    sample_every,
    checkpoint_every,
    num_samples,
    settings,
    evaluate_every=None,
    evaluate=None,
):
    """Trains from the model's step to the last, or until a signal was received."""
    first_step = int(model.step)
    log = RunLog(
        run_dir,
        num_iterations=num_iterations,
        batch_size=batch_size,
        steps_per_epoch=dataset.steps_per_epoch(batch_size),
        first_step=first_step,
        rollbacks=runs.rollbacks(run_dir),
    )
    batches = dataset.batches(
        batch_size, run_seed=model.run_seed, first_step=first_step
    )
    with log, contextlib.closing(batches):
        if first_step == 0:
            log.settings(settings)
            observed = np.nan_to_num(dataset[:num_samples])  # grey where not known
            log.picture(0, "observed", images.grid(observed))
            _save(checkpoints, log, first_step)
        for step in range(first_step + 1, num_iterations + 1):
            try:
                batch = next(batches)
            except DatasetError:
                _refuse_alarm(model)
                _save(checkpoints, log, step - 1, needed=True)
                raise
            metrics = step_fn(batch)
            to_log, to_show, to_save = (
                step % every == 0 or step == num_iterations
                for every in (log_every, sample_every, checkpoint_every)
            )
            to_evaluate = evaluate_every and step % evaluate_every == 0
            if to_log or to_show or to_evaluate or to_save or received:
                _refuse_alarm(model)
            if to_log:
                metrics = {name: float(value) for name, value in metrics.items()}
                log.metrics(step, {**metrics, **_learning_rates(model)})
            if step % log_every == 0:  # not after the last line of a run: it may go on
                model.reset_metrics()
            if to_show:
                _show(model, log, step, num_samples)
            if to_evaluate:
                _evaluate(model, log, step, run_dir, evaluate)
            if to_save or received:  # at the end: what it holds has been shown
                needed = received or step == num_iterations
                _save(checkpoints, log, step, needed=needed)
            if received:
                raise Stopped(received[0], step)


def _refuse_alarm(model):
    alarm = model.alarm()
    if alarm:
        raise Diverged(*alarm)


def _save(checkpoints, log, step, *, needed=False):
    """Writes a checkpoint; one that is not needed may fail, for another will come."""
    log.flush()
    try:
        checkpoints.save(step)
    except NotSaved as error:
        if needed:
            raise
        logging.warning("%s. Training goes on; free some space.", error)


def _roll_back(model, run_dir, checkpoints, error, max_rollbacks):
    """Goes back to a healthy checkpoint and on to another stream of noise."""
    rollbacks = int(model.rollbacks) + 1
    if rollbacks > max_rollbacks:
        raise error
    before = runs.rollbacks(run_dir)
    last = before[-1]["step"] if before else None
    step = checkpoints.roll_back(diverged=error.step, last=last)
    if step is None:
        raise error
    story = f"{error}. Back to step {step}, {rollbacks} of {max_rollbacks} times"
    logging.warning("%s", story)
    runs.add_rollback(run_dir, step=step, story=story)
    model.rollbacks.assign(rollbacks)


@contextlib.contextmanager
def _stop_signals():
    """Collects SIGINT and SIGTERM in a list; a second SIGINT acts at once.

    A signal that is ignored (SIGINT, in a job in the background) stays ignored.
    """
    received = []
    kept = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    kept = {key: value for key, value in kept.items() if value != signal.SIG_IGN}

    def note(number, frame):
        received.append(number)
        os.write(2, b"\nFinishing the step and a checkpoint; Ctrl-C stops at once.\n")
        if signal.SIGINT in kept:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in kept:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _evaluate(model, log, step, run_dir, evaluate):
    """Scores the nets as they are, for TensorBoard, metrics.jsonl and evaluations/."""
    try:
        found = evaluate(model)
    except NotFinite as error:
        raise Diverged(step, f"a pixel of {error.net}'s samples", math.nan) from error
    log.evaluation(step, reports.scalars(found.report), found.pictures)
    try:
        write_json(run_dir / "evaluations" / f"{step:06d}.json", found.report)
    except OSError as error:
        logging.warning("The report of step %s is not written: %s", step, error)


def _learning_rates(model):
    return {
        f"{name}_learning_rate": float(net.optimizer.learning_rate)
        for name, net in model.nets.items()
    }


def _show(model, log, step, num_samples):
    """Pictures of the nets, always from the same random numbers, and histograms."""
    seed = draw_seed(model.run_seed, step=0, purpose=Purpose.SAMPLING)
    with model.as_shown():
        pictures, latents = model.shown(num_samples, seed=seed)
    # A step's metrics are older than its updates, which only the pictures show.
    for name, shown in pictures.items():
        if not np.isfinite(shown).all():
            raise Diverged(step, f"a pixel of the picture {name}", math.nan)
    for name, shown in pictures.items():
        log.picture(step, name, images.grid(shown))
    histograms = {f"weights/{one.path}": one for one in model.trainable_variables}
    if latents is not None:
        histograms["latents"] = latents
    log.histograms(step, histograms)
