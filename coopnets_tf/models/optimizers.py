"""Optimizers and learning rates that Keras does not offer, all of them opt-in."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers import schedules
from keras.optimizers.schedules import LearningRateSchedule

from coopnets_tf import replicas

NUM_PLATEAUS = 80


def cap_gradients(gradients: Sequence[tf.Tensor], limit: float) -> list[tf.Tensor]:
    """Scales each tensor whose largest entry exceeds `limit` down to it.

        g * min(1, limit / max|g|)

    Unlike an element-wise clip this keeps the direction within each tensor. A gradient
    that is not finite stays so, for the guard to see.

    Source: the authors' MATLAB code, caps 20/255 to 30.
    """
    return [
        gradient * tf.minimum(1.0, limit / tf.reduce_max(tf.abs(gradient)))
        for gradient in gradients
    ]


@keras.saving.register_keras_serializable("coopnets_tf")
class CappedAdam(keras.optimizers.Adam):
    """Keras' Adam, with its options; `gradient_cap` is the limit of `cap_gradients`.

    Of several replicas it caps and clips the sum of their gradients.
    """

    sums_first = True  # for `replicas.descend`, which refuses others that clip

    def __init__(
        self, *arguments: Any, gradient_cap: float | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.gradient_cap = gradient_cap

    def apply(
        self,
        grads: Sequence[tf.Tensor],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        grads = replicas.total(grads)
        if self.gradient_cap is not None:
            grads = cap_gradients(grads, self.gradient_cap)
        super().apply(grads, trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars  # Keras would once more, after it has clipped

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gradient_cap": self.gradient_cap}


def rate_schedule(
    name: str, rate: float, *, num_steps: Any, final_factor: float
) -> float | LearningRateSchedule:
    """How a learning rate goes from `rate` to `final_factor * rate` in `num_steps`.

    Args:
      name: "constant", "exponential" (falls on afterwards), "cosine", or "plateaus", 80
        of equal length on a logarithmic scale, as in the authors' MATLAB code.
      rate: where it begins.
      num_steps, final_factor: not used by "constant".

    Raises:
      ValueError: on another name.
    """
    if name == "exponential":
        return schedules.ExponentialDecay(rate, num_steps, final_factor)
    if name == "cosine":
        return schedules.CosineDecay(rate, num_steps, alpha=final_factor)
    if name == "plateaus":
        # A boundary is the last step of its plateau; the first step is 0.
        ends = np.arange(1, NUM_PLATEAUS) * num_steps / NUM_PLATEAUS
        values = rate * np.geomspace(1, final_factor, NUM_PLATEAUS)
        return schedules.PiecewiseConstantDecay(
            (np.ceil(ends) - 1).tolist(), values.tolist()
        )
    if name == "constant":
        return rate
    raise ValueError(
        "`name` must be constant, exponential, cosine or plateaus. Received: "
        f"name={name!r}"
    )


@keras.saving.register_keras_serializable("coopnets_tf")
class RateAfterRollbacks(LearningRateSchedule):
    """A learning rate that each rollback of the run multiplies by `factor`.

    `rollbacks` is an integer variable, `Learner.rollbacks`.
    """

    def __init__(
        self,
        rate: float | LearningRateSchedule,
        rollbacks: int | keras.Variable,
        factor: float,
    ) -> None:
        super().__init__()
        self.rate = rate
        self.rollbacks = rollbacks
        self.factor = factor

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        rate = self.rate(step) if callable(self.rate) else self.rate
        return rate * self.factor ** tf.cast(self.rollbacks, tf.float32)

    def get_config(self) -> dict[str, Any]:
        """What was saved has the rollbacks until then, as a number."""
        return {
            "rate": keras.saving.serialize_keras_object(self.rate),
            "rollbacks": int(self.rollbacks),
            "factor": self.factor,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RateAfterRollbacks":
        rate = keras.saving.deserialize_keras_object(config["rate"])
        return cls(**{**config, "rate": rate})
