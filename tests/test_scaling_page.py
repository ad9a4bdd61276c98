"""docs/SCALING.md: its scripts are bash, and its flags are flags."""

import re
import subprocess
import textwrap

import pytest

import flags
from tests.helpers import ROOT

PAGE = (ROOT / "docs/SCALING.md").read_text(encoding="utf-8")
SCRIPTS = {
    "SLURM": re.search(r"```bash\n(.*?)```", PAGE, re.DOTALL)[1],
    "Kubernetes": textwrap.dedent(re.search(r"- \|\n((?: {14}.*\n)+)", PAGE)[1]),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_bash(name):
    checked = subprocess.run(
        ["bash", "-n"], input=SCRIPTS[name], capture_output=True, text=True
    )
    assert checked.returncode == 0 and not checked.stderr
    assert "main.py" in SCRIPTS[name]


def test_flags_are_flags():
    text = PAGE.replace("\\\n", " ")
    names = {
        name
        for line in re.findall(r"main\.py (.*)|what=\((.*)\)", text)
        for name in re.findall(r"--(\w+)", " ".join(line))
    }
    assert {"hosts", "host_index", "devices", "resume", "num_chains"} <= names
    assert names <= set(flags.FACTS)
