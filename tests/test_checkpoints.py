"""Checkpoints that are kept, that cannot be written, and those of other runs."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import checkpoints, logs, training
from coopnets_tf.checkpoints import Checkpoints, NotSaved
from coopnets_tf.runs import RunError
from tests.conftest import make_model
from tests.test_training import train

LENGTH = {"num_iterations": 8, "log_every": 1, "checkpoint_every": 2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("run")
    return train(make_model(unroll=False), run_dir, best="displacement", **LENGTH)


@pytest.fixture
def run_dir(trained, tmp_path_factory):
    return max(tmp_path_factory.getbasetemp().glob("run*"))


def checkpoint_names(run_dir):
    return {path.stem for path in (run_dir / "checkpoints").glob("*.index")}


def metric_means(run_dir, name):
    lines = logs.read_lines(run_dir / "metrics.jsonl")
    values = {line["step"]: abs(line[name]) for line in lines}
    return {step: (values[step - 1] + values[step]) / 2 for step in (2, 4, 6, 8)}


@pytest.mark.parametrize("metric", ["displacement", "generator_loss", "gradient_norm"])
def test_the_best_checkpoint_is_kept_beside_the_newest(tmp_path, metric):
    model = make_model(unroll=False)
    train(model, tmp_path, keep=1, best=metric, **LENGTH)
    means = metric_means(tmp_path, metric)
    best = min(means, key=means.get)
    assert checkpoint_names(tmp_path) == {"ckpt-8", f"best-{best}"}
    story = json.loads((tmp_path / "checkpoints" / "best.json").read_text())
    assert story["step"] == best and story["metric"] == metric
    assert story["mean"] == pytest.approx(means[best])
    path, misfits = checkpoints.load_networks(
        make_model(unroll=False), tmp_path / "checkpoints" / f"best-{best}"
    )
    assert path.endswith(f"best-{best}") and misfits == []


def test_a_checkpoint_that_led_to_a_divergence_is_not_the_best(tmp_path, monkeypatch):
    """Its metrics are the smallest, but the next step is spoilt."""
    original, spoilt = training.build_step, []

    def build(model):
        step_fn = original(model)

        def spoiling(batch):
            metrics = step_fn(batch)
            if int(model.step) == 4 and not spoilt:
                spoilt.append(True)
                metrics = {**metrics, "displacement": tf.constant(1e-9)}
                model.descriptor.outputs_sum.bias.assign_add([np.nan] * 7)
            return metrics

        return spoiling

    monkeypatch.setattr(training, "build_step", build)
    train(
        make_model(unroll=False, limits={}),
        tmp_path,
        best="displacement",
        max_rollbacks=1,
        **{**LENGTH, "sample_every": 100},
    )
    assert spoilt
    story = json.loads((tmp_path / "checkpoints" / "best.json").read_text())
    assert story["mean"] > 1e-6


def test_nothing_unhealthy_is_left_after_a_rollback(tmp_path):
    model = make_model(unroll=False)
    states = Checkpoints(model, tmp_path, keep=5)
    for step in (0, 3, 6, 9):
        model.step.assign(step)
        states.save(step)
    assert states.restore_healthy(before=7) == 6
    assert int(model.step) == 6
    assert checkpoint_names(tmp_path) == {"ckpt-0", "ckpt-3", "ckpt-6"}
    assert states.restore_healthy(before=0) == 0


def test_without_a_checkpoint_there_is_no_way_back(tmp_path):
    states = Checkpoints(make_model(unroll=False), tmp_path, keep=5)
    assert states.restore_healthy(before=7) is None


def full_disk(*arguments, **options):
    raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")


def test_training_goes_on_without_a_checkpoint(tmp_path, monkeypatch, caplog):
    original = tf.train.CheckpointManager.save

    def sometimes(self, checkpoint_number):
        if checkpoint_number == 4:
            full_disk()
        return original(self, checkpoint_number=checkpoint_number)

    monkeypatch.setattr(tf.train.CheckpointManager, "save", sometimes)
    train(make_model(unroll=False), tmp_path, keep=9, **LENGTH)
    assert "The checkpoint of step 4 was not written: No space left" in caplog.text
    assert checkpoint_names(tmp_path) == {f"ckpt-{step}" for step in (0, 2, 6, 8)}


def test_the_last_checkpoint_has_to_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(tf.train.CheckpointManager, "save", full_disk)
    with pytest.raises(NotSaved, match="The checkpoint of step 8 was not written"):
        train(make_model(unroll=False), tmp_path, **LENGTH)


def test_networks_of_another_run(trained, run_dir):
    model = make_model(run_seed=3)
    path, misfits = checkpoints.load_networks(model, run_dir)
    assert path.endswith("ckpt-8") and misfits == []
    for net in ("descriptor", "generator"):
        for one, other in zip(
            getattr(trained, net).variables, getattr(model, net).variables, strict=True
        ):
            np.testing.assert_array_equal(one, other)
    assert int(model.step) == 0
    again, _ = checkpoints.load_networks(model, f"{path}.index")
    assert again == path


def test_what_does_not_fit_is_listed_and_left(run_dir):
    model = make_model(latent_size=9)
    before = model.generator.deconvs[0].kernel.numpy()
    _, misfits = checkpoints.load_networks(model, run_dir)
    assert misfits == [
        "generator deconv_0_kernel: [4, 4, 256, 9] here, [4, 4, 256, 6] there"
    ]
    np.testing.assert_array_equal(model.generator.deconvs[0].kernel, before)


def test_what_is_no_run_or_damaged_is_refused(run_dir, tmp_path):
    with pytest.raises(RunError, match="nowhere is neither a run with checkpoints"):
        checkpoints.load_networks(make_model(), tmp_path / "nowhere")
    shutil.copytree(run_dir, tmp_path / "run")
    for data in (tmp_path / "run" / "checkpoints").glob("*.data*"):
        data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(RunError, match="ckpt-8 cannot be read"):
        checkpoints.load_networks(make_model(), tmp_path / "run")
