"""Latents of the training images, kept from one epoch to the next.

Algorithm G and dual teaching go on with the latents of an image where they ended when
it was last seen.
"""

from typing import Any

import tensorflow as tf

from coopnets_tf import replicas, seeds
from coopnets_tf.errors import DatasetError
from coopnets_tf.langevin import ChainInfo
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.seeds import Purpose, draw_seed


def keep(model: ImageModel, num_images: int, purpose: Purpose) -> tf.Variable:
    """Draws latents of each image from their prior, for the model to keep: float32
    [num_images, *latent_shape].

    `purpose` is that of the draw.
    """
    generator: Any = model.generator  # these models have one
    seed = draw_seed(model.run_seed, step=0, purpose=purpose)
    shape = [num_images, *generator.latent_shape]
    if shares := model.class_shares:  # those of an image that was not seen are unknown
        model.keep("image_labels", tf.tile([shares], [num_images, 1]))
    return model.keep("latents", seeds.standard_normal(shape, seed=seed))


def first(model: ImageModel, number: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The latents of the first training images, and what they are images of."""
    generator: Any = model.generator
    latents, labels = model.kept["latents"][:number], None
    if model.class_shares:
        labels = model.kept["image_labels"][:number]
    return latents, generator.given(labels)(latents)


def infer(
    model: ImageModel, batch: dict[str, tf.Tensor]
) -> tuple[tf.Tensor, ChainInfo]:
    """G1 of observed images, from where their latents ended before; keeps the result.

    Args:
      batch: see `batches.as_batch`, with the images' `numbers`, no two alike.

    Returns:
      The inferred latents, [batch, *latent_shape], and what the chains met.

    Raises:
      DatasetError: if the images have no numbers.
    """
    if "numbers" not in batch:
        raise DatasetError(
            "Latents are kept for each image: batches must be {images, numbers}, where "
            "an image's number says which latents are its own. Received: "
            f"{', '.join(batch)} alone."
        )
    generator: Any = model.generator
    numbers = tf.reshape(batch["numbers"], [-1])
    labels = model.labels_of(batch)
    latents, info = generator.given(labels).infer(
        tf.gather(model.kept["latents"], numbers),
        batch["images"],
        seed=model.step_seed(Purpose.INFERENCE),
        noise_scale=model.inference_noise_scale(),
        training=True,
        visible=batch.get("visible"),
    )
    for name, values in {"latents": latents, "image_labels": labels}.items():
        if values is not None:
            new = tf.IndexedSlices(*replicas.gathered((values, numbers)))
            model.kept[name].scatter_update(new)
    return latents, info


def metrics(latents: tf.Tensor, info: ChainInfo) -> dict[str, tf.Tensor]:
    """What is reported of G1, scalars by name: `latent_gradient_norm` of the energy
    along its chains, and `latent_rms`, the root mean square of the latents of all
    replicas, 1 under the prior.
    """
    return {
        "latent_gradient_norm": tf.reduce_mean(info.gradient_norm),
        "latent_rms": tf.sqrt(replicas.mean(tf.reduce_mean(tf.square(latents)))),
    }
