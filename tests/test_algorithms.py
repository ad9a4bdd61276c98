"""Whole steps of all algorithms against float64 NumPy, and their rules."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import CoopNets, Descriptor, Generator, Langevin, energies, seeds
from coopnets_tf.data import drawing
from coopnets_tf.data.images import to_uint8
from coopnets_tf.errors import DatasetError
from coopnets_tf.networks import built_in
from coopnets_tf.networks.batch_norm import Statistics
from coopnets_tf.runs.stepping import build_step
from coopnets_tf.seeds import Purpose, draw_seed
from tests import helpers, oracle
from tests.helpers import (
    layers,
    top,
)

# float32 has 1.2e-7; sums of some thousand terms and a chain of ten layers lose two to
# three digits of that.
CLOSE = {"rtol": 2e-4, "atol": 2e-5}
# Batch norm takes these biases away again: their gradient is zero but for rounding,
# of which Adam makes whole steps. They have no effect on images or losses.
BEFORE_NORM = (["deconv_0", "bias"], ["deconv_1", "bias"])


TABLE = built_in.TABLES["oracle"]
make_model, make_descriptor_model, make_generator_model, make_dual_model = (
    functools.partial(make, network="oracle")
    for make in (
        helpers.make_model,
        helpers.make_descriptor_model,
        helpers.make_generator_model,
        helpers.make_dual_model,
    )
)


def double(variable):
    return np.asarray(variable, np.float64)


def numbered(observed):
    return {"images": observed, "numbers": np.arange(len(observed))}


def oracle_descriptor(descriptor):
    return oracle.Descriptor(
        [
            (double(layer.kernel), double(layer.bias), row.strides)
            for layer, row in zip(
                layers(descriptor, "conv"), TABLE.descriptor, strict=True
            )
        ],
        double(top(descriptor).kernel),
        double(top(descriptor).bias),
    )


def oracle_generator(generator):
    sizes = [(4, 4), (4, 4), (8, 8)]
    betas = [double(norm.beta) for norm in layers(generator, "norm")] + [None]
    return oracle.Generator(
        [
            (
                double(layer.kernel),
                double(layer.bias),
                row.strides,
                size,
                row.size is not None,
                beta,
            )
            for layer, row, size, beta in zip(
                layers(generator, "deconv"), TABLE.generator, sizes, betas, strict=True
            )
        ]
    )


def sharpen(model):
    """Larger weights: with the published initial ones every gradient is tiny."""
    rng = np.random.default_rng(3)
    for weight in model.trainable_variables:
        scale = 0.3 if weight.name in ("bias", "beta") else 0.12
        weight.assign(scale * rng.standard_normal(weight.shape))
    return model


def draft(model, step):
    seed = draw_seed(model.run_seed, step=step, purpose=Purpose.LATENTS)
    shape = [model.num_chains, *model.generator.latent_shape]
    return double(seeds.standard_normal(shape, seed=seed))


def langevin_noise(model, step, index, purpose, shape):
    seed = draw_seed(model.run_seed, step=step, purpose=purpose)
    return double(seeds.standard_normal(shape, seed=seeds.fold_in(seed, index)))


def oracle_revision(model, net, images, step):
    """D1 from its formula; returns the state after every Langevin step."""
    revision, s = model.descriptor.revision, model.descriptor.reference_stddev
    delta, weight = revision.step_size, revision.gradient_weight
    weight = delta**2 / 2 if weight is None else weight
    states, ones = [images], np.ones(len(images))
    for index in range(model.descriptor.revision.num_steps):
        image = states[-1]
        slope, _ = net.gradients(image, ones)
        noise = langevin_noise(model, step, index, Purpose.REVISION, image.shape)
        gradient = image / s**2 - slope
        if (limit := model.descriptor.revision.max_gradient) is not None:
            assert 0.1 < np.mean(np.abs(gradient) > limit) < 0.9
            gradient = np.clip(gradient, -limit, limit)
        states.append(image - weight * gradient + delta * noise)
    return states


def oracle_inference(model, net, latents, images, step, visible=1.0, noise_scale=1.0):
    """G1 from its formula."""
    delta, sigma = model.generator.inference.step_size, model.generator.residual_stddev
    for index in range(model.generator.inference.num_steps):
        residual = visible * (images - net.images(latents)) / sigma**2
        slope, _ = net.gradients(latents, residual)
        noise = langevin_noise(model, step, index, Purpose.INFERENCE, latents.shape)
        noise = noise_scale * delta * noise
        latents = latents + delta**2 / 2 * (slope - latents) + noise
    return latents


class Moving:
    """The weights of a net in float64, moved by Adam.

    Of a gradient that is lost in rounding, such as that of the bias of a filter which
    never changes its sign, Adam makes a whole step of an arbitrary sign. These entries
    are remembered; no other one may be off by 3 % of one step.
    """

    def __init__(self, net, rate):
        self.net, self.rate = net, rate
        self.weights = [double(weight) for weight in net.trainable_variables]
        self.adams = [oracle.Adam(rate) for _ in self.weights]
        self.lost = [np.zeros(weight.shape, bool) for weight in self.weights]

    def move(self, gradients):
        for weight, adam, lost, gradient in zip(
            self.weights, self.adams, self.lost, gradients, strict=True
        ):
            weight += adam.change(gradient)
            lost |= np.abs(gradient) <= 1e-3 * np.abs(gradient).max()

    def assert_equal(self):
        for weight, value, lost in zip(
            self.net.trainable_variables, self.weights, self.lost, strict=True
        ):
            if weight.path.split("/")[-2:] not in BEFORE_NORM:
                off = np.abs(double(weight) - value) > 0.03 * self.rate
                assert not np.any(off & ~lost), weight.path
        entries = np.concatenate([lost.ravel() for lost in self.lost])
        assert entries.mean() < 0.15


STABILISED = {"max_gradient": 4.0, "penalty": 0.3}


@pytest.mark.parametrize(
    ("inference_steps", "unroll", "stabilisers"),
    [
        (0, True, {}),
        (2, True, {}),
        (0, False, {}),
        (2, False, {}),
        (0, True, STABILISED),
        (2, False, STABILISED),
    ],
)
def test_three_steps_equal_numpy(observed, inference_steps, unroll, stabilisers):
    model = sharpen(
        make_model(inference_steps=inference_steps, unroll=unroll, **stabilisers)
    )
    penalty = stabilisers.get("penalty", 0.0)
    moving_d = Moving(model.descriptor, 0.003)
    moving_g = Moving(model.generator, 0.001)
    step_fn = build_step(model)
    sigma, chains = model.generator.residual_stddev, model.num_chains

    for step in range(3):
        net_d, net_g = (
            oracle_descriptor(model.descriptor),
            oracle_generator(model.generator),
        )
        latents = draft(model, step)  # G0
        generated = net_g.images(latents)
        revised = oracle_revision(model, net_d, generated, step)[-1]  # D1
        latents = oracle_inference(model, net_g, latents, revised, step)  # G1
        batch = double(observed)
        high, low = net_d.scores(batch), net_d.scores(revised)  # D2
        loss_d = low.mean() - high.mean()
        _, up = net_d.gradients(revised, (1 + 2 * penalty * low) / chains)
        _, down = net_d.gradients(batch, (2 * penalty * high - 1) / len(batch))
        explained = net_g.images(latents)  # G2
        loss_g = ((revised - explained) ** 2).sum() / (2 * sigma**2) / chains
        _, gradients = net_g.gradients(
            latents, (explained - revised) / sigma**2 / chains
        )
        moving_d.move([one + other for one, other in zip(up, down, strict=True)])
        moving_g.move(gradients)

        model.reset_metrics()
        metrics = step_fn(observed)
        np.testing.assert_allclose(metrics["descriptor_loss"], loss_d, **CLOSE)
        np.testing.assert_allclose(metrics["generator_loss"], loss_g, **CLOSE)
        moving_d.assert_equal()
        moving_g.assert_equal()
    assert int(model.step) == 3


def oracle_start(model, observed, bank, step):
    """Where the chains of Algorithm D start, and the places of the persistent ones."""
    chains, shape = model.num_chains, observed.shape[1:]
    seed = draw_seed(model.run_seed, step=step, purpose=Purpose.CHAINS)
    if model.chain_init == "data":
        return np.stack([observed[number % len(observed)] for number in range(chains)])
    if model.chain_init == "uniform":
        own = seeds.fold_in(seed, 0)
        return double(seeds.uniform([chains, *shape], seed=own, low=-1, high=1))
    noise = seeds.standard_normal([chains, *shape], seed=seeds.fold_in(seed, 0))
    fresh = model.descriptor.reference_stddev * double(noise)
    if model.chain_init == "noise":
        return fresh
    places = tf.random.experimental.stateless_shuffle(
        tf.range(len(bank)), seeds.fold_in(seed, 1)
    ).numpy()[:chains]
    draws = seeds.uniform(
        [chains, 1, 1, 1], seed=seeds.fold_in(seed, 2), low=0, high=1
    ).numpy()
    kept = [
        fresh[number] if draws[number] < model.refresh_probability else bank[place]
        for number, place in enumerate(places)
    ]
    return np.stack(kept), places


SHORT_RUN = {
    "chain_init": "uniform",
    "reference_stddev": None,
    "gradient_weight": 0.5,
    "num_steps": 6,
}


@pytest.mark.parametrize(
    "options",
    [
        {"chain_init": "noise"},
        {"chain_init": "uniform"},
        {"chain_init": "data", "num_chains": 11},
        {"chain_init": "persistent", "num_persistent_chains": 7},
        {"chain_init": "persistent", "refresh_probability": 0.5, "unroll": False},
        {"chain_init": "noise", **STABILISED},
        SHORT_RUN,
    ],
    ids=str,
)
def test_three_steps_of_algorithm_d_equal_numpy(observed, options):
    model = sharpen(make_descriptor_model(**options))
    penalty, chains = model.descriptor.penalty, model.num_chains
    moving = Moving(model.descriptor, 0.003)
    bank = None
    if model.chain_init == "persistent":
        seed = draw_seed(0, step=0, purpose=Purpose.CHAINS)
        bank = seeds.standard_normal([model.num_persistent_chains, 8, 8, 1], seed=seed)
        bank = model.descriptor.reference_stddev * double(bank)
    step_fn, batch = build_step(model), double(observed)
    refreshed = 0
    for step in range(3):
        net = oracle_descriptor(model.descriptor)
        start = oracle_start(model, batch, bank, step)
        if bank is not None:
            start, places = start
            refreshed += np.sum(np.any(start != bank[places], axis=(1, 2, 3)))
            assert len(set(places)) == chains
        revised = oracle_revision(model, net, start, step)[-1]  # D1
        if bank is not None:
            bank[places] = revised
        high, low = net.scores(batch), net.scores(revised)  # D2
        _, up = net.gradients(revised, (1 + 2 * penalty * low) / chains)
        _, down = net.gradients(batch, (2 * penalty * high - 1) / len(batch))
        moving.move([one + other for one, other in zip(up, down, strict=True)])

        model.reset_metrics()
        metrics = step_fn(numbered(observed))
        loss = low.mean() - high.mean()
        np.testing.assert_allclose(metrics["descriptor_loss"], loss, **CLOSE)
        moved = np.sqrt(((revised - start) ** 2).mean(axis=(1, 2, 3))).mean()
        np.testing.assert_allclose(metrics["displacement"], moved, rtol=1e-4)
        moving.assert_equal()
        if bank is not None:
            np.testing.assert_allclose(model.chains, bank, **CLOSE)
    if "refresh_probability" in options:
        assert 0 < refreshed < 15  # some of the fifteen that moved, not all


@pytest.mark.parametrize("unroll", [True, False])
@pytest.mark.parametrize("hidden", [0.0, 0.4])
@pytest.mark.parametrize("noise_scale", [1.0, 0.0])
def test_four_steps_of_algorithm_g_equal_numpy(observed, unroll, hidden, noise_scale):
    """Ten images of which each step sees eight: most latents are warm, some are not."""
    model = sharpen(make_generator_model(unroll=unroll))
    model.inference_noise_until = None if noise_scale else 0
    sigma, rng = model.generator.residual_stddev, np.random.default_rng(2)
    seed = draw_seed(0, step=0, purpose=Purpose.LATENTS)
    table = double(seeds.standard_normal([10, 6], seed=seed))
    np.testing.assert_array_equal(model.latents, table)
    moving = Moving(model.generator, 0.001)
    visible = rng.random(observed.shape) >= hidden
    batch = {"images": np.where(visible, observed, np.nan).astype(np.float32)}
    if hidden:
        batch["visible"] = visible.astype(np.float32)
    images, step_fn = np.where(visible, double(observed), 0.0), build_step(model)
    for step in range(4):
        numbers = rng.permutation(10)[:8]
        net = oracle_generator(model.generator)
        latents = oracle_inference(  # G1
            model, net, table[numbers], images, step, visible, noise_scale
        )
        table[numbers] = latents
        residual = visible * (net.images(latents) - images)  # G2
        _, gradients = net.gradients(latents, residual / sigma**2 / 8)
        moving.move(gradients)

        model.reset_metrics()
        metrics = step_fn({**batch, "numbers": numbers})
        loss = (residual**2).sum() / (2 * sigma**2) / 8
        np.testing.assert_allclose(metrics["generator_loss"], loss, **CLOSE)
        rms = np.sqrt((latents**2).mean())
        np.testing.assert_allclose(metrics["latent_rms"], rms, **CLOSE)
        np.testing.assert_allclose(model.latents, table, **CLOSE)
        moving.assert_equal()


@pytest.mark.parametrize("unroll", [True, False])
def test_three_steps_of_dual_teaching_equal_numpy(observed, unroll):
    """Ten images of which each step sees eight, with other weights of both losses."""
    model = sharpen(make_dual_model(unroll=unroll))
    sigma, weight = model.generator.residual_stddev, model.data_teaching
    seed = draw_seed(0, step=0, purpose=Purpose.IMAGE_LATENTS)
    table = double(seeds.standard_normal([10, 6], seed=seed))
    moving_d = Moving(model.descriptor, 0.003)
    moving_g = Moving(model.generator, 0.001)
    batch, rng, step_fn = double(observed), np.random.default_rng(2), build_step(model)
    for step in range(3):
        numbers = rng.permutation(10)[:8]
        net_d = oracle_descriptor(model.descriptor)
        net_g = oracle_generator(model.generator)
        latents = draft(model, step)  # G0
        generated = net_g.images(latents)
        revised = oracle_revision(model, net_d, generated, step)[-1]  # D1
        _, up = net_d.gradients(revised, np.full(5, 1 / 5))  # D2
        _, down = net_d.gradients(batch, np.full(8, -1 / 8))
        moving_d.move([one + other for one, other in zip(up, down, strict=True)])
        inferred = oracle_inference(  # G1
            model, net_g, table[numbers], batch, step
        )
        table[numbers] = inferred
        taught, again = generated - revised, net_g.images(inferred) - batch  # G2
        _, first = net_g.gradients(latents, taught / sigma**2 / 5)
        _, second = net_g.gradients(inferred, again / sigma**2 / 8)
        moving_g.move(
            [one + weight * other for one, other in zip(first, second, strict=True)]
        )

        model.reset_metrics()
        metrics = step_fn({"images": observed, "numbers": numbers})
        losses = [(one**2).sum() / (2 * sigma**2) / len(one) for one in (taught, again)]
        np.testing.assert_allclose(metrics["generator_loss"], losses[0], **CLOSE)
        np.testing.assert_allclose(metrics["reconstruction_loss"], losses[1], **CLOSE)
        rms = np.sqrt((inferred**2).mean())
        np.testing.assert_allclose(metrics["latent_rms"], rms, **CLOSE)
        np.testing.assert_allclose(model.latents, table, **CLOSE)
        moving_d.assert_equal()
        moving_g.assert_equal()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"data_teaching": -1.0}, "0 or a positive number. Received: -1.0"),
        ({"data_teaching": 1.0, "inference_steps": 2}, "num_images=None"),
        ({"data_teaching": 1.0, "num_images": 9}, "num_steps=0"),
    ],
)
def test_impossible_dual_teaching_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        make_model(**options)


def test_algorithm_g_moves_the_averages_by_the_statistics_of_g2(observed):
    model = sharpen(make_generator_model())
    build_step(model)(numbered(observed))
    net = oracle_generator(sharpen(make_generator_model()).generator)
    kernel, bias = net.rows[0][:2]
    latents = double(model.latents)[:8, None, None, :]
    maps = oracle.conv_transpose(latents, kernel, 1, (4, 4), same=False) + bias
    mean = 0.001 * maps.mean(axis=(0, 1, 2))
    norm = layers(model.generator, "norm")[0]
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("make", [make_generator_model, make_dual_model])
def test_kept_latents_need_the_numbers_of_their_images(make, observed):
    for batch in (tf.constant(observed), {"images": observed}):
        with pytest.raises(DatasetError, match="{images, numbers}.*: images alone"):
            make().train_step(batch)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"chain_init": "generator"}, "noise, uniform, data, persistent.*'generator'"),
        ({"num_persistent_chains": 4}, "num_persistent_chains=4, num_chains=5"),
        ({"refresh_probability": 1.5}, "in .0, 1..*1.5"),
        ({"chain_init": "noise", "reference_stddev": None}, "finite"),
    ],
)
def test_impossible_chains_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        make_descriptor_model(**options)


@pytest.mark.parametrize("options", [{}, {"reference_stddev": None}])
def test_samples_of_a_persistent_descriptor_start_where_its_chains_are(options):
    model = make_descriptor_model(num_steps=0, **options)
    bank = {image.tobytes() for image in model.chains.numpy()}
    samples = model.sample(36, seed=3).numpy()
    found = [image.tobytes() for image in samples]
    assert {
        np.frombuffer(image, np.float32).clip(-1, 1).tobytes() for image in bank
    } == {*found}
    assert len(set(found[:12])) == model.num_independent == 12
    assert found[:12] == found[12:24] == found[24:]
    assert [image.tobytes() for image in model.sample(12, seed=4).numpy()] != found[:12]
    noise = make_descriptor_model(num_steps=0, chain_init="data").sample(4, seed=3)
    assert abs(noise.numpy().std() / 0.3 - 1) < 5 / np.sqrt(2 * noise.numpy().size)


def test_what_needs_the_other_net_is_refused(observed):
    of_d, of_g = make_descriptor_model(), make_generator_model()
    for call in (
        lambda: of_d.generate(tf.zeros([2, 6])),
        lambda: of_d.reconstruct(observed, num_steps=1),
        lambda: of_g.energy(observed),
        lambda: of_g.revise(observed, num_steps=1),
        lambda: of_g.sample(2, num_steps=3),
    ):
        with pytest.raises(ValueError, match="needs a|without a descriptor"):
            call()


def test_a_descriptor_recovers_by_revising_the_hidden_pixels_alone(observed):
    visible = np.ones_like(observed)
    visible[:, 2:6, 2:6] = 0
    model = sharpen(make_descriptor_model())
    found = model.recover(observed, visible, infer_steps=5, seed=1).numpy()
    np.testing.assert_array_equal(found[visible > 0], observed[visible > 0])
    start = model.sample(8, seed=1, num_steps=0).numpy()
    filled = np.where(visible > 0, observed, start)
    again = model.revise(filled, visible=visible, seed=1)
    np.testing.assert_array_equal(found, again)
    assert np.abs(found - filled)[visible == 0].mean() > 0.01


def test_a_generator_recovers_without_revision(observed):
    visible = np.ones_like(observed)
    visible[:, :4] = 0
    model = sharpen(make_generator_model())
    found = model.recover(observed, visible, infer_steps=3, seed=1).numpy()
    made = model.generate(model.infer(observed, num_steps=3, seed=1, visible=visible))
    np.testing.assert_array_equal(found, np.where(visible > 0, observed, made))


@pytest.mark.parametrize(
    "make", [make_descriptor_model, make_generator_model, make_dual_model]
)
def test_config_and_kept_variables_survive_a_file(make, tmp_path, observed):
    model = make()
    build_step(model)(numbered(observed))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    # JSON knows no tuples.
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())
    for name, value in model.kept.items():
        np.testing.assert_array_equal(again.kept[name], value)
    assert model.kept
    assert_same(model.get_weights(), again.get_weights())


def test_noise_in_g1_stops_after_inference_noise_until(observed):
    """Of latents near the prior noise makes nearly the whole move."""
    batch, moves = numbered(observed), []
    always, once = (make_generator_model(unroll=False) for _ in range(2))
    once.inference_noise_until = 1
    for model in (always, once):
        step_fn = build_step(model)
        for _ in range(2):
            before = double(model.latents)
            step_fn(batch)
            moves.append(np.abs(model.latents - before)[:8].mean())
    assert moves[0] == moves[2]
    assert moves[3] < 0.5 * moves[1]


def test_every_langevin_state_and_both_gradients_equal_numpy(observed):
    model = sharpen(make_model(num_steps=4))
    net_d, net_g = (
        oracle_descriptor(model.descriptor),
        oracle_generator(model.generator),
    )
    seed = draw_seed(0, step=0, purpose=Purpose.LATENTS)
    latents, generated = model.generator.propose(5, seed=seed, training=True)
    np.testing.assert_allclose(generated, net_g.images(double(latents)), **CLOSE)
    states = oracle_revision(model, net_d, net_g.images(double(latents)), step=0)
    for number, state in enumerate(states):
        partial = make_model(num_steps=number).descriptor
        partial.set_weights(model.descriptor.get_weights())
        revised, _ = partial.revise(
            generated, seed=draw_seed(0, step=0, purpose=Purpose.REVISION)
        )
        np.testing.assert_allclose(revised, state, **CLOSE)

    def assert_gradients(tape, loss, net, expected):
        weights = [weight.value for weight in net.trainable_variables]
        gradients = tape.gradient(loss, weights)
        for gradient, value in zip(gradients, expected, strict=True):
            atol = 1e-5 + 2e-4 * np.abs(value).max()
            np.testing.assert_allclose(gradient, value, rtol=1e-3, atol=atol)

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.descriptor(observed))
    assert_gradients(
        tape,
        loss,
        model.descriptor,
        net_d.gradients(double(observed), np.ones(8))[1],
    )
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.generator(latents, training=True) * generated)
    _, expected = net_g.gradients(double(latents), double(generated))
    assert_gradients(tape, loss, model.generator, expected)


def test_d2_and_g2_follow_the_gradient_of_their_whole_loss(observed):
    """Adam, unlike plain descent, would hide a wrong scale."""
    model, rng = sharpen(make_model()), np.random.default_rng(4)
    model.compile(keras.optimizers.SGD(1e-3), keras.optimizers.SGD(1e-3))
    net_d, net_g = (
        oracle_descriptor(model.descriptor),
        oracle_generator(model.generator),
    )
    revised, latents = rng.uniform(-1, 1, (5, 8, 8, 1)), rng.standard_normal((5, 6))
    _, up = net_d.gradients(revised, np.full(5, 1 / 5))
    _, down = net_d.gradients(double(observed), np.full(8, -1 / 8))
    residual = (net_g.images(latents) - revised) / 0.4**2 / 5
    _, gradients_g = net_g.gradients(latents, residual)
    before = [weights_of(model.descriptor), model.generator.trainable_variables]
    before[1] = [weight.numpy() for weight in before[1]]
    model.descriptor.update(observed, revised.astype(np.float32))
    model.generator.update(latents.astype(np.float32), revised.astype(np.float32))
    gradients_d = [one + other for one, other in zip(up, down, strict=True)]
    for net, old, expected in zip(
        (model.descriptor, model.generator),
        before,
        (gradients_d, gradients_g),
        strict=True,
    ):
        for weight, start, gradient in zip(
            net.trainable_variables, old, expected, strict=True
        ):
            # A change of 1e-3 of the gradient, read off float32 weights of size 0.3.
            atol = 1e-4 + 1e-3 * np.abs(gradient).max()
            moved = (start - double(weight)) / 1e-3
            np.testing.assert_allclose(moved, gradient, rtol=1e-3, atol=atol)


def weights_of(net):
    return [weight.copy() for weight in net.get_weights()]


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_d2_leaves_the_generator_untouched_and_g2_the_descriptor(model, observed):
    before_d, before_g = weights_of(model.descriptor), weights_of(model.generator)
    model.descriptor.update(observed, -observed)
    assert_same(before_g, model.generator.get_weights())
    assert any(
        np.any(one != other)
        for one, other in zip(before_d, model.descriptor.get_weights(), strict=True)
    )
    before_d = weights_of(model.descriptor)
    model.generator.update(tf.ones([8, 6]), observed)
    assert_same(before_d, model.descriptor.get_weights())
    assert any(
        np.any(one != other)
        for one, other in zip(before_g, model.generator.get_weights(), strict=True)
    )


def test_g2_with_recorded_drafts_equals_g2_without(observed):
    one, other = make_model(), make_model()
    latents = tf.random.stateless_normal([8, 6], [1, 2])
    with tf.GradientTape() as tape:
        generated = one.generator.on_batch(latents)
    loss = one.generator.update(latents, observed, recorded=(generated, tape))
    assert loss == other.generator.update(latents, observed)
    assert_same(one.generator.get_weights(), other.generator.get_weights())


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (make_model, {}),
        (make_model, {"inference_steps": 3}),
        (make_dual_model, {}),
    ],
)
def test_moving_averages_move_once_per_step_by_the_drafts_statistics(
    make, options, observed
):
    model = sharpen(make(num_steps=1, unroll=False, **options))
    net = oracle_generator(model.generator)
    latents = draft(model, 0)
    kernel, bias = net.rows[0][:2]
    maps = oracle.conv_transpose(
        latents[:, None, None, :], kernel, 1, (4, 4), same=False
    )
    mean = (maps + bias).mean(axis=(0, 1, 2))
    variance = maps.var(axis=(0, 1, 2), ddof=1)
    build_step(model)(numbered(observed))
    norm = layers(model.generator, "norm")[0]
    np.testing.assert_allclose(norm.moving_mean, 0.001 * mean, rtol=1e-3, atol=1e-7)
    # In float32 an average of about 1 keeps 6e-8, of 0.001 * 0.086.
    moved = (norm.moving_variance.numpy().astype(float) - 0.999) / 0.001
    np.testing.assert_allclose(moved, variance, rtol=2e-3)


def test_same_seed_same_run_and_other_seed_other_run(observed):
    def run(seed):
        model = make_model(run_seed=seed, num_steps=1, unroll=False)
        step_fn = build_step(model)
        return [step_fn(observed)["generator_loss"].numpy() for _ in range(3)], model

    (first, one), (again, two), (other, _) = run(0), run(0), run(1)
    assert first == again
    assert_same(one.get_weights(), two.get_weights())
    assert first != other


def test_graph_and_eager_steps_agree(observed):
    compiled, eager = make_model(num_steps=2), make_model(num_steps=2)
    expected = eager.train_step(tf.constant(observed))
    for name, value in build_step(compiled)(observed).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, err_msg=name)


def test_noise_stops_after_revision_noise_until(observed):
    quiet = make_model(revision_noise_until=1, unroll=False)
    noisy = make_model(unroll=False)
    first = [build_step(model) for model in (quiet, noisy)]
    for step, agree in enumerate([True, False]):
        values = []
        for model, step_fn in zip((quiet, noisy), first, strict=True):
            model.reset_metrics()
            values.append(float(step_fn(observed)["displacement"]))
        assert (values[0] == values[1]) is agree, step
    # Without noise three steps of this size move a pixel by far less than with it.
    assert values[0] < 0.5 * values[1]


def test_metrics_are_what_their_names_say(observed):
    model = sharpen(make_model())
    latents, generated = model.generator.propose(
        5, seed=draw_seed(0, step=0, purpose=Purpose.LATENTS), training=True
    )
    revised, chains = model.descriptor.revise(
        generated, seed=draw_seed(0, step=0, purpose=Purpose.REVISION)
    )
    gap = np.mean(model.descriptor.energy(revised)) - np.mean(
        model.descriptor.energy(tf.constant(observed))
    )
    metrics = model.train_step(tf.constant(observed))
    np.testing.assert_allclose(metrics["energy_gap"], gap, rtol=1e-4)
    np.testing.assert_allclose(
        metrics["gradient_norm"], np.mean(chains.gradient_norm), rtol=1e-5
    )
    moved = np.sqrt(np.mean(np.square(revised - generated), axis=(1, 2, 3))).mean()
    np.testing.assert_allclose(metrics["displacement"], moved, rtol=1e-5)
    outside = np.mean(np.abs(revised.numpy()) > 1)
    assert 0 < outside < 1
    np.testing.assert_allclose(metrics["saturation"], outside, atol=1e-6)


def test_zero_descriptor_steps_leave_the_drafts(observed):
    model = make_model(num_steps=0)
    metrics = build_step(model)(observed)
    assert metrics["displacement"] == 0
    assert metrics["generator_loss"] == 0


def test_keras_fit_trains(observed):
    model = make_model(num_steps=1, unroll=False)
    data = tf.data.Dataset.from_tensor_slices(observed).batch(4).repeat(2)
    history = model.fit(data, epochs=2, verbose=0, shuffle=False)
    assert int(model.step) == 8
    assert np.isfinite(history.history["generator_loss"]).all()


def test_the_step_is_traced_once(observed):
    step_fn = build_step(make_model(num_steps=1, unroll=False))
    for _ in range(4):
        step_fn(observed)
    assert step_fn.experimental_get_tracing_count() == 1


def test_optimizers_have_their_slots_before_the_first_step(model):
    for net in (model.descriptor, model.generator):
        assert isinstance(net.optimizer, keras.optimizers.Adam)
        assert len(net.optimizer.variables) > 2 * len(net.trainable_variables)


def test_what_is_shown_within_what_is_shown_is_measured_once(observed, monkeypatch):
    """`frozen` within `frozen` measures nothing twice, and both leave no trace."""
    model, calls = make_model(num_steps=1), []
    original = Statistics.measure

    def counted(*arguments, **options):
        calls.append(1)
        original(*arguments, **options)

    monkeypatch.setattr(Statistics, "measure", counted)
    before = [weight.numpy() for weight in model.generator.weights]
    plain = model.sample(5)
    with model.frozen():
        np.testing.assert_array_equal(model.sample(5), plain)
        with model.frozen():
            np.testing.assert_array_equal(model.sample(5), plain)
    assert len(calls) == 2  # of the first `sample`, and of the outer context
    for weight, value in zip(model.generator.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    model.train_step(observed)
    with model.frozen():
        assert (model.sample(5).numpy() != plain.numpy()).any()


def pair(shape, latent_shape, scoring, making):
    """A small cooperative model with two steps of G1, of layers for any shapes."""
    images, latents = keras.Input(shape), keras.Input(latent_shape)
    scores, made = images, latents
    for layer in scoring:
        scores = layer(scores)
    for layer in making:
        made = layer(made)
    model = CoopNets(
        Descriptor(
            keras.Model(images, scores),
            revision=Langevin(2, 0.05, unroll=False),
            reference_stddev=1,
        ),
        Generator(
            keras.Model(latents, made),
            inference=Langevin(2, 0.1, unroll=False),
            residual_stddev=0.3,
        ),
        num_chains=3,
    )
    model.compile(keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.01))
    assert model.image_shape == shape and model.generator.latent_shape == latent_shape
    return model


def dense_pair():
    """Images that are vectors."""
    dense, norm = keras.layers.Dense, keras.layers.BatchNormalization()
    making = [dense(8), norm, dense(6, activation="tanh")]
    return pair((6,), (4,), [dense(5, activation="tanh"), dense(1)], making)


def moving_pair():
    """Images [frames, height, width, channels], of latents with axes of their own."""
    conv = {"padding": "same", "activation": "tanh"}
    scoring = [
        keras.layers.Conv3D(4, 3, 2, **conv),
        keras.layers.Conv3D(1, 3, padding="same"),  # a map, whose sum is the score
    ]
    making = [
        keras.layers.Conv3DTranspose(4, 3, 2, padding="same"),
        keras.layers.BatchNormalization(),
        keras.layers.Conv3DTranspose(1, 3, (1, 2, 2), **conv),
    ]
    return pair((4, 8, 8, 1), (2, 2, 2, 3), scoring, making)


@pytest.mark.parametrize("build", [dense_pair, moving_pair])
def test_networks_of_any_shape_are_trained_and_used(build):
    model, rng = build(), np.random.default_rng(0)
    observed = rng.uniform(-1, 1, (5, *model.image_shape)).astype(np.float32)
    kernels = [one for one in model.trainable_variables if one.path.endswith("kernel")]
    before = [kernel.numpy() for kernel in kernels]
    metrics = {
        name: float(value) for name, value in build_step(model)(observed).items()
    }
    assert int(model.step) == 1 and np.isfinite([*metrics.values()]).all()
    assert len(kernels) == 4
    for kernel, value in zip(kernels, before, strict=True):
        assert np.any(kernel != value), kernel.path
    start, images = model.sample(3, seed=1, num_steps=0), model.sample(3, seed=1)
    moved = energies.displacement(images, start)
    assert moved.shape == (3,)
    expected = np.square(images.numpy().astype(float) - start).reshape(3, -1).mean(1)
    np.testing.assert_allclose(moved, np.sqrt(expected), rtol=1e-5)
    assert metrics["displacement"] > 0 and min(moved) > 0
    found = model.recover(images, np.ones(images.shape, np.float32), infer_steps=2)
    np.testing.assert_array_equal(found, images)
    latents = model.infer(images, num_steps=2)
    assert latents.shape == (3, *model.generator.latent_shape)


def test_a_grid_of_moving_images_has_a_row_of_frames_for_each():
    clips = moving_pair().sample(3, seed=1).numpy()
    found = drawing.grid(clips)
    frames = drawing.grid(clips.reshape(12, 8, 8, 1), num_columns=4)
    np.testing.assert_array_equal(found, frames)
    assert found.shape == (3 * 194 + 2, 4 * 194 + 2, 1)  # 24 times 8 pixels, gaps of 2
    place = slice(2 + 194, 194 + 194), slice(2 + 2 * 194, 3 * 194)
    enlarged = to_uint8(clips[1, 2]).repeat(24, axis=0).repeat(24, axis=1)
    np.testing.assert_array_equal(found[place], enlarged)
