"""Every flag of main.py. The defaults of nets, chains and optimizers are those of
the official code (scenes, MNIST).

Paper symbols: Y image, X latent vector, delta step size, l number of Langevin steps,
n images of one step, n~ chains, s and sigma standard deviations.
"""

import math
import re

from absl import flags


def _define_positive(name, default, help):
    """A float flag that refuses 0, negative numbers, infinity and NaN."""
    flag = flags.DEFINE_float(name, default, help)
    flags.register_validator(
        name,
        lambda value: value is None or 0 < value < math.inf,
        message="must be a positive number",
    )
    return flag


# What to do, on what.
MODE = flags.DEFINE_enum(
    "mode",
    "train",
    [
        "train",
        "sample",
        "interpolate",
        "reconstruct",
        "recover",
        "evaluate",
        "export",
    ],
    "What to do. All but train use the trained nets of the run in --workdir (default: "
    "the newest in runs/).",
)
ALGORITHM = flags.DEFINE_enum(
    "algorithm",
    "coopnets",
    ["coopnets", "descriptor", "generator"],
    "What learns: both nets together, or one of them alone (the paper's Algorithms D "
    "and G). Loads flags/<algorithm>.cfg after the data set's preset.",
)
DATASET = flags.DEFINE_string(
    "dataset",
    "digits",
    "digits, mnist, fashion_mnist, cifar10, or the path of a folder of images. "
    "Loads the preset flags/<dataset>.cfg (flags/scene.cfg for a folder); your own "
    "flags win.",
)
DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder that holds the files of a named data set. Default: Keras' cache, "
    "downloaded when missing.",
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of this run. Default: a new runs/<dataset>-<number>."
)
RESUME = flags.DEFINE_boolean(
    "resume",
    False,
    "Continue the run in --workdir (default: the newest in runs/) with its own flags, "
    "up to --num_iterations.",
)
INIT_FROM = flags.DEFINE_string(
    "init_from",
    None,
    "Begin with the nets of another run (its folder) or of a checkpoint (such as "
    "runs/mnist-1/checkpoints/ckpt-500). What does not fit is listed and begins anew.",
)
DEBUG = flags.DEFINE_boolean(
    "debug", False, "Show where in the code an error came from."
)
DETERMINISTIC = flags.DEFINE_boolean(
    "deterministic",
    False,
    "Let TensorFlow use only operations that give the same bits every time, also on a "
    "GPU. On a CPU runs are equal without it; docs/RELIABILITY.md has its cost.",
)
SEED = flags.DEFINE_integer(
    "seed",
    0,
    "All random numbers of a run follow from it.",
    lower_bound=0,
    upper_bound=2**31 - 1,
)

# Data.
IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    64,
    "Height and width in pixels to which the images of a folder are brought.",
    lower_bound=8,
)
COLOR_MODE = flags.DEFINE_enum(
    "color_mode", "rgb", ["rgb", "grey"], "Colours of the images of a folder."
)
RESIZE = flags.DEFINE_enum(
    "resize",
    "crop",
    ["crop", "stretch"],
    "How an image of a folder becomes a square: crop its centre, or stretch it.",
)
NORMALIZE = flags.DEFINE_enum(
    "normalize",
    "fixed",
    ["fixed", "per_image"],
    "Pixels to [-1, 1]: value / 127.5 - 1, or each image from its own minimum and "
    "maximum as the official code does.",
)
SKIP_BAD_IMAGES = flags.DEFINE_boolean(
    "skip_bad_images",
    False,
    "Leave out files of a folder that cannot be read, and say how many.",
)
NUM_HELD_OUT = flags.DEFINE_integer(
    "num_held_out",
    0,
    "Images kept out of training, to evaluate on: the first ones, of a folder random "
    "ones (always the same).",
    lower_bound=0,
)

TRAINING_MASK = flags.DEFINE_string(
    "training_mask",
    None,
    "With --algorithm=generator: pixels of the training images that are never seen, as "
    "for --mask; of each image always the same ones.",
)

