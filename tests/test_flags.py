import inspect
import re
import sys
from importlib import metadata, util
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import commands
import coopnets_tf
import flags
from commands import build, show
from coopnets_tf.data import clips, datasets, decoding, masks, sources
from coopnets_tf.errors import DatasetError, MaskError
from coopnets_tf.evaluation import features, protocol
from coopnets_tf.files import RUN_DESCRIPTION
from coopnets_tf.networks import built_in, spectral
from coopnets_tf.runs import saving, trained, training
from flags import definitions, facts, pages, places, runs
from flags.facts import ALGORITHMS, FACTS, MODES, USES
from tests.helpers import TINY, make_generator_model, make_model


@pytest.fixture(autouse=True)
def as_at_the_start(tmp_path, monkeypatch):
    """In an empty folder."""
    monkeypatch.chdir(tmp_path)
    yield
    flags.FLAGS.unparse_flags()


def parsed(*arguments):
    """The values of a command line, as a new process has them."""
    flags.FLAGS.unparse_flags()
    flags.parse(["main.py", *arguments])
    return flags.settings()


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit, match="^2$"):
        parsed(*arguments)
    errors = capsys.readouterr().err
    assert errors.startswith("Error: ")
    assert errors.endswith((". See --help.\n", "? See --help.\n"))
    assert errors.count("\n") == 1
    return errors


def printed(capsys, *arguments):
    """What a command line prints that ends well and runs nothing."""
    with pytest.raises(SystemExit, match="^0$"):
        parsed(*arguments)
    output, errors = capsys.readouterr()
    assert errors == ""
    return output


def write_flags(folder, *lines):
    """A run that main.py could have left, without its nets."""
    Path(folder).mkdir(parents=True)
    (Path(folder) / "flags.cfg").write_text("\n".join(lines))
    (Path(folder) / "model.json").write_text("{}")


class Recorder(dict):
    """Settings that remember which of them were read."""

    def __init__(self, settings):
        super().__init__(settings)
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)

    def __or__(self, other):
        both = Recorder(super().__or__(other))
        both.read = self.read
        return both


# What main.py itself asks for, whatever the mode.
BY_MAIN = {"mode", "debug", "deterministic", "precision", "print_config"}


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """A function of a command line that runs it and returns the flags that were read.

    Nothing is trained, and what is loaded is a small model. The flags that are merely
    written down (flags.cfg, TensorBoard) do not count as read.
    """
    loaded = {"generator": make_generator_model}
    monkeypatch.setattr(flags, "saved", lambda settings: {})
    monkeypatch.setattr(training, "train", lambda *arguments: None)
    monkeypatch.setattr(features, "classifier", lambda *arguments: None)
    monkeypatch.setattr(features, "inception", lambda **options: None)
    monkeypatch.setattr(show, "serve", lambda page, listener: None)
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
        "from coopnets_tf.networks import built_in\n"
        "descriptor = lambda shape: built_in.descriptor('digits', shape)\n"
        "generator = lambda *shapes: built_in.generator('digits', *shapes)\n"
    )
    found |= reads(*tiny, "--network=nets.py", "--workdir=new")
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
        "show": ["--port=0"],
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


# Handed on to what makes no use of them with the values of the others.
HANDED_ON = {
    "data_dir",
    "final_rate_factor",
    "schedule_steps",
    "rollback_rate_factor",
    "generator_noise_until",
    "max_displacement",
    "max_saturation",
    "num_persistent_chains",
    "refresh_probability",
}


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--noguard",
        "--generator_num_steps=1 --evaluate_every=2 --learning_rate_schedule=cosine",
        "--dataset=photos --image_size=8 --network=digits",
        "--algorithm=descriptor",
        "--algorithm=descriptor --chain_init=data --noguard",
        "--algorithm=generator --training_mask=random:0.5",
    ],
)
def test_what_acts_is_what_a_training_reads(reads, arguments):
    arguments = [*TINY, *arguments.split()]
    found = reads(*arguments)
    acting = set(flags.acting(parsed(*arguments))) - BY_MAIN
    assert acting - {"trust_network"} <= found  # it is asked where a file is
    assert found - acting - BY_MAIN <= HANDED_ON


