"""Four devices, or two, learn, draw and report what one does."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from commands import devices
from coopnets_tf import AlgorithmG, Generator, Langevin, replicas, seeds, variables
from coopnets_tf.errors import ArgumentError, NetworkError
from coopnets_tf.models.optimizers import CappedAdam
from coopnets_tf.runs import saving, stepping
from tests import helpers
from tests.helpers import make_descriptor_model, make_generator_model, make_model

NUMBER = int(os.environ.get("NUM_REPLICAS", 4))  # parts of the CPU, see helpers
# A bias in front of batch norm, and a constant in all scores, have a gradient of zero
# but for rounding, of which Adam makes steps of the usual size.
WITHOUT_GRADIENT = ("deconv_0_bias", "dense_bias", "outputs_sum_bias")


def together():
    """The strategy of all parts; TensorFlow bears one in a process."""
    return devices.strategy(str(NUMBER))


def batch(number=8):
    rng = np.random.default_rng(3)
    images = rng.uniform(-1, 1, (number, 8, 8, 1)).astype(np.float32)
    visible = (rng.uniform(size=images.shape) < 0.7).astype(np.float32)
    numbers = {
        "numbers": rng.permutation(number),
        "labels": rng.integers(3, size=number),
    }
    return {"images": images, "visible": visible, **numbers}


def of_coopnets(**options):
    def make():
        return helpers.sharpen(make_model(num_chains=8, **options))

    return make


def of_keras_norm():
    """A generator with Keras' batch norm, trained by a capped and clipped Adam whose
    weights are averaged.
    """
    model = make_model(num_chains=8)
    keras.utils.set_random_seed(11)
    network = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(64),
            keras.layers.BatchNormalization(),
            keras.layers.Reshape((8, 8, 1)),
            keras.layers.Activation("tanh"),
        ]
    )
    model.generator = Generator(
        network, inference=Langevin(0, 0.1), residual_stddev=0.4
    )
    optimizer = CappedAdam(
        0.001,
        beta_1=0.5,
        epsilon=1e-8,
        global_clipnorm=0.01,
        gradient_cap=0.003,
        use_ema=True,
        ema_momentum=0.5,
    )
    model.compile(helpers.adam(0.003), optimizer)
    return model


MODELS = {
    "coopnets": of_coopnets(),
    "coopnets without noise": of_coopnets(revision_noise_until=0),
    "coopnets with G1": of_coopnets(inference_steps=2),
    "coopnets in loops": of_coopnets(unroll=False),
    "coopnets with a penalty": of_coopnets(penalty=0.1),
    "coopnets with images changed": of_coopnets(augment=("flip", "shift")),
    "coopnets with spectral norm": of_coopnets(spectral_norm=True),
    "own networks": of_keras_norm,
    "D from noise": lambda: make_descriptor_model(num_chains=8, chain_init="noise"),
    "D from images": lambda: make_descriptor_model(num_chains=12, chain_init="data"),
    "D that persists": lambda: make_descriptor_model(
        num_chains=8, refresh_probability=0.4
    ),
    "G": lambda: make_generator_model(num_images=8),
    "dual teaching": lambda: helpers.make_dual_model(num_images=8, num_chains=8),
    "classes": of_coopnets(class_shares=(0.5, 0.25, 0.25)),
    "dual teaching of classes": lambda: helpers.make_dual_model(
        num_images=8, num_chains=8, class_shares=(0.5, 0.25, 0.25)
    ),
}


def made(make, *, shared):
    if not shared:
        return make()
    with together().scope():
        return make()


def trained(make, *, shared, steps=3):
    """A model after some steps, and the metrics' means over them."""
    model = made(make, shared=shared)
    step, data = stepping.build_step(model), batch()
    if model.descriptor:
        data.pop("visible")
    for _ in range(steps):
        metrics = step(data)
    return model, {name: float(value) for name, value in metrics.items()}


