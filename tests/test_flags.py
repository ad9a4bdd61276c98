import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import commands
import flags
from commands import build
from coopnets_tf import networks
from coopnets_tf.data import datasets
from coopnets_tf.evaluation import features, protocol
from coopnets_tf.runs import saving, training
from flags import definitions, facts
from flags.facts import ALGORITHMS, FACTS, MODES, USES
from tests.helpers import TINY, make_generator_model, make_model


@pytest.fixture(autouse=True)
def as_at_the_start():
    yield
    flags.FLAGS.unparse_flags()


def parsed(*arguments):
    """The values of a command line, as a new process has them."""
    flags.FLAGS.unparse_flags()
    flags.parse(["main.py", *arguments])
    return flags.settings()


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit, match="2"):
        parsed(*arguments)
    return capsys.readouterr().err


class Recorder(dict):
    """Settings that remember which of them were read."""

    def __init__(self, settings):
        super().__init__(settings)
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)


# What main.py itself asks for, whatever the mode.
BY_MAIN = {"mode", "debug", "deterministic"}


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """A function of a command line that runs it and returns the flags that were read.

    Nothing is trained, and what is loaded is a small model. The flags that are merely
    written down (flags.cfg, TensorBoard) do not count as read.
    """
    loaded = {"generator": make_generator_model}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(flags, "saved_names", list)
    monkeypatch.setattr(training, "train", lambda *arguments: None)
    monkeypatch.setattr(features, "classifier", lambda *arguments: None)
    monkeypatch.setattr(features, "inception", lambda **options: None)
    (tmp_path / "photos").mkdir()
    for number in range(100):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")

    def reads(*arguments):
        settings = Recorder(parsed(*arguments))
        model = loaded.get(settings["algorithm"], make_model)(inference_steps=1)
        monkeypatch.setattr(saving, "load", lambda path, **options: model)
        settings.read.clear()
        try:
            commands.run(settings["mode"], settings)
        except KeyError as error:
            pytest.fail(f"{error} is not a flag")
        return settings.read

    return reads


def claimed(mode, algorithms=ALGORITHMS):
    """The flags that say that a mode, or a training by some algorithms, reads them."""
    return {
        name
        for name, facts in FACTS.items()
        if mode in facts.modes
        and (mode != "train" or set(algorithms) & set(facts.algorithms))
    } - BY_MAIN


FOLDER = ["--dataset=photos", "--image_size=8", "--color_mode=grey"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_training_reads_the_flags_that_say_so(reads, algorithm, tmp_path):
    tiny = [*TINY, f"--algorithm={algorithm}", "--evaluate_every=2"]
    found = reads(*tiny, "--learning_rate_schedule=cosine")
    found |= reads(*tiny, *FOLDER, "--network=digits", "--num_held_out=90")
    (tmp_path / "nets.py").write_text(
        "from coopnets_tf import networks\n"
        "descriptor = lambda shape: networks.descriptor('digits', shape)\n"
        "generator = lambda *shapes: networks.generator('digits', *shapes)\n"
    )
    found |= reads(*tiny, "--network=nets.py")
    # Of both nets it can only say what happens anyway.
    allowed = {"chain_init"} if algorithm == "coopnets" else set()
    assert found - BY_MAIN == claimed("train", [algorithm]) - allowed


@pytest.mark.parametrize("mode", USES)
def test_a_mode_reads_the_flags_that_say_so(reads, mode, tmp_path):
    parsed(*TINY)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "model.json").write_text(
        '{"dataset": {"dataset": "digits", "num_held_out": 597}}'
    )
    own = {
        "recover": ["--num_images=4", "--infer_steps=2"],
        "reconstruct": ["--num_images=4", "--infer_steps=2"],
        "sample": ["--num_images=4"],
        "evaluate": ["--evaluation_samples=20", "--metrics=parzen"],
    }
    arguments = [f"--mode={mode}", "--workdir=run", *own.get(mode, [])]
    found = reads(*arguments)
    if mode in ("reconstruct", "recover"):
        found |= reads(*arguments, *FOLDER, "--num_held_out=10")
    if mode == "evaluate":
        found |= reads(*arguments, *FOLDER, "--num_held_out=45")
        found |= reads(*arguments, "--metrics=frechet")
        saved = "--algorithm=generator\n--generator_num_steps=1\n--num_held_out=597\n"
        (run_dir / "flags.cfg").write_text(saved)
        found |= reads(*arguments)
    assert found - BY_MAIN == claimed(mode)


def test_every_flag_is_read_by_something():
    assert set(FACTS) == BY_MAIN.union(*(claimed(mode) for mode in MODES))


