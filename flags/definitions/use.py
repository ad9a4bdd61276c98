"""What a run leaves, and what is made of it."""

import re

from flags import places
from flags.definitions import conditions
from flags.facts import USES, WITH_IMAGES, Group

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
    "Keep one more checkpoint: the one before which this metric's mean over "
    "--checkpoint_every steps was smallest in size. Those of an evaluation need "
    "--evaluate_every.",
    by_algorithm={
        "descriptor": (*REVISION_METRICS, _distances[1]),
        "generator": ("generator_loss", _distances[0]),
    },
)

use = Group("use", modes=USES, saved=False)
use.string(
    "checkpoint",
    "newest",
    "Which nets of the run: newest, best (see --keep_best) or the number of a step.",
    basic="newest, best or the number of a step",
    must="newest, best or the number of a step",
    good=lambda value: bool(re.fullmatch(r"newest|best|0|[1-9][0-9]*", value)),
    choices=("newest", "best"),
)
use.string(
    "output",
    None,
    "Folder for the results. Default: a new <mode>-<number> in the run's folder; for "
    "a SavedModel its export/, whose content is replaced.",
    basic="new folder for the results",
    modes=tuple(mode for mode in USES if mode != "show"),  # which writes nothing
    path=True,
    place=places.unused,
)
use.string(
    "label",
    None,
    "Of a run with --conditional: the class of the images, a number or a name, or two "
    "to interpolate between, such as 3,8; all: of samples, as many of each class in "
    "their order. Default: of samples as frequent as in the training, of the data "
    "set's images their own.",
    basic="class of the images, with --conditional",
    modes=("sample", "show", *WITH_IMAGES),
)
use.integer(
    "num_images",
    64,
    "Images to sample, reconstruct or recover.",
    basic="images to sample, reconstruct or recover",
    low=1,
    modes=("sample", "reconstruct", "recover"),
)
use.list(
    "images",
    None,
    "Your own images: files, or folders and others as for --dataset, with commas "
    "between them. Default: the test images of the run's data set, else those held "
    "out, else its first ones.",
    basic="your own: a folder or files, with commas",
    path=True,
    place=places.images,
    modes=WITH_IMAGES,
)
use.integer(
    "revise_steps",
    None,
    "Langevin steps of D1 on samples and recovered images; 0: the generator's own, or "
    "where the chains start. Default: as in training.",
    low=0,
    modes=("sample", "recover"),
)
use.integer(
    "infer_steps",
    300,
    "Langevin steps of G1 to find the latents of given images.",
    when=conditions.infers,
    low=1,
    modes=(*WITH_IMAGES, "show"),
)
use.positive(
    "infer_step_size",
    None,
    "delta of that G1, in the unit of the latents. Default: --generator_step_size of "
    "the training.",
    when=conditions.infers,
    modes=(*WITH_IMAGES, "show"),
)
use.integer(
    "num_draws",
    1,
    "Latents of the posterior over whose images recover takes the mean: 1 is one "
    "plausible image, more have smaller errors and less contrast.",
    low=1,
    modes=("recover",),
)
use.integer(
    "port",
    1609,
    "Where show serves its page, on this machine alone: http://127.0.0.1:<port>. 0: "
    "any that is free.",
    basic="of the page; 0: any that is free",
    low=0,
    high=65535,
    modes=("show",),
)
use.enum(
    "format",
    None,
    ["png", "npz", "npy"],
    "Also write the sampled images themselves: one PNG each, or one array, uint8.",
    basic="also write the images: png, npz, npy",
    modes=("sample",),
)
use.enum(
    "interpolation",
    "corners",
    ["corners", "spherical", "linear", "plane"],
    "Paths between latents: the square between four of them, great circles, or "
    "straight lines; between your own two --images: spherical or linear. Or, with "
    "--latent_size=2, the plane of all latents on an even grid from -2 to 2.",
    basic="corners, spherical, linear or plane",
    modes=("interpolate",),
)
use.enum(
    "animation",
    None,
    ["gif", "webp"],
    "Also write the interpolation as a film; of clips the format of the films of "
    "samples, gif by default.",
    modes=("sample", "interpolate"),
)
use.string(
    "mask",
    None,
    "What recover hides: square:<pixels> in the middle, random:<share>, "
    "salt_pepper:<share>, or an image file in which black is hidden; training: the "
    "pixels of training images that --training_mask hid. Default: a square of half the "
    "shorter side.",
    basic="what to hide, such as random:0.7",
    modes=("recover",),
    path=True,
    place=places.mask,
)
use.enum(
    "export_format",
    "savedmodel",
    ["savedmodel", "keras", "litert", "onnx", "run", "hub"],
    "All endpoints for TensorFlow without this package; the nets for this package; "
    "the generator for LiteRT; generator and energy for ONNX (pip install tf2onnx); a "
    "small copy of the run, the nets in half precision and a model card; or the nets "
    "and the card, pushed to --hub.",
    basic="savedmodel, keras, litert, onnx, run or hub",
    modes=("export",),
)
use.string(
    "hub",
    None,
    "user/name on the Hugging Face hub, where --export_format=hub pushes to. Public, "
    "unless it is there already and private.",
    must="user/name",
    good=lambda value: bool(re.fullmatch(r"[\w.-]+/[\w.-]+", value, re.ASCII)),
    when=conditions.goes_to_hub,
    modes=("export",),
)
use.string(
    "license",
    None,
    "Licence of the nets in the model card, by the hub's name for it: mit, cc-by-4.0, "
    "... Default: none is given.",
    must="a name of letters, digits, . and -, such as mit",
    good=lambda value: bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]*", value)),
    when=conditions.has_card,
    modes=("export",),
)
