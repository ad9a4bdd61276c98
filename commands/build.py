"""Settings, by the flags' names, become the data, nets and optimizers of a training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

import flags
from coopnets_tf import (
    AlgorithmD,
    AlgorithmG,
    CoopNets,
    Descriptor,
    Generator,
    Langevin,
)
from coopnets_tf.conditional import Shares
from coopnets_tf.data import masks, named
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import NetworkError
from coopnets_tf.files import RUN_DESCRIPTION
from coopnets_tf.models import optimizers
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.networks import built_in, network_file, spectral
from coopnets_tf.networks.network_file import NetworkFile
from coopnets_tf.runs import saving
from coopnets_tf.wording import lengths

Settings = Mapping[str, Any]
POLICIES = {"bfloat16": "mixed_bfloat16"}  # of layers, by `precision`


def data_options(settings: Settings) -> dict[str, Any] | None:
    """The arguments of `datasets.load_splits`; None without a data set."""
    if settings["dataset"] is None:
        return None
    names = ["dataset", "data_dir", "num_held_out", "normalize"]
    options = {name: settings[name] for name in names}
    if settings["dataset"] in named.FILES or settings["dataset"] == "digits":
        return options
    options["image_size"] = image_size(settings)
    if settings["dataset"] in named.TEXTURES:
        return options
    names = [
        "color_mode",
        "resize",
        "skip_bad_images",
        "grey_range",
        "num_frames",
        "keep_decoded",
    ]
    options |= {name: settings[name] for name in names}
    options["class_folders"] = settings["conditional"]
    if settings["mode"] != "train" or settings["resume"]:
        run_dir = Path(settings["workdir"])
        if options["grey_range"] is None and (run_dir / RUN_DESCRIPTION).is_file():
            options["grey_range"] = saving.old_grey_range(run_dir)
    return options


def image_size(settings: Settings) -> tuple[int, int]:
    """Height and width of the images of a place, or of the windows of a picture."""
    sides = lengths(settings["image_size"])
    return sides[0], sides[-1]  # one number is a square


def incomplete(dataset: ImageDataset, settings: Settings) -> ImageDataset:
    """The images without the pixels that a training never sees."""
    if settings["algorithm"] != "generator" or settings["training_mask"] is None:
        return dataset
    mask = masks.training_masks(settings["training_mask"], dataset.image_shape)
    return dataset.incomplete(mask)


def own_file(settings: Settings, run_dir: Path | None) -> NetworkFile | None:
    """The Python file of a training's networks, with consent; None for built-in ones.

    Args:
      run_dir: folder of a run that goes on, whose copy of the file is taken.

    Raises:
      NetworkError: if the file cannot be read, was changed, or is not trusted.
    """
    if settings["network"] in built_in.TABLES:
        return None
    path, record = Path(settings["network"]), None
    if run_dir and (run_dir / RUN_DESCRIPTION).is_file():
        record = saving.description(run_dir).get("network_file")
    if record and path.is_file():
        network_file.refuse_changed(network_file.read(path), record)
    if run_dir and record:
        file = network_file.kept(run_dir, record)
    else:
        file = network_file.read(path)
    if not settings["trust_network"] and not network_file.is_trusted(file):
        raise NetworkError(
            f"{file.path} is Python code that you have not run before. Read it, and "
            "give `trust_network` to run it."
        )
    return file


def model(
    settings: Settings,
    image_shape: tuple[int, ...],
    num_images: int,
    file: NetworkFile | None = None,
    class_shares: Shares | None = None,
) -> ImageModel:
    """The compiled model of a training on `num_images` images.

    Args:
      file: of the networks, see `own_file`.
      class_shares: of nets that are told classes, see `Conditional`.

    Raises:
      NetworkError: if a network cannot be built, or is not for these images.
    """
    algorithm = settings["algorithm"]
    needed = MAKERS if algorithm == "coopnets" else (algorithm,)
    if file and not set(needed) & set(network_file.functions(file)):
        raise NetworkError(
            f"`network`={file.path} must have {network_file.FUNCTIONS[algorithm]}, a "
            f"function that `algorithm`={algorithm} needs."
        )
    options = {"run_seed": settings["seed"], "limits": limits(settings)}
    for name in needed:
        options[name] = MAKERS[name](settings, image_shape, file, class_shares)
    if "descriptor" in needed:
        options["num_chains"] = settings["num_chains"]
        options["revision_noise_until"] = settings["descriptor_noise_until"]
    if "generator" in needed:
        options["inference_noise_until"] = settings["generator_noise_until"]
    if algorithm == "descriptor":
        built = AlgorithmD(
            **options,
            chain_init=settings["chain_init"],
            num_persistent_chains=settings["num_persistent_chains"],
            refresh_probability=settings["refresh_probability"],
        )
    elif algorithm == "generator":
        built = AlgorithmG(**options, num_images=num_images)
    else:
        if flags.keeps_latents(settings):
            options["data_teaching"] = settings["data_teaching"]
            options["num_images"] = num_images
        built = CoopNets(**options)
    rates = {f"{name}_optimizer": optimizer(name, settings, built) for name in needed}
    built.compile(**rates, jit_compile=settings["jit_compile"] == "on")
    return built


def _network(settings, file, kind, *shapes, class_shares, **options):
    """The file's network; where it has none, the built-in one for such images."""
    number = len(class_shares or ())
    policy = POLICIES.get(settings["precision"], "float32")
    if not (file and kind in network_file.functions(file)):
        name = _built_in(settings, file, shapes[0])
        options |= {"convolutions": policy, "num_classes": number}
        return getattr(built_in, kind)(name, *shapes, **options)
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)  # of layers that do not say theirs
    try:
        return network_file.build(file, kind, *shapes, *[number] if number else [])
    finally:
        keras.config.set_dtype_policy(usual)


