"""Networks from a user's Python file, from the command line to the hub."""

import json
from pathlib import Path

import keras
import pytest

import coopnets_tf
from coopnets_tf.errors import NetworkError, RunError
from coopnets_tf.networks import network_file
from tests.helpers import TINY, assert_same_run, call, called, refused

HEAD = "import keras\nfrom coopnets_tf.networks import built_in\n"
PAIR = (
    HEAD
    + """
def descriptor(image_shape):
    images = keras.Input(image_shape)
    maps = keras.layers.Conv2D(4, 3, activation="relu")(images)
    return keras.Model(images, keras.layers.Dense(2)(maps))

def generator(image_shape, latent_shape):
    latents = keras.Input(latent_shape)
    maps = keras.layers.Dense(8 * 8 * 2)(keras.layers.Flatten()(latents))
    maps = keras.layers.Reshape((8, 8, 2))(maps)
    maps = keras.layers.BatchNormalization()(maps)
    images = keras.layers.Conv2D(1, 3, padding="same", activation="tanh")(maps)
    return keras.Model(latents, images)
"""
)
OWN_LAYER = (
    HEAD
    + """
@keras.saving.register_keras_serializable("mine")
class Scaled(keras.layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones")

    def call(self, images):
        return images * self.scale

def descriptor(image_shape):
    images = keras.Input(image_shape)
    return keras.Model(images, Scaled()(images))
"""
)
ALONE = ["--algorithm=descriptor", "--num_persistent_chains=9"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a `nets.py`, and a user who has trusted no file yet."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    (tmp_path / "work/nets.py").write_text(PAIR)
    return tmp_path / "work"


def trained(place, *arguments):
    return called(*TINY, "--network=nets.py", "--workdir=run", *arguments, cwd=place)


def test_a_run_keeps_its_networks_and_goes_on_exactly(place):
    output = trained(place, "--latent_size=3x2")
    # 3*3*1*4 + 4 + 4*2 + 2; 6*128 + 128 + 4*2 + 3*3*2*1 + 1
    assert "nets.py nets: descriptor 50, generator 923 parameters" in output
    called(*TINY, "--network=nets.py", "--workdir=long", "--latent_size=3x2", cwd=place)
    copy = place / "run/network.py"
    assert copy.read_text() == PAIR
    (place / "nets.py").rename(place / "moved.py")  # the run's own copy is enough
    for _ in range(2):  # with names that Keras has counted on in between
        called("--resume", "--workdir=run", "--num_iterations=4", cwd=place)
    (place / "moved.py").rename(place / "nets.py")
    called("--resume", "--workdir=long", "--num_iterations=4", cwd=place)
    assert_same_run(place / "run", place / "long")
    model = coopnets_tf.load(place / "run")
    assert model.sample(3).shape == (3, 8, 8, 1)
    assert model.generator.latent_shape == (3, 2)
    called("--mode=interpolate", "--workdir=run", cwd=place)


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        (
            "generator",
            "nets.py (has no generator) and built-in digits_generator nets: d",
        ),
        (
            "descriptor",
            "nets.py (has no descriptor) and built-in digits_descriptor nets: d",
        ),
    ],
)
def test_what_a_file_lacks_is_built_in(place, missing, text):
    (place / "nets.py").write_text(PAIR.replace(f"def {missing}", "def other"))
    assert text in trained(place)


def test_a_changed_or_missing_file_is_refused_by_name(place):
    trained(place)
    resume = "--resume", "--workdir=run", "--num_iterations=4"
    (place / "nets.py").write_text(PAIR + "# new\n")
    assert f"{place}/nets.py was changed since" in refused(*resume, cwd=place)
    (place / "nets.py").write_text(PAIR)
    copy = place / "run/network.py"
    copy.write_text(PAIR + "# new\n")
    sample = "--mode=sample", "--workdir=run"
    for arguments in (resume, sample):
        assert "network.py was changed since" in refused(*arguments, cwd=place)
    copy.unlink()
    for arguments in (resume, sample):
        assert "copy of nets.py, is missing" in refused(*arguments, cwd=place)


