"""The report of an evaluation: its scores with all that they depend on."""

import dataclasses
import os
import platform
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import tensorflow as tf

from coopnets_tf.data.datasets import Splits
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.evaluation import baselines, memorisation, metrics, parzen
from coopnets_tf.evaluation.features import Extractor
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.models.learner import NETS
from coopnets_tf.version import __version__
from coopnets_tf.wording import counted

PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn")


def choices(
    protocol: Any,
    chosen: Sequence[str],
    splits: Splits,
    validation: ImageDataset,
    reference: ImageDataset,
    extractor: Extractor | None,
) -> dict[str, Any]:
    """Every choice of a `Protocol`, and what else is fixed."""
    pixels = "(x + 1) / 2"
    if protocol.parzen == "paper":
        pixels = "each set stretched to [0, 1] from its smallest and largest"
    return {
        **dataclasses.asdict(protocol),
        "metrics": chosen,
        "baselines": protocol.baselines
        and {"gaussian_fitted_to_at_most": baselines.NUM_FITTED},
        "memorisation": {
            "images": memorisation.NUM_COMPARED,
            "relative_to_nearest": memorisation.NUM_NEXT,
            "near_per_cent": memorisation.NEAR,
        },
        "trained_on": str(splits.training),
        "normalized": "per image" if splits.training.per_image else "fixed scale",
        "scored_against": str(reference),
        "reference_was_trained_on": splits.test_was_trained_on,
        "samples": "uint8, frozen weights, exact batch norm statistics; fresh, but of "
        "persistent chains those of the training, each moved once more",
        "parzen_windows": {
            "bandwidth_chosen_on": str(validation),
            "pixels": pixels,
            "bandwidths": parzen.BANDWIDTHS.tolist(),
        },
        "extractor": extractor
        and {
            "name": extractor.name,
            "frechet_name": extractor.frechet_name,
            **extractor.facts,
        },
        "neighbours": metrics.NUM_NEIGHBOURS,
        "num_neighbour_images": min(protocol.num_samples, reference.num_images),
        "blocks": metrics.NUM_BLOCKS,
        "largest_block": metrics.MAX_BLOCK,
    }


def nets(model: ImageModel) -> dict[str, Any]:
    """What the nets' samples depend on besides their weights."""

    def facts(owner):
        left_out = ("name", "trainable", "dtype", "limits", *NETS)
        config = owner.get_config()
        if "network" in config:  # without its layers, one by one
            config["network"] = owner.network.name
        return {name: config[name] for name in config if name not in left_out}

    return {
        "algorithm": type(model).__name__,
        **facts(model),
        **{name: facts(net) for name, net in model.nets.items()},
        "noise_scale": float(model.revision_noise_scale()),
    }


def report(
    model: ImageModel,
    protocol: Mapping[str, Any],
    scores: Mapping[str, Any],
    *,
    diagnostics: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report of an evaluation, with where it comes from; JSON can hold it.

    Args:
      protocol: how the scores were made, and of what.
      scores: of each set of images, by its name.
      diagnostics: of the chains, where they were looked at.
    """
    return {
        "protocol": protocol,
        "nets": nets(model),
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d"),
        "step": int(model.step),
        "scores": scores,
        "diagnostics": diagnostics or {},
    }


def versions() -> dict[str, Any]:
    """The packages and the machine."""
    gpus = [
        tf.config.experimental.get_device_details(device).get("device_name", "GPU")
        for device in tf.config.list_physical_devices("GPU")
    ]
    return {
        "coopnets_tf": __version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
        "machine": platform.machine(),
        "devices": gpus or [f"CPU, {counted(os.cpu_count() or 1, 'cores')}"],
    }
