"""Trains cooperative networks: python main.py --dataset=digits|mnist|...|FOLDER
and uses them:               python main.py --mode=sample|evaluate|recover|...

Two nets learn together. The generator drafts images, the descriptor revises them by
Langevin dynamics; the descriptor learns from the difference to real images, the
generator from how its drafts were revised. Or one learns alone, by
--algorithm=descriptor or --algorithm=generator. Each run fills a folder of its own with
metrics, pictures, TensorBoard events, checkpoints and a SavedModel of the nets.

The flags by what they are about; all of them are explained below. Defaults are those
without a preset: flags/<dataset>.cfg and flags/<algorithm>.cfg change some, and a run's
flags.cfg has them all.
"""

import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Mapping
from typing import Any

from absl import app
from absl import flags as absl_flags

import flags
import surroundings
from flags import facts

__doc__ += flags.overview()
absl_flags.adopt_module_key_flags(facts)


def main(argv: list[str]) -> None:
    settings = flags.settings()
    if len(argv) > 1:
        text = f"Flags begin with --. Received: {shlex.join(argv[1:])}. See --help."
        sys.exit(_failed(None, settings, code=2, text=text))
    surroundings.harmless_output()
    try:
        surroundings.load_tensorflow(deterministic=settings["deterministic"])
        run(settings)
    except KeyboardInterrupt as error:
        text = "Interrupted. What was saved before can be continued with --resume."
        sys.exit(_failed(error, settings, code=130, text=text))


def run(settings: Mapping[str, Any]) -> None:
    """Runs the mode that was asked for; errors of the user's end in an exit code."""
    import tensorflow as tf
    from PIL import Image

    import commands
    from coopnets_tf import errors

    # A picture large enough to exhaust the memory is an error, not a line of warning.
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        commands.run(settings["mode"], settings)
    except errors.Stopped as stop:
        sys.exit(128 + stop.signal)
    except errors.UserError as error:
        sys.exit(_failed(error, settings, code=2))
    except tf.errors.ResourceExhaustedError as error:
        chains = "" if settings["algorithm"] == "generator" else "--num_chains and "
        text = f"Out of memory. Give a smaller {chains}--batch_size."
        sys.exit(_failed(error, settings, code=1, text=text))
    except OSError as error:
        sys.exit(_failed(error, settings, code=1))
    except errors.Diverged as error:
        text = f"{error}, {error.ending}. {_advice(settings)}"
        sys.exit(_failed(error, settings, code=1, text=text))


def _advice(settings):
    nets, algorithm = ["descriptor", "generator"], settings["algorithm"]
    nets = [algorithm] if algorithm in nets else nets
    names = ", ".join(f"--{net}_learning_rate, --{net}_step_size" for net in nets)
    return (
        "In a new run (--init_from=<this one> keeps its nets) try a smaller "
        f"{names}, or --rollback_rate_factor=0.5."
    )


def _failed(error, settings, *, code, text=None):
    """Says what went wrong, and on demand where; returns the exit code."""
    if settings["debug"] and error:
        traceback.print_exception(error)
    print(f"Error: {_with_flags(text or str(error))}", file=sys.stderr)
    return code


def _with_flags(text):
    """An error of the package, whose arguments are flags here."""

    def flag(match):
        return f"--{match[1]}" if match[1] in flags.FACTS else match[0]

    return re.sub(r"`(\w+)`", flag, text)


if __name__ == "__main__":
    app.run(main, flags_parser=flags.parse)
