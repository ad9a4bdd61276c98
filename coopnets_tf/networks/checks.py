"""What a network must be to become a descriptor or a generator."""

from typing import Any

import keras
import tensorflow as tf

from coopnets_tf import seeds
from coopnets_tf.errors import NetworkError
from coopnets_tf.wording import one_line


def shape_of_input(
    network: keras.Model,
    given: tuple[int, ...] | None,
    argument: str,
    *,
    num_classes: int = 0,
) -> tuple[int, ...]:
    """The shape of one input of a network, without the batch.

    Args:
      network: a built Keras model with one input; with classes, a second one for rows
        of them, [batch, num_classes].
      given: that shape, where the network takes any.
      argument: what the caller calls `given`.
      num_classes: 0 without classes.

    Raises:
      NetworkError: if it is not such a model, takes another shape, or any shape and
        none is given.
    """
    refuse_unbuilt(network)
    own: Any = getattr(network, "input_shape", None)
    if num_classes:
        if not isinstance(own, list) or own[1:] != [(None, num_classes)]:
            raise NetworkError(
                f"Network {network.name} must have two inputs, the second one for "
                f"classes, [batch, {num_classes}]. Received: {own}."
            )
        own = own[0]
    if isinstance(own, list | dict):
        raise NetworkError(
            f"Network {network.name} must have one input. Received: {len(own)}."
        )
    if given is None and (own is None or None in own[1:]):
        raise NetworkError(
            f"Network {network.name} does not say the shape of its input. Give "
            f"`{argument}`."
        )
    shape = tuple(own[1:] if given is None else given)
    if own is not None and not tf.TensorShape(own[1:]).is_compatible_with(shape):
        raise NetworkError(
            f"Network {network.name} takes inputs of shape {list(own[1:])}. "
            f"Received: `{argument}`={list(shape)}."
        )
    return shape


def refuse_unbuilt(network: Any) -> None:
    """Stops where a network is no Keras model, or has no weights yet."""
    if not isinstance(network, keras.Model):
        raise NetworkError(
            "`network` must be a built Keras model, such as those of "
            f"`coopnets_tf.networks.built_in`. Received: {network!r}"
        )
    if not network.built:
        raise NetworkError(
            f"Network {network.name} was never built, so that it has no weights yet. "
            "Begin it with keras.Input, or call it once."
        )


def takes_any(net: keras.Model) -> bool:
    """Whether a descriptor or generator takes inputs of any size."""
    shape: Any = getattr(net.network, "input_shape", None)
    return isinstance(shape, tuple) and None in shape[1:]


def outputs_of(
    network: keras.Model,
    shape: tuple[int, ...],
    expected: str,
    *,
    num_classes: int = 0,
) -> tf.Tensor:
    """What a built network makes of two random inputs of a shape, of the first class.

    Raises:
      NetworkError: if it has no trainable weights, has losses, cannot be called with
        this shape, computes in other floats than float32, or gives anything but finite
        numbers for each input, the `expected` ones.
    """
    name = f"Network {network.name}"
    if not network.trainable_variables:
        raise NetworkError(
            f"{name} has no trainable weights: nothing could be learned."
        )
    inputs = seeds.standard_normal([2, *shape], seed=tf.constant([0, 0]))
    first = [tf.one_hot([0, 0], num_classes)] if num_classes else []
    try:
        outputs = network([inputs, *first] if first else inputs, training=False)
    except Exception as error:  # a layer of the user's may raise anything
        raise NetworkError(
            f"{name} cannot be called with inputs of shape {list(inputs.shape)}: "
            f"{one_line(error)}"
        ) from error
    if network.losses:
        raise NetworkError(
            f"{name} has losses of its own, such as regularizers, which no step of the "
            "algorithms descends. Use an optimizer's weight_decay, or `penalty`."
        )
    tensor = tf.is_tensor(outputs)
    if not tensor or outputs.shape.rank == 0 or outputs.shape[0] != 2:
        found = list(outputs.shape) if tensor else type(outputs).__name__
    elif not outputs.dtype.is_floating:
        found = f"{outputs.dtype.name} numbers"
    elif other := _other_floats(network, outputs):
        raise NetworkError(
            f"{name} must compute in float32. Received: {other}. Build it with "
            'dtype="float32" or "mixed_bfloat16", or reset floatx and the dtype policy '
            "in keras.config or keras.json."
        )
    elif not tf.reduce_all(tf.math.is_finite(outputs)):
        found = "NaN or infinity"
    else:
        return outputs
    raise NetworkError(
        f"{name} must give {expected} for inputs of shape {list(inputs.shape)}. "
        f"Received: {found}."
    )


def _other_floats(network, outputs):
    """The dtype of a network's inputs or weights that is not float32, or of its outputs
    that is neither this nor bfloat16, if any.
    """
    given = [one.dtype for one in getattr(network, "inputs", None) or []]
    given += [one.dtype for one in network.weights if one.dtype.startswith("bfloat")]
    if outputs.dtype != tf.bfloat16:  # which has the same range
        given.append(outputs.dtype)
    names = [tf.as_dtype(one).name for one in given]
    return next((name for name in names if name != "float32"), None)
