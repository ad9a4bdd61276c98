"""Checkpoints that are kept, gone back to, and that cannot be written."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import AlgorithmD, Descriptor, Langevin
from coopnets_tf.errors import NotSaved, RunError
from coopnets_tf.runs import checkpoints, logs, weights
from coopnets_tf.runs.checkpoints import Checkpoints
from coopnets_tf.runs.folder import Run
from tests.helpers import make_model, poison, train

LENGTH = {
    "num_iterations": 8,
    "log_every": 1,
    "checkpoint_every": 2,
    "sample_every": 100,
}


def checkpoint_names(run_dir):
    return {path.stem for path in (run_dir / "checkpoints").glob("*.index")}


def metric_means(run_dir, name):
    """Means of the metric's size at the steps before those regular checkpoints that a
    later good step has proved healthy: all but the last.
    """
    lines = logs.read_lines(run_dir / "metrics.jsonl")
    values = {line["step"]: line[name] for line in lines}
    return {step: abs(values[step - 1] + values[step]) / 2 for step in (2, 4, 6)}


@pytest.mark.parametrize("metric", ["displacement", "generator_loss", "gradient_norm"])
def test_the_best_checkpoint_is_kept_beside_the_newest(tmp_path, metric):
    model = make_model(unroll=False)
    train(model, tmp_path, keep_checkpoints=1, keep_best=metric, **LENGTH)
    means = metric_means(tmp_path, metric)
    best = min(means, key=means.get)
    assert checkpoint_names(tmp_path) == {"ckpt-6", "ckpt-8", f"best-{best}"}
    story = json.loads((tmp_path / "checkpoints" / "best.json").read_text())
    assert story["step"] == best and story["metric"] == metric
    assert story["mean"] == pytest.approx(means[best])
    path, misfits = weights.load_networks(
        make_model(unroll=False), tmp_path / "checkpoints" / f"best-{best}"
    )
    assert path.name == f"best-{best}" and misfits == []


def test_another_metric_chooses_the_best_anew(tmp_path):
    train(make_model(unroll=False), tmp_path, keep_best="displacement", **LENGTH)
    longer = {**LENGTH, "num_iterations": 12}
    train(make_model(unroll=False), tmp_path, keep_best="generator_loss", **longer)
    story = json.loads((tmp_path / "checkpoints" / "best.json").read_text())
    assert story["metric"] == "generator_loss" and story["mean"] > 0.5


def test_a_checkpoint_that_led_to_a_divergence_is_not_the_best(tmp_path, monkeypatch):
    """The descriptor is spoilt after step 4, whose checkpoint therefore is, too."""
    poison(monkeypatch, 4)
    model = train(
        make_model(unroll=False, limits={}),
        tmp_path,
        keep_best="displacement",
        max_rollbacks=1,
        **LENGTH,
    )
    assert int(model.rollbacks) == 1
    best = json.loads((tmp_path / "checkpoints" / "best.json").read_text())
    path = weights.find(tmp_path, "best")
    assert best["step"] == checkpoints.step_of(path)
    reader = tf.train.load_checkpoint(str(path))
    shapes = reader.get_variable_to_shape_map()
    kept = [name for name in shapes if name.startswith("descriptor/")]
    assert len(kept) == len(model.descriptor.variables)
    for name in kept:
        assert np.isfinite(reader.get_tensor(name)).all()


def smallest_model():
    """A descriptor alone, of one layer."""
    network = [keras.layers.Flatten(), keras.layers.Dense(8, name="top")]
    network = keras.Sequential([keras.Input((8, 8, 1)), *network])
    descriptor = Descriptor(network, revision=Langevin(1, 0.05), reference_stddev=0.3)
    model = AlgorithmD(descriptor, num_chains=4, chain_init="noise")
    model.compile(keras.optimizers.Adam(0.003))
    return model


def saved(run_dir, *steps, keep=9, margin=1):
    model = smallest_model()
    run = Run(
        run_dir,
        num_iterations=999,
        checkpoint_every=3,
        keep_checkpoints=keep,
        log_every=margin,
    )
    states = Checkpoints(model, run)
    for step in steps:
        model.step.assign(step)
        states.save(step)
    return model, states


def test_a_rollback_removes_what_led_to_the_divergence(tmp_path):
    model, states = saved(tmp_path, 0, 3, 6, 9, 10)
    assert checkpoint_names(tmp_path) == {
        "ckpt-0",
        "ckpt-3",
        "ckpt-6",
        "ckpt-9",
        "stop-10",
    }
    assert states.roll_back(diverged=10) == 6  # 9 has only one step behind it
    assert int(model.step) == 6
    assert checkpoint_names(tmp_path) == {"ckpt-0", "ckpt-3", "ckpt-6"}
    # Once more, by the same and by a new process; in vain from 6, then from before.
    assert states.roll_back(diverged=8) == 6
    model, states = saved(tmp_path)
    assert states.roll_back(diverged=9, last=6) == 3
    assert states.roll_back(diverged=1, last=0) == 0
    assert int(model.step) == 0


def test_where_a_run_was_stopped_does_not_decide_where_it_goes_back_to(tmp_path):
    _, states = saved(tmp_path, 0, 3, 6, 8)
    assert states.roll_back(diverged=11) == 6


def test_a_rollback_passes_over_a_damaged_checkpoint(tmp_path, caplog):
    _, states = saved(tmp_path, 0, 3, 6, 9)
    data = tmp_path / "checkpoints" / "ckpt-6.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    assert states.roll_back(diverged=9) == 3
    assert "ckpt-6 cannot be read" in caplog.text


def test_the_newest_healthy_one_stays_whatever_keep_says(tmp_path):
    """6 is the only one to keep, but nothing has yet shown that it is healthy."""
    saved(tmp_path, 0, 3, 6, keep=1)
    assert checkpoint_names(tmp_path) == {"ckpt-3", "ckpt-6"}


@pytest.mark.parametrize(("keep", "margin"), [(1, 35), (3, 100), (2, 9)])
def test_a_healthy_one_is_there_however_long_it_takes_to_prove(tmp_path, keep, margin):
    """In none of these would the `keep` newest alone have one."""
    _, states = saved(tmp_path, *range(0, 300, 3), keep=keep, margin=margin)
    step = states.roll_back(diverged=298)
    assert 298 - 2 * margin - 6 <= step < 298 - margin


def test_without_a_checkpoint_there_is_no_way_back(tmp_path):
    _, states = saved(tmp_path)
    with pytest.raises(RunError, match="can be read .there is none"):
        states.roll_back(diverged=7)


@pytest.mark.parametrize("index", [True, False])
def test_a_write_that_was_cut_off_leaves_the_one_before(tmp_path, monkeypatch, index):
    """A crash before the new files are put in their place, or between the two."""
    _, states = saved(tmp_path, 0, 3)
    original = checkpoints.os.replace

    def cut_off(source, target):
        if not index or str(target).endswith(".index"):
            raise KeyboardInterrupt
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.os, "replace", cut_off)
        with pytest.raises(KeyboardInterrupt):
            states.save(6)
    model, states = saved(tmp_path)
    states.restore()
    assert int(model.step) == 3
    assert checkpoints.last_step(tmp_path) == 3


def full_disk(*arguments, **options):
    raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")


def test_training_goes_on_without_a_checkpoint(tmp_path, monkeypatch, caplog):
    original = tf.train.Checkpoint.write

    def sometimes(self, prefix):
        if prefix.endswith("-4"):
            full_disk()
        return original(self, prefix)

    monkeypatch.setattr(tf.train.Checkpoint, "write", sometimes)
    train(make_model(unroll=False), tmp_path, keep_checkpoints=9, **LENGTH)
    assert "The checkpoint of step 4 was not written: No space left" in caplog.text
    assert checkpoint_names(tmp_path) == {f"ckpt-{step}" for step in (0, 2, 6, 8)}


def test_the_last_checkpoint_has_to_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(tf.train.Checkpoint, "write", full_disk)
    with pytest.raises(NotSaved, match="The checkpoint of step 8 was not written"):
        train(make_model(unroll=False), tmp_path, **LENGTH)


@pytest.mark.parametrize("name", ["Holiday [2024]", "a\\b", "[", "*?", "{x}~ü"])
def test_a_folder_whose_name_tensorflow_takes_for_a_pattern(tmp_path, name):
    model, states = saved(tmp_path / name)
    for variable in model.descriptor.variables:
        variable.assign(np.full(variable.shape, 0.5))
    states.save(3)
    resumed, states = saved(tmp_path / name)
    states.restore()
    used, _ = saved(tmp_path / name)
    found, misfits = weights.load_networks(used, tmp_path / name)
    assert (found.name, misfits) == ("ckpt-3", [])
    for again in (resumed, used):
        assert all((one == 0.5).all() for one in again.descriptor.get_weights())


def test_an_advice_costs_no_checkpoint(tmp_path):
    """What cannot be read now may be read tomorrow: nobody is told to remove it."""
    _, states = saved(tmp_path, 0, 3)
    for part in (tmp_path / "checkpoints").glob("*.data-*"):
        part.rename(part.with_suffix(".away"))
    with pytest.raises(RunError, match=r"\(ckpt-3: .*Nothing there was changed"):
        states.restore()
