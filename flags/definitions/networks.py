"""Both nets, their Langevin dynamics and their rates."""

import re

from flags import places
from flags.definitions import conditions
from flags.facts import (
    MODES,
    NEED_DATA,
    USES,
    WITH_DESCRIPTOR,
    WITH_GENERATOR,
    Group,
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
# Whose f is the sum of all answers.
WITHOUT_OUTPUTS = ("texture", "moving_texture", "moving_texture_small")
AUGMENTATIONS = ("flip", "shift")

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
descriptor.list(
    "augment",
    None,
    "How D2 changes observed and revised images alike, each at random: flip, left to "
    "right; shift, by up to an eighth of each side; with a comma both. Default: not.",
    must=f"some of {','.join(AUGMENTATIONS)}",
    good=lambda value: bool(value) and set(value) <= set(AUGMENTATIONS),
    choices=AUGMENTATIONS,
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
    when=conditions.chains_persist,
)
descriptor.number(
    "refresh_probability",
    0.0,
    "With --chain_init=persistent: probability with which a chain that is to move "
    "starts anew, from noise (uniform without a reference).",
    good=lambda value: 0 <= value <= 1,
    must="a number in [0, 1]",
    algorithms=("descriptor",),
    when=conditions.chains_persist,
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
generator.weight(
    "data_teaching",
    0.0,
    "w of dual teaching, in which the generator learns from the observed images, too: "
    "G2 adds w times Algorithm G's loss, for latents that G1 infers, and that are kept "
    "for each image. The drafts keep theirs. 0: it learns from revised drafts alone.",
    basic="weight of observed images for the generator",
    algorithms=("coopnets",),
)
generator.positive(
    "generator_step_size",
    0.1,
    "delta of G1, in the unit of the latents. In CoopNets 0.01, but on digits, and "
    "unless the preset has another: longer ones diverged on MNIST, see flags/g1.cfg.",
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
