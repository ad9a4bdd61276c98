"""Scores the nets of a run, or those of a training on its way."""

import contextlib
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flags
from commands import build, use
from commands.build import Settings
from coopnets_tf.data import datasets, drawing, images
from coopnets_tf.data.datasets import Splits
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import ArgumentError, ExtractorError
from coopnets_tf.evaluation import (
    clips,
    features,
    own_extractor,
    protocol,
    reports,
    textures,
)
from coopnets_tf.evaluation.drawn import Evaluation
from coopnets_tf.evaluation.features import Extractor
from coopnets_tf.evaluation.protocol import Protocol
from coopnets_tf.files import write_json
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.progress import tell
from coopnets_tf.runs import folder
from coopnets_tf.runs.folder import Run
from coopnets_tf.runs.trackers import TensorBoard


def evaluate(settings: Settings) -> Path:
    """Scores a run's nets; returns the folder of the report, pictures and events."""
    run_dir, model = use.opened(
        settings["workdir"],
        settings["checkpoint"],
        settings["trust_network"],
        devices=settings["devices"],
    )
    data = use.data_of(run_dir, build.data_options(settings))
    splits = datasets.load_splits(**data)
    folder.check_data(
        run_dir,
        build.incomplete(splits.training, settings),
        way_out="An evaluation needs to know what was not trained on.",
    )
    for argument in ("output", "export_samples"):
        folder.refuse_used(settings[argument], argument=argument)
    text: Callable[[Any], str] = reports.text
    if splits.training.whole is None:
        score = _of_images(model, splits, settings)
    else:
        score, text = _of_one(model, splits.training, settings)
    if images_to := settings["export_samples"]:
        folder.new_output(images_to, run_dir, "evaluate", argument="export_samples")
    output = folder.new_output(settings["output"], run_dir, "evaluate")
    found = score()
    save(found, output)
    if images_to:
        export_samples(images_to, {**found.scored, "reference": found.reference})
    print(flags.with_flags(text(found.report)))
    print(f"Report and pictures of step {int(model.step)}: {output}")
    if images_to:
        print(f"Images that were scored: {images_to}")
    return output


def _of_images(
    model: ImageModel, splits: Splits, settings: Settings
) -> Callable[[], Evaluation]:
    """The evaluation by images that were held out, once nothing can be refused."""
    choices = protocol_of(
        settings,
        split=settings["split"],
        parzen=settings["parzen_protocol"],
        baselines=settings["evaluate_baselines"],
    )
    if "classes" in (settings["metrics"] or []) and not model.class_shares:
        raise ArgumentError(
            "`metrics`=classes is for runs with `conditional`, and this is none."
        )
    # Refused now rather than after the classifier's training.
    protocol.real_images(splits, choices)
    protocol.num_drawn(model, choices)
    tell("the feature extractor")
    try:
        extractor = choose_extractor(splits, choices, settings)
    finally:
        tell("")
    return functools.partial(
        protocol.evaluate, model, splits, choices, extractor=extractor, tell=tell
    )


def _of_one(
    model: ImageModel, training: ImageDataset, settings: Settings
) -> tuple[Callable[[], Evaluation], Callable[[Any], str]]:
    """The evaluation by the one picture or clip whose windows a training had, once
    nothing can be refused, and what makes a text of its report.
    """
    options: dict[str, Any] = {
        "num_samples": settings["evaluation_samples"],
        "seed": settings["evaluation_seed"],
    }
    extractor, layer = settings["extractor"], settings["extractor_layer"]
    if len(training.image_shape) == 4:
        if extractor:
            raise ArgumentError(
                "`extractor` is for images, and this is a run on a clip. Leave it out."
            )
        return functools.partial(clips.evaluate, model, training, **options), clips.text
    maps, facts = textures.maps_for(training.image_shape, extractor, layer=layer)
    options |= {"maps": maps, "extractor": facts}
    evaluation = functools.partial(textures.evaluate, model, training, **options)
    return evaluation, textures.text


