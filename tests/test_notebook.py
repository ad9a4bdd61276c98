"""The quickstart notebook: its code as plain Python, and the outputs it comes with."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.helpers import ROOT

NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"

# Stands before the notebook's code: `display` as Jupyter has it, here it counts images;
# and a watch on all files that Python writes.
PREAMBLE = """
import os
import sys
from pathlib import Path

from PIL import Image

home, displayed, strays = Path.cwd(), [], []

def watch(event, details):
    written = {"os.mkdir": 0, "os.rename": 1, "os.remove": 0}
    if event in written:
        path = details[written[event]]
    elif event == "open" and details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        path = details[0]
    else:
        return
    if isinstance(path, str | bytes | os.PathLike):
        path = Path(os.path.realpath(os.fsdecode(path)))
        if not path.is_relative_to(home) and path != Path(os.devnull):
            strays.append(str(path))

def display(image):
    assert isinstance(image, Image.Image)
    displayed.append(image.size)

sys.addaudithook(watch)
"""
POSTSCRIPT = """
assert len(displayed) > 4, displayed
assert not strays, strays
"""


def cells(cell_type):
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == cell_type]


def folder_content():
    return sorted(path.name for path in NOTEBOOK.parent.iterdir())


def short_code():
    """The notebook's code with short chains."""
    code = "\n\n".join("".join(cell["source"]) for cell in cells("code"))
    assert "_steps=300" in code
    return code.replace("_steps=300", "_steps=3")


@pytest.mark.slow
def test_code_runs_and_writes_nothing_elsewhere(tmp_path):
    script = tmp_path / "quickstart.py"
    script.write_text(PREAMBLE + short_code() + POSTSCRIPT, encoding="utf-8")
    environment = {
        **os.environ,
        "QUICKSTART_STEPS": "3",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        **dict.fromkeys(("HOME", "KERAS_HOME", "TMPDIR"), str(tmp_path)),
    }
    before = folder_content()
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert folder_content() == before
    assert (tmp_path / "runs/quickstart_export/saved_model.pb").exists()


def test_outputs():
    """Those of one whole run: pictures, no warnings, no paths or addresses."""
    assert NOTEBOOK.stat().st_size < 600_000
    code = cells("code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert sum("image/png" in output.get("data", {}) for output in outputs) > 4
    for output in outputs:
        assert output["output_type"] in ("stream", "display_data")
        assert output.get("name") != "stderr"
        text = "".join(output.get("text", output.get("data", {}).get("text/plain")))
        assert not re.search(r"warning|0x[0-9a-f]{6}|(^|\W)/\w+/", text, re.IGNORECASE)


def test_lines():
    """Short ones, and nothing but Python in the code."""
    for cell in cells("code") + cells("markdown"):
        lines = "".join(cell["source"]).splitlines()
        assert all(len(line) <= 88 for line in lines)
        if cell["cell_type"] == "code":
            compile("\n".join(lines), cell["id"], "exec")
