"""CoopNets: the descriptor and the generator, each teaching the other.

paper        code        meaning
Y            observed    real images, [batch, height, width, channels] in [-1, 1]
X^           latents     drawn from N(0, I), [chains, latent_size]
Y^ = g(X^)   generated   the generator's drafts
Y~           revised     the drafts after the descriptor's Langevin steps
X~           inferred    the latents after the generator's Langevin steps
f(Y)         scores      [batch], the sum of the descriptor's outputs
"""

import contextlib

import keras
import tensorflow as tf

from coopnets_tf import endpoints, energies
from coopnets_tf.generator import exact_statistics, measure_statistics
from coopnets_tf.learner import Learner
from coopnets_tf.optimizers import averaged, take_average
from coopnets_tf.seeds import Purpose, draw_seed


def _in_batches(function, *arrays, numbered=False, batch_size=100):
    """The function's results over parts of the arrays, which need less memory.

    With `numbered` it is also told the number of the part's first item.
    """
    results = []
    for first in range(0, len(arrays[0]), batch_size):
        parts = [array[first : first + batch_size] for array in arrays]
        results.append(function(*parts, first) if numbered else function(*parts))
    return tf.concat(results, axis=0)


@keras.saving.register_keras_serializable("coopnets_tf")
class CoopNets(Learner):
    """Cooperative training of a descriptor and a generator.

    ```python
    import keras
    import numpy as np
    from coopnets_tf import CoopNets, Descriptor, Generator, Langevin, datasets

    descriptor = Descriptor(
        "digits", (8, 8, 1), revision=Langevin(10, 0.002), reference_stddev=0.016
    )
    generator = Generator(
        "digits", (8, 8, 1), inference=Langevin(0, 0.1), residual_stddev=0.3
    )
    model = CoopNets(descriptor, generator, num_chains=64)
    model.compile(keras.optimizers.Adam(0.003, 0.5), keras.optimizers.Adam(5e-4, 0.5))
    model.fit(datasets.load("digits")[np.arange(128)], batch_size=64, verbose=0)
    images = model.sample(16, seed=0)
    ```

    Args:
      descriptor: `Descriptor`.
      generator: `Generator`.
      num_chains: int; n~, parallel chains in one training step. Free of the number of
        observed images.
      num_noise_steps: int or None; training steps after which D1 adds no noise. None:
        it always does.
      run_seed: int; all random numbers of the training follow from it.
      limits: dict or None; the largest sizes of metrics, by name. The first step with
        a metric beyond its limit, or not finite, raises the alarm. None: no guard.

    `step` is an integer variable, the number of training steps done. The metrics are
    `descriptor_loss` (without a penalty) and `generator_loss`; `energy_gap`, mean
    energy of revised minus observed images; `gradient_norm` of the energy along the
    Langevin chains, per pixel unit; `displacement` of an image by the chains, root
    mean square in pixel units; `saturation`, the share of revised pixels outside
    [-1, 1].

    Source: Xie et al., arXiv:1609.09408, Algorithm CoopNets.
    """

    def __init__(
        self,
        descriptor,
        generator,
        *,
        num_chains,
        num_noise_steps=None,
        run_seed=0,
        limits=None,
        **kwargs,
    ):
        super().__init__(
            metrics=(
                "descriptor_loss",
                "generator_loss",
                "energy_gap",
                "gradient_norm",
                "displacement",
                "saturation",
            ),
            run_seed=run_seed,
            limits=limits,
            **kwargs,
        )
        self.descriptor = descriptor
        self.generator = generator
        self.num_chains = num_chains
        self.num_noise_steps = num_noise_steps
        self._frozen_at = None  # the step whose weights the nets were frozen with
        self._endpoints = None
        self.built = True

    @property
    def nets(self):
        return {"descriptor": self.descriptor, "generator": self.generator}

    def compile(self, descriptor_optimizer, generator_optimizer, **kwargs):
        """Gives each net its own optimizer. See `Learner.compile`."""
        optimizers = {
            "descriptor": descriptor_optimizer,
            "generator": generator_optimizer,
        }
        super().compile(optimizers, **kwargs)

    def train_step(self, observed):
        """One iteration of Algorithm CoopNets.

        Args:
          observed: float32 [batch, height, width, channels] in [-1, 1].

        Returns:
          The running means of the metrics since they were last reset, by name.
        """
        seed = self.step_seed()
        # G0: the generator drafts images from latents of the prior.
        with tf.GradientTape() as tape:
            latents, generated = self.generator.propose(
                self.num_chains, seed=seed(purpose=Purpose.LATENTS), training=True
            )
        # D1: the descriptor revises the drafts (Langevin on images).
        revised, chains = self.descriptor.revise(
            generated,
            seed=seed(purpose=Purpose.REVISION),
            noise_scale=self.noise_scale(),
        )
        # G1: the generator infers the latents of the revised images (Langevin on
        # latents). Where it makes no step, G2 reuses what G0 computed.
        recorded = generated, tape
        if self.generator.inference.num_steps:
            latents, _ = self.generator.infer(
                latents, revised, seed=seed(purpose=Purpose.INFERENCE), training=True
            )
            recorded = None
        # D2: the descriptor shifts its score from revised to observed images.
        descriptor_loss = self.descriptor.update(observed, revised)
        # G2: the generator learns how the descriptor revised its drafts.
        generator_loss = self.generator.update(latents, revised, recorded=recorded)
        self.step.assign_add(1)
        reference_gap = energies.reference_gap(
            observed, revised, stddev=self.descriptor.reference_stddev
        )
        return self.report(
            {
                "descriptor_loss": descriptor_loss,
                "generator_loss": generator_loss,
                "energy_gap": reference_gap - descriptor_loss,
                "gradient_norm": tf.reduce_mean(chains.gradient_norm),
                "displacement": tf.reduce_mean(
                    energies.displacement(revised, generated)
                ),
                "saturation": energies.saturation(revised),
            }
        )

    def noise_scale(self):
        """What D1 multiplies its noise with at the present step: 1, or 0 later on."""
        if self.num_noise_steps is None:
            return 1.0
        return tf.cast(self.step < self.num_noise_steps, tf.float32)

    @contextlib.contextmanager
    def as_shown(self):
        """The generator as pictures and exports show it, and on leaving as it was.

        Averaged weights, if its optimizer keeps them (`use_ema`), and exact statistics.
        """
        if self._frozen_at == int(self.step):
            yield
            return
        with averaged(self.generator):
            with exact_statistics(self.generator, seed=self._statistics_seed()):
                # So that nothing within measures them again.
                self._frozen_at = int(self.step)
                try:
                    yield
                finally:
                    self._frozen_at = None

    def freeze(self):
        """Makes what `as_shown` shows permanent, for use without further training."""
        take_average(self.generator)
        measure_statistics(self.generator, seed=self._statistics_seed())
        self._frozen_at = int(self.step)

    def _statistics_seed(self):
        return draw_seed(self.run_seed, step=self.step, purpose=Purpose.STATISTICS)

    def endpoints(self):
        """The graph functions of `endpoints.build`, made once. See `as_shown`."""
        if self._endpoints is None:
            self._endpoints = endpoints.build(self)
        return self._endpoints

    def sample(self, num_images, *, seed=0, num_steps=None):
        """Fresh images: drafts of the generator (G0), revised by the descriptor (D1).

        ```python
        images = model.sample(64, seed=0)
        ```

        Args:
          num_images: int, 1 or more.
          seed: int in [0, 2**31); image k depends on (seed, k) alone.
          num_steps: int; Langevin steps of D1, 0 for the generator's own drafts.
            Default: as in training.

        Returns:
          float32 [num_images, height, width, channels] in [-1, 1].
        """
        return tf.concat(
            list(self.sample_batches(num_images, seed=seed, num_steps=num_steps)), 0
        )

    def sample_batches(self, num_images, *, seed=0, num_steps=None, batch_size=100):
        """The images of `sample`, in batches of at most `batch_size`, as they come."""
        if num_images < 1:
            raise ValueError(f"`num_images` must be 1 or more. Received: {num_images}")
        draw, steps = self.endpoints()["draw"], self._revision_steps(num_steps)
        for first in range(0, num_images, batch_size):
            with self.as_shown():
                images = draw(first, min(batch_size, num_images - first), steps, seed)
            yield images

    def generate(self, latents):
        """g of latents, float32 [batch, latent_size]: images in [-1, 1].

        ```python
        import tensorflow as tf

        latents = tf.random.normal([16, model.generator.latent_size])
        images = model.generate(latents)
        ```
        """
        with self.as_shown():
            return _in_batches(self.endpoints()["generate"], latents)

    def revise(self, images, *, num_steps=None, seed=0, visible=None):
        """D1 on images of one's own: Langevin dynamics towards a lower energy.

        ```python
        images = model.sample(16, seed=0, num_steps=0)
        better = model.revise(images, num_steps=15, seed=0)
        ```

        Args:
          images: float32 [batch, height, width, channels] in [-1, 1].
          num_steps, seed: see `sample`.
          visible: None, or as `images`; 1 for pixels that stay as they are.

        Returns:
          As `images`.
        """
        steps = self._revision_steps(num_steps)
        functions = self.endpoints()
        if visible is None:
            return _in_batches(
                lambda images, first: functions["revise"](images, steps, seed, first),
                images,
                numbered=True,
            )
        return _in_batches(
            lambda images, visible, first: functions["revise_hidden"](
                images, visible, steps, seed, first
            ),
            images,
            visible,
            numbered=True,
        )

    def energy(self, images):
        """E(Y) of each image, [batch]: -log p of the descriptor up to a constant.

        ```python
        energies = model.energy(model.sample(16, seed=0))
        ```
        """
        return _in_batches(self.endpoints()["energy"], images)

    def infer(self, images, *, num_steps, seed=0, visible=None, draw=0):
        """G1 on images of one's own: latents that explain them.

        ```python
        images = model.sample(16, seed=0)
        latents = model.infer(images, num_steps=100)
        ```

        Args:
          images: float32 [batch, height, width, channels] in [-1, 1].
          num_steps: int; Langevin steps, from latents of the prior.
          seed: int in [0, 2**31).
          visible: None, or as `images`; 1 for pixels to explain, 0 for unknown ones.
          draw: int; which of several independent draws.

        Returns:
          float32 [batch, latent_size].
        """
        visible = tf.ones_like(images) if visible is None else visible
        with self.as_shown():
            return _in_batches(
                lambda images, visible, first: self.endpoints()["infer"](
                    images, visible, num_steps, seed, draw, first
                ),
                images,
                visible,
                numbered=True,
            )

    def reconstruct(self, images, *, num_steps, seed=0):
        """g of the latents that `infer` finds: float32, as `images`, in [-1, 1].

        ```python
        images = model.sample(16, seed=0)
        found = model.reconstruct(images, num_steps=100)
        ```
        """
        return self.generate(self.infer(images, num_steps=num_steps, seed=seed))

    def recover(
        self,
        images,
        visible,
        *,
        inference_steps,
        revision_steps=None,
        num_draws=1,
        seed=0,
    ):
        """Fills the hidden part of images.

        ```python
        import numpy as np

        images = model.sample(16, seed=0)
        visible = np.ones(images.shape, np.float32)
        visible[:, 2:6, 2:6] = 0
        whole = model.recover(images, visible, inference_steps=100)
        ```

        Latents are inferred from the visible pixels (G1), g fills the hidden ones, and
        the descriptor revises those (D1) while the visible ones stay as they are.

        Args:
          images: float32 [batch, height, width, channels] in [-1, 1]; what is in their
            hidden part does not matter.
          visible: as `images`; 1 visible, 0 hidden.
          inference_steps: int; Langevin steps of G1.
          revision_steps: int; Langevin steps of D1. Default: as in training.
          num_draws: int; the hidden pixels are filled with the mean of g over so many
            latents of the posterior. 1 is one plausible image; more have smaller errors
            and less contrast.
          seed: int in [0, 2**31).

        Returns:
          As `images`.
        """
        options = {"num_steps": inference_steps, "visible": visible}
        draws = [
            self.generate(self.infer(images, seed=seed, draw=draw, **options))
            for draw in range(num_draws)
        ]
        filled = tf.where(visible > 0, images, tf.reduce_mean(draws, axis=0))
        return self.revise(filled, num_steps=revision_steps, seed=seed, visible=visible)

    def _revision_steps(self, num_steps):
        if num_steps is None:
            return self.descriptor.revision.num_steps
        if num_steps < 0:
            raise ValueError(f"`num_steps` must be 0 or more. Received: {num_steps}")
        return num_steps

    def get_config(self):
        nets = {
            "descriptor": keras.saving.serialize_keras_object(self.descriptor),
            "generator": keras.saving.serialize_keras_object(self.generator),
        }
        for net in nets.values():
            net.pop("compile_config", None)  # see `get_compile_config`
        return {
            **super().get_config(),
            **nets,
            "num_chains": self.num_chains,
            "num_noise_steps": self.num_noise_steps,
            "run_seed": self.run_seed,
            "limits": self.limits,
        }

    @classmethod
    def from_config(cls, config):
        nets = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("descriptor", "generator")
        }
        return cls(**{**config, **nets})

    def get_compile_config(self):
        if not self.compiled:
            return None
        return {
            f"{net.name}_optimizer": keras.saving.serialize_keras_object(net.optimizer)
            for net in (self.descriptor, self.generator)
        }

    def compile_from_config(self, config):
        self.compile(
            **{
                name: keras.saving.deserialize_keras_object(optimizer)
                for name, optimizer in config.items()
            }
        )
