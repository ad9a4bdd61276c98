"""The compiled training step: one or several a call, shared by devices or not."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from coopnets_tf import replicas
from coopnets_tf.errors import ArgumentError, DatasetError
from coopnets_tf.models.batches import check_batch
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.progress import say
from coopnets_tf.runs.folder import Run


def build_step(model: ImageModel) -> Callable[[Any], dict[str, tf.Tensor]]:
    """The compiled training step: a batch -> means of the metrics, by name.

    A model built in the scope of a `tf.distribute` strategy has a step that all its
    replicas share.
    """
    strategy = model.distribute_strategy
    # No Python branch depends on a tensor, so nothing needs AutoGraph's translation.
    if model.num_replicas == 1:
        return tf.function(
            model.train_step, autograph=False, jit_compile=model.jit_compile or None
        )
    run = tf.function(
        lambda batch: strategy.run(model.train_step, [batch]), autograph=False
    )

    def step(batch):
        metrics = run(replicas.distributed(strategy, batch))
        return {
            name: strategy.experimental_local_results(value)[0]
            for name, value in metrics.items()
        }

    return step


def build_steps(model: ImageModel) -> Callable[[Any], dict[str, tf.Tensor]]:
    """Several compiled training steps: batches -> means of the metrics, by name.

    One call of a graph, so that nothing waits for Python between two steps. The batches
    are stacked, [steps, batch, ...].
    """

    def steps(batches):
        def step(index, _):
            batch = tf.nest.map_structure(lambda rows: rows[index], batches)
            return index + 1, model.train_step(batch)

        number = tf.shape(tf.nest.flatten(batches)[0])[0]
        metrics = dict.fromkeys(model.means, tf.constant(0.0))
        return tf.while_loop(
            lambda index, _: index < number, step, (0, metrics), parallel_iterations=1
        )[1]

    # A number of steps that changes is no reason to trace anew.
    return tf.function(
        steps,
        autograph=False,
        jit_compile=model.jit_compile or None,
        reduce_retracing=True,
    )


def announced(
    model: ImageModel, steps_per_call: int
) -> Callable[[Sequence[Any]], dict[str, tf.Tensor]]:
    """Steps on a list of batches, of which the first call says why it takes long.

    Raises:
      ArgumentError: on several steps a call by several devices.
    """
    number, several = itertools.count(), steps_per_call > 1
    if several and model.num_replicas > 1:
        raise ArgumentError(
            f"`steps_per_call`={steps_per_call} is for one device. Received: "
            f"{model.num_replicas}. Leave it out."
        )
    step_fn = build_steps(model) if several else build_step(model)

    def steps(batches):
        if next(number) == 0:
            check_batch(batches[0], num_classes=model.num_classes)
            say("Compiling the training step")
        if not several:
            return step_fn(batches[0])
        return step_fn(tf.nest.map_structure(lambda *rows: np.stack(rows), *batches))

    return steps


def calls(
    upcoming: Iterator[Any], first_step: int, run: Run, every: Sequence[int]
) -> Iterator[list[Any]]:
    """The batches of each call of the steps, at most `run.steps_per_call`.

    Args:
      every: a call ends where a step is a multiple of one of these.
    """
    step = first_step
    while step < run.num_iterations:
        due = [run.num_iterations - step, *(each - step % each for each in every)]
        batches: list[Any] = []
        try:
            for _ in range(min(run.steps_per_call, *due)):
                batches.append(next(upcoming))
        except DatasetError:
            if batches:
                yield batches
            raise
        step += len(batches)
        yield batches
