"""What a training leaves in its folder, and what it does on the way."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import coopnets_tf
from coopnets_tf import AlgorithmD
from coopnets_tf.data import datasets
from coopnets_tf.errors import DatasetError, RunError
from coopnets_tf.runs import curves, logs, saving, stepping, training
from coopnets_tf.runs.checkpoints import last_step, listed
from coopnets_tf.runs.folder import Run
from coopnets_tf.runs.hooks import Hook
from tests import helpers
from tests.helpers import (
    checkpoint,
    make_descriptor_model,
    make_generator_model,
    make_model,
    metrics,
    read_lines,
    train,
)

SAMPLED = ("observed", "generator", "descriptor")


def small_model(**options):
    return make_model(num_steps=1, unroll=False, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("run")
    return train(make_model(unroll=False), run_dir), run_dir


def test_metrics_lines(trained):
    _, run_dir = trained
    lines = [json.loads(line) for line in read_lines(run_dir)]
    assert [line["step"] for line in lines] == [2, 4, 5]
    assert lines[0]["epoch"] == pytest.approx(2 / (1_797 // 8))
    assert set(lines[0]) == {
        "step",
        "epoch",
        "descriptor_loss",
        "generator_loss",
        "energy_gap",
        "gradient_norm",
        "displacement",
        "saturation",
        "descriptor_learning_rate",
        "generator_learning_rate",
        "steps_per_second",
        "images_per_second",
    }


def test_a_line_is_the_mean_of_its_steps(trained):
    """The same run by hand, step by step."""
    _, run_dir = trained
    line = json.loads(read_lines(run_dir)[1])
    model = make_model(unroll=False)
    step_fn = stepping.build_step(model)
    batches = datasets.load("digits").batches(8, run_seed=0)(0)
    losses = []
    for _ in range(4):
        model.reset_metrics()
        losses.append(float(step_fn(next(batches))["generator_loss"]))
    assert line["generator_loss"] == pytest.approx(np.mean(losses[2:]), rel=1e-5)


def test_pictures(trained):
    _, run_dir = trained
    names = {path.name for path in (run_dir / "samples").iterdir()}
    assert names == {
        "observed_000000.png",
        "generator_000004.png",
        "descriptor_000004.png",
        "generator_000005.png",
        "descriptor_000005.png",
    }
    # 3 columns, 2 rows of 8x8 digits enlarged 32 times, gaps of two.
    with Image.open(run_dir / "samples/generator_000005.png") as picture:
        assert picture.size == (776, 518)


def test_pictures_come_from_the_same_latents(tmp_path):
    """A rate of nearly nothing leaves the nets, and so the pictures, as they are."""
    model = small_model(revision_noise_until=0)
    for net in (model.descriptor, model.generator):
        net.optimizer.learning_rate = 1e-12
    train(model, tmp_path, sample_every=1, num_iterations=2)
    first, second = (
        np.asarray(Image.open(tmp_path / f"samples/descriptor_00000{step}.png"), int)
        for step in (1, 2)
    )
    assert np.abs(first - second).max() <= 1
    assert first.std() > 1


def test_tensorboard_knows_every_metric_of_every_algorithm():
    for model in (make_model(), make_descriptor_model(), make_generator_model()):
        rates = {f"{name}_learning_rate" for name in model.nets}
        assert {*model.means, *rates} <= set(curves.CURVES)


def test_hyper_parameters_are_those_given_by_the_name_of_the_run(tmp_path):
    run = Run(tmp_path / "mine-7", 1, settings={"a": 3, "b": None, "c": ["x", "y"]})
    run.folder.mkdir()
    with logs.RunLog(run):
        pass
    (events,) = (tmp_path / "mine-7/tensorboard").glob("events.*")
    [summary] = [
        value
        for record in tf.data.TFRecordDataset(str(events)).as_numpy_iterator()
        for value in event_pb2.Event.FromString(record).summary.value
        if value.tag == "_hparams_/session_start_info"
    ]
    content = HParamsPluginData.FromString(summary.metadata.plugin_data.content)
    start = content.session_start_info
    assert start.group_name == "mine-7"
    assert start.hparams["a"].number_value == 3
    assert start.hparams["c"].string_value == "x,y"
    assert set(start.hparams) == {"a", "c"}


def test_tensorboard(trained):
    _, run_dir = trained
    folder = str(run_dir / "tensorboard")
    events = EventAccumulator(folder, size_guidance={"tensors": 0})
    tags = set(events.Reload().Tags()["tensors"])
    scalars = {"loss/generator", "chains/energy_gap", "speed/steps_per_second"}
    assert scalars <= tags
    assert all(events.SummaryMetadata(tag).summary_description for tag in scalars)
    assert {"settings", "latents"} <= tags
    assert {f"samples/{name}" for name in SAMPLED} <= tags
    assert any(tag.endswith("conv_0/kernel") for tag in tags)
    assert [event.step for event in events.Tensors("loss/generator")] == [2, 4, 5]


def test_the_last_checkpoint_holds_everything(trained):
    model, run_dir = trained
    restored = make_model(unroll=False)
    path = listed(run_dir / "checkpoints")[-1]
    restored.checkpoint().read(str(path)).assert_consumed()
    assert int(restored.step) == 5
    for net in ("descriptor", "generator"):
        one, other = getattr(model, net), getattr(restored, net)
        for first, second in zip(
            [*one.variables, *one.optimizer.variables],
            [*other.variables, *other.optimizer.variables],
            strict=True,
        ):
            np.testing.assert_array_equal(first, second)


def drawn(first_step):
    """Batches of somebody's own: a plain generator, images alone."""
    for step in itertools.count(first_step):
        yield np.random.default_rng(step).uniform(-1, 1, (8, 8, 8, 1)).astype("float32")


