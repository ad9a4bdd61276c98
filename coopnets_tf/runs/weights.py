"""Weights of other runs: which checkpoint is meant, and what of it fits the nets."""

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from coopnets_tf.errors import RunError
from coopnets_tf.models.learner import Learner
from coopnets_tf.networks import spectral
from coopnets_tf.runs import trained
from coopnets_tf.runs.checkpoints import listed, readable, step_of
from coopnets_tf.variables import named_variables
from coopnets_tf.wording import reason

KEY = "{}/.ATTRIBUTES/VARIABLE_VALUE"  # of a variable in a checkpoint's file
KINDS = {"newest": ["ckpt", "stop"], "best": ["best"]}


def find(source: Path | str, which: str | int = "newest") -> Path:
    """The checkpoint meant by a path, without an ending.

    Args:
      source: a run, the name of one that comes with the package, or a checkpoint, such
        as `runs/mnist-1/checkpoints/ckpt-500`.
      which: of a run, "newest", "best" (by `keep_best`) or the number of a step.

    Raises:
      RunError: if there is none.
    """
    path = trained.place(source).resolve()
    if path.suffix == ".index":
        path = path.with_suffix("")
    if path.with_name(f"{path.name}.index").is_file():
        return path
    paths = listed(path / "checkpoints", ["best", "ckpt", "stop"])
    if found := [one for one in paths if _is_meant(one, which)]:
        return found[-1]
    if paths:
        names = ", ".join(one.name for one in paths)
        raise RunError(f"{source} has no checkpoint {which!r}. It has: {names}.")
    if not path.exists():
        raise RunError(f"{source} does not exist.")
    raise RunError(
        f"{source} is neither a run with checkpoints nor a checkpoint, such as "
        "runs/mnist-1/checkpoints/ckpt-500."
    )


def _is_meant(path, which):
    if which in KINDS:
        return path.name.split("-")[0] in KINDS[which]
    return str(step_of(path)) == str(which)


def load_networks(model: Learner, source: Path | str) -> tuple[Path, list[str]]:
    """Copies the weights of the nets from a checkpoint, as far as they fit. Kernels
    whose largest singular value is to be one are divided by it.

    Args:
      source: see `find`.

    Returns:
      The checkpoint's path, and one line for each weight that does not fit, or that the
      checkpoint has and the networks have not.

    Raises:
      RunError: if there is no checkpoint, it cannot be read, or no weight fits.
    """
    path = find(source)
    with _reader(path) as reader:
        fitting, misfits = _matched(_parts(model), reader)
    _assign(fitting, misfits, path)
    if "descriptor" in model.nets:
        model.nets["descriptor"].divide(rounds=spectral.ROUNDS)
    return path, misfits


def load_for_use(model: Learner, source: Path | str) -> tuple[Path, list[str]]:
    """Copies weights as `load_networks` does, for nets that will not learn any further,
    and what the model keeps besides them, such as chains. Args, Returns, Raises: as
    there.

    Where the run kept moving averages of a net's weights, it gets these. An average of
    kernels that were divided by their largest singular value is divided, too, see
    `spectral`.
    """
    path = find(source)
    with _reader(path) as reader:
        averaged = [part for part in model.nets if _has_averages(reader, part)]
        parts = {**_parts(model), "kept": model.kept}
        fitting, misfits = _matched(parts, reader, averaged)
    _assign(fitting, misfits, path)
    if "descriptor" in averaged:
        model.nets["descriptor"].divide(rounds=spectral.ROUNDS)
    return path, misfits


@contextlib.contextmanager
def _reader(path: Path) -> Iterator[Any]:
    """TensorFlow's reader of a checkpoint.

    Raises:
      RunError: if it cannot be read.
    """
    trained.check(path.parent.parent)
    try:
        with readable(path) as place:
            yield tf.train.load_checkpoint(place)
    except Exception as error:  # a damaged file fails in many ways
        raise RunError(f"{path} cannot be read: {reason(error)}") from error


def _parts(model):
    return {part: named_variables(net) for part, net in model.nets.items()}


def _has_averages(reader, part):
    """Whether a checkpoint has moving averages of a net's weights."""
    shapes = reader.get_variable_to_shape_map()
    optimizer = f"{part}_optimizer/"
    iteration = KEY.format(f"{optimizer}iteration")
    # Before the first step Keras' averages are zero.
    return (
        any(one.startswith(optimizer) and "_average/" in one for one in shapes)
        and reader.get_tensor(iteration) > 0
    )


def _matched(
    parts: Mapping[str, Mapping[str, tf.Variable]],
    reader: Any,
    averaged: Collection[str] = (),
) -> tuple[list[tuple[tf.Variable, Any]], list[str]]:
    """The variables that fit, with their values; a line for each that does not. A layer
    in a wrapper that has its name, as `spectral.normalised` puts it, fits the bare one.

    Args:
      parts: variables by their names, of each part of a model.
      averaged: parts that get averages, as far as the checkpoint has them.
    """
    fitting, misfits = [], []
    shapes = reader.get_variable_to_shape_map()
    for part, variables in parts.items():
        named = {key.split("/")[1] for key in shapes if key.split("/")[0] == part}
        others = {_bare(name): name for name in named - set(variables)}
        its = {
            one: one if one in named else others.get(_bare(one), one)
            for one in variables
        }
        for name in sorted(named - set(its.values())):
            misfits.append(f"{part} {name}: nothing here")
        for name, variable in variables.items():
            key = KEY.format(f"{part}/{its[name]}")
            average = KEY.format(f"{part}_optimizer/{part}_{its[name]}_average")
            if part in averaged and average in shapes:
                key = average
            here, found = variable.shape.as_list(), shapes.get(key, "nothing")
            if found == here:
                fitting.append((variable, reader.get_tensor(key)))
            else:
                misfits.append(f"{part} {name}: {here} here, {found} there")
    return fitting, misfits


def _bare(name):
    """`conv_0_kernel` of `conv_0_conv_0_kernel`, a name in a wrapper."""
    return re.sub(r"(?:^|(?<=_))(.+)_\1_", r"\1_", name, count=1)


def _assign(fitting, misfits, path):
    """Gives variables their values.

    Raises:
      RunError: if there are none.
    """
    if not fitting:
        raise RunError(f"No weight of {path} fits the networks. {'; '.join(misfits)}")
    for variable, value in fitting:
        variable.assign(tf.cast(value, variable.dtype))  # copies have halves
