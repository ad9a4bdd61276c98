"""The evaluation protocol: which samples, how many, against which images, by what.

Scores are those of the images as they would be saved: uint8 pixels, drawn fresh from
frozen weights. What `Protocol` does not say is fixed here and told in the report.
"""

import contextlib
import dataclasses
import os
import platform
import time
from importlib import metadata

import numpy as np
import tensorflow as tf

from coopnets_tf import diagnostics, images, metrics, parzen
from coopnets_tf.datasets import DatasetError, ImageDataset
from coopnets_tf.version import __version__

METRICS = (
    "parzen",
    "frechet",
    "kernel",
    "neighbours",
    "inception_score",
    "diagnostics",
)
OF_FEATURES = {"frechet", "kernel", "neighbours", "inception_score"}
PAPER_VALIDATION = 50_000, 1_000  # first and number, of the images of the data set
FEWEST = 2 * metrics.NUM_BLOCKS  # images of any set that is scored
CHAIN_LENGTHS = (0, 1, 2, 5, diagnostics.LENGTH)  # where long chains are looked at
PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What an evaluation leaves open.

    Args:
      num_samples: int; images drawn of each net.
      seed: int in [0, 2**31); of the draws.
      split: "test", the images for the last word, with the bandwidth chosen on those
        held out of training; or "held_out", for looking along the way: the held-out
        images alone, of which the first half chooses.
      parzen: "held_out", or "paper" for the choices of the authors' code: each set
        stretched to [0, 1] from its own smallest and largest value, and the bandwidth
        chosen on 1,000 images that were trained on.
      metrics: tuple of `METRICS`.
      real: bool; also score images of the training, which shows what could be reached.

    Raises:
      DatasetError: if `num_samples` is too small to be scored.
    """

    num_samples: int = 10_000
    seed: int = 0
    split: str = "test"
    parzen: str = "held_out"
    metrics: tuple = METRICS
    real: bool = False

    def __post_init__(self):
        if self.num_samples < FEWEST:
            raise DatasetError(
                f"An evaluation needs {FEWEST} samples or more. "
                f"Received: --evaluation_samples={self.num_samples}"
            )


def evaluate(model, splits, protocol, *, extractor=None, tell=lambda line: None):
    """Scores what both nets make.

    Args:
      model: `CoopNets`.
      splits: `datasets.Splits`.
      protocol: `Protocol`.
      extractor: `features.Extractor`, or None to leave out what needs one.
      tell: function of a line of text, for what takes its time.

    Returns:
      The report, a dict that JSON can hold; a dict of pictures, uint8 [height, width,
      channels]; and the sets of images that were scored, by name.

    Raises:
      DatasetError: if there are too few images to score against.
    """
    chosen = [one for one in METRICS if one in protocol.metrics]
    if extractor is None:
        chosen = [one for one in chosen if one not in OF_FEATURES]
    seconds = {}

    @contextlib.contextmanager
    def timed(what):
        start = time.monotonic()
        yield
        seconds[what] = round(time.monotonic() - start, 2)
        tell(f"{what}: {seconds[what]:.1f} s")

    choosing, reference = _split(splits, protocol)
    real_features = None
    if OF_FEATURES & set(chosen):
        with timed("features of the real images"):
            real_features, _ = extractor(reference)
    sets, scores = {}, {}
    for name, draw in _draws(model, splits, protocol).items():
        with timed(f"{name}, drawn"):
            sets[name] = draw()
        scores[name] = {}
        if "parzen" in chosen:
            with timed(f"{name}, Parzen windows"):
                scores[name]["parzen"] = _parzen(
                    sets[name], choosing, reference, splits.training, protocol
                )
        if real_features is not None:
            with timed(f"{name}, metrics of features"):
                scores[name] |= _feature_scores(
                    *extractor(sets[name]), real_features, chosen
                )
    report = {
        "protocol": _told(protocol, chosen, choosing, reference, extractor, model),
        "versions": _versions(),
        "step": int(model.step),
        "scores": scores,
    }
    pictures = {}
    if "diagnostics" in chosen:
        with timed("diagnostics of the chains"):
            report["diagnostics"], pictures = _diagnose(
                model, protocol, reference, extractor, real_features
            )
    return {**report, "seconds": seconds}, pictures, sets


def _split(splits, protocol):
    """The images that choose a bandwidth, and those that are scored against."""
    choosing, reference = splits.validation, splits.test
    if protocol.split == "held_out":
        half = choosing.num_images // 2
        choosing, reference = choosing.part(0, half), choosing.part(half, None)
    if min(choosing.num_images, reference.num_images) < FEWEST:
        raise DatasetError(
            f"An evaluation needs {FEWEST} images or more on each side. Received: "
            f"{choosing}; {reference}. Train with a larger --num_held_out."
        )
    return choosing, reference


def _draws(model, splits, protocol):
    """Functions that draw the sets of images to score, by name."""

    def drawn(num_steps):
        with model.as_shown():
            batches = model.sample_batches(
                protocol.num_samples, seed=protocol.seed, num_steps=num_steps
            )
            pixels = np.concatenate([images.to_uint8(batch) for batch in batches])
        return ImageDataset("samples", pixels, kind="samples")

    def real():
        training = splits.training
        order = np.random.default_rng(protocol.seed).permutation(training.num_images)
        pixels = images.to_uint8(training[np.sort(order[: protocol.num_samples])])
        return ImageDataset(training.name, pixels, kind=training.kind)

    draws = {"generator": lambda: drawn(0), "descriptor": lambda: drawn(None)}
    return {**draws, "training images": real} if protocol.real else draws


def _unit(dataset, number=None):
    """Images as rows of pixels in [0, 1], the fixed map (x + 1) / 2."""
    scaled = dataset.head(number or dataset.num_images)
    return (scaled.reshape(len(scaled), -1) + 1) / 2


def _parzen(samples, choosing, reference, training, protocol):
    rows = _unit(samples)
    if protocol.parzen == "paper":
        rows = (rows - rows.min()) / (rows.max() - rows.min())
        choosing = paper_validation(training)
    bandwidth = parzen.choose_bandwidth(rows, _unit(choosing))
    mean, error = parzen.score(rows, _unit(reference), bandwidth)
    return {"nats": mean, "standard_error": error, "bandwidth": bandwidth}


def paper_validation(training):
    """The training images that choose in the authors' code: 50,000 to 50,999 of MNIST.

    Of a smaller data set, its last 1,000.
    """
    first, number = PAPER_VALIDATION
    first = max(min(first - training.offset, training.num_images - number), 0)
    return training.part(first, first + number)


def _feature_scores(features, probabilities, reference, chosen):
    scores = {}
    if "frechet" in chosen:
        scores["frechet_distance"] = metrics.frechet_distance(features, reference)
    if "kernel" in chosen:
        value, error = metrics.kernel_distance(features, reference)
        scores["kernel_distance"] = {"value": value, "standard_error": error}
    if "neighbours" in chosen:
        scores |= metrics.neighbour_scores(features, reference)
    if "inception_score" in chosen:
        mean, stddev = metrics.inception_score(probabilities)
        scores["inception_score"] = {"mean": mean, "stddev": stddev}
    return scores


def _diagnose(model, protocol, reference, extractor, real_features):
    """The diagnostics' numbers and pictures."""
    trained = model.descriptor.revision.num_steps
    steps = [length * trained for length in CHAIN_LENGTHS]
    real = reference.head(1_000)
    with model.as_shown():
        trace = diagnostics.trace(
            model, num_steps=steps[-1], seed=protocol.seed, keep=steps
        )
    real_energy = np.asarray(model.energy(real))
    summary = diagnostics.summary(trace, trained=trained, real_energy=real_energy)
    if extractor is not None and real_features is not None:
        summary["kernel_distance"] = {}
        for step, states in trace.states.items():
            chains = ImageDataset("chains", images.to_uint8(states))
            value, error = metrics.kernel_distance(extractor(chains)[0], real_features)
            summary["kernel_distance"][step] = {
                "value": value,
                "standard_error": error,
            }
    shown = np.stack([states[:8] for states in trace.states.values()], axis=1)
    return summary, {
        "diagnostics": diagnostics.plot(
            trace, trained=trained, real_energy=real_energy
        ),
        "chains": images.grid(
            shown.reshape(-1, *shown.shape[2:]), num_columns=shown.shape[1]
        ),
    }


