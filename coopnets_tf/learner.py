"""What every training has: steps, metrics, a guard, optimizers, a checkpoint."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from coopnets_tf import replicas
from coopnets_tf.descriptor import Descriptor
from coopnets_tf.errors import ArgumentError, DatasetError, NetworkError
from coopnets_tf.frozen import synchronise
from coopnets_tf.generator import Generator
from coopnets_tf.layers import FLOAT
from coopnets_tf.seeds import Purpose, draw_seed

NETS = ("descriptor", "generator")
RANGE = "Images must be float32 in [-1, 1]."
SCALE = "Give pixels / 127.5 - 1."
ROUNDING = 1e-3  # by which images may leave their range
# Variables that have one value on all replicas.
ALIKE: dict[str, Any] = {"trainable": False, "aggregation": "only_first_replica"}
RENAMED = {  # since version 0.1
    "num_noise_steps": "revision_noise_until",
    "num_inference_noise_steps": "inference_noise_until",
}


def named_variables(net: keras.Model) -> dict[str, tf.Variable]:
    """The variables of a net by name, such as `conv_0_kernel`; see `stable_paths`.

    Raises:
      NetworkError: if two variables have one name: a checkpoint would lose one of them.
    """
    named = {}
    for path, variable in zip(stable_paths(net), net.variables, strict=True):
        name = path.replace("/", "_")
        if name in named:
            raise NetworkError(
                f"Two weights of the {net.name}'s network are called {name}. Give "
                "their layers different names."
            )
        named[name] = variable.value
    return named


def stable_paths(net: keras.Model) -> list[str]:
    """The paths of a net's variables, such as `conv_0/kernel`.

    Names that Keras numbers within a process (`conv2d_7`) are numbered within the net
    instead, so that the same net has the same names in every process.
    """
    split = [_path(variable, net).split("/") for variable in net.variables]
    seen: dict[str, list[str]] = {}
    for layer in (layer for path in split for layer in path[:-1]):
        stem = re.sub(r"_\d+$", "", layer)
        if layer not in seen.setdefault(stem, []):
            seen[stem].append(layer)
    stable: dict[str, str] = {}
    for stem, layers in seen.items():
        own = f"{stem}_0" in layers  # Keras counts from 1; somebody chose these names
        for number, layer in enumerate(layers):
            counted = f"{stem}_{number}" if number else stem
            own = own or counted in stable.values()
            stable[layer] = layer if own else counted
    return ["/".join([*(stable[one] for one in path[:-1]), path[-1]]) for path in split]


def _path(variable, net):
    """A variable's path, with the name of the Sequential model that it is in: Keras
    leaves that out when it builds the model from its configuration.
    """
    inside = [
        layer.name
        for layer in net._flatten_layers()  # the innermost model comes last
        if isinstance(layer, keras.Sequential)
        and any(variable is own for own in layer.variables)
    ]
    prefix = f"{inside[-1]}/" if inside else ""
    return prefix + variable.path.removeprefix(prefix)


def named_slots(part: str, net: keras.Model) -> dict[str, tf.Variable]:
    """The variables of a net's optimizer by name, such as `iteration`, and
    `descriptor_conv_0_kernel_momentum` of a weight.
    """
    stable = {
        variable.path.replace("/", "_"): name
        for variable, name in zip(net.variables, named_variables(net), strict=True)
    }
    named = {}
    for variable in net.optimizer.variables:
        name = variable.path.partition("/")[2]
        weights = [one for one in stable if name.startswith(f"{one}_")]
        if weights:
            weight = max(weights, key=len)
            name = f"{part}_{stable[weight]}{name.removeprefix(weight)}"
        named[name] = variable.value
    return named


def as_batch(
    data: Any, image_shape: tuple[int, ...], *, incomplete: bool = False
) -> dict[str, tf.Tensor]:
    """A batch as the training steps take it.

    Args:
      data: a dict, or images alone; or a tuple that begins with either, as Keras' `fit`
        has it. By name: `images`, float [batch, *image_shape] in [-1, 1], and where
        there are any `numbers`, int [batch]; `visible`, as `images`, 1 where a pixel is
        known and 0 where not; `labels`, int [batch].
      incomplete: whether the algorithm learns from incomplete images.

    Raises:
      DatasetError: on images of another shape, of integers, or incomplete ones.
    """
    batch = _by_name(data)
    images = tf.convert_to_tensor(batch["images"])
    if not images.dtype.is_floating:
        raise DatasetError(f"{RANGE} Received: {images.dtype.name}. {SCALE}")
    shape = images.shape[1:]
    if not shape.is_compatible_with(image_shape):
        raise DatasetError(
            f"The nets are for images of shape {list(image_shape)}. Received: "
            f"{list(shape)}."
        )
    if "visible" in batch and not incomplete:
        raise DatasetError(
            "Only Algorithm G learns from incomplete images. Received: a batch with "
            "`visible`."
        )
    return {**batch, "images": tf.cast(images, tf.float32)}


def check_batch(data: Any) -> None:
    """Looks at what only the values of a batch tell; costs a pass over its images.

    Args:
      data: see `as_batch`; the images may be of any number. Hidden pixels, those with
        `visible` 0, may hold anything.

    Raises:
      DatasetError: if images are of integers, contain NaN, or leave [-1, 1].
    """
    batch = _by_name(data)
    images = batch["images"]
    pixels = images.numpy() if tf.is_tensor(images) else np.asarray(images)
    if "visible" in batch:
        pixels = pixels[np.broadcast_to(batch["visible"], pixels.shape) > 0]
    low, high = map(float, (pixels.min(), pixels.max()) if pixels.size else (0, 0))
    dtype = tf.as_dtype(pixels.dtype)
    if dtype.is_floating and max(-low, high) <= 1 + ROUNDING:  # not where it is NaN
        return
    found = f", from {low:g} to {high:g}. {SCALE}"
    if not np.isfinite([low, high]).all():
        found = " with NaN or infinity in it."
    raise DatasetError(f"{RANGE} Received: {dtype.name}{found}")


def _by_name(data):
    """A batch as a dict, whatever form it comes in; see `as_batch`."""
    images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    return images if isinstance(images, dict) else {"images": images}


def _checked(data):
    """Data for `fit`, whose first batch, or all that is an array, has been checked."""
    if isinstance(data, keras.utils.PyDataset):
        first = [data[0]]
    elif isinstance(data, tf.data.Dataset):
        first = list(data.take(1))
    elif isinstance(data, Iterator):
        first = list(itertools.islice(data, 1))
        data = (batch for batch in itertools.chain(first, data))
    elif isinstance(data, dict) or hasattr(data, "dtype"):
        first = [data]
    else:  # for Keras to judge
        first = []
    for batch in first:
        check_batch(batch)
    return data


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
      metrics: names of the metrics of a step, in their order.
      run_seed: all random numbers of the training follow from it.
      limits: the largest sizes of metrics, by name. The first step with a metric beyond
        its limit, or not finite, raises the alarm. None: no guard.

    `step` is an integer variable, the number of training steps done; `rollbacks` that
    of the times the run went back, each to another stream of noise; `kept` has what
    `keep` made.
    """

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
        if chains := getattr(self, "num_chains", None):
            replicas.refuse_uneven(self.num_replicas, num_chains=chains)
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
        """Keras' `fit`, which first looks at a batch; see `check_batch`.

        With several devices all batches must be of one size, which they can share.
        """
        return super().fit(_checked(x), *args, **kwargs)

    def train_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Keras' `train_on_batch`, which first looks at it; see `check_batch`."""
        check_batch(x)
        return super().train_on_batch(x, *args, **kwargs)

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
