"""Use of trained nets, on weights that are larger than initial ones.

Float32 results of the same formula in another order of operations (other batch sizes,
graph or eager) differ by rounding: 1e-6 of values near 1, some times that after a
Langevin chain. 1e-5 is asked for.
"""

import concurrent.futures

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf import energies, langevin_chain, seeds
from coopnets_tf.errors import ArgumentError
from coopnets_tf.langevin import Langevin, energy_gradient
from coopnets_tf.models import endpoints
from coopnets_tf.seeds import Purpose, draw_seed, fold_in, standard_normal
from tests.helpers import make_model, sharpen

ROUNDING = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(scope="module")
def model():
    """Nobody trains it, so that it may be frozen for good."""
    model = sharpen(make_model())
    model.freeze()
    return model


@pytest.fixture(scope="module")
def images(model):
    return model.sample(4, seed=5, num_steps=0).numpy()


@pytest.fixture(scope="module")
def visible(images):
    visible = np.ones_like(images)
    visible[:, 2:6, 3:7] = 0
    return visible


def own_seed(seed, number, purpose=Purpose.SAMPLING):
    """The seed of image `number`, by hand."""
    return fold_in(draw_seed(seed, step=0, purpose=purpose), number)


def drafts(model, number, *, seed):
    """The generator's images 0, 1, ... of a seed, one latent vector at a time."""
    latents = [
        standard_normal([6], seed=fold_in(own_seed(seed, one), Purpose.LATENTS))
        for one in range(number)
    ]
    return model.generate(tf.stack(latents))


def test_an_image_of_a_seed_is_the_same_in_any_batch(model):
    many = model.sample(64, seed=3).numpy()
    assert many.shape == (64, 8, 8, 1) and many.dtype == np.float32
    np.testing.assert_allclose(model.sample(10, seed=3), many[:10], **ROUNDING)
    np.testing.assert_allclose(model.sample(1, seed=3), many[:1], **ROUNDING)
    batches = list(model.sample_batches(64, seed=3, batch_size=25))
    assert [len(batch) for batch in batches] == [25, 25, 14]
    np.testing.assert_allclose(np.concatenate(batches), many, **ROUNDING)


def test_other_seeds_and_other_numbers_make_other_images(model):
    all_images = np.concatenate([model.sample(20, seed=seed) for seed in (0, 1)])
    distances = np.abs(all_images[:, None] - all_images).max(axis=(2, 3, 4))
    assert distances[~np.eye(40, dtype=bool)].min() > 0.1


def test_without_steps_a_sample_is_the_generators_draft(model):
    found = model.sample(3, seed=7, num_steps=0)
    np.testing.assert_allclose(found, drafts(model, 3, seed=7), **ROUNDING)


@pytest.mark.parametrize("num_steps", [None, 1, 5])
def test_a_sample_is_a_draft_after_a_chain_of_its_own(model, num_steps):
    """One chain at a time, eagerly and unrolled; as trained are three steps."""
    found = model.sample(3, seed=7, num_steps=num_steps)
    dynamics = Langevin(num_steps or 3, 0.05)
    for number, draft in enumerate(drafts(model, 3, seed=7)):
        seed = fold_in(own_seed(7, number), Purpose.REVISION)
        expected, _ = langevin_chain(
            model.descriptor.energy, draft[None], dynamics, seed=seed
        )
        assert np.abs(expected[0] - draft).max() > 0.05
        np.testing.assert_allclose(
            found[number], tf.clip_by_value(expected[0], -1, 1), **ROUNDING
        )


def test_revise_continues_by_noise_of_its_own(model):
    images = model.sample(4, seed=2, num_steps=0)
    found = model.revise(images, seed=2)
    assert np.abs(found - model.sample(4, seed=2)).max() > 0.05
    seed = fold_in(own_seed(2, 3, Purpose.REVISION), Purpose.REVISION)
    expected, _ = langevin_chain(
        model.descriptor.energy, images[3:], Langevin(3, 0.05), seed=seed
    )
    np.testing.assert_allclose(found[3:], tf.clip_by_value(expected, -1, 1), **ROUNDING)
    np.testing.assert_array_equal(model.revise(images, num_steps=0), images)


def test_inference_does_not_start_at_the_answer(model):
    images = model.sample(4, seed=2, num_steps=0)
    found = model.reconstruct(images, num_steps=0, seed=2)
    assert np.abs(found - images).max() > 0.1


