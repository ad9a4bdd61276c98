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
MOST_REAL = 10_000  # real images that samples are scored against
PAPER_VALIDATION = 50_000, 1_000  # first and number, of the images of the data set
FEWEST = 2 * metrics.NUM_BLOCKS  # images of any set that is scored
CHAIN_LENGTHS = (0, 1, 2, 5, diagnostics.LENGTH)  # where long chains are looked at
PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn")


class NotFinite(ValueError):
    """The nets make images that are no numbers; the message says which."""


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
      DatasetError: if `num_samples` is too small to be scored, or the parts do not go
        together.
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
        if self.parzen == "paper" and self.split != "test":
            raise DatasetError(
                "--parzen_protocol=paper is for test images. "
                "Leave out --split=held_out."
            )


def real_images(splits, protocol):
    """The images that choose a bandwidth, and those that samples are scored against.

    Both in a random order, since a file may have one kind of image after the other.

    Args:
      splits: `datasets.Splits`.
      protocol: `Protocol`.

    Returns:
      Two `ImageDataset`s of at most `MOST_REAL` images.

    Raises:
      DatasetError: if there are too few, or `split` is "held_out" and none are.
    """
    choosing, reference = splits.validation, splits.test
    if protocol.split == "held_out":
        if splits.validation.kind == splits.training.kind:
            raise DatasetError(
                "--split=held_out and --evaluate_every need images held out of "
                "training. Train with --num_held_out=1000 or so."
            )
        mixed = splits.validation.drawn(seed=1)
        half = mixed.num_images // 2
        choosing, reference = mixed.part(slice(half)), mixed.part(slice(half, None))
    if protocol.parzen == "paper":
        choosing = paper_validation(splits.training)
    choosing, reference = (
        part.drawn(MOST_REAL, seed=0) for part in (choosing, reference)
    )
    if min(choosing.num_images, reference.num_images) < FEWEST:
        raise DatasetError(
            f"An evaluation needs {FEWEST} images or more on each side. Received: "
            f"{choosing}; {reference}. Train with a larger --num_held_out."
        )
    return choosing, reference