def test_no_flag_is_defined_past_its_facts():
    key_flags = flags.FLAGS.get_key_flags_for_module(facts)
    assert {flag.name for flag in key_flags} == set(FACTS)


def test_flags_of_version_0_1_have_their_old_names_too():
    old = parsed("--num_noise_steps=3", "--generator_num_noise_steps=4")
    assert (old["descriptor_noise_until"], old["generator_noise_until"]) == (3, 4)


def test_help_names_every_flag_by_its_group():
    lines = flags.overview().splitlines()
    assert all(len(line) <= 88 for line in lines)
    words = flags.overview().split()
    groups = {facts.group for facts in FACTS.values()}
    assert set(words) == set(FACTS) | groups
    assert len(lines) >= len(groups)


@pytest.mark.parametrize(
    ("dataset", "preset"),
    [
        ("digits", "digits.cfg"),
        ("mnist", "mnist.cfg"),
        ("photos", "scene.cfg"),
        ("./digits", "scene.cfg"),
        ("some/mnist", "scene.cfg"),
    ],
)
def test_preset_of_a_data_set(dataset, preset):
    assert flags.preset_of(dataset).name == preset


def test_flags_of_one_mode_are_refused_in_another(capsys):
    for arguments, text in (
        (["--evaluate_real"], "--evaluate_real is for --mode=evaluate."),
        (["--mode=evaluate", "--num_images=5"], "--mode=sample|reconstruct|recover."),
        (["--mode=sample", "--num_chains=5"], "--num_chains is for --mode=train."),
    ):
        assert text in refusal(capsys, *arguments)


def test_what_the_flags_offer_is_what_there_is():
    offered = re.search(r"of the images: (.*?);", flags.FLAGS["network"].help)[1]
    theirs = {"toy", "oracle"}  # of tests/helpers.py
    assert set(offered.split(", ")) == set(networks.TABLES) - theirs
    assert tuple(definitions.METRICS) == protocol.METRICS
    assert tuple(commands.COMMANDS) == MODES
    assert flags.NAMED == datasets.NAMES
    of_evaluations = [
        f"evaluation/{net}/frechet_distance" for net in ("generator", "descriptor")
    ]
    choices = flags.FLAGS["keep_best"].parser.enum_values
    assert choices == [*make_model().means, *of_evaluations]


def test_the_preset_gives_way_to_the_user():
    preset = parsed("--dataset=mnist")
    assert (preset["network"], preset["num_held_out"]) == ("mnist", 5000)
    own = parsed("--num_held_out=7", "--dataset=mnist")
    assert (own["network"], own["num_held_out"]) == ("mnist", 7)


def test_the_official_settings_are_the_defaults():
    """PAMI code of the authors: scenes and MNIST share them."""
    official = {
        "descriptor_learning_rate": 0.007,
        "generator_learning_rate": 0.0001,
        "adam_beta_1": 0.5,
        "batch_size": 100,
        "num_chains": 144,
        "descriptor_num_steps": 15,
        "descriptor_step_size": 0.002,
        "reference_stddev": 0.016,
        "residual_stddev": 0.3,
        "generator_num_steps": 0,
        "generator_step_size": 0.1,
        "descriptor_noise_until": None,
        "latent_size": "100",
        "num_outputs": 100,
    }
    for dataset in ("mnist", "some_folder"):
        values = parsed(f"--dataset={dataset}")
        assert {name: values[name] for name in official} == official


def test_the_fast_preset_differs_from_the_one_beside_it():
    fast = flags.PRESETS / "mnist_fast.cfg"
    found = parsed(f"--flagfile={fast}")
    plain = parsed("--dataset=mnist")
    assert found["dataset"] == found["network"] == "mnist"
    assert found["num_held_out"] == plain["num_held_out"] == 5_000
    assert found["descriptor_num_steps"] < plain["descriptor_num_steps"]


