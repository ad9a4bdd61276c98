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

from coopnets_tf import replicas

ALGORITHM = "philox"
PHILOX = 1  # the same for TensorFlow's raw operations
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
    IMAGE_LATENTS = 9  # those of dual teaching at first
    CLASSES = 10
    AUGMENTATION = 11


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
    stream: Integer = 0,
) -> tf.Tensor:
    """The seed of one draw, [2].

    Args:
      run_seed: in [0, 2**31).
      step: training steps done before the draw.
      purpose: what is drawn.
      stream: which of the run's streams of noise; each rollback moves on to the next.
    """
    seed = tf.stack([tf.cast(run_seed, tf.int32), tf.cast(stream, tf.int32)])
    for part in (int(purpose), 0, step):  # 0 as ever, for the numbers of older runs
        seed = fold_in(seed, part)
    return seed


def standard_normal(shape: Shape, *, seed: tf.Tensor) -> tf.Tensor:
    """Standard normal numbers, float32, a function of `shape` and `seed` alone.

    Of seeds [items, 2], each makes the numbers of its row of `shape`. Of one seed, each
    replica draws its part of the rows that one device would draw for all.
    """
    return _draw_each(tf.raw_ops.StatelessRandomNormalV2, shape, seed)


def uniform(shape: Shape, *, seed: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Uniform numbers in [low, high), otherwise as `standard_normal`."""

    unit = _draw_each(tf.raw_ops.StatelessRandomUniformV2, shape, seed)
    return unit * (high - low) + low


def _draw_each(draw, shape, seed):
    if tf.convert_to_tensor(seed).shape.rank == 2:
        return tf.map_fn(
            lambda each: _part(draw, shape[1:], each, 0),
            seed,
            fn_output_signature=tf.float32,
        )
    return _part(draw, shape, seed, replicas.index())


def _part(draw, shape, seed, part):
    """Part number `part` of a longer draw: its numbers `part * size` and on.

    Philox counts: of each counter it makes four numbers, so that a part costs no more
    than itself wherever it begins.
    """
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    if isinstance(part, int) and part == 0:
        numbers = draw(shape=shape, key=key, counter=counter, alg=PHILOX)
    else:
        size = tf.reduce_prod(tf.cast(shape, tf.int64))
        before = tf.cast(part, tf.int64) * size
        counter += tf.cast([before // 4, 0], tf.uint64)
        numbers = draw(shape=[before % 4 + size], key=key, counter=counter, alg=PHILOX)
        numbers = numbers[before % 4 :]
    return tf.reshape(numbers, shape)  # whose static part it knows


def epoch_order(num_items: int, *, run_seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch number `epoch` visits the items: int64 [num_items]."""
    seed = np.random.SeedSequence([run_seed, int(Purpose.ORDER), epoch])
    return np.random.Generator(np.random.Philox(seed)).permutation(num_items)


def flips(num_items: int, *, run_seed: int, step: int) -> np.ndarray:
    """Which items are mirrored in the step that follows `step` others: bool
    [num_items].
    """
    seed = np.random.SeedSequence([run_seed, int(Purpose.FLIPS), step])
    return np.random.Generator(np.random.Philox(seed)).random(num_items) < 0.5
