import itertools

import numpy as np
import tensorflow as tf

from coopnets_tf.seeds import (
    Purpose,
    draw_seed,
    epoch_order,
    flips,
    seed_each,
    standard_normal,
    uniform,
)


def test_every_part_of_a_seed_counts():
    parts = itertools.product((0, 1, 2**31 - 1), (0, 1), (0, 1), Purpose)
    drawn = {
        tuple(draw_seed(run, step=step, stream=stream, purpose=purpose).numpy())
        for run, step, stream, purpose in parts
    }
    assert len(drawn) == 3 * 2 * 2 * len(Purpose)


def test_graph_eager_and_counter_type_agree():
    @tf.function
    def compiled(step):
        return draw_seed(3, step=step, purpose=Purpose.REVISION)

    expected = draw_seed(3, step=5, purpose=Purpose.REVISION)
    for dtype in (tf.int32, tf.int64):
        np.testing.assert_array_equal(compiled(tf.constant(5, dtype)), expected)
        np.testing.assert_array_equal(
            draw_seed(3, step=tf.constant(5, dtype), purpose=Purpose.REVISION), expected
        )


def test_standard_normal_has_the_moments_of_one():
    draws = standard_normal([100_000], seed=tf.constant([1, 2])).numpy()
    assert abs(draws.mean()) < 5 / np.sqrt(1e5)
    assert abs(draws.std() - 1) < 5 / np.sqrt(2e5)
    assert abs((draws**4).mean() - 3) < 5 * np.sqrt(96 / 1e5)


def test_uniform_has_the_moments_of_one_and_stays_within_its_bounds():
    draws = uniform([100_000], seed=tf.constant([1, 2]), low=-1, high=1).numpy()
    assert -1 <= draws.min() and draws.max() < 1
    assert abs(draws.mean()) < 5 * np.sqrt(1 / 3 / 1e5)
    assert abs((draws**2).mean() - 1 / 3) < 5 * np.sqrt(4 / 45 / 1e5)


def test_uniform_of_many_seeds_draws_each_by_itself():
    seeds = seed_each(tf.constant([3, 4]), 0, 5)
    rows = uniform([5, 2], seed=seeds, low=0, high=1)
    for own, row in zip(seeds, rows, strict=True):
        np.testing.assert_array_equal(uniform([2], seed=own, low=0, high=1), row)


def test_flips_depend_on_run_and_step_alone():
    drawn = [flips(64, run_seed=run, step=step) for run in (0, 1) for step in (0, 1)]
    assert len({one.tobytes() for one in drawn}) == 4
    np.testing.assert_array_equal(drawn[3], flips(64, run_seed=1, step=1))


def test_epoch_order_is_a_new_permutation_each_epoch():
    orders = [
        epoch_order(50, run_seed=seed, epoch=epoch)
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    for order in orders:
        assert sorted(order) == list(range(50))
    assert len({tuple(order) for order in orders}) == 3
    np.testing.assert_array_equal(orders[1], epoch_order(50, run_seed=0, epoch=1))
