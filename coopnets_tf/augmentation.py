"""Images changed at random, so that D2 sees more of them than there are.

Observed and revised images are changed alike, each by a draw of its own: the descriptor
then cannot tell them by how they were changed, and has more to learn of few images. The
chains of D1 are never changed. A way to change images is a function here and its line
in `WAYS`.

Source of the idea: Zhao et al., Differentiable augmentation for data-efficient GAN
training, NeurIPS 2020.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from coopnets_tf import seeds


def flipped(images: tf.Tensor, *, seed: tf.Tensor) -> tf.Tensor:
    """Each image mirrored, left to right, with probability 1/2."""
    shape = [tf.shape(images)[0], *[1] * (images.ndim - 1)]
    draws = seeds.uniform(shape, seed=seed, low=0, high=1)
    return tf.where(draws < 0.5, tf.reverse(images, [-2]), images)


def shifted(images: tf.Tensor, *, seed: tf.Tensor) -> tf.Tensor:
    """Each image moved by whole pixels, up to an eighth of each side either way, all
    distances alike likely; its borders are repeated.
    """
    number, rank = tf.shape(images)[0], images.ndim
    draws = seeds.uniform([number, 2], seed=seed, low=0, high=1)
    for index, axis in enumerate((rank - 3, rank - 2)):
        size = images.shape[axis]
        most = size // 8
        steps = tf.cast(draws[:, index] * (2 * most + 1), tf.int32) - most
        places = tf.clip_by_value(tf.range(size) - steps[:, None], 0, size - 1)
        images = tf.gather(images, places, axis=axis, batch_dims=1)
    return images


WAYS: dict[str, Callable] = {"flip": flipped, "shift": shifted}


def augmented(images: tf.Tensor, ways: Sequence[str], *, seed: tf.Tensor) -> tf.Tensor:
    """Images changed in some of the `WAYS`, one after the other.

    Args:
      images: float32 [batch, ..., height, width, channels]; frames of a clip are
        changed alike.
      ways: names of `WAYS`; none leaves the images as they are.
      seed: int32 [2].
    """
    for number, name in enumerate(ways):
        images = WAYS[name](images, seed=seeds.fold_in(seed, number))
    return images