@pytest.mark.parametrize(
    ("arguments", "acts", "does_not"),
    [
        ("", "num_iterations", "final_rate_factor schedule_steps image_size data_dir"),
        ("", "max_loss max_rollbacks", "metrics evaluation_seed extractor"),
        ("--epochs=3", "epochs", "num_iterations"),
        ("--dataset=mnist", "data_dir", "image_size color_mode skip_bad_images"),
        ("--dataset=photos", "image_size color_mode skip_bad_images", "data_dir"),
        ("--noguard", "guard", "max_loss max_saturation max_rollbacks"),
        ("--noguard", "seed", "rollback_rate_factor"),
        ("--learning_rate_schedule=cosine", "final_rate_factor schedule_steps", ""),
        ("--evaluate_every=9", "metrics evaluation_seed extractor", "split"),
        ("--algorithm=descriptor", "num_persistent_chains", "latent_size"),
        ("--algorithm=descriptor --chain_init=data", "seed", "refresh_probability"),
        ("--algorithm=generator", "max_loss", "max_displacement num_chains"),
        ("--mode=sample", "num_images seed", "mask batch_size hub"),
        ("--mode=interpolate", "interpolation", "infer_steps"),
        ("--mode=evaluate", "metrics split num_held_out", "evaluate_every"),
        ("--mode=recover", "dataset normalize", "training_mask"),
        ("--mode=recover --images=photos", "resize normalize", "dataset image_size"),
    ],
)
def test_what_acts(arguments, acts, does_not):
    write_flags("runs/one")
    Path("photos").mkdir()
    acting = set(flags.acting(parsed(*arguments.split())))
    assert set(acts.split()) <= acting
    assert not set(does_not.split()) & acting


def test_no_flag_is_defined_past_its_facts():
    key_flags = flags.FLAGS.get_key_flags_for_module(facts)
    assert {flag.name for flag in key_flags} == set(FACTS)


def test_renamed_flags_have_their_old_names_too():
    old = parsed("--num_noise_steps=3", "--generator_num_noise_steps=4")
    assert (old["descriptor_noise_until"], old["generator_noise_until"]) == (3, 4)
    write_flags("runs/one")
    for word, value in (("evaluate_real", True), ("noevaluate_real", False)):
        assert parsed("--mode=evaluate", f"--{word}")["evaluate_baselines"] == value


@pytest.mark.parametrize(
    ("dataset", "preset"),
    [
        ("digits", "digits.cfg"),
        ("mnist", "mnist.cfg"),
        ("photos", "scene.cfg"),
        ("./digits", "scene.cfg"),
        ("some/mnist", "scene.cfg"),
        ("brick", "texture.cfg"),
        ("photo.jpg", "texture.cfg"),
        ("photos.zip", "scene.cfg"),
        ("clip.mp4", "moving_texture.cfg"),
        ("clip.GIF", "moving_texture.cfg"),
    ],
)
def test_preset_of_a_data_set(dataset, preset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photo.jpg", "photos.zip"):
        Path(name).touch()
    assert flags.preset_of(dataset).name == preset


def test_frames_make_a_clip_of_a_place_but_not_of_a_named_data_set():
    for name in ("photos", "photos.zip", "photo.webp"):
        assert flags.preset_of(name, num_frames=4).name == "moving_texture.cfg"
    assert flags.preset_of("digits", num_frames=4).name == "digits.cfg"
    folder = parsed("--dataset=.", "--num_frames=16")
    preset = parsed("--dataset=.", "--flagfile=" + str(flags.preset_of("clip.mp4")))
    assert folder["network"] == preset["network"] and folder["num_frames"] == 16


def test_flags_of_one_mode_are_refused_in_another(capsys):
    for arguments, text in (
        (["--noevaluate_baselines"], "--evaluate_baselines is for --mode=evaluate."),
        (["--mode=evaluate", "--num_images=5"], "--mode=sample|reconstruct|recover."),
        (["--mode=sample", "--num_chains=5"], "--num_chains is for --mode=train."),
    ):
        assert text in refusal(capsys, *arguments)


def test_what_the_flags_offer_is_what_there_is():
    offered = re.search(r"of the images: (.*?);", flags.FLAGS["network"].help)[1]
    theirs = {
        "toy_clips",
        "toy_residual",
        "toy",
        "oracle",
        "weave",
    }  # of tests/helpers.py
    own = set(built_in.TABLES) - theirs
    assert set(offered.split(", ")) == own
    summing = {name for name in own if built_in.TABLES[name].sums_all}
    assert set(definitions.networks.WITHOUT_OUTPUTS) == summing
    assert tuple(definitions.evaluation.METRICS) == protocol.METRICS
    assert tuple(commands.COMMANDS) == MODES
    assert flags.NAMED == datasets.NAMES
    assert set(places.ARCHIVES) == set(sources.PACKED)
    assert places.CLIPS == clips.SUFFIXES
    assert (runs.DESCRIPTION, definitions.evaluation.FEWEST) == (
        RUN_DESCRIPTION,
        protocol.MIN_IMAGES,
    )
    assert runs.SUMS == trained.SUMS
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


def test_the_official_settings_are_the_defaults(tmp_path):
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
    (tmp_path / "photos").mkdir()
    for dataset in ("mnist", tmp_path / "photos"):
        values = parsed(f"--dataset={dataset}")
        assert {name: values[name] for name in official} == official


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--dataset=mnist"], "mnist_fast"),
        (["--dataset=cifar10", "--num_iterations=10"], "cifar10_fast"),
        (["--dataset=photos"], "face_fast"),
        (["--dataset=photos", "--image_size=32", "--seed=1"], "face_fast"),
        (["--dataset=photos", "--batch_size=8"], None),
        (["--dataset=photos", "--network=residual"], None),
        (["--dataset=mnist", "--generator_num_steps=5"], "mnist_fast"),
        (["--dataset=cifar10", "--generator_num_steps=5"], None),
        (["--dataset=photos", "--algorithm=generator"], None),
        (["--dataset=photos", "--num_frames=4"], None),
        (["--dataset=digits"], None),
        (["--flagfile=flags/mnist_fast.cfg"], None),
        (["--flagfile=flags/face_fast.cfg", "--dataset=photos"], None),
    ],
)
def test_a_faster_preset_is_named_where_the_authors_is_whole(
    words, name, tmp_path, monkeypatch
):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    found = flags.faster(parsed(*words))
    assert (found and found.stem) == name


