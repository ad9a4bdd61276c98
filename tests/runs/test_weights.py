"""Weights of other runs: what fits, what does not, and what is no checkpoint."""

import shutil

import keras
import numpy as np
import pytest

from coopnets_tf import AlgorithmD
from coopnets_tf.errors import RunError
from coopnets_tf.networks import spectral
from coopnets_tf.runs import weights
from tests.helpers import adam, descriptor_of, layers, make_model, train

LENGTH = {
    "num_iterations": 8,
    "log_every": 1,
    "checkpoint_every": 2,
    "sample_every": 100,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model and its run folder."""
    run_dir = tmp_path_factory.mktemp("run")
    return train(make_model(unroll=False), run_dir, **LENGTH), run_dir


def test_networks_of_another_run(trained):
    expected, run_dir = trained
    model = make_model(run_seed=3)
    path, misfits = weights.load_networks(model, run_dir)
    assert path.name == "ckpt-8" and misfits == []
    for net in ("descriptor", "generator"):
        for one, other in zip(
            getattr(expected, net).variables, getattr(model, net).variables, strict=True
        ):
            np.testing.assert_array_equal(one, other)
    assert int(model.step) == 0
    again, _ = weights.load_networks(model, f"{path}.index")
    assert again == path


def test_what_does_not_fit_is_listed_and_left(trained):
    _, run_dir = trained
    model = make_model(latent_size=9)
    kernel = layers(model.generator, "deconv")[0].kernel
    before = kernel.numpy()
    _, misfits = weights.load_networks(model, run_dir)
    assert misfits == [
        "generator deconv_0_kernel: [4, 4, 16, 9] here, [4, 4, 16, 6] there"
    ]
    np.testing.assert_array_equal(kernel, before)


def test_what_is_no_run_or_damaged_is_refused(trained, tmp_path):
    _, run_dir = trained
    with pytest.raises(RunError, match="nowhere does not exist.$"):
        weights.load_networks(make_model(), tmp_path / "nowhere")
    with pytest.raises(RunError, match="is neither a run with checkpoints nor"):
        weights.load_networks(make_model(), tmp_path)
    shutil.copytree(run_dir, tmp_path / "run")
    for data in (tmp_path / "run" / "checkpoints").glob("*.data*"):
        data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(RunError, match="ckpt-8 cannot be read"):
        weights.load_networks(make_model(), tmp_path / "run")
    with pytest.raises(RunError, match="no checkpoint '9'. It has: .*ckpt-8"):
        weights.find(run_dir, "9")


def alone(network):
    model = AlgorithmD(descriptor_of(network), num_chains=2, chain_init="noise")
    model.compile(adam(0.001))
    return model


def test_layers_whose_names_only_look_wrapped_keep_their_own_weights(tmp_path):
    def model():
        images = keras.Input((8, 8, 1))
        maps = keras.layers.Dense(1, name="a")(images)
        return alone(keras.Model(images, keras.layers.Dense(1, name="a_a")(maps)))

    first, second = train(model(), tmp_path, num_iterations=1), model()
    _, misfits = weights.load_networks(second, tmp_path)
    assert misfits == []
    pairs = zip(first.descriptor.weights, second.descriptor.weights, strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)


def test_wrapped_layers_of_a_sequential_network_fit_the_bare_ones(tmp_path):
    conv = keras.layers.Conv2D(2, 3, name="conv")
    plain = keras.Sequential([keras.Input((8, 8, 1)), conv])
    train(alone(plain), tmp_path, num_iterations=1)
    _, misfits = weights.load_networks(alone(spectral.normalised(plain)), tmp_path)
    assert len(misfits) == 1 and "vector_u" in misfits[0]
