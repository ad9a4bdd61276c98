import json

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from coopnets_tf.data import datasets
from coopnets_tf.runs import training
from coopnets_tf.runs.checkpoints import Checkpoints, listed
from tests.helpers import make_model, read_lines, train

SAMPLED = ("observed", "generator", "descriptor")




@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("run")
    return train(make_model(), run_dir), run_dir




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
    model = make_model()
    step_fn = training.build_step(model)
    batches = datasets.load("digits").batches(8, run_seed=0)
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
    # 3 columns, 2 rows of 8x8 digits enlarged four times, gaps of two.
    with Image.open(run_dir / "samples/generator_000005.png") as picture:
        assert picture.size == (104, 70)


def test_pictures_come_from_the_same_latents(tmp_path):
    """A rate of nearly nothing leaves the nets, and so the pictures, as they are."""
    model = make_model(num_noise_steps=0)
    for net in (model.descriptor, model.generator):
        net.optimizer.learning_rate = 1e-12
    train(model, tmp_path, sample_every=1, num_iterations=2)
    first, second = (
        np.asarray(Image.open(tmp_path / f"samples/descriptor_00000{step}.png"), int)
        for step in (1, 2)
    )
    assert np.abs(first - second).max() <= 1
    assert first.std() > 1


def test_tensorboard(trained):
    _, run_dir = trained
    folder = str(run_dir / "tensorboard")
    events = EventAccumulator(folder, size_guidance={"tensors": 0})
    tags = set(events.Reload().Tags()["tensors"])
    assert {"generator_loss", "energy_gap", "steps_per_second"} <= tags
    assert {"settings", "latents"} <= tags
    assert {f"samples/{name}" for name in SAMPLED} <= tags
    assert any(tag.endswith("conv_0/kernel") for tag in tags)
    assert [event.step for event in events.Tensors("generator_loss")] == [2, 4, 5]


def test_the_last_checkpoint_holds_everything(trained):
    model, run_dir = trained
    restored = make_model(run_seed=0)
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