# Networks.
NETWORK = flags.DEFINE_enum(
    "network",
    "scene",
    ["digits", "mnist", "cifar", "scene"],
    "Layers of both nets; their maps follow the size of the images.",
)
LATENT_SIZE = flags.DEFINE_integer(
    "latent_size", 100, "d, length of a latent vector X.", lower_bound=1
)
NUM_OUTPUTS = flags.DEFINE_integer(
    "num_outputs", 100, "Outputs of the descriptor, whose sum is f(Y).", lower_bound=1
)

# Descriptor.
DESCRIPTOR_LEARNING_RATE = _define_positive(
    "descriptor_learning_rate", 0.007, "Adam's rate in D2."
)
DESCRIPTOR_NUM_STEPS = flags.DEFINE_integer(
    "descriptor_num_steps", 15, "l_D, Langevin steps of D1. 0: none.", lower_bound=0
)
DESCRIPTOR_STEP_SIZE = _define_positive(
    "descriptor_step_size",
    0.002,
    "delta of D1, in pixel units of [-1, 1]: s.d. of the noise of one Langevin step.",
)
REFERENCE_STDDEV = flags.DEFINE_float(
    "reference_stddev",
    0.016,
    "s, s.d. of the descriptor's Gaussian reference, in pixel units. inf: none, the "
    "energy is -f(Y).",
)
flags.register_validator(
    "reference_stddev", lambda value: value > 0, message="must be positive"
)
NUM_NOISE_STEPS = flags.DEFINE_integer(
    "num_noise_steps",
    None,
    "Training steps after which D1 adds no noise. Default: it always does.",
    lower_bound=0,
)

DESCRIPTOR_GRADIENT_WEIGHT = _define_positive(
    "descriptor_gradient_weight",
    None,
    "What D1 multiplies the energy's gradient with. Default: delta^2/2, which makes it "
    "Langevin dynamics.",
)
CHAIN_INIT = flags.DEFINE_enum(
    "chain_init",
    None,
    ["generator", "noise", "uniform", "data", "persistent"],
    "Where D1 starts. With --algorithm=coopnets the generator's drafts; with "
    "--algorithm=descriptor noise (draws of the reference), uniform pixels from "
    "[-1, 1), data (the observed images) or persistent (where it ended before).",
)
NUM_PERSISTENT_CHAINS = flags.DEFINE_integer(
    "num_persistent_chains",
    1_000,
    "With --chain_init=persistent: chains that are kept; each step moves --num_chains "
    "of them, drawn at random.",
    lower_bound=1,
)
REFRESH_PROBABILITY = flags.DEFINE_float(
    "refresh_probability",
    0.0,
    "With --chain_init=persistent: probability with which a chain that is to move "
    "starts anew, from noise (uniform without a reference).",
    lower_bound=0.0,
    upper_bound=1.0,
)

# Generator.
GENERATOR_LEARNING_RATE = _define_positive(
    "generator_learning_rate", 1e-4, "Adam's rate in G2."
)
GENERATOR_NUM_STEPS = flags.DEFINE_integer(
    "generator_num_steps", 0, "l_G, Langevin steps of G1. 0: none.", lower_bound=0
)
GENERATOR_STEP_SIZE = _define_positive(
    "generator_step_size", 0.1, "delta of G1, in the unit of the latents."
)
RESIDUAL_STDDEV = _define_positive(
    "residual_stddev", 0.3, "sigma, s.d. of the residual Y - g(X), in pixel units."
)

GENERATOR_NUM_NOISE_STEPS = flags.DEFINE_integer(
    "generator_num_noise_steps",
    None,
    "Training steps after which G1 adds no noise. Default: it always does.",
    lower_bound=0,
)

