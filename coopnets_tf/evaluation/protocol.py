"""The evaluation protocol: which samples, how many, against which images, by what.

    samples      drawn fresh from frozen weights, as uint8 pixels, as they are saved
    validation   real images that choose (the bandwidth of the Parzen windows)
    reference    real images that samples are scored against
    baselines    training images and draws of a Gaussian, scored as if they were samples

What `Protocol` does not say is fixed here and is in the report.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from coopnets_tf.data import images
from coopnets_tf.data.datasets import TRAINED_ON, Splits
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import DatasetError
from coopnets_tf.evaluation import (
    baselines,
    diagnostics,
    drawn,
    facts,
    memorisation,
    metrics,
    parzen,
)
from coopnets_tf.evaluation.drawn import Evaluation
from coopnets_tf.evaluation.features import Extractor
from coopnets_tf.models.image_model import ImageModel

METRICS = (
    "parzen",
    "frechet",
    "kernel",
    "neighbours",
    "inception_score",
    "classes",
    "memorisation",
    "diagnostics",
)
FEATURE_METRICS = {"frechet", "kernel", "neighbours", "inception_score", "classes"}
MAX_REFERENCE = 10_000  # images
MIN_IMAGES = 2 * metrics.NUM_BLOCKS  # of any set that is scored, or scored against
PAPER_VALIDATION = 50_000, 1_000  # first and number, of the images of the data set


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The choices of an evaluation.

    Args:
      num_samples: images drawn of each net.
      seed: in [0, 2**31); of the draws.
      split: "test", for the last word: the test images are the reference, the held-out
        ones the validation. "validation", for looking along the way: the held-out
        images alone, half of them for each.
      parzen: "held_out", or "paper" for the choices of the authors' code: each set of
        samples stretched to [0, 1] from its extremes, and 1,000 images that were
        trained on as the validation.
      metrics: some of `METRICS`.
      baselines: also score images of the training, about what a perfect net would get,
        and draws of a Gaussian, which any net should surpass.

    Raises:
      ValueError: if these are not such choices, or do not go together.
    """

    num_samples: int = 10_000
    seed: int = 0
    split: str = "test"
    parzen: str = "held_out"
    metrics: tuple[str, ...] = METRICS
    baselines: bool = False

    def __post_init__(self) -> None:
        known = {"split": ("test", "validation"), "parzen": ("held_out", "paper")}
        for name, values in known.items():
            if (value := getattr(self, name)) not in values:
                raise ValueError(
                    f"`{name}` must be {' or '.join(values)}. Received: {value!r}."
                )
        if not set(self.metrics) <= set(METRICS):
            raise ValueError(
                f"`metrics` must be some of {', '.join(METRICS)}. Received: "
                f"{', '.join(self.metrics)}."
            )
        if self.num_samples < MIN_IMAGES:
            raise ValueError(
                f"`num_samples` must be {MIN_IMAGES} or more. "
                f"Received: num_samples={self.num_samples}"
            )
        if self.parzen == "paper" and self.split != "test":
            raise ValueError(
                "`parzen`=paper is for the test images. Received: "
                f"`split`={self.split}."
            )


