import itertools

import numpy as np
import tensorflow as tf

from coopnets_tf.seeds import Purpose, draw_seed, epoch_order, standard_normal


def test_every_part_of_a_seed_counts():
    parts = itertools.product((0, 1, 2**31 - 1), (0, 1), (0, 1), Purpose)
    drawn = {
        tuple(draw_seed(run, step=step, replica=replica, purpose=purpose).numpy())
        for run, step, replica, purpose in parts
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


def test_epoch_order_is_a_new_permutation_each_epoch():
    orders = [
        epoch_order(50, run_seed=seed, epoch=epoch)
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    for order in orders:
        assert sorted(order) == list(range(50))
    assert len({tuple(order) for order in orders}) == 3
    np.testing.assert_array_equal(orders[1], epoch_order(50, run_seed=0, epoch=1))
