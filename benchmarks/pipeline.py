"""How fast do photographs become 64x64 images, decoded and from what was kept?

    python -m benchmarks.pipeline [FOLDER]

Of a folder, else of 200 JPEGs of one megapixel that it makes from smoothed noise.
Prints one JSON line. `images_per_second` is by the clock, with a thread a core;
`images_per_cpu_second` by the processor's time, which other programs disturb less, and
least the fastest tenth of `cpu_milliseconds`, those of one image after the other.
Nothing is left on the disk.
"""

import json
import os
import platform
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.step import commit, processor
from coopnets_tf.data import decoding, folders, kept, sources

NUMBER = 200
HEIGHT, WIDTH = 864, 1152
GRAIN = 6  # grey levels


def make_photographs(folder, number=NUMBER):
    """Smooth colours and grain; as a JPEG of 300 kB about what a camera makes."""
    random = np.random.default_rng(0)
    for index in range(number):
        colors = Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8))
        smooth = colors.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        grain = random.normal(0, GRAIN, (HEIGHT, WIDTH, 1))
        pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03}.jpg", quality=90)


def timed_read(place, **options):
    """What `folders.read` takes, and what it read."""
    start, cpu = time.perf_counter(), time.process_time()
    pixels, found = folders.read(place, image_size=64, **options)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    rates = {
        "images_per_second": round(len(pixels) / seconds, 1),
        "images_per_cpu_second": round(len(pixels) / cpu, 1),
    }
    return rates, pixels, found


def cpu_milliseconds(place):
    """Of the decoding of each image, by one thread."""
    origins = sources.listing(place).origins
    times = [time.process_time()]
    for origin in origins:
        decoding.decode(origin, image_size=64, color_mode="rgb")
        times.append(time.process_time())
    tenth, median = 1000 * np.quantile(np.diff(times), [0.1, 0.5])
    return {"fastest_tenth": round(tenth, 2), "median": round(median, 2)}


def measure(place):
    """The rates of a folder whose files are older than `kept.SETTLED`."""
    kept.WORTH = 0
    with tempfile.TemporaryDirectory() as cache:
        os.environ["KERAS_HOME"] = cache
        decoded, expected, found = timed_read(place)
        timed_read(place, keep_decoded=True)
        again, pixels, _ = timed_read(place, keep_decoded=True)
        if not np.array_equal(pixels, expected):
            raise RuntimeError("What was kept is not what was decoded.")
    sizes = [path.stat().st_size for path in place.rglob("*") if path.is_file()]
    return {
        "found": str(found),
        "kilobytes_a_file": round(sum(sizes) / len(sizes) / 1024),
        "decoded": {**decoded, "cpu_milliseconds": cpu_milliseconds(place)},
        "kept": again,
        "cores": os.cpu_count(),
        "processor": processor(),
        "python": platform.python_version(),
        "pillow": metadata.version("pillow"),
        "commit": commit(),
    }


def main():
    if len(sys.argv) > 1:
        print(json.dumps(measure(Path(sys.argv[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_photographs(Path(folder))
        time.sleep(kept.SETTLED)
        print(json.dumps(measure(Path(folder))))


if __name__ == "__main__":
    main()
