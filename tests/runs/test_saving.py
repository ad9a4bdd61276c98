"""A trained model on disk, and back: runs, checkpoints, `.keras` files."""

import json
import zipfile

import keras
import numpy as np
import pytest

import coopnets_tf
from coopnets_tf.errors import RunError
from coopnets_tf.files import RUN_DESCRIPTION
from coopnets_tf.models import optimizers
from coopnets_tf.runs import checkpoints, saving
from coopnets_tf.runs.folder import Run
from tests import helpers
from tests.helpers import make_model, train

STEPS = {"num_iterations": 4, "log_every": 1, "checkpoint_every": 2, "sample_every": 4}


def make(*, average=False):
    """Its rates are so large that no two steps have the same pictures."""
    model = make_model(num_steps=1, unroll=False)
    averages = {"use_ema": True, "ema_momentum": 0.5} if average else {}
    both = [keras.optimizers.Adam(rate, **averages) for rate in (0.01, 0.02)]
    model.compile(*both)
    return model


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "averaged"])
def trained(request, tmp_path_factory):
    """A model that makes its run, and the run's folder."""
    run_dir = tmp_path_factory.mktemp("run") / "toy-1"
    model = make(average=request.param)
    return train(model, run_dir, keep_best="generator_loss", **STEPS), run_dir


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("run") / "toy-1"
    options = {**STEPS, "num_iterations": 2}
    return train(make(), run_dir, **options), run_dir


@pytest.fixture
def copy(plain, tmp_path):
    """The description and the checkpoints of a run, to be spoilt."""
    _, run_dir = plain
    folder = tmp_path / "copy"
    (folder / "checkpoints").mkdir(parents=True)
    for path in [*run_dir.glob("checkpoints/*"), run_dir / RUN_DESCRIPTION]:
        (folder / path.relative_to(run_dir)).write_bytes(path.read_bytes())
    return folder


def restored(run_dir, name, *, average):
    """The training itself, at the step of a checkpoint."""
    model = make(average=average)
    path = str(run_dir / "checkpoints" / name)
    model.checkpoint().read(path).assert_consumed()
    return model


def assert_same_use(found, expected):
    """What a user gets: images, latents, energies; equal but for rounding."""
    images = expected.sample(3, seed=4).numpy()
    assert images.std() > 0.02
    np.testing.assert_allclose(found.sample(3, seed=4), images, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.energy(images), expected.energy(images), rtol=1e-4)
    np.testing.assert_allclose(
        found.infer(images, num_steps=2),
        expected.infer(images, num_steps=2),
        rtol=0,
        atol=1e-4,
    )


def assert_same_nets(found, expected):
    """What the use follows from, of two frozen models; cheaper to compare."""

    def facts(owner, *left_out):
        config = json.loads(json.dumps(owner.get_config()))  # tuples become lists
        return {key: config[key] for key in config if key not in left_out}

    one, other = (
        facts(model, "name", "descriptor", "generator") for model in (found, expected)
    )
    assert one == other and int(found.step) == int(expected.step)
    for net in ("descriptor", "generator"):
        one, other = getattr(found, net), getattr(expected, net)
        assert facts(one, "network") == facts(other, "network")
        for first, second in zip(one.network.layers, other.network.layers, strict=True):
            # Keras counts the names of inputs, and of models, on.
            assert facts(first, "name") == facts(second, "name")
        for first, second in zip(one.variables, other.variables, strict=True):
            # The statistics are sums whose order threads choose.
            np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-7)


def test_a_run_is_loaded_as_it_is_shown(trained):
    model, run_dir = trained
    loaded = coopnets_tf.load(run_dir)
    assert_same_use(loaded, model)
    assert int(loaded.step) == 4
    for path in (str(run_dir), run_dir / "checkpoints/ckpt-4"):
        assert_same_nets(coopnets_tf.load(path), loaded)