def test_many_images_are_handled_in_parts(model, images):
    many = np.resize(images, (230, 8, 8, 1))
    for name, options in (
        ("revise", {"num_steps": 1}),
        ("infer", {"num_steps": 1}),
        ("reconstruct", {"num_steps": 1}),
    ):
        found = getattr(model, name)(many, **options)
        assert len(found) == 230
        first = getattr(model, name)(many[:40], **options)
        np.testing.assert_allclose(found[:40], first, **ROUNDING)
        # The same image again has noise of its own.
        assert np.abs(found[0] - found[len(images)]).max() > 1e-3


def test_impossible_numbers_are_refused(model, images):
    with pytest.raises(
        ValueError,
        match="`num_images` must be a whole number of 1 or more. Received: 0",
    ):
        model.sample(0)
    with pytest.raises(
        ValueError,
        match="`num_steps` must be a whole number of 0 or more. Received: -1",
    ):
        model.revise(images, num_steps=-1)


@pytest.mark.parametrize("name", ["revise", "energy", "infer", "recover"])
def test_what_is_no_image_of_these_nets_is_refused(model, images, name):
    more = {
        "revise": lambda rows: model.revise(rows),
        "energy": lambda rows: model.energy(rows),
        "infer": lambda rows: model.infer(rows, num_steps=1),
        "recover": lambda rows: model.recover(rows, rows, infer_steps=1),
    }[name]
    with pytest.raises(ArgumentError, match=r"shape \[any, .*Received: \["):
        more(images[:, :-1])
    with pytest.raises(ArgumentError, match=r"shape \[any, .*Received: \["):
        more(images[0])
    with pytest.raises(ArgumentError, match=r"Received: uint8.*/ 127.5 - 1"):
        more(tf.cast(images, tf.uint8))


def test_a_mask_of_another_shape_is_refused(model, images, visible):
    with pytest.raises(ArgumentError, match="`visible` must have the shape"):
        model.revise(images, visible=visible[..., 0])


@pytest.mark.parametrize("kind", [bool, int])
def test_masks_may_be_of_any_kind(model, images, visible, kind):
    other = visible.astype(kind)
    for found, same in (
        (model.revise(images, visible=other), model.revise(images, visible=visible)),
        (
            model.recover(images, other, infer_steps=1),
            model.recover(images, visible, infer_steps=1),
        ),
    ):
        np.testing.assert_array_equal(found, same)


def test_visible_pixels_stay_and_the_others_move(model, images, visible):
    for given in (images, 1.3 * images):  # pixels outside [-1, 1] are clipped
        found = model.revise(given, num_steps=4, visible=visible).numpy()
        shown = visible > 0
        np.testing.assert_array_equal(found[shown], np.clip(given, -1, 1)[shown])
        moved = np.abs(found - np.clip(given, -1, 1))[~shown]
        # Four steps of 0.05; what is cut off at the ends of the range stays there.
        assert 0.02 < moved.mean() < 0.5


def test_without_mask_or_with_all_hidden_revision_is_the_same(model, images):
    hidden = np.zeros_like(images)
    np.testing.assert_allclose(
        model.revise(images, visible=hidden), model.revise(images), **ROUNDING
    )


def test_inference_does_not_see_hidden_pixels(model, images, visible):
    """The same bits, whatever finite numbers the hidden pixels hold."""
    other = np.where(visible > 0, images, 0.9 * np.cos(9 * images))
    found, again, all_seen = (
        model.infer(given, num_steps=20, seed=1, visible=mask).numpy()
        for given, mask in ((images, visible), (other, visible), (images, None))
    )
    np.testing.assert_array_equal(found, again)
    assert np.abs(found - all_seen).max() > 0.1


def test_gradient_of_the_masked_latent_energy_is_that_of_a_linear_map():
    """g(x) = A x: the gradient is x - A^T m (y - A x) / sigma^2, m the mask."""
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((12, 5))
    latents = generator.standard_normal((3, 5))
    images = generator.standard_normal((3, 2, 3, 2))
    visible = generator.integers(0, 2, images.shape).astype(np.float64)
    residual = visible.reshape(3, 12) * (images.reshape(3, 12) - latents @ matrix.T)
    expected = latents - residual @ matrix / 0.4**2

    def energy(latents):
        linear = tf.reshape(latents @ matrix.T.astype(np.float32), images.shape)
        return energies.latent_energy(
            latents,
            images.astype(np.float32),
            linear,
            residual_stddev=0.4,
            visible=visible.astype(np.float32),
        )

    found = energy_gradient(energy, tf.constant(latents, tf.float32))
    # Sums of a dozen float32 numbers of size 50.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    energy_by_hand = (residual**2).sum(axis=1) / (2 * 0.4**2)
    energy_by_hand += (latents**2).sum(axis=1) / 2
    found = energy(tf.constant(latents, tf.float32))
    np.testing.assert_allclose(found, energy_by_hand, rtol=1e-5)


