import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import step
from benchmarks.peers import __main__ as peers
from benchmarks.peers import ours, turns
from coopnets_tf import CoopNets, Descriptor, Generator, Langevin
from coopnets_tf.networks import built_in, rows
from coopnets_tf.seeds import Purpose
from tests import helpers

SHAPE = (14, 14, 2)
# Sides of 14, 7 and 4, so that some layers have more zeros after a map than before it.
UNEVEN = built_in.Table(
    [rows.Conv(4, 2, 5), rows.Conv(4, 2, 6), rows.Conv(3, 1, 7)],
    [
        rows.Deconv(None, 1, 8),
        rows.Deconv(4, 2, 6),
        rows.Deconv(5, 2, None),
    ],
)
SETTINGS = {
    "network": "uneven",
    "num_outputs": 3,
    "batch_size": 6,
    "num_chains": 8,
    "descriptor_num_steps": 4,
    "descriptor_step_size": 0.05,
    "reference_stddev": 0.3,
    "residual_stddev": 0.4,
    "descriptor_learning_rate": 0.003,
    "generator_learning_rate": 0.001,
    "adam_beta_1": 0.5,
}


@pytest.fixture
def model(monkeypatch):
    """A model of the table above, without noise."""
    keras.utils.set_random_seed(11)
    monkeypatch.setitem(built_in.TABLES, "uneven", UNEVEN)
    descriptor = Descriptor(
        built_in.descriptor("uneven", SHAPE, num_outputs=3),
        revision=Langevin(4, 0.05),
        reference_stddev=0.3,
    )
    generator = Generator(
        built_in.generator("uneven", SHAPE, (5,)),
        inference=Langevin(0, 0.1),
        residual_stddev=0.4,
    )
    built = CoopNets(descriptor, generator, num_chains=8, revision_noise_until=0)
    built.compile(helpers.adam(0.003), helpers.adam(0.001))
    return helpers.sharpen(built, descriptor=60.0)


def described(model):
    return ours.described(SETTINGS, model, step.layers(model.generator, "norm_")[0])


def weights(model):
    """The weights that learn, as peers number them."""
    return {
        f"{name}.{index}": weight.numpy()
        for name, net in model.nets.items()
        for index, weight in enumerate(net.trainable_variables)
    }


def test_what_peers_build(model):
    spec = described(model)
    names = ("size", "strides", "outer", "inner", "filters")
    rows = {
        name: [[row[one] for one in names] for row in spec[name]]
        for name in ("descriptor", "generator")
    }
    assert rows == {
        "descriptor": [[4, 2, 14, 7, 5], [4, 2, 7, 4, 6], [3, 1, 4, 4, 7]],
        "generator": [[4, 1, 4, 1, 8], [4, 2, 7, 4, 6], [5, 2, 14, 7, 2]],
    }
    assert (spec["side"], spec["channels"], spec["latent_size"]) == (14, 2, 5)


@pytest.mark.slow
@pytest.mark.parametrize("peer", peers.MODULES)
def test_a_peer_makes_the_same_step(peer, model, tmp_path):
    """One step without noise from the same weights, images and latents."""
    if peer not in peers.interpreters({}):
        pytest.skip(f"no interpreter that can import {peer}")
    observed = helpers.noise(6, *SHAPE)
    latents, _ = model.generator.propose(8, seed=model.step_seed(Purpose.LATENTS))
    generated = model.generator.on_batch(latents)
    revised, _ = model.descriptor.revise(
        generated, seed=tf.constant([0, 0]), noise_scale=0.0
    )
    before = weights(model)
    given, found = tmp_path / "given.npz", tmp_path / "found.npz"
    np.savez(given, observed=observed, latents=latents, **before)
    files = {"given": str(given), "found": str(found), "noise_scale": 0.0}
    python = peers.interpreters({})[peer]
    with turns.Peer(python, peers.MODULES[peer]) as process:
        answer = process.ask({**described(model), **files})
        assert process.ask("step") > 0
    assert answer["parameters"] == sum(weight.size for weight in before.values())
    metrics = model.train_step(observed)
    theirs = dict(np.load(found))
    # The reference alone takes 1.4 % off every pixel in each of 4 Langevin steps.
    assert np.abs(revised - (1 - 0.05**2 / (2 * 0.3**2)) ** 4 * generated).max() > 0.1
    np.testing.assert_allclose(theirs["revised"], revised, atol=1e-5)
    losses = [float(metrics[f"{name}_loss"]) for name in ("descriptor", "generator")]
    np.testing.assert_allclose(theirs["losses"], losses, rtol=1e-4)
    # Before batch norm, and under a difference of means: all gradient is rounding.
    idle = ("generator.1", "generator.4", "descriptor.7")
    for name, value in weights(model).items():
        if name not in idle:
            # The first step of Adam is as long as its rate, 0.001 or 0.003.
            assert np.abs(value - before[name]).max() > 9e-4
            np.testing.assert_allclose(theirs[name], value, atol=1e-5, err_msg=name)


class Fake:
    def __init__(self, times, order):
        self.times, self.order = iter(times), order

    def ask(self, content):
        self.order.append(self)
        return next(self.times)


def test_peers_take_turns():
    order = []
    one, other = Fake([9, 9, 1, 5, 3], order), Fake([9, 9, 20, 10, 30], order)
    found = peers.seconds_in_turns([one, other], 3, pause=0)
    assert found == [3, 20]  # medians, the first two left out
    assert order == [one, other] * 5


def test_who_runs_peers(monkeypatch):
    monkeypatch.setenv("JAX_PYTHON", "there/python")
    monkeypatch.delenv("TORCH_PYTHON", raising=False)
    found = peers.interpreters({"torch": "here/python"})
    assert found == {"torch": "here/python", "jax": "there/python"}
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("JAX_PYTHON")
    assert peers.interpreters({}) == {}


def test_a_peer_that_ends_is_reported():
    with turns.Peer(sys.executable, "benchmarks.peers.nobody") as peer:
        with pytest.raises(RuntimeError, match="peers.nobody has ended"):
            peer.ask({})
