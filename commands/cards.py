"""The card that says what a trained model is, for copies of runs and for the Hugging
Face hub.
"""

import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import flags
from commands import by_class
from coopnets_tf.data import drawing
from coopnets_tf.evaluation import reports
from coopnets_tf.files import write_whole
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.networks import network_file
from coopnets_tf.runs import logs
from coopnets_tf.runs.export import metadata
from coopnets_tf.wording import counted

NUM_SAMPLES = 64  # images in the card's picture
TASK = "unconditional-image-generation"
HUB = " and `pip install huggingface_hub`"
FRONT = """\
---
library_name: keras
{task}{license}tags:
- coopnets
- energy-based-model
- image-generation
---
"""
TEXT = """
# {title}

{story} Images have
{pixels} pixels and {channels}{classes}. {These}
after {training}.

![Samples of the model](samples.png)

The picture shows `model.sample({num_samples}, seed=0)`, not chosen by hand.

## Use

With {needed}:

```python
import coopnets_tf

model = coopnets_tf.load("{address}"{consent})
images = model.sample({num_samples}, seed=0)  # float32 {shape} in [-1, 1]
```

## Training

Data set: `{dataset}`. What was called, without the folders of that machine:

```sh
{commands}
```
"""
STORIES = {
    "CoopNets": """\
A generator and a descriptor (an energy-based model), trained together on `{dataset}` by
cooperative learning ([arXiv:1609.09408](https://arxiv.org/abs/1609.09408)). The
generator drafts an image from {num_latents} normal random numbers; the descriptor
revises it by Langevin dynamics, {revisions} in training.""",
    "AlgorithmD": """\
A descriptor (an energy-based model), trained on `{dataset}` by Algorithm D of
[arXiv:1609.09408](https://arxiv.org/abs/1609.09408). Langevin dynamics turn an image
into one that it scores higher, {revisions} in training.""",
    "AlgorithmG": """\
A generator, trained on `{dataset}` by Algorithm G of
[arXiv:1609.09408](https://arxiv.org/abs/1609.09408), alternating back-propagation. It
makes an image from {num_latents} normal random numbers.""",
}
DUAL = """ The
generator also learned from the training images themselves, with {data_teaching:g} times
Algorithm G's loss (dual teaching)."""
SCORES = """
## Scores

By `--mode=evaluate`; of a copy in half precision, before the weights were rounded:

```
{text}
```
"""
METRICS = """
Metrics at step {step:,}, means since the line before in the run's record:

| metric | value |
|---|---|
{rows}
"""


def card(
    model: ImageModel,
    run_dir: Path,
    address: str,
    *,
    dataset: str | None,
    license: str | None = None,
) -> str:
    """The text of the model card: YAML for the hub, then Markdown for its readers.

    Args:
      model: from a checkpoint of the run.
      run_dir: its `flags.cfg`, `metrics.jsonl` and newest evaluation are read.
      address: for `coopnets_tf.load`, such as "hf://user/name", or a folder's name.
      dataset: what the model was trained on. Of a path the last part is given.
      license: the hub's identifier, such as "mit".
    """
    facts = metadata(model, Path(dataset or "images of its owner").name)
    *size, channels = facts["image_shape"]
    needs_consent = (run_dir / network_file.COPY).exists()
    text = TEXT.format(
        **facts,
        story=_story(model, facts),
        These="These are the nets" if len(model.nets) > 1 else "This is the net",
        title=address.rpartition("/")[2],
        address=address,
        needed=facts["package"] + (HUB if address.startswith("hf://") else ""),
        consent=", trust_network=True" if needs_consent else "",
        pixels="x".join(map(str, size)),
        channels=counted(channels, "channels"),
        classes=_classes(run_dir, model),
        training=counted(facts["training_steps"], "training steps"),
        num_samples=NUM_SAMPLES,
        shape=[NUM_SAMPLES, *facts["image_shape"]],
        commands="\n".join(_commands(run_dir / flags.SAVED)),
    )
    front = FRONT.format(
        task="" if model.class_shares else f"pipeline_tag: {TASK}\n",
        license=f"license: {license}\n" if license else "",
    )
    step = int(model.step)
    metrics = _metrics(run_dir / "metrics.jsonl", step)
    return front + text + metrics + _scores(run_dir, step)


def _story(model, facts):
    """What the nets are, and how they were trained."""
    weight = getattr(model, "data_teaching", 0)
    story = STORIES[facts["algorithm"]] + (DUAL if weight else "")
    return story.format(
        **facts,
        data_teaching=weight,
        num_latents=math.prod(facts["latent_shape"] or []),
        revisions=counted(facts["revision_steps"] or 0, "steps"),
    )


def _classes(run_dir, model):
    if not model.class_shares:
        return ""
    names = by_class.names(run_dir, model)
    return f", of classes that `labels` chooses by their number: {', '.join(names)}"


def evaluation(run_dir: Path, step: int) -> dict[str, Any] | None:
    """The report of the newest evaluation of a step of a run; None without one."""
    paths = run_dir.glob("evaluate-*/report.json")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["step"] == step and "protocol" in report:
            return report
    return None


def _scores(run_dir, step):
    report = evaluation(run_dir, step)
    return SCORES.format(text=reports.text(report)) if report else ""


def _commands(flagfile):
    """The comments of a run's flagfile as lines for a shell."""
    if not flagfile.is_file():
        yield "# made in Python"
        return
    for line in flagfile.read_text(encoding="utf-8").splitlines():
        if line.startswith(("# python ", f"# {flags.program.COMMAND} ")):
            yield shlex.join(_without_folder(word) for word in _words(line[2:]))
        elif line.startswith("#"):
            yield line


def flagfile(path: Path) -> str:
    """A run's flagfile for others: of paths the last part is left."""
    lines = [f"# {line.removeprefix('# ')}" for line in _commands(path)]
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("--") and not line.startswith("--data_dir="):
            lines.append(_without_folder(line))
    return "\n".join(lines) + "\n"


def _words(command):
    try:
        return shlex.split(command)
    except ValueError:  # a name with a line break: the rest is in the next comment
        return ["python", "..."]


def _without_folder(word):
    """A path, or a flag with one, with the path's last part alone."""
    match = re.fullmatch(r"(--\w+=)?(.*/.*)", word)
    return (match[1] or "") + Path(match[2]).name if match else word


def _metrics(path, step):
    """The newest metrics up to a step as a table; nothing where there are none."""
    lines = [
        line
        for line in logs.read_lines(path)
        if line["step"] <= step and "story" not in line
    ]
    if not lines:
        return ""
    last = lines[-1]["step"]
    # An evaluation has a separate line.
    values = {
        name: value
        for line in lines
        if line["step"] == last
        for name, value in line.items()
        if name != "step"
    }
    rows = [f"| {name} | {value:.4g} |" for name, value in values.items()]
    return METRICS.format(step=last, rows="\n".join(rows))


def write(
    model: ImageModel, run_dir: Path, folder: Path, address: str, **options: Any
) -> None:
    """Writes a card as `README.md`, and its picture.

    Args:
      folder: for both.
      model, run_dir, address, **options: see `card`.
    """
    text = card(model, run_dir, address, **options)
    write_whole(folder / "README.md", text.encode())
    samples = drawing.grid(model.sample(NUM_SAMPLES, seed=0))
    drawing.save_png(folder / "samples.png", samples)
