import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import flags
from benchmarks import curves, hosts, lower, pipeline, run, step
from coopnets_tf import (
    AlgorithmD,
    AlgorithmG,
    CoopNets,
    Descriptor,
    Generator,
    Langevin,
)
from coopnets_tf.data import kept
from coopnets_tf.networks import built_in
from tests import helpers
from tests.helpers import (
    make_descriptor_model,
    make_dual_model,
    make_generator_model,
    make_model,
)


@pytest.mark.parametrize(
    ("name", "shape", "up", "down"),
    [
        # Multiplications of one pass, by layer: places of the output (of the input,
        # going down) times the kernel's entries.
        (
            "mnist",
            (28, 28, 1),
            [196 * 1_024, 49 * 131_072, 16 * 524_288, 409_600],
            [819_200, 16 * 2_097_152, 49 * 524_288, 196 * 2_048],
        ),
        (
            "scene",
            (64, 64, 3),
            [1_024 * 4_800, 256 * 73_728, 256 * 294_912, 6_553_600],
            [819_200, 16 * 3_276_800, 64 * 819_200, 256 * 204_800, 1_024 * 4_800],
        ),
        # 22 x 22 places going up, all of whose answers are summed; 2 x 2 latents.
        (
            "texture",
            (64, 64, 3),
            [484 * 67_500, 484 * 567_000, 484 * 102_900],
            [
                4 * 1_280_000,
                16 * 3_276_800,
                64 * 819_200,
                256 * 204_800,
                1_024 * 4_800,
            ],
        ),
        # Two layers of 3 x 3 a block and one of 1 x 1 beside them, on pooled maps; down
        # 4 x 4, 3 x 3 and 2 x 2, of which the second on maps twice as large.
        (
            "residual",
            (32, 32, 3),
            [
                256 * 4_800,
                64 * (64_512 + 112_896 + 7_168),
                16 * (161_280 + 230_400 + 17_920),
                4 * (276_480 + 331_776 + 30_720),
                76_800,
            ],
            [
                102_400,
                4 * (655_360 + 163_840) + 16 * 230_400,
                16 * (327_680 + 81_920) + 64 * 147_456,
                64 * (131_072 + 32_768) + 256 * 36_864,
                256 * 4_800,
            ],
        ),
        # Of 32 frames 16, 8 and 4 going up, from latents of 2 frames to 6, 16 and 32.
        (
            "moving_texture_small",
            (32, 64, 64, 3),
            [16_384 * 15_000, 8 * 4_096_000, 4 * 1_000],
            [2 * 64_000, 6 * 10_485_760, 4_096 * 256_000, 32_768 * 4_800],
        ),
    ],
)
@pytest.mark.parametrize("inference_steps", [0, 2])
def test_step_flops(name, shape, up, down, inference_steps):
    descriptor = Descriptor(
        built_in.descriptor(name, shape),
        revision=Langevin(15, 0.002),
        reference_stddev=0.016,
        image_shape=shape,
    )
    generator = Generator(
        built_in.generator(name, shape),
        inference=Langevin(inference_steps, 0.1),
        residual_stddev=0.3,
        latent_shape=built_in.latent_shape_of(name, shape, (100,)),
    )
    model = CoopNets(descriptor, generator, num_chains=144)
    expected = 144 * 15 * 2 * sum(up) + 244 * (3 * sum(up) - up[0])
    expected += 144 * (3 * sum(down) - down[0])
    if inference_steps:
        expected += 144 * (2 * 2 * sum(down) + sum(down))
    assert step.step_flops(model, 100) == 2 * expected
    alone = AlgorithmD(descriptor, num_chains=144, chain_init="noise")
    expected = 144 * 15 * 2 * sum(up) + 244 * (3 * sum(up) - up[0])
    assert step.step_flops(alone, 100) == 2 * expected
    alone = AlgorithmG(generator, num_images=3)
    expected = 100 * (inference_steps * 2 * sum(down) + 3 * sum(down) - down[0])
    assert step.step_flops(alone, 100) == 2 * expected
    if inference_steps:  # dual teaching
        both = CoopNets(
            descriptor, generator, num_chains=144, data_teaching=1.0, num_images=3
        )
        expected += 144 * 15 * 2 * sum(up) + 244 * (3 * sum(up) - up[0])
        expected += 144 * (3 * sum(down) - down[0])
        assert step.step_flops(both, 100) == 2 * expected


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ([], (8, 8, 1)),
        (["--dataset=mnist", "--network=residual"], (28, 28, 1)),
        (["--dataset=cifar10", "--network=residual"], (32, 32, 3)),
        (["--dataset=docs/images", "--image_size=48x64"], (48, 64, 3)),
        (
            ["--dataset=docs/images", "--image_size=28", "--color_mode=grey"],
            (28, 28, 1),
        ),
        (["--dataset=docs/images", "--num_frames=16"], (16, 64, 64, 3)),
        (["--dataset=brick"], (128, 128, 1)),
    ],
)
def test_images_are_as_a_training_reads_them(monkeypatch, arguments, shape):
    monkeypatch.chdir(helpers.ROOT)
    flags.parse(["step", *arguments])
    assert step.image_shape(flags.settings()) == shape


