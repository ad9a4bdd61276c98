"""Images by number, scaled to [-1, 1], and batches of them in a known order."""

import concurrent.futures
import copy
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from coopnets_tf import seeds
from coopnets_tf.data import images
from coopnets_tf.data.found import Found
from coopnets_tf.errors import DatasetError
from coopnets_tf.wording import counted


class ImageDataset:
    """Images by number: `dataset[chosen]` is float32 [n, *image_shape].

    `chosen` is a slice or int [n]. `places`, int [number], are the images' numbers
    among all of `pixels`. Values are in [-1, 1]; 0, mid grey, where `incomplete` hid a
    pixel. `image_shape` is [height, width, channels], of clips [frames, height, width,
    channels]. `whole` is the one picture or clip, uint8, whose windows the images are,
    None for all others.

    Args:
      pixels: uint8 [number, *image_shape]; an array, or anything with a `shape` that an
        array of indices turns into one, such as `Windows`.
      labels: int [number]; their classes.
      class_names: of the classes, in their order. Default: their numbers.
      per_image: stretch each image to [-1, 1] instead of the fixed scale.
      found: what was found in the place that they come from.
      kind: what the images are to the training.
    """

    def __init__(
        self,
        name: str,
        pixels: Any,
        *,
        labels: np.ndarray | None = None,
        class_names: Sequence[str] | None = None,
        per_image: bool = False,
        found: Found | None = None,
        kind: str = "images",
    ) -> None:
        self.name = name
        self.image_shape = tuple(pixels.shape[1:])
        self.num_images = pixels.shape[0]
        self.found = found
        self.labels = None if labels is None else np.asarray(labels).ravel()
        if class_names is None and self.labels is not None:
            number = int(self.labels.max()) + 1 if self.labels.size else 0
            class_names = [str(one) for one in range(number)]
        self._all_labels = self.labels  # those of `pixels`, also of a part
        self.class_names = class_names
        self.kind = kind
        self.per_image = per_image
        self.places = np.arange(pixels.shape[0])
        self.whole: np.ndarray | None = getattr(pixels, "whole", None)
        self._pixels = pixels
        self._visible_fn: Callable[[np.ndarray], np.ndarray] | None = None

    def __str__(self) -> str:
        return f"{self.name}: {counted(self.num_images, self.kind)}"

    def __getitem__(self, chosen: slice | Sequence[int] | np.ndarray) -> np.ndarray:
        scaled = images.from_uint8(self._pixels[self.places[chosen]])
        if self.per_image:
            scaled = images.normalize_per_image(scaled)
        visible = self.visible(chosen)
        return scaled if visible is None else scaled * visible

    def visible(self, chosen: slice | Sequence[int] | np.ndarray) -> np.ndarray | None:
        """Where images are known, 1, and where hidden, 0: float32 [n, *image_shape].

        None where all pixels of all images are known.
        """
        if self._visible_fn is None:
            return None
        visible = self._visible_fn(self.places[chosen]).astype(np.float32)
        return np.broadcast_to(visible, (len(visible), *self.image_shape))

    def shown(self, number: int) -> np.ndarray:
        """At most `number` of its images to look at: the first ones, but windows, of
        which neighbours are alike, from all over.
        """
        if self.whole is None:
            return self[:number]
        ends, number = (0, self.num_images - 1), min(number, self.num_images)
        return self[np.linspace(*ends, number).round().astype(int)]

    def incomplete(
        self, visible_fn: Callable[[np.ndarray], np.ndarray]
    ) -> "ImageDataset":
        """The same images with pixels that nobody can see any more.

        Args:
          visible_fn: function of int [n], numbers among all of `pixels`, that returns
            bool [n, height, width, 1].

        Raises:
          DatasetError: if the scale of an image depends on all its pixels, or another
            image shows what one hides.
        """
        if self.whole is not None:
            raise DatasetError(
                "`training_mask` would hide nothing of one picture or clip, whose "
                "windows overlap. Leave it out."
            )
        if self.per_image:
            raise DatasetError(
                "`normalize`=per_image takes an image's scale from all pixels, also "
                "from those that `training_mask` hides. Leave one of them out."
            )
        part = copy.copy(self)
        part._visible_fn = visible_fn
        return part

    def part(
        self, chosen: slice | Sequence[int] | np.ndarray, *, kind: str | None = None
    ) -> "ImageDataset":
        """Some of its images, by number; `kind`, if they become something else."""
        part = copy.copy(self)
        part.kind = kind or self.kind
        part.places = self.places[chosen]
        part.num_images = len(part.places)
        part.labels = None if self.labels is None else self.labels[chosen]
        return part

    @property
    def known_labels(self) -> np.ndarray:
        """The classes of the images, int [number].

        Raises:
          DatasetError: if they have none, or one alone.
        """
        if self.labels is None or len(self.class_names or ()) < 2:
            raise DatasetError(
                "`conditional` needs images of two classes or more: a data set with "
                "labels, or a folder with a subfolder for each class. Received: "
                f"{self}, without classes."
            )
        return self.labels

    def class_shares(self) -> tuple[float, ...]:
        """How frequent each class is among the images, see `known_labels`."""
        labels, names = self.known_labels, self.class_names or ()
        counts = np.bincount(labels, minlength=len(names))
        return tuple((counts / self.num_images).tolist())

    def drawn(self, number: int | None = None, *, seed: int) -> "ImageDataset":
        """At most `number` of its images (None: all), in a random order."""
        order = np.random.default_rng(seed).permutation(self.num_images)
        return self.part(order[:number])

    def fingerprint(self, *, folder: str | None = None) -> str:
        """A text that changes with the images: of their pixels, or, where they are
        decoded when used, of the names and sizes of their files; and of what is hidden.

        Args:
          folder: makes it as version 0.2 did, of whole names in this folder.
        """
        digest = hashlib.blake2b(digest_size=16)
        pixels = self._pixels if self.whole is None else self.whole
        if isinstance(pixels, np.ndarray):
            digest.update(np.ascontiguousarray(pixels).data)
        else:
            for origin in pixels.origins:
                name = os.path.join(folder, origin.name) if folder else origin.name
                digest.update(os.fsencode(f"{name} {origin.mark}\n"))
        if self._visible_fn:
            digest.update(np.ascontiguousarray(self._visible_fn(self.places[:1])).data)
        return f"{self._pixels.shape[0]} images, blake2b {digest.hexdigest()}"

    def classes_fingerprint(self) -> str | None:
        """A text that changes with the classes of the images; None without classes."""
        if self._all_labels is None:
            return None
        labels = np.ascontiguousarray(self._all_labels, np.int64)
        return f"blake2b {hashlib.blake2b(labels.data, digest_size=16).hexdigest()}"

    def steps_per_epoch(self, batch_size: int) -> int:
        """Whole batches in one pass over the images; the short rest is left out.

        Raises:
          DatasetError: if there are fewer images than one batch holds.
        """
        if self.num_images < batch_size:
            raise DatasetError(
                f"{self.name} has {counted(self.num_images, 'images')}, fewer than "
                f"one batch. Received: batch_size={batch_size}. Give a smaller "
                "`batch_size`."
            )
        return self.num_images // batch_size

    def batches(
        self, batch_size: int, *, run_seed: int, flip: bool = False
    ) -> Callable[[int], Iterator[dict[str, np.ndarray]]]:
        """Endless batches for a training, as a function of the steps done before.

        Which images a step sees depends on (run_seed, step) alone, and no step is
        replayed. Every epoch visits the images in a new order. The next batch is read
        while the present one is used; closing the iterator ends that.

        ```python
        from coopnets_tf.data import datasets

        batches = datasets.load("digits").batches(64, run_seed=0)
        first = next(batches(0))  # first["images"]: [64, 8, 8, 1]
        ```

        With `flip` each image is mirrored, left to right, with probability 1/2.

        A batch has by name `images`; their `numbers`, int [batch_size]; `visible` and
        `labels` where there are any.
        """

        def upcoming(first_step):
            order = self.order(batch_size, run_seed=run_seed, first_step=first_step)
            for step, chosen in enumerate(order, first_step):
                batch = self._batch(chosen)
                if flip:
                    flips = seeds.flips(batch_size, run_seed=run_seed, step=step)
                    batch |= _mirrored(batch, flips)
                yield batch

        return lambda step: _prefetch(upcoming(step))

    def _batch(self, chosen):
        labels = None if self.labels is None else self.labels[chosen]
        batch = {
            "images": self[chosen],
            "numbers": chosen,
            "visible": self.visible(chosen),
            "labels": labels,
        }
        return {name: value for name, value in batch.items() if value is not None}

    def order(
        self, batch_size: int, *, run_seed: int, first_step: int = 0
    ) -> Iterator[np.ndarray]:
        """The numbers of the images of each of `batches`, int [batch_size], endless."""
        per_epoch, step = self.steps_per_epoch(batch_size), first_step
        while True:
            epoch, position = divmod(step, per_epoch)
            order = seeds.epoch_order(self.num_images, run_seed=run_seed, epoch=epoch)
            for start in range(position, per_epoch):
                yield order[start * batch_size : (start + 1) * batch_size]
            step = (epoch + 1) * per_epoch


def _mirrored(batch, flips):
    """The images of a batch, and what is visible of them, some of them mirrored."""
    parts = {name: batch[name] for name in ("images", "visible") if name in batch}
    flips = flips.reshape(-1, *[1] * (batch["images"].ndim - 1))
    return {
        name: np.where(flips, part[..., ::-1, :], part) for name, part in parts.items()
    }


def _prefetch(iterator):
    with concurrent.futures.ThreadPoolExecutor(1, "batches") as reader:
        upcoming = reader.submit(next, iterator)
        while True:
            batch = upcoming.result()
            upcoming = reader.submit(next, iterator)
            yield batch
