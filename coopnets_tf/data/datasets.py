"""Data sets: a name or a place with images -> batches in [-1, 1], in a known order."""

import concurrent.futures
import copy
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from coopnets_tf import seeds
from coopnets_tf.data import clips, decoding, folders, images, named, sources
from coopnets_tf.data.found import Found
from coopnets_tf.data.windows import Windows
from coopnets_tf.errors import DatasetError
from coopnets_tf.wording import by, counted, nearest

NAMES = ("digits", *named.FILES, *named.TEXTURES)
MAX_VALIDATION = 5_000  # images, where none were held out for it
TRAINED_ON = "training images"


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


class Splits(NamedTuple):
    """The parts of a data set: to train on, to choose by, and for the last word.

    Where a data set has no test images, the first half of the held-out images is
    `validation` and the second half `test`; where none are held out, training images
    take their place.
    """

    training: ImageDataset
    validation: ImageDataset
    test: ImageDataset
    num_held_out: int
    test_was_trained_on: bool


def load(dataset: str, *, num_held_out: int = 0, **options: Any) -> ImageDataset:
    """The training images of a data set. Arguments and errors as for `load_splits`."""
    whole = _whole(dataset, num_held_out=num_held_out, **options)
    return whole.part(slice(num_held_out, None), kind=_trained_on(whole))


def load_splits(dataset: str, *, num_held_out: int = 0, **options: Any) -> Splits:
    """Loads a named data set, or the images of a place.

    Args:
      dataset: one of `NAMES`, or the path of a folder of images, flat or nested, of a
        zip archive of one, or of an array in an .npy or .npz file; or of one picture,
        or, with `num_frames`, of one clip, whose windows are the images.
      num_held_out: how many images are kept out of training: the first ones, of a
        place random ones, always the same.
      **options: `data_dir`, folder with the files of a named data set (default: Keras
        downloads them into its cache, or finds them there); `normalize`, "fixed" or
        "per_image", see `ImageDataset`; for a place also those of `folders.read`, and
        `class_folders`, whether its subfolders are classes, in alphabetical order;
        `num_frames`, which makes a place one clip, see `clips.read`, of so many
        consecutive frames an image. Of a picture `image_size` is that of its windows.

    Raises:
      DatasetError: if the data are missing, cannot be read, are one image repeated, or
        if none is left to train on.
    """
    whole = _whole(dataset, num_held_out=num_held_out, **options)
    training = whole.part(slice(num_held_out, None), kind=_trained_on(whole))
    if whole.whole is not None:
        return Splits(training, training, training, 0, True)
    spare = whole.part(slice(num_held_out or None))
    kinds = [f"{kind} images, held out of training" for kind in ("validation", "test")]
    if not num_held_out:
        kinds = [training.kind, training.kind]
    if dataset not in named.FILES:
        half = spare.num_images // 2
        validation = spare.part(slice(half), kind=kinds[0])
        test = spare.part(slice(half, None), kind=kinds[1])
        return Splits(training, validation, test, num_held_out, not num_held_out)
    validation = spare.part(slice(num_held_out or MAX_VALIDATION), kind=kinds[0])
    pixels, labels = named.read(dataset, options.get("data_dir"), test=True)
    test = ImageDataset(
        dataset,
        pixels,
        labels=labels,
        class_names=whole.class_names,
        per_image=whole.per_image,
        kind="test images",
    )
    return Splits(training, validation, test, num_held_out, False)


def _trained_on(whole):
    return TRAINED_ON if whole.whole is None else "training windows"


