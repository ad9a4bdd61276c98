"""What every training has: steps, metrics, a guard, optimizers, a checkpoint."""

import keras
import tensorflow as tf

from coopnets_tf.seeds import draw_seed

NETS = ("descriptor", "generator")


def named_variables(owner):
    """The `tf.Variable`s of a net or of an optimizer by name.

    Such as `conv_0_kernel`; the optimizer's own have the net's name within theirs.
    """
    return {
        "_".join(variable.path.split("/")[1:]): variable.value
        for variable in owner.variables
    }


class Learner(keras.Model):
    """A descriptor, a generator or both that learn in steps.

    A subclass has a `train_step`. What it keeps from one step to another besides the
    nets, such as chains, it makes by `keep`.

    Args:
      descriptor: `Descriptor`, or None.
      generator: `Generator`, or None.
      metrics: names of the metrics of a step, in their order.
      run_seed: int; all random numbers of the training follow from it.
      limits: dict or None; the largest sizes of metrics, by name. The first step with
        a metric beyond its limit, or not finite, raises the alarm. None: no guard.

    `step` is an integer variable, the number of training steps done; `rollbacks` that
    of the times the run went back, each to another stream of noise; `kept` a dict of
    what `keep` made.
    """

    def __init__(
        self, *, descriptor=None, generator=None, metrics, run_seed, limits, **kwargs
    ):
        super().__init__(**kwargs)
        self.descriptor = descriptor
        self.generator = generator
        self.run_seed = run_seed
        self.means = {name: keras.metrics.Mean(name) for name in metrics}
        self.step = keras.Variable(0, dtype="int64", trainable=False, name="step")
        self.rollbacks = keras.Variable(
            0, dtype="int64", trainable=False, name="rollbacks"
        )
        self.kept = {}
        self.limits = limits
        # The first step whose metrics were out of bounds (0: none), and their sizes.
        self._alarm_step = keras.Variable(0, dtype="int64", trainable=False)
        self._alarm_sizes = keras.Variable([0.0] * len(self.means), trainable=False)
        self.built = True

    @property
    def nets(self):
        """The nets that learn, by name."""
        nets = {name: getattr(self, name) for name in NETS}
        return {name: net for name, net in nets.items() if net is not None}

    def keep(self, name, value):
        """Makes a variable that the next step depends on, and the checkpoint holds.

        Args:
          name: str.
          value: float32; what it begins with.

        Returns:
          `tf.Variable`.
        """
        variable = self.add_weight(
            name=name, shape=value.shape, initializer="zeros", trainable=False
        )
        variable.assign(value)
        self.kept[name] = variable.value
        return variable.value

    def compile(self, descriptor_optimizer=None, generator_optimizer=None, **kwargs):
        """Gives each net its own optimizer and builds it, so that it can be restored.

        Args:
          descriptor_optimizer: a Keras optimizer; not used without that net.
          generator_optimizer: a Keras optimizer; not used without that net.
          **kwargs: of `keras.Model.compile`.

        Raises:
          ValueError: if there is a net without an optimizer.
        """
        kwargs.setdefault("jit_compile", False)  # XLA would draw other noise
        super().compile(optimizer=None, **kwargs)
        optimizers = descriptor_optimizer, generator_optimizer
        optimizers = dict(zip(NETS, optimizers, strict=True))
        for name, net in self.nets.items():
            if optimizers[name] is None:
                raise ValueError(
                    f"Give the {name}'s optimizer by its name, `{name}_optimizer`. "
                    "Received: None"
                )
            net.compile(optimizer=optimizers[name])
            net.optimizer.build(net.trainable_variables)

    @property
    def metrics(self):
        return list(self.means.values())

    def checkpoint(self):
        """A `tf.train.Checkpoint` of all that the next step depends on but `rollbacks`.

        The variables are listed here: TensorFlow's own search does not look into the
        lists in which Keras keeps layers, and would leave out the moving averages.
        """
        nets = {name: named_variables(net) for name, net in self.nets.items()}
        optimizers = {
            f"{name}_optimizer": named_variables(net.optimizer)
            for name, net in self.nets.items()
        }
        return tf.train.Checkpoint(
            **nets,
            **optimizers,
            kept=dict(self.kept),
            step=self.step.value,
            metrics=[variable.value for variable in self.metrics_variables],
        )

    def step_seed(self, purpose):
        """The seed of one draw of the present step: `seeds.draw_seed`, int32 [2]."""
        return draw_seed(
            self.run_seed,
            step=tf.convert_to_tensor(self.step),
            purpose=purpose,
            stream=self.rollbacks,
        )

    def report(self, values):
        """Ends a step: guards its metrics and takes them into the running means.

        Args:
          values: dict of scalars, by the metrics' names.

        Returns:
          The running means since they were last reset, by name.
        """
        self.step.assign_add(1)
        values = {name: values[name] for name in self.means}
        if self.limits is not None:
            self.watch(values)
        for name, value in values.items():
            self.means[name].update_state(value)
        return {name: mean.result() for name, mean in self.means.items()}

    def watch(self, values):
        """The guard: keeps, on the device, the first step that is out of bounds.

        Args:
          values: dict of scalars; the metrics of the present step, by name, in order.
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

    def get_config(self):
        nets = {
            name: keras.saving.serialize_keras_object(net)
            for name, net in self.nets.items()
        }
        for net in nets.values():
            net.pop("compile_config", None)  # see `get_compile_config`
        return {
            **super().get_config(),
            **nets,
            "run_seed": self.run_seed,
            "limits": self.limits,
        }

    @classmethod
    def from_config(cls, config):
        nets = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in NETS
            if name in config
        }
        return cls(**{**config, **nets})

    def get_compile_config(self):
        if not self.compiled:
            return None
        return {
            f"{name}_optimizer": keras.saving.serialize_keras_object(net.optimizer)
            for name, net in self.nets.items()
        }

    def compile_from_config(self, config):
        self.compile(
            **{
                name: keras.saving.deserialize_keras_object(optimizer)
                for name, optimizer in config.items()
            }
        )
