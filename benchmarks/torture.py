"""Tries to lose a run, and to break the reading of images.

    python -m benchmarks.torture [--kills=50] [--divergences=20] [--fuzz=10000]

1. One training is killed by SIGKILL again and again, half of the time while it writes
   a checkpoint, and resumed; at the end weights, metrics and pictures are compared bit
   for bit with a training that nobody disturbed.
2. The descriptor is spoilt with NaN at a random step; the training has to recover.
3. Image files are mutated at random; each has to be decoded or refused by name.

Prints a table: tried, survived, lost. Takes about 10 minutes on two cores.
"""

import collections
import contextlib
import io
import json
import logging
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app
from absl import flags as absl_flags
from PIL import Image

import flags
import surroundings

KILLS = absl_flags.DEFINE_integer("kills", 50, "SIGKILLs.", lower_bound=0)
DIVERGENCES = absl_flags.DEFINE_integer("divergences", 20, "NaNs.", lower_bound=0)
FUZZ = absl_flags.DEFINE_integer("fuzz", 10_000, "Mutated images.", lower_bound=0)
TORTURE_SEED = absl_flags.DEFINE_integer("torture_seed", 0, "Of all that is random.")

ROOT = Path(__file__).parent.parent
SMALL = [
    "--batch_size=8",
    "--num_chains=8",
    "--descriptor_num_steps=2",
    "--latent_size=8",
    "--num_samples=4",
    "--log_every=3",
    "--sample_every=20",
    "--checkpoint_every=5",
]
Row = collections.namedtuple("Row", "what tried survived lost")


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *SMALL, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def contents(run_dir):
    """All of a run that must not depend on interruptions, by name."""
    import tensorflow as tf

    from coopnets_tf.runs import weights

    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    found = {
        "metrics": [
            {
                key: value
                for key, value in json.loads(line).items()
                if "per_s" not in key
            }
            for line in lines
        ]
    }
    for picture in (run_dir / "samples").iterdir():
        found[picture.name] = picture.read_bytes()
    path = weights.find(run_dir)
    reader = tf.train.load_checkpoint(str(path))
    for name in reader.get_variable_to_shape_map():
        if "VARIABLE_VALUE" in name and "save_counter" not in name:
            found[name] = reader.get_tensor(name).tobytes()
    return found


def kill(process, run_dir, rng, *, while_saving):
    """Lets the process make progress, then kills it. Returns whether it was alive."""
    folder = run_dir / "checkpoints"
    before = {path.name for path in folder.glob("*.index")}
    while process.poll() is None:
        if {path.name for path in folder.glob("*.index")} - before:
            break
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.5))
    while while_saving and process.poll() is None and not (folder / ".new").exists():
        pass
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return alive


def kills(place, rng, number):
    """One row for all kills of one training, or none if it could not be compared."""
    length = f"--num_iterations={40 * number}"
    assert_ended(start(length, f"--workdir={place / 'whole'}"))
    run_dir, tried, saving = place / "killed", 0, 0
    process = start(length, f"--workdir={run_dir}")
    while tried < number and process.poll() is None:
        while_saving = tried % 2 == 1
        alive = kill(process, run_dir, rng, while_saving=while_saving)
        tried += alive
        saving += alive and while_saving
        print(f"kill {tried}/{number}", file=sys.stderr, flush=True)
        process = start("--resume", f"--workdir={run_dir}")
    assert_ended(process)
    whole, killed = contents(place / "whole"), contents(run_dir)
    different = [name for name in whole if whole[name] != killed.get(name)]
    if different:
        print(f"Different: {different}", file=sys.stderr)
    lost = tried if different else 0
    what = f"SIGKILL during one training, {saving} of them in a checkpoint's write"
    return Row(what, tried, tried - lost, lost)


def assert_ended(process):
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors.decode())


def divergences(place, rng, number):
    """Every training is spoilt once, at another step."""
    from commands import build, train
    from coopnets_tf.data import datasets
    from coopnets_tf.runs import stepping

    logging.disable(logging.WARNING)
    survived = 0
    for seed in range(number):
        flags.parse(["", *SMALL, "--num_iterations=40", f"--seed={seed}"])
        settings, dataset = flags.settings(), datasets.load("digits")
        model = build.model(settings, dataset.image_shape, dataset.num_images)
        with spoilt_at(rng.randrange(1, 30), stepping):
            with contextlib.redirect_stdout(io.StringIO()):
                run_dir = place / f"diverging-{seed}"
                run_dir.mkdir()
                run = train.run_of(settings, run_dir, dataset, None)
                train.train_in(run, model, dataset, [], settings)
        finite = all(np.isfinite(weight).all() for weight in model.get_weights())
        survived += finite and int(model.step) == 40 and int(model.rollbacks) == 1
    return Row("NaN put into the descriptor", number, survived, number - survived)


@contextlib.contextmanager
def spoilt_at(step, stepping):
    """Multiplies the descriptor's last weights by NaN, once, after a step."""
    original, left = stepping.build_step, [True]

    def build(model):
        step_fn = original(model)

        def spoiling(batch):
            metrics = step_fn(batch)
            if left and int(model.step) == step:
                left.clear()
                kernel = model.descriptor.network.get_layer("outputs_sum").kernel
                kernel.assign(kernel * float("nan"))
            return metrics

        return spoiling

    stepping.build_step = build
    try:
        yield
    finally:
        stepping.build_step = original


def mutate(content, rng):
    """Changes some bytes, cuts the end off, or repeats a part."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    kind = rng.randrange(3)
    if kind == 1:
        del content[rng.randrange(1, len(content)) :]
    if kind == 2:
        place = rng.randrange(len(content))
        content[place:place] = content[: rng.randrange(64)]
    return bytes(content)


def fuzz(place, rng, number):
    """Decodes mutated files of several formats."""
    from coopnets_tf.data import decoding, sources
    from coopnets_tf.errors import DatasetError

    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    originals = {}
    for kind in ("png", "jpeg", "gif", "bmp", "webp", "tiff", "ppm"):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind)
        originals[kind] = stream.getvalue()
    outcome, slowest = collections.Counter(), 0.0
    for file in range(number):
        kind = rng.choice(list(originals))
        path = place / f"{file}.{kind}"
        path.write_bytes(mutate(originals[kind], rng))
        begin = time.perf_counter()
        try:
            origin = sources.File(path, path.name)
            decoding.decode(origin, image_size=16, color_mode="rgb", resize="crop")
            outcome["decoded"] += 1
        except DatasetError as error:
            outcome["refused by name" if str(path) in str(error) else "lost"] += 1
        except Exception as error:
            outcome["lost"] += 1
            print(f"{path.name}: {error!r}", file=sys.stderr)
        slowest = max(slowest, time.perf_counter() - begin)
        path.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    what = (
        f"mutated images: {outcome['decoded']} decoded, {outcome['refused by name']} "
        f"refused by name, slowest {slowest:.2f} s, peak memory {peak} MB"
    )
    return Row(what, number, number - outcome["lost"], outcome["lost"])


def torture(argv):
    del argv
    surroundings.load_tensorflow()
    trials = [
        (trial, number.value, random.Random(TORTURE_SEED.value))
        for trial, number in ((fuzz, FUZZ), (divergences, DIVERGENCES), (kills, KILLS))
    ]
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for trial, number, rng in trials:
            if number:
                rows.append(trial(Path(place), rng, number))
                print("| {} | {} | {} | {} |".format(*rows[-1]), flush=True)
    sys.exit(any(row.lost for row in rows))


if __name__ == "__main__":
    app.run(torture)
