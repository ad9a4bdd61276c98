"""Files that appear whole or not at all."""

import json
import os


def write_whole(path, content):
    """Writes a file so that a crash or a full disk leaves the old one, or none.

    Args:
      path: `Path`; its folder is made.
      content: bytes.

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


def write_json(path, content):
    """Writes what JSON can hold, as `write_whole` does.

    Raises:
      ValueError: if a number in it is not finite.
    """
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_whole(path, text.encode())
