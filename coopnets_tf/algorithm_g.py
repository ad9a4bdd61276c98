"""Algorithm G: a generator alone."""

from typing import Any

import keras
import tensorflow as tf

from coopnets_tf.errors import refuse_below
from coopnets_tf.generator import Generator
from coopnets_tf.models import image_latents
from coopnets_tf.models.batches import as_batch
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.seeds import Purpose


@keras.saving.register_keras_serializable("coopnets_tf")
class AlgorithmG(ImageModel):
    """Algorithm G: a generator alone, by alternating back-propagation.

    ```python
    import keras
    import numpy as np
    from coopnets_tf import AlgorithmG, Generator, Langevin
    from coopnets_tf.data import datasets
    from coopnets_tf.networks import built_in

    net = built_in.generator("digits", (8, 8, 1))
    generator = Generator(net, inference=Langevin(10, 0.1), residual_stddev=0.3)
    model = AlgorithmG(generator, num_images=128)
    model.compile(generator_optimizer=keras.optimizers.Adam(0.001, 0.5))
    numbers = np.arange(128)
    batch = {"images": datasets.load("digits")[numbers], "numbers": numbers}
    model.fit(batch, batch_size=64, verbose=0)
    images = model.sample(16, seed=0)
    ```

    It learns from incomplete images, too: those with `visible` in their batch.

    Args:
      num_images: of the training. The latents of each are kept from one epoch to the
        next: `latents`, float32 [num_images, *latent_shape].
      **kwargs: run_seed and limits of `Learner`, inference_noise_until of
        `ImageLearner`.

    The metrics are `generator_loss`, before G2; `latent_gradient_norm` of the energy
    along the chains of G1; `latent_rms`, root mean square of the inferred latents, 1
    under the prior.

    Source: also Han, Lu, Zhu and Wu, arXiv:1606.08571.
    """

    generator: Generator

    def __init__(self, generator: Generator, *, num_images: int, **kwargs: Any) -> None:
        super().__init__(
            generator=generator,
            metrics=("generator_loss", "latent_gradient_norm", "latent_rms"),
            **kwargs,
        )
        self.num_images = num_images
        self.latents = image_latents.keep(self, num_images, Purpose.LATENTS)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One iteration of Algorithm G. Result as for `CoopNets`.

        `data` is that of `batches.as_batch`, with the images' `numbers`, no two alike.
        """
        batch = as_batch(data, self.image_shape, incomplete=True)
        observed, visible = batch["images"], batch.get("visible")
        # G1: the generator infers the latents of the images (Langevin on latents).
        latents, info = image_latents.infer(self, batch)
        # G2: the generator learns to make the images of these latents.
        generator = self.generator.given(self.labels_of(batch))
        with tf.GradientTape() as tape:
            generated = generator(latents, training=True)
        loss = generator.update(
            latents, observed, visible=visible, recorded=(generated, tape)
        )
        metrics = image_latents.metrics(latents, info)
        return self.report({"generator_loss": loss, **metrics})

    def shown(
        self, num_images: int, *, seed: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Fresh images, and what the first training images' latents are images of.

        Arguments and result as for `CoopNets.shown`.
        """
        refuse_below(1, num_images=num_images)
        generator = self.generator.given(self.labels_in_order(num_images))
        _, generated = generator.propose(num_images, seed=seed)
        latents, reconstructed = image_latents.first(self, num_images)
        return {"generator": generated, "reconstructed": reconstructed}, latents

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_images": self.num_images}
