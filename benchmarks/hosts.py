"""What does it cost that several hosts share a step?

    python -m benchmarks.hosts --dataset=mnist|FOLDER|digits|... [any flag of main.py]

Starts two processes on this machine, which talk over its loopback as two hosts would
over their network, and prints one JSON line. With `--hosts` and `--host_index` it
measures these hosts instead: start it on each; host 0 prints.

`gradient_bytes` is what a step sums over all hosts, and `gradient_seconds` the time of
that sum, one net after the other; `small_seconds` that of one number; `agreed_seconds`
what the hosts need to agree on going on after a step. `collectives` counts the
operations of a step in which all hosts take part, by kind. `step_seconds` is the time
of a step that they share, `step_seconds_alone` that of one process which does all of
it: on one machine both have the same cores.
"""

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter

from absl import app

import flags
import surroundings
from benchmarks.step import (
    NUM_STEPS,
    ROOT,
    facts,
    finish,
    image_shape,
    median_seconds,
    random_batch,
)

TIMES = 20  # of what takes a moment
CHAIN = 20  # small sums one after the other, in one call
LIMIT = 1_800  # seconds, after which two processes have gone astray


def gradient_bytes(model):
    """Bytes of the gradients of a step, float32."""
    shapes = [weight.shape for weight in model.trainable_variables]
    return 4 * sum(map(math.prod, shapes))


def kinds(graph):
    """How many collective operations a graph and its functions hold, by kind."""
    definition = graph.as_graph_def()
    nodes = [*definition.node]
    for function in definition.library.function:
        nodes += function.node_def
    return dict(Counter(one.op for one in nodes if one.op.startswith("Collective")))


def sum_gradients(model):
    """Sums what has the shapes of the gradients, as the optimizers do."""
    import tensorflow as tf

    from coopnets_tf import replicas

    for net in model.nets.values():
        summed = replicas.total([*map(tf.zeros_like, net.trainable_variables)])
    return tf.reshape(summed[-1], [-1])[0]


def sum_numbers():
    """Takes the mean of one number `CHAIN` times, one after the other."""
    import tensorflow as tf

    from coopnets_tf import replicas

    number = tf.ones([1])
    for _ in range(CHAIN):
        number = replicas.mean(number)
    return number[0]


def seconds(strategy, function):
    """The median time of a function that all replicas call."""
    import tensorflow as tf

    run = tf.function(lambda: strategy.run(function), autograph=False)
    own = strategy.experimental_local_results
    return median_seconds([lambda: float(own(run())[0])], TIMES)[0]


def shared_step(model, batch):
    """The step that all replicas share, and its collective operations."""
    import tensorflow as tf

    from coopnets_tf import replicas

    strategy = model.distribute_strategy
    run = tf.function(
        lambda part: strategy.run(model.train_step, [part]), autograph=False
    )

    def step():
        metrics = run(replicas.distributed(strategy, batch))
        first = next(iter(metrics.values()))
        return float(strategy.experimental_local_results(first)[0])

    parts = replicas.distributed(strategy, batch)
    return step, kinds(run.get_concrete_function(parts).graph)


def together(settings, strategy):
    """What the hosts of a strategy measure, by name."""
    from commands import build
    from coopnets_tf.runs.hosts import Hosts

    batch_size, hosts = settings["batch_size"], Hosts(strategy)
    with strategy.scope():
        model = build.model(settings, image_shape(settings), batch_size)
    step, collectives = shared_step(model, random_batch(model, batch_size))
    size = gradient_bytes(model)
    gradient_seconds = seconds(strategy, lambda: sum_gradients(model))
    small_seconds = seconds(strategy, sum_numbers) / CHAIN
    (agreed_seconds,) = median_seconds([hosts.agreed], TIMES)
    (step_seconds,) = median_seconds([step], NUM_STEPS.value)
    return {
        "hosts": hosts.number,
        "replicas": strategy.num_replicas_in_sync,
        "gradient_bytes": size,
        "gradient_seconds": round(gradient_seconds, 4),
        "gradient_mb_per_second": round(size / gradient_seconds / 1e6, 1),
        "small_seconds": round(small_seconds, 6),
        "agreed_seconds": round(agreed_seconds, 6),
        "collectives": collectives,
        "step_seconds": round(step_seconds, 4),
    }


def alone(settings):
    """Seconds of the same step, all of it in this process."""
    from commands import build
    from coopnets_tf.runs.stepping import build_step

    batch_size = settings["batch_size"]
    model = build.model(settings, image_shape(settings), batch_size)
    batch, step = random_batch(model, batch_size), build_step(model)
    return median_seconds([lambda: finish(step(batch))], NUM_STEPS.value)[0]


def addresses(number):
    """Free ports of this machine, as `--hosts` takes them."""
    with contextlib.ExitStack() as sockets:
        bound = [sockets.enter_context(socket.socket()) for _ in range(number)]
        for one in bound:
            one.bind(("localhost", 0))
        return ",".join(f"localhost:{one.getsockname()[1]}" for one in bound)


def of_two(arguments):
    """What two processes measure together; none of them is left."""
    hosts, end = addresses(2), time.monotonic() + LIMIT
    command = [sys.executable, "-m", "benchmarks.hosts", *arguments, f"--hosts={hosts}"]
    processes = [
        subprocess.Popen(
            [*command, f"--host_index={index}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    try:
        outputs = [
            process.communicate(timeout=end - time.monotonic())[0]
            for process in processes
        ]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if any(process.returncode for process in processes):
        sys.exit("One of the two processes failed; its own output says why.")
    return json.loads(outputs[0].splitlines()[-1])


def measure(settings):
    """What is printed; None on a host that does not lead."""
    given = settings["hosts"] or "TF_CONFIG" in os.environ
    found = {} if given else of_two(sys.argv[1:])
    surroundings.load_tensorflow(devices=settings["devices"])
    if given:
        from commands import devices
        from coopnets_tf.runs.hosts import Hosts

        options = (settings[name] for name in ("devices", "hosts", "host_index"))
        strategy = devices.strategy_of_hosts(*options)
        found = together(settings, strategy)
        if not Hosts(strategy).leads:
            return None
    else:
        found["step_seconds_alone"] = round(alone(settings), 4)
    return found | {
        "algorithm": settings["algorithm"],
        "network": settings["network"],
        "batch_size": settings["batch_size"],
        "num_chains": settings["num_chains"],
        "descriptor_num_steps": settings["descriptor_num_steps"],
        **facts(),
    }


def run(argv):
    surroundings.plain_warnings()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    found = measure(flags.settings())
    if found:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    app.run(run, flags_parser=flags.parse)
