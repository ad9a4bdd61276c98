"""Every flag of main.py. The defaults of nets, chains and optimizers are those of
the official code (scenes, MNIST).

Paper symbols: Y image, X latent vector, delta step size, l number of Langevin steps,
n images of one step, n~ chains, s and sigma standard deviations.
"""

import math
import re
from typing import Any

from flags import places
from flags.facts import (
    ALGORITHMS,
    MODES,
    NEED_DATA,
    USES,
    WITH_IMAGES,
    Group,
    keeps_latents,
    nearest,
)

NETWORKS = (
    "digits",
    "mnist",
    "cifar",
    "scene",
    "object",
    "residual",
    "texture",
    "moving_texture",
    "moving_texture_small",
)
WITHOUT_OUTPUTS = NETWORKS[-3:]  # whose f is the sum of all answers
SIZE = r"([89]|[1-9]\d+)(x([89]|[1-9]\d+))?"  # sides of 8 pixels or more
REVISION_METRICS = (
    "descriptor_loss",
    "energy_gap",
    "gradient_norm",
    "displacement",
    "saturation",
)
METRICS = {
    "parzen": "log-likelihood",
    "frechet": "distance",
    "kernel": "distance, KID",
    "neighbours": "precision, recall, density, coverage",
    "inception_score": "of the extractor's classes",
    "classes": "of runs with --conditional, of each class",
    "memorisation": "distance from the nearest training image",
    "diagnostics": "chains of ten times the trained length",
}
TRACKERS = ("tensorboard", "wandb", "mlflow", "csv")
WITH_DESCRIPTOR, WITH_GENERATOR = ("coopnets", "descriptor"), ("coopnets", "generator")


# When flags act, see `Facts.when`.


def _reads_data(settings):
    """Images of one's own take the place of the data set."""
    return settings["dataset"] is not None and not settings["images"]


def _reads_folder(settings):
    return _reads_data(settings) and settings["dataset"] not in places.NAMED


def _is_downloaded(settings):
    return _reads_data(settings) and settings["dataset"] in places.DOWNLOADED


def _has_a_size(settings):
    """Images of one's own, and pictures larger than they need be, are given one."""
    is_texture = settings["dataset"] in places.TEXTURES
    own = _reads_folder(settings) or _reads_data(settings) and is_texture
    return own or settings["mode"] in ("sample", "show")


def _reads_files(settings):
    return bool(settings["images"]) or _reads_folder(settings)


def _evaluates(settings):
    return settings["mode"] == "evaluate" or settings["evaluate_every"] is not None


def _hides_in_training(settings):
    """A recovery does so by --mask=training alone."""
    return settings["mode"] != "recover" or settings["mask"] == "training"


def _infers(settings):
    """An interpolation does so between images alone."""
    return settings["mode"] != "interpolate" or settings["images"] is not None


def _chains_persist(settings):
    return settings["chain_init"] == "persistent"


def _follows_schedule(settings):
    return settings["learning_rate_schedule"] != "constant"


def _is_guarded(settings):
    return settings["guard"]


def _guards_revision(settings):
    return settings["guard"] and settings["algorithm"] != "generator"


def _goes_to_hub(settings):
    return settings["export_format"] == "hub"


def _has_card(settings):
    return settings["export_format"] in ("hub", "run")


