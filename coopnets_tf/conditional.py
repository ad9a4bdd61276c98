"""Nets that are told a class: a descriptor p(Y | c), a generator g(X, c).

Classes are given to a net as rows, float32 [images, num_classes]: 1 for the class of an
image and 0 for the others; between classes, what sums to 1.
"""

from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from coopnets_tf import replicas, seeds
from coopnets_tf.errors import ArgumentError, NetworkError
from coopnets_tf.seeds import Integer

Shares = tuple[float, ...]


class Conditional(keras.Model):
    """A net that may have been made for classes.

    ```python
    three = tf.one_hot([3], 10)
    energy = descriptor.given(three).energy(image)  # of [1, 28, 28, 1], as a 3
    ```

    Args:
      class_shares: how frequent each class is in the training, which sums to 1. None: a
        net without classes.

    Raises:
      ValueError: on shares that are negative or do not sum to 1.
    """

    labels: tf.Tensor | None = None  # of the images of a net that `given` returned

    def __init__(self, *, class_shares: Shares | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        shares = None if class_shares is None else tuple(map(float, class_shares))
        if shares is not None and (min(shares, default=-1) < 0 or _off(sum(shares))):
            raise ValueError(
                "`class_shares` must be 0 or more and sum to 1. Received: "
                f"{class_shares}"
            )
        self.class_shares = shares

    def given(self, labels: tf.Tensor | None) -> Self:
        """The same net, weights and optimizer included, for images of these classes.

        Args:
          labels: rows, one for each image that it will be called with. None: the net as
            it is.
        """
        if labels is None:
            return self
        # Not a copy, which Keras would make with weights of its own.
        net = object.__new__(type(self))
        net.__dict__.update(self.__dict__, labels=labels)
        return net

    def fed(self, values: tf.Tensor) -> Any:
        """What the network takes: images or latents, and the classes, if it has any.

        Raises:
          NetworkError: if it has classes, and none were given.
        """
        if self.class_shares is None:
            return values
        if self.labels is None:
            raise NetworkError(
                f"This {self.name} is for images of {len(self.class_shares)} classes. "
                "Give `labels`."
            )
        return [values, self.labels]

    def draw_labels(self, number: Integer, *, seed: tf.Tensor) -> tf.Tensor | None:
        """Rows of classes, drawn as frequent as in the training; None without classes.

        `seed` is int32 [2], or [number, 2].
        """
        if self.class_shares is None:
            return None
        uniform = seeds.uniform([number], seed=seed, low=0, high=1)
        return drawn(self.class_shares, uniform)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_shares": self.class_shares}


def _off(total):
    return abs(total - 1) > 1e-6


def drawn(shares: Shares, uniform: tf.Tensor) -> tf.Tensor:
    """Rows of classes: c where a uniform number, of [number], falls into the c-th share
    of [0, 1).
    """
    ends = tf.constant(np.cumsum(shares)[:-1], tf.float32)
    below = tf.cast(uniform[:, None] >= ends, tf.int32)
    return tf.one_hot(tf.reduce_sum(below, axis=1), len(shares))


def rows(labels: Any, shares: Shares | None, number: int) -> tf.Tensor | None:
    """A user's `labels` as rows; None for none.

    Args:
      labels: None, one class for all, int [number], or rows.
      number: of images.

    Raises:
      ArgumentError: if they are no such classes, or these nets have none.
    """
    if labels is None:
        return None
    if shares is None:
        raise ArgumentError(
            "`labels` are for nets that were trained with classes, and these have none."
        )
    found = np.asarray(labels)
    if np.issubdtype(found.dtype, np.integer) and found.shape in ((), (number,)):
        if 0 <= found.min(initial=0) <= found.max(initial=0) < len(shares):
            return tf.one_hot(np.broadcast_to(found, [number]), len(shares))
    elif found.shape == (number, len(shares)):
        return tf.convert_to_tensor(found, tf.float32)
    raise ArgumentError(
        f"`labels` must be a class from 0 to {len(shares) - 1}, one for each of "
        f"{number} images, or rows [{number}, {len(shares)}]. Received: "
        + (f"{labels}." if found.ndim == 0 else f"{found.dtype} {list(found.shape)}.")
    )


def repeated(labels: tf.Tensor | None, number: int) -> tf.Tensor | None:
    """Rows for `number` chains: those of all observed images in turn, so that both are
    of the same classes. Of several replicas, this one's.
    """
    if labels is None:
        return None
    whole = replicas.gathered(labels)
    places = tf.range(number) % tf.shape(whole)[0]
    return tf.gather(whole, replicas.own(places))


def joined(*labels: tf.Tensor | None) -> tf.Tensor | None:
    """Rows of several sets of images, one after the other; None without classes."""
    known = [one for one in labels if one is not None]
    return tf.concat(known, axis=0) if known else None
