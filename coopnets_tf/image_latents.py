"""Latents of the training images, kept from one epoch to the next.

Algorithm G and dual teaching go on with the latents of an image where they ended when
it was last seen.
"""

from typing import Any

import tensorflow as tf

from coopnets_tf import replicas, seeds
from coopnets_tf.errors import DatasetError
from coopnets_tf.image_model import ImageModel
from coopnets_tf.langevin import ChainInfo
from coopnets_tf.seeds import Purpose, draw_seed


def keep(model: ImageModel, num_images: int, purpose: Purpose) -> tf.Variable:
    """Draws latents of each image from their prior, for the model to keep: float32
    [num_images, *latent_shape].

    `purpose` is that of the draw.
    """
    generator: Any = model.generator  # these models have one
    seed = draw_seed(model.run_seed, step=0, purpose=purpose)
    shape = [num_images, *generator.latent_shape]
    return model.keep("latents", seeds.standard_normal(shape, seed=seed))


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
    numbers, kept = tf.reshape(batch["numbers"], [-1]), model.kept["latents"]
    latents, info = generator.infer(
        tf.gather(kept, numbers),
        batch["images"],
        seed=model.step_seed(Purpose.INFERENCE),
        noise_scale=model.inference_noise_scale(),
        training=True,
        visible=batch.get("visible"),
    )
    kept.scatter_update(tf.IndexedSlices(*replicas.gathered((latents, numbers))))
    return latents, info


def rms(latents: tf.Tensor) -> tf.Tensor:
    """The root mean square of the latents of all replicas, a scalar; 1 under the
    prior.
    """
    return tf.sqrt(replicas.mean(tf.reduce_mean(tf.square(latents))))