def test_a_step_and_the_best_are_loaded(trained):
    model, run_dir = trained
    average = model.generator.optimizer.use_ema
    best = json.loads((run_dir / "checkpoints/best.json").read_text())["step"]
    for which, name, step in (
        (2, "ckpt-2", 2),
        ("2", "ckpt-2", 2),
        ("newest", "ckpt-4", 4),
        ("best", f"best-{best}", best),
    ):
        loaded = coopnets_tf.load(run_dir, checkpoint=which)
        assert int(loaded.step) == step
        expected = restored(run_dir, name, average=average)
        expected.freeze()
        assert_same_nets(loaded, expected)


def test_weights_of_a_loaded_run_are_those_that_keras_would_finalize(trained):
    model, run_dir = trained
    loaded = coopnets_tf.load(run_dir)
    expected = restored(run_dir, "ckpt-4", average=model.generator.optimizer.use_ema)
    for net in expected.nets.values():
        net.optimizer.finalize_variable_values(net.trainable_variables)
    for net in ("descriptor", "generator"):
        for one, other in zip(
            getattr(loaded, net).trainable_variables,
            getattr(expected, net).trainable_variables,
            strict=True,
        ):
            np.testing.assert_array_equal(one, other, err_msg=one.path)


def test_a_loaded_descriptor_has_its_average(tmp_path):
    model = helpers.make_descriptor_model(chain_init="uniform")
    model.compile(keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=0.5))
    train(model, tmp_path, **STEPS)
    raw = [one.numpy() for one in model.descriptor.trainable_variables]
    loaded = coopnets_tf.load(tmp_path).descriptor.trainable_variables
    with model.frozen():
        own = [one.numpy() for one in model.descriptor.trainable_variables]
    for one, other in zip(loaded, own, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((one != other).any() for one, other in zip(raw, own, strict=True))


def test_a_loaded_run_is_frozen(plain):
    """Its statistics are exact already, so that nothing is measured at each call."""
    _, run_dir = plain
    loaded = coopnets_tf.load(run_dir)
    before = loaded.generator.get_weights()
    with loaded.frozen():
        inside = loaded.generator.get_weights()
    assert not loaded.generator.compiled
    for one, other in zip(before, inside, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_keras_file_brings_back_the_whole_training(trained, observed, tmp_path):
    """Weights, optimizers and counters: the next step is the same, too."""
    model, run_dir = trained
    # A copy, for another test may have the original.
    model = restored(run_dir, "ckpt-4", average=model.generator.optimizer.use_ema)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert int(loaded.step) == 4 and loaded.run_seed == model.run_seed
    assert_same_use(loaded, model)
    for _ in range(2):
        for net in ("descriptor", "generator"):
            one, other = getattr(loaded, net), getattr(model, net)
            for first, second in zip(
                [*one.variables, *one.optimizer.variables],
                [*other.variables, *other.optimizer.variables],
                strict=True,
            ):
                np.testing.assert_array_equal(first, second, err_msg=first.path)
        for either in (loaded, model):
            either.train_step(observed)


def test_a_keras_file_is_loaded_in_one_line(trained, tmp_path):
    """Of the training's model and of one that was loaded, which has no optimizer."""
    model, run_dir = trained
    path = tmp_path / "model.keras"
    model.save(path)
    whole = coopnets_tf.load(path)
    assert_same_use(whole, model)
    assert int(whole.step) == 4
    coopnets_tf.load(run_dir).save(path)
    assert_same_nets(coopnets_tf.load(path), whole)


def test_the_rate_after_rollbacks_is_saved(tmp_path):
    model = make()
    rate = optimizers.RateAfterRollbacks(0.01, model.rollbacks, 0.5)
    model.compile(keras.optimizers.Adam(rate), keras.optimizers.Adam(0.01))
    model.rollbacks.assign(1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert float(loaded.descriptor.optimizer.learning_rate) == pytest.approx(0.005)


def test_description(plain):
    _, run_dir = plain
    found = saving.description(run_dir)
    assert found["package_version"] == coopnets_tf.__version__
    assert found["dataset"] == saving.dataset_of(run_dir) == {"dataset": "digits"}


def refusal(*arguments, **options):
    with pytest.raises(RunError) as refused:
        coopnets_tf.load(*arguments, **options)
    return str(refused.value)


def test_what_is_no_run_is_refused(tmp_path):
    for options in ({}, {"checkpoint": "best"}):
        text = refusal(tmp_path, **options)
        assert text.startswith(f"{tmp_path} is neither a run with checkpoints nor")
        for name in ("nowhere", "nowhere.keras", "checkpoints/ckpt-5"):
            path = tmp_path / name
            assert refusal(path, **options) == f"{path} does not exist."


def test_an_unknown_checkpoint_is_refused(plain):
    _, run_dir = plain
    for which in (99, "99", "best"):
        text = refusal(run_dir, checkpoint=which)
        assert text.startswith(f"{run_dir} has no checkpoint {which!r}. It has: ")
        assert text.endswith(" ckpt-0, ckpt-2.")


@pytest.mark.parametrize(
    "content",
    [None, b"", b"garbage", b"\xff\xfe\x00", b"[]", b"3", b"{}", b'{"model": {}}'],
)
def test_a_missing_or_damaged_description_is_refused(copy, content):
    path = copy / RUN_DESCRIPTION
    path.unlink() if content is None else path.write_bytes(content)
    text = refusal(copy)
    assert str(copy) in text and "cannot be read" in text
    if content in (None, b"", b"garbage"):
        expected = f"{copy} holds no trained model: {RUN_DESCRIPTION} cannot be read"
        assert text.startswith(expected)


def test_a_description_of_another_version_is_refused(copy):
    path = copy / RUN_DESCRIPTION
    found = saving.description(copy)
    found["package_version"] = "7.8.9"
    found["model"]["config"]["num_layers"] = 3
    path.write_text(json.dumps(found))
    text = refusal(copy)
    assert text.startswith(
        f"{copy} was written by coopnets_tf 7.8.9 and cannot be read"
    )
    assert coopnets_tf.__version__ in text


def test_a_description_of_other_sizes_is_refused(copy):
    """Nets of which a part only fits are no trained nets."""
    other = make_model(num_steps=1, unroll=False, latent_size=7)
    saving.describe(other, Run(copy, num_iterations=2))
    assert refusal(copy) == (
        f"{copy}/checkpoints/ckpt-2 does not fit model.json: generator "
        "deconv_0_kernel: [4, 4, 16, 7] here, [4, 4, 16, 6] there"
    )


def test_a_damaged_checkpoint_is_refused(copy):
    for path in copy.glob("checkpoints/ckpt-2.data*"):
        path.write_bytes(path.read_bytes()[:100])
    assert f"{copy}/checkpoints/ckpt-2 cannot be read" in refusal(copy)


@keras.saving.register_keras_serializable("tests")
class Stranger(keras.Model):
    def call(self, inputs):
        return inputs


def test_a_keras_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"garbage")
    assert refusal(path).startswith(f"{path} cannot be loaded: ")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    assert refusal(path) == f"{path} holds no model of coopnets_tf but Sequential."


def test_a_keras_file_that_keras_cannot_make_out_is_refused(tmp_path):
    """A zip file with other things in it, and a model of an unknown class."""
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no model")
    assert refusal(path).startswith(f"{path} cannot be loaded: ")
    stranger = Stranger()
    stranger.build((None, 2))
    stranger.save(path)
    keras.saving.get_custom_objects().pop("tests>Stranger")
    assert refusal(path).startswith(f"{path} cannot be loaded: ")


def test_loading_leaves_the_run_as_it_is(plain):
    _, run_dir = plain
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    coopnets_tf.load(run_dir)
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before
    assert checkpoints.last_step(run_dir) == 2
