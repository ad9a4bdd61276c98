"""The training loop: steps, metrics, pictures, checkpoints, export."""

import contextlib
import logging
import math
import signal

import numpy as np
import tensorflow as tf

from coopnets_tf import images
from coopnets_tf.export import export_generator
from coopnets_tf.generator import exact_statistics
from coopnets_tf.logs import RunLog
from coopnets_tf.runs import RunError
from coopnets_tf.seeds import Purpose, draw_seed, fold_in

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Diverged(RuntimeError):
    """A metric is no longer finite; the message names it and the step."""


class Stopped(Exception):
    """A signal ended the training after a checkpoint. `signal` is its number."""

    def __init__(self, signal_number, step):
        super().__init__(f"Stopped at step {step}")
        self.signal = signal_number


def build_step(model):
    """The compiled training step: observed images -> means of the metrics, by name."""
    # No Python branch hangs on a tensor, so nothing needs AutoGraph's translation.
    return tf.function(model.train_step, autograph=False)


def train(
    model,
    dataset,
    run_dir,
    *,
    num_iterations,
    batch_size,
    log_every,
    sample_every,
    checkpoint_every,
    keep_checkpoints,
    num_samples,
    settings,
):
    """Trains a compiled model and leaves everything in the run's folder.

    A run that has checkpoints is continued from the newest that can be read, and
    becomes what it would have been without the interruption.

    Args:
      model: `CoopNets`, compiled.
      dataset: `ImageDataset`.
      run_dir: `Path`, from `runs.create_run` or `runs.find_run`.
      num_iterations: int; training steps, those of earlier sessions included.
      batch_size: int; observed images of a step.
      log_every, sample_every, checkpoint_every: int; steps from one to the next. The
        last step always makes a line of metrics, pictures and a checkpoint.
      keep_checkpoints: int; so many of the newest are kept.
      num_samples: int; images in a picture.
      settings: dict; hyper-parameters by name, shown in TensorBoard.

    Raises:
      Diverged: if a metric is NaN or infinite when it is read.
      Stopped: after SIGINT or SIGTERM; the step was finished and a checkpoint written.
    """
    checkpoints = tf.train.CheckpointManager(
        model.checkpoint(), str(run_dir / "checkpoints"), max_to_keep=keep_checkpoints
    )
    restore(checkpoints)
    first_step = int(model.step)
    step_fn = build_step(model)
    log = RunLog(
        run_dir,
        num_iterations=num_iterations,
        batch_size=batch_size,
        steps_per_epoch=dataset.steps_per_epoch(batch_size),
        first_step=first_step,
    )
    batches = dataset.batches(
        batch_size, run_seed=model.run_seed, first_step=first_step
    )
    with log, contextlib.closing(batches), _stop_signals() as received:
        if first_step == 0:
            log.settings(settings)
            shown = np.arange(min(num_samples, dataset.num_images))
            log.picture(0, "observed", images.grid(dataset[shown]))
        for step in range(first_step + 1, num_iterations + 1):
            metrics = step_fn(next(batches))
            to_log, to_show, to_save = (
                step % every == 0 or step == num_iterations
                for every in (log_every, sample_every, checkpoint_every)
            )
            if to_log or to_show or to_save or received:
                values = _fetch(metrics, step)
            if to_log:
                log.metrics(step, values)
                model.reset_metrics()
            if to_show:
                _show(model, log, step, num_samples)
            if to_save or received:  # at the end: what it holds has been shown
                log.flush()
                checkpoints.save(checkpoint_number=step)
            if received:
                raise Stopped(received[0], step)
    with _exact(model):
        export_generator(model.generator, run_dir / "export")


def restore(checkpoints):
    """Restores the newest checkpoint that can be read; does nothing where none is.

    Args:
      checkpoints: `tf.train.CheckpointManager`.

    Raises:
      runs.RunError: if there are checkpoints and none can be read.
    """
    for path in reversed(checkpoints.checkpoints):
        try:
            checkpoints.checkpoint.restore(path).assert_consumed()
            return
        except Exception as error:  # a damaged file fails in many ways
            reason = str(error).splitlines()[0]
            logging.warning(
                "%s cannot be read, trying the one before: %s", path, reason
            )
    if checkpoints.checkpoints:
        raise RunError(
            f"No checkpoint in {checkpoints.directory} can be read. Remove them to "
            "begin again from step 0."
        )


@contextlib.contextmanager
def _stop_signals():
    """Collects SIGINT and SIGTERM in a list; a second SIGINT acts at once."""
    received = []

    def note(number, frame):
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    kept = {number: signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield received
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _fetch(metrics, step):
    """Fetches the metrics from the device; refuses what is not finite."""
    values = {name: float(value) for name, value in metrics.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise Diverged(
                f"{name} became {value} by step {step}. Try a smaller "
                "--descriptor_learning_rate, --descriptor_step_size or "
                "--generator_learning_rate."
            )
    return values


def _exact(model):
    seed = draw_seed(model.run_seed, step=model.step, purpose=Purpose.STATISTICS)
    return exact_statistics(model.generator, seed=seed)


def _show(model, log, step, num_samples):
    """Pictures of both nets, always from the same latents, and histograms."""
    seed = draw_seed(model.run_seed, step=0, purpose=Purpose.SAMPLING)
    with _exact(model):
        latents, generated = model.generator.propose(num_samples, seed=seed)
        revised, _ = model.descriptor.revise(
            generated, seed=fold_in(seed, 0), noise_scale=model.noise_scale()
        )
        latents, _ = model.generator.infer(latents, revised, seed=fold_in(seed, 1))
    log.picture(step, "generator", images.grid(generated))
    log.picture(step, "descriptor", images.grid(revised))
    weights = {f"weights/{one.path}": one for one in model.trainable_variables}
    log.histograms(step, {"latents": latents, **weights})
