import ast
import subprocess
import sys

import pytest

import flags
from coopnets_tf import descriptor, generator
from coopnets_tf.data import datasets
from coopnets_tf.evaluation import protocol as evaluation
from flags import definitions
from tests.helpers import ROOT, make_model

NAMES = [name for name in dir(definitions) if name.isupper()]


def test_every_flag_is_read_by_main():
    tree = ast.parse((ROOT / "main.py").read_text(encoding="utf-8"))
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "f"
    }
    assert read == set(NAMES)


def test_the_overview_of_help_names_every_flag():
    text = ast.get_docstring(ast.parse((ROOT / "main.py").read_text(encoding="utf-8")))
    listed = text.split("has them all.")[1].split()
    groups = set("run data networks descriptor generator training output".split())
    groups |= {"divergence", "stabilisers", "use", "evaluation"}
    assert groups <= set(listed)
    assert set(listed) - groups == {name.lower() for name in NAMES} - groups


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
    assert set(flags.OF_MODES) <= {name.lower() for name in NAMES}
    modes = set(flags.FLAGS["mode"].parser.enum_values)
    assert all(set(names.split()) < modes for names in flags.OF_MODES.values())
    for arguments, text in (
        (["--evaluate_real"], "--evaluate_real is for --mode=evaluate."),
        (["--mode=evaluate", "--num_images=5"], "--mode=sample|reconstruct|recover."),
    ):
        with pytest.raises(SystemExit, match="2"):
            flags.parse(["main.py", *arguments])
        assert text in capsys.readouterr().err
    flags.FLAGS.unparse_flags()


def test_every_network_can_be_named():
    choices = set(flags.FLAGS["network"].parser.enum_values)
    for table in (descriptor.NETWORKS, generator.NETWORKS):
        assert set(table) == choices


def test_every_metric_of_an_evaluation_is_offered():
    assert tuple(definitions._metrics) == evaluation.METRICS


def test_every_metric_can_choose_the_best_checkpoint():
    choices = flags.FLAGS["keep_best"].parser.enum_values
    of_evaluations = [
        f"evaluation/{net}/frechet_distance" for net in ("generator", "descriptor")
    ]
    assert choices == [*make_model().means, *of_evaluations]


PROGRAM = """
import sys
from pathlib import Path
import flags
flags.parse(["main.py", *sys.argv[1:]])
flags.save(Path("saved.cfg"), ["heading"])
print(flags.values())
"""


def parsed(*arguments, cwd):
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return ast.literal_eval(result.stdout)


def test_the_preset_gives_way_to_the_user(tmp_path):
    preset = parsed("--dataset=mnist", cwd=tmp_path)
    assert (preset["network"], preset["num_held_out"]) == ("mnist", 5000)
    own = parsed("--num_held_out=7", "--dataset=mnist", cwd=tmp_path)
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
        "num_noise_steps": None,
        "latent_size": 100,
        "num_outputs": 100,
    }
    for dataset in ("mnist", "some_folder"):
        values = parsed(f"--dataset={dataset}", cwd=tmp_path)
        assert {name: values[name] for name in official} == official


def test_the_fast_preset_differs_from_the_one_beside_it(tmp_path):
    fast = flags.PRESETS / "mnist_fast.cfg"
    found = parsed(f"--flagfile={fast}", cwd=tmp_path)
    plain = parsed("--dataset=mnist", cwd=tmp_path)
    assert found["dataset"] == found["network"] == "mnist"
    assert found["num_held_out"] == plain["num_held_out"] == 5_000
    assert found["descriptor_num_steps"] < plain["descriptor_num_steps"]


def test_saved_flags_give_the_same_values(tmp_path):
    saved = parsed("--dataset=a b", "--skip_bad_images", "--seed=3", cwd=tmp_path)
    assert (tmp_path / "saved.cfg").read_text().startswith("# heading\n")
    assert parsed("--flagfile=saved.cfg", cwd=tmp_path) == saved


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--chain_init=noise", "--chain_init=generator is for --algorithm=coopnets"),
        ("--algorithm=descriptor --chain_init=generator", "all others for"),
        ("--algorithm=generator --chain_init=data", "all others for"),
        ("--refresh_probability=0.5", "--refresh_probability is for --algorithm=desc"),
        ("--training_mask=random:0.5", "--training_mask is for --algorithm=generator"),
        ("--algorithm=descriptor --keep_best=generator_loss", "not a metric of this"),
        ("--algorithm=generator --keep_best=saturation", "not a metric of this"),
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
    ],
)
def test_flags_that_do_not_go_with_the_algorithm_are_refused(arguments, text, capsys):
    with pytest.raises(SystemExit) as stop:
        flags.parse(["main.py", *arguments.split()])
    assert stop.value.code == 2
    assert text in capsys.readouterr().err


def test_the_algorithm_has_a_preset_of_its_own(tmp_path):
    """After that of the data set, and before the user's own flags."""
    plain = parsed("--algorithm=generator", cwd=tmp_path)
    assert plain["network"] == "digits" and plain["generator_num_steps"] > 0
    own = parsed("--generator_num_steps=3", "--algorithm=generator", cwd=tmp_path)
    assert own["generator_num_steps"] == 3


def test_only_named_data_sets_have_presets_of_their_own():
    assert flags.NAMED == datasets.NAMES
    for name in ("descriptor", "mnist_fast", "some_folder"):
        assert flags.preset_of(name).name == "scene.cfg"


def test_a_run_of_one_net_is_repeated_by_its_flagfile(tmp_path):
    one = parsed("--algorithm=descriptor", "--num_persistent_chains=70", cwd=tmp_path)
    assert parsed("--flagfile=saved.cfg", cwd=tmp_path) == one


BUILD = """
import sys
import flags
import main
flags.parse(["main.py", "--dataset=mnist", "--descriptor_num_steps=3", "--seed=4"])
model = main.build_model((28, 28, 1), 100)
nets = model.descriptor, model.generator
print({
    "rates": [round(float(net.optimizer.learning_rate), 6) for net in nets],
    "betas": [(net.optimizer.beta_1, net.optimizer.beta_2) for net in nets],
    "epsilons": [net.optimizer.epsilon for net in nets],
    "revision": (nets[0].revision.num_steps, nets[0].revision.step_size),
    "inference": (nets[1].inference.num_steps, nets[1].inference.step_size),
    "stddevs": (nets[0].reference_stddev, nets[1].residual_stddev),
    "sizes": (nets[0].num_outputs, nets[1].latent_size, model.num_chains),
    "seed": model.run_seed,
})
"""


def test_flags_reach_the_model():
    result = subprocess.run(
        [sys.executable, "-c", BUILD],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ast.literal_eval(result.stdout.splitlines()[-1]) == {
        "rates": [0.007, 0.0001],
        "betas": [(0.5, 0.999)] * 2,
        "epsilons": [1e-8] * 2,
        "revision": (3, 0.002),
        "inference": (0, 0.1),
        "stddevs": (0.016, 0.3),
        "sizes": (100, 100, 144),
        "seed": 4,
    }