def on_the_way(
    splits: Splits, settings: Settings
) -> Callable[[ImageModel], Evaluation]:
    """How the nets of a training are evaluated: a function of the model.

    Raises:
      ArgumentError: if the images are windows of one picture or clip.
      DatasetError: if too few were held out.
      ExtractorError: see `choose_extractor`; also where `keep_best` needs one.
    """
    if splits.training.whole is not None:
        raise ArgumentError(
            "`evaluate_every` needs images held out of training, and windows of one "
            "picture or clip overlap. Leave it out, and take `mode`=evaluate later."
        )
    choices = protocol_of(settings, split="validation")
    protocol.real_images(splits, choices)  # refused now rather than in an hour
    needed = "frechet" in (settings["keep_best"] or "")
    return functools.partial(
        protocol.evaluate,
        splits=splits,
        protocol=choices,
        extractor=choose_extractor(splits, choices, settings, needed=needed),
    )


def protocol_of(settings: Settings, **options: Any) -> Protocol:
    """The choices of evaluations in and after training."""
    return Protocol(
        num_samples=settings["evaluation_samples"],
        seed=settings["evaluation_seed"],
        metrics=tuple(settings["metrics"] or protocol.METRICS),
        **options,
    )


def choose_extractor(
    splits: Splits, choices: Protocol, settings: Settings, *, needed: bool = False
) -> Extractor | None:
    """The feature extractor; None where no metric needs one, or none is available.

    Where none is available, and none was asked for or `needed`, a line says so.

    Raises:
      ExtractorError: if one that was asked for is not available.
    """
    asked = ("extractor", "extractor_layer", "inception_weights", "metrics")
    was_asked_for = needed or any([settings[name] for name in asked])
    if not protocol.FEATURE_METRICS & set(choices.metrics):
        return None
    # On the way nobody looks at the test images, not even to know the classifier.
    test = splits.test if choices.split == "test" else splits.validation
    try:
        return _extractor(splits.training, test, settings)
    except ExtractorError as error:
        if was_asked_for:
            raise
        print(flags.with_flags(f"Without metrics of features. {error}"))
        return None


def _extractor(training, test, settings):
    weights, layer = settings["inception_weights"], settings["extractor_layer"]
    labelled = training.labels is not None and test.labels is not None
    usual = "classifier" if labelled and not weights else "inception"
    chosen = settings["extractor"] or usual
    if chosen not in ("classifier", "inception"):
        found = own_extractor.from_file(chosen, training.image_shape, layer=layer)
        if "inception_score" in (settings["metrics"] or []) and not found.has_classes:
            raise ExtractorError(
                "`metrics`=inception_score needs classes, but the network in "
                f"`extractor`={chosen} ends in no softmax. Leave one of them out."
            )
        return found
    if layer:
        raise ExtractorError(
            "`extractor_layer` is for a network of your own, `extractor`=FILE.keras. "
            f"Received: `extractor`={chosen}."
        )
    if chosen == "classifier":
        return features.classifier(training, test)
    return features.inception(inception_weights=weights)


def save(found: Evaluation, output: Path) -> None:
    """Writes an evaluation as `report.json`, pictures and TensorBoard's file."""
    write_json(output / "report.json", found.report)
    for name, picture in found.pictures.items():
        drawing.save_png(output / f"{name}.png", picture)
    for name, samples in found.scored.items():
        grid = drawing.grid(samples.shown(use.GRID))
        drawing.save_png(output / f"{_file_name(name)}.png", grid)
    step, board = found.report["step"], TensorBoard(Run(output, num_iterations=0))
    board.open()
    with contextlib.closing(board):
        board.scalars(step, reports.scalars(found.report))
        for name, picture in found.pictures.items():
            board.picture(step, f"evaluation/{name}", picture)


def export_samples(output: Path | str, sets: Mapping[str, ImageDataset]) -> None:
    """Every image of every set as `<output>/<set>/<number>.png`."""
    for name, samples in sets.items():
        starts = range(0, samples.num_images, use.GRID)
        pixels = (images.to_uint8(samples[one : one + use.GRID]) for one in starts)
        drawing.save_pngs(Path(output) / _file_name(name), pixels)


def _file_name(name):
    return name.replace(" ", "_")
