"""What users can fix: one family of errors, whose messages say how.

A message names arguments in backquotes, such as `num_held_out`; the command line turns
those that are its flags into flags.
"""

import math
import operator


class UserError(ValueError):
    """What was asked for cannot be done; the message says why and what to do."""


class ArgumentError(UserError):
    """An argument of a function makes no sense."""


class DatasetError(UserError):
    """The data cannot be used."""


class MaskError(UserError):
    """A mask cannot be used."""


class NetworkError(UserError):
    """A network cannot be used."""


class RunError(UserError):
    """A run, or the folder of one, cannot be used."""


class ExtractorError(UserError):
    """A feature extractor is not available."""


class NotFinite(UserError):
    """A net, `net`, makes images that contain NaN or infinity."""

    def __init__(self, net: str) -> None:
        super().__init__(
            f"Images of the {net} contain NaN or infinity. Take an earlier "
            "`checkpoint`, or train with smaller learning rates."
        )
        self.net = net


class NotSaved(OSError):
    """A checkpoint could not be written; those before are as they were."""


class Diverged(RuntimeError):
    """A metric, `name`, was out of bounds; the message has its value and the step.

    `ending` is why the run did not go back, once that is known.
    """

    ending = ""

    def __init__(self, step: int, name: str, value: float = math.nan) -> None:
        super().__init__(f"{name} became {value:.4g} at step {step}")
        self.step = step
        self.name = name


class HostLost(RuntimeError):
    """One of the hosts that train together has gone, and this one with it.

    Args:
      number: of all hosts.
      reason: what TensorFlow says, of which the last words tell most.
    """

    def __init__(self, number: int, reason: str) -> None:
        first = reason.strip().split("\n")[0].split("}} ")[-1]
        super().__init__(
            f"One of the {number} hosts has ended or no longer answers; its own output "
            "says why. What was saved can be continued: start all of them again with "
            f"`resume`. (TensorFlow: {first})"
        )


class Stopped(Exception):
    """A signal ended the training after a checkpoint. `signal` is its number."""

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(f"Stopped at step {step}")
        self.signal = signal_number


def refuse_below(least: int, **arguments: int) -> None:
    """Stops where an argument, by its name, is no whole number of `least` or more."""
    for name, value in arguments.items():
        try:
            good = operator.index(value) >= least
        except TypeError:
            good = False
        if not good:
            raise ArgumentError(
                f"`{name}` must be a whole number of {least} or more. "
                f"Received: {value}."
            )