@pytest.mark.parametrize(
    ("words", "step_size"),
    [
        (["--dataset=mnist", "--generator_num_steps=5"], 0.01),
        (["--dataset=mnist", "--generator_num_steps=5", "--data_teaching=1"], 0.01),
        (["--dataset=mnist", "--generator_num_steps=0"], 0.1),
        (["--dataset=mnist", "--algorithm=generator"], 0.1),
        (["--dataset=digits", "--generator_num_steps=5"], 0.1),
        (["--dataset=cifar10", "--generator_num_steps=2"], 0.01),
        (["--flagfile=flags/cifar10_fast.cfg"], 0.03),
        (["--dataset=mnist", "--generator_num_steps=5", "--generator_step_size=1"], 1),
    ],
)
def test_g1_in_coopnets_has_a_step_that_was_stable(words, step_size):
    assert parsed(*words)["generator_step_size"] == step_size


@pytest.mark.parametrize(
    "path", sorted(flags.PRESETS.glob("*.cfg")), ids=lambda p: p.stem
)
def test_every_preset_is_taken(path, tmp_path):
    """Their flags exist, have values in range, and go together."""
    (tmp_path / "photos").mkdir()
    own = any("--dataset=" in line for line in path.read_text().splitlines())
    words = [] if own else [f"--dataset={tmp_path / 'photos'}"]
    algorithm = {"descriptor", "generator", "short_run"} & {path.stem}
    if algorithm:
        words.append(f"--algorithm={path.stem.replace('short_run', 'descriptor')}")
    values = parsed(f"--flagfile={path}", *words)
    in_file = {one.name: one.value for one in flags.words.read_file(path)}
    assert in_file and in_file == {name: values[name] for name in in_file}


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
    return flags.saved(parsed("--flagfile=saved.cfg"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--dataset=a b", "--skip_bad_images", "--seed=3", "--noguard"],
        ["--algorithm=descriptor", "--num_persistent_chains=70"],
        ["--evaluate_every=5", "--metrics=parzen,kernel", "--latent_size=7x7x1"],
        ["--reference_stddev=inf", "--learning_rate_schedule=cosine"],
    ],
)
def test_saved_flags_give_the_same_values(arguments, tmp_path):
    (tmp_path / "a b").mkdir()
    settings = parsed(*arguments)
    assert repeated(settings) == flags.saved(settings)


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
        ("--network=mnits", "--network=mnits must be one of digits, mnist, cifar"),
        ("--network=mnits", "Did you mean mnist?"),
        ("--network=net.keras", "must be a Python file; load the model in one: def d"),
        ("--grey_range=9:3", "--grey_range must be LOW:HIGH, two whole numbers"),
        ("--latent_size=7x0", "--latent_size must be a number of 1 or more, or some"),
        ("--mode=export --export_format=hub", "--hub=user/name go together"),
        ("--name=a --workdir=b", "Leave out --name or --workdir."),
        ("--name=a --resume", "Leave out --name or --resume."),
        ("--name=a/b", "--name must be letters, digits"),
        ("--mode=sample --name=a", "--name is for --mode=train."),
        ("--hosts=a:1", "--hosts must be name:port of two hosts or more"),
        ("--hosts=a,b --host_index=0", "--hosts must be name:port of two hosts"),
        ("--hosts=a:1,b:1", "--host_index=0|1|... go together"),
        ("--host_index=1", "--host_index=0|1|... go together"),
        ("--hosts=slurm --host_index=1", "SLURM says which host this is"),
        ("--hosts=a:1,b:1 --host_index=2", "below the number of --hosts, 2. Rec"),
        ("--devices=0", "--devices must be all or a whole number of 1 or more"),
        ("--epochs=3 --num_iterations=9", "--epochs and --num_iterations are two"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(arguments, text, capsys):
    write_flags("runs/one")
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


def test_naming_a_network_file_is_the_consent_to_run_it(tmp_path):
    Path("nets.py").write_text("")
    assert parsed("--network=nets.py")["trust_network"]
    assert parsed("--network=nets.py")["network"] == str(tmp_path / "nets.py")
    assert not parsed("--network=nets.py", "--notrust_network")["trust_network"]
    assert parsed("--trust_network")["trust_network"]
    Path("theirs.py").write_text("")
    Path("theirs.cfg").write_text("--network=theirs.py")
    mixed = parsed("--network=nets.py", "--flagfile=theirs.cfg")
    assert Path(mixed["network"]).name == "theirs.py" and not mixed["trust_network"]


@pytest.mark.parametrize("arguments", [[], ["--resume"], ["--mode=sample"]])
def test_a_flagfile_cannot_consent(arguments, tmp_path):
    """Neither one that is named nor that of a run from somebody else."""
    (tmp_path / "run").mkdir()
    for path in ("nets.py", "run/model.json"):
        Path(path).write_text("{}")
    theirs = f"--trust_network\n--network={tmp_path}/nets.py\n"
    Path("theirs.cfg").write_text(theirs)
    Path("run/flags.cfg").write_text(theirs)
    use = "--workdir=run" if arguments else "--flagfile=theirs.cfg"
    assert not parsed(use, *arguments)["trust_network"]


MISSING = [
    ("--dataset=mnsit", "--dataset=mnsit does not exist. It must be digits, mnist"),
    ("--dataset=mnsit", "Did you mean mnist?"),
    ("--dataset=MNIST", "Did you mean mnist?"),
    ("--dataset=~nobody-here/x", "~nobody-here/x: Could not determine home"),
    ("--flagfile=~nobody-here/x", "cannot be read: Could not determine home"),
    ("--dataset=digits --data_dir=nowhere", "--data_dir=nowhere does not exist."),
    ("--dataset=mnist --data_dir=file.txt", "file.txt is a file. It must be a folder."),
    ("--init_from=nowhere", "--init_from=nowhere does not exist. It must be the fold"),
    ("--init_from=file.txt", "file.txt is a file. It must be the folder of a run"),
    ("--network=nowhere.py", "--network=nowhere.py does not exist. It must be a file"),
    ("--extractor=nowhere.keras", "nowhere.keras does not exist. It must be a file."),
    ("--extractor=photos", "must be classifier, inception or a .keras file that exist"),
    ("--evaluate_every=2 --inception_weights=no.h5", "--inception_weights=no.h5 does"),
    ("--algorithm=generator --training_mask=dots", "--training_mask=dots must be squ"),
    ("--algorithm=generator --training_mask=training", "must be square:<pixels>"),
    ("--workdir=runs/one", "--workdir=runs/one holds a run already"),
    ("--workdir=file.txt", "--workdir=file.txt is a file. Give another."),
    ("--resume --workdir=nowhere", "--workdir=nowhere does not exist."),
    ("--resume --workdir=runs/oen", "does not exist. Did you mean runs/one?"),
    ("--init_from=runs/oen", "ckpt-500. Did you mean runs/one?"),
    ("--mode=recover --mask=squre:4", "that exists. Did you mean square?"),
    ("--resume --workdir=photos", "--workdir=photos holds no run: it has no flags.cfg"),
    ("--resume --workdir=python", "One made in Python goes on there, by"),
    ("--mode=sample --workdir=photos", "holds no run: it has no model.json."),
    ("--mode=sample --output=photos", "--output=photos holds files already"),
    ("--mode=sample --output=file.txt", "--output=file.txt is a file. Give another."),
    ("--mode=evaluate --export_samples=photos", "--export_samples=photos holds files"),
    ("--mode=recover --images=photos,nowhere,no", "does not exist: nowhere and no."),
    ("--mode=recover --mask=dots", "--mask=dots must be square:<pixels>, random:<sh"),
    ("--mode=recover --workdir=moved", "/old/photos does not exist. If it was moved, "),
    ("--mode=evaluate --workdir=moved", "moved, name its new place by --dataset."),
    ("--resume --workdir=moved", "moved, name its new place by --dataset."),
    ("--resume --workdir=moved --dataset=nowhere", "--dataset=nowhere does not exist."),
    ("--resume --workdir=moved --dataset=mnist", "name its new place by --data_dir."),
]


def make_places():
    """Files, folders and runs, of which one has lost all that it names."""
    Path("file.txt").write_text("")
    Path("photos").mkdir()
    Path("photos/0.png").write_text("")
    Path("empty").mkdir()
    for name in ("images.zip", "images.NPZ", "images.npy", "nets.py", "mask.png"):
        Path(name).write_text("")
    Path("ckpt-5.index").write_text("")
    write_flags("runs/one")
    write_flags("python")
    Path("python/flags.cfg").unlink()
    lost = "--network=/old/nets.py", "--init_from=/old/run", "--data_dir=/old/data"
    write_flags("moved", "--dataset=/old/photos", *lost)


@pytest.mark.parametrize(("arguments", "text"), MISSING)
def test_what_is_not_there_is_refused_at_once(arguments, text, capsys):
    make_places()
    before = sorted(Path().rglob("*"))
    assert text in refusal(capsys, *arguments.split())
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        "--dataset=photos --workdir=empty",
        "--dataset=images.zip",
        "--dataset=images.NPZ --workdir=new/one",
        "--dataset=images.npy",
        "--init_from=ckpt-5 --network=nets.py",
        "--init_from=ckpt-5.index",
        "--init_from=runs/one",
        "--algorithm=generator --training_mask=mask.png",
        "--mode=sample --output=empty --checkpoint=500",
        "--mode=recover --images=photos,mask.png --mask=mask.png",
        "--mode=sample --workdir=moved",
        "--mode=recover --workdir=moved --images=photos",
        "--mode=recover --workdir=moved --dataset=photos",
        "--mode=evaluate --workdir=moved --dataset=photos",
        "--resume --workdir=moved --dataset=photos",
        "--mode=sample --workdir=python",
    ],
)
def test_what_is_there_or_not_needed_any_more_is_not_asked_for(arguments):
    make_places()
    parsed(*arguments.split())


