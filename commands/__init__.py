"""What main.py runs: one function for each mode, whose arguments are flags' values."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from commands import (
    build,
    evaluate,
    interpolate,
    recover,
    sample,
    share,
    show,
    train,
)

COMMANDS: dict[str, Callable] = {
    "train": train.train,
    "sample": sample.sample,
    "interpolate": interpolate.interpolate,
    "reconstruct": recover.reconstruct,
    "recover": recover.recover,
    "show": show.show,
    "evaluate": evaluate.evaluate,
    "export": share.export,
}


def run(mode: str, settings: Mapping[str, Any]) -> None:
    """Runs a mode with the settings, by the flags' names, that its function takes.

    A function that takes `settings` gets all of them, one that takes `data` the
    arguments of `datasets.load_splits`.
    """
    names = inspect.signature(COMMANDS[mode]).parameters
    chosen = {name: settings[name] for name in names if name in settings}
    if "settings" in names:
        chosen["settings"] = settings
    if "data" in names:
        chosen["data"] = build.data_options(settings)
    COMMANDS[mode](**chosen)
