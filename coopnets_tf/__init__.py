"""Cooperative training of descriptor and generator networks (arXiv:1609.09408)."""

from coopnets_tf.algorithm_d import AlgorithmD
from coopnets_tf.algorithm_g import AlgorithmG
from coopnets_tf.coopnets import CoopNets
from coopnets_tf.descriptor import Descriptor
from coopnets_tf.errors import UserError
from coopnets_tf.freezing import frozen
from coopnets_tf.generator import Generator
from coopnets_tf.langevin import Langevin, langevin_chain
from coopnets_tf.runs.folder import Run
from coopnets_tf.runs.saving import load
from coopnets_tf.runs.training import train
from coopnets_tf.version import __version__

__all__ = [
    "AlgorithmD",
    "AlgorithmG",
    "CoopNets",
    "Descriptor",
    "Generator",
    "Langevin",
    "Run",
    "UserError",
    "__version__",
    "frozen",
    "langevin_chain",
    "load",
    "train",
]