def test_a_run_whose_flags_were_all_saved_goes_on(capsys):
    """As version 0.2 did, also those that do not act; and names of 0.1, and absl's."""
    lines = [
        pages.line(name, facts.default)
        for name, facts in FACTS.items()
        if facts.saved and facts.default is not None
    ]
    write_flags("old", *lines, "--num_noise_steps=3", "--num_chains=7", "--verbosity=1")
    found = parsed("--resume", "--workdir=old", "--num_iterations=4")
    assert (found["descriptor_noise_until"], found["num_chains"]) == (3, 7)
    text = "--num_chains=8 would change the run, which has --num_chains=7 in old/flags"
    assert text in refusal(capsys, "--resume", "--workdir=old", "--num_chains=8")


def test_of_a_run_made_in_python_what_it_says_is_known(capsys):
    write_flags("runs/one")
    Path("runs/one/flags.cfg").unlink()
    found = parsed("--mode=evaluate")
    assert found["dataset"] is None and flags.faster(found) is None
    described = Path("runs/one/model.json")
    described.write_text('{"dataset": {"dataset": "mnist", "num_held_out": 7}}')
    found = parsed("--mode=evaluate")
    assert (found["dataset"], found["num_held_out"]) == ("mnist", 7)
    described.write_text('{"dataset": {"dataset": "mnist", "num_held_out": "x"}}')
    text = "runs/one/model.json: --num_held_out must be a whole number"
    assert text in refusal(capsys, "--mode=evaluate")


