"""CoopNets: the descriptor and the generator, each teaching the other.

paper        code        meaning
Y            observed    real images, [batch, height, width, channels] in [-1, 1]
X^           latents     drawn from N(0, I), [chains, latent_size]
Y^ = g(X^)   generated   the generator's drafts
Y~           revised     the drafts after the descriptor's Langevin steps
X~           inferred    the latents after the generator's Langevin steps
f(Y)         scores      [batch], the sum of the descriptor's outputs
"""

import functools

import keras
import tensorflow as tf

from coopnets_tf import energies
from coopnets_tf.seeds import Purpose, draw_seed


def named_variables(net):
    """The `tf.Variable`s of a net by name, such as `conv_0_kernel`."""
    return {
        "_".join(variable.path.split("/")[1:]): variable.value
        for variable in net.variables
    }


class CoopNets(keras.Model):
    """Cooperative training of a descriptor and a generator.

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
    `descriptor_loss` and `generator_loss` as they are optimised; `energy_gap`, mean
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
        super().__init__(**kwargs)
        self.descriptor = descriptor
        self.generator = generator
        self.num_chains = num_chains
        self.num_noise_steps = num_noise_steps
        self.run_seed = run_seed
        self.means = {
            name: keras.metrics.Mean(name)
            for name in (
                "descriptor_loss",
                "generator_loss",
                "energy_gap",
                "gradient_norm",
                "displacement",
                "saturation",
            )
        }
        self.step = keras.Variable(0, dtype="int64", trainable=False, name="step")
        self.rollbacks = keras.Variable(
            0, dtype="int64", trainable=False, name="rollbacks"
        )
        self.limits = limits
        # The first step whose metrics were out of bounds (0: none), and their sizes.
        self._alarm_step = keras.Variable(0, dtype="int64", trainable=False)
        self._alarm_sizes = keras.Variable([0.0] * len(self.means), trainable=False)
        self.built = True

    def compile(self, descriptor_optimizer, generator_optimizer, **kwargs):
        """Gives each net its own optimizer and builds both, so they can be restored."""
        kwargs.setdefault("jit_compile", False)  # XLA would draw other noise
        super().compile(optimizer=None, **kwargs)
        for net, optimizer in (
            (self.descriptor, descriptor_optimizer),
            (self.generator, generator_optimizer),
        ):
            net.compile(optimizer=optimizer)
            optimizer.build(net.trainable_variables)

    @property
    def metrics(self):
        return list(self.means.values())

    def checkpoint(self):
        """A `tf.train.Checkpoint` of all that the next step depends on.

        The variables are listed here: TensorFlow's own search does not look into the
        lists in which Keras keeps layers, and would leave out the moving averages.
        """
        nets = {"descriptor": self.descriptor, "generator": self.generator}
        others = {
            "descriptor_optimizer": self.descriptor.optimizer.variables,
            "generator_optimizer": self.generator.optimizer.variables,
            "step": [self.step, self.rollbacks],
            "metrics": self.metrics_variables,
        }
        return tf.train.Checkpoint(
            **{name: named_variables(net) for name, net in nets.items()},
            **{
                name: [variable.value for variable in variables]
                for name, variables in others.items()
            },
        )

    def train_step(self, observed):
        """One iteration of Algorithm CoopNets.

        Args:
          observed: float32 [batch, height, width, channels] in [-1, 1].

        Returns:
          The running means of the metrics since they were last reset, by name.
        """
        step = tf.convert_to_tensor(self.step)
        seed = functools.partial(
            draw_seed, self.run_seed, step=step, stream=self.rollbacks
        )
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
        return self._report(
            descriptor_loss, generator_loss, observed, generated, revised, chains
        )

    def noise_scale(self):
        """What D1 multiplies its noise with at the present step: 1, or 0 later on."""
        if self.num_noise_steps is None:
            return 1.0
        return tf.cast(self.step < self.num_noise_steps, tf.float32)

    def _report(
        self, descriptor_loss, generator_loss, observed, generated, revised, chains
    ):
        stddev = self.descriptor.reference_stddev
        reference_gap = energies.reference_gap(observed, revised, stddev=stddev)
        moves = tf.reduce_mean(tf.square(revised - generated), axis=[1, 2, 3])
        outside = tf.cast(tf.abs(revised) > 1, tf.float32)
        values = {
            "descriptor_loss": descriptor_loss,
            "generator_loss": generator_loss,
            "energy_gap": reference_gap - descriptor_loss,
            "gradient_norm": tf.reduce_mean(chains.gradient_norm),
            "displacement": tf.reduce_mean(tf.sqrt(moves)),
            "saturation": tf.reduce_mean(outside),
        }
        if self.limits is not None:
            self.watch(values)
        for name, value in values.items():
            self.means[name].update_state(value)
        return {name: mean.result() for name, mean in self.means.items()}

    def watch(self, values):
        """The guard: keeps, on the device, the first step that is out of bounds.

        Args:
          values: dict of scalars; the metrics of the present step, by name.
        """
        sizes = tf.abs(tf.stack(list(values.values())))
        limits = [self.limits.get(name, tf.float32.max) for name in values]
        good = tf.reduce_all(sizes <= tf.constant(limits))  # false for NaN
        first = tf.logical_not(good) & tf.equal(self._alarm_step, 0)
        step = tf.convert_to_tensor(self.step)
        self._alarm_step.assign(tf.where(first, step, self._alarm_step))
        self._alarm_sizes.assign(tf.where(first, sizes, self._alarm_sizes))

    def alarm(self):
        """Ends an alarm and returns its step, metric and size; None without one."""
        step = int(self._alarm_step)
        if not step:
            return None
        sizes = dict(zip(self.means, self._alarm_sizes.numpy(), strict=True))
        self._alarm_step.assign(0)
        self._alarm_sizes.assign(tf.zeros_like(self._alarm_sizes))
        for name, size in sizes.items():
            if not size <= self.limits.get(name, tf.float32.max):
                return step, name, float(size)
