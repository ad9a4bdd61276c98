"""How long do Parzen windows of 10,000 samples on 10,000 images of MNIST's size take?

    python -m benchmarks.parzen

Random pixels; time and memory do not depend on what they are. Prints one JSON line: the
choice of the bandwidth among ten on 5,000 images, the score on 10,000, and the peak
memory of the process with what it took before, TensorFlow's start for the most part.
"""

import json
import resource
import time

import numpy as np
from absl import app

import flags
import surroundings
from benchmarks import step

PIXELS = 28 * 28


def peak_mb():
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure():
    surroundings.load_tensorflow()
    from coopnets_tf.evaluation import parzen

    random = np.random.default_rng(0)
    samples, validation, test = (
        random.random((number, PIXELS), np.float32)
        for number in (10_000, 5_000, 10_000)
    )
    before, start = peak_mb(), time.perf_counter()
    bandwidth = parzen.choose_bandwidth(samples, validation)
    chosen = time.perf_counter()
    parzen.score(samples, test, bandwidth)
    return {
        "choose_seconds": round(chosen - start, 2),
        "score_seconds": round(time.perf_counter() - chosen, 2),
        "peak_memory_mb": peak_mb(),
        "memory_before_mb": before,
        "device": step.device(),
    }


if __name__ == "__main__":
    app.run(lambda argv: print(json.dumps(measure())), flags_parser=flags.parse)
