"""Recovered images: fills that need no learning, and errors."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy.ndimage import distance_transform_edt

from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.evaluation import metrics

NUM_AVERAGED = 200  # training images
BLOCK = 20  # images at a time
EPSILON = 1e-12  # of a squared length: where no filter answers, the direction is zero
MOST_PSNR = 100.0  # dB; that of an exact copy would be infinite


def nearest_fill(images: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Every hidden pixel takes the value of the nearest visible one (Euclidean)."""
    filled = np.empty_like(images)
    for image, mask, result in zip(images, visible, filled, strict=True):
        rows, columns = distance_transform_edt(
            mask[..., 0] == 0, return_distances=False, return_indices=True
        )
        result[:] = image[rows, columns]
    return filled


def biharmonic_fill(images: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Hidden parts as the smoothest surface: scikit-image's `inpaint_biharmonic`.

    Raises:
      ImportError: without scikit-image, which is optional.
    """
    from skimage.restoration import inpaint_biharmonic

    filled = [
        inpaint_biharmonic(image, mask[..., 0] == 0, channel_axis=-1)
        for image, mask in zip(images, visible, strict=True)
    ]
    return np.clip(np.asarray(filled, np.float32), -1, 1)


def mean_fill(
    images: np.ndarray, visible: np.ndarray, training: ImageDataset
) -> np.ndarray:
    """Every hidden pixel takes its mean over `NUM_AVERAGED` training images at most."""
    drawn = training.drawn(NUM_AVERAGED, seed=0)
    starts = range(0, drawn.num_images, BLOCK)
    sums = [drawn[first : first + BLOCK].sum(axis=0) for first in starts]
    mean = np.sum(sums, axis=0) / drawn.num_images
    return np.where(visible > 0, images, mean)


def errors(
    images: np.ndarray,
    recovered: np.ndarray,
    visible: np.ndarray,
    maps: Callable | None = None,
) -> dict[str, dict[str, float | None]]:
    """How far recovered images are from the originals.

    Args:
      images, recovered: float32 [number, height, width, channels] in [-1, 1], or clips.
      visible: as `images`.
      maps: of an independent network, see `perceptual`.

    Returns:
      By name a `mean` over images and its `standard_error`: `hidden_mae`, mean absolute
      difference of an image's hidden pixels, in parts of the range from black to white;
      `hidden_rmse`, the root of the mean over images of their squares; `psnr` and
      `ssim`, the `similarity` of whole images; with `maps` their `perceptual` distance.
    """
    hidden = np.broadcast_to(visible, images.shape) == 0
    axes = tuple(range(1, images.ndim))

    def each(differences):
        """Of each image, the mean over its hidden pixels."""
        return differences.mean(axis=axes, where=hidden, dtype=np.float64)

    differences = (images - recovered) / 2
    squares = metrics.with_error(each(np.square(differences)))
    whole = similarity(images, recovered)
    if maps:
        whole["perceptual"] = perceptual(images, recovered, maps)
    return {
        "hidden_mae": metrics.with_error(each(np.abs(differences))),
        "hidden_rmse": _root(**squares),
        **{
            name: metrics.with_error(values.reshape(len(images), -1).mean(axis=1))
            for name, values in whole.items()
        },
    }


def _root(mean, standard_error):
    """The root of a mean; its error is that of the tangent there."""
    root = float(np.sqrt(mean))
    if standard_error is not None:
        standard_error = standard_error / (2 * root) if root else 0.0
    return {"mean": root, "standard_error": standard_error}


def similarity(images: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
    """How alike images are, one by one.

    Args:
      images, others: float32 [..., height, width, channels] in [-1, 1].

    Returns:
      `psnr` in dB, at most 100, and `ssim`, float32 [...]; TensorFlow's. SSIM has its
      window of 11 pixels, or the largest odd one that fits into smaller images.
    """
    window = min(11, (min(images.shape[-3:-1]) - 1) // 2 * 2 + 1)
    scaled = [tf.constant((one + 1) / 2) for one in (images, others)]
    psnr = tf.minimum(tf.image.psnr(*scaled, max_val=1.0), MOST_PSNR)
    ssim = tf.image.ssim(*scaled, max_val=1.0, filter_size=window)
    return {"psnr": psnr.numpy(), "ssim": ssim.numpy()}


def perceptual(images: np.ndarray, others: np.ndarray, maps: Callable) -> np.ndarray:
    """How far images are from others by what a network answers, one by one.

    At each place of its maps the answers of all filters are brought to length one;
    the distance is the mean over places of the squared difference, 0 to 4.

    Args:
      images, others: float32 [..., height, width, channels] in [-1, 1].
      maps: images [batch, height, width, channels] -> [[batch, rows, columns,
        filters]], see `own_extractor.maps_of_file`.

    Returns:
      float64 [...].

    Source: Zhang et al., "The unreasonable effectiveness of deep features as a
    perceptual metric", CVPR 2018, of one layer, and without the weights that they fit
    to people's judgement.
    """

    def directions(part):
        [answers] = maps(part)
        return tf.math.l2_normalize(answers, axis=-1, epsilon=EPSILON).numpy()

    one, other = (part.reshape(-1, *part.shape[-3:]) for part in (images, others))
    distances = [
        np.square(directions(one[block]) - directions(other[block])).sum(axis=-1)
        for block in (slice(k, k + BLOCK) for k in range(0, len(one), BLOCK))
    ]
    means = np.concatenate(distances).mean(axis=(1, 2), dtype=np.float64)
    return means.reshape(images.shape[:-3])
