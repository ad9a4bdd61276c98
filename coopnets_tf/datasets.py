"""Data sets: a name or a folder of images -> batches in [-1, 1], in a known order."""

import concurrent.futures
import difflib
import gzip
import hashlib
from pathlib import Path

import numpy as np

from coopnets_tf import folders, images, seeds
from coopnets_tf.folders import DatasetError

NAMES = ("digits", "mnist", "fashion_mnist", "cifar10")


class ImageDataset:
    """Images by index. `dataset[indices]` is float32 [n, height, width, channels].

    Args:
      name: str.
      pixels: uint8 [number, height, width, channels]; an array, or anything with a
        `shape` that an array of indices turns into one.
      num_held_out: int; the first images are kept out of training.
      per_image: bool; stretch each image to [-1, 1] instead of the fixed scale.
      num_skipped: int; files that were left out as unreadable.

    Raises:
      DatasetError: if no image is left to train on.
    """

    def __init__(self, name, pixels, *, num_held_out=0, per_image=False, num_skipped=0):
        self.name = name
        self.image_shape = tuple(pixels.shape[1:])
        self.num_images = pixels.shape[0] - num_held_out
        self.num_skipped = num_skipped
        self._pixels = pixels
        self._first = num_held_out
        self._per_image = per_image
        if self.num_images < 1:
            raise DatasetError(
                f"{name} has {pixels.shape[0]} images; --num_held_out leaves none to "
                f"train on. Received: num_held_out={num_held_out}"
            )

    def __getitem__(self, indices):
        scaled = images.from_uint8(self._pixels[self._first + indices])
        return images.normalize_per_image(scaled) if self._per_image else scaled

    def fingerprint(self):
        """A text that changes with the images: of their pixels, or, where they are
        decoded when used, of the names and sizes of their files.
        """
        digest = hashlib.blake2b(digest_size=16)
        if isinstance(self._pixels, np.ndarray):
            digest.update(np.ascontiguousarray(self._pixels))
        else:
            for path in self._pixels.paths:
                digest.update(f"{path} {path.stat().st_size}\n".encode())
        return f"{self._pixels.shape[0]} images, blake2b {digest.hexdigest()}"

    def steps_per_epoch(self, batch_size):
        """Whole batches in one pass over the images; the short rest is left out.

        Raises:
          DatasetError: if there are fewer images than one batch holds.
        """
        if self.num_images < batch_size:
            raise DatasetError(
                f"{self.name} has {self.num_images} images, fewer than one batch. "
                f"Received: batch_size={batch_size}. Give a smaller --batch_size."
            )
        return self.num_images // batch_size

    def batches(self, batch_size, *, run_seed, first_step=0):
        """Endless batches; which images step k sees depends on (run_seed, k) alone.

        Every epoch visits the images in a new order. The next batch is read while the
        present one is used; closing the generator ends that.

        Args:
          batch_size: int.
          run_seed: int.
          first_step: int; where to begin, without replaying the steps before it.
        """
        return _prefetch(self._in_order(batch_size, run_seed, first_step))

    def _in_order(self, batch_size, run_seed, step):
        per_epoch = self.steps_per_epoch(batch_size)
        while True:
            epoch, position = divmod(step, per_epoch)
            order = seeds.epoch_order(self.num_images, run_seed=run_seed, epoch=epoch)
            for start in range(position, per_epoch):
                yield self[order[start * batch_size : (start + 1) * batch_size]]
            step = (epoch + 1) * per_epoch


def _prefetch(iterator):
    with concurrent.futures.ThreadPoolExecutor(1, "batches") as reader:
        upcoming = reader.submit(next, iterator)
        while True:
            batch = upcoming.result()
            upcoming = reader.submit(next, iterator)
            yield batch


def load_test(
    name, number, *, data_dir=None, num_held_out=0, per_image=False, **folder_options
):
    """Images of a data set to try trained nets on.

    Args:
      name, data_dir, num_held_out, per_image, **folder_options: as for `load`.
      number: int; at most so many.

    Returns:
      float32 [number, height, width, channels] in [-1, 1], and what they are, a str:
      the test images of a named data set; else those held out of training; else, where
      nothing was held out, images of the training itself.

    Raises:
      DatasetError: if they are missing or cannot be read.
    """
    if name in NAMES and name != "digits":
        pixels = _named(name, data_dir, test=True)
        dataset = ImageDataset(name, pixels, per_image=per_image)
        kind = "test images"
    else:
        dataset = load(name, data_dir=data_dir, per_image=per_image, **folder_options)
        kind = "images held out of training" if num_held_out else "training images"
        number = min(number, num_held_out or number)
    number = min(number, dataset.num_images)
    return dataset[np.arange(number)], f"{name}: {number} {kind}"


