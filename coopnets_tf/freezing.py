"""Nets as pictures, evaluations and exports show them: `averaged`, `freeze`, `frozen`.

The weights are the moving average, where the optimizer keeps one (`use_ema=True`).
While a generator learns, batch norm takes the statistics of each batch, so that an
image depends on its batch mates. Frozen, it has the exact statistics of its present
weights, and an image depends on its latents alone.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from coopnets_tf import seeds
from coopnets_tf.networks import checks, spectral


def freeze(
    generator: Any, *, seed: tf.Tensor, num_latents: int = 1024, batch_size: int = 128
) -> None:
    """Freezes a generator for good, for use without further training.

    Args:
      generator: `Generator`.
      seed: int32 [2]; of the latents, from the prior, that statistics are taken over,
        and of their classes, if the generator has any.
      num_latents: their number, rounded up to whole batches. Of a map of latents of any
        size each place counts.
      batch_size: how many pass through the network at a time, one map at least.
    """
    take_average(generator)
    # Of a network that spans its map the places are no independent draws.
    is_map = checks.takes_any(generator)
    places = math.prod(generator.latent_shape[:-1]) if is_map else 1
    maps = max(batch_size // places, 1)
    shape, batches = [maps, *generator.latent_shape], []
    for start in range(0, -(-num_latents // places), maps):
        own = seeds.fold_in(seed, start)
        labels = generator.draw_labels(maps, seed=seeds.fold_in(own, 1))
        latents = seeds.standard_normal(shape, seed=own)
        batches.append(generator.given(labels).fed(latents))
    generator.statistics.measure(batches)


@contextlib.contextmanager
def frozen(
    generator: Any, *, seed: tf.Tensor, num_latents: int = 1024, batch_size: int = 128
) -> Iterator[Any]:
    """Inside this context a generator is frozen; on leaving it is as it was.

    Arguments as for `freeze`.

    ```python
    import tensorflow as tf
    from coopnets_tf import Generator, Langevin, frozen
    from coopnets_tf.networks import built_in

    net = built_in.generator("digits", (8, 8, 1))
    generator = Generator(net, inference=Langevin(0, 0.1), residual_stddev=0.3)
    with frozen(generator, seed=tf.constant([0, 0])):
        images = generator(tf.random.normal([4, 100]))
    ```
    """
    with _restored(generator):
        freeze(generator, seed=seed, num_latents=num_latents, batch_size=batch_size)
        yield generator


@contextlib.contextmanager
def averaged(net: Any) -> Iterator[Any]:
    """Inside this context a net has the moving average of its weights, where its
    optimizer keeps one; on leaving it is as it was.
    """
    if not (net.compiled and net.optimizer.use_ema):
        yield net
        return
    with _restored(net):
        take_average(net)
        yield net


def take_average(net: Any) -> None:
    """Gives a net for good the moving average of its weights, if there is one."""
    # Before the first step Keras' averages are zero.
    if net.compiled and net.optimizer.use_ema and net.optimizer.iterations.numpy():
        net.optimizer.finalize_variable_values(net.trainable_variables)
        if hasattr(net, "divide"):
            # The average is of undivided kernels.
            net.divide(rounds=spectral.ROUNDS)


@contextlib.contextmanager
def _restored(net):
    """On leaving this context a net has the variables that it had."""
    kept = [tf.identity(variable) for variable in net.variables]
    try:
        yield
    finally:
        for variable, value in zip(net.variables, kept, strict=True):
            variable.assign(value)
