import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import frozen
from coopnets_tf.models import optimizers
from tests import oracle
from tests.helpers import layers, make_descriptor_model, make_generator_model

RNG = np.random.default_rng(3)


def test_a_cap_scales_each_tensor_as_a_whole():
    gradients = [RNG.standard_normal((3, 4)), np.array([0.5, -0.2]), np.zeros(2)]
    capped = optimizers.cap_gradients(
        [tf.constant(gradient, tf.float32) for gradient in gradients], 0.7
    )
    largest = np.abs(gradients[0]).max()
    assert largest > 0.7
    np.testing.assert_allclose(capped[0], gradients[0] * 0.7 / largest, rtol=1e-6)
    np.testing.assert_allclose(capped[1], gradients[1], rtol=1e-7)
    np.testing.assert_array_equal(capped[2], gradients[2])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_cap_does_not_hide_what_is_not_finite(bad):
    (capped,) = optimizers.cap_gradients([tf.constant([1.0, bad])], 0.1)
    assert not np.isfinite(capped).all()


def adam_step(gradients, **options):
    """What one step adds to weights of zeros."""
    weights = [keras.Variable(np.zeros_like(one)) for one in gradients]
    optimizer = optimizers.CappedAdam(0.1, beta_1=0.5, epsilon=1.0, **options)
    optimizer.apply([tf.constant(gradient) for gradient in gradients], weights)
    return [weight.numpy() for weight in weights]


@pytest.mark.parametrize("rule", ["gradient_cap", "global_clipnorm"])
def test_adam_moves_by_the_limited_gradients(rule):
    """A large epsilon makes Adam's step depend on the gradient's size."""
    gradients = [RNG.standard_normal((3, 4)).astype(np.float32) for _ in range(2)]
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
    for gradient, moved in zip(
        gradients, adam_step(gradients, **{rule: 0.3}), strict=True
    ):
        whole = {"gradient_cap": np.abs(gradient).max(), "global_clipnorm": norm}[rule]
        expected = oracle.Adam(0.1, epsilon=1.0).change(gradient * 0.3 / whole)
        np.testing.assert_allclose(moved, expected, rtol=1e-5)


def rates(name, steps, **options):
    schedule = optimizers.rate_schedule(name, 0.5, final_factor=0.01, **options)
    schedule = tf.function(schedule)  # as in training; step by step it is slow
    return [float(schedule(tf.constant(step, tf.int64))) for step in steps]


def test_schedules_against_their_closed_forms():
    steps = np.array([0, 1, 37, 99, 100])
    np.testing.assert_allclose(
        rates("exponential", steps, num_steps=100), 0.5 * 0.01 ** (steps / 100), 1e-5
    )
    cosine = 0.5 * (0.01 + 0.99 * (1 + np.cos(np.pi * steps / 100)) / 2)
    np.testing.assert_allclose(rates("cosine", steps, num_steps=100), cosine, 1e-5)
    assert optimizers.rate_schedule("constant", 0.5, num_steps=9, final_factor=1) == 0.5
    with pytest.raises(ValueError, match="name='step'"):
        optimizers.rate_schedule("step", 0.5, num_steps=9, final_factor=1)


@pytest.mark.parametrize("num_steps", [4960, 100, 30])
def test_plateaus_are_those_of_the_matlab_code(num_steps):
    """logspace(0, -2, 80), each for num_steps / 80 steps: 62 for the textures."""
    steps = np.unique(np.linspace(0, num_steps - 1, 97).astype(int))
    expected = 0.5 * np.logspace(0, -2, 80)[steps * 80 // num_steps]
    np.testing.assert_allclose(
        rates("plateaus", steps, num_steps=num_steps), expected, 1e-5
    )
    assert rates("plateaus", [9999], num_steps=num_steps) == [pytest.approx(0.005)]


def test_rollbacks_multiply_any_rate():
    rollbacks = keras.Variable(0, dtype="int64")
    cosine = optimizers.rate_schedule("cosine", 0.5, num_steps=9, final_factor=0.1)
    for rate in (0.5, cosine):
        schedule = optimizers.RateAfterRollbacks(rate, rollbacks, 0.3)
        rollbacks.assign(0)
        before = float(schedule(5))
        rollbacks.assign(2)
        assert float(schedule(5)) == pytest.approx(0.09 * before)


def test_the_average_of_the_weights_and_back(observed):
    """After weights w1, w2, w3: w1, then m * average + (1 - m) * w."""
    model = make_generator_model(inference_steps=0)
    average_of = {"use_ema": True, "ema_momentum": 0.8}
    model.compile(generator_optimizer=optimizers.CappedAdam(0.01, **average_of))
    kernel, average = layers(model.generator, "deconv")[0].kernel, None
    for _ in range(3):
        model.train_step({"images": observed, "numbers": np.arange(8)})
        now = kernel.numpy().astype(float)
        average = now if average is None else 0.8 * average + 0.2 * now
    with frozen(model.generator, seed=[0, 0], num_latents=1, batch_size=1):
        np.testing.assert_allclose(kernel, average, rtol=1e-5, atol=1e-9)
        assert np.abs(average - now).max() > 1e-4
    np.testing.assert_array_equal(kernel, now.astype(np.float32))


def test_images_are_revised_by_the_average_of_the_descriptors_weights(observed):
    model = make_descriptor_model(chain_init="uniform")
    average_of = {"use_ema": True, "ema_momentum": 0.8}
    model.compile(optimizers.CappedAdam(0.01, **average_of))
    weights, average = model.descriptor.trainable_variables, None
    for _ in range(3):
        model.train_step(observed)
        now = [one.numpy().astype(float) for one in weights]
        pairs = zip(average or now, now, strict=True)
        average = [0.8 * before + 0.2 * one for before, one in pairs]
    revised = model.revise(observed, seed=1)
    for weight, value in zip(weights, now, strict=True):
        np.testing.assert_array_equal(weight, value.astype(np.float32))
    with model.frozen():
        for weight, value in zip(weights, average, strict=True):
            np.testing.assert_allclose(weight, value, rtol=1e-5, atol=1e-8)
        np.testing.assert_array_equal(model.revise(observed, seed=1), revised)
    for weight, value in zip(weights, average, strict=True):
        weight.assign(value)
    model.descriptor.optimizer.use_ema = False
    np.testing.assert_allclose(model.revise(observed, seed=1), revised, atol=1e-5)
