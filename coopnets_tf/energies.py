"""Energies and losses of the paper, one function per formula.

An energy is -log p up to a constant and keeps the batch axis, [batch]: every chain
follows the gradient of its energy. Only a `*_loss` is a mean over the batch.
Source of all: Xie et al., arXiv:1609.09408.
"""

import tensorflow as tf


def gaussian_energy(values: tf.Tensor, *, stddev: float) -> tf.Tensor:
    """`||values||^2 / (2 stddev^2)`, summed over all axes but the first: [batch]."""
    squares = tf.square(values)
    return tf.reduce_sum(squares, axis=range(1, squares.shape.rank)) / (2 * stddev**2)


def descriptor_energy(
    scores: tf.Tensor, images: tf.Tensor, *, reference_stddev: float
) -> tf.Tensor:
    """`E(Y) = ||Y||^2 / (2 s^2) - f(Y)`, [batch].

    Args:
      scores: [batch]; f(Y; W_D), the sum of the descriptor's outputs.
      images: [batch, ...]; Y.
      reference_stddev: s, pixel units; infinite: no reference, E = -f.
    """
    return gaussian_energy(images, stddev=reference_stddev) - scores


def residual_energy(
    images: tf.Tensor,
    generated: tf.Tensor,
    *,
    residual_stddev: float,
    visible: tf.Tensor | None = None,
) -> tf.Tensor:
    """`||Y - g(X)||^2 / (2 sigma^2)`, [batch]: -log p(Y | X) up to a constant.

    Where only a part of an image is visible the sum goes over that part: this is its
    whole likelihood, since the pixels of Y are independent given X.

    Args:
      images: [batch, ...]; Y. Where not visible, anything.
      generated: as `images`; g(X; W_G).
      residual_stddev: sigma, pixel units.
      visible: as `images`; 1 where Y is known, 0 where not. None: all of it is.
    """
    if visible is not None:
        images = tf.where(visible > 0, images, generated)  # no error where unknown
    return gaussian_energy(images - generated, stddev=residual_stddev)


def latent_energy(
    latents: tf.Tensor,
    images: tf.Tensor,
    generated: tf.Tensor,
    *,
    residual_stddev: float,
    visible: tf.Tensor | None = None,
) -> tf.Tensor:
    """`||Y - g(X)||^2 / (2 sigma^2) + ||X||^2 / 2`, [batch].

    `latents`, [batch, ...], are X; the other arguments as for `residual_energy`.
    """
    residual = residual_energy(
        images, generated, residual_stddev=residual_stddev, visible=visible
    )
    return residual + gaussian_energy(latents, stddev=1.0)


def descriptor_loss(observed_scores: tf.Tensor, revised_scores: tf.Tensor) -> tf.Tensor:
    """`mean f(Y~) - mean f(Y)`, a scalar whose descent is step D2.

    The scores f are [batch] of observed and [chains] of revised images.
    """
    return tf.reduce_mean(revised_scores) - tf.reduce_mean(observed_scores)


def energy_penalty(observed_scores: tf.Tensor, revised_scores: tf.Tensor) -> tf.Tensor:
    """`mean f(Y)^2 + mean f(Y~)^2`, a scalar that keeps scores from drifting away.

    Arguments as for `descriptor_loss`. Source: the L2 penalty of Du and Mordatch,
    arXiv:1903.08689, on the part of the energy that has weights.
    """
    observed = tf.reduce_mean(tf.square(observed_scores))
    return observed + tf.reduce_mean(tf.square(revised_scores))


def generator_loss(
    images: tf.Tensor,
    generated: tf.Tensor,
    *,
    residual_stddev: float,
    visible: tf.Tensor | None = None,
) -> tf.Tensor:
    """`mean ||Y - g(X)||^2 / (2 sigma^2)`, a scalar whose descent is step G2.

    Arguments as for `residual_energy`; the images are observed ones, or in CoopNets the
    revised ones Y~.
    """
    return tf.reduce_mean(
        residual_energy(
            images, generated, residual_stddev=residual_stddev, visible=visible
        )
    )


def reference_gap(
    observed: tf.Tensor, revised: tf.Tensor, *, stddev: float
) -> tf.Tensor:
    """Mean of `||Y~||^2 / (2 s^2)` minus mean of `||Y||^2 / (2 s^2)`, a scalar.

    Minus `descriptor_loss` this is the mean energy of revised images above that of
    observed ones.
    """
    return tf.reduce_mean(gaussian_energy(revised, stddev=stddev)) - tf.reduce_mean(
        gaussian_energy(observed, stddev=stddev)
    )


def displacement(images: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """How far images are from where they started: [batch], r.m.s. of a pixel."""
    squares = tf.square(images - start)
    return tf.sqrt(tf.reduce_mean(squares, axis=range(1, squares.shape.rank)))


def saturation(images: tf.Tensor) -> tf.Tensor:
    """The share of pixels outside [-1, 1], a scalar."""
    return tf.reduce_mean(tf.cast(tf.abs(images) > 1, tf.float32))
