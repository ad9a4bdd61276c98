"""Convolutions in bfloat16; all else stays float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import Descriptor, Generator, Langevin
from coopnets_tf.errors import NetworkError
from coopnets_tf.networks import built_in, layers
from coopnets_tf.variables import named_slots
from tests import helpers

SHAPE = (8, 8, 1)
# bfloat16 keeps 8 bits, so that a number is off by 2**-9 of itself at most. In the sums
# below such errors add up at random; a few of them is what a layer makes of them.
ROUNDING = 2.0**-9


def nets(convolutions):
    """A pair whose weights do not depend on the precision, and are not small."""
    keras.utils.set_random_seed(7)
    descriptor = Descriptor(
        built_in.descriptor("oracle", SHAPE, num_outputs=7, convolutions=convolutions),
        revision=Langevin(3, 0.05),
        reference_stddev=0.3,
    )
    generator = Generator(
        built_in.generator("oracle", SHAPE, (6,), convolutions=convolutions),
        inference=Langevin(2, 0.1),
        residual_stddev=0.4,
    )
    for net in (descriptor, generator):
        for weight in net.trainable_variables:
            if weight.path.endswith("kernel"):
                weight.assign(10 * weight)
    return descriptor, generator


def images(number=8):
    return tf.constant(helpers.noise(number, *SHAPE, seed=2), tf.float32) / 3


def test_only_convolutions_have_bfloat16():
    for net in nets("mixed_bfloat16"):
        for layer in net.network.layers:
            is_conv = isinstance(layer, keras.layers.Conv2D | layers.ConvTranspose)
            kind = "bfloat16" if is_conv else "float32"
            assert layer.compute_dtype == kind, layer.name
        assert {variable.dtype for variable in net.variables} == {"float32"}


def test_scores_images_and_gradients_are_float32_and_near():
    (exact, draws), (rough, drafts) = nets("float32"), nets("mixed_bfloat16")
    observed, latents = images(), tf.constant(helpers.noise(8, 6), tf.float32)
    for one, other in (
        (exact(observed), rough(observed)),
        (exact.energy(observed), rough.energy(observed)),
        (draws(latents), drafts(latents)),
        (draws(latents, training=True), drafts(latents, training=True)),
    ):
        assert other.dtype == tf.float32
        scale = float(tf.reduce_max(tf.abs(one)))
        error = float(tf.reduce_max(tf.abs(one - other)))
        assert 0 < error < 5 * ROUNDING * scale
    found = []
    for net in (exact, rough):
        with tf.GradientTape() as tape:
            tape.watch(observed)
            energy = net.energy(observed)
        found.append(tape.gradient(energy, observed))
    assert found[1].dtype == tf.float32
    size = float(tf.norm(found[0]))
    assert 0 < float(tf.norm(found[0] - found[1])) < 5 * ROUNDING * size


def test_statistics_are_of_float32():
    _, generator = nets("mixed_bfloat16")
    latents = tf.constant(helpers.noise(64, 6), tf.float32)
    generator.statistics.measure([latents])
    (deconv, *_), (norm, *_) = (
        helpers.layers(generator, kind) for kind in ("deconv", "norm")
    )
    maps = tf.cast(deconv(tf.reshape(latents, [64, 1, 1, 6])), tf.float64)
    mean, variance = tf.nn.moments(maps, axes=[0, 1, 2])
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-5)


def test_weights_in_bfloat16_are_refused():
    inputs = keras.Input((4,))
    network = keras.Model(inputs, keras.layers.Dense(1, dtype="bfloat16")(inputs))
    with pytest.raises(NetworkError, match="must compute in float32.*bfloat16"):
        helpers.descriptor_of(network)


def test_chains_draw_the_same_noise():
    """Without a gradient the chains move by their noise alone."""
    moved = []
    for convolutions in ("float32", "mixed_bfloat16"):
        descriptor, _ = nets(convolutions)
        for weight in descriptor.trainable_variables:
            weight.assign(tf.zeros_like(weight))
        revised, _ = descriptor.revise(images(), seed=tf.constant([1, 2]))
        assert revised.dtype == tf.float32
        moved.append(revised)
    np.testing.assert_array_equal(*moved)


@pytest.mark.parametrize("inference_steps", [0, 2])
def test_a_step_learns_nearly_the_same(inference_steps):
    learned = []
    for convolutions in ("float32", "mixed_bfloat16"):
        model = helpers.make_model(inference_steps=inference_steps)
        model.descriptor, model.generator = nets(convolutions)
        model.generator.inference = Langevin(inference_steps, 0.1)
        model.compile(helpers.adam(0.003), helpers.adam(0.001))
        metrics = model.train_step({"images": images()})
        slots = [named_slots(name, net) for name, net in model.nets.items()]
        kinds = {one.dtype for part in slots for one in part.values()}
        assert kinds <= {tf.float32, tf.int64, tf.int32}
        learned.append({name: float(value) for name, value in metrics.items()})
    for name, value in learned[0].items():
        assert learned[1][name] == pytest.approx(value, rel=0.05, abs=0.02), name


NETWORK = """
import keras
from keras import layers

def descriptor(image_shape):
    return keras.Sequential([
        keras.Input(image_shape),
        layers.Conv2D(8, 3, activation="silu"),
        layers.Flatten(),
        layers.Dense(1, dtype="float32"),
    ])

def generator(image_shape, latent_shape):
    return keras.Sequential([
        keras.Input(latent_shape),
        layers.Dense(64),
        layers.BatchNormalization(),
        layers.Reshape((8, 8, 1)),
        layers.Activation("tanh"),
    ])
"""


@pytest.mark.parametrize("own", [False, True])
def test_a_run_in_bfloat16_goes_on_draws_and_is_exported(tmp_path, own):
    options = [*helpers.TOY, "--precision=bfloat16", "--log_every=1"]
    if own:
        (tmp_path / "net.py").write_text(NETWORK)
        options += ["--network=net.py", "--trust_network"]
    helpers.called(*options, "--workdir=whole", cwd=tmp_path)
    helpers.called(*options, "--workdir=two", "--num_iterations=1", cwd=tmp_path)
    more = ["--resume", "--workdir=two", "--num_iterations=2"]
    helpers.called(*more, cwd=tmp_path)
    runs = [tmp_path / name for name in ("whole", "two")]
    whole, two = (helpers.metrics(one) for one in runs)
    assert whole == two
    whole, two = (helpers.checkpoint(one) for one in runs)
    for name, value in whole.items():
        np.testing.assert_array_equal(two[name], value, err_msg=name)
    for mode in ("sample", "reconstruct", "export"):
        helpers.called(f"--mode={mode}", "--workdir=whole", cwd=tmp_path)
    errors = helpers.refused(*more, "--precision=float32", cwd=tmp_path)
    assert "--precision=float32 would change the run" in errors