MASKS = "square:3 square:0 square:-1 square:x square:+7 square: square random:0.5"
MASKS += " random:.5 random:0 random:1 random:nan random:1e-3 salt_pepper:0.2 dots :"


@pytest.mark.parametrize("text", MASKS.split())
def test_flags_and_package_agree_on_masks(text):
    wrong = places.training_mask(text)
    if wrong:
        with pytest.raises(MaskError):
            masks.parse_mask(text, (100, 100, 1))
    else:
        masks.parse_mask(text, (100, 100, 1))
    assert places.mask(text) == wrong
    assert places.training_mask("training") and not places.mask("training")


def test_a_name_is_not_taken_for_a_path():
    for name in ("digits", "mnist", "inception"):
        Path(name).mkdir()
    found = parsed("--dataset=mnist", "--network=digits", "--extractor=inception")
    assert (found["dataset"], found["network"]) == ("mnist", "digits")
    assert found["extractor"] == "inception"


def test_the_file_of_an_extractor_is_saved_by_its_whole_path(tmp_path):
    Path("mine.keras").touch()
    found = parsed("--evaluate_every=2", "--extractor=mine.keras")
    assert flags.saved(found)["extractor"] == str(tmp_path / "mine.keras")


@pytest.mark.parametrize(
    ("text", "size"), [("64", (64, 64)), ("8x100", (8, 100)), ("96x64", (96, 64))]
)
def test_sizes_of_images_are_squares_or_height_and_width(text, size):
    Path("photos").mkdir()
    settings = parsed("--dataset=photos", f"--image_size={text}")
    assert settings["image_size"] == text and repeated(settings)["image_size"] == text
    assert build.data_options(settings)["image_size"] == size


