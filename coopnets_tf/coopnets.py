"""Algorithm CoopNets: a descriptor and a generator, each teaching the other."""

from typing import Any

import keras
import tensorflow as tf

from coopnets_tf import replicas, seeds
from coopnets_tf.algorithms import REVISION_METRICS, revision_metrics
from coopnets_tf.descriptor import Descriptor
from coopnets_tf.errors import refuse_below
from coopnets_tf.generator import Generator
from coopnets_tf.image_model import ImageModel
from coopnets_tf.learner import as_batch
from coopnets_tf.seeds import Purpose


@keras.saving.register_keras_serializable("coopnets_tf")
class CoopNets(ImageModel):
    """Algorithm CoopNets: a descriptor and a generator, each teaching the other.

    ```python
    import keras
    import numpy as np
    from coopnets_tf import CoopNets, Descriptor, Generator, Langevin, networks
    from coopnets_tf.data import datasets

    net = networks.descriptor("digits", (8, 8, 1))
    descriptor = Descriptor(net, revision=Langevin(10, 0.002), reference_stddev=0.016)
    net = networks.generator("digits", (8, 8, 1))
    generator = Generator(net, inference=Langevin(0, 0.1), residual_stddev=0.3)
    model = CoopNets(descriptor, generator, num_chains=64)
    model.compile(keras.optimizers.Adam(0.003, 0.5), keras.optimizers.Adam(5e-4, 0.5))
    model.fit(datasets.load("digits")[np.arange(128)], batch_size=64, verbose=0)
    images = model.sample(16, seed=0)
    ```

    Args:
      generator: with Langevin steps of its `inference` it infers the latents of revised
        images (G1).
      num_chains: n~, parallel chains in one training step, whatever the batch size is.
      **kwargs: run_seed and limits of `Learner`, revision_noise_until and
        inference_noise_until of `ImageModel`.

    The metrics are those of `revision_metrics`, and `generator_loss`.
    """

    descriptor: Descriptor
    generator: Generator

    def __init__(
        self,
        descriptor: Descriptor,
        generator: Generator,
        *,
        num_chains: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            descriptor=descriptor,
            generator=generator,
            metrics=("descriptor_loss", "generator_loss", *REVISION_METRICS[1:]),
            **kwargs,
        )
        self.num_chains = num_chains

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One iteration of Algorithm CoopNets on a batch, see `learner.as_batch`.

        Returns:
          The running means of the metrics since they were last reset, by name.
        """
        observed = as_batch(data, self.image_shape)["images"]
        # G0: the generator drafts images from latents of the prior.
        with tf.GradientTape() as tape:
            latents, generated = self.generator.propose(
                replicas.share(self.num_chains),
                seed=self.step_seed(Purpose.LATENTS),
                training=True,
            )
        # D1: the descriptor revises the drafts (Langevin on images).
        revised, info = self.descriptor.revise(
            generated,
            seed=self.step_seed(Purpose.REVISION),
            noise_scale=self.noise_scale(),
        )
        # G1: the generator infers the latents of the revised images (Langevin on
        # latents). Where it makes no step, G2 reuses what G0 computed.
        recorded: Any = generated, tape
        if self.generator.inference.num_steps:
            latents, _ = self.generator.infer(
                latents,
                revised,
                seed=self.step_seed(Purpose.INFERENCE),
                noise_scale=self.inference_noise_scale(),
                training=True,
            )
            recorded = None
        # D2: the descriptor shifts its score from revised to observed images.
        descriptor_loss = self.descriptor.update(observed, revised)
        # G2: the generator learns how the descriptor revised its drafts.
        generator_loss = self.generator.update(latents, revised, recorded=recorded)
        return self.report(
            {
                **revision_metrics(
                    self.descriptor, observed, generated, revised, info, descriptor_loss
                ),
                "generator_loss": generator_loss,
            }
        )

    def shown(
        self, num_images: int, *, seed: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """What a picture of the training shows, by name: drafts, and the same drafts
        revised; and the latents that now belong to them.
        """
        refuse_below(1, num_images=num_images)
        latents, generated = self.generator.propose(num_images, seed=seed)
        revised, _ = self.descriptor.revise(
            generated, seed=seeds.fold_in(seed, 0), noise_scale=self.noise_scale()
        )
        latents, _ = self.generator.infer(
            latents,
            revised,
            seed=seeds.fold_in(seed, 1),
            noise_scale=self.inference_noise_scale(),
        )
        return {"generator": generated, "descriptor": revised}, latents

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_chains": self.num_chains}
