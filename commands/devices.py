"""The devices and hosts that share the work of a mode."""

import functools
import json
import os
import sys
from collections.abc import Sequence

import tensorflow as tf

from coopnets_tf import replicas
from coopnets_tf.errors import ArgumentError
from coopnets_tf.wording import counted

FIRST_PORT = 8888  # of the tasks that SLURM starts on a node


def strategy(
    devices: str = "1",
    hosts: Sequence[str] | None = None,
    host_index: int | None = None,
) -> tf.distribute.Strategy:
    """How devices and hosts share a step; see `coopnets_tf.replicas`.

    Args:
      devices: of this host, "all" or a number.
      hosts: name:port of each, or slurm alone. None: those of TF_CONFIG, if it is set.
      host_index: which of them this one is.

    Raises:
      ArgumentError: if this machine has fewer devices, or SLURM is nowhere.
    """
    return _strategy(devices, tuple(hosts or ()), host_index)


@functools.cache  # TensorFlow mixes up the messages of two in one process
def _strategy(devices, hosts, host_index):
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if hosts or "TF_CONFIG" in os.environ:
        return _of_hosts(kind, devices, hosts, host_index)
    found = tf.config.list_logical_devices(kind)
    number = _number(kind, devices, len(found))
    if number == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([one.name for one in found[:number]])


def _of_hosts(kind, devices, hosts, host_index):
    found = tf.config.list_physical_devices(kind)
    number = _number(kind, devices, len(found))
    tf.config.set_visible_devices(found[:number], kind)
    if hosts == ("slurm",):
        hosts, host_index = _of_slurm()
    if hosts:
        task = {"type": "worker", "index": host_index}
        config = {"cluster": {"worker": hosts}, "task": task}
        os.environ["TF_CONFIG"] = json.dumps(config)
    kinds = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(
        # TensorFlow's own choice is its ring, on GPUs, too.
        implementation=kinds.NCCL if kind == "GPU" else kinds.RING
    )
    print("Waiting for all hosts", flush=True)
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def _of_slurm():
    """Name:port of each task of srun, and which of them this one is."""
    # TensorFlow's own count of GPUs needs nvidia-smi and knows nothing of `devices`;
    # it sorts nodes by name (n10, n9), which SLURM, who numbers the tasks, does not.
    try:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=FIRST_PORT,
            gpus_per_node=sys.maxsize,
            gpus_per_task=1,
            auto_set_gpu=False,
        )
        own = os.environ["SLURMD_NODENAME"], int(os.environ["SLURM_LOCALID"])
    except (KeyError, RuntimeError) as error:
        raise ArgumentError(
            f"`hosts`=slurm is for what srun starts: {error}"
        ) from error
    hosts = resolver.cluster_spec().job_tasks("worker")
    return hosts, hosts.index(f"{own[0]}:{FIRST_PORT + own[1]}")


def _number(kind, devices, found):
    number = found if devices == "all" else int(devices)
    if number > found:
        raise ArgumentError(
            f"`devices`={number} needs as many {kind}s. This machine has {found}."
        )
    return number


def named(strategy: tf.distribute.Strategy) -> str:
    """Where TensorFlow will run."""
    number, beside = strategy.num_replicas_in_sync, replicas.beside(strategy)
    hosts = f"{number // beside} hosts, each " if number > beside else ""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        parts = f" in {beside} parts" if beside > 1 else ""
        return f"{hosts}CPU, {counted(os.cpu_count() or 1, 'cores')}{parts}"
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return f"{hosts}{beside} x {name}" if beside > 1 else f"{hosts}{name}"
