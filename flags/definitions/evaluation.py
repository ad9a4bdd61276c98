"""Scores, in a training and after it."""

from typing import Any

from flags import places
from flags.definitions import conditions
from flags.facts import Group

FEWEST = 20  # images that can be scored
METRICS = {
    "parzen": "log-likelihood",
    "frechet": "distance",
    "kernel": "distance, KID",
    "neighbours": "precision, recall, density, coverage",
    "inception_score": "of the extractor's classes",
    "classes": "of runs with --conditional, of each class",
    "memorisation": "distance from the nearest training image",
    "diagnostics": "chains of ten times the trained length",
}

evaluation = Group("evaluation", modes=("evaluate",), saved=False)
both: dict[str, Any] = {
    "modes": ("train", "evaluate"),
    "when": conditions.evaluates,
    "saved": True,
    "may_change": True,
    "own": ("evaluate",),
}
features: dict[str, Any] = both | {
    "modes": ("train", "evaluate", "recover"),
    "when": conditions.sees_features,
    "own": ("evaluate", "recover"),
}
evaluation.integer(
    "evaluate_every",
    None,
    "In training: steps between two evaluations on images held out of training "
    "(--num_held_out); to --track, metrics.jsonl and evaluations/. Default: none.",
    basic="steps between two evaluations",
    low=1,
    modes=("train",),
    saved=True,
    may_change=True,
)
evaluation.list(
    "metrics",
    None,
    "What to measure, with commas: "
    + ", ".join(f"{name} ({meaning})" for name, meaning in METRICS.items())
    + ". Default: all that are available.",
    basic="what to measure, with commas",
    must=f"some of {','.join(METRICS)}",
    good=lambda value: bool(value) and set(value) <= set(METRICS),
    choices=tuple(METRICS),
    **both,
)
evaluation.integer(
    "evaluation_samples",
    10_000,
    "Images drawn of each net; other numbers give other scores, so leave it.",
    low=FEWEST,
    basic="images drawn of each net",
    **both,
)
evaluation.seed("evaluation_seed", 0, "Seed of those draws.", **both)
evaluation.string(
    "extractor",
    None,
    "Whose features the metrics use: classifier, a small ConvNet, trained once on the "
    "data set's labels; inception, Keras' InceptionV3; or a .keras file with a network "
    "of your own, which is given pixels in [-1, 1], or in [0, 255] if it begins with a "
    "Rescaling by 1/100 or less. Default: the classifier where there are labels. "
    "recover takes only such a file, by whose maps it also compares images.",
    basic="classifier, inception or FILE.keras",
    choices=places.EXTRACTORS,
    path=True,
    place=places.extractor,
    **features,
)
evaluation.string(
    "extractor_layer",
    None,
    "Layer of such a file whose output has the features, of maps the mean. Default: "
    "what goes into its last layer if that is Dense, else its output.",
    **features,
)
evaluation.string(
    "inception_weights",
    None,
    "File with the weights of Keras' InceptionV3, which then is the extractor. "
    "Default: Keras' cache, downloaded when missing.",
    path=True,
    place=places.file,
    **both,
)
evaluation.enum(
    "split",
    "test",
    ["test", "validation"],
    "With --mode=evaluate: score against the test images, for the last word, or "
    "against half of those held out of training (the other half chooses the "
    "bandwidth), to choose among runs and steps.",
    basic="test or validation images",
)
evaluation.enum(
    "parzen_protocol",
    "held_out",
    ["held_out", "paper"],
    "With --mode=evaluate: bandwidth chosen on held-out images and pixels (x + 1) / 2, "
    "or as in the authors' code: on training images, samples stretched to [0, 1].",
)
evaluation.boolean(
    "evaluate_baselines",
    True,
    "With --mode=evaluate: also score training images as if a net had drawn them, "
    "about what a perfect net would get, and draws of a Gaussian fitted to them, which "
    "any net should surpass.",
)
evaluation.string(
    "export_samples",
    None,
    "With --mode=evaluate: new folder for the scored images and the reference as PNG "
    "files, one folder a set, for other programs.",
    path=True,
    place=places.unused,
)
