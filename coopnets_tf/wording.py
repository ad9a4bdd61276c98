"""Words of messages: numbers of things, errors in one line, likely spellings."""

import difflib
import re
from collections.abc import Iterable


def counted(number: int, things: str) -> str:
    """Such as "1,200 images" or "1 image".

    Args:
      things: a plural whose first word that ends with an s loses it for one thing, such
        as "test images, held out of training".
    """
    if number == 1:
        things = re.sub(r"s\b", "", things, count=1)
    return f"{number:,} {things}"


def by(lengths: Iterable[int]) -> str:
    """Such as "96x64"."""
    return "x".join(map(str, lengths))


def lengths(text: str) -> tuple[int, ...]:
    """The numbers of a text such as 100, 96x64 or 7x7x1."""
    return tuple(map(int, text.split("x")))


def one_line(error: BaseException) -> str:
    """The message of any error in one line, without the colours of Keras'."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())


def reason(error: BaseException) -> str:
    """The first line of an error, without TensorFlow's internals."""
    line = str(error).partition("\n")[0] or repr(error)
    return re.sub(r"{{.*?}} | \[Op:.*", "", line)


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message: the known name most like an unknown one, if any."""
    known, name = list(names), name.lower()
    begun = [one for one in known if name and one.lower().startswith(name)]
    found = begun or difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {found[0]}?" if found else ""
