"""Cooperative training of descriptor and generator networks (arXiv:1609.09408)."""

from coopnets_tf.algorithms import AlgorithmD, AlgorithmG, CoopNets
from coopnets_tf.descriptor import Descriptor
from coopnets_tf.generator import Generator, exact_statistics
from coopnets_tf.langevin import Langevin, langevin_chain
from coopnets_tf.saving import load
from coopnets_tf.version import __version__

__all__ = [
    "AlgorithmD",
    "AlgorithmG",
    "CoopNets",
    "Descriptor",
    "Generator",
    "Langevin",
    "__version__",
    "exact_statistics",
    "langevin_chain",
    "load",
]
