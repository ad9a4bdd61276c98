"""An interrupted and resumed run equals the unbroken one, bit for bit."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from coopnets_tf.errors import RunError, Stopped
from coopnets_tf.runs import folder, logs, signals, training
from coopnets_tf.runs.checkpoints import Checkpoints
from tests.helpers import (
    ROOT,
    TINY,
    TOY,
    assert_same_run,
    call,
    called,
    checkpoint,
    make_model,
    metrics,
    new_model,
    refused,
    train,
    write_checkpoint,
)

# A checkpoint every 3 steps, a line every 2, pictures every 4: all of them meet.
LENGTH = {"num_iterations": 7}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("unbroken")
    train(new_model(), run_dir, **LENGTH)
    return run_dir


class Crash(Exception):
    pass


# Where a run breaks, one session after the other: before which call, at which step.
CRASHES = [
    (training, "_refuse_alarm", 2),  # before anything but ckpt-0 was written
    (logs.RunLog, "histograms", 4),  # after the line of step 4, before a checkpoint
    (logs.RunLog, "metrics", 6),  # after step 6, before its line
    (Checkpoints, "save", 6),  # after the line of step 6, before its checkpoint
]


def test_crashes_leave_no_trace(unbroken, tmp_path, monkeypatch):
    for owner, name, step in CRASHES:
        model, original = new_model(), getattr(owner, name)

        def crash(*arguments, model=model, original=original, step=step, **options):
            if int(model.step) == step:
                raise Crash
            return original(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, crash)
            with pytest.raises(Crash):
                train(model, tmp_path, **LENGTH)
        assert int(model.step) == step
    train(new_model(), tmp_path, **LENGTH)
    assert_same_run(unbroken, tmp_path)


def test_signals_end_after_a_checkpoint(unbroken, tmp_path, monkeypatch):
    # A test that runs in the background may have inherited that some are ignored.
    outer = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    handlers = [signal.getsignal(one) for one in signals.STOP_SIGNALS]
    original = training._refuse_alarm
    stops = (signal.SIGHUP, 3), (signal.SIGTERM, 4), (signal.SIGINT, 6)
    for number, step in stops:

        def interrupt(model, number=number, step=step):
            if int(model.step) == step:
                os.kill(os.getpid(), number)
                time.sleep(0.01)
                # Another one would now stop at once.
                handler = signal.getsignal(signal.SIGINT)
                assert handler is signal.default_int_handler
            original(model)

        with monkeypatch.context() as patch:
            patch.setattr(training, "_refuse_alarm", interrupt)
            with pytest.raises(Stopped, match=f"Stopped at step {step}") as stop:
                train(new_model(), tmp_path, **LENGTH)
        assert stop.value.signal == number
        assert [signal.getsignal(one) for one in signals.STOP_SIGNALS] == handlers
    for number, handler in outer.items():
        signal.signal(number, handler)
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
    with pytest.raises(RunError, match="No checkpoint in .* can be read"):
        train(new_model(), run_dir, **LENGTH)


def test_a_checkpoint_of_other_networks_is_not_called_damaged(unbroken, tmp_path):
    shutil.copytree(unbroken, tmp_path / "run")
    with pytest.raises(RunError, match="stop-7 does not fit the networks"):
        train(make_model(latent_size=9), tmp_path / "run", **LENGTH)


LONG = [
    *TINY,
    "--num_iterations=40",
    "--log_every=3",
    "--checkpoint_every=5",
    "--keep_checkpoints=100",
    "--sample_every=10",
]
SHORT = [
    *TOY,
    "--num_iterations=5",
    "--log_every=2",
    "--checkpoint_every=2",
    "--sample_every=3",
]
PERSISTENT = "--algorithm=descriptor --num_persistent_chains=9 --refresh_probability=.2"
INCOMPLETE = "--algorithm=generator --training_mask=random:0.3"


def assert_same_with_kept(one, other, *, algorithm):
    """The same runs; also what algorithms of one net keep."""
    assert_same_run(one, other)
    kept = [name for name in checkpoint(one) if name.startswith("kept/")]
    assert len(kept) == bool(algorithm)


@pytest.mark.parametrize("algorithm", [PERSISTENT, INCOMPLETE])
def test_a_crash_and_resume_from_the_command_line(tmp_path, monkeypatch, algorithm):
    """The run breaks at step 4, after its pictures, and goes on from step 2.

    `test_crashes_leave_no_trace` is that of both nets.
    """
    short, original = [*SHORT, *algorithm.split()], Checkpoints.save

    def crash(self, step):
        if step == 4:
            raise Crash
        original(self, step)

    called(*short, "--workdir=whole", cwd=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", crash)
        with pytest.raises(Crash):
            call(*short, "--workdir=broken", cwd=tmp_path)
    output = called("--resume", "--workdir=broken", cwd=tmp_path)
    assert "from step 2 on" in output
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert_same_with_kept(whole, broken, algorithm=algorithm)


def start(*arguments, cwd):
    """main.py in a process of its own, which goes on by itself."""
    environment = dict(os.environ)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["", PERSISTENT, INCOMPLETE])
def test_sigkill_and_resume_from_the_command_line(tmp_path, algorithm):
    long = [*LONG, *algorithm.split()]
    whole = start(*long, "--workdir=whole", cwd=tmp_path)
    _, errors = whole.communicate()
    assert whole.returncode == 0, errors

    killed = start(*long, "--workdir=killed", cwd=tmp_path)
    while not list(tmp_path.glob("killed/checkpoints/ckpt-1*.index")):
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.005)
    killed.kill()
    killed.communicate()
    resumed = start("--resume", "--workdir=killed", cwd=tmp_path)
    _, errors = resumed.communicate()
    assert (resumed.returncode, errors) == (0, ""), errors
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert_same_with_kept(whole, killed, algorithm=algorithm)


def test_a_signal_ends_main_with_the_conventional_code(tmp_path, monkeypatch):
    def stop(*arguments):
        raise Stopped(signal.SIGTERM, 3)

    monkeypatch.setattr(training, "train", stop)
    code, output, _ = call(*SHORT, "--workdir=run", cwd=tmp_path)
    assert code == 143
    assert "Go on with: python main.py --resume --workdir=run" in output


@pytest.mark.slow
def test_sigterm_ends_with_the_conventional_code(tmp_path):
    process = start(*LONG, "--num_iterations=4000", "--workdir=run", cwd=tmp_path)
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
        (["--workdir=."], "--workdir=. holds no run: it has no flags.cfg"),
        (["--workdir=nowhere"], "--workdir=nowhere does not exist."),
        ([], "runs/ holds no run. Name the folder of one by --workdir."),
        (["--workdir=run", "--num_iterations=5"], "run is at step 24 already"),
        (["--workdir=run", "--latent_size=5"], "--latent_size=5 would change the run"),
        (["--workdir=run", "--seed=3"], "which has --seed=0 in run/flags.cfg"),
    ],
)
def test_what_cannot_be_resumed_is_refused(tmp_path, arguments, text):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "flags.cfg").write_text("--dataset=digits\n--latent_size=4\n")
    write_checkpoint(tmp_path / "run" / "checkpoints", 24)
    assert text in refused("--resume", *arguments, cwd=tmp_path)


@pytest.mark.parametrize("number", [37, 38, 95])
def test_a_file_system_without_locks_is_warned_of(
    tmp_path, monkeypatch, caplog, number
):
    """The system call is replaced: no such disk is at hand."""

    def without(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", without)
    for _ in range(2):
        with folder.locked(tmp_path):
            assert "see to it that no other process trains" in caplog.text


def test_a_lock_keeps_a_second_process_out(tmp_path):
    """A file that is opened once more is to `flock` as that of another process."""
    with (tmp_path / ".lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="Another process trains in"):
            with folder.locked(tmp_path):
                pass
        fcntl.flock(other, fcntl.LOCK_UN)
        with folder.locked(tmp_path):
            with folder.locked(tmp_path):  # by its owner, who has it already
                pass
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
