"""The paper's three algorithms: each is the order in which the nets take their steps.

step   what happens                                  D     G     CoopNets
G0     the generator drafts images                               x
D1     the descriptor revises images                 (a)         of G0
G1     the generator infers latents of images              (b)   (c)
D2     the descriptor learns: observed - revised     x           x
G2     the generator learns: images given latents          x     x

(a) from noise, observed images, or where the chains ended before
(b) of observed images, from where their latents ended before
(c) of revised images, from the latents of their drafts; without Langevin steps these
    latents are taken as they are, which is MCMC teaching

All else is shared: `ImageModel` is what one asks of nets, `Learner` what a training is.

paper        code        meaning
Y            observed    real images, [batch, *image_shape] in [-1, 1]
X^           latents     drawn from N(0, I), [chains, *latent_shape]
Y^ = g(X^)   generated   the generator's drafts
Y~           revised     images after the descriptor's Langevin steps
X~           latents     after the generator's Langevin steps
f(Y)         scores      [batch], the sum of the descriptor's outputs

Source: Xie et al., arXiv:1609.09408.
"""

import math

import keras
import tensorflow as tf

from coopnets_tf import energies, seeds
from coopnets_tf.errors import DatasetError
from coopnets_tf.image_model import ImageModel
from coopnets_tf.learner import as_batch
from coopnets_tf.seeds import Purpose, draw_seed

CHAIN_INITS = ("noise", "uniform", "data", "persistent")
REVISION_METRICS = (
    "descriptor_loss",
    "energy_gap",
    "gradient_norm",
    "displacement",
    "saturation",
)


