"""Data sets by name, or by a place with images: what is trained on, and what is not."""

from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict, Unpack, get_args, get_origin

import numpy as np

from coopnets_tf.data import clips, decoding, folders, named, sources
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.data.windows import Windows
from coopnets_tf.errors import ArgumentError, DatasetError
from coopnets_tf.wording import by, counted, nearest

NAMES = ("digits", *named.FILES, *named.TEXTURES)
MAX_VALIDATION = 5_000  # images, where none were held out for it
TRAINED_ON = "training images"


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


class Options(TypedDict, total=False):
    """What else says which images those of a data set are, and how they are read.

    Of a named data set `data_dir`, folder with its files (default: Keras downloads them
    into its cache, or finds them there), and `normalize`, see `ImageDataset`; of a
    texture also `image_size` (default 128), that of its windows, as of any picture. Of
    a place those of `folders.read`, `class_folders`, whether its subfolders are
    classes, in alphabetical order, and `num_frames`, which makes it one clip, see
    `clips.read`, each image that many consecutive frames of it.
    """

    data_dir: str | Path | None
    normalize: Literal["fixed", "per_image"]
    image_size: decoding.Size
    color_mode: Literal["rgb", "grey"]
    resize: Literal["crop", "stretch"]
    grey_range: str | None
    skip_bad_images: bool
    keep_decoded: bool
    cache_bytes: int
    class_folders: bool
    num_frames: int | None


def load(
    dataset: str, *, num_held_out: int = 0, **options: Unpack[Options]
) -> ImageDataset:
    """The training images of a data set. Arguments and errors as for `load_splits`."""
    whole = _whole(dataset, num_held_out=num_held_out, **options)
    return whole.part(slice(num_held_out, None), kind=_trained_on(whole))


def load_splits(
    dataset: str, *, num_held_out: int = 0, **options: Unpack[Options]
) -> Splits:
    """Loads a named data set, or the images of a place.

    Args:
      dataset: one of `NAMES`, or the path of a folder of images, flat or nested, of a
        zip archive of one, or of an array in an .npy or .npz file; or of one picture,
        or, with `num_frames`, of one clip, whose windows are the images.
      num_held_out: how many images are kept out of training: the first ones, of a
        place random ones, always the same.
      **options: see `Options`.

    Raises:
      ArgumentError: on an unknown option, or on a value that one does not have.
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
    _refuse_unknown({"normalize": normalize, **options})
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
        place = _place(name)
        if "image_size" not in options:
            raise ArgumentError(
                f"`dataset`={name} is a place. Give `image_size`, the height and width "
                "of its images."
            )
        pixels, found = _read(place, **options)
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
            f"none to train on. Received: num_held_out={num_held_out}. Give a tenth or "
            "so."
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


def _refuse_unknown(options):
    known = Options.__annotations__
    for name, value in options.items():
        if name not in known:
            raise ArgumentError(
                f"A data set has the options {', '.join(known)}. Received: {name}."
                + nearest(name, [*known, "num_held_out"])
            )
        choices = get_args(known[name])
        if get_origin(known[name]) is Literal and value not in choices:
            raise ArgumentError(
                f"`{name}` must be {' or '.join(choices)}. Received: {value}."
            )


def _classes(name, folders):
    """The classes of a place by its folders, and their names."""
    names = sorted({folder for folder in folders if folder is not None})
    beside, rule = folders.count(None), "`class_folders` takes subfolders for classes: "
    if not names:
        raise DatasetError(
            f"{rule}two or more, one for each class. Received: `dataset`={name}, whose "
            f"{counted(beside, 'images')} are in one. Sort them, or leave it out."
        )
    if beside:
        raise DatasetError(
            f"{rule}two or more, one for each class. Received: `dataset`={name}, with "
            f"{counted(beside, 'images')} beside {counted(len(names), 'subfolders')}. "
            "Move them."
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
        options.pop("skip_bad_images", None)  # a frame would be missing
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