@pytest.mark.parametrize(("size", "text"), [("64", "64"), ("[96, 64]", "96x64")])
def test_sizes_of_runs_made_in_python_are_known(size, text):
    Path("photos").mkdir()
    write_flags("runs/one")
    Path("runs/one/flags.cfg").unlink()
    dataset = f'{{"dataset": "photos", "image_size": {size}}}'
    Path("runs/one/model.json").write_text(f'{{"dataset": {dataset}}}')
    assert parsed("--mode=evaluate")["image_size"] == text


def test_one_length_of_a_training_wins():
    Path("steps.cfg").write_text("--num_iterations=5")
    Path("epochs.cfg").write_text("--epochs=5")
    assert parsed("--flagfile=steps.cfg", "--epochs=2")["epochs"] == 2
    assert parsed("--epochs=2", "--flagfile=steps.cfg")["epochs"] == 2
    found = parsed("--flagfile=epochs.cfg", "--num_iterations=9")
    assert (found["epochs"], found["num_iterations"]) == (None, 9)
    assert parsed("--flagfile=epochs.cfg")["epochs"] == 5


@pytest.mark.parametrize("word", ["--help", "-h", "-help", "--helpshort"])
def test_help_is_one_screen(word, capsys):
    lines = printed(capsys, word).splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= 80
    assert "  --batch_size=64                   observed images of one step" in lines


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["--dataset=mnist"], ["--num_held_out=5000", "--batch_size=100"]),
        (["--batch_size=7"], ["--batch_size=7 ", "--resume=false"]),
        (["--algorithm=generator"], ["--generator_num_steps=5"]),
        (["--mode=sample"], ["--num_images=64", "refused: runs/ holds no run"]),
        (["--seed=ten"], ["--seed=0", "refused: --seed must be a whole number"]),
        (["--dataset=nowhere"], ["--network=scene", "refused: --dataset=nowhere"]),
    ],
)
def test_help_shows_the_values_in_effect(arguments, texts, capsys):
    for text in texts:
        assert text in printed(capsys, "--help", *arguments)


