"""The descriptor: a bottom-up ConvNet that is an energy-based model of images."""

import dataclasses
import math
from typing import NamedTuple

import keras
import tensorflow as tf

from coopnets_tf import energies, seeds
from coopnets_tf.convolutions import ImageConv, leaky_relu
from coopnets_tf.langevin import Langevin, langevin_chain


class Conv(NamedTuple):
    """One convolution, "same" padding, leaky ReLU."""

    size: int
    strides: int
    filters: int


# From the image upwards; above the last row comes `SummedOutputs` over the whole map.
NETWORKS = {
    "digits": [Conv(3, 1, 32), Conv(4, 2, 64), Conv(3, 1, 128)],
    "mnist": [Conv(4, 2, 64), Conv(4, 2, 128), Conv(4, 2, 256)],
    "cifar": [Conv(5, 2, 64), Conv(3, 2, 128), Conv(3, 1, 256)],
    "scene": [Conv(5, 2, 64), Conv(3, 2, 128), Conv(3, 1, 256)],
}
KERNEL_STDDEV = 0.01


def _conv(conv, position):
    options = {
        "activation": leaky_relu,
        "kernel_initializer": keras.initializers.RandomNormal(stddev=KERNEL_STDDEV),
        "name": f"conv_{position}",
    }
    if position == 0:
        return ImageConv(conv.filters, conv.size, conv.strides, **options)
    return keras.layers.Conv2D(
        conv.filters, conv.size, conv.strides, padding="same", **options
    )


class SummedOutputs(keras.layers.Layer):
    """`num_outputs` linear filters over the whole map, and the sum of their answers.

    The filters are summed first, which gives the same scores for 1 / num_outputs of
    the operations. They still count one by one in learning: each has its own
    optimizer step, and the published learning rates assume 100 of them.

    Input [batch, height, width, channels], output [batch].
    """

    def __init__(self, num_outputs, **kwargs):
        super().__init__(**kwargs)
        self.num_outputs = num_outputs

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*input_shape[1:], self.num_outputs),
            initializer=keras.initializers.RandomNormal(stddev=KERNEL_STDDEV),
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.num_outputs,), initializer="zeros"
        )

    def call(self, maps):
        kernel = tf.reduce_sum(self.kernel, axis=-1)
        return tf.reduce_sum(maps * kernel, axis=[1, 2, 3]) + tf.reduce_sum(self.bias)

    def compute_output_shape(self, input_shape):
        return input_shape[:1]


