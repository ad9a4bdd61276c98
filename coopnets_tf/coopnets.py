"""Algorithm CoopNets: a descriptor and a generator, each teaching the other."""

import math
from typing import Any

import keras
import tensorflow as tf

from coopnets_tf import conditional, energies, replicas, seeds
from coopnets_tf.algorithms import REVISION_METRICS, revision_metrics
from coopnets_tf.descriptor import Descriptor
from coopnets_tf.errors import refuse_below
from coopnets_tf.generator import Generator
from coopnets_tf.models import image_latents
from coopnets_tf.models.batches import as_batch
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.seeds import Purpose

DUAL_METRICS = ("reconstruction_loss", "latent_gradient_norm", "latent_rms")


@keras.saving.register_keras_serializable("coopnets_tf")
class CoopNets(ImageModel):
    """Algorithm CoopNets: a descriptor and a generator, each teaching the other.

    ```python
    import keras
    import numpy as np
    from coopnets_tf import CoopNets, Descriptor, Generator, Langevin
    from coopnets_tf.data import datasets
    from coopnets_tf.networks import built_in

    net = built_in.descriptor("digits", (8, 8, 1))
    descriptor = Descriptor(net, revision=Langevin(10, 0.002), reference_stddev=0.016)
    net = built_in.generator("digits", (8, 8, 1))
    generator = Generator(net, inference=Langevin(0, 0.1), residual_stddev=0.3)
    model = CoopNets(descriptor, generator, num_chains=64)
    model.compile(keras.optimizers.Adam(0.003, 0.5), keras.optimizers.Adam(5e-4, 0.5))
    model.fit(datasets.load("digits")[np.arange(128)], batch_size=64, verbose=0)
    images = model.sample(16, seed=0)
    ```

    Args:
      generator: with Langevin steps of its `inference` it infers the latents of revised
        images (G1); in dual teaching those of observed images instead.
      num_chains: n~, parallel chains in one training step, whatever the batch size is.
      data_teaching: w of dual teaching: in G2 the generator learns from observed
        images, too, with w times Algorithm G's loss. 0: from revised drafts alone.
      num_images: of the training, for dual teaching: `latents`, float32 [num_images,
        *latent_shape], are kept from one epoch to the next, and a batch must have the
        images' `numbers`.
      **kwargs: run_seed and limits of `Learner`, revision_noise_until and
        inference_noise_until of `ImageLearner`.

    The metrics are those of `revision_metrics`, and `generator_loss`; in dual teaching
    also `reconstruction_loss`, that of observed images before G2, and those of their
    latents in Algorithm G, `latent_gradient_norm` and `latent_rms`.

    Raises:
      ValueError: on a `data_teaching` that is negative or infinite, or without what it
        needs.

    Dual teaching: Cui and Han, Learning energy-based model via dual-MCMC teaching,
    NeurIPS 2023; here the latents of an image go on where they ended, as in Algorithm
    G, in place of an inference network.
    """

    descriptor: Descriptor
    generator: Generator

    def __init__(
        self,
        descriptor: Descriptor,
        generator: Generator,
        *,
        num_chains: int,
        data_teaching: float = 0.0,
        num_images: int | None = None,
        **kwargs: Any,
    ) -> None:
        metrics = "descriptor_loss", "generator_loss", *REVISION_METRICS[1:]
        super().__init__(
            descriptor=descriptor,
            generator=generator,
            metrics=(*metrics, *DUAL_METRICS) if data_teaching else metrics,
            **kwargs,
        )
        self.num_chains = num_chains
        self.data_teaching = data_teaching
        self.num_images = num_images
        if not 0 <= data_teaching < math.inf:
            raise ValueError(
                f"`data_teaching` must be 0 or a positive number. Received: "
                f"{data_teaching}"
            )
        if data_teaching:
            steps = generator.inference.num_steps
            if not (num_images and steps):
                raise ValueError(
                    "`data_teaching` needs `num_images`, and a generator with Langevin "
                    f"steps. Received: num_images={num_images}, num_steps={steps}"
                )
            self.latents = image_latents.keep(self, num_images, Purpose.IMAGE_LATENTS)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One iteration of Algorithm CoopNets on a batch, see `batches.as_batch`.

        Returns:
          The running means of the metrics since they were last reset, by name.
        """
        batch = as_batch(data, self.image_shape)
        observed, labels = batch["images"], self.labels_of(batch)
        of_chains = conditional.repeated(labels, self.num_chains)
        generator = self.generator.given(of_chains)
        descriptor = self.descriptor.given(of_chains)
        # G0: the generator drafts images from latents of the prior.
        with tf.GradientTape() as tape:
            latents, generated = generator.propose(
                replicas.share(self.num_chains),
                seed=self.step_seed(Purpose.LATENTS),
                training=True,
            )
        # D1: the descriptor revises the drafts (Langevin on images).
        revised, info = descriptor.revise(
            generated,
            seed=self.step_seed(Purpose.REVISION),
            noise_scale=self.revision_noise_scale(),
        )
        # D2: the descriptor shifts its score from revised to observed images. It may
        # come before G1, which looks at the generator alone.
        both = self.descriptor.given(conditional.joined(labels, of_chains))
        descriptor_loss = both.update(
            observed, revised, seed=self.step_seed(Purpose.AUGMENTATION)
        )
        metrics = revision_metrics(
            self.descriptor, observed, generated, revised, info, descriptor_loss
        )
        # G1 and G2: the generator learns.
        recorded = generated, tape
        if self.data_teaching:
            metrics |= self.teach_by_both(latents, revised, batch, recorded=recorded)
        else:
            metrics |= self.teach(generator, latents, revised, recorded=recorded)
        return self.report(metrics)

    def teach(
        self,
        generator: Generator,
        latents: tf.Tensor,
        revised: tf.Tensor,
        *,
        recorded: tuple[tf.Tensor, tf.GradientTape] | None,
    ) -> dict[str, tf.Tensor]:
        """G1 and G2 of CoopNets: the generator learns how its drafts were revised.

        Args:
          generator: given the classes of the chains, where there are any.
          latents: [chains, *latent_shape], of the drafts.
          revised: [chains, *image_shape], the drafts after D1.
          recorded: the drafts, and the tape that saw the generator make them.

        Returns:
          The generator's metrics.
        """
        # G1: the generator infers the latents of the revised images (Langevin on
        # latents). Where it makes no step, G2 reuses what G0 computed.
        if generator.inference.num_steps:
            latents, _ = generator.infer(
                latents,
                revised,
                seed=self.step_seed(Purpose.INFERENCE),
                noise_scale=self.inference_noise_scale(),
                training=True,
            )
            recorded = None
        # G2: the generator learns to make the revised images of these latents.
        loss = generator.update(latents, revised, recorded=recorded)
        return {"generator_loss": loss}

    def teach_by_both(
        self,
        latents: tf.Tensor,
        revised: tf.Tensor,
        batch: dict[str, tf.Tensor],
        *,
        recorded: tuple[tf.Tensor, tf.GradientTape],
    ) -> dict[str, tf.Tensor]:
        """G1 and G2 of dual teaching: the generator learns from observed images, too.

        The drafts keep their latents. Batch norm takes the statistics of drafts and of
        observed images apart, and its averages move by the drafts', which are what
        fresh images have.

        Arguments and result as for `teach`; `batch`: see `batches.as_batch`.
        """
        generated, tape = recorded
        generator = self.generator.given(self.labels_of(batch))
        sigma = self.generator.residual_stddev
        # G1: the generator infers the latents of the observed images.
        inferred, info = image_latents.infer(self, batch)
        # G2: it learns to make the revised images of the drafts' latents, and the
        # observed images of theirs.
        with tape:
            loss = energies.generator_loss(
                tf.stop_gradient(revised), generated, residual_stddev=sigma
            )
            reconstruction_loss = energies.generator_loss(
                batch["images"],
                generator.on_batch(inferred),
                residual_stddev=sigma,
            )
            both = loss + self.data_teaching * reconstruction_loss
        replicas.descend(self.generator, both, tape)
        return {
            "generator_loss": loss,
            "reconstruction_loss": reconstruction_loss,
            **image_latents.metrics(inferred, info),
        }

    def shown(
        self, num_images: int, *, seed: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """What a picture of the training shows, by name: drafts, of the classes in
        order, and the same drafts revised; and the latents that now belong to them. In
        dual teaching also what the first training images' latents are images of, and
        these latents.
        """
        refuse_below(1, num_images=num_images)
        labels = self.labels_in_order(num_images)
        generator = self.generator.given(labels)
        latents, generated = generator.propose(num_images, seed=seed)
        revised, _ = self.descriptor.given(labels).revise(
            generated,
            seed=seeds.fold_in(seed, 0),
            noise_scale=self.revision_noise_scale(),
        )
        images = {"generator": generated, "descriptor": revised}
        if self.data_teaching:
            latents, images["reconstructed"] = image_latents.first(self, num_images)
            return images, latents
        latents, _ = generator.infer(
            latents,
            revised,
            seed=seeds.fold_in(seed, 1),
            noise_scale=self.inference_noise_scale(),
        )
        return images, latents

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_chains": self.num_chains,
            "data_teaching": self.data_teaching,
            "num_images": self.num_images,
        }
