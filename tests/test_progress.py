"""The terminal of a training: narrow, resized, in a pipe, or gone."""

import fcntl
import io
import os
import pty
import struct
import sys
import termios
import types

import pytest
from tqdm import tqdm

from coopnets_tf import progress
from coopnets_tf.progress import Progress, say

VALUES = {"loss_D": -12345.678, "loss_G": 1.2e-7, "moved": 0.05}


class Terminal:
    """A real one, of which the test sees what is written."""

    def __init__(self):
        self._ours, theirs = pty.openpty()
        self.stream = open(theirs, "w")

    def resize(self, columns):
        shape = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(self.stream, termios.TIOCSWINSZ, shape)

    def states(self):
        """What the line looked like, one text for each time it was written."""
        print("~", file=self.stream, flush=True)  # the end of what has to be read
        text = b""
        while b"~" not in text:
            text += os.read(self._ours, 100_000)
        lines = text.decode().partition("~")[0].replace("\n", "\r").split("\r")
        return [line.rstrip() for line in lines if line.strip()]

    def close(self):
        self.stream.close()
        os.close(self._ours)


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No bar that another test left open, and no width that one left behind."""
    tqdm._instances.clear()
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def terminal():
    made = Terminal()
    yield made
    made.close()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_bar_fits_the_terminal(terminal, monkeypatch, width):
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    terminal.resize(width)
    bar = Progress(100_000)
    bar.started(1)
    for step in (20, 40, 99_999):
        bar.report(step, VALUES)
    bar.close()
    monkeypatch.undo()
    states = terminal.states()
    assert max(map(len, states)) < width
    assert any(state.startswith("99999/100000") for state in states)
    fitting = {40: 0, 60: 1, 80: 3, 200: 3}[width]
    shown = "  ".join(["loss_D -1.23e+04", "loss_G 1.2e-07", "moved 0.05"][:fitting])
    assert states[-1].endswith(f"left, {shown}" if shown else "left")


def test_the_bar_follows_a_terminal_that_is_resized(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    terminal.resize(120)
    bar = Progress(100)
    bar.started(1)
    bar.report(20, VALUES)
    assert 80 < max(map(len, terminal.states())) < 120
    terminal.resize(40)
    bar.report(40, VALUES)
    (state,) = terminal.states()
    assert state.startswith("40/100") and len(state) < 40
    bar.close()


@pytest.mark.parametrize(
    "columns, size, length",
    [("40", 200, 39), ("", 0, 79), ("wide", 0, 79), ("", 20, 19)],
)
def test_the_width_is_that_of_columns_else_of_the_terminal_else_80(
    terminal, monkeypatch, columns, size, length
):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    terminal.resize(size)
    bar = Progress(100_000)
    bar.started(1)
    bar.report(20, VALUES)
    progress.tell("x" * 300)
    monkeypatch.undo()
    first, second, told = terminal.states()
    assert first.startswith("1/100000") and second.startswith("20/100000")
    assert [len(line) for line in (first, second, told)] == [length] * 3


def test_in_a_notebook_reports_share_a_line(monkeypatch):
    class OutStream(io.StringIO):
        __module__ = "ipykernel.iostream"

    stream = OutStream()
    monkeypatch.setattr(sys, "stdout", stream)
    bar = Progress(200)
    bar.started(1)
    bar.report(1, VALUES)
    bar.report(101, VALUES)
    bar.close()
    assert stream.getvalue().count("\n") == 1
    assert "101/200" in stream.getvalue().split("\r")[-1]


def test_elsewhere_each_report_is_a_line(monkeypatch, capsys):
    clock = iter([1000.0, 1010.5])
    stand_in = types.SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr(progress, "time", stand_in)
    lines = Progress(200)
    lines.started(1)
    lines.report(1, VALUES)
    lines.report(101, VALUES)  # 0.105 s a step, whatever came before the first
    lines.close()
    first, second = capsys.readouterr().out.splitlines()
    assert first == "step 1/200  loss_D -1.23e+04  loss_G 1.2e-07  moved 0.05"
    assert second == f"{first.replace('step 1/', 'step 101/')}  00:10 left"


class Gone:
    """A terminal that was closed, or one that lacks letters."""

    def __init__(self, error):
        self._error = error

    def isatty(self):
        return True

    def write(self, text):
        raise self._error

    def flush(self):
        pass


@pytest.mark.parametrize(
    "stream", [Gone(OSError(5, "Input/output error")), Gone(ValueError("closed")), None]
)
def test_a_training_does_not_depend_on_its_terminal(monkeypatch, stream):
    monkeypatch.setattr(sys, "stdout", stream)
    say("a folder 雪")
    bar = Progress(10)
    bar.started(1)
    bar.report(5, VALUES)
    bar.close()