def values(model):
    """Weights, statistics, averages, chains and latents, by their names."""
    found = dict(model.kept)
    for name, net in model.nets.items():
        found |= variables.named_variables(net) | variables.named_slots(name, net)
    return {
        name: variable.numpy()
        for name, variable in found.items()
        if not any(one in name for one in WITHOUT_GRADIENT)
    }


@pytest.mark.parametrize("name", MODELS)
def test_what_devices_learn(name):
    one, expected = trained(MODELS[name], shared=False)
    four, metrics = trained(MODELS[name], shared=True)
    for metric, value in expected.items():
        # Sums of float32 in another order, of up to 1e3 numbers of one size.
        assert metrics[metric] == pytest.approx(value, rel=1e-5, abs=1e-6), metric
    learned, shared = values(one), values(four)
    assert set(learned) == set(shared)
    for name, value in learned.items():
        # A step of Adam is at most its rate, 0.003, whatever the gradient.
        np.testing.assert_allclose(
            shared[name], value, rtol=1e-4, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize(
    "name",
    [
        "coopnets with G1",
        "coopnets with spectral norm",
        "D that persists",
        "G",
        "dual teaching",
    ],
)
def test_all_devices_hold_the_same(name):
    model, _ = trained(MODELS[name], shared=True)
    for variable in [*(one.value for one in model.variables), *model.kept.values()]:
        first, *others = together().experimental_local_results(variable)
        assert len(others) == NUMBER - 1
        for other in others:
            np.testing.assert_array_equal(other.numpy(), first.numpy())


@pytest.mark.parametrize("shape", [(2, 3), (1, 5), (3, 8, 8, 1)])
def test_devices_draw_the_parts_of_one_draw(shape):
    def draws(seed):
        return (
            seeds.standard_normal(shape, seed=seed),
            seeds.uniform(shape, seed=seed, low=-1, high=2),
        )

    seed = tf.constant([5, 6])
    run = tf.function(lambda seed: together().run(draws, [seed]))
    whole = [NUMBER * shape[0], *shape[1:]]
    expected = (
        tf.random.stateless_normal(whole, seed, alg="philox"),
        tf.random.stateless_uniform(whole, seed, -1, 2, alg="philox"),
    )
    for parts, all_of_them in zip(run(seed), expected, strict=True):
        parts = tf.concat(together().experimental_local_results(parts), 0)
        np.testing.assert_array_equal(parts, all_of_them)


def test_parts_are_gathered_as_they_were():
    rows = tf.reshape(tf.range(24), [8, 3])
    run = tf.function(lambda: together().run(lambda: replicas.own(rows)))
    parts = together().experimental_local_results(run())
    assert [part.shape[0] for part in parts] == [2] * NUMBER
    whole = tf.function(
        lambda: together().run(lambda: replicas.gathered(replicas.own(rows)))
    )
    for gathered in together().experimental_local_results(whole()):
        np.testing.assert_array_equal(gathered, rows)


def test_alone_nothing_is_shared():
    rows = tf.range(8)
    for function in (replicas.own, replicas.gathered, replicas.mean, replicas.total):
        assert function(rows) is rows
    assert (replicas.number(), replicas.index(), replicas.share(8)) == (1, 0, 8)


@pytest.mark.parametrize("first, second", [(True, False), (False, True)])
def test_a_run_goes_on_with_another_number_of_devices(tmp_path, first, second):
    options = {"num_iterations": 4, "log_every": 2, "checkpoint_every": 2}
    make = MODELS["D that persists"]
    helpers.train(made(make, shared=False), tmp_path / "one", **options)
    for shared, steps in ((first, 3), (second, 4)):
        model = made(make, shared=shared)
        changed = {**options, "num_iterations": steps}
        helpers.train(model, tmp_path / "both", **changed)
    whole, parted = (helpers.checkpoint(tmp_path / name) for name in ("one", "both"))
    for name, value in whole.items():
        if "save_counter" not in name:
            np.testing.assert_allclose(
                parted[name], value, rtol=1e-4, atol=1e-5, err_msg=name
            )


@pytest.mark.parametrize("name", ["coopnets", "D that persists"])
def test_devices_draw_the_same_samples(name):
    samples = []
    for shared in (False, True):
        model = made(MODELS[name], shared=shared)
        batches = model.sample_batches(11, seed=3, batch_size=2)
        samples.append(np.concatenate([*batches]))
    np.testing.assert_array_equal(*samples)


def test_samples_need_not_be_shared_as_a_training_is(tmp_path):
    helpers.train(make_model(num_chains=3), tmp_path, num_iterations=1)
    samples = []
    for strategy in (tf.distribute.get_strategy(), together()):
        with strategy.scope():
            samples.append(saving.load(tmp_path).sample(9, seed=1))
    np.testing.assert_array_equal(*samples)


@pytest.mark.slow
def test_two_devices_do_the_same():
    """In a process of their own: TensorFlow bears one strategy in each."""
    chosen = "learn or hold or draw or goes_on"
    command = [sys.executable, "-m", "pytest", "-q", "-k", chosen, __file__]
    options = {"env": {**os.environ, "NUM_REPLICAS": "2"}, "cwd": helpers.ROOT}
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, **options
    )
    assert ended.returncode == 0, ended.stdout