def test_inference_is_the_chain_of_the_masked_energy(model, images, visible):
    """Two steps by hand, one image at a time, on the weights as shown."""
    found = model.infer(images, num_steps=2, seed=4, visible=visible)
    with model.frozen():
        for number, (image, mask) in enumerate(zip(images, visible, strict=True)):
            own = own_seed(4, number, Purpose.INFERENCE)
            start = standard_normal([6], seed=fold_in(own, Purpose.LATENTS))

            def energy(latents, image=image, mask=mask):
                return energies.latent_energy(
                    latents,
                    image[None],
                    model.generator(latents),
                    residual_stddev=0.4,
                    visible=mask[None],
                )

            expected, _ = langevin_chain(
                energy,
                start[None],
                Langevin(2, 0.1),
                seed=fold_in(own, Purpose.INFERENCE),
            )
            # Gradients of a hundred: ten times the rounding of images.
            np.testing.assert_allclose(found[number], expected[0], rtol=0, atol=1e-4)


def test_a_seed_for_each_chain_draws_what_each_draws_alone():
    own_seeds = endpoints.image_seeds(11, 2, 4, purpose=Purpose.SAMPLING)
    for row, number in enumerate(range(2, 6)):
        np.testing.assert_array_equal(own_seeds[row], own_seed(11, number))
    np.testing.assert_array_equal(
        fold_in(own_seeds, 9), [fold_in(own, 9) for own in own_seeds]
    )
    found = standard_normal([4, 3, 2], seed=own_seeds)
    for own, noise in zip(own_seeds, found, strict=True):
        np.testing.assert_array_equal(noise, seeds.standard_normal([3, 2], seed=own))


@pytest.mark.parametrize("unroll", [True, False])
def test_chains_with_a_seed_each_equal_chains_alone(unroll):
    own_seeds = endpoints.image_seeds(11, 0, 3, purpose=Purpose.SAMPLING)
    start = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)

    def run(states, seed):
        return langevin_chain(
            lambda states: energies.gaussian_energy(states, stddev=0.5),
            tf.constant(states),
            Langevin(4, 0.2, unroll),
            seed=seed,
        )[0]

    together = run(start, own_seeds)
    for row, own in enumerate(own_seeds):
        alone = run(start[row : row + 1], own)
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-6)


def test_an_image_does_not_depend_on_its_batch_mates(model, images, visible):
    """Of two batches with the same first image, alone or with others."""
    others = np.concatenate([images[:1], -images[1:]])
    latents = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    calls = {
        "generate": lambda rows, _: model.generate(latents[: len(rows)]),
        "energy": lambda rows, _: model.energy(rows) / 100,
        "revise": lambda rows, _: model.revise(rows),
        "hidden": lambda rows, masks: model.revise(rows, visible=masks),
        "infer": lambda rows, masks: model.infer(rows, num_steps=3, visible=masks),
        "reconstruct": lambda rows, _: model.reconstruct(rows, num_steps=3),
    }
    for name, call in calls.items():
        expected = call(images, visible)[0]
        for rows in (others, images[:1]):
            found = call(rows, visible[: len(rows)])[0]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4, err_msg=name)


def test_images_are_within_the_range(images):
    """Steps so large that nearly every pixel would leave it."""
    model = make_model()
    revision = Langevin(3, 1.5)
    model.descriptor.revision = revision
    for found in (model.sample(3), model.revise(images), model.revise(9 * images)):
        assert np.abs(found).max() == 1
        assert (np.abs(found) == 1).mean() > 0.5


def test_noise_ends_where_it_ended_in_training(images):
    """After `revision_noise_until` training steps D1 is gradient descent."""
    model = sharpen(make_model(revision_noise_until=2))
    noisy = [model.revise(images, seed=seed) for seed in (0, 1)]
    assert np.abs(noisy[0] - noisy[1]).max() > 0.01
    model.step.assign(2)
    quiet = [model.revise(images, seed=seed) for seed in (0, 1)]
    np.testing.assert_array_equal(*quiet)


def test_energy_is_the_descriptors(model, images):
    expected = model.descriptor.energy(images)
    np.testing.assert_allclose(model.energy(images), expected, rtol=1e-5)


def averaging_model(observed):
    """After two training steps, with moving averages of the generator's weights."""
    model = make_model(num_steps=1)
    model.compile(
        keras.optimizers.Adam(0.003),
        keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.5),
    )
    for _ in range(2):
        model.train_step(observed)
    return model


