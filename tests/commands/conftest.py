"""A small run for all tests of what is done with one."""

import numpy as np
import pytest
from PIL import Image

import coopnets_tf
from coopnets_tf.runs import training
from tests.helpers import TOY, called, names


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder whose runs/digits-1 has nets with pictures that differ."""
    place = tmp_path_factory.mktemp("place with space")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "export", lambda *_, **__: None)
        called(*TOY, "--generator_learning_rate=0.05", cwd=place)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    (place / "broken.png").write_text("no image")
    for name, grey in (("black", 0), ("white", 255)):
        Image.new("L", (8, 8), grey).save(place / f"{name}.png")
    return place


@pytest.fixture(scope="session")
def run_dir(place):
    return place / "runs/digits-1"


@pytest.fixture(scope="session")
def trained(run_dir):
    return coopnets_tf.load(run_dir)


@pytest.fixture
def use(place, run_dir):
    """Calls main.py; returns the new folder, its names and what was printed."""

    def use(*arguments):
        before = set(run_dir.iterdir())
        output = called(*arguments, cwd=place)
        (folder,) = set(run_dir.iterdir()) - before
        assert str(folder.relative_to(place)) in output
        return folder, names(folder), output

    return use
