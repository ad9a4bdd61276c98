"""The devices and hosts that share the work of a mode."""

import functools
import os
import signal
import sys
from collections.abc import Sequence

import tensorflow as tf

from coopnets_tf import replicas
from coopnets_tf.errors import ArgumentError
from coopnets_tf.wording import counted

FIRST_PORT = 8888  # of the tasks that SLURM starts on a node


@functools.cache  # TensorFlow mixes up the messages of two in one process
def strategy(devices: str = "1") -> tf.distribute.Strategy:
    """How this many devices of this machine, or all of them, share a step; see
    `coopnets_tf.replicas`.

    Raises:
      ArgumentError: if this machine has fewer.
    """
    found = tf.config.list_logical_devices(_kind())
    number = _number(devices, len(found))
    if number == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([one.name for one in found[:number]])


def strategy_of_hosts(
    devices: str, hosts: Sequence[str] | None, host_index: int | None
) -> tf.distribute.Strategy:
    """The same of several hosts, if there are any.

    Args:
      devices: of each host.
      hosts: name:port of each, or slurm alone. None: those of TF_CONFIG, if it is set.
      host_index: which of them this one is.

    Raises:
      ArgumentError: if this machine has fewer devices, or cannot be one of the hosts.
    """
    resolver = None
    if hosts == ["slurm"]:
        hosts, host_index = _of_slurm()
    if hosts:
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": hosts}),
            task_type="worker",
            task_id=host_index,
            rpc_layer="grpc",
        )
    elif "TF_CONFIG" not in os.environ:
        return strategy(devices)
    kind, kinds = _kind(), tf.distribute.experimental.CommunicationImplementation
    found = tf.config.list_physical_devices(kind)
    tf.config.set_visible_devices(found[: _number(devices, len(found))], kind)
    options = tf.distribute.experimental.CommunicationOptions(
        # TensorFlow's own choice is its ring, on GPUs, too.
        implementation=kinds.NCCL if kind == "GPU" else kinds.RING
    )
    print("Waiting for all hosts", flush=True)
    kept = signal.signal(signal.SIGINT, signal.SIG_DFL)  # else Ctrl-C would wait, too
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
    except tf.errors.OpError as error:
        raise ArgumentError(
            f"`hosts` cannot begin: {error.message}. Is this host's port free, and are "
            "all reached by these names?"
        ) from error
    finally:
        signal.signal(signal.SIGINT, kept)


def _kind():
    return "GPU" if tf.config.list_physical_devices("GPU") else "CPU"


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


def _number(devices, found):
    number = found if devices == "all" else int(devices)
    if number > found:
        raise ArgumentError(
            f"`devices`={number} needs as many {_kind()}s. This machine has {found}."
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