def test_code_of_others_runs_with_consent_alone(place, monkeypatch):
    """A run with a layer of its own, as it looks to whom it was sent."""
    marker = place / "marker"
    text = OWN_LAYER + f"open({str(marker)!r}, 'w').close()\n"
    (place / "nets.py").write_text(text)
    trained(place, *ALONE)
    called("--mode=sample", "--workdir=run", cwd=place)  # its maker is not asked
    monkeypatch.setenv("KERAS_HOME", str(place / "another home"))
    keras.saving.get_custom_objects().pop("mine>Scaled")
    network_file._module.cache_clear()
    (place / "nets.py").unlink()
    marker.unlink()
    with pytest.raises(NetworkError, match="need its Python code.*`trust_network`"):
        coopnets_tf.load(place / "run")
    errors = refused("--mode=sample", "--workdir=run", cwd=place)
    assert "network.py, and give --trust_network to run it" in errors
    errors = refused("--resume", "--workdir=run", "--num_iterations=3", cwd=place)
    assert "run/network.py is Python code that you have not run before" in errors
    flagfile = refused("--flagfile=run/flags.cfg", "--workdir=new", cwd=place)
    assert "nets.py does not exist." in flagfile
    assert not marker.exists() and not (place / "new").exists()
    called("--mode=sample", "--workdir=run", "--trust_network", cwd=place)
    assert marker.exists()
    called("--mode=sample", "--workdir=run", cwd=place)  # remembered


def test_a_file_run_before_is_no_consent_to_code_in_the_description(place):
    """A lambda is code in model.json, which no hash covers."""
    trained(place, *ALONE)
    path, marker = place / "run/model.json", place / "marker"
    found = json.loads(path.read_text())
    images = keras.Input((8, 8, 1))
    maps = keras.layers.Dense(1)(images)
    code = f"lambda maps: (open({str(marker)!r}, 'w').close(), maps)[1]"
    maps = keras.layers.Lambda(eval(code), output_shape=(8, 8, 1))(maps)
    network = keras.Model(images, maps)
    marker.unlink(missing_ok=True)
    config = keras.saving.serialize_keras_object(network)
    found["model"]["config"]["descriptor"]["config"]["network"] = config
    path.write_text(json.dumps(found))
    with pytest.raises(RunError, match="unsafe|safe_mode"):
        coopnets_tf.load(place / "run")
    assert not marker.exists()


def test_networks_of_keras_layers_are_loaded_without_their_code(place, monkeypatch):
    (place / "nets.py").write_text(PAIR + "print('run')\n")
    trained(place)
    monkeypatch.setenv("KERAS_HOME", str(place / "another home"))
    network_file._module.cache_clear()
    assert "run\n" not in called("--mode=sample", "--workdir=run", cwd=place)


def test_the_runs_copy_does_not_overwrite_another_file(place):
    (place / "run").mkdir()
    (place / "run/network.py").write_text("mine")
    code, _, errors = call(*TINY, "--network=nets.py", "--workdir=run", cwd=place)
    assert code == 2 and "network.py is in the way" in errors
    assert (place / "run/network.py").read_text() == "mine"


def net(body):
    return HEAD + f"def descriptor(image_shape):\n{body}"


