"""Exports, used where this package cannot be."""

import inspect
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import coopnets_tf
from coopnets_tf import AlgorithmG, seeds
from coopnets_tf.errors import RunError
from coopnets_tf.networks import built_in
from coopnets_tf.runs import export as exporting
from coopnets_tf.seeds import Purpose, draw_seed
from tests.helpers import generator_of, make_generator_model, make_model, train

EXPORTS = True  # of the training
# Has an export answer where the package is absent: `questions.npz` -> `answers.npz`.
CLIENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "coopnets_tf":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import numpy as np
import tensorflow as tf
try:
    import coopnets_tf
    sys.exit("the package can be imported")
except ModuleNotFoundError:
    pass
ANSWERS
questions = np.load("questions.npz")
model = tf.saved_model.load(sys.argv[1])
np.savez("answers.npz", **answers(model, questions["images"], questions["latents"]))
assert not any(name.startswith("coopnets") for name in sys.modules)
"""
LATENTS = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)


def answers(model, images, latents):
    """What each signature of an export says, and that a method of its name says so."""
    images, latents = tf.constant(images), tf.constant(latents)
    number, steps, seed = (tf.constant(value) for value in (5, 4, 3))
    calls = {
        "sample": {"num_images": number, "seed": seed},
        "generate": {"latents": latents},
        "revise": {"images": images, "num_steps": steps, "seed": seed},
        "energy": {"images": images},
        "reconstruct": {"images": images, "num_steps": steps, "seed": seed},
        "serving_default": {"num_images": number, "seed": seed},
    }
    assert set(model.signatures) == set(calls), set(model.signatures)
    found = {}
    for name, arguments in calls.items():
        (answer,) = model.signatures[name](**arguments).values()
        found[name] = answer.numpy()
        if name != "serving_default":
            same = getattr(model, name)(*arguments.values())
            np.testing.assert_array_equal(same, answer, err_msg=name)
    assert model.sample(tf.constant(2), seed).shape == [2, 8, 8, 1]
    return found


CLIENT = CLIENT.replace("ANSWERS", inspect.getsource(answers))


def assert_answers(found, model, images):
    expected = {
        "sample": model.sample(5, seed=3),
        "generate": model.generate(LATENTS),
        "revise": model.revise(images, num_steps=4, seed=3),
        "energy": model.energy(images),
        "reconstruct": model.reconstruct(images, num_steps=4, seed=3),
        "serving_default": model.sample(5, seed=3),
    }
    assert set(found) == set(expected)
    for name, answer in expected.items():
        # The same graph in another process, rounded as its threads come.
        np.testing.assert_allclose(
            found[name], answer, rtol=1e-5, atol=1e-5, err_msg=name
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that exports averaged weights at its end; its noise is a graph's matter."""
    run_dir = tmp_path_factory.mktemp("run")
    model = make_model(num_steps=2, unroll=False, revision_noise_until=50)
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=0.5),
    )
    train(model, run_dir, num_iterations=3)
    return model, run_dir


