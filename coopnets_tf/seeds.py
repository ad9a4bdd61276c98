"""Stateless randomness: every draw is a function of who draws and when.

A run has one integer, its `run_seed`. The seed of one draw is folded from it, so a
step's random numbers do not depend on how the program came to that step: the same run
seed gives the same run, in eager and in graph mode.
"""

import enum

import numpy as np
import tensorflow as tf

ALGORITHM = "philox"


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


def fold_in(seed, data):
    """Derives a new seed, int32 [2], from a seed and an integer (or scalar tensor).

    Of seeds, int32 [items, 2], each is derived by itself.
    """
    # The result hangs on the integer type as well; a step counter may have another.
    data = tf.cast(data, tf.int32)
    if tf.convert_to_tensor(seed).shape.rank == 2:
        return tf.map_fn(lambda own: fold_in(own, data), seed)
    return tf.random.fold_in(seed, data, alg=ALGORITHM)


def seed_each(seed, first, number):
    """A seed for each of the items first, first + 1, ...: int32 [number, 2].

    What is drawn from it depends on the item's number alone, not on its neighbours.
    """
    items = tf.range(first, first + number)
    return tf.map_fn(lambda item: fold_in(seed, item), items)


def draw_seed(run_seed, *, step, purpose, replica=0, stream=0):
    """The seed of one draw, int32 [2].

    Args:
      run_seed: int in [0, 2**31), or integer tensor; the run's own number.
      step: integer or integer tensor; training steps done before the draw.
      purpose: `Purpose`.
      replica: integer; the device that draws, where several train together.
      stream: integer or integer tensor; which of the run's streams of noise. A run
        that was rolled back goes on with the next one.
    """
    seed = tf.stack([tf.cast(run_seed, tf.int32), tf.cast(stream, tf.int32)])
    for part in (int(purpose), replica, step):
        seed = fold_in(seed, part)
    return seed


def standard_normal(shape, *, seed):
    """Standard normal numbers, float32, a function of `shape` and `seed` alone.

    Of seeds, int32 [items, 2], each makes the numbers of its own row of `shape`.
    """

    def draw(shape, seed):
        return tf.random.stateless_normal(shape, seed, alg=ALGORITHM)

    return _draw_each(draw, shape, seed)


def uniform(shape, *, seed, low, high):
    """Numbers in [low, high), float32, a function of `shape` and `seed`.

    Of many seeds as `standard_normal`.
    """

    def draw(shape, seed):
        return tf.random.stateless_uniform(shape, seed, low, high, alg=ALGORITHM)

    return _draw_each(draw, shape, seed)


def _draw_each(draw, shape, seed):
    if tf.convert_to_tensor(seed).shape.rank == 2:
        return tf.map_fn(
            lambda own: draw(shape[1:], own), seed, fn_output_signature=tf.float32
        )
    return draw(shape, seed)


def epoch_order(num_items, *, run_seed, epoch):
    """The order in which epoch number `epoch` visits the items: int64 [num_items]."""
    seed = np.random.SeedSequence([run_seed, int(Purpose.ORDER), epoch])
    return np.random.Generator(np.random.Philox(seed)).permutation(num_items)
