"""Optimizers and learning rates: what Keras' own do not offer, all of it opt-in."""

import keras
import numpy as np
import tensorflow as tf

schedules = keras.optimizers.schedules
NUM_PLATEAUS = 80


def cap_gradients(gradients, limit):
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
    """Keras' Adam, on capped gradients.

    Args:
      gradient_cap: float or None; see `cap_gradients`.
      **options: those of `keras.optimizers.Adam`.
    """

    def __init__(self, *arguments, gradient_cap=None, **options):
        super().__init__(*arguments, **options)
        self.gradient_cap = gradient_cap

    def apply(self, grads, trainable_variables=None):
        if self.gradient_cap is not None:
            grads = cap_gradients(grads, self.gradient_cap)
        super().apply(grads, trainable_variables)

    def get_config(self):
        return {**super().get_config(), "gradient_cap": self.gradient_cap}


def rate_schedule(name, rate, *, num_steps, final_factor):
    """How a learning rate goes from `rate` to `final_factor * rate` in `num_steps`.

    Args:
      name: "constant", "exponential" (falls on afterwards), "cosine", or "plateaus",
        80 of equal length on a logarithmic scale, as in the authors' MATLAB code.
      rate: float; where it begins.
      num_steps: int; not used by "constant".
      final_factor: float.

    Returns:
      A float, or a `keras.optimizers.schedules.LearningRateSchedule`.
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
    raise ValueError(f"Unknown schedule. Received: name={name!r}")


@keras.saving.register_keras_serializable("coopnets_tf")
class RateAfterRollbacks(schedules.LearningRateSchedule):
    """A learning rate that each rollback of the run multiplies by a factor.

    Args:
      rate: float or `LearningRateSchedule`.
      rollbacks: integer variable; rollbacks so far, `Learner.rollbacks`.
      factor: float.
    """

    def __init__(self, rate, rollbacks, factor):
        super().__init__()
        self.rate = rate
        self.rollbacks = rollbacks
        self.factor = factor

    def __call__(self, step):
        rate = self.rate(step) if callable(self.rate) else self.rate
        return rate * self.factor ** tf.cast(self.rollbacks, tf.float32)

    def get_config(self):
        """What was saved has the rollbacks until then, as a number."""
        return {
            "rate": keras.saving.serialize_keras_object(self.rate),
            "rollbacks": int(self.rollbacks),
            "factor": self.factor,
        }

    @classmethod
    def from_config(cls, config):
        rate = keras.saving.deserialize_keras_object(config["rate"])
        return cls(**{**config, "rate": rate})
