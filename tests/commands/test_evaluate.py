"""`--mode=evaluate` on one small run, and the files that it leaves."""

import json
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from commands import evaluate
from tests.helpers import TINY, TOY, assert_near, called, read_picture, refused

EVALUATE = "--mode=evaluate", "--evaluation_samples=60"


def test_evaluate(use, place, trained):
    folder, found, output = use(*EVALUATE, f"--export_samples={place}/scored")
    sets = ["generator", "descriptor", "training_images", "Gaussian"]
    events = [name for name in found if name.startswith("tensorboard/")]
    assert len(events) == 1 and found - {*events} == {
        "report.json",
        "diagnostics.png",
        "chains.png",
        "nearest.png",
        *[f"{name}.png" for name in sets],
    }
    report = json.loads((folder / "report.json").read_text())
    assert report["step"] == 2 and report["protocol"]["num_samples"] == 60
    assert report["protocol"]["scored_against"] == (
        "digits: 299 test images, held out of training"
    )
    assert "1,200 training images" in report["protocol"]["extractor"]["network"]
    # The table is first, a row for a metric and a column for a set of images.
    heading = output.splitlines()[0].split()
    assert heading == ["generator", "descriptor", "training", "images", "Gaussian"]
    assert max(map(len, output.splitlines())) <= 100
    for words in (
        "scored against digits: 299 test images, held out of training",
        "bandwidth chosen on digits: 298 validation images, held out of training",
        f"{report['protocol']['extractor']['accuracy']:.2%} on digits: 299 test images",
        "Chains of 10 steps, trained with 1",
        f"{report['scores']['descriptor']['frechet_distance']:.2f}",
    ):
        assert words in output, words
    exported = read_picture(place / "scored" / "reference" / "000000.png")
    assert exported.shape == (8, 8)
    assert len(list((place / "scored" / "reference").iterdir())) == 299
    # The scored images are those of `sample`, whatever --seed the run was trained with.
    for name, steps in (("generator", 0), ("descriptor", None)):
        scored = sorted((place / "scored" / name).iterdir())
        assert len(scored) == 60
        pixels = np.stack([read_picture(path) for path in scored])[..., None]
        assert_near(pixels, trained.sample(60, seed=0, num_steps=steps))
    accumulator = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = accumulator.Tags()["tensors"]
    assert "evaluation/generator/parzen/nats" in tags
    assert {"evaluation/diagnostics", "evaluation/chains"} <= set(tags)


def test_evaluate_some_metrics_on_the_validation_images(use):
    folder, _, output = use(
        *EVALUATE,
        "--metrics=parzen,neighbours",
        "--split=validation",
        "--noevaluate_baselines",
    )
    report = json.loads((folder / "report.json").read_text())
    assert list(report["scores"]) == ["generator", "descriptor"]
    assert set(report["scores"]["generator"]) == {
        "num_images",
        "parzen",
        "precision",
        "recall",
        "density",
        "coverage",
    }
    assert report["diagnostics"] == {}
    assert "scored against digits: 149 validation images, held out" in output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--evaluation_samples=19"], "must be a whole number of 20 or more"),
        (["--export_samples=."], "--export_samples=. holds files already"),
        (["--inception_weights=no.h5"], "no.h5 does not exist."),
        (["--num_held_out=100"], "--num_held_out=100 would change the run"),
        (["--normalize=per_image"], "--normalize=per_image would change the run"),
        (["--metrics=fid"], "must be some of parzen,frechet"),
        (["--extractor=no.keras"], "--extractor=no.keras does not exist."),
        (["--extractor=incepton"], "exists. Did you mean inception?"),
        (["--extractor_layer=top"], "--extractor=FILE.keras. Received: --extractor="),
        (["--split=validation", "--parzen_protocol=paper"], "leave out --split"),
    ],
)
def test_evaluations_that_are_not_available(place, run_dir, arguments, text):
    before = set(run_dir.iterdir())
    assert text in refused(*EVALUATE, *arguments, cwd=place)
    assert set(run_dir.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--workdir=few"], "An evaluation needs 20 images or more on each side."),
        (["--output=full"], "--output=full holds files already"),
        (["--output=full/letter"], "is a file. Give another."),
        (["--export_samples=full"], "--export_samples=full holds files already"),
    ],
)
def test_what_will_be_refused_trains_nothing(place, few, monkeypatch, arguments, text):
    (place / "full").mkdir(exist_ok=True)
    (place / "full" / "letter").write_text("mine")
    monkeypatch.delattr(evaluate, "choose_extractor")
    assert text in refused(*EVALUATE, *arguments, cwd=place)


@pytest.fixture(scope="module")
def few(place):
    """A run with no more than 12 images held out of training."""
    called(*TOY, "--num_held_out=12", "--workdir=few", cwd=place)


def test_progress_is_for_a_terminal(capsys, monkeypatch):
    evaluate.tell("the chains")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for what in ("the chains", ""):
        evaluate.tell(what)
    first, second = capsys.readouterr().out.split("\r")[1::2]
    assert first.strip() == "the chains" and second == " " * len(first)


def test_evaluate_by_a_network_of_ones_own(use, place):
    keras.utils.set_random_seed(0)
    parts = [keras.Input((16, 16, 3)), keras.layers.Conv2D(6, 3, name="maps")]
    keras.Sequential(parts).save(place / "mine.keras")
    folder, _, output = use(
        *EVALUATE, "--extractor=mine.keras", "--extractor_layer=maps"
    )
    assert "Features: mine: mine.keras, 6 features (of layer maps)" in output
    assert max(map(len, output.splitlines())) <= 100
    [row] = [row for row in output.splitlines() if row.startswith("Frechet (mine) ")]
    report = json.loads((folder / "report.json").read_text())
    scores = report["scores"]["Gaussian"]
    assert row.split()[-1] == f"{scores['frechet_distance']:.2f}"
    assert scores["memorisation"]["nearest"] > 0 and "inception_score" not in scores
    errors = refused(
        *EVALUATE, "--extractor=mine.keras", "--metrics=inception_score", cwd=place
    )
    assert "--metrics=inception_score needs classes" in errors


def test_evaluate_a_folder_without_labels(place):
    (place / "photos").mkdir()
    for number in range(64):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(place / "photos" / f"{number}.png")
    photos = ["--dataset=photos", "--network=digits", "--image_size=8", *TINY]
    workdir = "--workdir=photos-run"
    called(*photos, "--num_held_out=44", workdir, cwd=place)
    (place / "no.h5").write_text("")
    classifier = ["--inception_weights=no.h5", "--extractor=classifier"]
    errors = refused(*EVALUATE, workdir, *classifier, cwd=place)
    assert "photos has none" in errors
    output = called(*EVALUATE, workdir, "--metrics=parzen", cwd=place)
    words = " ".join(output.split())  # of lines that a long path may have folded
    assert "22 test images, held out of training" in words
