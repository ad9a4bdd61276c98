"""The nets of a run for others: exports, and the Hugging Face hub."""

import shutil
from pathlib import Path

from commands import cards, use
from coopnets_tf.errors import RunError
from coopnets_tf.files import write_json, write_whole
from coopnets_tf.network_files import COPY
from coopnets_tf.runs import export as exporting
from coopnets_tf.runs import folder, saving, trained
from flags import SAVED


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
      export_format: "savedmodel", "keras", "litert", "onnx", "run" or "hub".
      hub: "user/name" on the hub.
      license: of the nets, by the hub's name for it.

    Raises:
      RunError: if the run lacks the net that a format is for.
    """
    run_dir, model = use.opened(workdir, checkpoint, trust_network)
    dataset = saving.description(run_dir).get("dataset") and str(
        saving.dataset_of(run_dir)["dataset"]
    )
    if export_format == "hub":
        if hub is None:
            raise RunError("`export_format`=hub needs `hub`, such as user/name.")
        cards.push(model, run_dir, hub, dataset=dataset, license=license)
        print(f"Nets of step {int(model.step)} and their card: hf://{hub}")
        return
    if export_format == "savedmodel":
        path = trained.results(run_dir) / "export"
        if output:
            path = folder.new_output(output, run_dir, "export")
        exporting.export(model, path, dataset=dataset)
    elif export_format == "keras":
        path = folder.new_output(output, run_dir, "export") / "model.keras"
        model.save(path)
        if (run_dir / COPY).is_file():  # what its networks may need
            shutil.copyfile(run_dir / COPY, path.with_name(COPY))
    elif export_format == "run":
        path = folder.new_output(output, run_dir, "export")
        exporting.export_run(model, run_dir, path)
        if (run_dir / SAVED).is_file():
            write_whole(path / SAVED, cards.flagfile(run_dir / SAVED).encode())
        if report := cards.evaluation(run_dir, int(model.step)):
            write_json(path / "evaluate-1" / "report.json", report)
        cards.write(model, run_dir, path, path.name, dataset=dataset, license=license)
        trained.seal(path)
    elif export_format == "onnx":
        nets = exporting.onnx_nets(model)
        path = folder.new_output(output, run_dir, "export")
        for name, content in nets.items():
            (path / name).write_bytes(content)
    else:
        if model.generator is None:
            raise RunError(
                "`export_format`=litert is for generators. Received: a run of "
                "`algorithm`=descriptor. Take savedmodel or keras."
            )
        path = folder.new_output(output, run_dir, "export") / "generator.tflite"
        exporting.export_litert(model.generator, path)
    print(f"Nets of step {int(model.step)}: {path}")