def _named(name, data_dir, *, test):
    pixels = _local(name, Path(data_dir), test) if data_dir else _keras(name, test)
    return pixels.reshape(*pixels.shape[:3], -1)


def load(name, *, data_dir=None, num_held_out=0, per_image=False, **folder_options):
    """Loads the training images of a named data set or of a folder.

    Args:
      name: one of `NAMES`, or the path of a folder of images, flat or nested.
      data_dir: folder with the files of a named data set; default: Keras downloads
        them into its own cache, or finds them there.
      num_held_out: int; the first images are kept out of training.
      per_image: bool; see `ImageDataset`.
      **folder_options: for a folder, see `folders.read`.

    Raises:
      DatasetError: if the data are missing, cannot be read, or are one image repeated.
    """
    num_skipped = 0
    if name == "digits":
        pixels = _digits()
    elif name in NAMES:
        pixels = _named(name, data_dir, test=False)
    else:
        pixels, num_skipped = folders.read(_folder(name), **folder_options)
    _refuse_one_image(name, pixels)
    return ImageDataset(
        name,
        pixels,
        num_held_out=num_held_out,
        per_image=per_image,
        num_skipped=num_skipped,
    )


def _folder(name):
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    found = "is a file" if folder.exists() else "does not exist"
    nearest = difflib.get_close_matches(name, NAMES, n=1)
    raise DatasetError(
        f"--dataset must be a folder of images or one of {', '.join(NAMES)}. "
        f"Received: {name}, which {found}."
        + (f" Did you mean {nearest[0]}?" if nearest else "")
    )


def _refuse_one_image(name, pixels):
    """One image alone can be learned; copies of one are a mistake in the files."""
    number = pixels.shape[0]
    first = pixels[np.arange(min(number, 1))]
    others = (pixels[np.arange(index, index + 1)] for index in range(1, number))
    if number > 1 and all(np.array_equal(first, other) for other in others):
        raise DatasetError(
            f"All {number} images of --dataset={name} are the same. Give others."
        )


def _digits():
    """scikit-learn's 1,797 handwritten digits, uint8 [1797, 8, 8, 1]."""
    from sklearn.datasets import load_digits

    counts = load_digits().images  # 0..16, the inked ones of a block of 4x4 pixels
    return np.rint(counts * (255 / 16)).astype(np.uint8)[..., None]


def _keras(name, test):
    """Training or test images from `keras.datasets`, which fetches and checks them."""
    import keras

    try:
        splits = getattr(keras.datasets, name).load_data()
    except Exception as error:
        raise DatasetError(
            f"{name} is not in Keras' cache and could not be downloaded. Put "
            f"{_files(name)} into a folder and name it by --data_dir. ({error})"
        ) from error
    return splits[test][0]


def _local(name, data_dir, test):
    """Training or test images from files that somebody put into `data_dir`."""
    data_dir = data_dir.expanduser()
    try:
        if name == "mnist":
            with np.load(data_dir / "mnist.npz", allow_pickle=False) as arrays:
                return arrays["x_test" if test else "x_train"]
        if name == "fashion_mnist":
            part = "t10k" if test else "train"
            with gzip.open(data_dir / f"{part}-images-idx3-ubyte.gz") as file:
                return np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)
        names = [f"data_batch_{number}.bin" for number in range(1, 6)]
        records = [
            np.fromfile(data_dir / name, np.uint8)
            for name in (["test_batch.bin"] if test else names)
        ]
        records = np.concatenate(records).reshape(-1, 1 + 3 * 32 * 32)
        return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    except Exception as error:  # a damaged file fails in many ways
        raise DatasetError(
            f"{name} could not be read from --data_dir={data_dir}. It must hold "
            f"{_files(name)}. ({error})"
        ) from error


def _files(name):
    return {
        "mnist": "mnist.npz (as keras.datasets.mnist keeps it)",
        "fashion_mnist": "train-images-idx3-ubyte.gz and t10k-images-idx3-ubyte.gz",
        "cifar10": "data_batch_1.bin to data_batch_5.bin and test_batch.bin (CIFAR-10, "
        "binary version)",
    }[name]
