"""Recovered images: fills that need no learning, and errors."""

import numpy as np
import tensorflow as tf
from scipy.ndimage import distance_transform_edt

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


def errors(
    images: np.ndarray, recovered: np.ndarray, visible: np.ndarray
) -> dict[str, float]:
    """How far recovered images are from the originals.

    Args:
      images, recovered: float32 [number, height, width, channels] in [-1, 1], or clips.
      visible: as `images`.

    Returns:
      `hidden_mae` and `hidden_rmse`, mean absolute and root mean square difference of
      hidden pixels, in parts of the range from black to white; the means of
      `similarity` over whole images.
    """
    hidden = (images - recovered)[np.broadcast_to(visible, images.shape) == 0] / 2
    similar = similarity(images, recovered)
    return {
        "hidden_mae": float(np.mean(np.abs(hidden))),
        "hidden_rmse": float(np.sqrt(np.mean(np.square(hidden)))),
        **{name: float(values.mean()) for name, values in similar.items()},
    }


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