@keras.saving.register_keras_serializable("coopnets_tf")
class AlgorithmD(ImageModel):
    """Algorithm D: a descriptor alone.

    ```python
    import keras
    import numpy as np
    from coopnets_tf import AlgorithmD, Descriptor, Langevin, networks
    from coopnets_tf.data import datasets

    descriptor = Descriptor(
        networks.descriptor("digits", (8, 8, 1)),
        revision=Langevin(10, 0.002),
        reference_stddev=0.016,
    )
    model = AlgorithmD(descriptor, num_chains=64, chain_init="noise")
    model.compile(keras.optimizers.Adam(0.001, 0.5))
    model.fit(datasets.load("digits")[np.arange(128)], batch_size=64, verbose=0)
    images = model.sample(16, seed=0)
    ```

    Args:
      descriptor: `Descriptor`.
      num_chains: int; n~, parallel chains in one training step.
      chain_init: where D1 starts. "noise": draws of the reference q; "uniform": pixels
        from [-1, 1); "data": the observed images (contrastive divergence; they are
        repeated where there are more chains); "persistent": where it ended before.
      num_persistent_chains: int; persistent chains that are kept, of which each step
        moves `num_chains`, drawn at random.
      refresh_probability: float in [0, 1]; a persistent chain that is to move starts
        anew with this probability, from noise, or uniform without a reference.
      run_seed, limits: see `Learner`.
      **kwargs: revision_noise_until of `ImageModel`.

    The metrics are those of `revision_metrics`.

    Raises:
      ValueError: on another `chain_init`, fewer persistent chains than one step moves,
        a refresh probability outside [0, 1], or noise of a reference that there is not.

    Sources: Xie, Lu, Zhu and Wu, arXiv:1602.03264; many persistent chains that are
    refreshed: Du and Mordatch, arXiv:1903.08689; uniform starts without a reference:
    Nijkamp et al., arXiv:1904.09770.
    """

    def __init__(
        self,
        descriptor,
        *,
        num_chains,
        chain_init,
        num_persistent_chains=1_000,
        refresh_probability=0.0,
        run_seed=0,
        limits=None,
        **kwargs,
    ):
        super().__init__(
            descriptor=descriptor,
            metrics=REVISION_METRICS,
            run_seed=run_seed,
            limits=limits,
            **kwargs,
        )
        self.num_chains = num_chains
        self.chain_init = chain_init
        self.num_persistent_chains = num_persistent_chains
        self.refresh_probability = refresh_probability
        self._refuse_impossible_chains()
        finite = math.isfinite(descriptor.reference_stddev)
        self._noise = "noise" if finite and chain_init != "uniform" else "uniform"
        if chain_init == "persistent":
            seed = draw_seed(run_seed, step=0, purpose=Purpose.CHAINS)
            begin = descriptor.initial(
                num_persistent_chains, chain_init=self._noise, seed=seed
            )
            self.chains = self.keep("chains", begin)

    def _refuse_impossible_chains(self):
        if self.chain_init not in CHAIN_INITS:
            raise ValueError(
                f"`chain_init` must be one of {', '.join(CHAIN_INITS)}. "
                f"Received: chain_init={self.chain_init!r}"
            )
        if not 0 <= self.refresh_probability <= 1:
            raise ValueError(
                "`refresh_probability` must be in [0, 1]. "
                f"Received: refresh_probability={self.refresh_probability}"
            )
        stddev = self.descriptor.reference_stddev
        if self.chain_init == "noise" and not math.isfinite(stddev):
            raise ValueError(
                "`chain_init` noise needs a finite reference. "
                f"Received: reference_stddev={stddev}"
            )
        fewer = self.num_persistent_chains < self.num_chains
        if self.chain_init == "persistent" and fewer:
            raise ValueError(
                "`num_persistent_chains` must be `num_chains` or more. Received: "
                f"num_persistent_chains={self.num_persistent_chains}, "
                f"num_chains={self.num_chains}"
            )

    def train_step(self, data):
        """One iteration of Algorithm D. Arguments and result as for `CoopNets`."""
        observed = as_batch(data, self.image_shape)["images"]
        # Chains start from noise, observed images, or where they ended before.
        start, places = self._start_training(observed, self.step_seed(Purpose.CHAINS))
        # D1: the descriptor revises images (Langevin on images).
        revised, info = self.descriptor.revise(
            start, seed=self.step_seed(Purpose.REVISION), noise_scale=self.noise_scale()
        )
        if self.chain_init == "persistent":
            self.chains.scatter_update(tf.IndexedSlices(revised, places))
        # D2: the descriptor shifts its score from revised to observed images.
        loss = self.descriptor.update(observed, revised)
        return self.report(
            revision_metrics(self.descriptor, observed, start, revised, info, loss)
        )

    def _start_training(self, observed, seed):
        """Where the chains of a step start; the places of those that persist."""
        if self.chain_init == "data":
            repeated = tf.range(self.num_chains) % tf.shape(observed)[0]
            return tf.gather(observed, repeated), None
        if self.chain_init != "persistent":
            return self._initial(seed), None
        places = tf.random.experimental.stateless_shuffle(
            tf.range(self.num_persistent_chains), seeds.fold_in(seed, 1)
        )[: self.num_chains]
        kept = tf.gather(self.chains, places)
        if not self.refresh_probability:
            return kept, places
        shape = [self.num_chains, *[1] * len(self.image_shape)]
        draws = seeds.uniform(shape, seed=seeds.fold_in(seed, 2), low=0, high=1)
        refreshed = draws < self.refresh_probability
        return tf.where(refreshed, self._initial(seed), kept), places

    def _initial(self, seed):
        return self.descriptor.initial(
            self.num_chains, chain_init=self._noise, seed=seeds.fold_in(seed, 0)
        )

    @property
    def num_independent(self):
        persistent = self.chain_init == "persistent"
        return self.num_persistent_chains if persistent else None

    def start(self, num_images, *, seed, first=None):
        """Where D1 begins on fresh images: at the persistent chains in random order,
        from the front again after the last, else as in training; noise stands in for
        observed images. As `ImageModel.start`.
        """
        if self.chain_init != "persistent":
            seed = self._start_seed(num_images, seed, first)
            return self.descriptor.initial(
                num_images, chain_init=self._noise, seed=seed
            )
        order = tf.random.experimental.stateless_shuffle(
            tf.range(self.num_persistent_chains), seed
        )
        numbers = tf.range(num_images) + (0 if first is None else first)
        places = tf.gather(order, numbers % self.num_persistent_chains)
        images = tf.gather(self.chains, places)
        return tf.ensure_shape(images, [None, *self.image_shape])

    def shown(self, num_images, *, seed):
        """Fresh images. Arguments and result as for `CoopNets.shown`."""
        revised, _ = self.descriptor.revise(
            self.start(num_images, seed=seed),
            seed=seeds.fold_in(seed, 0),
            noise_scale=self.noise_scale(),
        )
        return {"descriptor": revised}, None

    def get_config(self):
        return {
            **super().get_config(),
            "num_chains": self.num_chains,
            "chain_init": self.chain_init,
            "num_persistent_chains": self.num_persistent_chains,
            "refresh_probability": self.refresh_probability,
        }


