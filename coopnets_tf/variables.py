"""The variables of nets and optimizers by names that are the same in every process."""

import re

import keras
import tensorflow as tf

from coopnets_tf.errors import NetworkError


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
    """A variable's path, with the names of the Sequential model and of the wrapper that
    it is in: Keras leaves them out when it builds these from their configuration.
    """
    inside = [
        layer.name
        for layer in net._flatten_layers()  # the innermost model comes last
        if isinstance(layer, keras.Sequential)
        and any(variable is own for own in layer.variables)
    ]
    prefix = f"{inside[-1]}/" if inside else ""
    path = prefix + variable.path.removeprefix(prefix)
    for wrapper in net._flatten_layers():
        if not isinstance(wrapper, keras.layers.Wrapper):
            continue
        if any(variable is own for own in wrapper.layer.variables):
            inner = f"{wrapper.layer.name}/"
            both = f"{wrapper.name}/{inner}"
            path = path if both in path else path.replace(inner, both, 1)
    return path


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
