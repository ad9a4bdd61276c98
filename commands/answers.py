"""What the page of `show` asks of a run: small pictures, energies, curves.

Pictures are texts, PNG files as data URLs; energies are numbers, null where there is no
descriptor.
"""

import base64
import dataclasses
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from commands import by_class, paths, use
from coopnets_tf import interpolation
from coopnets_tf.data import decoding, drawing
from coopnets_tf.data.images import from_uint8, to_uint8
from coopnets_tf.errors import ArgumentError, DatasetError, NotFinite, RunError
from coopnets_tf.evaluation import reports
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.runs import curves, logs
from coopnets_tf.wording import by, counted

SAMPLES = 12  # at most
PIXELS = 16 * 64 * 64 * 3  # numbers of all samples together, but for one that is larger
FILLS = 4  # of a hidden part
MAP = 5  # images of the map of latents, either way
LONGER = 3  # chains go so far beyond the trained length
POINTS = 200  # of a curve, at most
# What Pillow may decode. Not EPS, which is a program, nor what few have and few test.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MOST_PIXELS = 50_000_000  # of an image of the user's
NOT_SHOWN = {"rates", "speed"}  # groups of TensorBoard's curves
SCORES = ("parzen/nats", "frechet_distance")  # curves of an evaluation

Answer = dict[str, Any]  # what JSON can hold


