"""main.py as a user calls it: what it says, leaves and refuses."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import flags
import main
from tests.helpers import ROOT, TINY, call, called, metrics, refused, run

LEFT = {
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


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("place with space")


@pytest.fixture(scope="module")
def first(place):
    """What the first run printed."""
    return called(*TINY, cwd=place)


def assert_tells(output):
    """The lines that a run of `TINY` prints."""
    lines = output.splitlines()
    assert re.search(r"descriptor [\d,]+, generator [\d,]+ parameters", lines[0])
    assert lines[1] == "digits: 1,200 images 8x8x1 | 300 steps an epoch, 4 chains of 1"
    assert re.match(r"step 2/2  loss_D \S+  loss_G \S+  moved \S+", lines[-4])
    assert "runs/digits-1/export" in lines[-3]
    assert "--mode=sample --workdir=runs/digits-1" in lines[-2]
    assert "--flagfile=runs/digits-1/flags.cfg" in lines[-1]


def test_a_run_says_what_it_does(first, place):
    assert_tells(first)
    names = {path.name for path in (place / "runs/digits-1").iterdir()}
    assert names == LEFT - {"export"}  # see tests/conftest.py


@pytest.mark.slow
def test_a_process_of_its_own_is_quiet_too(tmp_path):
    result = run(*TINY, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    assert_tells(result.stdout)
    assert {path.name for path in (tmp_path / "runs/digits-1").iterdir()} == LEFT


def test_the_saved_flags_repeat_the_run(first, place):
    called("--flagfile=runs/digits-1/flags.cfg", "--workdir=again", cwd=place)
    (again,) = metrics(place / "again")
    assert [again] == metrics(place / "runs/digits-1")
    errors = refused(*TINY, "--workdir=again", cwd=place)
    assert "Run folder again holds a run already" in errors


def test_a_folder_of_images_and_the_other_loop(place):
    (place / "photos").mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(place / "photos" / f"{number}.png")
    (place / "photos" / "notes.txt").write_text("no image")
    arguments = ["--dataset=photos", "--image_size=16", "--network=cifar", *TINY]
    (place / "photos" / "broken.png").write_text("no image")
    errors = refused(*arguments, cwd=place)
    assert f"{place}/photos/broken.png cannot be read" in errors
    assert not (place / "runs/photos-1").exists()
    output = called(
        *arguments,
        "--skip_bad_images",
        "--langevin_loop=while",
        "--generator_num_steps=1",
        "--descriptor_noise_until=1",
        cwd=place,
    )
    assert "photos: 5 images 16x16x3, 2 skipped" in output


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
    code, output, errors = call(argument, cwd=place)
    assert code == 2
    assert text in output + errors
    assert "Traceback" not in output + errors


def test_a_stray_word_is_named(capsys):
    words = flags.parse(["main.py", "typo"])
    with pytest.raises(SystemExit, match="2"):
        main.main(words)
    flags.FLAGS.unparse_flags()
    assert capsys.readouterr().err == (
        "Error: Flags begin with --. Received: typo. See --help.\n"
    )


@pytest.mark.slow
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
    for argument in ("--help", "--bach_size=4", "typo"):
        result = subprocess.run(
            [sys.executable, "-c", program, argument],
            cwd=place,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
    assert "reference_stddev" in run("--help", cwd=place).stdout


def test_a_missing_data_set_is_refused_before_a_run_folder_is_made(tmp_path):
    errors = refused("--dataset=mnist", "--data_dir=nowhere", cwd=tmp_path)
    assert "nowhere. It must hold mnist.npz" in errors
    assert list(tmp_path.iterdir()) == []
