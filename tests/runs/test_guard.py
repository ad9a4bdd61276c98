"""A run that diverges goes back to a healthy checkpoint and on with other noise."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf.errors import Diverged
from coopnets_tf.models.optimizers import RateAfterRollbacks
from coopnets_tf.runs import checkpoints, stepping, training
from tests.helpers import make_model, poison, read_lines, top, train

LIMITS = {"displacement": 1.0}
LENGTH = {
    "num_iterations": 12,
    "log_every": 2,
    "checkpoint_every": 3,
    "sample_every": 100,
}


def guarded_model():
    return make_model(limits=LIMITS, unroll=False)


def halving_model():
    """A model whose rates every rollback divides by two."""
    model = guarded_model()
    model.compile(
        *(
            keras.optimizers.Adam(RateAfterRollbacks(rate, model.rollbacks, 0.5))
            for rate in (0.003, 0.001)
        )
    )
    return model


def stories(run_dir):
    lines = [json.loads(line) for line in read_lines(run_dir)]
    return [line for line in lines if "story" in line]


def test_a_run_recovers_from_nan(tmp_path, monkeypatch):
    """The net is spoilt after step 7, so step 8 is the first that shows it. The newest
    checkpoint, 6, has no two good steps behind it; 3 has.
    """
    poison(monkeypatch, 7)
    model = train(guarded_model(), tmp_path, max_rollbacks=1, **LENGTH)
    assert int(model.step) == 12 and int(model.rollbacks) == 1
    for weight in model.get_weights():
        assert np.isfinite(weight).all()
    (story,) = stories(tmp_path)
    assert story["step"] == 3 and story["rollbacks"] == 1
    assert "became nan at step 8. Back to step 3, 1 of 1 times" in story["story"]
    steps = [json.loads(line)["step"] for line in read_lines(tmp_path)]
    assert steps == [2, 3, 4, 6, 8, 10, 12]


def test_an_explosion_counts_too_and_the_rates_shrink(tmp_path, monkeypatch):
    poison(monkeypatch, 7, value=1e6)
    model = train(halving_model(), tmp_path, max_rollbacks=1, **LENGTH)
    assert "displacement became" in stories(tmp_path)[0]["story"]
    assert float(model.descriptor.optimizer.learning_rate) == pytest.approx(0.0015)
    assert float(model.generator.optimizer.learning_rate) == pytest.approx(0.0005)


def test_what_only_the_pictures_show_counts_too(tmp_path, monkeypatch):
    """Spoilt after step 8 has its metrics, and before its pictures are made."""
    poison(monkeypatch, 8)
    model = train(
        guarded_model(), tmp_path, max_rollbacks=1, **{**LENGTH, "sample_every": 4}
    )
    assert int(model.step) == 12
    (story,) = stories(tmp_path)
    assert story["step"] == 3
    assert "a pixel of the picture descriptor became nan at step 8" in story["story"]


def test_two_rollbacks_before_the_first_checkpoint(tmp_path, monkeypatch):
    poison(monkeypatch, 1, times=2)
    model = train(halving_model(), tmp_path, max_rollbacks=2, **LENGTH)
    assert int(model.rollbacks) == 2
    assert float(model.descriptor.optimizer.learning_rate) == pytest.approx(0.00075)


def test_it_gives_up_after_max_rollbacks(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "EARLY", 0)
    poison(monkeypatch, 7, times=9)
    with pytest.raises(Diverged, match="became nan at step 8") as end:
        train(guarded_model(), tmp_path, max_rollbacks=2, **LENGTH)
    assert end.value.ending == "after 2 of 2 rollbacks"


def test_an_early_divergence_is_not_tried_again(tmp_path, monkeypatch):
    """From step 0 with the same rates; with others it is, see above."""
    poison(monkeypatch, 1, times=9)
    with pytest.raises(Diverged) as end:
        train(guarded_model(), tmp_path, max_rollbacks=3, **LENGTH)
    assert end.value.ending == "and from step 0 the same rates would lead there again"
    assert stories(tmp_path) == []


def test_an_early_divergence_costs_no_checkpoint(tmp_path, monkeypatch):
    """Not that of a stop, either, whose nets a new run may begin with."""
    train(guarded_model(), tmp_path, **{**LENGTH, "num_iterations": 1})
    poison(monkeypatch, 2, times=9)
    with pytest.raises(Diverged):
        train(guarded_model(), tmp_path, max_rollbacks=3, **LENGTH)
    names = {path.stem for path in (tmp_path / "checkpoints").glob("*.index")}
    assert names == {"ckpt-0", "stop-1"}


def test_it_says_why_it_does_not_go_back(tmp_path, monkeypatch):
    poison(monkeypatch, 7, times=2)
    with pytest.raises(Diverged) as end:
        train(guarded_model(), tmp_path / "none", max_rollbacks=0, **LENGTH)
    assert end.value.ending == "and no rollback is allowed"

    def unreadable(path):
        raise OSError("Input/output error")

    monkeypatch.setattr(checkpoints, "readable", unreadable)
    with pytest.raises(Diverged) as end:
        train(guarded_model(), tmp_path / "unread", max_rollbacks=1, **LENGTH)
    assert "cannot go back: No checkpoint in" in end.value.ending
    assert "Input/output error" in end.value.ending


def test_after_a_rollback_the_noise_is_another(observed):
    one, other = guarded_model(), guarded_model()
    other.rollbacks.assign(1)
    losses = [
        float(stepping.build_step(model)(observed)["generator_loss"])
        for model in (one, other)
    ]
    assert losses[0] != losses[1]


def test_a_rolled_back_run_resumes_exactly(tmp_path, monkeypatch):
    """A crash right after the rollback: the new stream must not be forgotten."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with monkeypatch.context() as patch:
        poison(patch, 7)
        expected = train(guarded_model(), whole, max_rollbacks=1, **LENGTH)
    with monkeypatch.context() as patch:
        poison(patch, 7)
        original = training._refuse_alarm

        def crash(model):
            original(model)
            if int(model.rollbacks):
                raise KeyboardInterrupt

        patch.setattr(training, "_refuse_alarm", crash)
        with pytest.raises(KeyboardInterrupt):
            train(guarded_model(), broken, max_rollbacks=1, **LENGTH)
    resumed = train(guarded_model(), broken, max_rollbacks=1, **LENGTH)
    for one, other in zip(expected.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert stories(whole) == stories(broken)


def test_without_limits_nothing_is_watched(observed):
    model = make_model(unroll=False)
    top(model.descriptor).bias.assign(np.full(7, np.nan))
    stepping.build_step(model)(tf.constant(observed))
    assert model.alarm() is None
