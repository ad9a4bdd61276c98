"""Presets for photographs with their own nets, as a user calls them, but short."""

import numpy as np
import pytest

import coopnets_tf
from tests.data.files import save
from tests.helpers import ROOT, called, checkpoint, metrics, names

EXPORTS = True
pytestmark = pytest.mark.slow
SIDES = {"face_fast": 64, "cifar10_fast": 32, "object": 64}
SHORT = ["--batch_size=2", "--num_chains=2", "--num_samples=2", "--log_every=1"]


@pytest.mark.parametrize("name", SIDES)
def test_a_preset_trains_goes_on_samples_and_exports(name, tmp_path):
    side = SIDES[name]
    pixels = np.random.default_rng(0).integers(0, 256, (6, side, side, 3), np.uint8)
    for number, image in enumerate(pixels):
        save(tmp_path / f"photos/{number}.png", image)
    preset = [f"--flagfile={ROOT / 'flags' / name}.cfg", "--dataset=photos", *SHORT]
    preset += [f"--image_size={side}", "--num_held_out=2"]
    if name == "cifar10_fast":
        preset.append("--network=cifar")  # that of its data set
    called(*preset, "--num_iterations=1", "--workdir=part", cwd=tmp_path)
    called("--resume", "--workdir=part", "--num_iterations=2", cwd=tmp_path)
    assert (tmp_path / "part/export/saved_model.pb").is_file()
    if name == "cifar10_fast":  # the quickest; all three keep the same in a checkpoint
        called(*preset, "--num_iterations=2", "--workdir=whole", cwd=tmp_path)
        assert metrics(tmp_path / "part") == metrics(tmp_path / "whole")
        whole, part = (checkpoint(tmp_path / name) for name in ("whole", "part"))
        for key, value in whole.items():
            np.testing.assert_array_equal(part[key], value, err_msg=key)
    called("--mode=sample", "--workdir=part", "--num_images=2", cwd=tmp_path)
    assert names(tmp_path / "part/sample-1") == {"generator.png", "descriptor.png"}
    model = coopnets_tf.load(tmp_path / "part")
    assert model.sample(2, seed=0).shape == (2, side, side, 3)
    if model.generator.latent_shape == (2,):
        plane = "--interpolation=plane"
        called("--mode=interpolate", plane, "--workdir=part", cwd=tmp_path)
        assert "plane.png" in names(tmp_path / "part/interpolate-1")
