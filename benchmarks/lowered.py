"""Runs a training step that `benchmarks.lower` wrote; needs JAX and NumPy alone.

    python run.py --steps=1000 [--save_every=500]

Stands beside `step.mlir`, `state.npz`, `images.npz` and `step.json`. Each step takes
the next images of a random order. Prints a line of JSON at the end: seconds a step
after the first ten, operations a second, metrics of the first and the last step. Writes
the state, `state-<step>.npz`.
"""

import argparse
import dataclasses
import functools
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax._src.interpreters.mlir import make_ir_context
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

FOLDER = Path(__file__).parent
DTYPES = {"f32": "float32", "i64": "int64", "i32": "int32", "i1": "bool"}
WARM = 10  # steps that are not timed


def specs(types):
    """What JAX calls the shape and dtype of StableHLO's tensors."""
    tensors = [ir.RankedTensorType(one) for one in types]
    return [
        jax.ShapeDtypeStruct(one.shape, DTYPES[str(one.element_type)])
        for one in tensors
    ]


def imported(text):
    """A program of StableHLO as a function of arrays, and what it takes."""
    with make_ir_context():
        module = ir.Module.parse(text)
        (main,) = [
            one
            for one in module.body.operations
            if ir.StringAttr(one.attributes["sym_name"]).value == "main"
        ]
        kind = ir.FunctionType(ir.TypeAttr(main.attributes["function_type"]).value)
        taken, given = specs(kind.inputs), specs(kind.results)
        program = stablehlo.serialize_portable_artifact(
            module, stablehlo.get_minimum_version()
        )

    def like(*arrays):  # a program of the same form, in whose place ours is put
        return tuple(jnp.zeros(one.shape, one.dtype) for one in given)

    form = export.export(jax.jit(like, keep_unused=True))(*taken)
    return dataclasses.replace(form, mlir_module_serialized=program).call, taken


def compiled(facts):
    """The step: (state, batch) -> (state, metrics), which gives up its old state."""
    program, taken = imported((FOLDER / "step.mlir").read_text())
    number, parts = len(facts["state"]), sorted(facts["batch"])
    unused = taken[number + len(parts) :]

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, batch):
        zeros = [jnp.zeros(one.shape, one.dtype) for one in unused]
        results = program(*state, *(batch[name] for name in parts), *zeros)
        metrics = results[number : number + len(facts["metrics"])]
        return results[:number], dict(zip(facts["metrics"], metrics, strict=True))

    return step


def batches(facts, seed=0):
    """Images in a random order, over and over."""
    with np.load(FOLDER / "images.npz") as found:
        data = {name: found[name] for name in found.files}
    (size,) = set(facts["batch"].values())
    random, total = np.random.default_rng(seed), len(data["images"])
    while True:
        order = random.permutation(total)
        for start in range(0, total - size + 1, size):
            chosen = order[start : start + size]
            yield {name: value[chosen] for name, value in data.items()}


def save(state, facts, step):
    arrays = map(np.asarray, state)
    np.savez(
        FOLDER / f"state-{step}.npz", **dict(zip(facts["state"], arrays, strict=True))
    )


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=100)
    options.add_argument("--save_every", type=int, default=10**9)
    options.add_argument("--state", default=FOLDER / "state.npz", type=Path)
    options = options.parse_args()
    jax.config.update("jax_enable_x64", True)  # step counters are int64
    facts = json.loads((FOLDER / "step.json").read_text())
    with np.load(options.state) as found:
        state = tuple(jnp.asarray(found[name]) for name in facts["state"])
    begin = time.perf_counter()
    step, upcoming, lines, times = compiled(facts), batches(facts), [], {}
    for number in range(1, options.steps + 1):
        state, metrics = step(state, next(upcoming))
        if number in (1, WARM, options.steps):
            lines.append({name: float(value) for name, value in metrics.items()})
            times[number] = time.perf_counter()
        if number % options.save_every == 0 or number == options.steps:
            save(state, facts, number)
    timed, each, flops = options.steps - WARM, None, facts["flops_per_step"]
    if timed > 0:
        each = (times[options.steps] - times[WARM]) / timed
    print(
        json.dumps(
            {
                "device": jax.devices()[0].device_kind,
                "jax": jax.__version__,
                "compile_seconds": round(times[1] - begin, 2),
                "step_seconds": each,
                "gflops": flops and each and round(flops / each / 1e9, 1),
                "first": lines[0],
                "last": lines[-1],
            }
        )
    )


if __name__ == "__main__":
    main()
