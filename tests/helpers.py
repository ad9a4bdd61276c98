"""What several test files use: small models, trainings, and main.py in this process."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import flags
import main
from coopnets_tf import (
    AlgorithmD,
    AlgorithmG,
    CoopNets,
    Descriptor,
    Generator,
    Langevin,
)
from coopnets_tf.data import datasets, images
from coopnets_tf.networks import built_in, rows, spectral
from coopnets_tf.runs import saving, stepping, training
from coopnets_tf.runs.checkpoints import listed
from coopnets_tf.runs.folder import Run
from coopnets_tf.runs.hooks import pictures
from flags import definitions

# Graphs run a few times here, and rewriting them costs more than it saves. Processes of
# the slow tests rewrite theirs, as users' do.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

# Parts of the CPU, which stand for devices; all that is not shared is on the first.
(_cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    _cpu, [tf.config.LogicalDeviceConfiguration()] * 4
)

# To most tests any pair of networks will do: "toy" has a layer of each kind and takes
# little time to trace; "weave" is for images of any size. That of the oracle is
# "digits" with fewer filters.
built_in.TABLES["toy"] = built_in.Table(
    [rows.Conv(3, 2, 8)],
    [rows.Deconv(None, 1, 16), rows.Deconv(4, 2, None)],
)
built_in.TABLES["toy_clips"] = built_in.TABLES["toy"]._replace(
    axes=("frames", "height", "width")
)
built_in.TABLES["toy_residual"] = built_in.Table(
    [rows.Conv(3, 2, 4, "silu"), rows.Halving(6)],
    [rows.Deconv(None, 1, 8, "silu"), rows.Doubling(6), rows.Deconv(4, 2, None)],
    stddev=None,
)
built_in.TABLES["oracle"] = built_in.Table(
    [rows.Conv(3, 1, 8), rows.Conv(4, 2, 12), rows.Conv(3, 1, 16)],
    [
        rows.Deconv(None, 1, 24),
        rows.Deconv(3, 1, 16),
        rows.Deconv(4, 2, None),
    ],
)
built_in.TABLES["weave"] = built_in.Table(
    [rows.Conv(3, 2, 8)],
    [rows.Deconv(4, 2, 8), rows.Deconv(4, 2, None)],
    sums_all=True,
)
definitions.networks.NETWORKS = tuple(built_in.TABLES)

ROOT = Path(__file__).parent.parent
TINY = [
    "--num_iterations=2",
    "--batch_size=4",
    "--num_chains=4",
    "--descriptor_num_steps=1",
    "--latent_size=4",
    "--num_samples=4",
]
TOY = [*TINY, "--network=toy"]  # not in a process of its own

# Small models on 8x8 images.


def make_descriptor(
    *,
    network="toy",
    num_steps=3,
    unroll=True,
    max_gradient=None,
    gradient_weight=None,
    reference_stddev=0.3,
    penalty=0.0,
    augment=(),
    class_shares=None,
    spectral_norm=False,
):
    keras.utils.set_random_seed(11)
    options = {"num_outputs": 7, "num_classes": len(class_shares or ())}
    built = built_in.descriptor(network, (8, 8, 1), **options)
    return Descriptor(
        spectral.normalised(built) if spectral_norm else built,
        revision=Langevin(num_steps, 0.05, unroll, max_gradient, gradient_weight),
        reference_stddev=reference_stddev,
        penalty=penalty,
        augment=augment,
        image_shape=(8, 8, 1),
        class_shares=class_shares,
    )


def make_generator(
    *,
    network="toy",
    inference_steps=0,
    unroll=True,
    latent_size=6,
    class_shares=None,
):
    classes = len(class_shares or ())
    return Generator(
        built_in.generator(network, (8, 8, 1), (latent_size,), num_classes=classes),
        inference=Langevin(inference_steps, 0.1, unroll),
        residual_stddev=0.4,
        latent_shape=built_in.latent_shape_of(network, (8, 8, 1), (latent_size,)),
        class_shares=class_shares,
    )


def descriptor_of(network, **options):
    """A descriptor of any network."""
    options = {"revision": Langevin(3, 0.01), "reference_stddev": 0.016, **options}
    return Descriptor(network, **options)


def generator_of(network, **options):
    """A generator of any network."""
    return Generator(
        network, inference=Langevin(2, 0.1), residual_stddev=0.3, **options
    )


def adam(rate):
    return keras.optimizers.Adam(rate, beta_1=0.5, epsilon=1e-8)


def make_model(
    *,
    network="toy",
    inference_steps=0,
    latent_size=6,
    unroll=True,
    num_chains=5,
    revision_noise_until=None,
    inference_noise_until=None,
    run_seed=0,
    limits=None,
    data_teaching=0.0,
    num_images=None,
    class_shares=None,
    **descriptor,
):
    """A small cooperative model, compiled."""
    both = {"network": network, "unroll": unroll, "class_shares": class_shares}
    model = CoopNets(
        make_descriptor(**both, **descriptor),
        make_generator(
            **both, inference_steps=inference_steps, latent_size=latent_size
        ),
        num_chains=num_chains,
        revision_noise_until=revision_noise_until,
        inference_noise_until=inference_noise_until,
        run_seed=run_seed,
        limits=limits,
        data_teaching=data_teaching,
        num_images=num_images,
    )
    model.compile(adam(0.003), adam(0.001))
    return model


def make_dual_model(*, num_images=10, inference_steps=2, **options):
    """A small model of dual teaching, compiled."""
    return make_model(
        data_teaching=0.5,
        num_images=num_images,
        inference_steps=inference_steps,
        **options,
    )


def make_descriptor_model(
    *, num_chains=5, chain_init="persistent", num_persistent_chains=12, **options
):
    """A small descriptor that learns alone, compiled."""
    own = ("refresh_probability", "run_seed", "limits")
    own = {name: options.pop(name) for name in own if name in options}
    model = AlgorithmD(
        make_descriptor(**options),
        num_chains=num_chains,
        chain_init=chain_init,
        num_persistent_chains=num_persistent_chains,
        **own,
    )
    model.compile(adam(0.003))
    return model


def make_generator_model(*, num_images=10, inference_steps=2, run_seed=0, **options):
    """A small generator that learns alone, compiled."""
    keras.utils.set_random_seed(11)
    model = AlgorithmG(
        make_generator(inference_steps=inference_steps, **options),
        num_images=num_images,
        run_seed=run_seed,
    )
    model.compile(generator_optimizer=adam(0.001))
    return model


def layers(net, prefix):
    """The layers of a net's network whose names begin with a prefix, in their order."""
    return [layer for layer in net.network.layers if layer.name.startswith(prefix)]


