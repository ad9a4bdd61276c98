"""docs/NETWORKS.md as it stands, from file to export, with fewer steps and samples."""

import re
import shlex
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers import ROOT, called, names

FEWER = {
    "--num_iterations=2000": "--num_iterations=2",
    "--num_iterations=3000": "--num_iterations=3",
    "num_iterations=2000": "num_iterations=2",
    "--network=nets.py": "--network=nets.py --langevin_loop=while --num_chains=4 "
    "--num_samples=4",
    "--mode=evaluate": "--mode=evaluate --evaluation_samples=20 --metrics=parzen",
    "Langevin(10, 0.002)": "Langevin(1, 0.002)",
    "num_chains=64": "num_chains=4",
    "batches(64,": "batches(4,",
}


@pytest.fixture(scope="module")
def blocks():
    """The page's code: nets.py, the commands, the Python."""
    text = (ROOT / "docs/NETWORKS.md").read_text(encoding="utf-8")
    found = re.findall(r"```(?:python|sh)\n(.*?)```", text, re.DOTALL)
    for full, fewer in FEWER.items():
        assert any(full in block for block in found[1:]), full
        found[1:] = [block.replace(full, fewer) for block in found[1:]]
    return found


@pytest.fixture
def place(blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "nets.py").write_text(blocks[0])
    yield tmp_path
    sys.modules.pop("nets", None)


def test_from_the_command_line(blocks, place):
    for line in blocks[1].splitlines():
        program, script, *arguments = shlex.split(line)
        assert (program, script) == ("python", "main.py")
        output = called(*arguments, cwd=place)
    run_dir = place / "runs/mine"
    assert (run_dir / "checkpoints/stop-3.index").exists()
    assert (run_dir / "network.py").read_text() == blocks[0]
    assert "generator.png" in names(run_dir / "sample-1")
    assert "report.json" in names(run_dir / "evaluate-1")
    assert output == "Nets of step 3: served\n"
    served = tf.saved_model.load("served")
    images = served.sample(tf.constant(2), tf.constant(0))
    assert images.shape == (2, 8, 8, 1) and np.isfinite(images).all()


def test_from_python(blocks, place):
    defined = {}
    exec(blocks[2], defined)
    assert defined["images"].shape == (64, 8, 8, 1)
    assert int(defined["model"].step) == 2
    evaluate = ["--mode=evaluate", "--evaluation_samples=20", "--metrics=parzen"]
    output = called(*evaluate, "--workdir=runs/python", cwd=place)
    assert "scored against digits: 299 test images, held out of training" in output
