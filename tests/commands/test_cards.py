"""Pushing to the Hugging Face hub and loading from it, without the hub.

The hub's client is `tests/fake_hub/huggingface_hub.py`, a stand-in that keeps files in
a folder. What is tested is therefore Keras's own code for `hf://` and ours on top of
it; nobody's account and no network are needed, and the hub itself is not tested.
"""

import json
import sys

import numpy as np
import pytest
from keras.src.saving import saving_lib
from PIL import Image

import coopnets_tf
from commands import cards, share
from coopnets_tf.errors import RunError
from tests.helpers import (
    ROOT,
    call,
    called,
    make_descriptor_model,
    make_generator_model,
    make_model,
    write_run,
)

FAKE = ROOT / "tests" / "fake_hub"
FLAGS = """\
# python /home/me/code/main.py '--workdir=/home/me/a b' --data_dir ~/c/d --seed=3
# 2026-11-25 01:18:51 +0000, Python 3.11.7
# coopnets --resume --workdir=/home/me/run
# python main.py --dataset='unclosed
--dataset=digits
"""
METRICS = [
    {"step": 1, "epoch": 0.5, "energy_gap": 7.0},
    {"step": 2, "epoch": 1.0, "energy_gap": -1.23456},
    {"step": 2, "rollbacks": 1, "story": "..."},
    {"step": 4, "epoch": 2.0, "energy_gap": 9.0},
]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run as training leaves it, at step 3, with metrics that reach beyond."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    write_run(make_model(), folder, step=3)
    (folder / "flags.cfg").write_text(FLAGS)
    lines = "".join(json.dumps(line) + "\n" for line in METRICS)
    (folder / "metrics.jsonl").write_text(lines)
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub, the folder of the fake client."""
    monkeypatch.setenv("FAKE_HUB", str(tmp_path))
    monkeypatch.syspath_prepend(FAKE)
    monkeypatch.delitem(sys.modules, "huggingface_hub", raising=False)
    import huggingface_hub

    # Keras looks for the client once, when it is imported itself.
    monkeypatch.setattr(saving_lib, "huggingface_hub", huggingface_hub)
    yield tmp_path
    del sys.modules["huggingface_hub"]


def test_what_the_command_pushes_can_be_loaded(run_dir, hub):
    hub_flags = ["--export_format=hub", "--hub=me/toy", "--license=mit"]
    workdir = f"--workdir={run_dir}"
    output = called("--mode=export", *hub_flags, workdir, cwd=hub)
    assert "Nets of step 3 and their card: hf://me/toy" in output
    names = {path.name for path in (hub / "me/toy").iterdir()}
    assert names >= {"config.json", "model.weights.h5", "README.md", "samples.png"}
    # Keras's card came first, and ours over it.
    commits = (hub / "commits.txt").read_text().splitlines()
    assert commits == ["Save model using Keras.", "Add the card of the training run."]
    text = (hub / "me/toy/README.md").read_text()
    model = coopnets_tf.load(run_dir)
    assert text == cards.card(
        model, run_dir, "hf://me/toy", dataset="digits", license="mit"
    )
    with Image.open(hub / "me/toy/samples.png") as picture:
        assert picture.size[0] == picture.size[1] > 8 * 8
    loaded = coopnets_tf.load("hf://me/toy")
    assert int(loaded.step) == 3
    latents = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    expected = model.generator(latents)
    np.testing.assert_array_equal(loaded.generator(latents), expected)
    scores = model.descriptor(expected)
    np.testing.assert_array_equal(loaded.descriptor(expected), scores)


def test_card(run_dir):
    model = make_model()
    model.step.assign(3)
    text = cards.card(model, run_dir, "hf://me/toy", dataset="/home/me/photos")
    front, body = text.removeprefix("---\n").split("---\n", 1)
    assert "library_name: keras\n" in front and "license" not in front
    assert body.startswith("\n# toy\n")
    for part in (
        "together on `photos` by",
        "from 6 normal random numbers",
        "Langevin dynamics, 3 steps in training",
        "8x8 pixels and 1 channel.",
        "after 3 training steps.",
        "![Samples of the model](samples.png)",
        'coopnets_tf.load("hf://me/toy")',
        "float32 [64, 8, 8, 1]",
        "python main.py '--workdir=a b' --data_dir d --seed=3\n# 2026-11-25 01:18:51",
        "\ncoopnets --resume --workdir=run\n",
        "Metrics at step 2,",
        "| epoch | 1 |\n| energy_gap | -1.235 |\n",
    ):
        assert part in text
    assert "/home" not in text and "unclosed" not in text and "{" not in text


def test_a_licence_is_for_the_front(run_dir):
    text = cards.card(make_model(), run_dir, "me/toy", dataset="toy", license="cc0-1.0")
    assert "\nlicense: cc0-1.0\ntags:\n- coopnets\n" in text
    assert "| metric |" not in text  # there is none at step 0


def test_a_push_that_fails_can_be_repeated(run_dir, hub):
    model = make_model()
    model.freeze()
    with pytest.raises(OSError, match="whole.*again: Invalid metadata in README.md"):
        share.push(model, run_dir, "me/toy", dataset="toy", license="no such: one")
    assert "generated automatically" in (hub / "me/toy/README.md").read_text()
    share.push(model, run_dir, "me/toy", dataset="toy", license="mit")
    assert "license: mit" in (hub / "me/toy/README.md").read_text()


def test_without_the_client_there_is_a_way_out(run_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # its import fails
    with pytest.raises(RunError, match="hub, which needs pip install huggingface_hub"):
        share.push(make_model(), run_dir, "me/toy", dataset="toy")
    with pytest.raises(RunError, match="hub, which needs pip install huggingface_hub"):
        coopnets_tf.load("hf://me/toy")


def test_an_address_without_a_model_is_refused(hub):
    with pytest.raises(RunError, match="hf://me/nothing cannot be loaded"):
        coopnets_tf.load("hf://me/nothing")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hub=me/toy"],
        ["--export_format=hub"],
        ["--export_format=hub", "--hub=toy"],
        ["--export_format=hub", "--hub=hf://me/toy"],
        ["--export_format=hub", "--hub=me/toy", "--license=a b"],
        ["--export_format=hub", "--hub=me/toy", "--license=mit\nx: y"],
    ],
)
def test_wrong_flags_are_refused(arguments, tmp_path):
    code, _, errors = call("--mode=export", *arguments, cwd=tmp_path)
    assert code == 2
    assert errors.startswith("Error: --") and errors.count("\n") == 1
    assert "must be" in errors or "go together" in errors


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (make_descriptor_model, "A descriptor (an energy-based model), trained on `d`"),
        (make_generator_model, "from 6 normal random numbers. Images have\n8x8 pixels"),
    ],
)
def test_a_card_of_one_net_tells_of_that_net(make, text, run_dir):
    found = cards.card(make(), run_dir, "me/toy", dataset="d")
    assert text in found
    assert "This is the net\nafter 0 training steps." in found
    assert "{" not in found.split("```")[0]
