"""What every training has: steps, metrics, a guard, optimizers, a checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from coopnets_tf import replicas
from coopnets_tf.descriptor import Descriptor
from coopnets_tf.errors import ArgumentError
from coopnets_tf.generator import Generator
from coopnets_tf.models import batches
from coopnets_tf.networks.batch_norm import synchronise
from coopnets_tf.networks.layers import FLOAT
from coopnets_tf.seeds import Purpose, draw_seed
from coopnets_tf.variables import named_slots, named_variables

NETS = ("descriptor", "generator")
# Variables that have one value on all replicas.
ALIKE: dict[str, Any] = {"trainable": False, "aggregation": "only_first_replica"}
RENAMED = {  # since version 0.1
    "num_noise_steps": "revision_noise_until",
    "num_inference_noise_steps": "inference_noise_until",
}


class StepMean(keras.metrics.Mean):
    """The mean over steps of a number on which all replicas agree.

    Keras' would count it once for each: another number of devices could not go on.
    """

    def add_variable(
        self,
        shape: Any,
        initializer: Any,
        dtype: Any = None,
        aggregation: str = "only_first_replica",
        name: str | None = None,
    ) -> keras.Variable:
        return keras.Variable(
            initializer,
            shape=shape,
            dtype=dtype or self.dtype,
            name=name,
            **ALIKE,
        )


class Count(keras.Variable):
    """An integer that all replicas agree on."""

    def __init__(self, value: int, name: str | None = None) -> None:
        super().__init__(value, dtype="int64", name=name, **ALIKE)

    def __int__(self) -> int:
        return int(self.numpy())  # Keras' own fails for one that replicas hold


class Learner(keras.Model):
    """A descriptor, a generator or both that learn in steps.

    A subclass has a `train_step`. What it keeps from one step to the next besides the
    nets, such as chains, it makes by `keep`.

    Args:
      descriptor, generator: the nets that learn. None: there is no such net.
      metrics: names of the metrics of a step, in their order.
      run_seed: all random numbers of the training follow from it.
      limits: the largest sizes of metrics, by name. The first step with a metric beyond
        its limit, or not finite, raises the alarm. None: no guard.
      **kwargs: of `keras.Model`.

    Raises:
      NetworkError: if two weights of a net have one name.

    `step` is an integer variable, the number of training steps done; `rollbacks` that
    of the times the run went back, each to another stream of noise; `kept` has what
    `keep` made.
    """

    num_chains: int = 0  # of one step, which devices share; 0: it moves none

    def __init__(
        self,
        *,
        descriptor: Descriptor | None = None,
        generator: Generator | None = None,
        metrics: Sequence[str],
        run_seed: int = 0,
        limits: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**FLOAT, **kwargs})
        self.descriptor = descriptor
        self.generator = generator
        self.run_seed = run_seed
        self.means = {name: StepMean(name, **FLOAT) for name in metrics}
        self.step = Count(0, name="step")
        self.rollbacks = Count(0, name="rollbacks")
        self.kept: dict[str, tf.Variable] = {}
        self.limits = limits
        # The first step whose metrics were out of bounds (0: none), and their sizes.
        self._alarm_step = Count(0)
        self._alarm_sizes = keras.Variable([0.0] * len(self.means), **FLOAT, **ALIKE)
        for net in self.nets.values():
            named_variables(net)  # refuses names that a checkpoint would mix up
        self.built = True

    @property
    def nets(self) -> dict[str, keras.Model]:
        """The nets that learn, by name."""
        nets = {name: getattr(self, name) for name in NETS}
        return {name: net for name, net in nets.items() if net is not None}

    @property
    def num_replicas(self) -> int:
        """How many devices share a step, by the `tf.distribute` strategy in whose scope
        this was made.
        """
        return self.distribute_strategy.num_replicas_in_sync

    def keep(self, name: str, value: tf.Tensor) -> tf.Variable:
        """Makes a variable, float32, that steps depend on and the checkpoint holds."""
        variable = self.add_weight(
            name=name, shape=value.shape, initializer="zeros", **ALIKE
        )
        variable.assign(value)
        self.kept[name] = variable.value
        return variable.value

    def compile(
        self,
        descriptor_optimizer: keras.optimizers.Optimizer | None = None,
        generator_optimizer: keras.optimizers.Optimizer | None = None,
        **kwargs: Any,
    ) -> None:
        """Gives each net its optimizer and builds that, so that it can be restored.

        Args:
          descriptor_optimizer, generator_optimizer: not used without that net.
          **kwargs: of `keras.Model.compile`.

        Raises:
          ValueError: if there is a net without an optimizer.
          ArgumentError: if devices cannot share this training, or XLA not compile it.
        """
        kwargs.setdefault("jit_compile", False)  # XLA would draw other noise
        if self.num_replicas > 1:
            self._prepare_for_replicas(kwargs["jit_compile"])
        super().compile(optimizer=None, **kwargs)
        given = descriptor_optimizer, generator_optimizer
        optimizers = dict(zip(NETS, given, strict=True))
        for name, net in self.nets.items():
            if optimizers[name] is None:
                raise ValueError(
                    f"Give the {name}'s optimizer by its name, `{name}_optimizer`. "
                    "Received: None"
                )
            net.compile(optimizer=optimizers[name])
            net.optimizer.build(net.trainable_variables)

    def _prepare_for_replicas(self, jit_compile):
        replicas.refuse_uneven(self.num_replicas, num_chains=self.num_chains)
        if jit_compile:
            raise ArgumentError(
                "`jit_compile` is for one device: TensorFlow does not compile a shared "
                f"step. Received: {self.num_replicas} devices."
            )
        if self.generator is not None:
            norms = synchronise(self.generator.network)
            inference = self.generator.inference
            if norms and inference.num_steps and not inference.unroll:
                raise ArgumentError(
                    "Several devices cannot share batch norm inside a loop. Take "
                    "`langevin_loop`=unrolled (`unroll`=True) for G1, or one device."
                )

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Keras' `fit`, which first looks at a batch; see `batches.check_batch`.

        With several devices all batches must be of one size, which they can share.
        """
        data = batches.checked(x, num_classes=self.num_classes)
        return super().fit(data, *args, **kwargs)

    def train_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Keras' `train_on_batch`, which looks at it; see `batches.check_batch`."""
        batches.check_batch(x, num_classes=self.num_classes)
        return super().train_on_batch(x, *args, **kwargs)

    @property
    def num_classes(self) -> int:
        """How many classes the nets are told; 0 where a subclass does not say."""
        return 0

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self.means.values())

    def checkpoint(self) -> tf.train.Checkpoint:
        """All that the next step depends on but `rollbacks`.

        The variables are listed here: TensorFlow's search does not look into the lists
        in which Keras keeps layers, and would leave out the moving averages.
        """
        nets = {name: named_variables(net) for name, net in self.nets.items()}
        optimizers = {
            f"{name}_optimizer": named_slots(name, net)
            for name, net in self.nets.items()
        }
        return tf.train.Checkpoint(
            **nets,
            **optimizers,
            kept=dict(self.kept),
            step=self.step.value,
            metrics=[variable.value for variable in self.metrics_variables],
        )

    def step_seed(self, purpose: Purpose) -> tf.Tensor:
        """The seed of one draw of the present step: `seeds.draw_seed`, int32 [2]."""
        return draw_seed(
            self.run_seed,
            step=tf.convert_to_tensor(self.step),
            purpose=purpose,
            stream=self.rollbacks,
        )

    def report(self, values: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Ends a step: guards its metrics, scalars by name, and adds them to the means.

        Of several replicas the mean counts.

        Returns:
          The running means since they were last reset, by name.
        """
        self.step.assign_add(1)
        values = replicas.mean({name: values[name] for name in self.means})
        if self.limits is not None:
            self.watch(values)
        for name, value in values.items():
            self.means[name].update_state(value)
        return {name: mean.result() for name, mean in self.means.items()}

    def watch(self, values: Mapping[str, tf.Tensor]) -> None:
        """The guard: keeps, on the device, the first step beyond a limit."""
        sizes = tf.abs(tf.stack(list(values.values())))
        limits = self.limits or {}
        largest = tf.constant([limits.get(name, tf.float32.max) for name in values])
        good = tf.reduce_all(sizes <= largest)  # false for NaN
        first = tf.logical_not(good) & tf.equal(self._alarm_step, 0)
        step = tf.convert_to_tensor(self.step)
        self._alarm_step.assign(tf.where(first, step, self._alarm_step))
        self._alarm_sizes.assign(tf.where(first, sizes, self._alarm_sizes))

    def alarm(self) -> tuple[int, str, float] | None:
        """Ends an alarm and returns its step, metric and size; None without one."""
        step = int(self._alarm_step)
        if not step:
            return None
        sizes = dict(zip(self.means, self._alarm_sizes.numpy(), strict=True))
        self._alarm_step.assign(0)
        self._alarm_sizes.assign(tf.zeros_like(self._alarm_sizes))
        for name, size in sizes.items():
            if not size <= (self.limits or {}).get(name, tf.float32.max):
                return step, name, float(size)
        return None

    def get_config(self) -> dict[str, Any]:
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
    def from_config(cls, config: dict[str, Any]) -> "Learner":
        nets = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in NETS
            if name in config
        }
        config = {RENAMED.get(name, name): value for name, value in config.items()}
        return cls(**{**config, **nets})

    def get_compile_config(self) -> dict[str, Any] | None:
        if not self.compiled:
            return None
        return {
            f"{name}_optimizer": keras.saving.serialize_keras_object(net.optimizer)
            for name, net in self.nets.items()
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(
            **{
                name: keras.saving.deserialize_keras_object(optimizer)
                for name, optimizer in config.items()
            }
        )
