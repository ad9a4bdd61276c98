"""The generator: a top-down ConvNet that turns latents into images."""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from coopnets_tf import energies, replicas, seeds
from coopnets_tf.conditional import Conditional, Shares
from coopnets_tf.langevin import ChainInfo, Langevin, langevin_chain
from coopnets_tf.networks import built_in, checks, layers
from coopnets_tf.networks.batch_norm import Statistics
from coopnets_tf.seeds import Integer


@keras.saving.register_keras_serializable("coopnets_tf")
class Generator(Conditional):
    """Non-linear factor analysis `Y = g(X; W_G) + eps`, `X ~ N(0, I)`,
    `eps ~ N(0, sigma^2 I)`.

    Calling it gives images g(X). With `training=True` batch norm uses the statistics of
    the batch, so that an image depends on its batch mates, and its moving averages
    move; otherwise it uses the averages (see `frozen`).

    ```python
    import tensorflow as tf
    from coopnets_tf import Generator, Langevin
    from coopnets_tf.networks import built_in

    net = built_in.generator("mnist", (28, 28, 1))
    generator = Generator(net, inference=Langevin(10, 0.1), residual_stddev=0.3)
    latents, drafts = generator.propose(4, seed=tf.constant([0, 0]))
    inferred, chains = generator.infer(latents, drafts, seed=tf.constant([0, 1]))
    ```

    Args:
      network: built, as those of `networks.built_in`: latents -> images in [-1, 1].
      inference: the dynamics of step G1, in the unit of the latents.
      residual_stddev: sigma, pixel units.
      latent_shape: of the latents of one image, where the network takes any.
      class_shares: see `Conditional`; the network then has two inputs, latents and
        classes.

    `image_shape` is the shape of one image.

    Raises:
      NetworkError: if the network does not do this.
      ValueError: on a residual s.d. that is not positive.

    Source: Xie et al., arXiv:1609.09408, Algorithm G (alternating back-propagation).
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        inference: Langevin,
        residual_stddev: float,
        latent_shape: tuple[int, ...] | None = None,
        class_shares: Shares | None = None,
        name: str = "generator",
        **kwargs: Any,
    ) -> None:
        kwargs["class_shares"] = class_shares
        super().__init__(name=name, **{**layers.FLOAT, **kwargs})
        classes = {"num_classes": len(class_shares or [])}
        if not residual_stddev > 0:
            raise ValueError(
                "`residual_stddev` must be positive. "
                f"Received: residual_stddev={residual_stddev}"
            )
        self.latent_shape = checks.shape_of_input(
            network, latent_shape, "latent_shape", **classes
        )
        self.network = network
        self.inference = inference
        self.residual_stddev = residual_stddev
        self.statistics = Statistics(network)
        images = checks.outputs_of(network, self.latent_shape, "images", **classes)
        self.image_shape = tuple(images.shape[1:])
        self.built = True

    def call(self, latents: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.cast(self.network(self.fed(latents), training=training), tf.float32)

    def on_batch(self, latents: tf.Tensor) -> tf.Tensor:
        """g with the statistics of the batch, as in training, but no average moves."""
        images, _ = self.network.stateless_call(
            [weight.value for weight in self.network.trainable_variables],
            [state.value for state in self.network.non_trainable_variables],
            self.fed(latents),
            training=True,
        )
        return tf.cast(images, tf.float32)

    def propose(
        self, num_images: Integer, *, seed: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """G0: latents from their prior, [num_images, *latent_shape], and their images,
        drafts.

        Args:
          seed: int32 [2], or [num_images, 2].
          training: batch statistics, and the moving averages move.
        """
        latents = seeds.standard_normal([num_images, *self.latent_shape], seed=seed)
        latents.set_shape([None, *self.latent_shape])
        return latents, self(latents, training=training)

    def infer(
        self,
        latents: tf.Tensor,
        images: tf.Tensor,
        *,
        seed: tf.Tensor,
        noise_scale: float | tf.Tensor = 1.0,
        training: bool = False,
        dynamics: Langevin | None = None,
        visible: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, ChainInfo]:
        """G1: Langevin dynamics on latents, towards the posterior given the images.

        With `training=True` g uses the statistics of this batch, as in G0 and G2: the g
        that is inverted is the g that is learned, at the price that batch norm couples
        the chains. On frozen statistics the chains are independent.

        Args:
          latents: float32 [chains, *latent_shape]; where the chains start.
          images: float32 [chains, *image_shape]; what they explain.
          seed: int32 [2], or [chains, 2].
          noise_scale: 0.0 turns the noise off.
          training: batch statistics. The moving averages never move.
          dynamics: replaces `inference`.
          visible: as `images`; 1 for pixels to explain, 0 for unknown ones.

        Returns:
          The inferred latents, and what the chains met.
        """
        generate = self.on_batch if training else self

        def energy(latents):
            return energies.latent_energy(
                latents,
                images,
                generate(latents),
                residual_stddev=self.residual_stddev,
                visible=visible,
            )

        return langevin_chain(
            energy,
            latents,
            dynamics or self.inference,
            seed=seed,
            noise_scale=noise_scale,
        )

    def update(
        self,
        latents: tf.Tensor,
        images: tf.Tensor,
        *,
        visible: tf.Tensor | None = None,
        recorded: tuple[tf.Tensor, tf.GradientTape] | None = None,
    ) -> tf.Tensor:
        """G2: one step of the optimizer of `compile`: the regression of images on
        latents.

        Args:
          latents: float32 [chains, *latent_shape].
          images: float32 [chains, *image_shape]; taken as data.
          visible: as `images`; 1 for pixels to learn from, 0 for unknown ones.
          recorded: g(latents) and the tape that saw it, where the caller has both
            already; saves a pass through the network.

        Returns:
          `energies.generator_loss` before the step, a scalar.
        """
        if recorded is None:
            with tf.GradientTape() as tape:
                generated = self.on_batch(latents)
        else:
            generated, tape = recorded
        with tape:
            loss = energies.generator_loss(
                tf.stop_gradient(images),
                generated,
                residual_stddev=self.residual_stddev,
                visible=visible,
            )
        replicas.descend(self, loss, tape)
        return loss

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "inference": dataclasses.asdict(self.inference),
            "residual_stddev": self.residual_stddev,
            "latent_shape": self.latent_shape,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Generator":
        network = config["network"]
        if isinstance(network, str):  # of version 0.1
            config["latent_shape"] = (config.pop("latent_size"),)
            network = built_in.generator(
                network, config.pop("image_shape"), config["latent_shape"]
            )
        else:
            network = keras.saving.deserialize_keras_object(network)
        inference = Langevin(**config["inference"])
        return cls(**{**config, "network": network, "inference": inference})
