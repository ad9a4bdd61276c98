"""The nets of a run for others: exports, and the Hugging Face hub."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from commands import cards, use
from coopnets_tf.errors import RunError
from coopnets_tf.files import write_json, write_whole
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.networks import network_file
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
    network_file.copy_beside(asked.run_dir, path.parent)
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
    push(asked.model, asked.run_dir, asked.hub, **about)
    return f" and their card: hf://{asked.hub}"


def push(
    model: ImageModel,
    run_dir: Path,
    name: str,
    *,
    dataset: str | None,
    license: str | None = None,
) -> None:
    """Writes a model to the hub by Keras's `hf://`, and replaces Keras's card.

    Args:
      name: "user/name" on the hub.
      model, run_dir, dataset, license: see `cards.card`.

    Raises:
      RunError: if the hub's client is not installed.
      OSError: if the hub did not take it.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise RunError(
            f"hf://{name} is on the hub, which needs pip install huggingface_hub."
        ) from error
    with tempfile.TemporaryDirectory() as place:
        # Made first: a run whose card fails leaves nothing on the hub.
        address = f"hf://{name}"
        about = {"dataset": dataset, "license": license}
        cards.write(model, run_dir, Path(place), address, **about)
        network_file.copy_beside(run_dir, Path(place))
        try:
            model.save(f"hf://{name}")
            # Keras has just written a README.md, the same for every model.
            huggingface_hub.HfApi().upload_folder(
                repo_id=name,
                folder_path=place,
                commit_message="Add the card of the training run.",
            )
        except Exception as error:  # the client's errors have no common class
            raise OSError(
                f"hf://{name} was not written whole; log in by: hf auth login, or mend "
                f"this, and call again: {' '.join(str(error).split())}"
            ) from error


FORMATS: dict[str, Callable[[Asked], str]] = {
    "savedmodel": _savedmodel,
    "keras": _keras,
    "litert": _litert,
    "onnx": _onnx,
    "run": _run,
    "hub": _hub,
}
