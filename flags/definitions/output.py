"""What a training leaves: metrics, pictures, checkpoints."""

from flags.facts import Group

TRACKERS = ("tensorboard", "wandb", "mlflow", "csv")
REVISION_METRICS = (
    "descriptor_loss",
    "energy_gap",
    "gradient_norm",
    "displacement",
    "saturation",
)

output = Group("output", may_change=True)
output.integer("log_every", 10, "Steps between two lines of metrics.", low=1)
output.list(
    "track",
    "tensorboard",
    "Where metrics, pictures and settings go besides metrics.jsonl and samples/, with "
    "commas: tensorboard, wandb (pip install wandb), mlflow (pip install mlflow), csv "
    "(the run's metrics.csv). docs/TRACKING.md.",
    basic=", ".join(TRACKERS),
    must=f"some of {','.join(TRACKERS)}",
    good=lambda value: bool(value) and set(value) <= set(TRACKERS),
    choices=TRACKERS,
)
output.integer(
    "sample_every",
    100,
    "Steps between two pictures.",
    basic="steps between two pictures",
    low=1,
)
output.integer("num_samples", 64, "Images in a picture.", low=1)
output.integer(
    "checkpoint_every",
    500,
    "Steps between two checkpoints.",
    basic="steps between two checkpoints",
    low=1,
)
output.integer(
    "keep_checkpoints", 3, "How many of the newest checkpoints to keep.", low=1
)
_distances = [
    f"evaluation/{net}/frechet_distance" for net in ("generator", "descriptor")
]
output.enum(
    "keep_best",
    None,
    [REVISION_METRICS[0], "generator_loss", *REVISION_METRICS[1:], *_distances],
    "Keep one more checkpoint: the one at which this metric, averaged over the "
    "--checkpoint_every steps before it, was smallest in absolute value. Metrics of an "
    "evaluation need --evaluate_every.",
    by_algorithm={
        "descriptor": (*REVISION_METRICS, _distances[1]),
        "generator": ("generator_loss", _distances[0]),
    },
)
