"""Who may import whom: a room knows only rooms of lower levels."""

import ast
import re
import sys

import pytest

from tests.helpers import ROOT

# By the longest prefix of a module's name within the package.
LEVELS = [
    {"version", "errors", "wording", "files", "progress"},
    {"replicas"},
    {"seeds"},
    {"langevin", "energies", "interpolation", "augmentation"}
    | {"variables", "conditional"},
    {"data"},
    {"networks"},
    {"freezing"},
    {"descriptor", "generator"},
    {"models"},
    {"algorithms"},
    {"algorithm_d", "algorithm_g", "coopnets"},
    {"evaluation"},
    {"runs"},
    {"__init__"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
PACKAGE = sorted((ROOT / "coopnets_tf").rglob("*.py"))
COMMANDS = sorted((ROOT / "commands").glob("*.py"))
PROGRAM = [ROOT / "main.py", ROOT / "coopnets_tf_command.py"]
# The order within the rooms that hold several modules: an import goes to the left.
ROOMS = {
    "networks": [
        "layers",
        "image_conv",
        "rows",
        "built_in",
        "checks",
        "network_file",
        "batch_norm",
        "spectral",
    ],
    "models": [
        "sizes",
        "batches",
        "optimizers",
        "endpoints",
        "learner",
        "image_learner",
        "image_model",
        "image_latents",
    ],
    "data": [
        "images",
        "drawing",
        "masks",
        "windows",
        "archives",
        "sources",
        "decoding",
        "kept",
        "found",
        "folders",
        "clips",
        "named",
        "image_dataset",
        "datasets",
    ],
    "evaluation": [
        "metrics",
        "parzen",
        "recovery",
        "features",
        "own_extractor",
        "diagnostics",
        "baselines",
        "memorisation",
        "drawn",
        "facts",
        "reports",
        "protocol",
        "clips",
        "textures",
    ],
    "runs": [
        "trained",
        "folder",
        "curves",
        "tracking",
        "services",
        "trackers",
        "logs",
        "checkpoints",
        "weights",
        "saving",
        "export",
        "hosts",
        "hooks",
        "signals",
        "stepping",
        "training",
    ],
    "commands": [
        "devices",
        "build",
        "by_class",
        "use",
        "sample",
        "paths",
        "interpolate",
        "answers",
        "show",
        "recover",
        "evaluate",
        "train",
        "cards",
        "share",
        "__init__",
    ],
}


def name_of(path):
    """Such as `data.images` of coopnets_tf/data/images.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removeprefix(
        "coopnets_tf."
    )


def modules(name):
    """A module of the package, or the room that it is in, as far as it has a level."""
    parts = name.split(".")
    found = [".".join(parts[:length]) for length in (2, 1)]
    return next((one for one in found if one in LEVEL), None)


def imports(path):
    """Everything that a file imports, wherever in it, by its whole name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_imports_go_down(path):
    own = name_of(path)
    if own.endswith(".__init__"):
        tree = ast.parse(path.read_text())
        # A room says what it is about, and has no names of its own.
        assert ast.get_docstring(tree) and len(tree.body) == 1
        return
    for name in imports(path):
        root, _, rest = name.partition(".")
        assert root not in ("absl", "flags", "main", "commands", "tests"), name
        if root != "coopnets_tf" or own == "__init__":
            continue
        # The public names of the whole package belong to users, not to modules.
        assert modules(rest), name
        room, other = own.partition(".")[0], rest.split(".")
        if room == other[0] and room in ROOMS:
            order = ROOMS[room]
            assert order.index(other[1]) < order.index(own.partition(".")[2]), name
        else:
            assert LEVEL[modules(rest)] < LEVEL[modules(own)], name


@pytest.mark.parametrize("path", COMMANDS, ids=name_of)
def test_commands_know_the_package_and_each_other_in_order(path):
    order = ROOMS["commands"]
    for name in imports(path):
        root, _, rest = name.partition(".")
        assert root not in ("main", "absl", "tests"), name
        if root == "commands":
            assert order.index(rest.partition(".")[0]) < order.index(path.stem), name


def test_every_module_has_its_place():
    names = {name_of(path) for path in PACKAGE}
    page = (ROOT / "docs/PAPER.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"(?m)^\| (?:`(\w+)/` )?\| (`.*?`) \|", page.split("## Where to read")[1]
    )
    listed = [(room, re.findall(r"`(\w+)`", modules)) for room, modules in rows]
    beside = {"surroundings", "coopnets_tf_command"}
    assert {f"{room}." * bool(room) + name for room, row in listed for name in row} == (
        {name for name in names if not name.endswith("__init__")} | beside
    )
    assert {room: row for room, row in listed if room} == {
        room: order for room, order in ROOMS.items() if room != "commands"
    }
    assert all(modules(name) for name in names if not name.endswith(".__init__"))
    found = {name for name in names if "." not in name}
    assert found == {name for name in LEVEL if "." not in name} - set(ROOMS)
    for room, order in ROOMS.items():
        folder = ROOT / ("" if room == "commands" else "coopnets_tf") / room
        stems = {path.stem for path in folder.glob("*.py")} | {"__init__"}
        assert stems == {*order, "__init__"}


def requirements(name):
    """The packages that a file of requirements lists itself."""
    lines = (ROOT / name).read_text().splitlines()
    return {re.match(r"[\w-]*", line)[0] for line in lines if line[0] != "-"}


def test_what_running_needs_is_required_and_what_tests_need_is_not():
    needed = {
        name.split(".")[0]
        for path in [*PACKAGE, *COMMANDS, *(ROOT / "flags").rglob("*.py")]
        for name in imports(path)
    }
    needed -= {"coopnets_tf", "commands", "flags", *sys.stdlib_module_names}
    names = {"PIL": "pillow", "sklearn": "scikit-learn", "absl": "absl-py"}
    optional = {"skimage", "huggingface_hub", "pillow_heif", "av", "wandb", "mlflow"}
    optional |= {"tf2onnx"}
    listed = requirements("requirements.txt")
    assert {names.get(one, one) for one in needed - optional} <= listed
    assert requirements("requirements-dev.txt") == {
        "pytest",
        "pytest-xdist",
        "ruff",
        "mypy",
        "av",
        "playwright",
        "setuptools",
        "mkdocs-material",
        "mkdocstrings",
        "tf2onnx",
        "onnxruntime",
    }
    assert not listed & requirements("requirements-dev.txt")


def test_flags_know_nothing_but_absl():
    known = {"absl", "flags", *sys.stdlib_module_names}
    for path in (ROOT / "flags").rglob("*.py"):
        assert {name.split(".")[0] for name in imports(path)} <= known


def test_nothing_imports_late_but_what_is_optional():
    """TensorFlow in main.py, so that --help is quick; and what may not be there."""
    late = {
        (name_of(path), name.partition(".")[0])
        for path in [*PACKAGE, *COMMANDS, *PROGRAM]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
        for name in [getattr(inner, "module", None) or inner.names[0].name]
    }
    assert late == {
        ("coopnets_tf_command", "main"),
        ("main", "tensorflow"),
        ("main", "PIL"),
        ("main", "commands"),
        ("main", "coopnets_tf"),
        ("evaluation.recovery", "skimage"),
        ("data.decoding", "pillow_heif"),
        ("data.clips", "av"),
        ("data.named", "skimage"),
        ("commands.share", "huggingface_hub"),
        ("runs.saving", "huggingface_hub"),
        ("runs.services", "wandb"),
        ("runs.services", "mlflow"),
        ("runs.export", "tf2onnx"),
        ("runs.folder", "fcntl"),  # not on Windows
    }, late