# Training.
NUM_ITERATIONS = flags.DEFINE_integer(
    "num_iterations", 10_000, "Training steps.", lower_bound=1
)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 100, "n, observed images of one step.", lower_bound=1
)
NUM_CHAINS = flags.DEFINE_integer(
    "num_chains",
    144,
    "n~, Langevin chains of one step. A generator alone has one for each image.",
    lower_bound=1,
)
ADAM_BETA_1 = flags.DEFINE_float(
    "adam_beta_1", 0.5, "Adam's beta1, both nets, in [0, 1)."
)
flags.register_validator(
    "adam_beta_1", lambda value: 0 <= value < 1, message="must be in [0, 1)"
)
LANGEVIN_LOOP = flags.DEFINE_enum(
    "langevin_loop",
    "unrolled",
    ["unrolled", "while"],
    "Langevin steps in the compiled graph: one after the other, or a loop (starts "
    "faster, same numbers).",
)

# Stabilisers; the paper's algorithm has none of them.
LEARNING_RATE_SCHEDULE = flags.DEFINE_enum(
    "learning_rate_schedule",
    "constant",
    ["constant", "exponential", "cosine", "plateaus"],
    "How both learning rates go down to --final_rate_factor times their value within "
    "--schedule_steps: not at all, exponentially (and on), along a cosine, or in 80 "
    "plateaus on a logarithmic scale.",
)
FINAL_RATE_FACTOR = _define_positive(
    "final_rate_factor", 0.01, "Where the learning rates' schedule ends."
)
SCHEDULE_STEPS = flags.DEFINE_integer(
    "schedule_steps",
    None,
    "Length of the learning rates' schedule. Default: the --num_iterations with which "
    "the run begins.",
    lower_bound=1,
)
DESCRIPTOR_CLIP_NORM = _define_positive(
    "descriptor_clip_norm", None, "Largest norm of D2's whole gradient."
)
GENERATOR_CLIP_NORM = _define_positive(
    "generator_clip_norm", None, "Largest norm of G2's whole gradient."
)
DESCRIPTOR_GRADIENT_CAP = _define_positive(
    "descriptor_gradient_cap",
    None,
    "Largest entry of D2's gradient; a weight tensor with a larger one is scaled down "
    "as a whole, as in the authors' MATLAB code.",
)
GENERATOR_GRADIENT_CAP = _define_positive(
    "generator_gradient_cap", None, "The same for G2."
)
LANGEVIN_CLAMP = _define_positive(
    "langevin_clamp",
    None,
    "Largest size of an entry of the energy's gradient in D1, per pixel unit.",
)
ENERGY_PENALTY = _define_positive(
    "energy_penalty", None, "Weight of mean f(Y)^2 + mean f(Y~)^2 in D2's loss."
)
GENERATOR_AVERAGE = flags.DEFINE_float(
    "generator_average",
    None,
    "Momentum, such as 0.999, of a moving average of the generator's weights, which "
    "pictures and export then use. Default: the weights themselves.",
)
flags.register_validator(
    "generator_average",
    lambda value: value is None or 0 < value < 1,
    message="must be between 0 and 1",
)

# Divergence.
GUARD = flags.DEFINE_boolean(
    "guard",
    True,
    "Go back to a healthy checkpoint, and on with other noise, when a metric is not "
    "finite or beyond its --max_...",
)
MAX_LOSS = _define_positive("max_loss", 1e9, "Size of either loss.")
MAX_GRADIENT_NORM = _define_positive(
    "max_gradient_norm",
    1e8,
    "Mean norm of the energy's gradient along the chains, of a generator alone those "
    "on latents.",
)
MAX_DISPLACEMENT = _define_positive(
    "max_displacement",
    2.0,
    "Displacement of an image by the chains, root mean square, in pixel units.",
)
MAX_SATURATION = _define_positive(
    "max_saturation", 0.99, "Share of revised pixels outside [-1, 1]."
)
MAX_ROLLBACKS = flags.DEFINE_integer(
    "max_rollbacks", 3, "Rollbacks of a run before it gives up.", lower_bound=0
)
ROLLBACK_RATE_FACTOR = _define_positive(
    "rollback_rate_factor", 1.0, "Each rollback multiplies both learning rates by it."
)

