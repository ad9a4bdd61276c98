"""docs/PYTHON.md as it stands, but on fewer images, chains and steps."""

import functools
import re

import keras
import numpy as np

import coopnets_tf
from coopnets_tf.models import image_learner
from tests.helpers import ROOT

SMALLER = {
    "num_chains=144": "num_chains=4",
    "batch(100,": "batch(4,",
    "Langevin(15,": "Langevin(1,",
    "num_iterations=600": "num_iterations=2",
}


def test_from_python(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/PYTHON.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    assert 'built_in.descriptor("mnist", (28, 28, 1))' in code
    for full, small in SMALLER.items():
        assert full in code
        code = code.replace(full, small)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 28, 28), np.uint8)
    monkeypatch.setattr(
        keras.datasets.mnist, "load_data", lambda: ((pixels, None), (None, None))
    )
    few = {"num_latents": 8, "batch_size": 8}
    for name in ("frozen", "freeze"):
        own = functools.partial(getattr(image_learner, name), **few)
        monkeypatch.setattr(image_learner, name, own)
    names = {}
    exec(code, names)
    assert int(names["model"].step) == 2
    assert names["images"].shape == (64, 28, 28, 1)
    assert np.isfinite(names["images"]).all()
    model = coopnets_tf.load("runs/mine")
    np.testing.assert_allclose(model.sample(4, seed=0), names["images"][:4], atol=1e-5)
    names["model"].save("mnist.keras")
    assert (tmp_path / "mnist.keras").exists()
