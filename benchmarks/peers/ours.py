"""The cooperative step that main.py makes, and what peers have to know of it."""

import math
from importlib import metadata

import flags
from benchmarks import step
from benchmarks.peers import turns


def rows_of(table, image_shape):
    """The layers of a table with their sizes as numbers: descriptor, generator.

    Each has `size`, `strides`, `filters`, and the sides of its two maps: `outer` is
    nearer to the image.
    """
    from coopnets_tf.networks import built_in

    side, *_, channels = image_shape
    up, down, outer = [], [], side
    for row in table.descriptor:
        sides = {"outer": outer, "inner": -(-outer // row.strides)}
        up.append({"size": row.size, "strides": row.strides, **sides})
        up[-1]["filters"], outer = row.filters, sides["inner"]
    sizes = [one[0] for one in built_in.map_sizes((side, side), table.generator)]
    pairs = zip(sizes, sizes[1:], strict=False)
    for row, (inner, outer) in zip(table.generator, pairs, strict=True):
        sides = {"outer": outer, "inner": inner}
        down.append({"size": row.size or outer, "strides": row.strides, **sides})
        down[-1]["filters"] = row.filters or channels
    return up, down


def described(settings, model, norm):
    """What a peer builds and how it learns, in numbers and words.

    Args:
      norm: a batch norm of the generator.
    """
    from coopnets_tf.networks import built_in, layers

    up, down = rows_of(built_in.TABLES[settings["network"]], model.image_shape)
    return {
        "side": model.image_shape[0],
        "channels": model.image_shape[-1],
        "descriptor": up,
        "generator": down,
        "num_outputs": settings["num_outputs"],
        "latent_size": model.generator.latent_shape[0],
        "slope": layers.LEAKY_SLOPE,
        "norm_epsilon": norm.epsilon,
        "norm_momentum": norm.momentum,
        "descriptor_stddev": built_in.DESCRIPTOR_STDDEV,
        "generator_stddev": built_in.GENERATOR_STDDEV,
        "batch_size": settings["batch_size"],
        "num_chains": settings["num_chains"],
        "num_steps": settings["descriptor_num_steps"],
        "step_size": settings["descriptor_step_size"],
        "reference_stddev": settings["reference_stddev"],
        "residual_stddev": settings["residual_stddev"],
        "noise_scale": 1.0,
        "descriptor_rate": settings["descriptor_learning_rate"],
        "generator_rate": settings["generator_learning_rate"],
        "beta_1": settings["adam_beta_1"],
        "beta_2": model.generator.optimizer.beta_2,
        "adam_epsilon": model.generator.optimizer.epsilon,
    }


def build(arguments):
    """The step of main.py with these flags; says what peers have to build."""
    flags.parse(["peers", *arguments])
    settings = flags.settings()
    model, batch, step_fn = step.built(settings)
    norm, *_ = step.layers(model.generator, "norm_")
    facts = {
        "peer": f"coopnets_tf, TensorFlow {metadata.version('tensorflow')}",
        "parameters": sum(math.prod(one.shape) for one in model.trainable_variables),
        "spec": described(settings, model, norm),
        "facts": step.facts(),
    }
    return lambda: step.finish(step_fn(batch)), facts


if __name__ == "__main__":
    turns.answer(build)