@keras.saving.register_keras_serializable("coopnets_tf")
class Descriptor(keras.Model):
    """Energy-based model `p(Y; W_D) = exp[f(Y; W_D)] q(Y) / Z(W_D)`, `q = N(0, s^2 I)`.

    Calling it gives the scores f(Y), [batch]: high = likely.

    ```python
    import tensorflow as tf
    from coopnets_tf import Descriptor, Langevin

    descriptor = Descriptor(
        "mnist", (28, 28, 1), revision=Langevin(15, 0.002), reference_stddev=0.016
    )
    images = tf.zeros([4, 28, 28, 1])
    revised, chains = descriptor.revise(images, seed=tf.constant([0, 0]))
    energies = descriptor.energy(revised)  # [4]
    ```

    Args:
      network: a key of `NETWORKS`.
      image_shape: (height, width, channels) of the images.
      revision: `Langevin`; the dynamics of step D1, in pixel units.
      reference_stddev: float; s, pixel units. None or infinite: no reference, the
        energy is -f(Y).
      num_outputs: int; outputs whose sum is f.
      penalty: float; what `energies.energy_penalty` is multiplied with in D2.

    Raises:
      ValueError: on an unknown network, a reference s.d. that is not positive or a
        negative penalty.

    Source: Xie et al., arXiv:1609.09408, Algorithm D.
    """

    def __init__(
        self,
        network,
        image_shape,
        *,
        revision,
        reference_stddev,
        num_outputs=100,
        penalty=0.0,
        name="descriptor",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if network not in NETWORKS:
            raise ValueError(
                f"`network` must be one of {', '.join(NETWORKS)}. "
                f"Received: network={network!r}"
            )
        reference_stddev = math.inf if reference_stddev is None else reference_stddev
        if not reference_stddev > 0:
            raise ValueError(
                "`reference_stddev` must be positive. "
                f"Received: reference_stddev={reference_stddev}"
            )
        if not penalty >= 0:
            raise ValueError(f"`penalty` must be 0 or more. Received: {penalty}")
        self.network = network
        self.image_shape = tuple(image_shape)
        self.revision = revision
        self.reference_stddev = reference_stddev
        self.num_outputs = num_outputs
        self.penalty = penalty
        self.convs = [
            _conv(conv, position) for position, conv in enumerate(NETWORKS[network])
        ]
        self.outputs_sum = SummedOutputs(num_outputs, name="outputs_sum")
        self.build((None, *self.image_shape))

    def build(self, input_shape):
        for layer in (*self.convs, self.outputs_sum):
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        self.built = True

    def call(self, images):
        maps = images
        for conv in self.convs:
            maps = conv(maps)
        return self.outputs_sum(maps)

    def energy(self, images):
        """`E(Y) = ||Y||^2 / (2 s^2) - f(Y)`, [batch]: -log p up to a constant."""
        return energies.descriptor_energy(
            self(images), images, reference_stddev=self.reference_stddev
        )

    def initial(self, num_images, *, chain_init, seed):
        """Images that chains may start from.

        Args:
          num_images: int.
          chain_init: "noise", draws of the reference q; or "uniform", pixels from
            [-1, 1).
          seed: int32 [2], from `seeds.draw_seed`, or [num_images, 2].

        Returns:
          float32 [num_images, height, width, channels].

        Raises:
          ValueError: on another kind, or noise of a reference that there is not.
        """
        shape = [num_images, *self.image_shape]
        if chain_init == "uniform":
            images = seeds.uniform(shape, seed=seed, low=-1, high=1)
        elif chain_init == "noise" and math.isfinite(self.reference_stddev):
            images = self.reference_stddev * seeds.standard_normal(shape, seed=seed)
        else:
            raise ValueError(
                "Chains start from noise of a finite `reference_stddev`, or uniform. "
                f"Received: {chain_init}, reference_stddev={self.reference_stddev}"
            )
        return tf.ensure_shape(images, [None, *self.image_shape])

    def revise(self, images, *, seed, noise_scale=1.0, dynamics=None, fixed=None):
        """D1: Langevin dynamics on images, towards a lower energy.

        Args:
          images: float32 [chains, height, width, channels]; where the chains start.
          seed: int32 [2], from `seeds.draw_seed`, or [chains, 2].
          noise_scale: float or scalar tensor; 0.0 turns the noise off.
          dynamics: `Langevin` instead of `revision`.
          fixed: None, or bool as `images`; pixels that stay what they are.

        Returns:
          The revised images, not clipped, and a `ChainInfo`.
        """
        return langevin_chain(
            self.energy,
            images,
            dynamics or self.revision,
            seed=seed,
            noise_scale=noise_scale,
            fixed=fixed,
        )

    def update(self, observed, revised):
        """D2: one optimizer step from observed and revised images.

        `compile(optimizer=...)` comes first. Only the descriptor's weights change.

        Args:
          observed: float32 [batch, height, width, channels].
          revised: float32 [chains, height, width, channels]; taken as data.

        Returns:
          `energies.descriptor_loss` before the step, a scalar, without the penalty.
        """
        with tf.GradientTape() as tape:
            images = tf.concat([observed, revised], axis=0)
            scores = self(tf.stop_gradient(images))
            number = tf.shape(observed)[0]
            scores = scores[:number], scores[number:]
            loss = minimised = energies.descriptor_loss(*scores)
            if self.penalty:
                minimised += self.penalty * energies.energy_penalty(*scores)
        weights = self.trainable_variables
        gradients = tape.gradient(minimised, [weight.value for weight in weights])
        self.optimizer.apply(gradients, weights)
        return loss

    def get_config(self):
        return {
            **super().get_config(),
            "network": self.network,
            "image_shape": self.image_shape,
            "revision": dataclasses.asdict(self.revision),
            # JSON has no infinity.
            "reference_stddev": self.reference_stddev
            if math.isfinite(self.reference_stddev)
            else None,
            "num_outputs": self.num_outputs,
            "penalty": self.penalty,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "revision": Langevin(**config["revision"])})