@dataclasses.dataclass(frozen=True)
class Answers:
    """The answers of one model, which is asked one thing at a time.

    Args:
      model: frozen, of still images of one or three colours.
      run_dir: the folder of its run.
      infer_steps: of G1, to find what explains the visible part of an image.
      label: the class of all images, of nets that are told classes. None: their first.

    Raises:
      RunError: if its images cannot be shown on a page, or there is no such class.
    """

    model: ImageModel
    run_dir: Path
    infer_steps: int
    label: str | None = None

    def __post_init__(self) -> None:
        if use.num_frames(self.model):
            raise RunError(
                "`mode`=show is for still images, and those of this run are clips of "
                f"{use.num_frames(self.model)} frames. Take `mode`=sample, which makes "
                "films of them."
            )
        shape = self.model.image_shape
        if len(shape) != 3 or shape[-1] not in (1, 3):
            raise RunError(
                "`mode`=show is for images of one or three colours. Received: a run "
                f"whose images are {by(shape)}."
            )
        self._labels(1)  # is there such a class?

    def of_class(self, label: str) -> "Answers":
        """The answers about images of another class, by its number or name."""
        return dataclasses.replace(self, label=label)

    @property
    def classes(self) -> list[str]:
        """Names of the classes that the nets are told, if they are told any."""
        if self.model.class_shares is None:
            return []
        return by_class.names(self.run_dir, self.model)

    @property
    def _label(self):
        return self.label or next(iter(self.classes), None)

    def _labels(self, number):
        """Rows of the class for a number of images; None without classes."""
        if self._label is None:
            return None
        return by_class.labels_for(self.run_dir, self.model, self._label, number)

    @property
    def number(self) -> int:
        """How many samples there are."""
        return min(max(PIXELS // math.prod(self.model.image_shape), 1), SAMPLES)

    @property
    def most_steps(self) -> int:
        """Of D1 on samples; 0 without a descriptor."""
        return LONGER * self.model.revision_steps

    def facts(self) -> Answer:
        """What there is to show, and what not."""
        height, width, channels = self.model.image_shape
        nets, rows = list(self.model.nets), self._labels(1)
        return {
            "run": self.run_dir.resolve().name,
            "nets": nets,
            "about": f"Step {int(self.model.step):,} of {' and '.join(nets)}; images "
            f"of {height}x{width} pixels in {'colour' if channels == 3 else 'grey'}",
            "classes": self.classes,
            "class": None if rows is None else self.classes[int(np.argmax(rows[0]))],
            "height": height,
            "width": width,
            "steps": self.model.revision_steps,
            "most_steps": self.most_steps,
            "cells": MAP,
            "recovery": self._recovery(),
        }

    def _recovery(self):
        """How a hidden part is filled, as far as the command line decides it."""
        if self.model.generator is None:
            return ""
        return (
            f"Latents are inferred by {counted(self.infer_steps, 'steps')} of size "
            f"{self.model.generator.inference.step_size:g}: if the images come out "
            "broken, start again with a smaller --infer_step_size."
        )

    def samples(self, *, seed: int, steps: int) -> Answer:
        """Fresh images after this many steps of D1, those of `ImageModel.sample`.

        The noise of a step is a function of its number: more steps go on from fewer.
        """
        labels = self._labels(self.number)
        options: Any = {"seed": seed, "num_steps": steps, "labels": labels}
        return self._shown(self.model.sample(self.number, **options))

    def map(self, *, seed: int) -> Answer:
        """The generator's images on a square between four latents, as one picture."""
        along = np.linspace(0, 1, MAP)
        images = self._generated(seed, along, along)
        return {"image": _png(drawing.grid(images, num_columns=MAP))}

    def walk(self, *, seed: int, down: float, across: float) -> Answer:
        """The image at one place of that square, and the same after D1."""
        images = self._generated(seed, np.array([down]), np.array([across]))
        if self.model.descriptor:
            revised = self.model.revise(images, seed=seed, labels=self._labels(1))
            images = np.concatenate([images, revised])
        return self._shown(images)

    def _generated(self, seed, down, across):
        corners = paths.drawn(self.model, "corners", seed)
        latents = interpolation.between_corners(corners, down, across)
        ends = paths.both_classes(self.run_dir, self.model, self._label)
        path = paths.with_classes(ends, latents)
        return paths.generated(self.model, path).numpy()

    def own(self, content: bytes, *, inverted: bool = False) -> Answer:
        """An image of the user's as the nets take it: its centre, in their size.

        Args:
          content: of an image file in one of `FORMATS`.
          inverted: light and dark change places.

        Raises:
          DatasetError: if it is none, or too large.
        """
        pixels = self._decoded(content)
        return self._shown(from_uint8(255 - pixels if inverted else pixels))

    def recovered(self, content: bytes, hidden: str, *, seed: int) -> Answer:
        """Images whose hidden part the nets have filled, each by other noise.

        Args:
          content: see `own`.
          hidden: "1" for each pixel that is hidden and "0" for each other one, row by
            row.

        Raises:
          ArgumentError: if nothing or everything is hidden, or that is of another size.
          DatasetError: see `own`.
        """
        visible = self._visible(hidden)
        images = from_uint8(self._decoded(content)).repeat(FILLS, axis=0)
        visible = np.broadcast_to(visible, images.shape).astype(np.float32)
        found = self.model.recover(
            images * visible,
            visible,
            infer_steps=self.infer_steps,
            seed=seed,
            labels=self._labels(FILLS),
        )
        return self._shown(found)

    def _visible(self, hidden):
        """bool [1, height, width, 1], of what `recovered` is told."""
        height, width, _ = self.model.image_shape
        if len(hidden) != height * width or set(hidden) - {"0", "1"}:
            raise ArgumentError(
                f"What is hidden is not {height}x{width} zeros or ones."
            )
        if len(set(hidden)) < 2:
            raise ArgumentError(
                "Hide a part of the image first, and leave a part of it."
            )
        return np.array([*hidden]).reshape(1, height, width, 1) == "0"

    def _decoded(self, content):
        """uint8 [1, *image_shape]."""
        height, width, channels = self.model.image_shape
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                if math.prod(image.size) > MOST_PIXELS:
                    raise ValueError(f"more than {counted(MOST_PIXELS, 'pixels')}")
                color_mode = "rgb" if channels == 3 else "grey"
                return decoding.brought(
                    image, image_size=(height, width), color_mode=color_mode
                )[None]
        except Exception as error:  # Pillow's decoders raise many kinds on a bad file
            raise DatasetError(
                f"This is no image that can be read here: a file in "
                f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]} of at most "
                f"{counted(MOST_PIXELS, 'pixels')}."
            ) from error

    def _shown(self, images):
        images = np.asarray(images)
        if not np.isfinite(images).all():
            raise NotFinite(" and ".join(self.model.nets))
        energies: list[float | None] = [None] * len(images)
        if self.model.descriptor:
            found = self.model.energy(images, labels=self._labels(len(images)))
            energies = [_finite(one) for one in found.numpy()]
        return {
            "images": [_png(one) for one in to_uint8(images)],
            "energies": energies,
        }

    def curves(self) -> list[Answer]:
        """The metrics of the run, as they are in its folder now."""
        lines = logs.read_lines(self.run_dir / "metrics.jsonl")
        names = dict.fromkeys(name for line in lines for name in line)
        return [
            {"name": title, "about": about, **points}
            for name in names
            for title, about in [_titles(name)]
            if title and (points := _points(lines, name))
        ]


def _titles(name):
    """What a curve is called, and a sentence on it; nothing for what is no curve."""
    if name in curves.CURVES:
        tag, about = curves.CURVES[name]
        group, _, rest = tag.partition("/")
        return ("" if group in NOT_SHOWN else f"{group}: {rest}", about)
    _, _, score = name.partition("evaluation/")
    shown = score.partition("/")[2] in SCORES
    return (score.replace("/", ": ", 1) if shown else "", reports.meaning(name))


def _points(lines, name):
    """Steps and values of a metric, of many lines the means of several; None if there
    are fewer than two.
    """
    found = [(line["step"], line[name]) for line in lines if name in line]
    found = [point for point in found if _finite(point[1]) is not None]
    if len(found) < 2:
        return None
    size = math.ceil(len(found) / POINTS)
    parts = [found[start : start + size] for start in range(0, len(found), size)]
    steps, values = np.array([np.mean(part, axis=0) for part in parts]).T
    return {"steps": steps.tolist(), "values": values.tolist(), "lines": size}


def _finite(value):
    return float(value) if math.isfinite(value) else None


def _png(pixels):
    """uint8 [height, width, 1 or 3] as a data URL."""
    content = drawing.png(pixels)
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
