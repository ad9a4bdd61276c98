"""Images of other sizes than those trained on, by nets that take any."""

from collections.abc import Mapping, Sequence
from typing import Any

from coopnets_tf.errors import NetworkError
from coopnets_tf.networks import checks
from coopnets_tf.wording import by

Size = Sequence[int]  # sides, without the channels
Shape = tuple[int, ...]


def shapes(
    nets: Mapping[str, Any], image_size: Size | None, latent_size: Size | None
) -> dict[str, Shape]:
    """The shape of what goes into each net, by its name, for images of another size.

    Args:
      nets: descriptor, generator or both, by name, and what they were trained for.
      image_size, latent_size: one of the two, see `ImageModel.of_size`.

    Raises:
      NetworkError: if a net makes images of one size alone, or none of this size.
    """
    image_shape = next(iter(nets.values())).image_shape
    trained, channels = image_shape[:-1], image_shape[-1]
    for name, net in nets.items():
        if not checks.takes_any(net):
            raise NetworkError(
                f"The {name} is for images of {by(trained)} alone. Those of "
                "`network`=texture, convolutional all over, are for any size."
            )
    factors, numbers = (1,) * len(trained), None
    if "generator" in nets:
        *places, numbers = nets["generator"].latent_shape
        factors = tuple(side // own for side, own in zip(trained, places, strict=True))
    if image_size is not None:
        places = _places(image_size, factors)
    elif latent_size is None or numbers is None:
        other = "" if numbers is None else ", or `latent_size`"
        raise NetworkError(f"Give `image_size`{other}.")
    else:
        places = _without_numbers(latent_size, len(trained), numbers)
    sides = (side * factor for side, factor in zip(places, factors, strict=True))
    found = {"descriptor": (*sides, channels), "generator": (*places, numbers)}
    return {name: found[name] for name in nets}


def _places(image_size, factors):
    """The map of latents for images of a size."""
    if len(image_size) != len(factors) or any(
        side % factor for side, factor in zip(image_size, factors, strict=True)
    ):
        nearest = [
            max(1, round(side / factor)) * factor
            for side, factor in zip(image_size, factors, strict=False)
        ]
        raise NetworkError(
            f"`image_size` must have {len(factors)} sides, multiples of "
            f"{' and '.join(map(str, dict.fromkeys(factors)))}. Received: "
            f"{by(image_size)}. Take {by(nearest)}."
        )
    return [side // factor for side, factor in zip(image_size, factors, strict=True)]


def _without_numbers(latent_size, rank, numbers):
    """The map alone, where a size may also end in the numbers at each place."""
    if tuple(latent_size[rank:]) not in ((), (numbers,)) or len(latent_size) < rank:
        raise NetworkError(
            f"`latent_size` must be a map of {rank} sides such as 14x14, of {numbers} "
            f"at each place. Received: {by(latent_size)}."
        )
    return list(latent_size[:rank])
