"""What the program is called, and what it consists of, for the texts that say so."""

import platform
import runpy
import shlex
import sys
from importlib import metadata, util
from pathlib import Path

COMMAND = "coopnets"  # of an installation; in a checkout main.py is called


def name() -> str:
    """How to call the program again: as it was called."""
    return COMMAND if _is_command() else "python main.py"


def call() -> str:
    """The command line as it was typed, for a shell."""
    program = [COMMAND] if _is_command() else ["python", sys.argv[0]]
    return shlex.join([*program, *sys.argv[1:]])


def _is_command():
    return Path(sys.argv[0]).stem == COMMAND  # coopnets.exe, too


def versions() -> str:
    """What is installed, in a line. Nothing is imported for it."""
    own = "missing"
    if place := package():  # a checkout need not be installed
        own = runpy.run_path(str(place / "version.py"))["__version__"]
    return (
        f"coopnets_tf {own}, TensorFlow {_version('tensorflow')}, "
        f"Keras {_version('keras')}, Python {platform.python_version()}"
    )


def package() -> Path | None:
    """The folder of the package, which is not imported for it; None without one."""
    found = util.find_spec("coopnets_tf")
    return Path(found.origin).parent if found and found.origin else None


def _version(distribution):
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "missing"
