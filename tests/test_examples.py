"""The examples in the docstrings of the public names run."""

import inspect
import re
import textwrap

import pytest

import coopnets_tf
from coopnets_tf.runs import saving
from tests.helpers import make_model, train

NAMES = [name for name in coopnets_tf.__all__ if not name.startswith("__")]
# A method's example goes on from a model.
METHODS = "generate sample revise energy infer reconstruct recover".split()


def examples(thing):
    text = textwrap.dedent(inspect.getdoc(thing))
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("name", NAMES)
def test_example(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name == "load":
        run_dir = tmp_path / "runs" / "digits-1"
        run_dir.mkdir(parents=True)
        model = train(make_model(unroll=False), run_dir, num_iterations=1)
        saving.describe(model, run_dir, dataset="digits")
    (code,) = examples(getattr(coopnets_tf, name))
    exec(code, {})


@pytest.mark.parametrize("name", METHODS)
def test_example_of_a_method(name, model):
    (code,) = examples(getattr(coopnets_tf.CoopNets, name))
    exec(code, {"model": model})
