"""Images that no net made, whose scores say what those of the nets mean."""

import numpy as np

from coopnets_tf.data import images
from coopnets_tf.data.image_dataset import ImageDataset

GAUSSIAN = "Gaussian"
NUM_FITTED = 2_000  # training images
BLOCK = 1_000  # images that are drawn at a time


def gaussian(training: ImageDataset, number: int, *, seed: int) -> ImageDataset:
    """Draws of the Gaussian with the mean and the covariance of training images.

        image = mean + sum_i z_i (image_i - mean) / sqrt(images),   z_i ~ N(0, 1)

    has that covariance without it ever being computed. Of `NUM_FITTED` training images
    at most, drawn at random; as uint8 pixels, clipped, as samples are.
    """
    fitted = training.drawn(NUM_FITTED, seed=seed)[:]
    mean = fitted.mean(axis=0)
    deviations = (fitted - mean) / np.float32(np.sqrt(len(fitted)))
    random = np.random.default_rng(seed)
    pixels = []
    for first in range(0, number, BLOCK):
        shape = min(BLOCK, number - first), len(fitted)
        weights = random.standard_normal(shape, np.float32)
        drawn = mean + np.tensordot(weights, deviations, axes=1)
        pixels.append(images.to_uint8(drawn))
    return ImageDataset(GAUSSIAN, np.concatenate(pixels), kind="draws")
