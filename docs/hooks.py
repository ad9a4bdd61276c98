"""What the site has besides the pages in docs/: pages that lie elsewhere in the
repository, and the reference, which follows from the code. For mkdocs, see mkdocs.yml.

Nothing here needs TensorFlow: flags are defined by absl alone, modules are only read.
"""

import ast
import re
import sys
from pathlib import Path

from absl import flags as absl_flags
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # for flags/

from flags.facts import FACTS, MODES  # noqa: E402

ELSEWHERE = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
# The modules of each page of the reference; a folder stands for all that are in it.
REFERENCE = {
    "formulas": (
        "Formulas and their surroundings",
        ["seeds", "langevin", "energies", "augmentation", "interpolation", "variables"],
    ),
    "networks": ("Networks", ["networks/"]),
    "models": (
        "Nets and models",
        ["conditional", "freezing", "descriptor", "generator", "models/"]
        + ["algorithms", "algorithm_d", "algorithm_g", "coopnets"],
    ),
    "data": ("Data", ["data/"]),
    "evaluation": ("Evaluation", ["evaluation/"]),
    "runs": ("Runs", ["runs/"]),
    "support": ("Errors, files, words, devices", []),  # and whatever has no other page
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not in docs/."""
    pages = {name: _from_the_top(path) for name, path in ELSEWHERE.items()}
    pages |= {f"reference/{name}.md": text for name, text in reference().items()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page, config: MkDocsConfig, files: Files) -> str:
    """Links to pages at the top of the repository lead to their place on the site."""
    for name, path in ELSEWHERE.items():
        markdown = markdown.replace(f"](../{path}", f"]({name}")
    return markdown


def on_page_content(html: str, page, config: MkDocsConfig, files: Files) -> str:
    """Marks short code within a line, which site.css keeps whole."""
    return re.sub(r"<code>(?=[^<\n]{1,28}</code>)", '<code class="whole">', html)


def _from_the_top(path):
    """A page from the top of the repository, with its links as from docs/."""
    text = (ROOT / path).read_text(encoding="utf-8")
    text = re.sub(r'(\]\(|src=")docs/', r"\1", text)
    for name, other in ELSEWHERE.items():
        text = text.replace(f"]({other}", f"]({name}")
    return text


def reference() -> dict[str, str]:
    """The pages of the reference, by name."""
    pages = {"flags": _flags(), "presets": _presets(), "index": _public_names()}
    for name, (title, _) in REFERENCE.items():
        entries = "\n\n".join(f"::: {module}" for module in modules(name))
        pages[name] = f"# {title}\n\n{entries}\n"
    return pages


def modules(page: str) -> list[str]:
    """The modules of a page of the reference, by their whole names."""
    package, names = ROOT / "coopnets_tf", []
    listed = {name for _, own in REFERENCE.values() for name in own}
    others = {path.stem for path in package.glob("*.py")} - listed
    for name in REFERENCE[page][1] or sorted(others):
        paths = sorted((package / name).glob("*.py")) if name[-1] == "/" else []
        names += [f"{name[:-1]}.{path.stem}" for path in paths] or [name]
    return [f"coopnets_tf.{name}" for name in names if not name.endswith("__init__")]


def _public_names():
    """What `import coopnets_tf` gives, and where the reference has it."""
    rows = []
    for node in ast.parse((ROOT / "coopnets_tf/__init__.py").read_text()).body:
        if isinstance(node, ast.ImportFrom):
            path = ROOT / f"{node.module.replace('.', '/')}.py"
            found = {
                one.name: ast.get_docstring(one)
                for one in ast.parse(path.read_text(encoding="utf-8")).body
                if isinstance(one, ast.ClassDef | ast.FunctionDef)
            }
            rows += [
                f"| [`{name}`][{node.module}.{name}] | {_first_sentence(found[name])} |"
                for name in (alias.name for alias in node.names)
                if name in found
            ]
    head = "# Public names\n\nWhat `import coopnets_tf` gives. All else by its module, "
    head += "such as `coopnets_tf.networks.built_in`.\n\n"
    head += "| name | what it is |\n|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _first_sentence(docstring):
    return " ".join(docstring.partition("\n\n")[0].split()).replace("|", "\\|")


def _flags():
    """All flags by what they are about, as --helpfull has them."""
    groups: dict[str, list[str]] = {}
    for name, facts in FACTS.items():
        groups.setdefault(facts.group, []).append(_flag(name, facts))
    head = "# Flags\n\nOf `python main.py` and `coopnets`. `--help` shows those that "
    head += "matter, with the values in effect; a [preset](presets.md) has others "
    head += "than these defaults.\n"
    return head + "".join(
        f"\n## {group.capitalize()}\n\n{''.join(entries)}"
        for group, entries in groups.items()
    )


def _flag(name, facts):
    flag = absl_flags.FLAGS[name]
    default = "" if facts.default is None else _value(facts.default)
    help = " ".join(flag.help.split())
    choices = getattr(flag.parser, "enum_values", None)
    if choices:  # absl has put them in front
        help = f"{help.partition('>: ')[2]} One of {', '.join(choices)}."
    help = re.sub(r"(--[\w-]+(?:=[\w.:/-]*\w)?)", r"`\1`", help)
    help = re.sub(r"(?<![`\w])docs/(\w+\.md)", r"[\1](../\1)", help)
    help = re.sub(r"<(\w+)>", r"&lt;\1&gt;", help)
    modes = "" if facts.modes == MODES else f" *Read by {', '.join(facts.modes)}.*"
    return f"### `--{name}{default}` {{ #{name} }}\n\n{help}{modes}\n\n"


def _value(default):
    text = ",".join(default) if isinstance(default, list) else str(default)
    return f"={text.lower() if isinstance(default, bool) else text}"


def _presets():
    """The flagfiles in flags/."""
    head = "# Presets\n\nThe flagfiles of `flags/`. `flags/<dataset>.cfg` and "
    head += "`flags/<algorithm>.cfg` are loaded unasked, as is `flags/g1.cfg` for "
    head += "CoopNets with `--generator_num_steps`, but on digits; the others by "
    head += "`--flagfile=flags/<name>.cfg`.\n"
    return head + "".join(
        f"\n## {path.stem}\n\n```\n{path.read_text(encoding='utf-8').rstrip()}\n```\n"
        for path in sorted((ROOT / "flags").glob("*.cfg"))
    )
