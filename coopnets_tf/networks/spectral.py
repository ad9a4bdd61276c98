"""Spectral norm: a descriptor whose kernels keep a largest singular value of about one.

Keras' `SpectralNormalization` divides its kernel by that value when it is called with
`training=True`. A descriptor never is, since all steps of a chain must see one energy.
So the division is done here, after each D2, and D1 finds kernels that are divided. One
round of power iteration finds the value from below. A moving average of the weights,
which Keras takes of each step before its division, is divided where it is used; as it
is not the kernel that the last round saw, that takes as many rounds as at the start.
"""

from typing import Any

import keras
import tensorflow as tf

from coopnets_tf.errors import NetworkError
from coopnets_tf.networks import checks
from coopnets_tf.networks.layers import layers_inside

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
ROUNDS = 30  # of the power iteration for kernels not seen; in training one for each D2
Wrapped = keras.layers.SpectralNormalization


def normalised(network: keras.Model) -> keras.Model:
    """A network of the same layers and weights with each convolution that is trained
    in Keras' `SpectralNormalization`, and its kernel divided.

    Raises:
      NetworkError: if it is no built model, has no such convolution, or one out of
        reach, in a subclassed model or layer.

    Source: Miyato et al., arXiv:1802.05957, equations 5 to 8. As Keras' layer does it,
    the kernel itself is replaced, and no gradient passes through the division.
    """
    checks.refuse_unbuilt(network)
    found = _wrapped(network)
    held = [one.layer for one in wrapped_in(found)]
    for layer in filter(_is_meant, layers_inside(found)):
        if not any(layer is one for one in held):
            raise NetworkError(
                f"Network {network.name} has the convolution {layer.name} inside a "
                "subclassed model or layer, where `spectral_norm` cannot reach it. Put "
                "Keras' SpectralNormalization round it."
            )
    if not held:
        raise NetworkError(
            f"Network {network.name} has no convolution that is trained, on which "
            "`spectral_norm` acts. Leave it out, or put Keras' SpectralNormalization "
            "into the network."
        )
    divide(wrapped_in(found), rounds=ROUNDS)
    return found


def _wrapped(network):
    """The network itself where its layers cannot be exchanged."""
    if type(network).__name__ not in ("Functional", "Sequential"):
        return network
    pairs = []

    def clone(layer):
        if isinstance(layer, keras.Model):
            return _wrapped(layer)
        if not _is_meant(layer):
            return layer
        copy = type(layer).from_config(layer.get_config())
        pairs.append((layer, copy))
        return Wrapped(copy, name=layer.name, dtype=layer.dtype_policy)

    found = keras.models.clone_model(network, clone_function=clone)
    for layer, copy in pairs:
        copy.set_weights(layer.get_weights())
    return found


def _is_meant(layer):
    return isinstance(layer, CONVOLUTIONS) and layer.trainable


def wrapped_in(network: keras.Model) -> list[Any]:
    """The layers of a network that are in Keras' `SpectralNormalization`, and are
    trained.
    """
    layers = [one for one in layers_inside(network) if isinstance(one, Wrapped)]
    return [one for one in layers if one.trainable and one.kernel.trainable]


def divide(layers: list[Any], *, rounds: int = 1) -> None:
    """Divides each kernel by its largest singular value, estimated by power iteration
    from the `vector_u` that the last call left. A kernel of zeros stays.

    Args:
      layers: see `wrapped_in`.
      rounds: how often; the value of each is of as many iterations as the layer asks
        for, one by default.
    """
    for layer in layers * rounds:
        vector, kernel = layer.normalized_weights()
        zero = tf.reduce_all(tf.equal(layer.kernel, 0.0))
        layer.vector_u.assign(tf.where(zero, layer.vector_u, vector))
        layer.kernel.assign(tf.where(zero, layer.kernel, kernel))