INPUT = "    images = keras.Input(image_shape)\n"
BAD = {
    "import nothing_of_that_name\n": "cannot be imported: ModuleNotFoundError: No mod",
    "def descriptor(image_shape)\n": "cannot be imported: SyntaxError: expected ':'",
    "x = 1\n": "must have a function descriptor(image_shape) or generator(image_shape",
    HEAD + "def generator(image_shape, latent_shape):\n    return None\n": "must have "
    "descriptor(image_shape), a function that --algorithm=descriptor needs",
    net("    return 1 / 0\n"): "descriptor((8, 8, 1)) failed, ZeroDivisionError: divi",
    net("    pass\n"): "must be a built Keras model, such as those of",
    net("    return keras.Sequential([keras.layers.Dense(1)])\n"): "was never built",
    net("    return built_in.descriptor('mnist', (28, 28, 1))\n"): "takes inputs of "
    "shape [28, 28, 1]. Received: `image_shape`=[8, 8, 1]",
    net(
        "    images = keras.Input((64,))\n    return keras.Model(images, keras.layers."
        "Dense(1)(images))\n"
    ): "takes inputs of shape [64]",
    net(
        INPUT + "    return keras.Model(images, keras.layers.Flatten()(images))\n"
    ): "has no trainable weights: nothing could be learned",
    net(
        INPUT + "    maps = keras.layers.Dense(1)(images)\n    maps = keras.ops.cast("
        "maps, 'int32')\n    return keras.Model(images, maps)\n"
    ): "Received: int32 ",
    net(
        INPUT + "    maps = keras.layers.Dense(1)(images)\n    return keras.Model("
        "images, keras.ops.log(maps - 1e9))\n"
    ): "Received: NaN or infinity",
    net(
        INPUT + "    maps = keras.layers.Dense(1, name='a')(images)\n    return keras."
        "Model(images, keras.layers.Dense(1, name='a')(maps))\n"
    ): 'The name "a" is',
    net(
        INPUT + "    block = lambda: keras.Sequential([keras.layers.Dense(1, name='a')"
        "], name='b')\n    inner = keras.Sequential([block()], name='c')\n    outer = "
        "keras.Sequential([block()], name='d')\n    first = inner(images)\n    "
        "second = outer(first)\n    return keras.Model(images, second)\n"
    ): None,
    net(
        INPUT + "    maps = keras.layers.BatchNormalization(name='n')(images)\n    retu"
        "rn keras.Model(images, keras.layers.Dense(1)(maps))\n"
    ): "has batch norm (n)",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_a_network_that_cannot_be_used_is_refused_in_a_sentence(place, text):
    (place / "nets.py").write_text(text)
    arguments = [*TINY, *ALONE, "--network=nets.py"]
    if BAD[text] is None:  # names that only look alike
        called(*arguments, cwd=place)
        return
    errors = refused(*arguments, cwd=place)
    assert BAD[text] in errors
    assert {path.name for path in place.iterdir()} == {"nets.py"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("nowhere.py", "--network=nowhere.py does not exist."),
        ("nets.keras", "must be a Python file; load the model in one: def descriptor"),
        ("mnits", "or a Python file. Did you mean mnist?"),
    ],
)
def test_what_is_not_a_network_is_refused(place, value, text):
    assert text in refused(*TINY, f"--network={value}", cwd=place)
    assert {path.name for path in place.iterdir()} == {"nets.py"}


def test_a_generator_for_other_images_is_refused(place):
    (place / "nets.py").write_text(
        PAIR.replace("8 * 8", "9 * 9").replace("8, 8", "9, 9")
    )
    errors = refused(*TINY, "--network=nets.py", cwd=place)
    assert "makes images of shape [9, 9, 1], and the training images have [8" in errors


def test_a_run_made_in_python_keeps_a_file_it_is_given(place):
    file = network_file.read(place / "nets.py")
    network = network_file.build(file, "descriptor", (8, 8, 1))
    assert network.count_params() == 50
    record = network_file.keep(file, place / "run")
    assert json.loads(json.dumps(record)) == record
    assert network_file.kept(place / "run", record).code == PAIR.encode()
    assert Path(network_file.kept(place / "run", record).path).name == "network.py"


def test_a_function_that_takes_no_classes_is_told_of_them(place):
    (place / "nets.py").write_text(PAIR)
    errors = refused(*TINY, "--network=nets.py", "--conditional", cwd=place)
    assert "With --conditional it is told the number of classes, too." in errors
