"""main.py as a user runs it, in a process of its own."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.helpers import ROOT, TINY, run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("place with space")


@pytest.fixture(scope="module")
def first(place):
    return run(*TINY, cwd=place)


def test_a_run_is_quiet_and_says_what_it_does(first, place):
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    lines = first.stdout.splitlines()
    assert re.search(r"descriptor [\d,]+, generator [\d,]+ parameters", lines[0])
    assert "digits: 1,200 images 8x8x1" in lines[0]
    assert "300 steps an epoch, 4 chains of 1" in lines[0]
    assert re.match(r"step 2/2  loss_D \S+  loss_G \S+  moved \S+", lines[-4])
    assert "runs/digits-1/export" in lines[-3]
    assert "--mode=sample --workdir=runs/digits-1" in lines[-2]
    assert "--flagfile=runs/digits-1/flags.cfg" in lines[-1]
    names = {path.name for path in (place / "runs/digits-1").iterdir()}
    assert names == {
        ".lock",
        "data.json",
        "model.json",
        "flags.cfg",
        "metrics.jsonl",
        "tensorboard",
        "samples",
        "checkpoints",
        "export",
    }


def test_the_saved_flags_repeat_the_run(first, place):
    again = run("--flagfile=runs/digits-1/flags.cfg", "--workdir=again", cwd=place)
    assert again.returncode == 0, again.stderr

    def losses(folder):
        line = json.loads((place / folder / "metrics.jsonl").read_text())
        return {key: line[key] for key in line if "per_second" not in key}

    assert losses("again") == losses("runs/digits-1")
    refused = run(*TINY, "--workdir=again", cwd=place)
    assert refused.returncode == 2
    assert "Run folder again holds a run already" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_folder_of_images_and_the_other_loop(place):
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
        (place / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(place / "photos" / f"{number}.png")
    (place / "photos" / "notes.txt").write_text("no image")
    arguments = ["--dataset=photos", "--image_size=16", *TINY]
    refused = run(*arguments, cwd=place)
    assert refused.returncode == 2
    assert f"{place}/photos/notes.txt cannot be read" in refused.stderr
    assert not (place / "runs/photos-1").exists()
    result = run(
        *arguments,
        "--skip_bad_images",
        "--langevin_loop=while",
        "--generator_num_steps=1",
        "--num_noise_steps=1",
        cwd=place,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "photos: 5 images 16x16x3, 1 skipped" in result.stdout


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("--bach_size=4", "Did you mean: batch_size"),
        ("--batch_size=0", "--batch_size=0"),
        ("--batch_size=many", "--batch_size=many"),
        (
            "--descriptor_step_size=nan",
            "step_size=nan: must be a positive",
        ),
        ("--reference_stddev=0", "--reference_stddev=0.0: must be positive"),
        ("--resize=melt", "should be one of <crop|stretch>"),
    ],
)
def test_a_wrong_flag_is_named(argument, text, place):
    result = run(argument, cwd=place)
    assert result.returncode == 2
    output = result.stdout + result.stderr
    assert text in output
    assert "Traceback" not in output


def test_a_stray_word_is_named(place):
    result = run("typo", cwd=place)
    assert result.returncode == 2
    assert result.stderr == (
        "Error: Flags begin with --. Received: typo. See --help.\n"
    )


def test_help_and_flag_errors_do_not_load_tensorflow(place):
    program = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
sys.argv = ["main.py", sys.argv[1]]
try:
    runpy.run_path({str(ROOT / "main.py")!r}, run_name="__main__")
except SystemExit:
    pass
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
    for argument in ("--help", "--bach_size=4"):
        result = subprocess.run(
            [sys.executable, "-c", program, argument],
            cwd=place,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
    assert "reference_stddev" in run("--help", cwd=place).stdout


def test_a_missing_data_set_is_refused_before_a_run_folder_is_made(tmp_path):
    result = run("--dataset=mnist", "--data_dir=nowhere", cwd=tmp_path)
    assert result.returncode == 2
    assert "nowhere. It must hold mnist.npz" in result.stderr
    assert list(tmp_path.iterdir()) == []
