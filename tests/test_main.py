"""main.py as a user calls it: what it says, leaves and refuses."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import flags
import main
import surroundings
from commands import train
from tests.helpers import ROOT, TINY, TOY, call, called, metrics, refused, run

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
    data = "digits: 1,200 images 8x8x1 | 300 steps an epoch, 4 chains of 1 step"
    assert lines[1] == data
    assert lines[-6] == "Compiling the training step"
    assert re.match(r"step 2/2  loss_D \S+  loss_G \S+  moved \S+", lines[-5])
    assert lines[-4] == "Exporting the nets"
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
    opening, _, rest = result.stdout.partition("\n")
    assert opening == "train: coopnets on digits | starting TensorFlow"
    assert_tells(rest)
    assert {path.name for path in (tmp_path / "runs/digits-1").iterdir()} == LEFT


@pytest.mark.parametrize(
    "words, opening",
    [
        ("--algorithm=descriptor", "train: descriptor on digits"),
        ("--resume", "train: on from runs/digits-1"),
        ("--mode=sample", "sample: runs/digits-1"),
    ],
)
def test_the_first_line_comes_before_tensorflow(
    first, place, monkeypatch, capsys, words, opening
):
    def says_so(**settings):
        print("here")
        raise surroundings.Unusable("none")

    for name in ("harmless_output", "plain_warnings"):
        monkeypatch.setattr(surroundings, name, lambda: None)
    monkeypatch.setattr(surroundings, "load_tensorflow", says_so)
    monkeypatch.setattr(sys, "argv", ["main.py", words])
    monkeypatch.chdir(place)
    flags.FLAGS.unparse_flags()
    with pytest.raises(SystemExit):
        main.main()
    flags.FLAGS.unparse_flags()
    assert capsys.readouterr().out == f"{opening} | starting TensorFlow\nhere\n"


def test_the_saved_flags_repeat_the_run(first, place):
    called("--flagfile=runs/digits-1/flags.cfg", "--workdir=again", cwd=place)
    (again,) = metrics(place / "again")
    assert [again] == metrics(place / "runs/digits-1")
    errors = refused(*TINY, "--workdir=again", cwd=place)
    assert "--workdir=again holds a run already" in errors


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
    assert "photos: 5 images 16x16x3 |" in output


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
    for argument in (
        "--help",
        "--version",
        "--print_config",
        "--bach_size=4",
        "--dataset=typo",
    ):
        result = subprocess.run(
            [sys.executable, "-c", program, argument],
            cwd=place,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
    for argument in ("--help", "--helpfull"):
        result = run(argument, cwd=place)
        assert (result.returncode, result.stderr) == (0, "")
        assert "--batch_size=64" in result.stdout
    assert run("typo", cwd=place).returncode == 2


def test_a_missing_data_set_is_refused_before_a_run_folder_is_made(tmp_path):
    (tmp_path / "empty").mkdir()
    errors = refused("--dataset=mnist", "--data_dir=empty", cwd=tmp_path)
    assert "empty. It must hold mnist.npz" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_epochs_become_steps_before_anything_is_saved(tmp_path):
    """300 steps an epoch, of four of the 1,200 digits; here of 600."""
    epoch = [*TOY[1:], "--batch_size=600", "--learning_rate_schedule=cosine"]
    called(*epoch, "--epochs=1", "--workdir=run", cwd=tmp_path)
    saved = (tmp_path / "run/flags.cfg").read_text().splitlines()
    assert "--num_iterations=2" in saved and "--schedule_steps=2" in saved
    assert not [line for line in saved if line.startswith("--epochs")]
    assert "step 4/4" in called("--resume", "--workdir=run", "--epochs=2", cwd=tmp_path)
    saved = (tmp_path / "run/flags.cfg").read_text().splitlines()
    assert "--num_iterations=4" in saved and "--schedule_steps=2" in saved


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("", "digits"),
        ("--algorithm=descriptor", "digits-descriptor"),
        ("--algorithm=generator", "digits-generator"),
        ("--algorithm=generator --name=v1.2_b", "v1.2_b"),
        ("--dataset=photos.v2", "photos.v2"),
        ("--dataset=photos.zip", "photos"),
    ],
)
def test_what_a_run_is_called(arguments, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.v2").mkdir()
    (tmp_path / "photos.zip").write_text("")
    flags.parse(["main.py", *arguments.split()])
    assert train.run_name(flags.settings()) == name
    flags.FLAGS.unparse_flags()


def test_an_early_divergence_names_a_smaller_rate(tmp_path):
    limit = ["--max_loss=1e-30", "--descriptor_learning_rate=0.03"]
    code, _, errors = call(*TOY, *limit, cwd=tmp_path)
    assert code == 1 and "descriptor_loss became" in errors
    assert "from step 0 the same rates would lead there again" in errors
    assert "Try a tenth of the rate (--descriptor_learning_rate=0.003), or" in errors
    alone = "--algorithm=generator"
    _, _, errors = call(*TOY, limit[0], alone, cwd=tmp_path)
    assert "a tenth of the rate (--generator_learning_rate=5e-05), or " in errors
    assert "shorter steps of G1 (--generator_step_size=0.03), or " in errors