@pytest.mark.slow
def test_an_export_needs_no_package(trained, observed, tmp_path):
    """In a process of its own, where this package is absent."""
    model, run_dir = trained
    np.savez(tmp_path / "questions.npz", images=observed, latents=LATENTS)
    result = subprocess.run(
        [sys.executable, "-c", CLIENT, run_dir / "export"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert_answers(np.load(tmp_path / "answers.npz"), model, observed)


def test_all_endpoints_answer_as_the_live_model_does(trained, observed):
    model, run_dir = trained
    found = answers(tf.saved_model.load(str(run_dir / "export")), observed, LATENTS)
    assert found["sample"].std() > 0.02
    assert_answers(found, model, observed)


def test_the_generator_is_that_of_the_formulas(trained):
    """Averaged weights and exact statistics, by hand."""
    model, run_dir = trained
    generator = model.generator
    served = tf.saved_model.load(str(run_dir / "export"))
    kept = generator.get_weights()
    try:
        generator.optimizer.finalize_variable_values(generator.trainable_variables)
        seed = draw_seed(0, step=3, purpose=Purpose.STATISTICS)
        latents = [
            seeds.standard_normal([128, 6], seed=seeds.fold_in(seed, first))
            for first in range(0, 1024, 128)
        ]
        generator.statistics.measure(latents)
        expected = generator(LATENTS)
    finally:
        generator.set_weights(kept)
    np.testing.assert_allclose(served.generate(LATENTS), expected, atol=1e-5)
    assert np.abs(generator(LATENTS) - expected).max() > 1e-3


def test_metadata(trained):
    _, run_dir = trained
    assert json.loads((run_dir / "export/metadata.json").read_text()) == {
        "dataset": "digits",
        "algorithm": "CoopNets",
        "image_shape": [8, 8, 1],
        "value_range": [-1, 1],
        "latent_shape": [6],
        "any_size": False,
        "num_classes": 0,
        "revision_steps": 2,
        "training_steps": 3,
        "package": f"coopnets_tf {coopnets_tf.__version__}",
    }


def test_an_image_of_an_export_does_not_depend_on_its_batch_mates(trained, observed):
    _, run_dir = trained
    served = tf.saved_model.load(str(run_dir / "export"))
    one, three = (served.generate(LATENTS[:number]) for number in (1, 3))
    np.testing.assert_allclose(one[0], three[0], atol=1e-5)
    seed = tf.constant(0)
    few, many = (served.sample(tf.constant(number), seed) for number in (2, 9))
    np.testing.assert_allclose(few, many[:2], atol=1e-5)


def test_a_new_export_replaces_the_old(tmp_path, observed):
    """Others' files are never lost."""
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "letter.txt").write_text("mine")
    # Without revision and noise: the quickest to write.
    model = make_model(num_steps=0, revision_noise_until=0, unroll=False)
    with pytest.raises(OSError, match="export"):
        exporting.export(model, folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["export", "letter.txt"]
    (folder / "letter.txt").unlink()
    with model.frozen():
        exporting.export(model, folder)
        (folder / "variables" / "old").write_text("of the old one")
        model.step.assign(7)
        exporting.export(model, folder, dataset="toy")
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert not (folder / "variables" / "old").exists()
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["training_steps"] == 7 and metadata["dataset"] == "toy"
    served = tf.saved_model.load(str(folder))
    np.testing.assert_allclose(
        served.energy(observed), model.energy(observed), rtol=1e-5
    )


def test_an_export_where_tensorflow_finds_nothing_says_so(tmp_path, caplog):
    place = tmp_path / "Holiday [2024]" / "export"
    exporting.export(make_model(), place)
    assert f"Copy {place} to another one to serve it" in caplog.text
    with pytest.raises((OSError, tf.errors.OpError)):
        tf.saved_model.load(str(place))
    shutil.copytree(place, tmp_path / "copy")
    served = tf.saved_model.load(str(tmp_path / "copy"))
    assert served.generate(LATENTS).shape == [3, 8, 8, 1]


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
def test_litert_has_the_generator(trained, tmp_path):
    model, _ = trained
    path = tmp_path / "generator.tflite"
    with model.frozen():
        exporting.export_litert(model.generator, path)
    interpreter = tf.lite.Interpreter(str(path))
    found = interpreter.get_signature_runner()(latents=LATENTS)
    # Other kernels, which sum a few hundred products in another order.
    np.testing.assert_allclose(
        found["output_0"], model.generate(LATENTS), rtol=0, atol=1e-4
    )
    one = interpreter.get_signature_runner()(latents=LATENTS[:1])["output_0"]
    np.testing.assert_allclose(one, found["output_0"][:1], rtol=0, atol=1e-4)


def test_litert_has_its_own_runtime(trained, tmp_path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    model, _ = trained
    path = tmp_path / "generator.tflite"
    with model.frozen():
        exporting.export_litert(model.generator, path)
    generate = litert.Interpreter(str(path)).get_signature_runner()
    for number in (3, 1):
        found = generate(latents=LATENTS[:number])["output_0"]
        # As above.
        np.testing.assert_allclose(
            found, model.generate(LATENTS[:number]), rtol=0, atol=1e-4
        )


def onnx_nets(model):
    """What the exported nets do, by onnxruntime."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    with model.frozen():
        files = exporting.onnx_nets(model)
    nets = {}
    for file, content in files.items():
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
        [given], [result] = session.get_inputs(), session.get_outputs()
        nets[file, given.name, result.name] = (
            lambda inputs, session=session, name=given.name: session.run(
                None, {name: inputs}
            )[0]
        )
    return nets


def test_onnx_has_generator_and_energy(trained, observed):
    model, _ = trained
    nets = onnx_nets(model)
    generate = nets.pop(("generator.onnx", "latents", "images"))
    energy = nets.pop(("energy.onnx", "images", "energies"))
    assert not nets
    for number in (3, 1):
        # Sums of a few hundred products of float32 in another order, before a tanh.
        np.testing.assert_allclose(
            generate(LATENTS[:number]), model.generate(LATENTS[:number]), atol=1e-5
        )
        # Such sums again; the energy is their difference, of numbers no larger than it.
        np.testing.assert_allclose(
            energy(observed[:number]), model.energy(observed[:number]), rtol=1e-5
        )


def test_onnx_takes_any_size_as_the_nets_do():
    model = make_model(network="weave", latent_size=3)
    nets = onnx_nets(model)
    generate, energy = (nets[name] for name in sorted(nets, reverse=True))
    latents = np.random.default_rng(1).standard_normal((2, 3, 5, 3)).astype("float32")
    images = generate(latents)
    assert images.shape == (2, 12, 20, 1)
    larger = model.of_size(image_size=(12, 20))
    with larger.frozen():
        np.testing.assert_allclose(images, larger.generate(latents), atol=1e-5)
        np.testing.assert_allclose(energy(images), larger.energy(images), rtol=1e-5)


def test_onnx_of_bfloat16_is_refused():
    pytest.importorskip("tf2onnx")
    net = built_in.generator("toy", (8, 8, 1), (6,), convolutions="mixed_bfloat16")
    model = AlgorithmG(generator_of(net), num_images=4)
    with pytest.raises(RunError, match="not load those of `precision`=bfloat16"):
        exporting.onnx_nets(model)


def test_the_keras_file_has_both_nets(trained, tmp_path, observed):
    model, _ = trained
    model.save(tmp_path / "model.keras")
    loaded = coopnets_tf.load(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.sample(2), model.sample(2), rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        loaded.energy(observed), model.energy(observed), rtol=1e-5
    )


def test_an_export_of_a_generator_has_no_latents_of_its_training_images(tmp_path):
    model = make_generator_model(num_images=1_234)
    with model.frozen():
        exporting.export(model, tmp_path / "export")
    listed = tf.train.list_variables(str(tmp_path / "export/variables/variables"))
    assert listed and all(1_234 not in shape for _, shape in listed)
    exported = tf.saved_model.load(str(tmp_path / "export"))
    samples = exported.sample(tf.constant(3), tf.constant(5))
    np.testing.assert_allclose(samples, model.sample(3, seed=5), atol=1e-6)
