"""Spectral norm: a descriptor whose kernels keep a largest singular value of one.

Keras' `SpectralNormalization` divides its kernel by that value when it is called with
`training=True`. A descriptor never is, since all steps of a chain must see one energy.
So the division is done here, after each D2, and D1 finds kernels that are divided.
"""

from typing import Any

import keras

from coopnets_tf.errors import NetworkError
from coopnets_tf.frozen import layers_inside

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
FIRST_ROUNDS = 30  # of the power iteration; in training it is one for each D2
Wrapped = keras.layers.SpectralNormalization


def normalised(network: keras.Model) -> keras.Model:
    """A network of the same layers and weights with each convolution in Keras'
    `SpectralNormalization`, and its kernel divided.

    Raises:
      NetworkError: if it has none, or is a subclassed model, whose layers cannot be
        exchanged.

    Source: Miyato et al., arXiv:1802.05957, equations 5 to 8. Its matrices have a row,
    Keras' a column, for each filter, which is the same norm.
    """
    if not hasattr(network, "inputs"):
        raise NetworkError(
            f"Network {network.name} is a subclassed model, and `spectral_norm` can "
            "exchange the layers of functional and sequential ones alone. Put Keras' "
            "SpectralNormalization into it."
        )
    pairs = []

    def clone(layer):
        copy = type(layer).from_config(layer.get_config())
        pairs.append((layer, copy))
        if isinstance(layer, CONVOLUTIONS):
            return Wrapped(copy, name=layer.name, dtype=layer.dtype_policy)
        return copy

    clones = keras.models.clone_model(network, clone_function=clone, recursive=True)
    for layer, copy in pairs:
        if isinstance(layer, keras.Layer):  # and no operation, such as a sum
            copy.set_weights(layer.get_weights())
    if not wrapped_in(clones):
        raise NetworkError(
            f"Network {network.name} has no convolution, on which `spectral_norm` "
            "acts. Leave it out, or put Keras' SpectralNormalization into the network."
        )
    for _ in range(FIRST_ROUNDS):
        divide(wrapped_in(clones))
    return clones


def wrapped_in(network: keras.Model) -> list[Any]:
    """The layers of a network that are in Keras' `SpectralNormalization`."""
    return [one for one in layers_inside(network) if isinstance(one, Wrapped)]


def divide(layers: list[Any]) -> None:
    """Divides each kernel by its largest singular value, as one round of the power
    iteration finds it from the vector that the round before left in `vector_u`.
    """
    for layer in layers:
        vector, kernel = layer.normalized_weights()
        layer.vector_u.assign(vector)
        layer.kernel.assign(kernel)
