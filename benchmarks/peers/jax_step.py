"""The cooperative step in plain JAX: pure functions, one `jit`, as one writes it there.

Images are [batch, height, width, channels] and kernels as ours.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.peers import turns

LAYOUT = ("NHWC", "HWIO", "NHWC")


def padding(row):
    """Zeros before and after, for maps as long as `row` says."""
    total = (row["inner"] - 1) * row["strides"] + row["size"] - row["outer"]
    return total // 2, total - total // 2


def conv(row, maps, kernel):
    strides, pad = (row["strides"],) * 2, (padding(row),) * 2
    return lax.conv_general_dilated(
        maps, kernel, strides, pad, dimension_numbers=LAYOUT
    )


def deconv(row, maps, kernel):
    """The transpose of `conv`: strides lie between the entries of the map."""
    pad = [(row["size"] - 1 - zeros) for zeros in padding(row)]
    return lax.conv_transpose(
        maps,
        kernel,
        (row["strides"],) * 2,
        [pad] * 2,
        dimension_numbers=LAYOUT,
        transpose_kernel=True,
    )


def descriptor(spec, weights, images):
    """Bottom-up: the score of each image, the sum of `num_outputs` answers."""
    maps, *pairs = images, *zip(weights[::2], weights[1::2], strict=True)
    for row, (kernel, bias) in zip(spec["descriptor"], pairs[:-1], strict=True):
        maps = jax.nn.leaky_relu(conv(row, maps, kernel) + bias, spec["slope"])
    kernel, bias = pairs[-1]
    answers = maps.reshape(len(maps), -1) @ kernel.reshape(-1, kernel.shape[-1]) + bias
    return answers.sum(1)


def generator(spec, weights, latents):
    """Top-down: images, and the mean and variance of every map that is normalised."""
    maps, weights, statistics = latents[:, None, None], iter(weights), []
    for row in spec["generator"]:
        kernel, bias = next(weights), next(weights)
        maps = deconv(row, maps, kernel) + bias
        if row is not spec["generator"][-1]:
            axes, number = (0, 1, 2), math.prod(maps.shape[:3])
            mean, variance = maps.mean(axes), maps.var(axes)
            statistics.append((mean, variance * number / (number - 1)))
            maps = (maps - mean) * lax.rsqrt(variance + spec["norm_epsilon"])
            maps = jax.nn.leaky_relu(maps + next(weights), spec["slope"])
    return jnp.tanh(maps), statistics


def adam(spec, rate, weights, gradients, moments):
    """One step of Adam, and its moments and their number of steps after it."""
    beta_1, beta_2 = spec["beta_1"], spec["beta_2"]
    first, second, number = moments
    number += 1
    first = jax.tree.map(lambda m, g: beta_1 * m + (1 - beta_1) * g, first, gradients)
    second = jax.tree.map(
        lambda v, g: beta_2 * v + (1 - beta_2) * g**2, second, gradients
    )
    rate = rate * jnp.sqrt(1 - beta_2**number) / (1 - beta_1**number)
    weights = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v) + spec["adam_epsilon"]),
        weights,
        first,
        second,
    )
    return weights, (first, second, number)


def revise(spec, weights, images, key):
    """D1: Langevin dynamics on images."""
    delta, s = spec["step_size"], spec["reference_stddev"]

    def energy(images):
        score = descriptor(spec, weights, images).sum()
        return (images**2).sum() / (2 * s**2) - score

    def move(index, images):
        noise = jax.random.normal(jax.random.fold_in(key, index), images.shape)
        noise = spec["noise_scale"] * noise
        return images - delta**2 / 2 * jax.grad(energy)(images) + delta * noise

    return lax.fori_loop(0, spec["num_steps"], move, images)


def step(spec, state, observed, latents, key):
    """One step: the state after it, the revised images, and the losses of D2 and G2."""
    weights, moments = state["weights"], state["moments"]
    # G0: drafts. G2 reuses the pass.
    generated, pull, statistics = jax.vjp(
        functools.partial(generator, spec, latents=latents),
        weights["generator"],
        has_aux=True,
    )
    revised = revise(spec, weights["descriptor"], generated, key)  # D1

    def descriptor_loss(weights):
        scores = descriptor(spec, weights, jnp.concatenate([observed, revised]))
        return scores[len(observed) :].mean() - scores[: len(observed)].mean()

    def generator_loss(generated):
        residuals = ((revised - generated) ** 2).sum((1, 2, 3))
        return residuals.mean() / (2 * spec["residual_stddev"] ** 2)

    losses, gradients = {}, {}
    losses["descriptor"], gradients["descriptor"] = jax.value_and_grad(descriptor_loss)(
        weights["descriptor"]
    )  # D2
    losses["generator"], upstream = jax.value_and_grad(generator_loss)(generated)
    (gradients["generator"],) = pull(upstream)  # G2
    after = {"weights": {}, "moments": {}}
    for name in weights:
        after["weights"][name], after["moments"][name] = adam(
            spec, spec[f"{name}_rate"], weights[name], gradients[name], moments[name]
        )
    after["averages"] = jax.tree.map(
        lambda old, new: old + (1 - spec["norm_momentum"]) * (new - old),
        state["averages"],
        statistics,
    )
    return after, revised, losses


def shapes(spec):
    """The shapes of all weights, in the order of ours."""
    found, channels = {"descriptor": [], "generator": []}, spec["channels"]
    for row in spec["descriptor"]:
        size, filters = row["size"], row["filters"]
        found["descriptor"] += [(size, size, channels, filters), (filters,)]
        channels = filters
    side, outputs = spec["descriptor"][-1]["inner"], spec["num_outputs"]
    found["descriptor"] += [(side, side, channels, outputs), (outputs,)]
    channels = spec["latent_size"]
    for row in spec["generator"]:
        size, filters = row["size"], row["filters"]
        found["generator"] += [(size, size, filters, channels), (filters,)]
        if row is not spec["generator"][-1]:
            found["generator"].append((filters,))
        channels = filters
    return found


def initial(spec, key):
    """The state before the first step: kernels are drawn, all else is zero."""
    weights = {}
    for name, own in shapes(spec).items():
        keys = jax.random.split(jax.random.fold_in(key, len(name)), len(own))
        weights[name] = [
            spec[f"{name}_stddev"] * jax.random.normal(one, shape)
            if len(shape) == 4
            else jnp.zeros(shape)
            for one, shape in zip(keys, own, strict=True)
        ]
    moments = {
        name: (*(jax.tree.map(jnp.zeros_like, own) for _ in range(2)), jnp.int32(0))
        for name, own in weights.items()
    }
    rows = spec["generator"][:-1]
    averages = [(jnp.zeros(row["filters"]), jnp.ones(row["filters"])) for row in rows]
    return {"weights": weights, "moments": moments, "averages": averages}


def checked(spec, step_fn, state):
    """Makes one step from the weights, images and latents of a file, and writes what
    has become of them to another.
    """
    with np.load(spec["given"]) as given:
        state["weights"] = {
            name: [jnp.array(given[f"{name}.{index}"]) for index in range(len(own))]
            for name, own in state["weights"].items()
        }
        state, revised, losses = step_fn(
            state, given["observed"], given["latents"], jax.random.key(0)
        )
    found = {"revised": revised, "losses": [*map(float, losses.values())]}
    for name, own in state["weights"].items():
        found |= {f"{name}.{index}": value for index, value in enumerate(own)}
    np.savez(spec["found"], **found)


def build(spec):
    jax.config.update("jax_default_matmul_precision", "float32")  # on GPUs, too
    step_fn = jax.jit(functools.partial(step, spec), donate_argnums=0)
    state = initial(spec, jax.random.key(0))
    if spec.get("given"):
        checked(spec, step_fn, state)
        state = initial(spec, jax.random.key(0))
    number = sum(math.prod(one.shape) for one in jax.tree.leaves(state["weights"]))
    shape = (spec["batch_size"], spec["side"], spec["side"], spec["channels"])
    observed = jax.random.uniform(jax.random.key(1), shape, minval=-1, maxval=1)
    keys = map(jax.random.key, range(2, 2**31))

    @functools.partial(jax.jit, donate_argnums=0)
    def drawn(state, observed, key):
        latent_key, key = jax.random.split(key)
        shape = (spec["num_chains"], spec["latent_size"])
        latents = jax.random.normal(latent_key, shape)
        return step(spec, state, observed, latents, key)

    def next_step():
        nonlocal state
        state, _, losses = drawn(state, observed, next(keys))
        jax.block_until_ready((state, losses))

    return next_step, {"peer": f"JAX {jax.__version__}", "parameters": number}


if __name__ == "__main__":
    turns.answer(build)