def top(descriptor):
    """The layer above the maps of a built-in descriptor."""
    return descriptor.network.get_layer("outputs_sum")


def sharpen(model, descriptor=8.0):
    """Images that differ from each other and a descriptor that has a say in them, whose
    kernels are multiplied.
    """
    for net, factor in ((model.generator, 20.0), (model.descriptor, descriptor)):
        for weight in net.trainable_variables:
            if weight.path.endswith("kernel"):
                weight.assign(factor * weight)
    return model


def spread(net):
    """Larger weights of a generator, whose statistics are then not the initial ones."""
    for layer in layers(net, "deconv"):
        layer.kernel.assign(layer.kernel * 0.1 / built_in.GENERATOR_STDDEV)
    return net


# Trainings.


def train(model, run_dir, *, data=None, batch_size=8, hooks=(), **changes):
    """A short training on the digits in a folder; returns the model.

    `changes` are those of `Run`, and `sample_every`.
    """
    options = {"num_iterations": 5, "log_every": 2, "checkpoint_every": 3, **changes}
    every = options.pop("sample_every", 4)
    data = data or datasets.load("digits")
    run = Run(
        run_dir,
        **{
            "max_rollbacks": 0,
            "dataset": {"dataset": "digits"},
            "settings": {"dataset": "digits"},
            "steps_per_epoch": data.steps_per_epoch(batch_size),
            **options,
        },
    )
    shown = pictures(every, num_images=6, observed=data[:6])
    batches = data.batches(batch_size, run_seed=model.run_seed)
    training.train(model, batches, run, [shown, *hooks])
    return model


def new_model():
    """What a new process would build."""
    return make_model(inference_steps=1, unroll=False)


def poison(monkeypatch, step, value=np.nan, times=1):
    """Spoils the descriptor once the given step is done, `times` times in all."""
    original, left = stepping.build_step, [times]

    def build(model):
        step_fn = original(model)

        def spoiling(batch):
            metrics = step_fn(batch)
            if int(model.step) == step and left[0]:
                left[0] -= 1
                kernel = top(model.descriptor).kernel
                kernel.assign(kernel * value)
            return metrics

        return spoiling

    monkeypatch.setattr(stepping, "build_step", build)