def test_what_cannot_be_shared_is_refused():
    with together().scope():
        with pytest.raises(ArgumentError, match="`jit_compile` is for one device"):
            made = make_model(num_chains=4)
            made.compile(helpers.adam(0.1), helpers.adam(0.1), jit_compile=True)
        with pytest.raises(ArgumentError, match="`num_chains`.* 10. Give 8 or 12"):
            make_model(num_chains=10)
        with pytest.raises(ArgumentError, match="`num_chains`.* 3. Give 4"):
            make_descriptor_model(num_chains=3)
        with pytest.raises(ArgumentError, match="`langevin_loop`=unrolled"):
            make_model(num_chains=8, inference_steps=1, unroll=False)
        model = make_model(num_chains=8)
        clipping = keras.optimizers.Adam(0.001, clipnorm=1.0)
        model.compile(clipping, helpers.adam(0.001))
    with pytest.raises(ArgumentError, match="`batch_size`.* 9. Give 8 or 12"):
        stepping.build_step(model)(batch(9)["images"])
    with pytest.raises(ArgumentError, match="clipnorm=1.0"):
        stepping.build_step(model)(batch(8)["images"])
    with pytest.raises(ArgumentError, match="`steps_per_call`=2 is for one device"):
        stepping.announced(model, 2)


def test_a_batch_norm_of_ones_own_is_refused():
    class OwnNorm(keras.layers.Layer):
        def build(self, shape):
            self.moving_mean = self.add_weight(shape=shape[-1:], trainable=False)
            self.moving_variance = self.add_weight(shape=shape[-1:], trainable=False)

        def call(self, maps):
            return maps - self.moving_mean

    network = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(4),
            OwnNorm(name="mine"),
            keras.layers.Reshape((2, 2, 1)),
        ]
    )
    with together().scope(), pytest.raises(NetworkError, match="mine"):
        generator = Generator(network, inference=Langevin(1, 0.1), residual_stddev=0.4)
        model = AlgorithmG(generator, num_images=4)
        model.compile(generator_optimizer=helpers.adam(0.001))


def test_main_trains_on_several_devices(tmp_path):
    lines = {}
    for number in (1, NUMBER):
        called = [*helpers.TOY, f"--devices={number}", f"--workdir={number}"]
        called += ["--evaluate_every=1", "--num_held_out=80"]
        helpers.called(*called, cwd=tmp_path)
        lines[number] = helpers.metrics(tmp_path / str(number))
    for one, four in zip(*lines.values(), strict=True):
        assert set(one) == set(four)
        for name, value in one.items():
            assert four[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    saved = json.loads((tmp_path / "4" / "model.json").read_text())
    assert saved["model"]["config"]["num_chains"] == 4