@keras.saving.register_keras_serializable("coopnets_tf")
class AlgorithmG(ImageModel):
    """Algorithm G: a generator alone, by alternating back-propagation.

    ```python
    import keras
    import numpy as np
    from coopnets_tf import AlgorithmG, Generator, Langevin, networks
    from coopnets_tf.data import datasets

    generator = Generator(
        networks.generator("digits", (8, 8, 1)),
        inference=Langevin(10, 0.1),
        residual_stddev=0.3,
    )
    model = AlgorithmG(generator, num_images=128)
    model.compile(generator_optimizer=keras.optimizers.Adam(0.001, 0.5))
    numbers = np.arange(128)
    batch = {"images": datasets.load("digits")[numbers], "numbers": numbers}
    model.fit(batch, batch_size=64, verbose=0)
    images = model.sample(16, seed=0)
    ```

    It learns from incomplete images, too: those with `visible` in their batch.

    Args:
      generator: `Generator`.
      num_images: int; training images. Each has a latent vector of its own, which is
        kept from one epoch to the next: `latents`, float32 [num_images, *latent_shape].
      run_seed, limits: see `Learner`.
      **kwargs: inference_noise_until of `ImageModel`.

    The metrics are `generator_loss`, before G2; `latent_gradient_norm` of the energy
    along the chains of G1; `latent_rms`, root mean square of the inferred latents, 1
    under the prior.

    Source: also Han, Lu, Zhu and Wu, arXiv:1606.08571.
    """

    def __init__(self, generator, *, num_images, run_seed=0, limits=None, **kwargs):
        super().__init__(
            generator=generator,
            metrics=("generator_loss", "latent_gradient_norm", "latent_rms"),
            run_seed=run_seed,
            limits=limits,
            **kwargs,
        )
        self.num_images = num_images
        seed = draw_seed(run_seed, step=0, purpose=Purpose.LATENTS)
        shape = [num_images, *generator.latent_shape]
        self.latents = self.keep("latents", seeds.standard_normal(shape, seed=seed))

    def train_step(self, data):
        """One iteration of Algorithm G.

        Args:
          data: see `learner.as_batch`; with the images' `numbers`, no two alike.

        Returns:
          The running means of the metrics since they were last reset, by name.
        """
        batch = as_batch(data, self.image_shape)
        if "numbers" not in batch:
            raise DatasetError(
                "Algorithm G learns from batches {images, numbers}, where an image's "
                "number says which latents are its own. Received: "
                f"{', '.join(batch)} alone."
            )
        observed, visible = batch["images"], batch.get("visible")
        numbers = tf.reshape(batch["numbers"], [-1])
        # G1: the generator infers the latents of the images (Langevin on latents).
        latents, info = self.generator.infer(
            tf.gather(self.latents, numbers),
            observed,
            seed=self.step_seed(Purpose.INFERENCE),
            noise_scale=self.inference_noise_scale(),
            training=True,
            visible=visible,
        )
        self.latents.scatter_update(tf.IndexedSlices(latents, numbers))
        # G2: the generator learns to make the images of these latents.
        with tf.GradientTape() as tape:
            generated = self.generator(latents, training=True)
        loss = self.generator.update(
            latents, observed, visible=visible, recorded=(generated, tape)
        )
        return self.report(
            {
                "generator_loss": loss,
                "latent_gradient_norm": tf.reduce_mean(info.gradient_norm),
                "latent_rms": tf.sqrt(tf.reduce_mean(tf.square(latents))),
            }
        )

    def shown(self, num_images, *, seed):
        """Fresh images, and what the first training images' latents are images of.

        Arguments and result as for `CoopNets.shown`.
        """
        _, generated = self.generator.propose(num_images, seed=seed)
        latents = self.latents[:num_images]
        return {
            "generator": generated,
            "reconstructed": self.generator(latents),
        }, latents

    def get_config(self):
        return {**super().get_config(), "num_images": self.num_images}


