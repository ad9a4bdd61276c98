"""The examples in the docstrings of the public names run, with fewer Langevin steps."""

import inspect
import re
import textwrap

import pytest

import coopnets_tf
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.networks import built_in
from tests.helpers import make_model, write_run

# Errors have no example.
NAMES = [
    name
    for name in coopnets_tf.__all__
    if not name.startswith("__") and not name.endswith("Error")
]
OTHERS = [built_in.descriptor, built_in.generator, ImageDataset.batches]
# A method's example goes on from a model.
METHODS = "generate sample revise energy infer reconstruct recover".split()


def example(thing):
    text = textwrap.dedent(inspect.getdoc(thing))
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return code.replace("Langevin(10,", "Langevin(1,")


@pytest.fixture(scope="module")
def model():
    """Frozen, so that no example has to do it."""
    model = make_model(unroll=False)
    model.freeze()
    return model


@pytest.mark.parametrize("name", NAMES)
def test_example(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name == "load":
        write_run(make_model(), tmp_path / "runs" / "digits-1")
    exec(example(getattr(coopnets_tf, name)), {})


@pytest.mark.parametrize("thing", OTHERS, ids=lambda thing: thing.__qualname__)
def test_example_of_a_function(thing):
    exec(example(thing), {})


@pytest.mark.parametrize("name", METHODS)
def test_example_of_a_method(name, model):
    exec(example(getattr(coopnets_tf.CoopNets, name)), {"model": model})