def report(step, split, *, distance, seed=0):
    scores = {"frechet_distance": distance, "parzen": {"nats": 1.0}, "recall": 0.5}
    return {
        "step": step,
        "protocol": {"split": split, "seed": seed, "metrics": [step]},
        "scores": {"generator": scores, "descriptor": scores},
    }


def test_curves_are_of_evaluations_on_held_out_images(tmp_path):
    for path, content in {
        "evaluations/000020.json": report(20, "validation", distance=3.0),
        "evaluations/000010.json": report(10, "validation", distance=5.0),
        "evaluate-1/report.json": report(30, "validation", distance=2.0),
        "evaluate-2/report.json": report(40, "test", distance=1.0),
        "evaluate-3/report.json": report(20, "validation", distance=3.0),
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(json.dumps(content))
    found = curves.validated(tmp_path)
    assert [one["step"] for one in found] == [10, 20, 30]
    distances = [one["scores"]["generator"]["frechet_distance"] for one in found]
    assert distances == [5.0, 3.0, 2.0]
    found[0]["protocol"]["ceiling"] = True  # which changes no score of a net
    found[1]["protocol"]["baselines"] = {"gaussian_fitted_to": 2_000}
    curves.refuse_a_mixture(found)
    other = report(50, "validation", distance=1.0, seed=1)
    with pytest.raises(SystemExit, match="different protocols"):
        curves.refuse_a_mixture([*found, other])


def test_curves_are_drawn(tmp_path):
    points = [
        {
            "run": run,
            "net": net,
            "PFLOP": 1.0 * step,
            "minutes": 2.0 * step,
            **{name: 10.0 / step for name in curves.SCORES},
        }
        for run in ("one", "other")
        for net in curves.STYLES
        for step in (1, 2, 3)
    ]
    curves.draw(points, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        colours = np.unique(np.asarray(picture)[..., :3].reshape(-1, 3), axis=0)
        assert picture.size == (1200, 700) and len(colours) > 50


def test_gradients_are_as_many_as_weights():
    model = helpers.make_model(num_chains=4)
    weights = [weight for net in model.nets.values() for weight in net.get_weights()]
    numbers = sum(weight.size for weight in weights)
    # Two moving averages of each of the 16 maps that batch norm sees.
    assert hosts.gradient_bytes(model) == 4 * (numbers - 2 * 16)


@pytest.mark.slow
def test_two_processes_measure_what_they_share():
    command = [sys.executable, "-m", "benchmarks.hosts", "--benchmark_steps=1"]
    command += ["--batch_size=4", "--num_chains=4", "--descriptor_num_steps=1"]
    done = subprocess.run(
        command, cwd=helpers.ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    # Mean and variance of two batch norms, there and back; two nets; the metrics.
    assert found["collectives"] == {"CollectiveReduceV2": 4 * 2 + 2 + 1}
    assert found["hosts"] == found["replicas"] == 2
    assert found["gradient_bytes"] == 2_962_836
    assert min(found["step_seconds"], found["step_seconds_alone"]) > 0


HOST_CALLS = ("custom_call", "infeed", "outfeed", "stablehlo.send", "stablehlo.recv")


def lowering(name):
    """The step of toy models, or of a built-in network, as StableHLO."""
    if name == "D":
        model = make_descriptor_model(chain_init="noise")
    elif name == "G":
        model = make_generator_model()
    elif name == "dual":
        model = make_dual_model()
    else:
        model = make_model(network=name, inference_steps=1)
    batch = {"images": tf.zeros([4, 8, 8, 1])}
    if "latents" in model.kept:
        batch["numbers"] = tf.range(4)
    return lower.lowered(model, batch)


@pytest.mark.parametrize("name", ["toy", "D", "G", "dual"])
def test_a_lowered_step_stays_on_the_device(name):
    text = lowering(name)
    assert "stablehlo.convolution" in text
    assert not [call for call in HOST_CALLS if call in text]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*run.NETWORKS, "object", "residual"])
def test_a_lowered_step_of_a_built_in_network_does_so_too(name):
    scene = run.NETWORKS["scene"]
    arguments = run.NETWORKS.get(name, [*scene, f"--network={name}"])
    model, batch, _ = step.built(run.settings_of([*arguments, "--noguard"]))
    text = lower.lowered(model, batch)
    assert not [call for call in HOST_CALLS if call in text]


@pytest.mark.slow
def test_what_jax_makes_of_a_lowered_step(tmp_path, monkeypatch):
    """The same numbers as TensorFlow has compiled by XLA."""
    pytest.importorskip("jax")
    from benchmarks import lowered

    arguments = [*helpers.TINY, "--generator_num_steps=1", "--images_along=8"]
    monkeypatch.setattr(lowered, "FOLDER", tmp_path / "there")
    for command in (
        ["-m", "benchmarks.lower", f"--out={tmp_path / 'there'}", *arguments],
        [str(tmp_path / "there" / "run.py"), "--steps=3"],
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=helpers.ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    flags.parse(["lower", *arguments])
    _, model, _ = lower.built()
    step = tf.function(model.train_step, autograph=False, jit_compile=True)
    facts = json.loads((tmp_path / "there" / "step.json").read_text())
    upcoming = lowered.batches(facts)
    for _ in range(3):
        step(tf.nest.map_structure(tf.constant, next(upcoming)))
    # Before batch norm a gradient is rounding alone, and the means follow it.
    idle = "deconv_0_bias", "deconv_1_bias", "norm_0_moving_mean", "norm_1_moving_mean"
    with np.load(tmp_path / "there" / "state-3.npz") as found:
        for name, variable in lower.state_of(model).items():
            if any(one in name for one in idle):
                continue
            ours, theirs = (np.float64(one) for one in (variable.numpy(), found[name]))
            apart, size = (np.sqrt(np.mean(one**2)) for one in (theirs - ours, ours))
            # Both round otherwise, which batch norm over small maps makes larger: found
            # were up to 0.8 %. Entries whose gradient is nearly zero go by Adam's rate
            # either way, so that only all of them together can be compared.
            assert apart <= 0.02 * size, name


def test_the_pipeline_is_measured_on_what_it_makes(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(kept, "WORTH", kept.WORTH)
    monkeypatch.setattr(kept, "SETTLED", -1e9)
    (tmp_path / "photos").mkdir()
    pipeline.make_photographs(tmp_path / "photos", number=3)
    with Image.open(tmp_path / "photos" / "000.jpg") as image:
        assert image.size == (1152, 864)
    found = pipeline.measure(tmp_path / "photos")
    assert found["found"] == "photos: 3 images" and found["kilobytes_a_file"] > 100
    rates = [found[what]["images_per_cpu_second"] for what in ("decoded", "kept")]
    assert 0 < rates[0] < rates[1]