def evaluate(
    model: ImageModel,
    splits: Splits,
    protocol: Protocol,
    *,
    extractor: Extractor | None = None,
    tell: Callable[[str], None] = lambda what: None,
) -> Evaluation:
    """Scores what the nets make.

    Args:
      splits: real images.
      extractor: None leaves out what needs one.
      tell: is called with what is going on, and with "" when it is over.

    Raises:
      DatasetError: if there are too few real images.
      NotFinite: if a net makes images that contain NaN or infinity.
    """
    timer = _Timer(tell)
    validation, reference = real_images(splits, protocol)
    number = num_drawn(model, protocol)
    chosen = _possible(model, splits, protocol, extractor)
    features = None
    if extractor and FEATURE_METRICS & set(chosen):
        with timer("features of the reference"):
            features, _ = extractor(reference)
    against = _Against(
        validation, reference, protocol.parzen == "paper", extractor, features
    )
    scored: dict[str, ImageDataset] = {}
    scores: dict[str, Any] = {}
    chains: dict[str, Any] = {}
    pictures: dict[str, np.ndarray] = {}
    with model.frozen():
        nets = [] if set(chosen) <= {"diagnostics"} else drawn.nets(model)
        others = [TRAINED_ON, baselines.GAUSSIAN] if nets and protocol.baselines else []
        for name in [*nets, *others]:
            with timer(f"{name}, drawn"):
                scored[name] = _draw(name, model, splits.training, protocol, number)
            scores[name] = _scores(name, scored[name], chosen, against, timer)
        if "diagnostics" in chosen:
            with timer("diagnostics of the chains"):
                distance = _distance(extractor, features)
                chains, pictures = diagnostics.diagnose(
                    model, reference, seed=protocol.seed, distance=distance
                )
    if "memorisation" in chosen:
        with timer("nearest training images"):
            found, pictures["nearest"] = memorisation.check(
                scored, reference, splits.training, shown=drawn.final_net(model)
            )
        for name, own in found.items():
            scores[name]["memorisation"] = own
    choices = facts.choices(protocol, chosen, splits, validation, reference, extractor)
    report = facts.report(model, choices, scores, diagnostics=chains)
    report["seconds"] = timer.seconds
    return Evaluation(report, pictures, scored, reference)


class _Against(NamedTuple):
    """What sets of images are scored against."""

    validation: ImageDataset
    reference: ImageDataset
    stretch: bool  # the samples' pixels, for the Parzen windows
    extractor: Extractor | None
    features: np.ndarray | None  # of the reference


def _scores(name, dataset, chosen, against, timer):
    """What the metrics make of a set of images."""
    found: dict[str, Any] = {"num_images": dataset.num_images}
    if "parzen" in chosen:
        with timer(f"{name}, Parzen windows"):
            real = against.validation, against.reference
            found["parzen"] = _parzen(dataset, *real, against.stretch)
    if against.features is not None:
        with timer(f"{name}, metrics of features"):
            features, probabilities = against.extractor(dataset)
            found |= _feature_scores(features, probabilities, against.features, chosen)
            if "classes" in chosen and dataset.labels is not None:
                found["classes"] = _class_scores(
                    (features, dataset.labels),
                    (against.features, against.reference.known_labels),
                    probabilities,
                )
    return found


def _class_scores(own, real, probabilities):
    """Of `own` and of `real` images the features and the labels, a pair."""
    _, labels = own
    scores = {"accuracy": metrics.accuracy(probabilities, labels)}
    if found := metrics.frechet_distance_of_classes(own, real):
        names = "frechet_distance", "num_classes", "fewest_images"
        scores |= dict(zip(names, found, strict=True))
    return scores


def real_images(
    splits: Splits, protocol: Protocol
) -> tuple[ImageDataset, ImageDataset]:
    """The validation and the reference, of at most `MAX_REFERENCE` images each.

    Both come in a random order, since a file may have one kind of image after the
    other.

    Raises:
      DatasetError: if there are too few, or none were held out for `split`.
    """
    validation, reference = splits.validation, splits.test
    if protocol.split == "validation":
        if not splits.num_held_out:
            raise DatasetError(
                "`split`=validation and `evaluate_every` need images held out of "
                "training. Train with `num_held_out`=1000 or so."
            )
        mixed = splits.validation.drawn(seed=1)
        half = mixed.num_images // 2
        validation, reference = mixed.part(slice(half)), mixed.part(slice(half, None))
    if protocol.parzen == "paper":
        validation = paper_validation(splits.training)
    validation, reference = (
        part.drawn(MAX_REFERENCE, seed=0) for part in (validation, reference)
    )
    if min(validation.num_images, reference.num_images) < MIN_IMAGES:
        enough = splits.training.num_images + splits.num_held_out > 2 * MIN_IMAGES
        way_out = "Train with a larger `num_held_out`" if enough else "Take more images"
        raise DatasetError(
            f"An evaluation needs {MIN_IMAGES} images or more on each side. Received: "
            f"{validation}; {reference}. {way_out}."
        )
    return validation, reference


