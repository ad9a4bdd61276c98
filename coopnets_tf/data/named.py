"""The named data sets: scikit-learn's digits, those that Keras downloads, and the
textures of scikit-image.
"""

import gzip
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

from coopnets_tf.errors import DatasetError

FILES = {  # of those with test images
    "mnist": "mnist.npz (as keras.datasets.mnist keeps it)",
    "fashion_mnist": "train-images-idx3-ubyte.gz and t10k-images-idx3-ubyte.gz "
    "(and to evaluate the -labels-idx1-ubyte.gz of both)",
    "cifar10": "data_batch_1.bin to data_batch_5.bin and test_batch.bin (CIFAR-10, "
    "binary version)",
}
TEXTURES = ("brick", "grass", "gravel")  # one picture each
_CLOTHES = "t-shirt trouser pullover dress coat sandal shirt sneaker bag boot"
_THINGS = "airplane automobile bird cat deer dog frog horse ship truck"
CLASSES = {  # in the order of their labels; the others have digits
    "fashion_mnist": _CLOTHES.split(),
    "cifar10": _THINGS.split(),
}


def read(
    name: str, data_dir: Path | str | None, *, test: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Training or test images, uint8 [number, height, width, channels], and labels.

    Args:
      name: a key of `FILES`.
      data_dir: folder of its files. Default: Keras' cache, downloaded when missing.

    Raises:
      DatasetError: if they are missing or cannot be read.
    """
    found = _local(name, Path(data_dir), test) if data_dir else _keras(name, test)
    pixels, labels = found
    return pixels.reshape(*pixels.shape[:3], -1), labels


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's handwritten digits, uint8 [1797, 8, 8, 1], and their labels.

    In a random order that is always the same: in the file, neighbours are from one
    hand, and images that are held out would be from other hands than those trained on.
    """
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    counts = digits.images[order]  # 0..16, the inked ones of a block of 4x4 pixels
    pixels = np.rint(counts * (255 / 16)).astype(np.uint8)[..., None]
    return pixels, digits.target[order]


def texture(name: str) -> np.ndarray:
    """A picture that comes with scikit-image, uint8 [512, 512, 1].

    Args:
      name: one of `TEXTURES`.

    Raises:
      DatasetError: without scikit-image, which is optional.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise DatasetError(
            f"`dataset`={name} is a picture of scikit-image, which needs "
            "pip install scikit-image."
        ) from error
    return getattr(data, name)()[..., None]


def _keras(name, test):
    """Images and labels from `keras.datasets`, which fetches and checks them."""
    try:
        splits = getattr(keras.datasets, name).load_data()
    except Exception as error:
        raise DatasetError(
            f"{name} is not in Keras' cache and could not be downloaded. Put "
            f"{FILES[name]} into a folder and name it by `data_dir`. ({error})"
        ) from error
    return splits[test]


def _local(name, data_dir, test):
    """Images and labels (None where they are missing) from files in `data_dir`."""
    data_dir = data_dir.expanduser()
    try:
        if name == "mnist":
            part = "test" if test else "train"
            with np.load(data_dir / "mnist.npz", allow_pickle=False) as arrays:
                return arrays[f"x_{part}"], arrays.get(f"y_{part}")
        if name == "fashion_mnist":
            part = "t10k" if test else "train"
            pixels = _idx(data_dir / f"{part}-images-idx3-ubyte.gz", offset=16)
            path = data_dir / f"{part}-labels-idx1-ubyte.gz"
            labels = _idx(path, offset=8) if path.is_file() else None
            return pixels.reshape(-1, 28, 28), labels
        names = [f"data_batch_{number}.bin" for number in range(1, 6)]
        names = ["test_batch.bin"] if test else names
        parts = [np.fromfile(data_dir / one, np.uint8) for one in names]
        records = np.concatenate(parts).reshape(-1, 1 + 3 * 32 * 32)
        pixels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return pixels, records[:, 0]
    except Exception as error:  # a damaged file fails in many ways
        raise DatasetError(
            f"{name} could not be read from `data_dir`={data_dir}. It must hold "
            f"{FILES[name]}. ({error})"
        ) from error


def _idx(path, *, offset):
    """What follows the header of a gzipped IDX file of bytes."""
    with gzip.open(path) as file:
        return np.frombuffer(file.read()[offset:], np.uint8)
