import json
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import serving
from coopnets_tf.runs.export import export
from tests.helpers import ROOT, make_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving") / "export"
    model = make_model(unroll=False)
    with model.frozen():
        export(model, folder, dataset="toy")
    return folder


def assert_all_timed(result):
    assert [(case["signature"], case["num_images"]) for case in result["cases"]] == [
        ("generate", 1),
        ("sample", 1),
        ("generate", 64),
        ("sample", 64),
    ]
    for case in result["cases"]:
        assert 0 < case["median_ms"] <= case["percentile_95_ms"]
        assert case["images_per_second"] > 0
    assert result["export"]["dataset"] == "toy"


def test_all_cases_are_timed(folder, monkeypatch):
    monkeypatch.setattr(serving, "WARM_UP", 1)
    assert_all_timed(serving.measure(folder, calls=2))


MEASURE = """
import json, pathlib, sys
from benchmarks import serving
print(json.dumps(serving.measure(pathlib.Path(sys.argv[1]), calls=2)))
assert not any("coopnets_tf" in name for name in sys.modules)
"""


@pytest.mark.slow
def test_they_are_timed_without_the_package(folder):
    command = [sys.executable, "-c", MEASURE, folder]
    assert_all_timed(json.loads(subprocess.check_output(command, cwd=ROOT)))


def test_summary():
    # The 95th percentile of 1 to 101 ms is 96 ms; 101 calls take 5.151 s.
    case = serving.summary("sample", 64, [k / 1000 for k in range(101, 0, -1)])
    assert (case["median_ms"], case["percentile_95_ms"]) == (51, 96)
    assert case["images_per_second"] == round(64 * 101 / 5.151, 1)


def test_no_export_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(serving, "EXPORT", types.SimpleNamespace(value=str(tmp_path)))
    monkeypatch.setattr(serving, "CALLS", types.SimpleNamespace(value=2))
    with pytest.raises(SystemExit) as end:
        serving.run([])
    output, errors = capsys.readouterr()
    assert (end.value.code, output) == (2, "")
    assert errors.startswith(f"Error: {tmp_path} holds no export: ")
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "{}"])
def test_a_damaged_export_is_refused(text, tmp_path):
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises((OSError, ValueError)):
        serving.measure(tmp_path, calls=2)


def test_signatures_take_what_a_request_holds(folder):
    """The requests in docs/SERVING.md: plain numbers and lists, by name."""
    signatures = tf.saved_model.load(str(folder)).signatures

    def call(name, **inputs):
        (output,) = signatures[name](
            **{key: tf.constant(value) for key, value in inputs.items()}
        ).items()
        assert output[0] == "output_0"
        return output[1].numpy()

    images = call("sample", num_images=2, seed=0)
    assert images.shape == (2, 8, 8, 1) and images.dtype == np.float32
    assert np.array_equal(call("serving_default", num_images=3, seed=0)[:2], images)
    assert call("generate", latents=[[0.0] * 6]).shape == (1, 8, 8, 1)
    for name in ("revise", "reconstruct"):
        answer = call(name, images=images.tolist(), num_steps=2, seed=0)
        assert answer.shape == images.shape
    assert call("energy", images=images.tolist()).shape == (2,)
