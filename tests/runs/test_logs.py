import sys

import pytest

from coopnets_tf.runs.logs import Progress


@pytest.mark.parametrize("terminal", [True, False])
def test_progress(monkeypatch, capsys, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    progress = Progress(200)
    progress.report(200, {"loss_D": -123.456, "moved": 0.05})
    shown = capsys.readouterr().out
    assert "200/200" in shown
    assert ("━" in shown) is terminal
    assert ("left" in shown) is not terminal
    assert "-123.4" in shown or "-123.5" in shown
