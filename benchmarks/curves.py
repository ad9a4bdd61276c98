"""Quality against computation: the evaluations of several runs on one figure.

    python -m benchmarks.curves --figure=curves.png <run> <run> ...

Reads what each run was scored with on the images held out of training: by
`--evaluate_every` (evaluations/*.json) or by `--mode=evaluate --split=validation
--checkpoint=<step>` (evaluate-*/report.json). Operations are counted as in
`benchmarks.step`; seconds are steps times the time of one, measured here for all runs
in turns, so that what else the machine did during a run does not count. Prints a JSON
line for each point.
"""

import json
import sys
from pathlib import Path

from absl import app
from absl import flags as absl_flags

import flags
import surroundings
from benchmarks import step

FIGURE = absl_flags.DEFINE_string("figure", "curves.png", "PNG file to write.")
SCORES = {
    "Frechet distance": "frechet_distance",
    "Parzen windows, nats": "parzen/nats",
    "recall": "recall",
}
STYLES = {"generator": "--", "descriptor": "-"}


def prepared(run_dir):
    """The training step of a run as a function without arguments; its operations."""
    from commands import build
    from coopnets_tf.runs.stepping import build_step

    flags.parse(["curves", f"--flagfile={run_dir / flags.SAVED}"])
    settings = flags.settings()
    batch_size = settings["batch_size"]
    model = build.model(settings, step.image_shape(settings), batch_size)
    batch, step_fn = step.random_batch(model, batch_size), build_step(model)
    return lambda: step.finish(step_fn(batch)), step.step_flops(model, batch_size)


def validated(run_dir):
    """A run's evaluations on held-out images: one for each step, in their order."""
    paths = [
        *run_dir.glob("evaluations/*.json"),
        *run_dir.glob("evaluate-*/report.json"),
    ]
    found = [json.loads(path.read_text()) for path in paths]
    found = [one for one in found if one["protocol"]["split"] == "validation"]
    return sorted({one["step"]: one for one in found}.values(), key=lambda r: r["step"])


def refuse_a_mixture(found):
    """Stops where reports were made by different protocols, which do not compare."""
    beside = dict.fromkeys(["metrics", "baselines", "memorisation", "ceiling"])
    protocols = {
        json.dumps({**one["protocol"], **beside}, sort_keys=True) for one in found
    }
    if len(protocols) > 1:
        sys.exit("Error: reports of different protocols:\n" + "\n".join(protocols))


def draw(points, path):
    """One column for each score; computation above, seconds below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(SCORES))
    runs = sorted({point["run"] for point in points})
    for column, score in enumerate(SCORES):
        for row, unit in enumerate(["PFLOP", "minutes"]):
            panel = axes[row, column]
            for number, run in enumerate(runs):
                for net, style in STYLES.items():
                    own = [p for p in points if (p["run"], p["net"]) == (run, net)]
                    if not own:
                        continue
                    panel.plot(
                        [p[unit] for p in own],
                        [p[score] for p in own],
                        style,
                        color=f"C{number}",
                        marker=".",
                        label=f"{run}, {net}",
                    )
            panel.set_xlabel("training, " + unit)
            panel.set_title(score)
            if score.startswith("Frechet"):
                panel.set_yscale("log")
            panel.grid(alpha=0.3)
    axes[0, 0].legend(fontsize="small")
    canvas.print_png(path)


def measure(argv):
    run_dirs = [Path(word) for word in argv[1:]]
    if not run_dirs:
        sys.exit("Error: name the folders of runs.")
    # Read before the flags of the runs take their place.
    path, number = FIGURE.value, step.NUM_STEPS.value
    surroundings.load_tensorflow()
    from coopnets_tf.evaluation import reports

    functions, flops = zip(*map(prepared, run_dirs), strict=True)
    seconds = step.median_seconds(functions, number)
    found = [validated(run_dir) for run_dir in run_dirs]
    refuse_a_mixture([report for own in found for report in own])
    points = []
    for run_dir, own_reports, own_flops, own_seconds in zip(
        run_dirs, found, flops, seconds, strict=True
    ):
        for report in own_reports:
            numbers = reports.scalars(report)
            for net in report["scores"].keys() & STYLES.keys():
                point = {
                    "run": run_dir.name,
                    "net": net,
                    "step": report["step"],
                    "PFLOP": round(report["step"] * own_flops / 1e15, 4),
                    "minutes": round(report["step"] * own_seconds / 60, 2),
                    **{
                        label: numbers.get(f"evaluation/{net}/{name}")
                        for label, name in SCORES.items()
                    },
                }
                points.append(point)
                print(json.dumps(point))
    draw(points, path)


def parse(argv):
    """The folders of runs are words among the flags, which have the form --a=b."""
    words = [word for word in argv[1:] if not word.startswith("--")]
    rest = [word for word in argv[1:] if word.startswith("--")]
    return [*flags.parse([argv[0], *rest]), *words]


if __name__ == "__main__":
    app.run(measure, flags_parser=parse)