def _built_in(settings, file, image_shape):
    """The name of the built-in networks, also of one that a file has not."""
    return built_in.for_images(image_shape) if file else settings["network"]


def descriptor(
    settings: Settings,
    image_shape: tuple[int, ...],
    file: NetworkFile | None,
    class_shares: Shares | None,
) -> Descriptor:
    """The descriptor that the settings ask for; arguments as for `model`.

    Raises:
      NetworkError: if its network cannot be built, or is not for these images.
    """
    # Initial weights: a seed for each net, so that they do not depend on the other.
    keras.utils.set_random_seed(2 * settings["seed"])
    network = _network(
        settings,
        file,
        "descriptor",
        image_shape,
        class_shares=class_shares,
        num_outputs=settings["num_outputs"],
        activation=settings["descriptor_activation"],
    )
    if settings["spectral_norm"]:
        network = spectral.normalised(network)
    return Descriptor(
        network,
        revision=Langevin(
            settings["descriptor_num_steps"],
            settings["descriptor_step_size"],
            unroll=settings["langevin_loop"] == "unrolled",
            max_gradient=settings["langevin_clamp"],
            gradient_weight=settings["descriptor_gradient_weight"],
        ),
        reference_stddev=settings["reference_stddev"],
        penalty=settings["energy_penalty"] or 0.0,
        augment=settings["augment"] or (),
        image_shape=image_shape,
        class_shares=class_shares,
    )


def generator(
    settings: Settings,
    image_shape: tuple[int, ...],
    file: NetworkFile | None,
    class_shares: Shares | None,
) -> Generator:
    """The generator that the settings ask for; arguments as for `model`.

    Raises:
      NetworkError: if its network cannot be built, or makes images of another shape.
    """
    keras.utils.set_random_seed(2 * settings["seed"] + 1)
    latent_shape = lengths(settings["latent_size"])
    if not (file and "generator" in network_file.functions(file)):
        latent_shape = built_in.latent_shape_of(
            _built_in(settings, file, image_shape), image_shape, latent_shape
        )
    network = _network(
        settings,
        file,
        "generator",
        image_shape,
        latent_shape,
        class_shares=class_shares,
    )
    built = Generator(
        network,
        inference=Langevin(
            settings["generator_num_steps"],
            settings["generator_step_size"],
            unroll=settings["langevin_loop"] == "unrolled",
        ),
        residual_stddev=settings["residual_stddev"],
        latent_shape=latent_shape,
        class_shares=class_shares,
    )
    if built.image_shape != image_shape:
        raise NetworkError(
            f"Network {network.name} makes images of shape "
            f"{list(built.image_shape)}, and the training images have "
            f"{list(image_shape)}."
        )
    return built


MAKERS = {"descriptor": descriptor, "generator": generator}


def optimizer(net: str, settings: Settings, model: ImageModel) -> keras.Optimizer:
    """Adam for one of the nets of a model."""
    rate = optimizers.rate_schedule(
        settings["learning_rate_schedule"],
        settings[f"{net}_learning_rate"],
        num_steps=settings["schedule_steps"],
        final_factor=settings["final_rate_factor"],
    )
    if settings["rollback_rate_factor"] != 1:
        rate = optimizers.RateAfterRollbacks(
            rate, model.rollbacks, settings["rollback_rate_factor"]
        )
    average = settings[f"{net}_average"]
    return optimizers.CappedAdam(
        rate,
        beta_1=settings["adam_beta_1"],
        epsilon=1e-8,
        global_clipnorm=settings[f"{net}_clip_norm"],
        gradient_cap=settings[f"{net}_gradient_cap"],
        use_ema=average is not None,
        ema_momentum=average or 0.0,
    )


def limits(settings: Settings) -> dict[str, float] | None:
    """The largest sizes of the metrics before a rollback; none without a guard."""
    if not settings["guard"]:
        return None
    return {
        "descriptor_loss": settings["max_loss"],
        "generator_loss": settings["max_loss"],
        "reconstruction_loss": settings["max_loss"],
        "gradient_norm": settings["max_gradient_norm"],
        "latent_gradient_norm": settings["max_gradient_norm"],
        "displacement": settings["max_displacement"],
        "saturation": settings["max_saturation"],
    }
