"""Networks from a user's Python file: `descriptor` and `generator`, functions.

    def descriptor(image_shape): ...               -> a built keras.Model
    def generator(image_shape, latent_shape): ...  -> a built keras.Model

Of a training with classes both have the number of classes as a last argument, and their
models a second input for rows of them, see `conditional`. Either may be missing. A run
keeps a copy of the file. Its code runs only with consent: the user named the file, or
has consented to the same text before.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras

from coopnets_tf.errors import NetworkError
from coopnets_tf.files import keras_folder, write_whole
from coopnets_tf.wording import one_line

COPY = "network.py"  # in the folder of a run
FUNCTIONS = {
    "descriptor": "descriptor(image_shape)",
    "generator": "generator(image_shape, latent_shape)",
}


class NetworkFile(NamedTuple):
    """A file that was read, but not yet run."""

    path: Path
    code: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.code).hexdigest()


def read(path: Path | str) -> NetworkFile:
    """Reads a network file without running it.

    Raises:
      NetworkError: if it is not a Python file, or cannot be read.
    """
    path = Path(path).expanduser()
    if path.suffix == ".keras":
        raise NetworkError(
            f"`network` must be a Python file. Received: {path}. Load it in one: def "
            f"descriptor(image_shape): return keras.saving.load_model({path.name!r})"
        )
    try:
        return NetworkFile(path, path.read_bytes())
    except FileNotFoundError as error:
        raise NetworkError(f"`network`={path} does not exist.") from error
    except OSError as error:
        raise NetworkError(f"`network`={path} cannot be read: {error}.") from error


def functions(file: NetworkFile) -> dict[str, Callable]:
    """Those of `FUNCTIONS` that a network file has, by name.

    The file, to which the user has consented, is run, once in a process.

    Raises:
      NetworkError: if it cannot be run, or has none of them.
    """
    module = _module(file.path, file.code)
    _remember(file)
    named = {name: getattr(module, name, None) for name in FUNCTIONS}
    found = {name: function for name, function in named.items() if callable(function)}
    if not found:
        raise NetworkError(
            f"`network`={file.path} must have a function "
            f"{' or '.join(FUNCTIONS.values())}. It has neither."
        )
    return found


def build(file: NetworkFile, name: str, *shapes: Any) -> keras.Model | None:
    """A network of the file, which is run; None where it has no such function.

    Args:
      name: a key of `FUNCTIONS`.
      *shapes: what that function takes, with classes their number, too.

    Raises:
      NetworkError: if the file or the function fails.
    """
    function = functions(file).get(name)
    if function is None:
        return None
    try:
        return function(*shapes)
    except Exception as error:  # the user's code may raise anything
        call = f"{name}({', '.join(map(str, shapes))})"
        told = isinstance(error, TypeError) and isinstance(shapes[-1], int)
        hint = "With `conditional` it is told the number of classes, too."
        raise NetworkError(
            f"`network`={file.path}: {call} failed, {_where(error)}"
            + (f" {hint}" if told else "")
        ) from error


def is_trusted(file: NetworkFile) -> bool:
    """Whether this user has run a file with the same text before."""
    memory = _memory(file)
    if not memory.is_file():
        return False
    # The folder may be one that everybody writes to.
    return not hasattr(os, "getuid") or memory.stat().st_uid == os.getuid()


def keep(file: NetworkFile, run_dir: Path) -> dict[str, str]:
    """Copies a file into the folder of a run; returns what `kept` needs to find it.

    Raises:
      NetworkError: if another file is in its place.
    """
    copy = run_dir / COPY
    if copy.exists() and copy.read_bytes() != file.code:
        raise NetworkError(f"{copy} is in the way of the run's copy of {file.path}.")
    write_whole(copy, file.code)
    return {"name": file.path.name, "sha256": file.sha256}


def kept(run_dir: Path, record: dict[str, str]) -> NetworkFile:
    """The copy in the folder of a run, as it was when the run began.

    Raises:
      NetworkError: if it is missing or has changed.
    """
    path = run_dir / COPY
    if not path.is_file():
        raise NetworkError(
            f"{path}, the run's copy of {record['name']}, is missing. Bring it back."
        )
    file = read(path)
    refuse_changed(file, record)
    return file


def copy_beside(run_dir: Path, folder: Path) -> None:
    """Copies the file of a run, if it has one, beside what was exported of its nets:
    their networks may need its code.
    """
    if (run_dir / COPY).is_file():
        shutil.copyfile(run_dir / COPY, folder / COPY)


def refuse_changed(file: NetworkFile, record: dict[str, str]) -> None:
    """Stops where a file is no longer the one of the run."""
    if file.sha256 != record["sha256"]:
        raise NetworkError(
            f"{file.path} was changed since the run was begun, so that its networks "
            "may be others. Bring the old text back, or begin a new run."
        )


@functools.cache
def _module(path, code):
    name = f"network_{hashlib.sha256(code).hexdigest()[:16]}"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(code, str(path), "exec"), module.__dict__)
    except Exception as error:  # the user's code may raise anything
        del sys.modules[name]
        raise NetworkError(
            f"`network`={path} cannot be imported: {_where(error)}"
        ) from error
    return module


def _where(error):
    """An error of the user's code in one line, with its place in the file."""
    lines, trace = [], error.__traceback__
    while trace:
        if trace.tb_frame.f_globals.get("__name__", "").startswith("network_"):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    place = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {one_line(error)}{place}"


def _memory(file):
    return keras_folder() / "coopnets_tf" / "trusted_networks" / f"{file.sha256}.py"


def _remember(file):
    with contextlib.suppress(OSError):  # it will be asked for again
        if not is_trusted(file):
            write_whole(_memory(file), file.code)
