"""What trained nets can do, as graphs: the live model calls them, an export holds them.

Here the nets are frozen: batch norm has exact statistics, so that an image depends on
its own latents and noise alone. Noise belongs to an image by its number, so that image
k of a seed is the same in any batch.
"""

import dataclasses

import tensorflow as tf

from coopnets_tf import seeds
from coopnets_tf.seeds import Purpose, draw_seed

INTEGER = tf.TensorSpec([], tf.int32)


def image_seeds(seed, first, number, *, purpose, draw=0):
    """The seeds of images first, first + 1, ... of a user's seed: int32 [number, 2].

    Each purpose has its own, so that what revises or explains an image is independent
    of what drew it; so has each of several draws.
    """
    seed = draw_seed(seed, step=draw, purpose=purpose)
    return seeds.seed_each(seed, first, number)


def build(model):
    """The endpoints of a model.

    Args:
      model: `CoopNets`.

    Returns:
      dict of `tf.function`s. Images are float32 [batch, height, width, channels] in
      [-1, 1], latents float32 [batch, latent_size], all other arguments int32 scalars.
        generate(latents) -> images
        draw(first, num_images, num_steps, seed) -> images; drafts of the generator and
          `num_steps` of D1
        revise(images, num_steps, seed, first) -> images; `num_steps` of D1
        revise_hidden(images, visible, num_steps, seed, first) -> images; the same, but
          pixels whose `visible` is 1 stay as they are
        energy(images) -> [batch]
        infer(images, visible, num_steps, seed, draw, first) -> latents; `num_steps` of
          G1, from the prior, on the pixels whose `visible` is 1; independent for each
          `draw`
        reconstruct(images, num_steps, seed) -> images; g of what `infer` finds
    """
    descriptor, generator = model.descriptor, model.generator
    images_spec = tf.TensorSpec([None, *descriptor.image_shape], tf.float32)
    latents_spec = tf.TensorSpec([None, generator.latent_size], tf.float32)

    def revised(images, num_steps, own_seeds, fixed=None):
        dynamics = dataclasses.replace(
            descriptor.revision, num_steps=num_steps, unroll=False
        )
        images, _ = descriptor.revise(
            images,
            seed=seeds.fold_in(own_seeds, Purpose.REVISION),
            noise_scale=model.noise_scale(),
            dynamics=dynamics,
            fixed=fixed,
        )
        return tf.clip_by_value(images, -1.0, 1.0)

    def prior(own_seeds):
        shape = [tf.shape(own_seeds)[0], generator.latent_size]
        latents = seeds.standard_normal(
            shape, seed=seeds.fold_in(own_seeds, Purpose.LATENTS)
        )
        return tf.ensure_shape(latents, latents_spec.shape)

    def generate(latents):
        return generator(latents, training=False)

    def draw(first, num_images, num_steps, seed):
        own_seeds = image_seeds(seed, first, num_images, purpose=Purpose.SAMPLING)
        return revised(generate(prior(own_seeds)), num_steps, own_seeds)

    def revise(images, num_steps, seed, first):
        number = tf.shape(images)[0]
        own_seeds = image_seeds(seed, first, number, purpose=Purpose.REVISION)
        return revised(images, num_steps, own_seeds)

    def revise_hidden(images, visible, num_steps, seed, first):
        number = tf.shape(images)[0]
        own_seeds = image_seeds(seed, first, number, purpose=Purpose.REVISION)
        return revised(images, num_steps, own_seeds, fixed=visible > 0)

    def infer(images, visible, num_steps, seed, draw, first):
        own_seeds = image_seeds(
            seed, first, tf.shape(images)[0], purpose=Purpose.INFERENCE, draw=draw
        )
        latents, _ = generator.infer(
            prior(own_seeds),
            images,
            seed=seeds.fold_in(own_seeds, Purpose.INFERENCE),
            dynamics=dataclasses.replace(
                generator.inference, num_steps=num_steps, unroll=False
            ),
            visible=visible,
        )
        return latents

    def reconstruct(images, num_steps, seed):
        return generate(infer(images, tf.ones_like(images), num_steps, seed, 0, 0))

    def function(python_function, *specs):
        return tf.function(python_function, specs, autograph=False)

    return {
        "generate": function(generate, latents_spec),
        "draw": function(draw, INTEGER, INTEGER, INTEGER, INTEGER),
        "revise": function(revise, images_spec, INTEGER, INTEGER, INTEGER),
        "revise_hidden": function(
            revise_hidden, images_spec, images_spec, INTEGER, INTEGER, INTEGER
        ),
        "energy": function(descriptor.energy, images_spec),
        "infer": function(infer, images_spec, images_spec, *[INTEGER] * 4),
        "reconstruct": function(reconstruct, images_spec, INTEGER, INTEGER),
    }
