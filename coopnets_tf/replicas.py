"""A training step that several devices or hosts share, by `tf.distribute`.

Each replica holds all weights, and of the observed images and of the chains its part:
replica r has those that follow the parts of the replicas before it. Together they draw,
learn and report what one device with all of it would. Outside of a replica, or with one
alone, `own`, `gathered`, `mean` and `total` return what they are given.
"""

from typing import Any

import keras
import tensorflow as tf

from coopnets_tf.errors import ArgumentError

CLIPS = ("clipnorm", "global_clipnorm", "clipvalue")  # options of Keras' optimizers


def number() -> int:
    """How many replicas share the step that is being run or traced."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def index() -> tf.Tensor | int:
    """Which of them this one is, from 0 on."""
    context = tf.distribute.get_replica_context()
    return context.replica_id_in_sync_group if context else 0


def beside(strategy: tf.distribute.Strategy) -> int:
    """How many replicas of a strategy are on this host."""
    if strategy.num_replicas_in_sync == 1:
        return 1
    return len(strategy.extended.worker_devices)


def share(total: int) -> int:
    """This replica's share of a number of chains."""
    return total // number()


def descend(net: keras.Model, loss: tf.Tensor, tape: tf.GradientTape) -> None:
    """One step of a net's optimizer down a loss, a scalar that the tape has seen: by
    the mean of the replicas' gradients, which the optimizer sums.

    Raises:
      ArgumentError: if it clips gradients before it sums them.
    """
    optimizer, weights = net.optimizer, net.trainable_variables
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    if number() == 1:
        return optimizer.apply(gradients, weights)
    if not getattr(optimizer, "sums_first", False):
        clips = [one for one in CLIPS if getattr(optimizer, one, None) is not None]
        if clips:
            raise ArgumentError(
                f"{type(optimizer).__name__} would clip each device's gradients by "
                f"itself. Received: {clips[0]}={getattr(optimizer, clips[0])}. Leave "
                "it out, or take CappedAdam."
            )
    mean = [None if one is None else one / number() for one in gradients]
    return optimizer.apply(mean, weights)


def own(rows: tf.Tensor) -> tf.Tensor:
    """This replica's part of what all have: the first axis in equal parts."""
    if number() == 1:
        return rows
    length = rows.shape[0] // number()
    return rows[index() * length :][:length]


def gathered(rows: Any) -> Any:
    """The parts of all replicas, one after the other, of a tensor or of each in a
    structure; the reverse of `own`.
    """
    if number() == 1:
        return rows
    return tf.distribute.get_replica_context().all_gather(rows, axis=0)


def mean(values: Any) -> Any:
    """The mean over the replicas of a tensor, or of each in a structure.

    Its gradient is exact: that of a loss of all replicas, not of this one's.
    """
    if number() == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce("MEAN", values)


def total(values: Any) -> Any:
    """The sum over the replicas; otherwise as `mean`."""
    if number() == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce("SUM", values)


def distributed(strategy: tf.distribute.Strategy, batch: Any) -> Any:
    """Splits a batch of all images among the replicas of this host.

    Raises:
      ArgumentError: if the images cannot be shared out equally.
    """
    number = strategy.num_replicas_in_sync

    def part(rows, index):
        refuse_uneven(number, batch_size=len(rows))
        length = len(rows) // number
        return tf.convert_to_tensor(rows[index * length : (index + 1) * length])

    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.nest.map_structure(
            lambda rows: part(rows, context.replica_id_in_sync_group), batch
        )
    )


def refuse_uneven(number: int, **totals: int) -> None:
    """Refuses what replicas cannot share equally.

    Args:
      number: of replicas.
      **totals: how many there are to share, by the argument's name.

    Raises:
      ArgumentError: if one is not a multiple of the number; says which would be.
    """
    for name, total in totals.items():
        below = total // number * number
        if below != total:
            near = f"{below} or {below + number}" if below else f"{number}"
            raise ArgumentError(
                f"`{name}` must be a multiple of {number}, the number of devices. "
                f"Received: {total}. Give {near}."
            )
