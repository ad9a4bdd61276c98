"""Langevin dynamics: one step, one chain. Knows no network.

The same kernel moves images under the descriptor (step D1 of the paper) and latent
vectors under the generator's posterior (step G1); only the energy differs.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from coopnets_tf import seeds

EnergyFn = Callable[[tf.Tensor], tf.Tensor]  # [chains, ...] -> [chains]


@dataclasses.dataclass(frozen=True)
class Langevin:
    """How a chain moves.

    ```python
    from coopnets_tf import Langevin

    dynamics = Langevin(num_steps=15, step_size=0.002)
    ```

    Args:
      num_steps: l of the paper; 0 leaves the states where they are. Without `unroll`
        also an integer tensor.
      step_size: delta of the paper, the standard deviation of the noise of one step, in
        the unit of the states.
      unroll: in a compiled graph, lay the steps out one after the other (True) or keep
        one copy inside a `tf.while_loop` (False). The numbers are the same.
      max_gradient: clamps each entry of the energy's gradient to [-max_gradient,
        max_gradient]. None: no clamp, and the dynamics are Langevin's.
      gradient_weight: multiplies the energy's gradient in one step. None: step_size**2
        / 2, and the dynamics are Langevin's; a larger one makes the target colder,
        exp(-E / T) with T = step_size**2 / (2 gradient_weight).

    Raises:
      ValueError: on a negative `num_steps`, or another number that is not positive.
    """

    num_steps: int | tf.Tensor
    step_size: float
    unroll: bool = True
    max_gradient: float | None = None
    gradient_weight: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.num_steps, int) and self.num_steps < 0:
            raise ValueError(
                f"`num_steps` must be 0 or more. Received: num_steps={self.num_steps}"
            )
        if not self.step_size > 0:
            raise ValueError(
                f"`step_size` must be positive. Received: step_size={self.step_size}"
            )
        for name in ("max_gradient", "gradient_weight"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(
                    f"`{name}` must be positive or None. Received: {name}={value}"
                )


class ChainInfo(NamedTuple):
    """What a chain met on its way; zeros where it took no step."""

    # [chains], norm of the energy's gradient before any clamp, mean over the steps.
    gradient_norm: tf.Tensor


def langevin_step(
    states: tf.Tensor,
    energy_gradient: tf.Tensor,
    noise: float | tf.Tensor,
    *,
    step_size: float,
    gradient_weight: float | None = None,
) -> tf.Tensor:
    """The states after one step of Langevin dynamics, [chains, ...].

        next = states - step_size**2 / 2 * energy_gradient + step_size * noise

    Args:
      states: float32 [chains, ...]; pixels in [-1, 1], or latents.
      energy_gradient: [chains, ...]; of each chain's energy.
      noise: [chains, ...]; standard normal, or 0.0 for plain gradient descent.
      step_size: delta of the paper. TFP's `step_size` is delta**2, BlackJAX's is
        delta**2 / 2.
      gradient_weight: replaces step_size**2 / 2.

    Source: Xie et al., arXiv:1609.09408, steps D1 and G1, with energy = -log p. The
    weight: Nijkamp et al., arXiv:1904.09770, where it is 1 and step_size 0.01.
    """
    weight = 0.5 * step_size**2 if gradient_weight is None else gradient_weight
    return states - weight * energy_gradient + step_size * noise


def energy_gradient(energy_fn: EnergyFn, states: tf.Tensor) -> tf.Tensor:
    """Gradient of each chain's energy at its state, [chains, ...].

    The tape watches the states alone: no gradient of a weight is prepared.

    Raises:
      ValueError: if the energy has lost its chain axis. A mean over the chains would
        scale every gradient by 1 / chains.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(states)
        energy = energy_fn(states)
    if not energy.shape.is_compatible_with(states.shape[:1]):
        raise ValueError(
            f"`energy_fn` must return one energy per chain, shape {states.shape[:1]}. "
            f"Received: shape {energy.shape}"
        )
    return tape.gradient(energy, states)


def langevin_chain(
    energy_fn: EnergyFn,
    states: tf.Tensor,
    dynamics: Langevin,
    *,
    seed: tf.Tensor,
    noise_scale: float | tf.Tensor = 1.0,
    fixed: tf.Tensor | None = None,
) -> tuple[tf.Tensor, ChainInfo]:
    """Runs a chain: its last states, [chains, ...], and what it met.

    ```python
    import tensorflow as tf
    from coopnets_tf import Langevin, langevin_chain

    states, info = langevin_chain(
        lambda states: tf.reduce_sum(states**2, axis=1) / 2,  # of a standard normal
        tf.zeros([1000, 1]),
        Langevin(100, 0.3, unroll=False),
        seed=tf.constant([0, 0]),
    )
    ```

    Args:
      energy_fn: [chains, ...] -> [chains], -log p up to a constant.
      states: float32 [chains, ...]; where the chains start.
      seed: int32 [2], or [chains, 2] with one for each chain; the number of a step is
        folded in for its noise.
      noise_scale: scalar; 1 is Langevin dynamics, 0 plain gradient descent. For a
        Python zero no noise is drawn at all.
      fixed: bool [chains, ...]; entries of the states that do not move.
    """
    noiseless = isinstance(noise_scale, float | int) and noise_scale == 0

    def move(index, states, norm):
        gradient = energy_gradient(energy_fn, states)
        noise = 0.0
        if not noiseless:
            noise = noise_scale * seeds.standard_normal(
                tf.shape(states), seed=seeds.fold_in(seed, index)
            )
        flat = tf.reshape(gradient, [tf.shape(gradient)[0], -1])
        norm += tf.norm(flat, axis=1) / tf.cast(dynamics.num_steps, flat.dtype)
        if dynamics.max_gradient is not None:
            limit = dynamics.max_gradient
            gradient = tf.clip_by_value(gradient, -limit, limit)
        moved = langevin_step(
            states,
            gradient,
            noise,
            step_size=dynamics.step_size,
            gradient_weight=dynamics.gradient_weight,
        )
        return (moved if fixed is None else tf.where(fixed, states, moved)), norm

    states = tf.convert_to_tensor(states)
    shape = states.shape
    norm = tf.zeros(tf.shape(states)[:1], states.dtype)
    if dynamics.unroll:
        for index in range(dynamics.num_steps):
            states, norm = move(index, states, norm)
    else:
        _, states, norm = tf.while_loop(
            lambda index, *_: index < dynamics.num_steps,
            lambda index, *chain: (index + 1, *move(index, *chain)),
            (0, states, norm),
            shape_invariants=(tf.TensorShape([]), shape, norm.shape),
            parallel_iterations=1,
        )
    return states, ChainInfo(gradient_norm=norm)
