"""The generator: a top-down ConvNet that turns latent vectors into images."""

import contextlib
import dataclasses
from typing import NamedTuple

import keras
import tensorflow as tf

from coopnets_tf import energies, seeds
from coopnets_tf.convolutions import ConvTranspose, leaky_relu
from coopnets_tf.langevin import Langevin, langevin_chain


class Deconv(NamedTuple):
    """One transposed convolution. The first one of a network makes the smallest map
    out of the latent vector; the size of its kernel is the size of that map.
    """

    size: int | None
    strides: int
    filters: int | None  # None: the channels of the images


# From the latent vector down to the image. All but the last: batch norm, leaky ReLU.
NETWORKS = {
    "digits": [Deconv(None, 1, 256), Deconv(3, 1, 128), Deconv(4, 2, None)],
    "mnist": [
        Deconv(None, 1, 512),
        Deconv(4, 2, 256),
        Deconv(4, 2, 128),
        Deconv(4, 2, None),
    ],
    "cifar": [
        Deconv(None, 1, 256),
        Deconv(5, 2, 128),
        Deconv(5, 2, 64),
        Deconv(5, 2, None),
    ],
    "scene": [
        Deconv(None, 1, 512),
        Deconv(5, 2, 256),
        Deconv(5, 2, 128),
        Deconv(5, 2, 64),
        Deconv(5, 2, None),
    ],
}
KERNEL_STDDEV = 0.005


class BatchNorm(keras.layers.Layer):
    """Batch normalisation with a shift and no scale, as in the official code.

    Args:
      momentum: float; of the moving averages.
      epsilon: float; added to the variance.
    """

    def __init__(self, momentum=0.999, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape):
        shape = input_shape[-1:]
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=shape, initializer="zeros", trainable=False
        )
        self.moving_variance = self.add_weight(
            name="moving_variance", shape=shape, initializer="ones", trainable=False
        )

    def call(self, maps, training=False, move_averages=True):
        """Normalises [batch, height, width, channels] over all axes but the last.

        `training` takes the statistics of this batch instead of the moving averages;
        `move_averages` then also moves the averages towards them.
        """
        if not training:
            mean, variance = self.moving_mean, self.moving_variance
            return tf.nn.batch_normalization(
                maps, mean, variance, self.beta, None, self.epsilon
            )
        # Half the time of the same formula out of single operations. Its variance is
        # the unbiased one, while the maps are divided by the biased one.
        batch = tf.raw_ops.FusedBatchNormV3(
            x=maps,
            scale=tf.ones_like(self.beta),
            offset=self.beta,
            mean=[],
            variance=[],
            epsilon=self.epsilon,
        )
        if move_averages:
            self._move(self.moving_mean, batch.batch_mean)
            self._move(self.moving_variance, batch.batch_variance)
        return batch.y

    def _move(self, average, value):
        average.assign_add((1 - self.momentum) * (value - average))