run = Group("run")
run.enum(
    "mode",
    "train",
    MODES,
    "What to do. All but train use the trained nets of the run in --workdir (default: "
    "the newest in runs/). The mode may also be the first word: sample --num_images=9.",
    basic="train, or what to do with a run",
    modes=MODES,
    saved=False,
)
run.enum(
    "algorithm",
    "coopnets",
    ALGORITHMS,
    "What learns: both nets together, or one of them alone (the paper's Algorithms D "
    "and G). Loads flags/<algorithm>.cfg after the data set's preset.",
    basic="coopnets, or one net: descriptor, generator",
    modes=("train", "evaluate"),
    fixed=USES,
)
run.string(
    "dataset",
    "digits",
    "digits, mnist, fashion_mnist, cifar10, or the path of a folder of images, of a "
    ".zip of one, or of an .npy or .npz file of an array. Or one picture, any image "
    "file or brick, grass, gravel (of scikit-image), whose images are all its windows "
    "of --image_size; or one clip, a video or an animation, see --num_frames. Loads "
    "the preset flags/<dataset>.cfg (flags/scene.cfg for a folder, texture.cfg for a "
    "picture, moving_texture.cfg for a clip); your own flags win. The images of a run "
    "may be at another path later.",
    basic="digits, mnist, ..., a folder, picture, clip",
    choices=places.NAMED,
    modes=("train", *NEED_DATA),
    when=_reads_data,
    path=True,
    place=places.dataset,
    may_change=True,  # the images themselves may not
)
run.string(
    "data_dir",
    None,
    "Folder that holds the files of a named data set. Default: Keras' cache, "
    "downloaded when missing.",
    modes=("train", *NEED_DATA),
    when=_is_downloaded,
    path=True,
    place=places.folder,
    may_change=True,
)
run.string(
    "workdir",
    None,
    "Folder of this run. Default: a new runs/<dataset>-<number>, of one net alone "
    "runs/<dataset>-<algorithm>-<number>. To use trained nets that come with this "
    "program: digits or mnist.",
    basic="folder of the run; or digits, mnist",
    modes=MODES,
    path=True,
    saved=False,
)
run.string(
    "name",
    None,
    "Name of this run in place of <dataset> and <algorithm>: runs/<name>-<number>.",
    basic="or a new one, runs/<name>-<number>",
    must="letters, digits and . _ - after a letter or digit",
    good=lambda value: bool(re.fullmatch(r"[a-z0-9][\w.-]*", value, re.ASCII | re.I)),
    saved=False,
)
run.boolean(
    "resume",
    False,
    "Continue the run in --workdir (default: the newest in runs/) with its own flags, "
    "up to --num_iterations.",
    basic="go on with a run",
    saved=False,
)
run.string(
    "init_from",
    None,
    "Begin with the nets of another run (its folder) or of a checkpoint (such as "
    "runs/mnist-1/checkpoints/ckpt-500). What does not fit is listed and begins anew.",
    basic="a run with whose nets to begin",
    path=True,
    place=places.checkpoint,
    kept=True,
)
run.seed(
    "seed",
    0,
    "All random numbers of a run follow from it; of samples, their own.",
    basic="of all random numbers",
    modes=("train", "sample", *WITH_IMAGES),
)
run.boolean(
    "deterministic",
    False,
    "Let TensorFlow use only operations that give the same bits every time, also on a "
    "GPU. On a CPU runs are equal without it; docs/RELIABILITY.md has its cost.",
    modes=MODES,
    may_change=True,
)
run.string(
    "devices",
    "1",
    "How many GPUs of this machine share the work, or all. Batch and chains are those "
    "of all together, and so is what is learned and drawn: the same whatever the "
    "number, which they must be multiples of. Where there is no GPU, so many parts of "
    "the CPU, which is no faster.",
    basic="GPUs that share the work, or all",
    must="all or a whole number of 1 or more",
    good=lambda value: bool(re.fullmatch(r"all|[1-9][0-9]*", value)),
    choices=("all",),
    modes=("train", "sample", "evaluate"),
    own=USES,
    may_change=True,
)


def _are_hosts(names):
    host = re.compile(r"[^\s:]+:\d{1,5}")
    return len(names) > 1 and all(map(host.fullmatch, names)) or names == ["slurm"]


run.list(
    "hosts",
    None,
    "Several hosts share the training: name:port of each, the same list on all, or "
    "slurm within srun. All need the images, and the run's folder on a disk that they "
    "share; the first writes. Default: this host alone, or what TF_CONFIG says. "
    "docs/SCALING.md.",
    must="name:port of two hosts or more, with commas, or slurm",
    good=_are_hosts,
    choices=("slurm",),
    saved=False,
)
run.integer(
    "host_index",
    None,
    "Which of --hosts this one is, from 0 on.",
    low=0,
    saved=False,
)
run.boolean(
    "debug",
    False,
    "Show where in the code an error came from.",
    modes=MODES,
    saved=False,
)
run.boolean(
    "print_config",
    False,
    "Print the flags that this command line would run with, as a flagfile, and end.",
    modes=MODES,
    saved=False,
)