def test_looking_leaves_everything_as_it_was(observed, visible):
    """Weights, statistics and optimizers, bit for bit, also after an error."""
    model = averaging_model(observed)
    nets = (model.descriptor, model.generator)
    variables = [
        *model.variables,
        *(v for net in nets for v in net.optimizer.variables),
    ]
    before = [np.array(variable) for variable in variables]
    shown = [model.generator.get_weights()]
    with pytest.raises(KeyError):
        with model.frozen():
            shown.append(model.generator.get_weights())
            raise KeyError
    assert any((one != other).any() for one, other in zip(*shown, strict=True))
    model.sample(2)
    next(model.sample_batches(4, batch_size=2))
    model.generate(np.zeros((2, 6), np.float32))
    model.recover(observed[:4], visible, infer_steps=2)
    model.reconstruct(observed, num_steps=2)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)


def test_averaged_weights_are_shown(observed):
    model = averaging_model(observed)
    with model.frozen():
        shown = [np.array(weight) for weight in model.generator.trainable_variables]
    weights = model.generator.trainable_variables
    model.generator.optimizer.finalize_variable_values(weights)
    for weight, value in zip(weights, shown, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_averages_are_the_weights_themselves_before_the_first_step():
    model = make_model()
    expected = model.sample(2, num_steps=0)
    model.compile(
        keras.optimizers.Adam(), keras.optimizers.Adam(use_ema=True, ema_momentum=0.5)
    )
    np.testing.assert_array_equal(model.sample(2, num_steps=0), expected)


def test_samples_follow_the_training(observed):
    """The endpoints are made once and use the weights of the moment."""
    model = sharpen(make_model(num_steps=1))
    before = model.sample(2)
    model.train_step(observed)
    after = model.sample(2)
    assert np.abs(after - before).max() > 1e-3
    fresh = endpoints.build(model)["draw"]
    with model.frozen():
        np.testing.assert_array_equal(after, fresh(0, 2, 1, 0))


def test_frozen_nets_show_the_same(observed):
    model = averaging_model(observed)
    expected = model.sample(3, seed=1)
    model.freeze()
    np.testing.assert_allclose(model.sample(3, seed=1), expected, **ROUNDING)


def test_inference_finds_the_latents_of_the_generators_own_images(model, images):
    """From the prior's error to the noise of the posterior, a twentieth of it here."""
    errors = [
        np.square(model.reconstruct(images, num_steps=steps, seed=1) - images).mean()
        for steps in (0, 100)
    ]
    assert errors[1] < 0.2 * errors[0]


def test_recover_keeps_visible_pixels_and_fills_the_others(model, images, visible):
    hidden = visible == 0
    occluded = np.where(hidden, 0, images)
    found = model.recover(occluded, visible, infer_steps=100, revise_steps=0)
    np.testing.assert_array_equal(found.numpy()[~hidden], images[~hidden])
    error, grey = (
        np.square(filled - images)[hidden].mean()
        for filled in (found.numpy(), occluded)
    )
    assert error < 0.5 * grey
    revised = model.recover(occluded, visible, infer_steps=100)
    expected = model.revise(found, visible=visible)
    np.testing.assert_array_equal(revised, expected)


def test_what_the_hidden_part_holds_does_not_matter(model, images, visible):
    found, expected = (
        model.recover(
            np.where(visible > 0, images, filler).astype(np.float32),
            visible,
            infer_steps=3,
        )
        for filler in (np.nan, 0)
    )
    np.testing.assert_array_equal(found, expected)


def test_several_draws_are_averaged(model, images, visible):
    found = model.recover(
        images, visible, infer_steps=5, revise_steps=0, num_draws=3, seed=8
    )
    draws = [
        model.generate(
            model.infer(images, num_steps=5, seed=8, visible=visible, draw=draw)
        )
        for draw in range(3)
    ]
    hidden = visible == 0
    expected = np.mean(draws, axis=0)
    np.testing.assert_allclose(found.numpy()[hidden], expected[hidden], **ROUNDING)
    assert np.abs(draws[0] - draws[1]).max() > 0.1


def test_the_option_that_is_changed_under_way_is_restored():
    """Also where several threads draw at a time."""
    model = make_model()
    before = tf.config.optimizer.get_experimental_options().get("remapping", True)
    model.freeze()  # as a loaded one is
    model.sample(1)  # compiled

    def draw(seed):
        return model.sample(2, seed=seed).numpy()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(draw, [0, 1] * 8))
    np.testing.assert_array_equal(drawn[::2], [drawn[0]] * 8)
    after = tf.config.optimizer.get_experimental_options().get("remapping", True)
    assert after == before
