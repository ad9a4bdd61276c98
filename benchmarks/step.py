"""How fast is a training step, against this machine's own matrix product?

    python -m benchmarks.step --dataset=mnist|digits|FOLDER|... [any flag of main.py]

Runs the step that main.py would run with these flags, on random images, and prints one
JSON line. `flops_per_step` counts what the layer tables ask for, two operations for a
multiplication and addition; what the code saves by summing filters first is not
subtracted, so a `ratio` above 1 is possible. `guard_share` and `checkpoint_share` are
what the guard and the checkpoints cost at the flags' intervals, in parts of a step.
"""

import itertools
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import tempfile
import time
from importlib import metadata
from pathlib import Path

from absl import app
from absl import flags as absl_flags

import flags
import surroundings

NUM_STEPS = absl_flags.DEFINE_integer(
    "benchmark_steps", 7, "Steps that are timed, after two that are not.", lower_bound=1
)
ROOT = Path(__file__).parent.parent
MATRIX = 4096  # side of the matrices whose product is the yardstick
IMAGE_SHAPES = {
    "digits": (8, 8, 1),
    "mnist": (28, 28, 1),
    "fashion_mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
}


def layers(net, prefix):
    """The layers of a built-in network whose names begin with a prefix, in order."""
    return [layer for layer in net.network.layers if layer.name.startswith(prefix)]


def flops(net, found, maps, shape):
    """Operations of some layers, each with its kernel at all places of a map.

    Args:
      found: layers.
      maps: of each layer, one that the network makes.
      shape: of what the network takes.
    """
    import keras

    shapes = keras.Model(net.network.inputs, maps).compute_output_shape((1, *shape))
    return [
        2 * math.prod(layer.kernel.shape) * math.prod(shape[1:-1])
        for layer, shape in zip(found, shapes, strict=True)
    ]


def descriptor_flops(descriptor):
    """Operations of one image on its way up, by layer."""
    convs = layers(descriptor, "conv_")
    maps = [layer.output for layer in convs]
    tops = layers(descriptor, "outputs_sum")
    return [
        *flops(descriptor, convs, maps, descriptor.image_shape),
        *(2 * math.prod(top.kernel.shape) for top in tops),
    ]


def generator_flops(generator):
    """Operations of the latents of one image on their way down, by layer."""
    deconvs = layers(generator, "deconv_")
    maps = [layer.input for layer in deconvs]
    return flops(generator, deconvs, maps, generator.latent_shape)


def step_flops(model, batch_size):
    """Operations of one training step.

    A pass down costs what the pass up does, for the inputs and for the weights each;
    learning needs no gradient of a net's own input. In CoopNets G2 reuses the pass of
    G0 unless G1 has moved the latents; where latents are kept, G1 is of the observed
    images.
    """
    number, kept = 0, "latents" in model.kept
    if model.descriptor:
        up, chains = descriptor_flops(model.descriptor), model.num_chains
        number += chains * model.revision_steps * 2 * sum(up)
        number += (batch_size + chains) * (3 * sum(up) - up[0])
    if model.generator:
        down, steps = (
            generator_flops(model.generator),
            model.generator.inference.num_steps,
        )
        drafts = model.num_chains if model.descriptor else 0
        number += (batch_size if kept else drafts) * steps * 2 * sum(down)
        learned = drafts + batch_size * kept
        number += learned * (3 * sum(down) - down[0])
        if steps and not kept:
            number += drafts * sum(down)
    return number


def random_batch(model, batch_size):
    """What a training step takes: images and their numbers."""
    import tensorflow as tf

    shape = [batch_size, *model.image_shape]
    observed = tf.random.stateless_uniform(shape, [0, 0], -1, 1)
    return {"images": observed, "numbers": tf.range(batch_size)}


def image_shape(settings):
    """Of the images that a training with these settings would read."""
    from commands import build
    from coopnets_tf.data import named

    if settings["dataset"] in IMAGE_SHAPES:
        return IMAGE_SHAPES[settings["dataset"]]
    grey = settings["dataset"] in named.TEXTURES or settings["color_mode"] == "grey"
    frames = [settings["num_frames"]] if settings["num_frames"] else []
    return (*frames, *build.image_size(settings), 1 if grey else 3)