data = Group("data", modes=("train", *NEED_DATA), fixed=("evaluate",))
data.string(
    "image_size",
    "64",
    "Size in pixels to which the images of a folder and the frames of a clip are "
    "brought: the side of a square, or height x width such as 96x64. Of one picture, "
    "which is never resized, that of the windows cut out of it. With "
    "--mode=sample|show that of the samples, by nets that are for any size "
    "(--network=texture).",
    basic="of your own images, such as 64 or 96x64",
    must="a whole number of 8 or more, or height x width such as 96x64",
    good=lambda value: bool(re.fullmatch(SIZE, value, re.ASCII)),
    when=_has_a_size,
    modes=("train", "sample", "show", *NEED_DATA),
    if_typed=("sample", "show"),
)
data.integer(
    "num_frames",
    None,
    "--dataset is one clip, a video (pip install av), an animation, or a folder of "
    "frames in the order of the numbers in their names; its images are all windows of "
    "so many consecutive frames. Default: still images, and that of "
    "flags/moving_texture.cfg for a video or a .gif.",
    basic="frames of an image, of a clip",
    low=2,
    when=_reads_folder,
)
data.enum(
    "color_mode",
    "rgb",
    ["rgb", "grey"],
    "Colours of your own images.",
    basic="rgb or grey",
    when=_reads_folder,
)
data.enum(
    "resize",
    "crop",
    ["crop", "stretch"],
    "How an image of a folder, or a frame of a clip, gets the shape of --image_size: "
    "crop its centre, or stretch it.",
    when=_reads_files,
    modes=("train", *WITH_IMAGES, "evaluate"),
)
data.enum(
    "normalize",
    "fixed",
    ["fixed", "per_image"],
    "Pixels to [-1, 1]: value / 127.5 - 1, or each image from its own minimum and "
    "maximum as the official code does.",
    modes=("train", *WITH_IMAGES, "evaluate"),
)
data.boolean(
    "skip_bad_images",
    False,
    "Leave out images that cannot be read, and say how many; the run's skipped.txt "
    "lists them. All are decoded at the start for it. What is no image is left out "
    "anyway.",
    when=_reads_folder,
    fixed=(),
)
data.boolean(
    "keep_decoded",
    True,
    "Keep the decoded images of a folder or archive in Keras' folder for the next run, "
    "if there are 500 megapixels or more to decode: at most 8 GiB of all folders, and "
    "half of the room on the disk.",
    when=_reads_folder,
    fixed=(),
    may_change=True,
)


def _is_range(value):
    match = re.fullmatch(r"(\d{1,5}):(\d{1,5})", value, re.ASCII)
    return match is not None and int(match[1]) < int(match[2]) <= 65535


data.string(
    "grey_range",
    None,
    "LOW:HIGH, values of 16-bit grey images that become black and white, such as "
    "0:4095. Default: from 0 to the first of 255, 511, ... 65535 that none exceeds.",
    must="LOW:HIGH, two whole numbers of at most 65535, the lower first",
    good=_is_range,
    modes=("train", *WITH_IMAGES, "evaluate"),
    when=_reads_files,
)
data.boolean(
    "flip",
    False,
    "In training mirror each observed image, left to right, with probability 1/2. Not "
    "where latents are kept for each image.",
    modes=("train",),
    fixed=(),
    algorithms=WITH_DESCRIPTOR,
    when=lambda settings: not keeps_latents(settings),
)
data.integer(
    "num_held_out",
    0,
    "Images kept out of training, to evaluate on: the first ones, of a folder random "
    "ones (always the same); not of one picture or clip, whose windows overlap.",
    basic="images kept out of training, to evaluate on",
    when=_reads_data,
    low=0,
)
data.string(
    "training_mask",
    None,
    "With --algorithm=generator: pixels of the training images that are never seen, as "
    "for --mask; of each image always the same ones.",
    modes=("train", "recover", "evaluate"),
    algorithms=("generator",),
    when=_hides_in_training,
    path=True,
    place=places.training_mask,
    fixed=USES,
)

