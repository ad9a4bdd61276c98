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

import keras
import tensorflow as tf

from coopnets_tf import seeds, sizes
from coopnets_tf.errors import NetworkError
from coopnets_tf.layers import BatchNorm


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
    is_map = sizes.takes_any(generator)
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
    from coopnets_tf import Generator, Langevin, frozen, networks

    net = networks.generator("digits", (8, 8, 1))
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
    if net.compiled and net.optimizer.iterations.numpy():
        net.optimizer.finalize_variable_values(net.trainable_variables)


@contextlib.contextmanager
def _restored(net):
    """On leaving this context a net has the variables that it had."""
    kept = [tf.identity(variable) for variable in net.variables]
    try:
        yield
    finally:
        for variable, value in zip(net.variables, kept, strict=True):
            variable.assign(value)


class Statistics:
    """Measures the statistics of a network's batch norm layers, ours or Keras'.

    The network is functional or sequential, also with such models inside.

    Raises:
      NetworkError: if a batch norm layer is out of reach: in a subclassed model or
        layer, or called more than once.
    """

    def __init__(self, network: keras.Model) -> None:
        self._norms = list(_norms(network))
        for layer in layers_inside(network):
            reached = any(layer is norm for norm, _ in self._norms)
            if is_batch_norm(layer) and not reached:
                raise NetworkError(
                    f"Network {network.name} has the batch norm {layer.name} inside "
                    "a subclassed model or layer, where its statistics cannot be "
                    "measured. Build it from functional or sequential parts."
                )

    def measure(self, batches: list[Any]) -> None:
        """Gives every batch norm the mean and variance of its input over batches of
        what the network takes, one layer after the other, each on top of exactly
        normalised ones.
        """
        for norm, parts in self._norms:
            if not norm.trainable:  # then it has its averages in training, too
                continue
            means: list[tf.Tensor] = []
            squares: list[tf.Tensor] = []
            for maps in batches:
                for part in parts:
                    maps = part(maps, training=False)
                maps = tf.cast(maps, tf.float32)
                rank = maps.shape.rank
                axes = [axis for axis in range(rank) if axis != _axis(norm) % rank]
                if not means:
                    shift = tf.reduce_mean(maps, axis=axes, keepdims=True)
                maps -= shift  # near the mean, a difference of squares keeps its digits
                means.append(tf.reduce_mean(maps, axis=axes))
                squares.append(tf.reduce_mean(tf.square(maps), axis=axes))
            mean = tf.reduce_mean(means, axis=0)
            variance = tf.reduce_mean(squares, axis=0) - tf.square(mean)
            norm.moving_mean.assign(mean + tf.reshape(shift, [-1]))
            norm.moving_variance.assign(tf.maximum(variance, 0.0))


def is_batch_norm(layer: keras.Layer) -> bool:
    return hasattr(layer, "moving_mean")


def synchronise(network: keras.Model) -> list[keras.Layer]:
    """Lets batch norm, whose layers it returns, take the statistics of all replicas.

    Raises:
      NetworkError: if a layer is neither ours nor of Keras.
    """
    norms = [layer for layer in layers_inside(network) if is_batch_norm(layer)]
    for layer in norms:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
        elif not isinstance(layer, BatchNorm):
            raise NetworkError(
                f"The batch norm {layer.name} of network {network.name} is neither "
                "Keras' nor coopnets_tf's, and several devices cannot share it. Take "
                "keras.layers.BatchNormalization, or one device."
            )
    return norms


def layers_inside(network: keras.Model) -> Iterator[keras.Layer]:
    """All layers of a network and of its layers, whatever they are made of."""
    return network._flatten_layers(include_self=False)


def _axis(norm):
    return getattr(norm, "axis", -1)


def _norms(network):
    """Batch norm layers in order, and the models that lead to their inputs."""
    for layer in network.layers:
        if is_batch_norm(layer):
            yield layer, [_before(layer, network)]
        elif isinstance(layer, keras.Model) and hasattr(layer, "inputs"):
            for norm, parts in _norms(layer):
                yield norm, [_before(layer, network), *parts]


def _before(layer, network):
    """The part of a network that leads to a layer's only input."""
    if isinstance(network, keras.Sequential):  # whose layers have more when loaded
        inputs = maps = keras.Input(network.input_shape[1:])
        for earlier in network.layers[: network.layers.index(layer)]:
            maps = earlier(maps)
        return keras.Model(inputs, maps)
    if len(layer._inbound_nodes) > 1:
        raise NetworkError(
            f"Network {network.name} calls {layer.name} more than once, so that its "
            "batch norm has several statistics. Call it once, or take another "
            "normalisation."
        )
    # A model's own `input` is where it begins, not what it is called with.
    return keras.Model(network.inputs, keras.Operation.input.fget(layer))
