"""The training loop: steps, metrics, pictures, checkpoints, export."""

import contextlib
import math

import numpy as np
import tensorflow as tf

from coopnets_tf import images
from coopnets_tf.export import export_generator
from coopnets_tf.generator import exact_statistics
from coopnets_tf.logs import RunLog
from coopnets_tf.seeds import Purpose, draw_seed, fold_in


class Diverged(RuntimeError):
    """A metric is no longer finite; the message names it and the step."""


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
    num_samples,
    settings,
):
    """Trains a compiled model and leaves everything in the run's folder.

    Args:
      model: `CoopNets`, compiled.
      dataset: `ImageDataset`.
      run_dir: `Path`, from `runs.create_run`.
      num_iterations: int; training steps.
      batch_size: int; observed images of a step.
      log_every, sample_every, checkpoint_every: int; steps from one to the next. The
        last step always makes a line of metrics, pictures and a checkpoint.
      num_samples: int; images in a picture.
      settings: dict; hyper-parameters by name, shown in TensorBoard.

    Raises:
      Diverged: if a metric is NaN or infinite when it is read.
    """
    step_fn = build_step(model)
    checkpoints = tf.train.CheckpointManager(
        model.checkpoint(), str(run_dir / "checkpoints"), max_to_keep=3
    )
    log = RunLog(
        run_dir,
        num_iterations=num_iterations,
        batch_size=batch_size,
        steps_per_epoch=dataset.steps_per_epoch(batch_size),
    )
    batches = dataset.batches(batch_size, run_seed=model.run_seed)
    with log, contextlib.closing(batches):
        log.settings(settings)
        shown = np.arange(min(num_samples, dataset.num_images))
        log.picture(0, "observed", images.grid(dataset[shown]))
        for step in range(1, num_iterations + 1):
            metrics = step_fn(next(batches))
            to_log, to_show, to_save = (
                step % every == 0 or step == num_iterations
                for every in (log_every, sample_every, checkpoint_every)
            )
            if to_log or to_show or to_save:
                values = _fetch(metrics, step)
            if to_log:
                log.metrics(step, values)
                model.reset_metrics()
            if to_show:
                _show(model, log, step, num_samples)
            if to_save:  # at the end, so that what it holds has been shown
                checkpoints.save(checkpoint_number=step)
    with _exact(model):
        export_generator(model.generator, run_dir / "export")


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
