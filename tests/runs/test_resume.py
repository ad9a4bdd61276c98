"""An interrupted and resumed run equals the unbroken one, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from coopnets_tf.runs import folder as runs
from coopnets_tf.runs import logs, training
from coopnets_tf.runs.checkpoints import Checkpoints, listed
from tests.helpers import ROOT, assert_same_run, checkpoint, make_model, metrics, new_model, train, write_checkpoint

# A checkpoint every 3 steps, a line every 2, pictures every 4: all of them meet.
LENGTH = {"num_iterations": 7}












@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("unbroken")
    train(new_model(), run_dir, **LENGTH)
    return run_dir


class Crash(Exception):
    pass


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (training, "_refuse_alarm", 1),  # before anything was written
        (logs.RunLog, "metrics", 3),  # after step 6, before its line
        (logs.RunLog, "histograms", 1),  # after step 4 was told, before a checkpoint
        (Checkpoints, "save", 3),  # before that of step 6
    ],
)
def test_a_crash_leaves_no_trace(unbroken, tmp_path, monkeypatch, owner, name, call):
    original, calls = getattr(owner, name), []

    def crash(*arguments, **options):
        calls.append(name)
        if len(calls) == call:
            raise Crash
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, crash)
        with pytest.raises(Crash):
            train(new_model(), tmp_path, **LENGTH)
    train(new_model(), tmp_path, **LENGTH)
    assert_same_run(unbroken, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_after_a_checkpoint(unbroken, tmp_path, monkeypatch, number):
    original = training._refuse_alarm
    # A test that runs in the background may have inherited that SIGINT is ignored.
    outer = signal.signal(signal.SIGINT, signal.default_int_handler)
    handlers = [signal.getsignal(one) for one in training.STOP_SIGNALS]

    def interrupt(model):
        if int(model.step) == 4:
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            # Another one would now stop at once.
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        original(model)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_refuse_alarm", interrupt)
        with pytest.raises(training.Stopped, match="Stopped at step 4") as stop:
            train(new_model(), tmp_path, **LENGTH)
    assert stop.value.signal == number
    assert [signal.getsignal(one) for one in training.STOP_SIGNALS] == handlers
    signal.signal(signal.SIGINT, outer)
    train(new_model(), tmp_path, **LENGTH)
    assert_same_run(unbroken, tmp_path)


def test_a_finished_run_can_be_made_longer(unbroken, tmp_path):
    """All but the pictures and the line of what was the last step."""
    train(new_model(), tmp_path, num_iterations=5)
    train(new_model(), tmp_path, **LENGTH)
    for name, value in checkpoint(unbroken).items():
        np.testing.assert_array_equal(value, checkpoint(tmp_path)[name])
    lines = [line for line in metrics(tmp_path) if line["step"] != 5]
    assert lines == metrics(unbroken)
    names = {path.name for path in (tmp_path / "checkpoints").glob("*.index")}
    assert names == {"ckpt-0.index", "ckpt-3.index", "ckpt-6.index", "stop-7.index"}


def test_a_damaged_checkpoint_gives_way_to_the_one_before(unbroken, tmp_path, caplog):
    run_dir = tmp_path / "run"
    shutil.copytree(unbroken, run_dir)
    data = run_dir / "checkpoints" / "stop-7.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    train(new_model(), run_dir, **LENGTH)
    assert "stop-7 cannot be read, trying the one before" in caplog.text
    assert_same_run(unbroken, run_dir)
    for damaged in (run_dir / "checkpoints").glob("*.data*"):
        damaged.write_bytes(b"")
    with pytest.raises(runs.RunError, match="No checkpoint in .* can be read"):
        train(new_model(), run_dir, **LENGTH)


def test_a_checkpoint_of_other_networks_is_not_called_damaged(unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "run")
    with pytest.raises(runs.RunError, match="stop-7 does not fit the networks"):
        train(make_model(latent_size=9), tmp_path / "run", **LENGTH)


TINY = [
    "--num_iterations=40",
    "--batch_size=4",
    "--num_chains=4",
    "--descriptor_num_steps=1",
    "--latent_size=4",
    "--num_samples=4",
    "--log_every=3",
    "--checkpoint_every=5",
    "--keep_checkpoints=100",
    "--sample_every=10",
]


def main(*arguments, **options):
    environment = dict(os.environ)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


PERSISTENT = "--algorithm=descriptor --num_persistent_chains=9 --refresh_probability=.2"
INCOMPLETE = "--algorithm=generator --training_mask=random:0.3"


@pytest.mark.parametrize("algorithm", ["", PERSISTENT, INCOMPLETE])
def test_sigkill_and_resume_from_the_command_line(tmp_path, algorithm):
    tiny = [*TINY, *algorithm.split()]
    whole = main(*tiny, "--workdir=whole", cwd=tmp_path)
    assert whole.wait() == 0, whole.stderr.read()
    whole.communicate()

    killed = main(*tiny, "--workdir=killed", cwd=tmp_path)
    while not list(tmp_path.glob("killed/checkpoints/ckpt-1*.index")):
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.005)
    killed.kill()
    killed.communicate()
    resumed = main("--resume", "--workdir=killed", cwd=tmp_path)
    _, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    assert errors == ""
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    kept = [name for name in checkpoint(tmp_path / "whole") if name.startswith("kept/")]
    assert len(kept) == bool(algorithm)


def test_sigterm_ends_with_the_conventional_code(tmp_path):
    process = main(*TINY, "--num_iterations=4000", "--workdir=run", cwd=tmp_path)
    while not list(tmp_path.glob("run/checkpoints/ckpt-5.index")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.terminate()
    output, errors = process.communicate()
    assert process.returncode == 143
    assert "Finishing the step and a checkpoint" in errors
    assert "Go on with: python main.py --resume --workdir=run" in output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--workdir=nowhere"], "--workdir=nowhere holds no run: it has no flags.cfg"),
        ([], "runs/ holds no run. Name the folder of one by --workdir."),
        (["--workdir=run", "--num_iterations=5"], "run is at step 24 already"),
        (["--workdir=run", "--latent_size=5"], "--latent_size=5 would change the run"),
        (["--workdir=run", "--dataset=mnist"], "which has --dataset=digits in run/"),
    ],
)
def test_what_cannot_be_resumed_is_refused(tmp_path, arguments, text):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "flags.cfg").write_text("--dataset=digits\n--latent_size=4\n")
    write_checkpoint(tmp_path / "run" / "checkpoints", 24)
    refused = main("--resume", *arguments, cwd=tmp_path)
    _, errors = refused.communicate()
    assert refused.returncode == 2
    assert text in errors and "Traceback" not in errors


def test_a_lock_keeps_a_second_process_out(tmp_path):
    with runs.locked(tmp_path):
        with pytest.raises(runs.RunError, match="Another process trains in"):
            with runs.locked(tmp_path):
                pass
    with runs.locked(tmp_path):
        pass