def median_seconds(functions, number):
    """The median time of each function over `number` calls, after two more.

    They take turns, since a shared machine is not equally fast all the time.
    """
    times = [[] for _ in functions]
    for _ in range(number + 2):
        for function, own in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            own.append(time.perf_counter() - start)
    return [statistics.median(own[2:]) for own in times]


def finish(metrics):
    """Waits for the end of a step."""
    return float(next(iter(metrics.values())))


def guard_seconds(model, log_every, number=200):
    """The guard's part of one step, measured alone: an upper bound, for inside the step
    it is a few small operations of one graph and here a call of its own.
    """
    import tensorflow as tf

    values = [tf.constant(1.0)] * len(model.means)
    watch = tf.function(
        lambda *sizes: model.watch(dict(zip(model.means, sizes, strict=True)))
    )
    watch_seconds, alarm_seconds = median_seconds(
        [lambda: watch(*values), model.alarm], number
    )
    return watch_seconds + alarm_seconds / log_every


def checkpoint_seconds(model, number=5):
    """The time of one checkpoint, on the disk of the temporary folder."""
    from coopnets_tf import Run
    from coopnets_tf.runs.checkpoints import Checkpoints

    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, num_iterations=number, log_every=1, checkpoint_every=1)
        checkpoints, steps = Checkpoints(model, run), itertools.count()
        return median_seconds([lambda: checkpoints.save(next(steps))], number)[0]


def built(settings):
    """The model that main.py would train, random images for it, and its step."""
    surroundings.load_tensorflow()
    from commands import build, train
    from coopnets_tf.runs.stepping import build_step

    batch_size = settings["batch_size"]
    settings = train.planned(settings, steps_per_epoch=1)
    model = build.model(settings, image_shape(settings), batch_size)
    return model, random_batch(model, batch_size), build_step(model)


def peak_memory():
    """The most memory that this process has had, MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure():
    settings = flags.settings()
    model, batch, step_fn = built(settings)
    import tensorflow as tf

    batch_size = settings["batch_size"]
    start = time.perf_counter()
    step_fn.get_concrete_function(batch)
    trace_seconds = time.perf_counter() - start

    matrix = tf.random.stateless_normal([MATRIX, MATRIX], [0, 0])
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)[0]))
    step_seconds, matmul_seconds = median_seconds(
        [lambda: finish(step_fn(batch)), lambda: float(product())],
        NUM_STEPS.value,
    )
    number = step_flops(model, batch_size)
    gflops = number / step_seconds / 1e9
    save_seconds = checkpoint_seconds(model)
    checkpoint_share = save_seconds / settings["checkpoint_every"]
    guard_share = guard_seconds(model, settings["log_every"]) / step_seconds
    matmul_gflops = 2 * MATRIX**3 / matmul_seconds / 1e9
    return {
        "step_seconds": round(step_seconds, 4),
        "flops_per_step": number,
        "gflops": round(gflops, 1),
        "matmul_gflops": round(matmul_gflops, 1),
        "ratio": round(gflops / matmul_gflops, 3),
        "guard_share": round(guard_share, 6),
        "checkpoint_share": round(checkpoint_share / step_seconds, 6),
        "checkpoint_seconds": round(save_seconds, 4),
        "trace_seconds": round(trace_seconds, 2),
        "peak_memory_mb": peak_memory(),
        "algorithm": settings["algorithm"],
        "network": settings["network"],
        "batch_size": batch_size,
        "num_chains": model.num_chains if model.descriptor else batch_size,
        "descriptor_num_steps": settings["descriptor_num_steps"],
        "generator_num_steps": settings["generator_num_steps"],
        "langevin_loop": settings["langevin_loop"],
        "precision": settings["precision"],
        "jit_compile": settings["jit_compile"],
        **facts(),
    }


def facts():
    """Where, of what and when something is measured."""
    return {
        "device": device(),
        "machine": f"{platform.machine()} {processor()}",
        "tensorflow": metadata.version("tensorflow"),
        "keras": metadata.version("keras"),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def device():
    """Where TensorFlow runs; without the package, which an export does without."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"CPU, {os.cpu_count()} cores"
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")


def processor():
    """The processor's name where Linux tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":")[1] for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0].strip() if names else platform.processor()


def commit():
    command = ["git", "describe", "--always", "--dirty"]
    try:
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return answer.stdout.strip() or None


if __name__ == "__main__":
    app.run(lambda argv: print(json.dumps(measure())), flags_parser=flags.parse)
