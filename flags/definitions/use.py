"""What is made of a run."""

import re

from flags import places
from flags.definitions import conditions
from flags.facts import USES, WITH_IMAGES, Group

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
    "their order. Default: samples have classes as frequent as in the training; images "
    "of the data set keep their own.",
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
    "savedmodel: all endpoints, for TensorFlow without this package; keras: the nets, "
    "for this package; litert: the generator; onnx: generator and energy (pip install "
    "tf2onnx); run: a small copy of the run, with the nets in half precision and a "
    "model card; hub: nets and card, pushed to --hub.",
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
