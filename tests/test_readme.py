"""The README's Python, as it stands there but on fewer images."""

import re
from pathlib import Path

import keras
import numpy as np

README = Path(__file__).parent.parent / "README.md"


def test_from_python(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8").split("## From Python")[1]
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    for full, small in (("num_chains=144", "num_chains=4"), ("batch(100,", "batch(4,")):
        assert full in code
        code = code.replace(full, small)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 28, 28), np.uint8)
    monkeypatch.setattr(
        keras.datasets.mnist, "load_data", lambda: ((pixels, None), (None, None))
    )
    names = {}
    exec(code, names)
    assert int(names["model"].step) == 2
    assert names["images"].shape == (64, 28, 28, 1)
    assert np.isfinite(names["images"]).all()
    assert (tmp_path / "mnist.keras").exists()