def map_sizes(image_size, networks_strides):
    """Sizes of a network's maps from the first to the image: each is the next one
    divided by that layer's stride, rounded up.
    """
    sizes = [image_size]
    for strides in reversed(networks_strides[1:]):
        sizes.insert(0, tuple(-(-length // strides) for length in sizes[0]))
    return sizes


@keras.saving.register_keras_serializable("coopnets_tf")
class Generator(keras.Model):
    """Non-linear factor analysis `Y = g(X; W_G) + eps`, `X ~ N(0, I)`,
    `eps ~ N(0, sigma^2 I)`.

    Calling it gives images g(X) in [-1, 1]. With `training=True` batch norm uses the
    batch's own statistics, so that an image depends on its batch mates; otherwise the
    moving averages (see `exact_statistics`).

    ```python
    import tensorflow as tf
    from coopnets_tf import Generator, Langevin

    generator = Generator(
        "mnist", (28, 28, 1), inference=Langevin(10, 0.1), residual_stddev=0.3
    )
    latents, drafts = generator.propose(4, seed=tf.constant([0, 0]))
    inferred, chains = generator.infer(latents, drafts, seed=tf.constant([0, 1]))
    ```

    Args:
      network: a key of `NETWORKS`.
      image_shape: (height, width, channels) of the images.
      inference: `Langevin`; the dynamics of step G1, in the unit of the latents.
      residual_stddev: float; sigma, pixel units.
      latent_size: int; d, length of a latent vector.

    Raises:
      ValueError: on an unknown network or a residual s.d. that is not positive.

    Source: Xie et al., arXiv:1609.09408, Algorithm G (alternating back-propagation).
    """

    def __init__(
        self,
        network,
        image_shape,
        *,
        inference,
        residual_stddev,
        latent_size=100,
        name="generator",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if network not in NETWORKS:
            raise ValueError(
                f"`network` must be one of {', '.join(NETWORKS)}. "
                f"Received: network={network!r}"
            )
        if not residual_stddev > 0:
            raise ValueError(
                "`residual_stddev` must be positive. "
                f"Received: residual_stddev={residual_stddev}"
            )
        self.network = network
        self.image_shape = tuple(image_shape)
        self.inference = inference
        self.residual_stddev = residual_stddev
        self.latent_size = latent_size
        table = NETWORKS[network]
        sizes = map_sizes(self.image_shape[:2], [deconv.strides for deconv in table])
        self.deconvs = [
            ConvTranspose(
                deconv.filters or self.image_shape[2],
                (deconv.size, deconv.size) if deconv.size else size,
                deconv.strides,
                size,
                padding="same" if deconv.size else "valid",
                stddev=KERNEL_STDDEV,
                name=f"deconv_{position}",
            )
            for position, (deconv, size) in enumerate(zip(table, sizes, strict=True))
        ]
        self.norms = [
            BatchNorm(name=f"norm_{position}") for position in range(len(table) - 1)
        ]
        self.build((None, latent_size))

    def build(self, input_shape):
        input_shape = (None, 1, 1, input_shape[-1])
        for position, deconv in enumerate(self.deconvs):
            deconv.build(input_shape)
            input_shape = deconv.compute_output_shape(input_shape)
            if position < len(self.norms):
                self.norms[position].build(input_shape)
        self.built = True

    def call(self, latents, training=False, move_averages=True):
        maps = latents[:, None, None, :]
        for deconv, norm in zip(self.deconvs, self.norms, strict=False):
            maps = norm(deconv(maps), training=training, move_averages=move_averages)
            maps = leaky_relu(maps)
        return tf.tanh(self.deconvs[-1](maps))

    def propose(self, num_images, *, seed, training=False):
        """G0: draws latents from their prior and turns them into drafts.

        Args:
          num_images: int.
          seed: int32 [2], from `seeds.draw_seed`, or [num_images, 2].
          training: bool; batch statistics, and the moving averages move.

        Returns:
          latents [num_images, latent_size]; drafts, images in [-1, 1].
        """
        latents = seeds.standard_normal([num_images, self.latent_size], seed=seed)
        latents = tf.ensure_shape(latents, [None, self.latent_size])
        return latents, self(latents, training=training)

    def infer(
        self,
        latents,
        images,
        *,
        seed,
        noise_scale=1.0,
        training=False,
        dynamics=None,
        visible=None,
    ):
        """G1: Langevin dynamics on latents, towards the posterior given the images.

        With `training=True` g uses the statistics of this batch, as in G0 and G2: the g
        that is inverted is the g that is learned, at the price that batch norm couples
        the chains. On frozen statistics each chain is on its own.

        Args:
          latents: float32 [chains, latent_size]; where the chains start.
          images: float32 [chains, height, width, channels]; what they explain.
          seed: int32 [2], from `seeds.draw_seed`, or [chains, 2].
          noise_scale: float or scalar tensor; 0.0 turns the noise off.
          training: bool; batch statistics. The moving averages stay in any case.
          dynamics: `Langevin` instead of `inference`.
          visible: None, or as `images`; 1 for pixels to explain, 0 for unknown ones.

        Returns:
          The inferred latents and a `ChainInfo`.
        """

        def energy(latents):
            return energies.latent_energy(
                latents,
                images,
                self(latents, training=training, move_averages=False),
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

    def update(self, latents, images, *, visible=None, recorded=None):
        """G2: one optimizer step that regresses images on latents.

        `compile(optimizer=...)` comes first. Only the generator's weights change.

        Args:
          latents: float32 [chains, latent_size].
          images: float32 [chains, height, width, channels]; taken as data.
          visible: None, or as `images`; 1 for pixels to learn from, 0 for unknown ones.
          recorded: None, or g(latents) and the `tf.GradientTape` that saw it, where
            the caller already has both; saves a pass through the network.

        Returns:
          `energies.generator_loss` before the step, a scalar.
        """
        if recorded is None:
            with tf.GradientTape() as tape:
                generated = self(latents, training=True, move_averages=False)
        else:
            generated, tape = recorded
        with tape:
            loss = energies.generator_loss(
                tf.stop_gradient(images),
                generated,
                residual_stddev=self.residual_stddev,
                visible=visible,
            )
        weights = self.trainable_variables
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        self.optimizer.apply(gradients, weights)
        return loss

    def get_config(self):
        return {
            **super().get_config(),
            "network": self.network,
            "image_shape": self.image_shape,
            "inference": dataclasses.asdict(self.inference),
            "residual_stddev": self.residual_stddev,
            "latent_size": self.latent_size,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "inference": Langevin(**config["inference"])})


@contextlib.contextmanager
def exact_statistics(generator, *, seed, num_latents=1024, batch_size=128):
    """Inside this context batch norm's averages are those of the present weights.

    On leaving, the moving averages are back: looking changes no training. Arguments as
    for `measure_statistics`.

    ```python
    import tensorflow as tf
    from coopnets_tf import Generator, Langevin, exact_statistics

    generator = Generator(
        "digits", (8, 8, 1), inference=Langevin(0, 0.1), residual_stddev=0.3
    )
    with exact_statistics(generator, seed=tf.constant([0, 0])):
        images = generator(tf.random.normal([4, 100]))
    ```
    """
    kept = [norm.get_weights() for norm in generator.norms]
    try:
        measure_statistics(
            generator, seed=seed, num_latents=num_latents, batch_size=batch_size
        )
        yield generator
    finally:
        for norm, weights in zip(generator.norms, kept, strict=True):
            norm.set_weights(weights)


def measure_statistics(generator, *, seed, num_latents=1024, batch_size=128):
    """Gives batch norm the statistics of the present weights instead of averages.

    They are measured layer by layer over latents from the prior, each layer on top of
    exactly normalised ones, so that an image no longer depends on its batch mates.

    Args:
      generator: `Generator`.
      seed: int32 [2]; of the latents.
      num_latents: int; how many are averaged, rounded up to whole batches.
      batch_size: int; how many pass the network at a time.
    """
    for depth in range(len(generator.norms)):
        _measure_layer(generator, depth, seed, num_latents, batch_size)


def _measure_layer(generator, depth, seed, num_latents, batch_size):
    means, squares = [], []
    for start in range(0, num_latents, batch_size):
        shape = [batch_size, generator.latent_size]
        latents = seeds.standard_normal(shape, seed=seeds.fold_in(seed, start))
        maps = latents[:, None, None, :]
        for deconv, norm in zip(
            generator.deconvs[:depth], generator.norms[:depth], strict=True
        ):
            maps = leaky_relu(norm(deconv(maps)))
        maps = generator.deconvs[depth](maps)
        if not means:
            shift = tf.reduce_mean(maps, axis=[0, 1, 2])
        maps -= shift  # near the mean, a difference of squares keeps its digits
        means.append(tf.reduce_mean(maps, axis=[0, 1, 2]))
        squares.append(tf.reduce_mean(tf.square(maps), axis=[0, 1, 2]))
    mean = tf.reduce_mean(means, axis=0)
    variance = tf.reduce_mean(squares, axis=0) - tf.square(mean)
    generator.norms[depth].moving_mean.assign(mean + shift)
    generator.norms[depth].moving_variance.assign(tf.maximum(variance, 0.0))
