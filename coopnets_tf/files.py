"""Files that appear whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

RUN_DESCRIPTION = "model.json"  # what makes a folder a run


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file, and its folder, so that a crash leaves the old file, or none.

    Raises:
      OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_bytes(content)
        os.replace(new, path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Writes what JSON can hold, as `write_whole` does.

    Raises:
      ValueError: if a number in it is not finite.
    """
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_whole(path, text.encode())


def keras_folder() -> Path:
    """Where Keras keeps what it downloads, and this package what it remembers.

    Without a home, or without permission to write to it, /tmp/.keras, as for Keras.
    """
    if own := os.environ.get("KERAS_HOME"):
        return Path(own)
    home = os.path.expanduser("~")
    its_own = os.path.isabs(home) and os.access(home, os.W_OK)
    return Path(home if its_own else "/tmp", ".keras")
