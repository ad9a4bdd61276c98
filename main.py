"""Trains cooperative networks: python main.py --dataset=digits|mnist|...|FOLDER
and uses them:               python main.py --mode=sample|evaluate|recover|...

The flags are explained by --help and --helpfull.
"""

import sys
import traceback
import warnings
from collections.abc import Mapping
from typing import Any

import flags
import surroundings


def main() -> None:
    surroundings.harmless_output()
    surroundings.plain_warnings()
    flags.parse(sys.argv)
    settings = flags.settings()
    print(f"{_asked(settings)} | starting TensorFlow", flush=True)
    if path := flags.faster(settings):
        print(
            "A whole training with these settings takes hours on a small machine, for "
            f"which there is --flagfile=flags/{path.name}.",
            flush=True,
        )
    try:
        names = ("deterministic", "devices", "precision")
        surroundings.load_tensorflow(**{name: settings[name] for name in names})
        run(settings)
    except surroundings.Unusable as error:
        sys.exit(_failed(error, settings, code=2))
    except KeyboardInterrupt as error:
        text = "Interrupted."
        if settings["mode"] == "train":
            text += " What was saved before can be continued with --resume."
        sys.exit(_failed(error, settings, code=130, text=text))


def _asked(settings):
    """What was asked for, to be said before TensorFlow takes its seconds."""
    mode = settings["mode"]
    if mode != "train":
        return f"{mode}: {settings['workdir']}"
    if settings["resume"]:
        return f"{mode}: on from {settings['workdir']}"
    return f"{mode}: {settings['algorithm']} on {settings['dataset']}"


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
        way_out = "Free this device, or use one with more memory."
        if settings["mode"] == "train":
            chains = "" if settings["algorithm"] == "generator" else "--num_chains and "
            way_out = f"Give a smaller {chains}--batch_size."
        sys.exit(_failed(error, settings, code=1, text=f"Out of memory. {way_out}"))
    except (OSError, errors.HostLost) as error:
        sys.exit(_failed(error, settings, code=1))
    except errors.Diverged as error:
        text = f"{error}, {error.ending}. {_advice(settings, error.name)}"
        sys.exit(_failed(error, settings, code=1, text=text))


def _advice(settings, metric):
    """Smaller rates, and shorter steps of G1, of the net whose metric it was, else of
    all that learn.
    """
    algorithm = settings["algorithm"]
    nets = [algorithm] if algorithm != "coopnets" else ["descriptor", "generator"]
    of_one = {"descriptor_loss": "descriptor", "generator_loss": "generator"}
    nets = [of_one[metric]] if metric in of_one else nets
    rates = [f"{net}_learning_rate" for net in nets]
    tenths = " and ".join(f"--{rate}={settings[rate] / 10:.1g}" for rate in rates)
    ways = [f"a tenth of the rate ({tenths})"]
    if "generator" in nets and settings["generator_num_steps"]:
        third = settings["generator_step_size"] / 3
        ways.append(f"shorter steps of G1 (--generator_step_size={third:.1g})")
    if settings["rollback_rate_factor"] == 1:
        ways.append("--rollback_rate_factor=0.5")
    tried = ", or ".join(ways)
    return f"Try {tried}, in a new run (--init_from=<this one> keeps its nets)."


def _failed(error, settings, *, code, text=None):
    """Says what went wrong, and on demand where; returns the exit code."""
    if settings["debug"] and error:
        traceback.print_exception(error)
    print(f"Error: {flags.with_flags(text or str(error))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
