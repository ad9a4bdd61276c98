"""A run on images that are not square, in all modes."""

import numpy as np
import pytest

import coopnets_tf
from commands import cards
from coopnets_tf.runs import saving
from coopnets_tf.runs.export import metadata
from tests.data.files import save
from tests.helpers import TOY, called, read_picture, refused

HEIGHT, WIDTH = 8, 12
PHOTOS = ["--dataset=photos", "--image_size=8x12", "--num_held_out=40"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where run/ was trained on photos/, pictures of two shapes."""
    place = tmp_path_factory.mktemp("place")
    for number in range(50):
        rng = np.random.default_rng(number)
        size = (20, 30) if number % 2 else (30, 16)
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        save(place / "photos" / f"{number}.png", pixels)
    called(*TOY, *PHOTOS, "--workdir=run", cwd=place)
    return place


def test_a_run_knows_the_shape_of_its_images(place):
    assert "--image_size=8x12\n" in (place / "run/flags.cfg").read_text()
    assert saving.dataset_of(place / "run")["image_size"] == [HEIGHT, WIDTH]
    model = coopnets_tf.load(place / "run")
    assert metadata(model, None)["image_shape"] == [HEIGHT, WIDTH, 3]
    assert model.sample(2).shape == (2, HEIGHT, WIDTH, 3)
    card = cards.card(model, place / "run", "user/name", dataset="photos")
    assert "Images have\n8x12 pixels and 3 channels." in card


def test_its_pictures_have_that_shape(place):
    """Four images in two columns, enlarged by 21 to 252 pixels."""
    for picture in ("generator_000002", "observed_000000"):
        grid = read_picture(place / "run" / "samples" / f"{picture}.png")
        assert grid.shape == (2 * (21 * HEIGHT + 2) + 2, 2 * (21 * WIDTH + 2) + 2, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "--num_images=3", "--format=npy"],
        ["interpolate"],
        ["interpolate", "--images=photos/0.png,photos/1.png", "--infer_steps=1"],
        ["reconstruct", "--num_images=3", "--infer_steps=1"],
        ["recover", "--num_images=3", "--infer_steps=1", "--mask=square:8"],
        ["evaluate", "--metrics=parzen", "--evaluation_samples=20"],
        ["export", "--export_format=keras"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_every_mode_takes_it(arguments, place):
    mode, *options = arguments
    assert "run/" in called(f"--mode={mode}", "--workdir=run", *options, cwd=place)


def test_a_resumed_run_keeps_it(place):
    again = ["--resume", "--workdir=run", "--num_iterations=3"]
    assert "step 3/3" in called(*again, cwd=place)
    text = "--image_size=12x8 would change the run, which has --image_size=8x12"
    assert text in refused(*again, "--image_size=12x8", cwd=place)
