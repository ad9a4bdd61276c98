"""The nets of a run for others: exports, and the Hugging Face hub."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from commands import cards, use
from coopnets_tf.errors import RunError
from coopnets_tf.files import write_json, write_whole
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.networks.network_file import COPY
from coopnets_tf.runs import export as exporting
from coopnets_tf.runs import folder, saving, trained
from flags import SAVED


class Asked(NamedTuple):
    """What an export is of, and where it goes."""

    model: ImageModel
    run_dir: Path
    dataset: str | None  # that the run was trained on
    output: Path | str | None
    hub: str | None
    license: str | None

    def place(self) -> Path:
        """A new folder; made once nothing can be refused."""
        return folder.new_output(self.output, self.run_dir, "export")


def export(
    workdir: Path | str,
    *,
    checkpoint: str | int = "newest",
    trust_network: bool = False,
    output: Path | str | None = None,
    export_format: str = "savedmodel",
    hub: str | None = None,
    license: str | None = None,
) -> None:
    """The trained nets in a format for others.

    Args:
      workdir, checkpoint, trust_network: see `use.opened`.
      output: new folder; default: the next free one in the run's, for a SavedModel its
        export/, whose content is replaced.
      export_format: a key of `FORMATS`.
      hub: "user/name" on the hub.
      license: of the nets, by the hub's name for it.

    Raises:
      RunError: if the run lacks the net that a format is for, or there is no place in
        it for these nets.
    """
    run_dir, model = use.opened(workdir, checkpoint, trust_network)
    dataset = saving.description(run_dir).get("dataset") and str(
        saving.dataset_of(run_dir)["dataset"]
    )
    asked = Asked(model, run_dir, dataset, output, hub, license)
    print(f"Nets of step {int(model.step)}{FORMATS[export_format](asked)}")


def _savedmodel(asked):
    path = asked.place() if asked.output else trained.results(asked.run_dir) / "export"
    exporting.export(asked.model, path, dataset=asked.dataset)
    return f": {path}"


def _keras(asked):
    path = asked.place() / "model.keras"
    asked.model.save(path)
    if (asked.run_dir / COPY).is_file():  # what its networks may need
        shutil.copyfile(asked.run_dir / COPY, path.with_name(COPY))
    return f": {path}"


def _litert(asked):
    generator = exporting.for_litert(asked.model)
    path = asked.place() / "generator.tflite"
    exporting.export_litert(generator, path)
    return f": {path}"


def _onnx(asked):
    nets = exporting.onnx_nets(asked.model)
    path = asked.place()
    for name, content in nets.items():
        (path / name).write_bytes(content)
    return f": {path}"


def _run(asked):
    model, run_dir = asked.model, asked.run_dir
    halves = exporting.halves(model)
    path = asked.place()
    exporting.export_run(model, halves, run_dir, path)
    if (run_dir / SAVED).is_file():
        write_whole(path / SAVED, cards.flagfile(run_dir / SAVED).encode())
    if report := cards.evaluation(run_dir, int(model.step)):
        write_json(path / "evaluate-1" / "report.json", report)
    about = {"dataset": asked.dataset, "license": asked.license}
    cards.write(model, run_dir, path, path.name, **about)
    trained.seal(path)
    return f": {path}"


def _hub(asked):
    if asked.hub is None:
        raise RunError("`export_format`=hub needs `hub`, such as user/name.")
    about = {"dataset": asked.dataset, "license": asked.license}
    cards.push(asked.model, asked.run_dir, asked.hub, **about)
    return f" and their card: hf://{asked.hub}"


FORMATS: dict[str, Callable[[Asked], str]] = {
    "savedmodel": _savedmodel,
    "keras": _keras,
    "litert": _litert,
    "onnx": _onnx,
    "run": _run,
    "hub": _hub,
}
