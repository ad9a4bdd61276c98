"""A descriptor and a generator alone, from the command line to the export."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import coopnets_tf
from coopnets_tf.data import datasets, masks
from coopnets_tf.evaluation import recovery
from tests.helpers import TOY, called, names, refused

EXPORTS = True
EVALUATE = [
    "--mode=evaluate",
    "--metrics=parzen,frechet,diagnostics",
    "--evaluation_samples=20",
    "--noevaluate_baselines",
]
MASK = "--training_mask=random:0.4"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module", params=["persistent", "uniform"])
def descriptor_run(place, request):
    workdir, init = f"--workdir={request.param}", f"--chain_init={request.param}"
    options = ["--algorithm=descriptor", workdir, init, "--log_every=1"]
    output = called(*TOY, *options, cwd=place)
    assert "loss_G" not in output and "loss_D" in output
    return place / request.param


@pytest.fixture(scope="module")
def generator_run(place):
    options = ["--algorithm=generator", "--workdir=g", "--generator_num_steps=2", MASK]
    output = called(*TOY, *options, cwd=place)
    assert "G1 with 2 steps" in output and "loss_D" not in output
    return place / "g"


def test_a_descriptor_is_used_in_every_mode_that_needs_no_generator(
    place, descriptor_run
):
    workdir = f"--workdir={descriptor_run.name}"
    assert names(descriptor_run / "samples") == {
        "observed_000000.png",
        "descriptor_000002.png",
    }
    called("--mode=sample", workdir, cwd=place)
    assert names(descriptor_run / "sample-1") == {"descriptor.png"}
    output = called(*EVALUATE, workdir, cwd=place)
    assert output.splitlines()[0].split() == ["descriptor"]
    report = json.loads((descriptor_run / "evaluate-1/report.json").read_text())
    assert report["nets"]["algorithm"] == "AlgorithmD"
    output = called("--mode=recover", workdir, "--num_images=4", cwd=place)
    # Without scikit-image there is one line more.
    assert any(line.startswith("descriptor ") for line in output.splitlines())
    assert "generator" not in output
    called("--mode=export", "--export_format=keras", workdir, cwd=place)
    for mode in ("interpolate", "reconstruct"):
        errors = refused(f"--mode={mode}", workdir, cwd=place)
        assert f"--mode={mode} needs a generator" in errors
    errors = refused("--mode=export", "--export_format=litert", workdir, cwd=place)
    assert "litert is for generators" in errors


def test_an_export_of_a_descriptor_samples_as_the_run_does(descriptor_run):
    model = coopnets_tf.load(descriptor_run)
    exported = tf.saved_model.load(str(descriptor_run / "export"))
    signatures = {"sample", "revise", "energy", "serving_default"}
    assert set(exported.signatures) == signatures
    samples = exported.sample(tf.constant(3), tf.constant(5))
    np.testing.assert_allclose(samples, model.sample(3, seed=5), atol=1e-5)
    again = coopnets_tf.load(descriptor_run / "export-1/model.keras")
    np.testing.assert_array_equal(again.sample(3, seed=5), model.sample(3, seed=5))


def test_a_generator_is_used_in_every_mode(place, generator_run):
    assert names(generator_run / "samples") == {
        "observed_000000.png",
        "generator_000002.png",
        "reconstructed_000002.png",
    }
    called("--mode=sample", "--workdir=g", cwd=place)
    assert names(generator_run / "sample-1") == {"generator.png"}
    output = called(*EVALUATE, "--workdir=g", cwd=place)
    assert output.splitlines()[0].split() == ["generator"]
    few = ["--workdir=g", "--infer_steps=30"]
    called("--mode=interpolate", "--workdir=g", cwd=place)
    called("--mode=reconstruct", *few, "--num_images=4", cwd=place)
    called("--mode=export", "--export_format=litert", "--workdir=g", cwd=place)
    errors = refused("--mode=sample", "--revise_steps=3", "--workdir=g", cwd=place)
    assert "--revise_steps=3 needs a descriptor" in errors
    exported = tf.saved_model.load(str(generator_run / "export"))
    signatures = {"sample", "generate", "reconstruct", "serving_default"}
    assert set(exported.signatures) == signatures
    model = coopnets_tf.load(generator_run)
    samples = exported.sample(tf.constant(3), tf.constant(5))
    np.testing.assert_allclose(samples, model.sample(3, seed=5), atol=1e-5)
    assert model.latents.shape == [1_200, 4]


def test_hidden_pixels_of_training_images_are_recovered(place, generator_run):
    few = ["--num_images=30", "--infer_steps=30"]
    output = called("--mode=recover", "--mask=training", "--workdir=g", *few, cwd=place)
    assert "first 30 training images, as they were trained on" in output
    errors = json.loads((generator_run / "recover-1/errors.json").read_text())
    training = datasets.load("digits", num_held_out=597)
    mask = masks.training_masks("random:0.4", training.image_shape)
    visible = np.broadcast_to(mask(training.places[:30]), (30, 8, 8, 1))
    seen = training.incomplete(mask)
    np.testing.assert_array_equal(seen.visible(slice(30)), visible)
    np.testing.assert_array_equal(seen[:30], np.where(visible, training[:30], 0))
    filled = recovery.nearest_fill(seen[:30], visible)
    expected = recovery.errors(training[:30], filled, visible.astype(np.float32))
    for name, value in expected.items():
        assert errors["nearest pixel"][name] == pytest.approx(value)
    assert set(errors) >= {"generator", "nearest pixel"}


@pytest.mark.parametrize("mask", ["square:4", "random:0.4", "file"])
def test_a_training_mask_belongs_to_the_image_and_hides_its_share(mask, tmp_path):
    if mask == "file":
        pixels = np.full((8, 8), 255, np.uint8)
        pixels[2:6, 2:6] = 0
        mask = str(tmp_path / "mask.png")
        Image.fromarray(pixels).save(mask)
    visible = masks.training_masks(mask, (8, 8, 3))
    places = np.arange(400)
    found = visible(places)
    assert found.shape == (400, 8, 8, 1) and found.dtype == bool
    np.testing.assert_array_equal(visible(places[[7, 3]]), found[[7, 3]])
    if mask.startswith("random"):  # binomial, 25,600 pixels: s.d. 0.003
        assert abs((~found).mean() - 0.4) < 0.016
        assert np.any(found[0] != found[1])
    else:
        assert (~found).mean() == 0.25
        assert not found[:, 2:6, 2:6].any()


def test_hidden_pixels_and_scales_from_the_whole_image_do_not_go_together(place):
    options = ["--algorithm=generator", MASK, "--normalize=per_image"]
    errors = refused(*TOY, *options, cwd=place)
    assert "--normalize=per_image" in errors
