"""Stateless randomness: every draw is a function of who draws and when.

A run has one integer, its `run_seed`. The seed of one draw is folded from it, so a
step's random numbers do not depend on how the program came to that step: the same run
seed gives the same run, in eager and in graph mode. Seeds are int32 [2], or
[items, 2], one for each item.
"""

import enum
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import tensorflow as tf

ALGORITHM = "philox"
Integer: TypeAlias = int | tf.Tensor
Shape: TypeAlias = Sequence[Integer] | tf.Tensor


class Purpose(enum.IntEnum):
    """What a draw is for; keeps the draws of one step apart."""

    ORDER = 0
    LATENTS = 1
    REVISION = 2
    INFERENCE = 3
    STATISTICS = 4
    SAMPLING = 5
    DIAGNOSTICS = 6
    CHAINS = 7
    FLIPS = 8


def fold_in(seed: tf.Tensor, data: Integer) -> tf.Tensor:
    """A new seed from a seed and an integer; of several seeds, one from each."""
    # The result depends on the integer type, too; a step counter may have another.
    data = tf.cast(data, tf.int32)
    if tf.convert_to_tensor(seed).shape.rank == 2:
        return tf.map_fn(lambda each: fold_in(each, data), seed)
    return tf.random.fold_in(seed, data, alg=ALGORITHM)


def seed_each(seed: tf.Tensor, first: Integer, number: Integer) -> tf.Tensor:
    """A seed for each of the items first, first + 1, ...: [number, 2].

    What is drawn from it depends on the item's number alone, not on its neighbours.
    """
    items = tf.range(first, first + number)
    return tf.map_fn(lambda item: fold_in(seed, item), items)


def draw_seed(
    run_seed: Integer,
    *,
    step: Integer,
    purpose: Purpose,
    replica: int = 0,
    stream: Integer = 0,
) -> tf.Tensor:
    """The seed of one draw, [2].

    Args:
      run_seed: in [0, 2**31).
      step: training steps done before the draw.
      purpose: what is drawn.
      replica: the device that draws, where several train together.
      stream: which of the run's streams of noise; each rollback moves on to the next.
    """
    seed = tf.stack([tf.cast(run_seed, tf.int32), tf.cast(stream, tf.int32)])
    for part in (int(purpose), replica, step):
        seed = fold_in(seed, part)
    return seed


def standard_normal(shape: Shape, *, seed: tf.Tensor) -> tf.Tensor:
    """Standard normal numbers, float32, a function of `shape` and `seed` alone.

    Of seeds [items, 2], each makes the numbers of its row of `shape`.
    """

    def draw(shape, seed):
        return tf.random.stateless_normal(shape, seed, alg=ALGORITHM)

    return _draw_each(draw, shape, seed)


def uniform(shape: Shape, *, seed: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Uniform numbers in [low, high), otherwise as `standard_normal`."""

    def draw(shape, seed):
        return tf.random.stateless_uniform(shape, seed, low, high, alg=ALGORITHM)

    return _draw_each(draw, shape, seed)


def _draw_each(draw, shape, seed):
    if tf.convert_to_tensor(seed).shape.rank == 2:
        return tf.map_fn(
            lambda each: draw(shape[1:], each), seed, fn_output_signature=tf.float32
        )
    return draw(shape, seed)


def epoch_order(num_items: int, *, run_seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch number `epoch` visits the items: int64 [num_items]."""
    seed = np.random.SeedSequence([run_seed, int(Purpose.ORDER), epoch])
    return np.random.Generator(np.random.Philox(seed)).permutation(num_items)


def flips(num_items: int, *, run_seed: int, step: int) -> np.ndarray:
    """Which items of the step after `step` others are mirrored: bool [num_items]."""
    seed = np.random.SeedSequence([run_seed, int(Purpose.FLIPS), step])
    return np.random.Generator(np.random.Philox(seed)).random(num_items) < 0.5