# What a run leaves.


def read_lines(run_dir):
    return (run_dir / "metrics.jsonl").read_text().splitlines()


def metrics(run_dir):
    """The lines of metrics.jsonl without the speeds."""
    lines = [json.loads(line) for line in read_lines(run_dir)]
    return [
        {key: line[key] for key in line if "per_second" not in key} for line in lines
    ]


def scalars(run_dir):
    """TensorBoard's events without the speeds."""
    folder = str(run_dir / "tensorboard")
    events = EventAccumulator(folder, size_guidance={"tensors": 0}).Reload()
    return {
        tag: [
            (event.step, event.tensor_proto.SerializeToString())
            for event in events.Tensors(tag)
        ]
        for tag in events.Tags()["tensors"]
        if "per_second" not in tag
    }


def checkpoint(run_dir):
    """The variables of the newest checkpoint."""
    path = listed(run_dir / "checkpoints")[-1]
    reader = tf.train.load_checkpoint(str(path))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if "VARIABLE_VALUE" in name
    }


def assert_same_run(one, other):
    assert metrics(one) == metrics(other)
    assert scalars(one) == scalars(other)
    first, second = checkpoint(one), checkpoint(other)
    assert set(first) == set(second)
    for name, value in first.items():
        if "save_counter" not in name:
            np.testing.assert_array_equal(value, second[name], err_msg=name)
    pictures = sorted(path.name for path in (one / "samples").iterdir())
    assert pictures == sorted(path.name for path in (other / "samples").iterdir())
    for name in pictures:
        same = (one / "samples" / name).read_bytes()
        assert same == (other / "samples" / name).read_bytes(), name


def write_checkpoint(folder, step):
    """What TensorFlow leaves of a checkpoint, without its contents."""
    folder.mkdir()
    (folder / f"ckpt-{step}.index").touch()
    (folder / f"ckpt-{step}.data-00000-of-00001").touch()
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "ckpt-{step}"\n')


def write_run(model, folder, *, step=0):
    """A run of the digits as training leaves it, for use."""
    model.step.assign(step)
    (folder / "checkpoints").mkdir(parents=True)
    model.checkpoint().write(str(folder / "checkpoints" / f"ckpt-{step}"))
    saving.describe(model, Run(folder, step, dataset={"dataset": "digits"}))
    return folder


def read_picture(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def assert_near(pixels, expected):
    """Pictures equal images in [-1, 1] but for rounding at a half."""
    difference = pixels.astype(int) - images.to_uint8(expected)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.01


def names(folder):
    """The files in a folder and the folders in it."""
    return {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    }


# main.py.


def call(*arguments, cwd):
    """main.py in this process, but for the start of TensorFlow.

    Returns:
      Exit code, output, errors.
    """
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        flags.FLAGS.unparse_flags()
        argv, sys.argv = sys.argv, ["main.py", *arguments]
        try:
            flags.parse(sys.argv)
            main.run(flags.settings())
        except SystemExit as end:
            code = end.code
        finally:
            sys.argv = argv
            flags.FLAGS.unparse_flags()
    return code, output.getvalue(), errors.getvalue()


def called(*arguments, cwd):
    """The output of main.py in this process, which succeeds without a warning."""
    code, output, errors = call(*arguments, cwd=cwd)
    assert (code, errors) == (0, ""), errors
    return output


def refused(*arguments, cwd):
    """The one line of main.py's refusal, in this process."""
    code, _, errors = call(*arguments, cwd=cwd)
    assert code == 2 and errors.count("\n") == 1, errors
    return errors


def run(*arguments, cwd):
    """main.py as a user runs it, in a process of its own."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("TF_CPP_MIN_LOG_LEVEL", "PYTHONPATH")
    }
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def noise(*shape, seed=0):
    """Images of which no two values are the same, but for chance."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@contextlib.contextmanager
def keras_set_to(policy):
    """As a user's keras.json or program may have set Keras."""
    kept = keras.config.floatx(), keras.config.image_data_format()
    policy_before = keras.config.dtype_policy()
    keras.config.set_floatx("float64" if policy == "float64" else "float32")
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_floatx(kept[0])
        keras.config.set_image_data_format(kept[1])
        keras.config.set_dtype_policy(policy_before)