def own_run(folder, num_iterations):
    return Run(folder, num_iterations, log_every=1, checkpoint_every=2)


def test_a_run_of_own_batches_resumes_exactly_and_is_loaded(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    model = small_model()
    training.train(model, drawn, own_run(whole, 5))
    for num_iterations in (3, 5):  # two processes would do as much
        training.train(small_model(), drawn, own_run(parts, num_iterations))
    assert [line["step"] for line in metrics(parts)] == [1, 2, 3, 4, 5]
    assert metrics(parts) == metrics(whole) and "epoch" not in metrics(whole)[0]
    one, other = checkpoint(whole), checkpoint(parts)
    assert set(one) == set(other)
    for name, value in one.items():
        if "save_counter" not in name:
            np.testing.assert_array_equal(value, other[name], err_msg=name)
    loaded = coopnets_tf.load(parts)
    assert int(loaded.step) == 5
    np.testing.assert_allclose(loaded.sample(3), model.sample(3), rtol=0, atol=1e-5)
    with pytest.raises(RunError, match="does not say which images.*`dataset`"):
        saving.dataset_of(parts)


def test_batches_that_end_are_refused_after_a_checkpoint(tmp_path):
    def three(first_step):
        return itertools.islice(drawn(first_step), 3 - first_step)

    with pytest.raises(DatasetError, match="`batches` ended before the training did"):
        training.train(small_model(), three, own_run(tmp_path, 5))
    assert last_step(tmp_path) == 3


def test_hooks_fire_at_their_steps(tmp_path):
    calls = []

    def note(name):
        return lambda moment: calls.append((name, moment.step, int(moment.model.step)))

    hooks = [
        Hook(2, note("often"), at_start=note("begin")),
        Hook(2, note("between"), at_end=False),
        Hook(99, note("end")),
    ]
    training.train(small_model(), drawn, own_run(tmp_path, 5), hooks)
    expected = [("begin", 0), ("often", 2), ("between", 2), ("often", 4)]
    expected += [("between", 4), ("often", 5), ("end", 5)]
    assert calls == [(name, step, step) for name, step in expected]
    calls.clear()  # the run goes on: its start is over
    training.train(small_model(), drawn, own_run(tmp_path, 6), hooks)
    expected = [("often", 6), ("between", 6), ("end", 6)]
    assert calls == [(name, step, step) for name, step in expected]


def test_another_model_in_the_same_folder_is_refused(tmp_path):
    training.train(small_model(), drawn, own_run(tmp_path, 1))
    before = (tmp_path / "model.json").read_bytes()
    with pytest.raises(RunError, match="does not fit the networks"):
        training.train(small_model(latent_size=7), drawn, own_run(tmp_path, 2))
    assert (tmp_path / "model.json").read_bytes() == before
    assert last_step(tmp_path) == 1 and len(read_lines(tmp_path)) == 1


def test_pixels_from_0_to_255_are_refused_before_the_first_step(tmp_path):
    model, pixels = small_model(), np.full((4, 8, 8, 1), 200.0, np.float32)
    run = Run(tmp_path, num_iterations=2)
    with pytest.raises(DatasetError, match="Received: float32, from 200 to 200. Give"):
        training.train(model, lambda step: itertools.repeat(pixels), run)
    assert int(model.step) == 0


@pytest.mark.parametrize("algorithm", ["coopnets", "D", "G"])
def test_several_steps_a_call_are_the_same_steps(tmp_path, algorithm):
    make = {
        "coopnets": helpers.new_model,
        "D": helpers.make_descriptor_model,
        "G": lambda: helpers.make_generator_model(num_images=1797),
    }[algorithm]
    options = {"num_iterations": 11, "log_every": 4, "checkpoint_every": 6}
    helpers.train(make(), tmp_path / "one", sample_every=5, **options)
    several = {**options, "sample_every": 5, "steps_per_call": 3}
    helpers.train(make(), tmp_path / "some", **{**several, "num_iterations": 7})
    helpers.train(make(), tmp_path / "some", **several)
    whole, some = (helpers.metrics(tmp_path / name) for name in ("one", "some"))
    assert [line for line in some if line["step"] != 7] == whole
    first, second = (helpers.checkpoint(tmp_path / name) for name in ("one", "some"))
    for name, value in first.items():
        if "save_counter" not in name:
            np.testing.assert_array_equal(value, second[name], err_msg=name)


def test_a_call_of_several_steps_stays_in_the_graph():
    model = helpers.make_model(num_steps=1)
    steps = stepping.build_steps(model)
    for number in (3, 2, 4):
        steps(tf.zeros([number, 4, 8, 8, 1]))
    assert int(model.step) == 9
    graphs = [steps.get_concrete_function(tf.zeros([5, 4, 8, 8, 1])).graph]
    assert steps.experimental_get_tracing_count() <= 2  # of 3 steps, and of any number
    graphs += [one.graph for one in graphs[0]._functions.values()]
    kinds = {operation.type for graph in graphs for operation in graph.get_operations()}
    assert "While" in kinds or "StatelessWhile" in kinds
    assert not [kind for kind in kinds if "Py" in kind or "Print" in kind]


@pytest.mark.parametrize("several", [False, True])
def test_a_step_compiled_by_xla_is_the_same_step(several):
    """Without noise, which is another one there; sums run in another order."""
    images = helpers.noise(3, 6, 8, 8, 1).clip(-1, 1).astype(np.float32)
    found = []
    for compiled in (False, True):
        model = AlgorithmD(
            helpers.make_descriptor(),
            num_chains=6,
            chain_init="data",
            revision_noise_until=0,
        )
        model.compile(helpers.adam(0.003), jit_compile=compiled)
        step = (stepping.build_steps if several else stepping.build_step)(model)
        calls = [images] if several else images
        metrics = [step(call) for call in calls][-1]
        if compiled:  # which is refused of other functions
            assert step.experimental_get_compiler_ir(calls[0])(stage="hlo")
        found.append({name: float(value) for name, value in metrics.items()})
    for name, value in found[0].items():
        assert found[1][name] == pytest.approx(value, rel=1e-3, abs=1e-5), name
