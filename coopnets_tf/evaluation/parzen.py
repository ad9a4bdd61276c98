"""Parzen windows: how probable images are under a Gaussian around each sample.

The density is (1/N) sum_k N(image; sample_k, bandwidth^2 I), on pixels in [0, 1].
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

BANDWIDTHS = np.logspace(-1, 0, 10)  # of the authors' code, in parts of the range
CHUNK = 250  # images at a time: CHUNK x N distances are kept


def log_likelihoods(
    samples: np.ndarray, images: np.ndarray, bandwidths: Sequence[float] | np.ndarray
) -> np.ndarray:
    """The log-density of each image, in nats: float64 [bandwidths, images].

    Args:
      samples, images: float32 [number, pixels] in [0, 1].
      bandwidths: s.d. of the window, pixel units of [0, 1].

    Source: Breuleux, Bengio, Vincent, "Quickly generating representative samples from
    an RBM-derived process", Neural Computation 23(8), 2011.
    """
    center = samples.mean(axis=0, dtype=np.float64).astype(np.float32)
    samples = tf.constant(samples - center)  # near zero, distances keep their digits
    bandwidths = np.asarray(bandwidths, np.float64)
    chunks = [
        _log_mean_exp(
            samples,
            tf.constant(images[first : first + CHUNK] - center),
            tf.constant(bandwidths, tf.float32),
        )
        for first in range(0, len(images), CHUNK)
    ]
    log_means = np.concatenate(chunks, axis=1).astype(np.float64)
    log_norms = images.shape[1] * np.log(bandwidths * np.sqrt(2 * np.pi))
    return log_means - log_norms[:, None]


@tf.function(reduce_retracing=True)
def _log_mean_exp(samples, images, bandwidths):
    """log mean_k exp(-||image - sample_k||^2 / (2 bandwidth^2)), as `log_likelihoods`.

    The distances are one matrix product, computed once for all bandwidths.
    """
    products = tf.matmul(images, samples, transpose_b=True)
    distances = (
        tf.reduce_sum(images**2, axis=1)[:, None]
        + tf.reduce_sum(samples**2, axis=1)[None]
        - 2 * products
    )
    distances = tf.maximum(distances, 0.0)
    number = tf.cast(tf.shape(samples)[0], tf.float32)
    return tf.map_fn(
        lambda bandwidth: (
            tf.reduce_logsumexp(-distances / (2 * bandwidth**2), axis=1)
            - tf.math.log(number)
        ),
        bandwidths,
        parallel_iterations=1,  # more would only keep more matrices at a time
    )


def choose_bandwidth(samples: np.ndarray, images: np.ndarray) -> float:
    """The one of `BANDWIDTHS` under which the images are most probable on average."""
    means = log_likelihoods(samples, images, BANDWIDTHS).mean(axis=1)
    return float(BANDWIDTHS[np.argmax(means)])


def score(
    samples: np.ndarray, images: np.ndarray, bandwidth: float
) -> tuple[float, float]:
    """Mean log-likelihood of images and its standard error, in nats."""
    values = log_likelihoods(samples, images, [bandwidth])[0]
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(error)
