"""Several processes train one run, as several hosts would."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.hosts import addresses
from tests import helpers
from tests.test_replicas import WITHOUT_GRADIENT as OF_TOYS

WITHOUT_GRADIENT = (*OF_TOYS, "deconv_1_bias")  # of digits two have batch norm

TRAINING = [
    *["--num_iterations=30", "--batch_size=6", "--num_chains=6", "--sample_every=15"],
    *["--checkpoint_every=10", "--log_every=5", "--descriptor_num_steps=2"],
]
LOST = "hosts has ended or no longer answers"


@contextlib.contextmanager
def started(number, *arguments, cwd, own=None):
    """main.py on so many hosts, the one that leads first; none is left at the end.

    `own` has further arguments of single hosts, by number.
    """
    hosts = f"--hosts={addresses(number)}"
    command = [sys.executable, str(helpers.ROOT / "main.py"), hosts, "--workdir=run"]
    command += arguments
    processes = [
        subprocess.Popen(
            [*command, f"--host_index={index}", *(own or {}).get(index, [])],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        for index in range(number)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def ended(processes, seconds=100):
    """The exit codes and outputs of processes, once all have ended."""
    found = [
        (process.communicate(timeout=seconds)[0], process) for process in processes
    ]
    return [(process.returncode, output) for output, process in found]


def wait_for(path, process, seconds=60):
    """Until a file is there."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.1)


ALGORITHMS = {
    "coopnets": ["--generator_num_steps=1"],
    "descriptor": ["--num_persistent_chains=12", "--refresh_probability=0.3"],
    "generator": ["--generator_num_steps=2"],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "algorithm"),
    [(2, "coopnets"), (3, "coopnets"), (2, "descriptor"), (2, "generator")],
)
def test_several_hosts_train_as_one_does(tmp_path, number, algorithm):
    arguments = [*TRAINING, f"--algorithm={algorithm}", *ALGORITHMS[algorithm]]
    if algorithm == "generator":
        arguments = [one for one in arguments if "chains" not in one]
        arguments.remove("--descriptor_num_steps=2")
    arguments.append("--num_iterations=3")
    alone = helpers.run("--workdir=alone", *arguments, cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    with started(number, *arguments, cwd=tmp_path) as processes:
        for code, output in ended(processes):
            assert code == 0, output
    # A run that has ended goes on with no step.
    with started(number, "--resume", cwd=tmp_path) as processes:
        for code, output in ended(processes):
            assert code == 0, output
    one, several = (helpers.checkpoint(tmp_path / name) for name in ("alone", "run"))
    assert set(one) == set(several)
    for name, value in one.items():
        if "save_counter" in name or any(bias in name for bias in WITHOUT_GRADIENT):
            continue
        # Sums in another order; a step of Adam is at most its rate, up to 0.003, and
        # a moment is near to one of its own array's size.
        near = 1e-3 * max(float(np.abs(value).max()), 0.1)
        np.testing.assert_allclose(
            several[name], value, rtol=1e-3, atol=near, err_msg=name
        )


@pytest.mark.slow
def test_hosts_that_would_train_other_things_are_refused(tmp_path):
    with started(2, *TRAINING, cwd=tmp_path, own={1: ["--seed=1"]}) as processes:
        for code, output in ended(processes):
            assert code == 2 and "different flags, or have different images" in output
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_signal_to_one_host_stops_all_after_a_checkpoint(tmp_path):
    with started(2, *TRAINING, "--num_iterations=100000", cwd=tmp_path) as processes:
        wait_for(tmp_path / "run/checkpoints/ckpt-10.index", processes[0])
        processes[1].send_signal(signal.SIGTERM)
        (code, output), (other, _) = ended(processes)
    assert code == other == 128 + signal.SIGTERM, output
    step = int(output.split("Stopped at step ")[1].split(".")[0])
    names = helpers.names(tmp_path / "run/checkpoints")
    assert f"ckpt-{step}.index" in names or f"stop-{step}.index" in names
    more = f"--num_iterations={step + 3}"
    resumed = helpers.run("--resume", "--workdir=run", more, cwd=tmp_path)
    assert resumed.returncode == 0 and f"from step {step} on" in resumed.stdout


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_the_death_of_one_host_ends_the_others(tmp_path, killed):
    with started(2, *TRAINING, "--num_iterations=100000", cwd=tmp_path) as processes:
        wait_for(tmp_path / "run/checkpoints/ckpt-10.index", processes[0])
        processes[killed].kill()
        since = time.monotonic()
        code, output = ended([processes[1 - killed]])[0]
    assert code == 1 and LOST in output and "--resume" in output
    assert "Traceback" not in output and time.monotonic() - since < 60
    with started(2, "--resume", "--num_iterations=40", cwd=tmp_path) as processes:
        results = ended(processes)
    assert [code for code, _ in results] == [0, 0], results
    assert helpers.metrics(tmp_path / "run")[-1]["step"] == 40


@pytest.mark.slow
def test_hosts_go_back_together(tmp_path):
    """A limit that no step keeps: back to step 0 with a tenth of the rate, then up."""
    bounds = ["--max_displacement=1e-9", "--max_rollbacks=2"]
    bounds += ["--rollback_rate_factor=0.1"]
    with started(2, *TRAINING, *bounds, cwd=tmp_path) as processes:
        (code, output), (other, followed) = ended(processes)
    assert code == other == 1
    assert "displacement became" in output and "2 of 2 times" in output
    assert LOST in followed and "Traceback" not in followed
