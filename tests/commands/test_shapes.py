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


def size_of_grid(rows, columns, factor):
    """The shape of a picture of images that are enlarged by a factor, gaps of two."""
    height, width = factor * HEIGHT + 2, factor * WIDTH + 2
    return rows * height + 2, columns * width + 2, 3


def test_its_pictures_have_that_shape(place):
    """Four images in two columns, enlarged by 21 to 252 pixels."""
    for picture in ("generator_000002", "observed_000000"):
        grid = read_picture(place / "run" / "samples" / f"{picture}.png")
        assert grid.shape == size_of_grid(2, 2, 21)


def shape_of(path):
    """Of an array, of a picture, or of the images of a model."""
    if path.suffix == ".npy":
        return np.load(path).shape
    if path.suffix == ".keras":
        return coopnets_tf.load(path).image_shape
    return read_picture(path).shape


OWN = "--images=photos/0.png,photos/1.png"
THREE = ["--num_images=3", "--infer_steps=1"]
# Three groups of three images, enlarged by 7, in a row under their headings.
GROUPS = (40 + 7 * HEIGHT + 12, 12 + 3 * (3 * (7 * WIDTH + 2) + 12), 3)


@pytest.mark.parametrize(
    ("arguments", "output", "shape"),
    [
        (["sample", "--num_images=3", "--format=npy"], "images.npy", (3, 8, 12, 3)),
        (["interpolate"], "corners.png", size_of_grid(8, 8, 8)),
        (
            ["interpolate", OWN, "--infer_steps=1"],
            "spherical.png",
            size_of_grid(1, 8, 8),
        ),
        (["reconstruct", *THREE], "reconstruct.png", GROUPS),
        (["recover", *THREE, "--mask=square:8"], "recover.png", GROUPS),
        (
            ["evaluate", "--metrics=parzen", "--evaluation_samples=20"],
            "descriptor.png",
            size_of_grid(5, 4, 16),
        ),
        (["export", "--export_format=keras"], "model.keras", (8, 12, 3)),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_every_mode_takes_it(arguments, output, shape, place):
    mode, *options = arguments
    before = set((place / "run").iterdir())
    called(f"--mode={mode}", "--workdir=run", *options, cwd=place)
    (folder,) = set((place / "run").iterdir()) - before
    assert shape_of(folder / output) == shape


def test_a_resumed_run_keeps_it(place):
    again = ["--resume", "--workdir=run", "--num_iterations=3"]
    assert "step 3/3" in called(*again, cwd=place)
    text = "--image_size=12x8 would change the run, which has --image_size=8x12"
    assert text in refused(*again, "--image_size=12x8", cwd=place)