@keras.saving.register_keras_serializable("coopnets_tf")
class CoopNets(ImageModel):
    """Algorithm CoopNets: a descriptor and a generator, each teaching the other.

    ```python
    import keras
    import numpy as np
    from coopnets_tf import CoopNets, Descriptor, Generator, Langevin, networks
    from coopnets_tf.data import datasets

    descriptor = Descriptor(
        networks.descriptor("digits", (8, 8, 1)),
        revision=Langevin(10, 0.002),
        reference_stddev=0.016,
    )
    generator = Generator(
        networks.generator("digits", (8, 8, 1)),
        inference=Langevin(0, 0.1),
        residual_stddev=0.3,
    )
    model = CoopNets(descriptor, generator, num_chains=64)
    model.compile(keras.optimizers.Adam(0.003, 0.5), keras.optimizers.Adam(5e-4, 0.5))
    model.fit(datasets.load("digits")[np.arange(128)], batch_size=64, verbose=0)
    images = model.sample(16, seed=0)
    ```

    Args:
      descriptor: `Descriptor`.
      generator: `Generator`. With Langevin steps of its `inference` it infers the
        latents of revised images (G1).
      num_chains: int; n~, parallel chains in one training step. Free of the number of
        observed images.
      run_seed: int; all random numbers of the training follow from it.
      limits: see `Learner`.
      **kwargs: revision_noise_until and inference_noise_until of `ImageModel`.

    The metrics are those of `revision_metrics`, and `generator_loss`.
    """

    def __init__(
        self, descriptor, generator, *, num_chains, run_seed=0, limits=None, **kwargs
    ):
        super().__init__(
            descriptor=descriptor,
            generator=generator,
            metrics=("descriptor_loss", "generator_loss", *REVISION_METRICS[1:]),
            run_seed=run_seed,
            limits=limits,
            **kwargs,
        )
        self.num_chains = num_chains

    def train_step(self, data):
        """One iteration of Algorithm CoopNets.

        Args:
          data: observed images; see `learner.as_batch`.

        Returns:
          The running means of the metrics since they were last reset, by name.
        """
        observed = as_batch(data, self.image_shape)["images"]
        # G0: the generator drafts images from latents of the prior.
        with tf.GradientTape() as tape:
            latents, generated = self.generator.propose(
                self.num_chains, seed=self.step_seed(Purpose.LATENTS), training=True
            )
        # D1: the descriptor revises the drafts (Langevin on images).
        revised, info = self.descriptor.revise(
            generated,
            seed=self.step_seed(Purpose.REVISION),
            noise_scale=self.noise_scale(),
        )
        # G1: the generator infers the latents of the revised images (Langevin on
        # latents). Where it makes no step, G2 reuses what G0 computed.
        recorded = generated, tape
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
                    self.descriptor,
                    observed,
                    generated,
                    revised,
                    info,
                    descriptor_loss,
                ),
                "generator_loss": generator_loss,
            }
        )

    def shown(self, num_images, *, seed):
        """What a picture of the training shows: drafts, and the same drafts revised.

        Args:
          num_images: int.
          seed: int32 [2].

        Returns:
          Images by name, a dict; and the latents that now belong to them.
        """
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

    def get_config(self):
        return {**super().get_config(), "num_chains": self.num_chains}


def revision_metrics(descriptor, observed, start, revised, info, descriptor_loss):
    """What is told of D1 and D2, a dict of scalars.

    `descriptor_loss`, without a penalty; `energy_gap`, mean energy of revised minus
    observed images; `gradient_norm` of the energy along the Langevin chains, per pixel
    unit; `displacement` of an image by the chains, root mean square in pixel units;
    `saturation`, the share of revised pixels outside [-1, 1].

    Args:
      descriptor: `Descriptor`.
      observed: [batch, *image_shape].
      start, revised: [chains, *image_shape]; before and after D1.
      info: `ChainInfo` of D1.
      descriptor_loss: scalar; of D2.
    """
    reference_gap = energies.reference_gap(
        observed, revised, stddev=descriptor.reference_stddev
    )
    return {
        "descriptor_loss": descriptor_loss,
        "energy_gap": reference_gap - descriptor_loss,
        "gradient_norm": tf.reduce_mean(info.gradient_norm),
        "displacement": tf.reduce_mean(energies.displacement(revised, start)),
        "saturation": energies.saturation(revised),
    }
