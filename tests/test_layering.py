"""Who may import whom: a module knows only modules of lower levels."""

import ast

import pytest

from tests.helpers import ROOT

LEVELS = [
    {"seeds", "files", "version"},
    {"langevin", "energies", "convolutions", "optimizers", "images", "folders", "runs"}
    | {"parzen", "metrics", "reports"},
    {"descriptor", "generator", "datasets", "logs", "endpoints", "interpolation"}
    | {"learner"},
    {"image_model", "export", "recovery", "features", "diagnostics"},
    {"algorithms", "checkpoints", "evaluation"},
    {"training", "saving", "modes", "cards"},
    {"__init__"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
MODULES = sorted((ROOT / "coopnets_tf").glob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            # The public names of the whole package belong to users, not to modules.
            names = {alias.name for alias in node.names}
            assert node.module != "coopnets_tf" or names <= set(LEVEL), path
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_go_down(path):
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] not in ("absl", "flags", "main"), name
        if parts[0] == "coopnets_tf" and len(parts) > 1 and parts[1] in LEVEL:
            assert LEVEL[parts[1]] < LEVEL[path.stem], name


def test_every_module_has_a_level():
    assert {path.stem for path in MODULES} == set(LEVEL)


def test_flags_know_nothing_of_the_package():
    for path in (ROOT / "flags").glob("*.py"):
        assert {name.split(".")[0] for name in imports(path)} <= {
            "absl",
            "flags",
            "math",
            "pathlib",
            "re",
            "sys",
        }