nets = Group("networks")
nets.enum(
    "precision",
    "float32",
    ["float32", "tf32", "bfloat16"],
    "Of the convolutions: float32; tf32, products of 10 bits where a GPU has them; or "
    "bfloat16, of 7, in all layers of a --network=FILE.py that do not say otherwise. "
    "Weights, chains, energies, noise and optimizers are float32 always. "
    "docs/PERFORMANCE.md.",
    modes=MODES,
    fixed=USES,
)


def _network_place(value):
    if value in NETWORKS or value.endswith(".py") and not places.file(value):
        return None
    if value.endswith(".keras"):
        return (
            "must be a Python file; load the model in one: "
            "def descriptor(image_shape): return keras.saving.load_model(...)."
        )
    if value.endswith(".py"):
        return places.file(value)
    hint = nearest(value, NETWORKS)
    return f"must be one of {', '.join(NETWORKS)}, or a Python file.{hint}"


nets.string(
    "network",
    "scene",
    f"Layers of both nets, whose maps follow the size of the images: "
    f"{', '.join(NETWORKS)}; or your own, a Python file with the functions "
    "descriptor(image_shape) and generator(image_shape, latent_shape), see "
    "docs/NETWORKS.md.",
    basic="built-in layers, or your own Python file",
    choices=NETWORKS,
    path=True,
    place=_network_place,
    kept=True,
)
nets.boolean(
    "conditional",
    False,
    "Tell both nets the class of an image: the labels of the data set, or of a folder "
    "its subfolders. Then --label chooses. A file of --network gets the number of "
    "classes as its functions' last argument, see docs/CLASSES.md.",
    basic="tell the nets the images' classes",
    modes=("train", *NEED_DATA),
    fixed=NEED_DATA,
)
nets.boolean(
    "trust_network",
    False,
    "Run the Python code that a run's networks need and that you have not run before, "
    "as that of a run from somebody else. Read it first.",
    modes=MODES,
    saved=False,
)
nets.string(
    "latent_size",
    "100",
    "d, length of a latent vector X, or where a network has a map of latents the "
    "numbers at each place; of a network file also the shape of a map, such as 7x7x1. "
    "With --mode=sample|show the map, such as 14x14, by nets that are for any size.",
    basic="length of a latent vector",
    must="a number of 1 or more, or some with x between them, such as 7x7x1",
    good=lambda value: bool(re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", value, re.ASCII)),
    algorithms=WITH_GENERATOR,
    modes=("train", "sample", "show"),
    if_typed=("sample", "show"),
)
nets.integer(
    "num_outputs",
    100,
    "Outputs of the descriptor, whose sum is f(Y).",
    low=1,
    when=lambda settings: settings["network"] not in WITHOUT_OUTPUTS,
    algorithms=WITH_DESCRIPTOR,
)
nets.enum(
    "descriptor_activation",
    None,
    ["leaky_relu", "relu", "silu", "gelu"],
    "Non-linearity of the built-in descriptors. Default: the network's own.",
    when=lambda settings: settings["network"] in NETWORKS,
    algorithms=WITH_DESCRIPTOR,
)
nets.boolean(
    "spectral_norm",
    False,
    "Divide the kernels of the descriptor's convolutions by their largest singular "
    "value, after each D2.",
    algorithms=WITH_DESCRIPTOR,
)

descriptor = Group("descriptor", algorithms=WITH_DESCRIPTOR)
descriptor.positive(
    "descriptor_learning_rate",
    0.007,
    "Adam's rate in D2.",
    basic="Adam's rate of the descriptor",
)
descriptor.integer(
    "descriptor_num_steps",
    15,
    "l_D, Langevin steps of D1. 0: none.",
    basic="Langevin steps that revise an image",
    low=0,
)
descriptor.positive(
    "descriptor_step_size",
    0.002,
    "delta of D1, in pixel units of [-1, 1]: s.d. of the noise of one Langevin step.",
    basic="size of such a step, in pixel units",
)
descriptor.number(
    "reference_stddev",
    0.016,
    "s, s.d. of the descriptor's Gaussian reference, in pixel units. inf: none, the "
    "energy is -f(Y).",
    good=lambda value: value > 0,
    must="a positive number, or inf",
)
descriptor.integer(
    "descriptor_noise_until",
    None,
    "Training steps after which D1 adds no noise. Default: it always does.",
    when=lambda settings: settings["descriptor_num_steps"] > 0,
    low=0,
)
descriptor.positive(
    "descriptor_gradient_weight",
    None,
    "What D1 multiplies the energy's gradient with. Default: delta^2/2, which makes it "
    "Langevin dynamics.",
)
descriptor.enum(
    "chain_init",
    None,
    ["generator", "noise", "uniform", "data", "persistent"],
    "Where D1 starts. With --algorithm=coopnets the generator's drafts; with "
    "--algorithm=descriptor noise (draws of the reference), uniform pixels from "
    "[-1, 1), data (the observed images) or persistent (where it ended before).",
    basic="where an image's chain starts",
    when=lambda settings: settings["algorithm"] == "descriptor",  # it has a choice
    fixed=USES,
    by_algorithm={
        "coopnets": ("generator",),
        "descriptor": ("noise", "uniform", "data", "persistent"),
        "generator": (),
    },
)
descriptor.integer(
    "num_persistent_chains",
    1_000,
    "With --chain_init=persistent: chains that are kept; each step moves --num_chains "
    "of them, drawn at random.",
    low=1,
    algorithms=("descriptor",),
    when=_chains_persist,
)
descriptor.number(
    "refresh_probability",
    0.0,
    "With --chain_init=persistent: probability with which a chain that is to move "
    "starts anew, from noise (uniform without a reference).",
    good=lambda value: 0 <= value <= 1,
    must="a number in [0, 1]",
    algorithms=("descriptor",),
    when=_chains_persist,
)

generator = Group("generator", algorithms=WITH_GENERATOR)
generator.positive(
    "generator_learning_rate",
    1e-4,
    "Adam's rate in G2.",
    basic="Adam's rate of the generator",
)
generator.integer(
    "generator_num_steps",
    0,
    "l_G, Langevin steps of G1. 0: none.",
    basic="Langevin steps that infer latents",
    low=0,
)
generator.number(
    "data_teaching",
    0.0,
    "w of dual teaching, in which the generator learns from the observed images, too: "
    "G2 adds w times Algorithm G's loss, for latents that G1 infers, and that are kept "
    "for each image. The drafts keep theirs. 0: it learns from revised drafts alone.",
    basic="weight of observed images for the generator",
    good=lambda value: 0 <= value < math.inf,
    must="0 or a positive number",
    algorithms=("coopnets",),
)
generator.positive(
    "generator_step_size",
    0.1,
    "delta of G1, in the unit of the latents. Large images need smaller ones in "
    "training: flags/g1.cfg.",
)
generator.positive(
    "residual_stddev", 0.3, "sigma, s.d. of the residual Y - g(X), in pixel units."
)
generator.integer(
    "generator_noise_until",
    None,
    "Training steps after which G1 adds no noise. Default: it always does.",
    when=lambda settings: settings["generator_num_steps"] > 0,
    low=0,
)

training = Group("training")
training.enum(
    "jit_compile",
    "auto",
    ["auto", "on", "off"],
    "Compile the training step by XLA, on one device; its noise is another one. auto: "
    "off, as long as nobody has measured that it is faster (docs/PERFORMANCE.md).",
)
training.integer(
    "steps_per_call",
    1,
    "Training steps in one call of a graph, on one device, up to the next line of "
    "metrics, picture or checkpoint. The numbers are the same.",
    low=1,
    may_change=True,
)
training.integer(
    "num_iterations",
    10_000,
    "Training steps, of all sessions together.",
    basic="length of the training, in steps",
    when=lambda settings: settings["epochs"] is None,
    low=1,
    may_change=True,
)
training.integer(
    "epochs",
    None,
    "Length of the training as passes over the images, in place of --num_iterations; "
    "the short rest of a pass is left out.",
    basic="or in passes over the images",
    low=1,
    may_change=True,
)
training.integer(
    "batch_size",
    100,
    "n, observed images of one step.",
    basic="observed images of one step",
    low=1,
)
training.integer(
    "num_chains",
    144,
    "n~, Langevin chains of one step. A generator alone has one for each image.",
    basic="Langevin chains of one step",
    low=1,
    algorithms=WITH_DESCRIPTOR,
)
training.number(
    "adam_beta_1",
    0.5,
    "Adam's beta1, both nets, in [0, 1).",
    good=lambda value: 0 <= value < 1,
    must="a number in [0, 1)",
)
training.enum(
    "langevin_loop",
    "unrolled",
    ["unrolled", "while"],
    "Langevin steps in the compiled graph: one after the other, or a loop (starts "
    "faster, same numbers).",
)

stabilisers = Group("stabilisers")  # the paper's algorithm has none of them
stabilisers.enum(
    "learning_rate_schedule",
    "constant",
    ["constant", "exponential", "cosine", "plateaus"],
    "How both learning rates go down to --final_rate_factor times their value within "
    "--schedule_steps: not at all, exponentially (and on), along a cosine, or in 80 "
    "plateaus on a logarithmic scale.",
)
stabilisers.positive(
    "final_rate_factor",
    0.01,
    "Where the learning rates' schedule ends.",
    when=_follows_schedule,
)
stabilisers.integer(
    "schedule_steps",
    None,
    "Length of the learning rates' schedule. Default: the training steps with which "
    "the run begins.",
    when=_follows_schedule,
    low=1,
)
stabilisers.positive(
    "descriptor_clip_norm",
    None,
    "Largest norm of D2's whole gradient.",
    algorithms=WITH_DESCRIPTOR,
)
stabilisers.positive(
    "generator_clip_norm",
    None,
    "Largest norm of G2's whole gradient.",
    algorithms=WITH_GENERATOR,
)
stabilisers.positive(
    "descriptor_gradient_cap",
    None,
    "Largest entry of D2's gradient; a weight tensor with a larger one is scaled down "
    "as a whole, as in the authors' MATLAB code.",
    algorithms=WITH_DESCRIPTOR,
)
stabilisers.positive(
    "generator_gradient_cap", None, "The same for G2.", algorithms=WITH_GENERATOR
)
stabilisers.positive(
    "langevin_clamp",
    None,
    "Largest size of an entry of the energy's gradient in D1, per pixel unit.",
    algorithms=WITH_DESCRIPTOR,
)
stabilisers.positive(
    "energy_penalty",
    None,
    "Weight of mean f(Y)^2 + mean f(Y~)^2 in D2's loss.",
    algorithms=WITH_DESCRIPTOR,
)
stabilisers.number(
    "descriptor_average",
    None,
    "Momentum of a moving average of the descriptor's weights, for D1 outside of "
    "training. Default: the weights themselves.",
    good=lambda value: 0 < value < 1,
    must="a number between 0 and 1",
    algorithms=WITH_DESCRIPTOR,
)
stabilisers.number(
    "generator_average",
    None,
    "Momentum, such as 0.999, of a moving average of the generator's weights, which "
    "pictures and export then use. Default: the weights themselves.",
    good=lambda value: 0 < value < 1,
    must="a number between 0 and 1",
    algorithms=WITH_GENERATOR,
)

divergence = Group("divergence", when=_is_guarded)
divergence.boolean(
    "guard",
    True,
    "Go back to a healthy checkpoint, and on with other noise, when a metric is not "
    "finite or beyond its --max_...",
    when=lambda settings: True,
)
divergence.positive("max_loss", 1e9, "Size of any of the losses.")
divergence.positive(
    "max_gradient_norm",
    1e8,
    "Mean norm of the energy's gradient along the chains, and along those on latents.",
)
divergence.positive(
    "max_displacement",
    2.0,
    "Displacement of an image by the chains, root mean square, in pixel units.",
    when=_guards_revision,
)
divergence.positive(
    "max_saturation",
    0.99,
    "Share of revised pixels outside [-1, 1].",
    when=_guards_revision,
)
divergence.integer(
    "max_rollbacks", 3, "Rollbacks of a run before it gives up.", low=0, may_change=True
)
divergence.positive(
    "rollback_rate_factor", 1.0, "Each rollback multiplies both learning rates by it."
)

# In training by --evaluate_every, afterwards by --mode=evaluate.
evaluation = Group("evaluation", modes=("evaluate",), saved=False)
both: dict[str, Any] = {
    "modes": ("train", "evaluate"),
    "when": _evaluates,
    "saved": True,
    "may_change": True,
    "own": ("evaluate",),
}
evaluation.integer(
    "evaluate_every",
    None,
    "In training: steps between two evaluations on images held out of training "
    "(--num_held_out); to --track, metrics.jsonl and evaluations/. Default: none.",
    basic="steps between two evaluations",
    low=1,
    modes=("train",),
    saved=True,
    may_change=True,
)
evaluation.list(
    "metrics",
    None,
    "What to measure, with commas: "
    + ", ".join(f"{name} ({meaning})" for name, meaning in METRICS.items())
    + ". Default: all that are available.",
    basic="what to measure, with commas",
    must=f"some of {','.join(METRICS)}",
    good=lambda value: bool(value) and set(value) <= set(METRICS),
    choices=tuple(METRICS),
    **both,
)
evaluation.integer(
    "evaluation_samples",
    10_000,
    "Images drawn of each net; other numbers give other scores, so leave it.",
    low=20,
    **both,
)
evaluation.seed("evaluation_seed", 0, "Seed of those draws.", **both)
evaluation.string(
    "extractor",
    None,
    "Whose features the metrics use: classifier, a small ConvNet, trained once on the "
    "data set's labels; inception, Keras' InceptionV3; or a .keras file with a network "
    "of your own, which is given pixels in [-1, 1], or in [0, 255] if it begins with a "
    "Rescaling by 1/100 or less. Default: the classifier where there are labels.",
    choices=places.EXTRACTORS,
    path=True,
    place=places.extractor,
    **both,
)
evaluation.string(
    "extractor_layer",
    None,
    "Layer of such a file whose output has the features, of maps the mean. Default: "
    "what goes into its last layer if that is Dense, else its output.",
    **both,
)
evaluation.string(
    "inception_weights",
    None,
    "File with the weights of Keras' InceptionV3, which then is the extractor. "
    "Default: Keras' cache, downloaded when missing.",
    path=True,
    place=places.file,
    **both,
)
evaluation.enum(
    "split",
    "test",
    ["test", "validation"],
    "With --mode=evaluate: score against the test images, for the last word, or "
    "against half of those held out of training (the other half chooses the "
    "bandwidth), to choose among runs and steps.",
    basic="test or validation images",
)
evaluation.enum(
    "parzen_protocol",
    "held_out",
    ["held_out", "paper"],
    "With --mode=evaluate: bandwidth chosen on held-out images and pixels (x + 1) / 2, "
    "or as in the authors' code: on training images, samples stretched to [0, 1].",
)
evaluation.boolean(
    "evaluate_baselines",
    True,
    "With --mode=evaluate: also score training images as if a net had drawn them, "
    "about what a perfect net would get, and draws of a Gaussian fitted to them, which "
    "any net should surpass.",
)
evaluation.string(
    "export_samples",
    None,
    "With --mode=evaluate: new folder for the scored images and the reference as PNG "
    "files, one folder a set, for other programs.",
    path=True,
    place=places.unused,
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
    when=_infers,
    low=1,
    modes=(*WITH_IMAGES, "show"),
)
use.positive(
    "infer_step_size",
    None,
    "delta of that G1, in the unit of the latents. Default: --generator_step_size of "
    "the training.",
    when=_infers,
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
    when=_goes_to_hub,
    modes=("export",),
)
use.string(
    "license",
    None,
    "Licence of the nets in the model card, by the hub's name for it: mit, cc-by-4.0, "
    "... Default: none is given.",
    must="a name of letters, digits, . and -, such as mit",
    good=lambda value: bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]*", value)),
    when=_has_card,
    modes=("export",),
)
