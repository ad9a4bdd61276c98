"""Copies of runs, and the trained nets that come with the package."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import coopnets_tf
from commands import cards, share
from coopnets_tf import files
from coopnets_tf.data import drawing
from coopnets_tf.errors import RunError
from coopnets_tf.evaluation import reports
from coopnets_tf.files import write_json
from coopnets_tf.runs import export, trained
from coopnets_tf.variables import named_variables
from tests.helpers import (
    called,
    make_descriptor_model,
    make_dual_model,
    make_generator_model,
    make_model,
    names,
    read_picture,
    refused,
    run,
    write_run,
)

COMES = trained.names()


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no folder has the name of what comes along
    return tmp_path


@pytest.fixture(scope="module")
def copied(place, run_dir):
    """A copy of a small run, made and used far from it."""
    arguments = ["--export_format=run", "--license=mit", "--output=small"]
    output = called("--mode=export", *arguments, f"--workdir={run_dir}", cwd=place)
    assert output == "Nets of step 2: small\n"
    return place / "small"


def test_a_copy_has_the_nets_in_half_precision(copied, run_dir):
    model, copy = coopnets_tf.load(run_dir), coopnets_tf.load(copied)
    assert int(copy.step) == 2
    for name, net in model.nets.items():
        # Statistics of batch norm are measured anew of the rounded weights.
        expected = named_variables(net)
        for weight, value in named_variables(copy.nets[name]).items():
            if "moving" not in weight:
                rounded = expected[weight].numpy().astype(np.float16)
                np.testing.assert_array_equal(value, rounded, err_msg=weight)
    size = (copied / "checkpoints/ckpt-2.data-00000-of-00001").stat().st_size
    weights = sum(
        variable.numpy().size
        for net in model.nets.values()
        for variable in net.variables
    )
    assert 2 * weights <= size < 2.2 * weights


def test_a_copy_is_a_run(copied, run_dir, place, tmp_path):
    own = {"evaluate-1/report.json"}  # where another test evaluated the run
    assert names(copied) - own == {
        "README.md",
        "SHA256SUMS",
        "checkpoints/ckpt-2.data-00000-of-00001",
        "checkpoints/ckpt-2.index",
        "data.json",
        "flags.cfg",
        "model.json",
        "samples.png",
    }
    called("--mode=sample", "--num_images=4", f"--workdir={copied}", cwd=tmp_path)
    expected = coopnets_tf.load(copied).sample(4, seed=0)
    grid = drawing.grid(expected.numpy())
    picture = read_picture(copied / "sample-1/descriptor.png")
    np.testing.assert_array_equal(picture, grid.squeeze())
    configs = [
        called("--print_config", f"--flagfile={folder}/flags.cfg", cwd=place)
        for folder in (copied, run_dir)
    ]
    assert configs[0].partition("\n")[2] == configs[1].partition("\n")[2]


@pytest.mark.parametrize(
    "make", [make_descriptor_model, make_generator_model, make_dual_model]
)
def test_what_a_model_keeps_is_copied_too(make, tmp_path):
    run_dir = write_run(make(), tmp_path / "run", step=1)
    share.export(run_dir, export_format="run", output=tmp_path / "copy")
    model, copy = coopnets_tf.load(run_dir), coopnets_tf.load(tmp_path / "copy")
    assert model.kept.keys() == copy.kept.keys() and model.kept
    for name, value in model.kept.items():
        expected = value.numpy()
        if value.dtype.is_floating:
            expected = expected.astype(np.float16)
        np.testing.assert_array_equal(copy.kept[name], expected)


def test_nothing_of_the_machine_is_in_a_copy(tmp_path):
    run_dir = write_run(make_model(), tmp_path / "run")
    description = json.loads((run_dir / "model.json").read_text())
    data = {"dataset": "/home/me/photos", "data_dir": "/home/me/data"}
    write_json(run_dir / "model.json", {**description, "dataset": data})
    (run_dir / "flags.cfg").write_text(
        "# python /home/me/main.py --dataset=/home/me/photos\n"
        "--dataset=/home/me/photos\n--data_dir=/home/me/data\n--seed=3\n"
    )
    share.export(run_dir, export_format="run", output=tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*"):
        assert path.is_dir() or b"/home" not in path.read_bytes(), path
    assert (tmp_path / "copy/flags.cfg").read_text() == (
        "# python main.py --dataset=photos\n--dataset=photos\n--seed=3\n"
    )


def test_a_copy_computes_in_float32(tmp_path):
    model = make_model()
    run_dir = write_run(model, tmp_path / "run")
    text = (run_dir / "model.json").read_text()
    assert '"name": "float32"' in text
    (run_dir / "model.json").write_text(
        text.replace('"name": "float32"', '"name": "mixed_bfloat16"')
    )
    share.export(run_dir, export_format="run", output=tmp_path / "copy")
    assert "bfloat16" not in (tmp_path / "copy/model.json").read_text()


def test_a_weight_too_large_for_half_precision_is_refused():
    model = make_model()
    kernel = model.descriptor.trainable_variables[0]
    kernel.assign(tf.fill(kernel.shape, 1e5))
    with pytest.raises(RunError, match="_kernel is too large for half precision"):
        export.halves(model)


def test_a_card_has_the_scores_of_its_step(tmp_path):
    report = json.loads((trained.FOLDER / "digits/evaluate-1/report.json").read_text())
    model = make_model()
    write_json(tmp_path / "evaluate-1/report.json", report)
    assert "## Scores" not in cards.card(model, tmp_path, "a", dataset="digits")
    model.step.assign(report["step"])
    assert reports.text(report) in cards.card(model, tmp_path, "a", dataset="digits")


def test_sums_are_those_of_sha256sum(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in ("checkpoints/b", "model.json", "README.md"):
        (tmp_path / name).write_bytes(b"abc")  # FIPS 180-2, B.1
    trained.seal(tmp_path)
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    lines = f"{known}  checkpoints/b\n{known}  model.json\n"
    assert (tmp_path / "SHA256SUMS").read_text() == lines
    (tmp_path / "README.md").write_bytes(b"A card may be edited.")
    trained.check(tmp_path)
    (tmp_path / "checkpoints/b").write_bytes(b"abd")
    with pytest.raises(RunError, match="b is not as it was made"):
        trained.check(tmp_path)
    (tmp_path / "checkpoints/b").unlink()
    with pytest.raises(RunError, match="b is not as it was made"):
        trained.check(tmp_path)
    (tmp_path / "SHA256SUMS").write_text(f"{known}  model.json\n")
    trained.check(tmp_path)
    (tmp_path / "checkpoints/c").write_bytes(b"abc")  # which has no sum
    with pytest.raises(RunError, match="c is not as it was made"):
        trained.check(tmp_path)
    (tmp_path / "checkpoints/c").unlink()
    (tmp_path / "SHA256SUMS").write_text("")
    with pytest.raises(RunError, match="model.json is not as it was made"):
        trained.check(tmp_path)


def test_a_damaged_copy_is_not_used(copied, tmp_path):
    damaged = tmp_path / "damaged"
    for path in (one for one in copied.rglob("*") if one.is_file()):
        (damaged / path.relative_to(copied)).parent.mkdir(parents=True, exist_ok=True)
        (damaged / path.relative_to(copied)).write_bytes(path.read_bytes())
    (damaged / "model.json").write_text((damaged / "model.json").read_text() + " ")
    error = refused("--mode=sample", f"--workdir={damaged}", cwd=tmp_path)
    assert "damaged/model.json is not as it was made" in error


@pytest.mark.parametrize("name", COMES)
def test_what_comes_with_the_package(name, empty):
    folder = trained.FOLDER / name
    trained.check(folder)
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    assert sum(sizes) < 12e6
    model = coopnets_tf.load(name)
    card = (folder / "README.md").read_text()
    report = cards.evaluation(folder, int(model.step))
    assert reports.text(report) in card and "license: mit\n" in card
    assert f'coopnets_tf.load("{name}")' in card
    # Rounding differs from one processor to another, and D1 may enlarge it.
    picture = read_picture(folder / "samples.png").astype(int)
    grid = drawing.grid(model.sample(64, seed=0).numpy()).squeeze()
    assert np.abs(picture - grid).mean() < 2


def test_a_name_stands_for_them_where_no_folder_has_it(empty):
    assert "digits" in COMES
    assert trained.place("digits") == trained.FOLDER / "digits"
    assert trained.place("no such") == Path("no such")
    (empty / "digits").mkdir()  # of images, say
    assert trained.place("digits") == trained.FOLDER / "digits"
    (empty / "digits/model.json").touch()
    assert trained.place("digits") == Path("digits")


def test_results_of_theirs_are_not_in_the_package(empty):
    output = called("--mode=sample", "--workdir=digits", "--num_images=4", cwd=empty)
    assert output.endswith(": runs/digits/sample-1\n")
    assert names(empty / "runs") == {
        "digits/sample-1/generator.png",
        "digits/sample-1/descriptor.png",
    }


def test_a_training_begins_with_them(empty):
    arguments = ["--num_iterations=1", "--init_from=digits", "--batch_size=4"]
    arguments += ["--num_chains=4", "--num_samples=4", "--descriptor_num_steps=1"]
    output = called(*arguments, cwd=empty)
    assert "Nets of " in output and "trained/digits/checkpoints/ckpt-" in output


def test_they_do_not_go_on(empty):
    error = refused("--resume", "--workdir=digits", cwd=empty)
    assert "digits is a copy of a run" in error and "--init_from=digits" in error
    error = refused("--mode=sample", "--workdir=digist", cwd=empty)
    assert "--workdir=digist does not exist. Did you mean digits?" in error


@pytest.mark.slow
@pytest.mark.parametrize("name", COMES)
def test_scores_are_what_the_card_says(name, tmp_path):
    if name == "mnist" and not (files.keras_folder() / "datasets/mnist.npz").exists():
        pytest.skip("needs mnist.npz in Keras' folder")
    card = trained.FOLDER / name / "evaluate-1/report.json"
    expected_of = json.loads(card.read_text())["scores"]
    options = ["--metrics=parzen,frechet,neighbours", "--output=scores"]
    done = run("--mode=evaluate", f"--workdir={name}", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores/report.json").read_text())["scores"]
    for net in ("generator", "descriptor"):
        found, expected = scores[net], expected_of[net]
        # The same samples, but for rounding.
        nats = expected["parzen"]["nats"]
        assert found["parzen"]["nats"] == pytest.approx(nats, abs=0.5)
        # By a classifier that each machine trains for itself.
        distance = expected["frechet_distance"]
        assert found["frechet_distance"] == pytest.approx(distance, rel=0.3)
        assert found["recall"] == pytest.approx(expected["recall"], abs=0.03)
