"""How fast does an export answer?

    python -m benchmarks.serving --export=runs/digits-1/export

Loads the SavedModel as any program does that has nothing of this package, calls its
signatures `generate` and `sample` (revised as in training) for 1 and for 64 images, in
turns, and prints one JSON line. `median_ms` and `percentile_95_ms` are the time of one
call, from numbers in this process to images in this process: no network, no JSON.
`images_per_second` is what calls one after the other give.
"""

import json
import os
import platform
import statistics
import sys
import time
from functools import partial
from importlib import metadata
from pathlib import Path

from absl import app
from absl import flags as absl_flags

import surroundings
from benchmarks.step import commit, device, processor

EXPORT = absl_flags.DEFINE_string(
    "export", "runs/digits-1/export", "Folder of the SavedModel."
)
CALLS = absl_flags.DEFINE_integer(
    "calls", 200, "Calls of each case that are timed.", lower_bound=2
)
WARM_UP = 10  # calls of each case that are not
SIZES = (1, 64)


def load(folder):
    """The SavedModel in `folder` and what it says about itself."""
    about = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with surroundings.quiet_stderr():
        import tensorflow as tf
    return tf.saved_model.load(str(folder)), about


def cases(model, latent_shape):
    """What is timed: functions without arguments, by (signature, images)."""
    import tensorflow as tf

    generate, sample = model.signatures["generate"], model.signatures["sample"]
    functions, seed = {}, tf.constant(0)
    for size in SIZES:
        latents = tf.random.stateless_normal([size, *latent_shape], [0, 0])
        number = tf.constant(size)
        functions["generate", size] = partial(generate, latents=latents)
        functions["sample", size] = partial(sample, num_images=number, seed=seed)
    return functions


def call_seconds(functions, number):
    """The times of `number` calls of each function, in turns, after the warm-up."""
    times = [[] for _ in functions]
    for _ in range(WARM_UP + number):
        for function, own in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()["output_0"].numpy()
            own.append(time.perf_counter() - start)
    return [own[WARM_UP:] for own in times]


def summary(signature, size, seconds):
    percentile_95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1]
    return {
        "signature": signature,
        "num_images": size,
        "median_ms": round(1000 * statistics.median(seconds), 2),
        "percentile_95_ms": round(1000 * percentile_95, 2),
        "images_per_second": round(size * len(seconds) / sum(seconds), 1),
    }


def measure(folder, calls):
    """One dict, of what is printed.

    Args:
      folder: `Path` of the SavedModel.
      calls: int; how many of each case are timed.

    Raises:
      OSError, ValueError: if there is no export that can be read.
    """
    model, about = load(folder)
    functions = cases(model, about["latent_shape"])
    seconds = call_seconds(functions.values(), calls)
    return {
        "cases": [
            summary(*case, own) for case, own in zip(functions, seconds, strict=True)
        ],
        "calls": calls,
        "export": about,
        "device": device(),
        "machine": f"{platform.machine()} {processor()}",
        "tensorflow": metadata.version("tensorflow"),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def run(argv):
    folder = Path(EXPORT.value).expanduser()
    try:
        print(json.dumps(measure(folder, CALLS.value)))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        print(f"Error: {folder} holds no export: {reason}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(run)