def repeated(settings):
    """What the flagfile that is saved with settings makes of them."""
    flags.save(Path("saved.cfg"), ["heading"], settings)
    assert Path("saved.cfg").read_text().startswith("# heading\n")
    again = parsed("--flagfile=saved.cfg")
    return {name: again[name] for name in flags.saved_names()}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--dataset=a b", "--skip_bad_images", "--seed=3", "--noguard"],
        ["--algorithm=descriptor", "--num_persistent_chains=70"],
        ["--metrics=parzen,kernel", "--reference_stddev=inf", "--latent_size=7x7x1"],
    ],
)
def test_saved_flags_give_the_same_values(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = parsed(*arguments)
    saved = {name: settings[name] for name in flags.saved_names()}
    assert repeated(settings) == saved


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            "--chain_init=noise",
            "--chain_init=noise is for --algorithm=descriptor. Received: --algo",
        ),
        (
            "--algorithm=descriptor --chain_init=generator",
            "--chain_init=generator is for --algorithm=coopnets. Received: --algo",
        ),
        (
            "--algorithm=generator --chain_init=data",
            "--chain_init is for --algorithm=coopnets|descriptor. Received: --algo",
        ),
        ("--refresh_probability=0.5", "--refresh_probability is for --algorithm=desc"),
        ("--training_mask=random:0.5", "--training_mask is for --algorithm=generator"),
        (
            "--algorithm=descriptor --keep_best=generator_loss",
            "--keep_best=generator_loss is for --algorithm=coopnets|generator.",
        ),
        (
            "--algorithm=generator --keep_best=saturation",
            "--keep_best=saturation is for --algorithm=coopnets|descriptor.",
        ),
        (
            "--algorithm=descriptor --chain_init=data --num_persistent_chains=90",
            "is for --chain_init=persistent",
        ),
        (
            "--algorithm=descriptor --chain_init=noise --refresh_probability=0.1",
            "is for --chain_init=persistent",
        ),
        (
            "--algorithm=descriptor --chain_init=noise --reference_stddev=inf",
            "Take --chain_init=uniform",
        ),
        (
            "--algorithm=descriptor --num_persistent_chains=9",
            "--num_persistent_chains=9 and --num_chains=64",
        ),
        ("--algorithm=generator --generator_num_steps=0", "--generator_num_steps=1 or"),
        ("--network=mnits", "--network=mnits: must be one of digits, mnist, cifar"),
        ("--network=mnits", "Did you mean mnist?"),
        ("--network=net.keras", "must be a Python file; load the model in one: def d"),
        ("--grey_range=9:3", "--grey_range=9:3: must be LOW:HIGH, two whole numbers"),
        ("--latent_size=7x0", "--latent_size=7x0: must be a number of 1 or more"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(arguments, text, capsys):
    assert text in refusal(capsys, *arguments.split())


def test_the_algorithm_has_a_preset_of_its_own():
    """After that of the data set, and before the user's own flags."""
    plain = parsed("--algorithm=generator")
    assert plain["network"] == "digits" and plain["generator_num_steps"] > 0
    own = parsed("--generator_num_steps=3", "--algorithm=generator")
    assert own["generator_num_steps"] == 3


def test_only_named_data_sets_have_presets_of_their_own():
    for name in ("descriptor", "mnist_fast", "some_folder"):
        assert flags.preset_of(name).name == "scene.cfg"


def test_naming_a_network_file_is_the_consent_to_run_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text("")
    assert parsed("--network=nets.py")["trust_network"]
    assert parsed("--network=nets.py")["network"] == str(tmp_path / "nets.py")
    assert not parsed("--network=nets.py", "--notrust_network")["trust_network"]
    assert not parsed("--network=missing.py")["trust_network"]
    assert parsed("--trust_network")["trust_network"]


@pytest.mark.parametrize("arguments", [[], ["--resume"], ["--mode=sample"]])
def test_a_flagfile_cannot_consent(arguments, tmp_path, monkeypatch):
    """Neither one that is named nor that of a run from somebody else."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for path in ("nets.py", "run/model.json"):
        Path(path).write_text("{}")
    theirs = f"--trust_network\n--network={tmp_path}/nets.py\n"
    Path("theirs.cfg").write_text(theirs)
    Path("run/flags.cfg").write_text(theirs)
    use = "--workdir=run" if arguments else "--flagfile=theirs.cfg"
    assert not parsed(use, *arguments)["trust_network"]


def test_flags_reach_the_model():
    settings = parsed("--dataset=mnist", "--descriptor_num_steps=3", "--seed=4")
    model = build.model(settings, (28, 28, 1), 100)
    nets = model.descriptor, model.generator
    rates = [float(net.optimizer.learning_rate) for net in nets]
    assert rates == pytest.approx([0.007, 0.0001])
    for net in nets:
        optimizer = net.optimizer
        assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (
            0.5,
            0.999,
            1e-8,
        )
    revision, inference = nets[0].revision, nets[1].inference
    assert (revision.num_steps, revision.step_size) == (3, 0.002)
    assert (inference.num_steps, inference.step_size) == (0, 0.1)
    assert (nets[0].reference_stddev, nets[1].residual_stddev) == (0.016, 0.3)
    assert nets[0].network.get_layer("outputs_sum").num_outputs == 100
    assert (nets[1].latent_shape, model.num_chains) == ((100,), 144)
    assert model.run_seed == 4