def paper_validation(training):
    """The training images that choose in the authors' code: 50,000 to 50,999 of MNIST.

    Of a smaller data set, its last 1,000.
    """
    first, number = PAPER_VALIDATION
    chosen = np.flatnonzero(
        (training.places >= first) & (training.places < first + number)
    )
    if len(chosen) < number:
        chosen = np.arange(training.num_images)[-number:]
    return training.part(chosen)


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
      NotFinite: if a net makes images that are no numbers.
    """
    timer = _Timer(tell)
    choosing, reference = real_images(splits, protocol)
    chosen = _possible(model, protocol, extractor)
    real_features = None
    if OF_FEATURES & set(chosen):
        with timer("features of the real images"):
            real_features, _ = extractor(reference)
    sets, scores = {}, {}
    for name, draw in _draws(model, splits, protocol, chosen).items():
        with timer(f"{name}, drawn"):
            sets[name] = draw()
        scores[name] = {"num_images": sets[name].num_images}
        if "parzen" in chosen:
            with timer(f"{name}, Parzen windows"):
                stretch = protocol.parzen == "paper"
                scores[name]["parzen"] = _parzen(
                    sets[name], choosing, reference, stretch=stretch
                )
        if real_features is not None:
            with timer(f"{name}, metrics of features"):
                scores[name] |= _feature_scores(
                    *extractor(sets[name]), real_features, chosen
                )
    report = {
        "protocol": _told(protocol, chosen, splits, choosing, reference, extractor),
        "nets": _nets(model),
        "versions": _versions(),
        "date": time.strftime("%Y-%m-%d"),
        "step": int(model.step),
        "scores": scores,
    }
    pictures = {}
    if "diagnostics" in chosen:
        with timer("diagnostics of the chains"):
            report["diagnostics"], pictures = _diagnose(
                model, protocol, reference, extractor, real_features
            )
    return {**report, "seconds": timer.seconds}, pictures, sets


class _Timer:
    """Tells how long its contexts took, and remembers it."""

    def __init__(self, tell):
        self.seconds = {}
        self._tell = tell

    @contextlib.contextmanager
    def __call__(self, what):
        start = time.monotonic()
        yield
        self.seconds[what] = round(time.monotonic() - start, 2)
        self._tell(f"{what}: {self.seconds[what]:.1f} s")


def _possible(model, protocol, extractor):
    """The metrics that can be had."""
    chosen = [one for one in METRICS if one in protocol.metrics]
    if extractor is None:
        chosen = [one for one in chosen if one not in OF_FEATURES]
    if not model.descriptor.revision.num_steps:  # no chain to look at
        chosen = [one for one in chosen if one != "diagnostics"]
    return chosen


def _draws(model, splits, protocol, chosen):
    """Functions that draw the sets of images to score, by name."""

    def drawn(name, num_steps):
        pixels = []
        with model.as_shown():
            for batch in model.sample_batches(
                protocol.num_samples, seed=protocol.seed, num_steps=num_steps
            ):
                if not np.isfinite(batch).all():
                    raise NotFinite(f"A pixel of the {name}'s images is no number.")
                pixels.append(images.to_uint8(batch))
        return ImageDataset(name, np.concatenate(pixels), kind="samples")

    def real():
        training = splits.training
        if protocol.parzen == "paper":  # what chooses would find itself
            choosing = paper_validation(training).places
            training = training.part(~np.isin(training.places, choosing))
        return training.drawn(protocol.num_samples, seed=protocol.seed)

    if set(chosen) <= {"diagnostics"}:
        return {}
    draws = {"generator": lambda: drawn("generator", 0)}
    if model.descriptor.revision.num_steps:
        draws["descriptor"] = lambda: drawn("descriptor", None)
    return {**draws, "training images": real} if protocol.real else draws


def _rows(dataset):
    """All images as rows of pixels in [0, 1], by the fixed map (x + 1) / 2."""
    scaled = dataset.head(dataset.num_images)
    return (scaled.reshape(len(scaled), -1) + 1) / 2


def _parzen(samples, choosing, reference, *, stretch):
    rows = _rows(samples)
    if stretch and rows.max() > rows.min():
        rows = (rows - rows.min()) / (rows.max() - rows.min())
    bandwidth = parzen.choose_bandwidth(rows, _rows(choosing))
    mean, error = parzen.score(rows, _rows(reference), bandwidth)
    return {"nats": mean, "standard_error": error, "bandwidth": bandwidth}


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
    with model.as_shown():
        trace = diagnostics.trace(
            model, num_steps=steps[-1], seed=protocol.seed, keep=steps
        )
    real_energy = np.concatenate(
        [
            model.energy(reference[np.arange(first, min(first + 100, number))])
            for number in [min(reference.num_images, 1_000)]
            for first in range(0, number, 100)
        ]
    )
    distances = {}
    if real_features is not None:
        for step, states in trace.states.items():
            if np.isfinite(states).all():
                chains = ImageDataset("chains", images.to_uint8(states))
                value, error = metrics.kernel_distance(
                    extractor(chains)[0], real_features
                )
                distances[step] = {"value": value, "standard_error": error}
    summary = diagnostics.summary(
        trace, trained=trained, real_energy=real_energy, distances=distances
    )
    shown = np.stack([states[:8] for states in trace.states.values()], axis=1)
    shown = np.nan_to_num(shown.reshape(-1, *shown.shape[2:]))
    return summary, {
        "diagnostics": diagnostics.plot(
            trace, trained=trained, real_energy=real_energy
        ),
        "chains": images.grid(shown, num_columns=len(trace.states)),
    }


def _told(protocol, chosen, splits, choosing, reference, extractor):
    """Every choice, for the report."""
    pixels = "(x + 1) / 2"
    if protocol.parzen == "paper":
        pixels = "each set stretched to [0, 1] from its smallest and largest"
    return {
        **dataclasses.asdict(protocol),
        "metrics": chosen,
        "trained_on": str(splits.training),
        "normalized": "per image" if splits.training.per_image else "fixed scale",
        "scored_against": str(reference),
        "honest": reference.kind != splits.training.kind,
        "samples": "uint8, fresh, frozen weights, exact batch norm statistics",
        "parzen_windows": {
            "bandwidth_chosen_on": str(choosing),
            "pixels": pixels,
            "bandwidths": [round(float(one), 4) for one in parzen.BANDWIDTHS],
        },
        "extractor": extractor and {"name": extractor.name, **extractor.facts},
        "neighbours": metrics.NEIGHBOURS,
        "blocks": metrics.NUM_BLOCKS,
        "largest_block": metrics.BLOCK_SIZE,
    }


def _nets(model):
    """What the nets' samples depend on besides their weights."""
    return {
        "network": model.descriptor.network,
        "latent_size": model.generator.latent_size,
        "revision": dataclasses.asdict(model.descriptor.revision),
        "reference_stddev": model.descriptor.reference_stddev,
        "noise_scale": float(model.noise_scale()),
    }


def _versions():
    gpus = [
        tf.config.experimental.get_device_details(device).get("device_name", "GPU")
        for device in tf.config.list_physical_devices("GPU")
    ]
    return {
        "coopnets_tf": __version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
        "machine": platform.machine(),
        "devices": gpus or f"CPU, {os.cpu_count()} cores",
    }
