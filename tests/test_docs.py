"""The pages: their links and commands, and the site that is made of them."""

import ast
import os
import re
import subprocess
import sys

import pytest

import flags
from flags.facts import MODES
from tests.helpers import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
CODE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def anchors(page):
    """Those of the headings, as repositories and the site make them."""
    for heading in re.findall(r"(?m)^#+ (.*)", CODE.sub("", TEXT[page])):
        words = re.sub(r"[^\w\s-]", "", heading.strip().lower())
        yield words.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_named(page):
    folders = "tests|coopnets_tf|commands|flags|benchmarks|docs|notebooks"
    for name in re.findall(rf"`((?:{folders})/[\w./]*\.\w+)`", TEXT[page]):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links(page):
    text = CODE.sub("", TEXT[page])
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        if re.match("https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_have_flags_that_exist(page):
    text = TEXT[page].replace("\\\n", " ")
    calls = re.findall(
        r"(?:main\.py|(?<!tensorboard )coopnets)( +\w+)?((?: +--[^\s`]+)+)", text
    )
    assert {word.strip() for word, _ in calls if word} <= {*MODES}
    names = {name for _, call in calls for name in re.findall(r"--(\w+)", call)}
    for name in names - {"help", "helpfull", "version", "flagfile", "build"}:
        assert name in flags.FACTS or name.removeprefix("no") in flags.FACTS, name


def test_the_readme_leads_to_every_page():
    linked = re.findall(r"\]\((docs/\w+\.md|\w+\.md)", TEXT[ROOT / "README.md"])
    assert {*linked, "README.md"} == {name_of(page) for page in PAGES}


def test_the_readme_is_short():
    assert len(TEXT[ROOT / "README.md"].splitlines()) < 120


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site. Nothing of it may need TensorFlow."""
    for name in ("material", "mkdocstrings_handlers.python"):
        pytest.importorskip(name)
    blocked, built = tmp_path_factory.mktemp("blocked"), tmp_path_factory.mktemp("site")
    for name in ("tensorflow", "keras"):
        (blocked / f"{name}.py").write_text(
            f"raise ImportError('{name} is not needed')"
        )
    environment = {"PYTHONPATH": str(blocked), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"]  # not so with --quiet
        + ["--site-dir", str(built)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Documentation built" in done.stderr and "WARNING" not in done.stderr
    return built


@pytest.mark.slow
def test_the_site_has_every_page_and_fetches_nothing(site):
    names = {path.name for path in site.glob("*.html")}
    assert names >= {f"{page.stem}.html" for page in (ROOT / "docs").glob("*.md")}
    assert names >= {"index.html", "changelog.html", "contributing.html"}
    assert not list(site.rglob("*.py"))
    fetched = r'<(?:script|img|iframe)[^>]+src="?(?:https?:)?//|@import|fonts\.g'
    sheets = r'<link[^>]+rel="?(?:stylesheet|preconnect)[^>]+href="?(?:https?:)?//'
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(f"{fetched}|{sheets}", text), path.name


@pytest.mark.slow
def test_the_reference_has_every_flag_and_public_name(site):
    pages = {path.stem: path.read_text() for path in site.glob("reference/*.html")}
    for name in flags.FACTS:
        assert f'id="{name}"' in pages["flags"], name
    for path in (ROOT / "coopnets_tf").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef):
                continue
            if node.name[0] != "_" and ast.get_docstring(node):
                anchor = f'id="{module}.{node.name}"'
                assert sum(anchor in page for page in pages.values()) == 1, anchor
