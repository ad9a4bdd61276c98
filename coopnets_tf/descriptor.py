"""The descriptor: a bottom-up ConvNet that is an energy-based model of images."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from coopnets_tf import augmentation, energies, replicas, seeds
from coopnets_tf.conditional import Conditional, Shares
from coopnets_tf.errors import NetworkError
from coopnets_tf.langevin import ChainInfo, Langevin, langevin_chain
from coopnets_tf.networks import built_in, checks, layers, spectral
from coopnets_tf.networks.batch_norm import is_batch_norm
from coopnets_tf.networks.layers import layers_inside


@keras.saving.register_keras_serializable("coopnets_tf")
class Descriptor(Conditional):
    """Energy-based model `p(Y; W_D) = exp[f(Y; W_D)] q(Y) / Z(W_D)`, `q = N(0, s^2 I)`.

    Calling it gives the scores f(Y), [batch]: high = likely.

    ```python
    import tensorflow as tf
    from coopnets_tf import Descriptor, Langevin
    from coopnets_tf.networks import built_in

    net = built_in.descriptor("mnist", (28, 28, 1))
    descriptor = Descriptor(net, revision=Langevin(15, 0.002), reference_stddev=0.016)
    images = tf.zeros([4, 28, 28, 1])
    revised, chains = descriptor.revise(images, seed=tf.constant([0, 0]))
    energies = descriptor.energy(revised)  # [4]
    ```

    Args:
      network: built, as those of `networks.built_in`: images -> scores, or a map of
        outputs, whose sum is f. It is always called with `training=False`; kernels in
        Keras' `SpectralNormalization` are divided after each D2, see `spectral`.
      revision: the dynamics of step D1, in pixel units.
      reference_stddev: s, pixel units. None or infinite: no reference, the energy is
        -f(Y).
      penalty: weight of `energies.energy_penalty` in D2.
      augment: names of `augmentation.WAYS`, in which D2 changes observed and revised
        images alike.
      image_shape: where the network takes any.
      class_shares: see `Conditional`; the network then has two inputs, images and
        classes.

    Raises:
      NetworkError: if the network does not do this.
      ValueError: on a reference s.d. that is not positive, a negative penalty, or an
        unknown name in `augment`.

    Source: Xie et al., arXiv:1609.09408, Algorithm D.
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        revision: Langevin,
        reference_stddev: float | None,
        penalty: float = 0.0,
        augment: Sequence[str] = (),
        image_shape: tuple[int, ...] | None = None,
        class_shares: Shares | None = None,
        name: str = "descriptor",
        **kwargs: Any,
    ) -> None:
        kwargs["class_shares"] = class_shares
        super().__init__(name=name, **{**layers.FLOAT, **kwargs})
        classes = {"num_classes": len(class_shares or [])}
        reference_stddev = math.inf if reference_stddev is None else reference_stddev
        if not reference_stddev > 0:
            raise ValueError(
                "`reference_stddev` must be positive. "
                f"Received: reference_stddev={reference_stddev}"
            )
        if not penalty >= 0:
            raise ValueError(f"`penalty` must be 0 or more. Received: {penalty}")
        if unknown := set(augment) - set(augmentation.WAYS):
            raise ValueError(
                f"`augment` must be some of {', '.join(augmentation.WAYS)}. Received: "
                f"{', '.join(sorted(unknown))}"
            )
        self.image_shape = checks.shape_of_input(
            network, image_shape, "image_shape", **classes
        )
        if augment and len(self.image_shape) < 3:
            raise ValueError(
                "`augment` is for images with height, width and channels. Received: "
                f"images of shape {list(self.image_shape)}"
            )
        self.network = network
        self.revision = revision
        self.reference_stddev = reference_stddev
        self.penalty = penalty
        self.augment = tuple(augment)
        if norms := [one.name for one in layers_inside(network) if is_batch_norm(one)]:
            raise NetworkError(
                f"Network {network.name} has batch norm ({', '.join(norms)}), which "
                "would couple the chains of a descriptor. Take LayerNormalization or "
                "GroupNormalization."
            )
        checks.outputs_of(
            network, self.image_shape, "scores or maps of scores", **classes
        )
        self.built = True

    def call(self, images: tf.Tensor) -> tf.Tensor:
        outputs = tf.cast(self.network(self.fed(images), training=False), tf.float32)
        rank = outputs.shape.rank
        return tf.reduce_sum(outputs, axis=range(1, rank)) if rank > 1 else outputs

    def energy(self, images: tf.Tensor) -> tf.Tensor:
        """`E(Y) = ||Y||^2 / (2 s^2) - f(Y)`, [batch]: -log p up to a constant."""
        return energies.descriptor_energy(
            self(images), images, reference_stddev=self.reference_stddev
        )

    def initial(
        self, num_images: int, *, chain_init: str, seed: tf.Tensor
    ) -> tf.Tensor:
        """Images that chains may start from, float32 [num_images, *image_shape].

        Args:
          chain_init: "noise", draws of the reference q; or "uniform", pixels from
            [-1, 1).
          seed: int32 [2], or [num_images, 2].

        Raises:
          ValueError: on another kind, or noise without a reference.
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

    def revise(
        self,
        images: tf.Tensor,
        *,
        seed: tf.Tensor,
        noise_scale: float | tf.Tensor = 1.0,
        dynamics: Langevin | None = None,
        fixed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, ChainInfo]:
        """D1: Langevin dynamics on images, towards a lower energy.

        Args:
          images: float32 [chains, *image_shape]; where the chains start.
          seed: int32 [2], or [chains, 2].
          noise_scale: 0.0 turns the noise off.
          dynamics: replaces `revision`.
          fixed: bool, as `images`; pixels that stay as they are.

        Returns:
          The revised images, not clipped, and what the chains met.
        """
        return langevin_chain(
            self.energy,
            images,
            dynamics or self.revision,
            seed=seed,
            noise_scale=noise_scale,
            fixed=fixed,
        )

    def update(
        self,
        observed: tf.Tensor,
        revised: tf.Tensor,
        *,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """D2: one step of the optimizer of `compile`, on the descriptor's weights only.

        Args:
          observed: float32 [batch, *image_shape].
          revised: float32 [chains, *image_shape]; taken as data. Classes are `given` in
            this order.
          seed: int32 [2], of how `augment` changes both.

        Returns:
          `energies.descriptor_loss` before the step, a scalar, without the penalty.
        """
        if self.augment:
            observed, revised = self._augmented(observed, revised, seed)
        with tf.GradientTape() as tape:
            images = tf.concat([observed, revised], axis=0)
            scores = self(tf.stop_gradient(images))
            number = tf.shape(observed)[0]
            scores = scores[:number], scores[number:]
            loss = minimised = energies.descriptor_loss(*scores)
            if self.penalty:
                minimised += self.penalty * energies.energy_penalty(*scores)
        replicas.descend(self, minimised, tape)
        self.divide()
        return loss

    def divide(self, *, rounds: int = 1) -> None:
        """Divides the kernels in Keras' `SpectralNormalization`, see `spectral`."""
        spectral.divide(spectral.wrapped_in(self.network), rounds=rounds)

    def _augmented(self, observed, revised, seed):
        if seed is None:
            raise ValueError("`augment` needs the `seed` of this step. Received: None")
        return (
            augmentation.augmented(images, self.augment, seed=seeds.fold_in(seed, side))
            for side, images in enumerate((observed, revised))
        )

    def get_config(self) -> dict[str, Any]:
        finite = math.isfinite(self.reference_stddev)
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "revision": dataclasses.asdict(self.revision),
            # JSON has no infinity.
            "reference_stddev": self.reference_stddev if finite else None,
            "penalty": self.penalty,
            "augment": self.augment,
            "image_shape": self.image_shape,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Descriptor":
        network = config["network"]
        if isinstance(network, str):  # of version 0.1
            shape, number = config["image_shape"], config.pop("num_outputs")
            network = built_in.descriptor(network, shape, num_outputs=number)
        else:
            network = keras.saving.deserialize_keras_object(network)
        revision = Langevin(**config["revision"])
        return cls(**{**config, "network": network, "revision": revision})