# Output.
LOG_EVERY = flags.DEFINE_integer(
    "log_every", 10, "Steps between two lines of metrics.", lower_bound=1
)
SAMPLE_EVERY = flags.DEFINE_integer(
    "sample_every", 100, "Steps between two pictures.", lower_bound=1
)
CHECKPOINT_EVERY = flags.DEFINE_integer(
    "checkpoint_every", 500, "Steps between two checkpoints.", lower_bound=1
)
KEEP_CHECKPOINTS = flags.DEFINE_integer(
    "keep_checkpoints", 3, "So many of the newest checkpoints are kept.", lower_bound=1
)
KEEP_BEST = flags.DEFINE_enum(
    "keep_best",
    None,
    [
        "descriptor_loss",
        "generator_loss",
        "energy_gap",
        "gradient_norm",
        "displacement",
        "saturation",
        "evaluation/generator/frechet_distance",
        "evaluation/descriptor/frechet_distance",
    ],
    "Keep one more checkpoint: the one before which this metric's mean over "
    "--checkpoint_every steps was smallest in size. Those of an evaluation need "
    "--evaluate_every.",
)
NUM_SAMPLES = flags.DEFINE_integer(
    "num_samples", 64, "Images in a picture.", lower_bound=1
)

# Evaluation: in training by --evaluate_every, afterwards by --mode=evaluate.
EVALUATE_EVERY = flags.DEFINE_integer(
    "evaluate_every",
    None,
    "In training: steps between two evaluations on images held out of training "
    "(--num_held_out); to TensorBoard, metrics.jsonl and evaluations/. Default: none.",
    lower_bound=1,
)
_metrics = {
    "parzen": "log-likelihood",
    "frechet": "distance",
    "kernel": "distance, KID",
    "neighbours": "precision, recall, density, coverage",
    "inception_score": "of the extractor's classes",
    "diagnostics": "chains of ten times the trained length",
}
METRICS = flags.DEFINE_list(
    "metrics",
    None,
    "What to measure, with commas: "
    + ", ".join(f"{name} ({meaning})" for name, meaning in _metrics.items())
    + ". Default: all that can be had.",
)
flags.register_validator(
    "metrics",
    lambda value: value is None or (value and set(value) <= set(_metrics)),
    message=f"must be some of {','.join(_metrics)}",
)
EVALUATION_SAMPLES = flags.DEFINE_integer(
    "evaluation_samples",
    10_000,
    "Images drawn of each net; other numbers give other scores, so leave it.",
    lower_bound=20,
)
EVALUATION_SEED = flags.DEFINE_integer(
    "evaluation_seed",
    0,
    "Seed of those draws.",
    lower_bound=0,
    upper_bound=2**31 - 1,
)
EXTRACTOR = flags.DEFINE_enum(
    "extractor",
    None,
    ["classifier", "inception"],
    "Whose features the metrics use: a small ConvNet, trained once on the data set's "
    "labels, or Keras' InceptionV3. Default: the classifier where there are labels.",
)
INCEPTION_WEIGHTS = flags.DEFINE_string(
    "inception_weights",
    None,
    "File with the weights of Keras' InceptionV3, which then is the extractor. "
    "Default: Keras' cache, downloaded when missing.",
)
SPLIT = flags.DEFINE_enum(
    "split",
    "test",
    ["test", "validation"],
    "With --mode=evaluate: score against the test images, for the last word, or "
    "against half of those held out of training (the other half chooses the "
    "bandwidth), to choose among runs and steps.",
)
PARZEN_PROTOCOL = flags.DEFINE_enum(
    "parzen_protocol",
    "held_out",
    ["held_out", "paper"],
    "With --mode=evaluate: bandwidth chosen on held-out images and pixels (x + 1) / 2, "
    "or as in the authors' code: on training images, samples stretched to [0, 1].",
)
flags.register_multi_flags_validator(
    ["parzen_protocol", "split"],
    lambda values: values["parzen_protocol"] != "paper" or values["split"] == "test",
    message="--parzen_protocol=paper is for the test images: leave out --split",
)
EVALUATE_REAL = flags.DEFINE_boolean(
    "evaluate_real",
    False,
    "With --mode=evaluate: also score as many training images as if a net had drawn "
    "them, which is about what a perfect net would get.",
)
EXPORT_SAMPLES = flags.DEFINE_string(
    "export_samples",
    None,
    "With --mode=evaluate: new folder for the scored images and the reference as PNG "
    "files, one folder a set, for other programs.",
)