def _told(protocol, chosen, choosing, reference, extractor, model):
    """Every choice, for the report."""
    if protocol.parzen == "paper":
        parzen_choice = {
            "bandwidth_chosen_on": "1,000 training images (50,000 to 50,999 of MNIST)",
            "pixels": "each set stretched to [0, 1] from its smallest and largest",
        }
    else:
        parzen_choice = {
            "bandwidth_chosen_on": str(choosing),
            "pixels": "(x + 1) / 2",
        }
    return {
        **dataclasses.asdict(protocol),
        "metrics": chosen,
        "samples": "uint8, fresh, frozen weights, exact batch norm statistics",
        "revision_steps": model.descriptor.revision.num_steps,
        "scored_against": str(reference),
        "parzen_windows": {
            **parzen_choice,
            "bandwidths": [round(float(one), 4) for one in parzen.BANDWIDTHS],
        },
        "extractor": extractor and {"name": extractor.name, **extractor.facts},
        "neighbours": metrics.NEIGHBOURS,
        "blocks": metrics.NUM_BLOCKS,
        "largest_block": metrics.BLOCK_SIZE,
    }


def _versions():
    gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
    return {
        "coopnets_tf": __version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
        "machine": platform.machine(),
        "devices": gpus or f"CPU, {os.cpu_count()} cores",
    }
