"""How fast is all of it? One table, and a report for `benchmarks.compare`.

    python -m benchmarks.run [--quick] [--out=benchmark.json]

Every number comes from a process of its own, one after the other:

- `step`, `trace` and `checkpoint` of each built-in network with the settings that
  main.py has for such images, see `benchmarks.step`; `matrix rate`, the step's
  operations a second against those of the machine's own matrix product;
- `sampling`: images a second, drafts of the generator, and drafts revised;
- `evaluation`: seconds of one as `--evaluate_every` makes them;
- `folder`: images a second from JPEGs of one megapixel to 64x64, decoded, and from what
  an earlier run has kept, see `benchmarks.pipeline`;
- `start-up`: from the call of Python until TensorFlow and Keras are loaded;
- `peak memory` of two steps of mnist by the number of Langevin steps, laid out one
  after the other (`unrolled`) or in a loop (`while`), and by batch and chains.

`--quick` leaves out large networks and repeats less.
"""

import argparse
import concurrent.futures
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import flags
import surroundings
from benchmarks import reports, step
from benchmarks.reports import Row

FOLDER = step.ROOT / "docs" / "images"  # stands for any folder, whose nets are taken
NETWORKS = {
    "digits": ["--dataset=digits"],
    "mnist": ["--dataset=mnist"],
    "cifar": ["--dataset=cifar10"],
    "scene": [f"--dataset={FOLDER}"],
    "texture": ["--dataset=brick"],
    "moving_texture_small": [f"--dataset={FOLDER}", "--num_frames=32"],
}
SAMPLED = ("digits", "mnist", "cifar", "scene")
QUICK = ("digits", "mnist")
LOOPS = ("unrolled", "while")


def alone(function, *arguments):
    """What a function returns in a new process, which ends."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(function, *arguments).result()


def settings_of(arguments):
    flags.parse(["benchmarks.run", *arguments])
    return flags.settings()


def facts():
    surroundings.load_tensorflow()
    return step.facts()


def measured_step(arguments):
    """What `benchmarks.step` prints."""
    settings_of(arguments)
    return step.measure()


def step_rows(name, found):
    return [
        Row(f"step, {name}", found["step_seconds"], "s"),
        Row(f"matrix rate, {name}", found["ratio"], "of the product"),
        Row(f"trace, {name}", found["trace_seconds"], "s"),
        Row(f"checkpoint, {name}", found["checkpoint_seconds"], "s"),
    ]


def sampling(arguments, number):
    """Images a second: drafts, and drafts revised."""
    model, _, _ = step.built(settings_of(arguments))
    model.freeze()  # as for export: the statistics are not measured every time
    together = model.num_at_once
    seconds = step.median_seconds(
        [
            lambda: model.sample(together, num_steps=0).numpy(),
            lambda: model.sample(together).numpy(),
        ],
        number,
    )
    return [together / one for one in seconds]


def evaluation(arguments):
    """Seconds of an evaluation on the way of a training, its extractor made before."""
    settings = settings_of(arguments)
    model, _, _ = step.built(settings)
    from commands import build, evaluate
    from coopnets_tf.data import datasets

    splits = datasets.load_splits(**build.data_options(settings))
    score = evaluate.on_the_way(splits, settings)
    start = time.perf_counter()
    score(model)
    return time.perf_counter() - start


def folder_rates(number):
    """Images a second, decoded and from what was kept; see `benchmarks.pipeline`."""
    surroundings.load_tensorflow()
    from benchmarks import pipeline
    from coopnets_tf.data import kept

    with tempfile.TemporaryDirectory() as place:
        pipeline.make_photographs(Path(place), number)
        time.sleep(kept.SETTLED)
        found = pipeline.measure(Path(place))
    return [found[way]["images_per_second"] for way in ("decoded", "kept")]


def loaded():
    surroundings.load_tensorflow()
    return time.time()


def start_up(number):
    """Median seconds until a new process has loaded TensorFlow."""
    seconds = []
    for _ in range(number):
        start = time.time()
        seconds.append(alone(loaded) - start)
    return statistics.median(seconds)


def step_memory(arguments):
    """The peak memory of a process that makes two steps, MB."""
    _, batch, step_fn = step.built(settings_of(arguments))
    for _ in range(2):
        step.finish(step_fn(batch))
    return step.peak_memory()


def memory_rows(numbers, batches):
    """Peak memory of mnist's step against Langevin steps, and against the batch."""
    for number in numbers:
        for loop in LOOPS:
            peak = alone(
                step_memory,
                [
                    "--dataset=mnist",
                    f"--descriptor_num_steps={number}",
                    f"--langevin_loop={loop}",
                ],
            )
            yield Row(f"peak memory, {number} Langevin steps, {loop}", peak, "MB")
    for batch in batches:
        arguments = [f"--batch_size={batch}", f"--num_chains={batch}"]
        peak = alone(step_memory, ["--dataset=mnist", *arguments])
        yield Row(f"peak memory, batch and chains {batch}", peak, "MB")


def measure(quick):
    """Yields rows as they are measured, and in the end what they were measured on."""
    networks = QUICK if quick else tuple(NETWORKS)
    repeated = f"--benchmark_steps={2 if quick else 7}"
    yield Row("start-up", start_up(1 if quick else 3), "s")
    for name in networks:
        found = alone(measured_step, [*NETWORKS[name], repeated])
        yield from step_rows(name, found)
    for name in networks:
        if name in SAMPLED:
            rates = alone(sampling, NETWORKS[name], 2 if quick else 7)
            for kind, rate in zip(("drafts", "revised"), rates, strict=True):
                yield Row(f"sampling, {name}, {kind}", rate, "images/s")
    yield Row("evaluation, digits", alone(evaluation, NETWORKS["digits"]), "s")
    number = 20 if quick else 200
    for kind, rate in zip(
        ("decoded", "kept"), alone(folder_rates, number), strict=True
    ):
        yield Row(f"folder of {number}, {kind}", rate, "images/s")
    yield from memory_rows([15] if quick else [15, 30, 60], [] if quick else [200, 400])
    yield {**alone(facts), "quick": quick}


def main(argv=None):
    options = argparse.ArgumentParser("benchmarks.run", description=__doc__)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("--quick", action="store_true")
    options.add_argument("--out", default="benchmark.json")
    given = options.parse_args(argv)
    rows = []
    for one in measure(given.quick):
        if isinstance(one, dict):
            reports.write(given.out, rows, one)
            print(reports.shown(rows))
            print(", ".join(f"{name} {value}" for name, value in one.items()))
        else:
            rows.append(one)
            print(f"{one.name}: {reports.rounded(one.value)} {one.unit}", flush=True)


if __name__ == "__main__":
    main()