# Use of trained nets.
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "newest",
    "Which nets of the run: newest, best (see --keep_best) or the number of a step.",
)
OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Folder for the results. Default: a new <mode>-<number> in the run's folder; for "
    "a SavedModel its export/, whose content is replaced.",
)
NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 64, "Images to sample, reconstruct or recover.", lower_bound=1
)
IMAGES = flags.DEFINE_list(
    "images",
    None,
    "Your own images: a folder or files, with commas between them. Default: the test "
    "images of the run's data set, else those held out, else its first ones.",
)
REVISE_STEPS = flags.DEFINE_integer(
    "revise_steps",
    None,
    "Langevin steps of D1 on samples and recovered images; 0: the generator's own, or "
    "where the chains start. "
    "Default: as in training.",
    lower_bound=0,
)
INFER_STEPS = flags.DEFINE_integer(
    "infer_steps",
    300,
    "Langevin steps of G1 to find the latents of given images.",
    lower_bound=1,
)
NUM_DRAWS = flags.DEFINE_integer(
    "num_draws",
    1,
    "Latents of the posterior over whose images recover takes the mean: 1 is one "
    "plausible image, more have smaller errors and less contrast.",
    lower_bound=1,
)
FORMAT = flags.DEFINE_enum(
    "format",
    None,
    ["png", "npz", "npy"],
    "Also write the sampled images themselves: one PNG each, or one array, uint8.",
)
INTERPOLATION = flags.DEFINE_enum(
    "interpolation",
    "corners",
    ["corners", "spherical", "linear"],
    "Paths between latents: the square between four of them, great circles, or "
    "straight lines. Between your own two --images: spherical or linear.",
)
ANIMATION = flags.DEFINE_enum(
    "animation", None, ["gif", "webp"], "Also write the interpolation as a film."
)
MASK = flags.DEFINE_string(
    "mask",
    None,
    "What recover hides: square:<pixels> in the middle, random:<share>, "
    "salt_pepper:<share>, or an image file in which black is hidden; training: the "
    "pixels of training images that --training_mask hid. Default: a square of half the "
    "side.",
)
EXPORT_FORMAT = flags.DEFINE_enum(
    "export_format",
    "savedmodel",
    ["savedmodel", "keras", "litert", "hub"],
    "All endpoints for TensorFlow without this package; the nets for this package; "
    "the generator for LiteRT; or the nets with a model card, pushed to --hub.",
)
HUB = flags.DEFINE_string(
    "hub",
    None,
    "user/name on the Hugging Face hub, where --export_format=hub pushes to. Public, "
    "unless it is there already and private.",
)
flags.register_validator(
    "hub",
    lambda value: value is None or re.fullmatch(r"[\w.-]+/[\w.-]+", value, re.ASCII),
    message="must be user/name",
)
flags.register_multi_flags_validator(
    ["export_format", "hub"],
    lambda values: (values["export_format"] == "hub") == (values["hub"] is not None),
    message="--export_format=hub and --hub=user/name go together",
)
LICENSE = flags.DEFINE_string(
    "license",
    None,
    "Licence of the nets in the model card, by the hub's name for it: mit, cc-by-4.0, "
    "... Default: none is told.",
)
flags.register_validator(
    "license",
    lambda value: value is None or re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]*", value),
    message="must be a name of letters, digits, . and -, such as mit",
)
