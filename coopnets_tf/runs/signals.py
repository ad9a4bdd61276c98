"""Signals that ask a training to stop."""

import contextlib
import os
import signal
from collections.abc import Iterator

# SIGHUP comes when the terminal is closed; Windows has none.
STOP_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
]


@contextlib.contextmanager
def collected() -> Iterator[list[int]]:
    """Yields a list that such signals are added to; a second SIGINT acts at once.

    A signal that is ignored (SIGINT in a job in the background, SIGHUP under nohup)
    stays ignored.
    """
    received: list[int] = []
    kept = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    kept = {key: value for key, value in kept.items() if value != signal.SIG_IGN}

    def note(number, frame):
        received.append(number)
        with contextlib.suppress(OSError):  # the terminal may be gone
            os.write(
                2, b"\nFinishing the step and a checkpoint; Ctrl-C stops at once.\n"
            )
        if signal.SIGINT in kept:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in kept:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