def _whole(
    name,
    *,
    num_held_out,
    data_dir=None,
    normalize="fixed",
    class_folders=False,
    **options,
):
    """The `ImageDataset` of all images but test images, those held out in front."""
    found = None
    pixels: Any
    labels: np.ndarray | None = None
    class_names = named.CLASSES.get(name)
    if name == "digits":
        pixels, labels = named.digits()
    elif name in named.FILES:
        pixels, labels = named.read(name, data_dir, test=False)
    elif name in named.TEXTURES:
        pixels = _cut(name, named.texture(name), options.get("image_size", 128))
    else:
        pixels, found = _read(_place(name), **options)
        if class_folders:
            labels, class_names = _classes(name, found.folders)
    if num_held_out and isinstance(pixels, Windows):
        raise DatasetError(
            "`num_held_out` would hold nothing out of one picture or clip, whose "
            f"windows overlap. Received: num_held_out={num_held_out}. Leave it out."
        )
    if normalize == "per_image" and isinstance(pixels, Windows):
        raise DatasetError(
            "`normalize`=per_image would give windows that overlap other scales. Leave "
            "it out of a training on one picture or clip."
        )
    _refuse_one_image(name, pixels)
    if num_held_out >= pixels.shape[0]:
        raise DatasetError(
            f"{name} has {counted(pixels.shape[0], 'images')}; `num_held_out` leaves "
            f"none to train on. Received: num_held_out={num_held_out}"
        )
    whole = ImageDataset(
        name,
        pixels,
        labels=labels,
        class_names=class_names,
        per_image=normalize == "per_image",
        found=found,
    )
    if num_held_out and name not in NAMES:
        return whole.drawn(seed=0)  # the first files of a folder are of one kind
    return whole


def _classes(name, folders):
    """The classes of a place by its folders, and their names."""
    names = sorted({folder for folder in folders if folder is not None})
    if beside := folders.count(None):
        raise DatasetError(
            "`conditional` takes the subfolders of a folder for classes. Received: "
            f"`dataset`={name}, with {counted(beside, 'images')} beside "
            f"{counted(len(names), 'subfolders')}. Move them."
        )
    return np.array([names.index(one) for one in folders], int), names


def _place(name):
    place = Path(name).expanduser()
    if place.is_dir() or place.is_file():
        return place
    raise DatasetError(
        f"`dataset` must be a folder of images, a {', '.join(sources.PACKED)} file of "
        f"them, one picture or clip, or one of {', '.join(NAMES)}. "
        f"Received: {name}, which does not exist.{nearest(name, NAMES)}"
    )


def _read(place, *, image_size, num_frames=None, **options):
    """The images of a place, or the windows of one picture or clip; what was found."""
    suffix = place.suffix.lower()
    if num_frames:
        clip, found = clips.read(
            place, num_frames=num_frames, image_size=image_size, **options
        )
        return Windows(clip, (num_frames, *clip.shape[1:3])), found
    if place.is_dir() or suffix in sources.PACKED:
        return folders.read(place, image_size=image_size, **options)
    if suffix in clips.SUFFIXES:
        raise DatasetError(
            f"`dataset`={place} is a clip. Give `num_frames`, how many consecutive "
            "frames of it are one image of the training."
        )
    names = {"color_mode", "grey_range"} & set(options)
    own = {name: options[name] for name in names}
    picture, found = folders.read_picture(place, **own)
    return _cut(place, picture, image_size), found


def _cut(name, picture, image_size):
    """The windows of a picture."""
    size = decoding.height_and_width(image_size)
    if any(np.less(picture.shape[:2], size)):
        raise DatasetError(
            f"`dataset`={name} has {by(picture.shape[:2])} pixels, and `image_size`="
            f"{by(size)} is cut out of it. Give a smaller `image_size`, or a larger "
            "picture."
        )
    return Windows(picture, size)


def _refuse_one_image(name, pixels):
    """One image alone can be learned; copies of one are a mistake in the files."""
    if isinstance(pixels, Windows) and pixels.shape[0] > 1:
        if pixels.are_alike():
            raise DatasetError(
                f"All windows of `dataset`={name} are the same. Give another."
            )
        return
    number = pixels.shape[0]
    first = pixels[np.arange(min(number, 1))]
    others = (pixels[np.arange(index, index + 1)] for index in range(1, number))
    if number > 1 and all(np.array_equal(first, other) for other in others):
        raise DatasetError(
            f"All {number} images of `dataset`={name} are the same. Give others."
        )
