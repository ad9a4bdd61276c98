import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import Descriptor, Langevin
from coopnets_tf.networks import built_in
from tests.helpers import layers, top

DYNAMICS = Langevin(3, 0.01)


def build(*, num_outputs=100, **changes):
    network = built_in.descriptor("digits", (8, 8, 1), num_outputs=num_outputs)
    options = {"revision": DYNAMICS, "reference_stddev": 0.016, **changes}
    return Descriptor(network, **options)


def test_scores_are_the_sum_of_linear_outputs():
    net = build(num_outputs=5)
    images = np.random.default_rng(0).uniform(-1, 1, (3, 8, 8, 1)).astype(np.float32)
    maps = images
    for conv in layers(net, "conv"):
        maps = conv(maps)
    head = top(net)
    head.bias.assign([1.0, 2.0, 3.0, 4.0, 5.0])
    outputs = np.einsum("bhwc,hwco->bo", maps, head.kernel) + np.asarray(head.bias)
    np.testing.assert_allclose(net(images), outputs.sum(axis=1), rtol=1e-5)


def test_chains_start_from_the_reference_or_from_uniform_pixels():
    net = build(reference_stddev=0.5)
    seed = tf.constant([1, 2])
    noise = net.initial(500, chain_init="noise", seed=seed).numpy()
    uniform = net.initial(500, chain_init="uniform", seed=seed).numpy()
    number = noise.size  # five standard errors of a s.d. of Gaussian and uniform draws
    assert abs(noise.std() / 0.5 - 1) < 5 / np.sqrt(2 * number)
    assert abs(uniform.std() * np.sqrt(3) - 1) < 5 * np.sqrt(0.2 / number)
    assert uniform.min() >= -1 and uniform.max() < 1
    with pytest.raises(ValueError, match="Received: data"):
        net.initial(1, chain_init="data", seed=seed)
    with pytest.raises(ValueError, match="finite.*reference_stddev=inf"):
        build(reference_stddev=None).initial(1, chain_init="noise", seed=seed)


@pytest.mark.parametrize("changes", [{}, {"reference_stddev": None}])
def test_config_round_trip(changes):
    net = build(num_outputs=3, penalty=0.1, **changes)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(net)
    )
    assert isinstance(again, Descriptor)
    assert again.get_config() == net.get_config()
    assert again.revision == DYNAMICS
    assert top(again).num_outputs == 3


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"reference_stddev": 0.0}, "reference_stddev=0.0"),
        ({"penalty": -1.0}, "penalty.*-1.0"),
    ],
)
def test_impossible_arguments_are_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        build(**changes)
