"""Batch norm within networks, ours or Keras': exact statistics, and those that several
devices share.
"""

from typing import Any

import keras
import tensorflow as tf

from coopnets_tf.errors import NetworkError
from coopnets_tf.networks.layers import BatchNorm, layers_inside


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
