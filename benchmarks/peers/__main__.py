"""The same cooperative step here, in plain PyTorch and in plain JAX, in turns.

    python -m benchmarks.peers [--torch_python=PATH] [--jax_python=PATH] [--steps=7]

The authors' settings for mnist and for scenes. A peer takes part where this interpreter
can import it, or the one that is named for it, also by the variable TORCH_PYTHON or
JAX_PYTHON. Each is a process of its own, which is asked for one step after the other
has made one; `ratio` is its median time over ours. All draw their noise and latents and
learn by Adam; ours also reports its metrics and guards itself, as in a training.
"""

import argparse
import contextlib
import importlib.util
import os
import statistics
import sys
import time

from benchmarks import reports
from benchmarks.peers.turns import Peer
from benchmarks.reports import Row
from benchmarks.run import NETWORKS, SAMPLED

MODULES = {"torch": "benchmarks.peers.torch_step", "jax": "benchmarks.peers.jax_step"}
COMPARED = ("mnist", "scene")
PAUSE = 0.5  # seconds until threads that spin at the end of a step sleep
WARM = 2  # steps of each that are not timed


def interpreters(given):
    """Who runs each peer, by the peer's name; none for one that cannot be imported."""
    found = {}
    for name in MODULES:
        python = given.get(name) or os.environ.get(f"{name.upper()}_PYTHON")
        if python or importlib.util.find_spec(name):
            found[name] = python or sys.executable
    return found


def seconds_in_turns(peers, number, pause=PAUSE):
    """The median seconds of a step of each."""
    times = [[] for _ in peers]
    for _ in range(WARM + number):
        for peer, own in zip(peers, times, strict=True):
            time.sleep(pause)
            own.append(peer.ask("step"))
    return [statistics.median(own[WARM:]) for own in times]


def measure(arguments, pythons, number):
    """Median seconds of each peer by its name, ours first, and facts."""
    with contextlib.ExitStack() as running:
        ours = running.enter_context(Peer(sys.executable, "benchmarks.peers.ours"))
        about = ours.ask(arguments)
        peers, names = [ours], [about["peer"]]
        for name, python in pythons.items():
            peers.append(running.enter_context(Peer(python, MODULES[name])))
            answer = peers[-1].ask(about["spec"])
            if answer["parameters"] != about["parameters"]:
                raise RuntimeError(f"{answer} has other nets: {about}")
            names.append(answer["peer"])
        seconds = seconds_in_turns(peers, number)
    return dict(zip(names, seconds, strict=True)), about["facts"]


def main(argv=None):
    options = argparse.ArgumentParser("benchmarks.peers", description=__doc__)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    for name in MODULES:
        options.add_argument(f"--{name}_python")
    options.add_argument("--networks", nargs="+", choices=SAMPLED, default=COMPARED)
    options.add_argument("--steps", type=int, default=7)
    options.add_argument("--out", help="report for benchmarks.compare")
    given = options.parse_args(argv)
    pythons = interpreters({name: getattr(given, f"{name}_python") for name in MODULES})
    for name in MODULES.keys() - pythons:
        print(f"{name} is missing: pip install {name}, or --{name}_python=PATH of one.")
    rows, lines = [], []
    for network in given.networks:
        found, facts = measure(NETWORKS[network], pythons, given.steps)
        ours = next(iter(found.values()))
        for peer, seconds in found.items():
            rows.append(
                Row(f"step, {network}, {peer.split()[0].strip(',')}", seconds, "s")
            )
            numbers = map(reports.rounded, (seconds, seconds / ours))
            lines.append((network, peer, *numbers))
    print(reports.table(("nets", "step of", "seconds", "ratio"), lines))
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    if given.out:
        reports.write(given.out, rows, facts)


if __name__ == "__main__":
    main()
