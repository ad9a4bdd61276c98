"""Dual teaching, from the command line to the export."""

import numpy as np
import pytest
import tensorflow as tf

import coopnets_tf
from coopnets_tf import coopnets
from tests.helpers import TOY, called, checkpoint, metrics, names, refused

EXPORTS = True
DUAL = [*TOY[1:], "--data_teaching=0.5", "--generator_num_steps=2", "--log_every=1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    output = called(*DUAL, "--num_iterations=4", "--workdir=whole", cwd=place)
    parts = "4 chains of 1 step, G1 with 2 steps, dual teaching with a weight of 0.5"
    assert parts in output
    return place


def test_a_run_goes_on_as_if_unbroken(place):
    called(*DUAL, "--num_iterations=2", "--workdir=part", cwd=place)
    called("--resume", "--workdir=part", "--num_iterations=4", cwd=place)
    whole = metrics(place / "whole")
    assert set(coopnets.DUAL_METRICS) < set(whole[-1])
    assert metrics(place / "part") == whole
    whole, part = (checkpoint(place / name) for name in ("whole", "part"))
    assert any("latents" in name for name in whole)
    for name, value in whole.items():
        np.testing.assert_array_equal(part[name], value, err_msg=name)


@pytest.mark.slow
def test_residual_nets_with_classes_and_averages_go_on_as_if_unbroken(tmp_path):
    nets = ["--network=toy_residual", "--conditional", "--spectral_norm"]
    averages = ["--generator_average=0.9", "--descriptor_average=0.9"]
    train = [*DUAL, *nets, *averages, "--augment=shift"]
    called(*train, "--num_iterations=3", "--workdir=whole", cwd=tmp_path)
    called(*train, "--num_iterations=2", "--workdir=part", cwd=tmp_path)
    called("--resume", "--workdir=part", "--num_iterations=3", cwd=tmp_path)
    whole, part = (checkpoint(tmp_path / name) for name in ("whole", "part"))
    for word in ("vector_u", "_average", "image_labels", "beside"):
        assert any(word in name for name in whole), word
    for name, value in whole.items():
        np.testing.assert_array_equal(part[name], value, err_msg=name)
    model = coopnets_tf.load(tmp_path / "part")
    exported = tf.saved_model.load(str(tmp_path / "part" / "export"))
    samples = exported.sample(tf.constant(3), tf.constant(5), tf.one_hot([3] * 3, 10))
    expected = model.sample(3, seed=5, labels=3)
    np.testing.assert_allclose(samples, expected, atol=1e-5)


def test_its_pictures_and_its_export_are_of_both_nets(place):
    kinds = {"generator", "descriptor", "reconstructed"}
    pictures = names(place / "whole" / "samples")
    assert pictures == {f"{kind}_000004.png" for kind in kinds} | {
        "observed_000000.png"
    }
    called("--mode=sample", "--workdir=whole", cwd=place)
    assert names(place / "whole/sample-1") == {"generator.png", "descriptor.png"}
    model = coopnets_tf.load(place / "whole")
    assert model.latents.shape == [1_200, 4]
    shown, latents = model.shown(3, seed=tf.constant([1, 2]))
    np.testing.assert_array_equal(latents, model.latents[:3])
    np.testing.assert_array_equal(shown["reconstructed"], model.generate(latents))
    exported = tf.saved_model.load(str(place / "whole" / "export"))
    samples = exported.sample(tf.constant(3), tf.constant(5))
    np.testing.assert_allclose(samples, model.sample(3, seed=5), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--data_teaching=1"], "--generator_num_steps=1 or more, such as 5"),
        (
            ["--data_teaching=1", "--generator_num_steps=2", "--flip"],
            "Leave out --flip",
        ),
        (
            ["--data_teaching=1", "--algorithm=generator"],
            "--data_teaching is for --algorithm=coopnets",
        ),
        (["--data_teaching=-1"], "must be 0 or a positive number"),
    ],
)
def test_what_does_not_go_with_it_is_refused(arguments, text, tmp_path):
    assert text in refused(*TOY, *arguments, cwd=tmp_path)
