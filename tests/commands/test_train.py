"""Trainings on a folder: what is said of it, what the run remembers of it."""

import shutil

import keras
import numpy as np
import pytest
from PIL import Image

import coopnets_tf
import flags
from commands import devices, train
from coopnets_tf.files import write_json
from coopnets_tf.runs import saving
from tests.data.files import save
from tests.helpers import TOY, called, metrics, refused

FOLDER = ["--dataset=photos", "--image_size=8", "--color_mode=grey"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where run/ was trained on photos/, twelve pictures of 12 bits among other files.

    The last line that was printed before the headline is in place/found.txt.
    """
    place = tmp_path_factory.mktemp("place")
    for number in range(12):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 4096, (8, 8), np.uint16)
        save(place / "photos" / f"{number % 2}" / f"{number}.png", pixels)
    (place / "photos" / "notes.txt").touch()
    save(place / "photos" / "@eaDir" / "small.png", np.zeros((2, 2), np.uint8))
    output = called(*TOY, *FOLDER, "--workdir=run", cwd=place)
    (place / "found.txt").write_text(output.splitlines()[0])
    return place


FOUND = (
    "photos: 12 images (0 6, 1 6); 16-bit greys from 0:4095; skipped: 1 file that is "
    "no image, 1 housekeeping folder"
)


def test_what_was_found_is_said_and_kept(place):
    assert (place / "found.txt").read_text() == FOUND
    assert (place / "run" / "skipped.txt").read_text() == (
        "notes.txt: is no image\n@eaDir: is a housekeeping folder\n"
    )
    assert "--grey_range=0:4095" in (place / "run" / "flags.cfg").read_text()
    assert saving.dataset_of(place / "run")["grey_range"] == "0:4095"


def test_too_few_images_held_out_and_nothing_left_to_train_are_told(place):
    output = called(*TOY, *FOLDER, "--num_held_out=4", "--workdir=few", cwd=place)
    assert "40 images held out or more, or none. Received: --num_held_out=4." in output
    output = called("--resume", "--workdir=few", cwd=place)
    assert "at step 2 already, so that nothing is left to train" in output


def test_a_best_checkpoint_needs_its_metric(tmp_path, monkeypatch):
    """In an hour there would be none."""
    for number in range(90):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        save(tmp_path / "photos" / f"{number}.png", pixels)

    def offline(*, weights):
        raise Exception("URL fetch failure on https://...")

    monkeypatch.setattr(keras.applications, "InceptionV3", offline)
    held_out = ["--num_held_out=80", "--evaluate_every=2"]
    best = "--keep_best=evaluation/descriptor/frechet_distance"
    error = refused(*TOY, *FOLDER, *held_out, best, cwd=tmp_path)
    assert "URL fetch failure" in error and "--inception_weights=FILE" in error


def test_all_hosts_prepare_the_same(place, monkeypatch, capsys):
    """Also what the images say: hosts that differ in a flag are refused."""
    monkeypatch.chdir(place)
    flags.parse(["main.py", *TOY, *FOLDER])
    settings, one = flags.settings(), devices.strategy()
    leading = train.prepared(settings, one, leads=True).settings
    assert capsys.readouterr().out.startswith(FOUND)
    following = train.prepared(settings, one, leads=False).settings
    assert not capsys.readouterr().out
    assert flags.saved(following) == flags.saved(leading)
    assert leading["grey_range"] == "0:4095"


def test_the_range_of_the_run_is_that_of_ones_own_images(place):
    """Alone, dark images would have one of their own."""
    dark = save(place / "dark.png", np.full((8, 8), 200, np.uint16))
    arguments = ["--mode=reconstruct", "--workdir=run", "--infer_steps=1"]
    output = called(*arguments, f"--images={dark}", cwd=place)
    assert "1 of your own images; 16-bit greys from 0:4095" in output
    output = called(*arguments, f"--images={dark}", "--grey_range=0:255", cwd=place)
    assert "16-bit greys from 0:255" in output


def test_a_run_that_was_copied_goes_on_with_its_images_at_another_place(place):
    shutil.copytree(place / "run", place / "copied")
    (place / "photos").rename(place / "moved")
    again = ["--resume", "--workdir=copied", "--num_iterations=3"]
    try:
        errors = refused(*again, cwd=place)
        assert "/photos does not exist. If it was moved, name its new place" in errors
        output = called(*again, "--dataset=moved", cwd=place)
        assert FOUND.replace("photos", "moved") in output
        assert saving.dataset_of(place / "copied")["dataset"] == str(place / "moved")
        for number in range(12):
            pixels = np.full((8, 8), number, np.uint8)
            save(place / "others" / f"{number}.png", pixels)
        errors = refused(*again, "--dataset=others", cwd=place)
        assert "The images are not those with which copied was begun. Bring" in errors
        assert "or name their new place by --dataset. Or begin" in errors
        errors = refused(*again, "--dataset=digits", cwd=place)
        assert "The images are not those with which copied was begun" in errors
    finally:
        (place / "moved").rename(place / "photos")


def test_a_run_before_0_3_has_all_16_bits(place, tmp_path):
    """It did not write down a range."""
    called(*TOY, *FOLDER, "--grey_range=0:65535", f"--workdir={tmp_path}", cwd=place)
    kept = (tmp_path / "flags.cfg").read_text().replace("--grey_range=0:65535\n", "")
    (tmp_path / "flags.cfg").write_text(kept)
    description = saving.description(tmp_path)
    assert description["dataset"].pop("grey_range") == "0:65535"
    description["package_version"] = "0.2.0"
    write_json(tmp_path / "model.json", description)
    assert saving.dataset_of(tmp_path)["grey_range"] == "0:65535"
    output = called(
        "--resume", f"--workdir={tmp_path}", "--num_iterations=3", cwd=place
    )
    assert "16-bit greys from 0:65535" in output


def test_other_images_have_the_range_that_they_use(place):
    """The run's own are not of 16 bits: nothing was written down of a range."""
    for number in range(4):
        save(place / "plain" / f"{number}.png", np.full((8, 8), 60 * number, np.uint8))
    called(*TOY, "--dataset=plain", *FOLDER[1:], "--workdir=eight", cwd=place)
    called(
        "--mode=reconstruct",
        "--workdir=eight",
        "--dataset=photos",
        "--infer_steps=1",
        "--output=of_others",
        cwd=place,
    )
    with Image.open(place / "of_others" / "reconstruct.png") as picture:
        originals = np.asarray(picture)[40:, :100]
    assert np.median(originals[originals < 255]) > 60


def test_a_flipped_run_goes_on_as_if_unbroken(place):
    for folder, steps in (("whole", 4), ("part", 2)):
        arguments = [*TOY[1:], *FOLDER, "--flip", f"--workdir={folder}"]
        called(*arguments, f"--num_iterations={steps}", "--log_every=1", cwd=place)
    called("--resume", "--workdir=part", "--num_iterations=4", cwd=place)
    assert metrics(place / "whole") == metrics(place / "part")
    errors = refused(*TOY, *FOLDER, "--flip", "--algorithm=generator", cwd=place)
    assert "--flip is for --algorithm=coopnets|descriptor." in errors


def test_a_run_on_ones_own_samples(place):
    """The arrays that --format writes are a data set, too."""
    called("--mode=sample", "--workdir=run", "--format=npz", "--output=out", cwd=place)
    arguments = [*TOY, *FOLDER[1:], "--dataset=out/images.npz", "--workdir=of_samples"]
    assert "images.npz: 64 images" in called(*arguments, cwd=place)
    assert coopnets_tf.load(place / "of_samples").image_shape == (8, 8, 1)