@pytest.mark.parametrize("columns", [20, 70, 200])
def test_all_flags_fit_the_terminal(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = printed(capsys, "--helpfull", "--dataset=mnist")
    assert max(map(len, text.splitlines())) <= max(columns, 60)
    assert re.findall(r"^  --(\w+)", text, re.MULTILINE) == list(FACTS)
    assert "--num_iterations=11000\n" in text and "One of png, npz, npy." in text
    words = set(text.split())
    assert set(flags.FLAGS["keep_best"].parser.enum_values[:-1]) <= {
        word.rstrip(",.") for word in words
    }


def test_texts_name_the_program_as_it_was_called(capsys, monkeypatch):
    arguments = ["--dataset=brick", "--workdir=a b", "--print_config"]
    for called in ("/env/bin/coopnets", "coopnets.exe"):
        monkeypatch.setattr(sys, "argv", [called, "--seed=3", "--workdir=a b"])
        assert flags.program.call() == "coopnets --seed=3 '--workdir=a b'"
        assert printed(capsys, *arguments).startswith(
            "# coopnets --dataset=brick '--workdir=a b' --print_config\n"
        )
        text = printed(capsys, "--help")
        assert "\n  coopnets --mode=sample            uses the newest" in text
        assert "main.py" not in text
    for called in ("main.py", "/home/me/main.py", "step.py"):
        monkeypatch.setattr(sys, "argv", [called, "--seed=3"])
        assert flags.program.call() == f"python {called} --seed=3"
        text = printed(capsys, "--help")
        assert "\n  python main.py --mode=sample      uses the newest" in text


@pytest.mark.parametrize("others", [[], ["--mode=sample"], ["--zzz", "--help"]])
def test_versions(others, capsys):
    own = re.escape(coopnets_tf.__version__)
    text = printed(capsys, *others, "--version")
    number = r"\d+\.\d+\.\S+"
    assert re.fullmatch(
        rf"coopnets_tf {own}, TensorFlow {number}, Keras {number}, Python {number}\n",
        text,
    )


def test_versions_of_what_is_missing(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    expected = "coopnets_tf missing, TensorFlow missing, Keras missing, Python 3"
    assert flags.program.versions().startswith(expected)


def test_presets_are_found_from_any_folder():
    by_place = parsed(f"--flagfile={flags.PRESETS / 'mnist_fast.cfg'}")
    assert parsed("--flagfile=flags/mnist_fast.cfg") == by_place
    Path("flags").mkdir()
    Path("flags/mnist_fast.cfg").write_text("--seed=7")
    assert parsed("--flagfile=flags/mnist_fast.cfg")["seed"] == 7


@pytest.mark.parametrize(
    "arguments",
    [
        ["--dataset=mnist", "--seed=3"],
        ["--algorithm=descriptor", "--epochs=4", "--noguard"],
        ["--mode=sample", "--num_images=5"],
        ["--resume", "--num_iterations=7"],
    ],
)
def test_a_printed_config_gives_the_same_values(arguments, capsys):
    write_flags("runs/one", "--num_iterations=3", "--num_held_out=9")
    text = printed(capsys, *arguments, "--print_config")
    lines = text.splitlines()
    assert all(line.startswith(("--", "# python main.py --")) for line in lines)
    Path("my.cfg").write_text(text)
    settings, again = parsed(*arguments), parsed("--flagfile=my.cfg")
    names = flags.acting(settings)
    assert {name: again[name] for name in names} == {
        name: settings[name] for name in names
    }
    assert len(lines) == 1 + len({line.partition("=")[0] for line in lines[1:]})


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("--num_iterations=ten", "must be a whole number of 1 or more. Received: ten."),
        ("--image_size=7", "must be a whole number of 8 or more, or height x width su"),
        ("--image_size=96x", "such as 96x64. Received: 96x."),
        ("--image_size=96x7", "such as 96x64. Received: 96x7."),
        ("--image_size=8x8x3", "such as 96x64. Received: 8x8x3."),
        ("--image_size=ten", "such as 96x64. Received: ten."),
        ("--seed=-1", "must be a whole number from 0 to 2147483647. Received: -1."),
        ("--batch_size=0", "--batch_size must be a whole number of 1 or more."),
        ("--guard=maybe", "--guard must be true or false. Received: maybe."),
        ("--noguard=1", "--noguard takes no value. Received: --noguard=1."),
        ("--resize=melt", "--resize must be crop or stretch. Received: melt."),
        ("--resize=strech", "Received: strech. Did you mean stretch?"),
        ("--metrics=parzn", "Received: parzn. Did you mean parzen?"),
        ("--metrics=parzen,frecht", "parzen,frecht. Did you mean frechet?"),
        ("--split=val", "Received: val. Did you mean validation?"),
        ("--hosts=slrm", "Did you mean slurm?"),
        ("--flagfile=mnst_fast.cfg", "directory. Did you mean flags/mnist_fast.cfg?"),
        ("--checkpoint=last", "must be newest, best or the number of a step."),
        ("--descriptor_step_size=nan", "must be a positive number. Received: nan."),
        ("--reference_stddev=0", "must be a positive number, or inf. Received: 0."),
        ("--workdir=", "--workdir must be a text. Received: nothing."),
        ("--batch_size", "--batch_size needs a value: --batch_size=..."),
        ("--batch_size --seed=3", "--batch_size needs a value: --batch_size=..."),
        ("--bach_size=3", "no flag --bach_size. Did you mean --batch_size?"),
        ("--epoch=3", "no flag --epoch. Did you mean --epochs?"),
        (
            "--learning_rate=0.1",
            "Did you mean --descriptor_learning_rate or --generator_learning_rate?",
        ),
        ("--evaluate", "Did you mean --evaluate_every or --evaluate_baselines?"),
        ("--zzz", "There is no flag --zzz. See --help."),
        ("--seed=3 typo", "Flags begin with --. Received: typo."),
        (
            "typo --seed=3",
            "a flag, or a mode: train, sample, interpolate, reconstruct,",
        ),
        ("shwo --seed=3", "evaluate, export. Received: shwo. Did you mean show?"),
        ("Sample", "Received: Sample. Did you mean sample?"),
        ("photos/sample", "Received: photos/sample. Did you mean sample?"),
        ("sample --mode=recover", "The mode is sample already. Leave out --mode."),
        ("train --mode train", "The mode is train already. Leave out --mode."),
        ("--flagfile=nope", "--flagfile=nope cannot be read: No such file"),
        ("--flagfile=flags/nope.cfg", "flags/nope.cfg cannot be read: No such file"),
        ("--flagfile=mnist.cfg", "--flagfile=mnist.cfg cannot be read: No such file"),
        ("--flagfile=.", "--flagfile=. cannot be read: Is a directory"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(argument, text, capsys):
    assert text in refusal(capsys, *argument.split())


def test_an_empty_first_word_is_no_mode(capsys):
    assert "Received: nothing." in refusal(capsys, "", "--seed=3")


@pytest.mark.parametrize("mode", MODES)
def test_the_first_word_may_be_the_mode(mode, capsys):
    write_flags("runs/one")
    assert parsed(mode) == parsed(f"--mode={mode}")
    text = printed(capsys, mode, "--help")
    assert text == printed(capsys, "--help", f"--mode={mode}")
    assert text == printed(capsys, "--help", mode)
    Path("my.cfg").write_text("--mode=evaluate")
    assert parsed(mode, "--flagfile=my.cfg")["mode"] == mode


def test_a_mode_is_the_first_word_alone():
    write_flags("sample")
    assert parsed("sample", "--workdir", "sample")["workdir"] == "sample"
    assert parsed("--name", "show")["name"] == "show"


def test_the_word_after_a_flag_is_its_value():
    found = parsed("--seed", "3", "-batch_size", "7", "--noguard", "--resize=stretch")
    assert (found["seed"], found["batch_size"], found["guard"]) == (3, 7, False)


def test_flagfiles_have_comments_and_contain_others():
    Path("inner.cfg").write_text("--seed=3\n--batch_size=5\n")
    text = "\ufeff# café\n\n// two\n  --flagfile=inner.cfg\r\n--batch_size\n6\n"
    Path("outer.cfg").write_bytes(text.encode())
    found = parsed("--num_chains=9", "--flagfile=outer.cfg", "--latent_size=8")
    names = "seed", "batch_size", "num_chains", "latent_size"
    assert [found[name] for name in names] == [3, 6, 9, "8"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"# one\n\n--seed=ten", "my.cfg, line 3: --seed must be a whole number"),
        (b"--seed=3\nhello", "my.cfg, line 2: Flags begin with --. Received: hello."),
        (b"--sed=3", "my.cfg, line 1: There is no flag --sed. Did you mean --seed?"),
        (b"# one\n# caf\xe9\n", "my.cfg, line 2: This is not text in UTF-8."),
        (b"\xff\xfe-\0", "my.cfg, line 1: This is not text in UTF-8."),
        (b"\n--flagfile=nope", "my.cfg, line 2: --flagfile=nope cannot be read"),
        (b"--flagfile=no\0pe", "my.cfg, line 1: --flagfile=no\0pe cannot be read"),
        (b"--flagfile=my.cfg", "my.cfg, line 1: --flagfile=my.cfg is within itself."),
        (b"--flagfile=in.cfg", "in.cfg, line 2: --seed must be a whole number"),
    ],
)
def test_a_wrong_line_of_a_flagfile_is_named(content, text, capsys):
    Path("my.cfg").write_bytes(content)
    Path("in.cfg").write_text("\n--seed=x")
    assert f"Error: {text}" in refusal(capsys, "--flagfile=my.cfg")


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


def test_functions_of_the_modes_have_the_flags_defaults():
    compared = 0
    for mode, function in commands.COMMANDS.items():
        for name, parameter in inspect.signature(function).parameters.items():
            given, facts = parameter.default is not parameter.empty, FACTS.get(name)
            if given and facts and mode not in facts.if_typed:
                assert parameter.default == facts.default, (mode, name)
                compared += 1
    assert compared > 40


def test_flags_of_the_descriptor_reach_it():
    given = ["--descriptor_activation=gelu", "--spectral_norm"]
    given += ["--descriptor_average=0.9", "--algorithm=descriptor"]
    given += ["--augment=shift,flip"]
    net = build.model(parsed(*given), (8, 8, 1), 100).descriptor
    divided = spectral.wrapped_in(net.network)
    assert [one.layer.activation for one in divided] == [keras.activations.gelu] * 3
    assert (net.optimizer.use_ema, net.optimizer.ema_momentum) == (True, 0.9)
    assert net.augment == ("shift", "flip")


@pytest.mark.parametrize(
    "text", ["0:4095", "3:65535", "9:3", "0:65536", "1:1", "x", ""]
)
def test_a_range_of_greys_is_what_the_package_takes(text):
    taken = True
    try:
        decoding.parse_grey_range(text)
    except DatasetError:
        taken = False
    assert bool(definitions.data._is_range(text)) == taken
