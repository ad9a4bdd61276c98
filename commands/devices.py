"""The devices that share the work of a mode."""

import functools
import os

import tensorflow as tf

from coopnets_tf.errors import ArgumentError
from coopnets_tf.wording import counted


@functools.cache  # TensorFlow mixes up the messages of two in one process
def strategy(devices: str = "1") -> tf.distribute.Strategy:
    """How so many devices, or "all", share a step; see `coopnets_tf.replicas`.

    Raises:
      ArgumentError: if this machine has fewer.
    """
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    found = tf.config.list_logical_devices(kind)
    number = len(found) if devices == "all" else int(devices)
    if number > len(found):
        raise ArgumentError(
            f"`devices`={number} needs as many {kind}s. This machine has {len(found)}."
        )
    if number == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([one.name for one in found[:number]])


def named(strategy: tf.distribute.Strategy) -> str:
    """Where TensorFlow will run."""
    number = strategy.num_replicas_in_sync
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        parts = f" in {number} parts" if number > 1 else ""
        return f"CPU, {counted(os.cpu_count() or 1, 'cores')}{parts}"
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return f"{number} x {name}" if number > 1 else name