def num_drawn(model: ImageModel, protocol: Protocol) -> int:
    """How many images are drawn of each net, 0 where no metric looks at them.

    Raises:
      DatasetError: if the net cannot make as many as an evaluation needs.
    """
    if set(protocol.metrics) <= {"diagnostics"}:
        return 0
    number = protocol.num_samples
    if model.num_independent is not None:  # more would be copies
        number = min(number, model.num_independent)
    if number < MIN_IMAGES:
        raise DatasetError(
            f"An evaluation needs {MIN_IMAGES} images or more. Received: "
            f"`num_persistent_chains`={number}. Train with more."
        )
    return number


def paper_validation(training: ImageDataset) -> ImageDataset:
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


class _Timer:
    """Tells what its contexts are about, and remembers how long they took."""

    def __init__(self, tell):
        self.seconds: dict[str, float] = {}
        self._tell = tell

    @contextlib.contextmanager
    def __call__(self, what):
        start = time.monotonic()
        self._tell(what)
        try:
            yield
        finally:
            self._tell("")
        self.seconds[what] = round(time.monotonic() - start, 2)


def _possible(model, splits, protocol, extractor):
    """The metrics that are available."""
    chosen = [one for one in METRICS if one in protocol.metrics]
    if extractor is None:
        chosen = [one for one in chosen if one not in FEATURE_METRICS]
    elif not extractor.has_classes:
        chosen = [one for one in chosen if one != "inception_score"]
    if not model.class_shares or not extractor or not extractor.knows_labels:
        chosen = [one for one in chosen if one != "classes"]
    if not model.revision_steps:  # no chain to look at
        chosen = [one for one in chosen if one != "diagnostics"]
    if splits.test_was_trained_on:  # no image is new
        chosen = [one for one in chosen if one != "memorisation"]
    return chosen


def _draw(name, model, training, protocol, number):
    """At most `number` images of the training, or as many of a net or the Gaussian."""
    if name in (TRAINED_ON, baselines.GAUSSIAN) and protocol.parzen == "paper":
        chosen = paper_validation(training).places  # which would find itself in it
        training = training.part(~np.isin(training.places, chosen))
    if name == TRAINED_ON:
        return training.drawn(number, seed=protocol.seed)
    if name == baselines.GAUSSIAN:
        return baselines.gaussian(training, number, seed=protocol.seed)
    return drawn.samples(name, model, number, seed=protocol.seed)


def _rows(dataset):
    """All images as rows of pixels in [0, 1], by the fixed map (x + 1) / 2."""
    scaled = dataset[:]
    return (scaled.reshape(len(scaled), -1) + 1) / 2


def _parzen(dataset, validation, reference, stretch):
    rows = _rows(dataset)
    if stretch and rows.max() > rows.min():
        rows = (rows - rows.min()) / (rows.max() - rows.min())
    bandwidth = parzen.choose_bandwidth(rows, _rows(validation))
    mean, error = parzen.score(rows, _rows(reference), bandwidth)
    return {"nats": mean, "standard_error": error, "bandwidth": bandwidth}


def _feature_scores(features, probabilities, reference, chosen):
    scores: dict[str, Any] = {}
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


def _distance(extractor, features):
    """The kernel distance of images from the reference, with its error; else None."""
    if features is None:
        return None

    def distance(states):
        chains = ImageDataset("chains", images.to_uint8(states))
        return metrics.kernel_distance(extractor(chains)[0], features)

    return distance
