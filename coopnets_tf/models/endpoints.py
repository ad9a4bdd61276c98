"""What trained nets can do, as graphs: the live model calls them, an export holds them.

Here the nets are frozen: batch norm has exact statistics, so that an image depends on
its latents and noise alone. Noise belongs to an image by its number, so that image k of
a seed is the same in any batch.
"""

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from coopnets_tf import seeds
from coopnets_tf.networks import checks
from coopnets_tf.seeds import Integer, Purpose, draw_seed

INTEGER = tf.TensorSpec([], tf.int32)
_lock, _callers, _kept = threading.Lock(), 0, True  # see `_without_remapper`


def image_seeds(
    seed: Integer,
    first: Integer,
    number: Integer,
    *,
    purpose: Purpose,
    draw: Integer = 0,
) -> tf.Tensor:
    """The seeds of images first, first + 1, ... of a user's seed: int32 [number, 2].

    Purposes have different ones, so that what revises or explains an image is
    independent of what drew it; so have several draws.
    """
    seed = draw_seed(seed, step=draw, purpose=purpose)
    return seeds.seed_each(seed, first, number)


def in_batches(
    function: Callable, *arrays: np.ndarray | tf.Tensor, batch_size: int
) -> tf.Tensor:
    """`function(*parts, first)` of parts of arrays, so that less memory is needed.

    `first` is the number of a part's first item.
    """
    results = []
    for first in range(0, len(arrays[0]), batch_size):
        parts = [array[first : first + batch_size] for array in arrays]
        results.append(function(*parts, first))
    return tf.concat(results, axis=0)


def latents_spec(model: Any) -> tf.TensorSpec:
    """Of latents to generate from."""
    return _spec(model.generator, model.generator.latent_shape)


def images_spec(model: Any) -> tf.TensorSpec:
    """Of images to revise and to give an energy."""
    return _spec(model.descriptor, model.image_shape)


def labels_spec(model: Any) -> list[tf.TensorSpec]:
    """Of rows of classes, where the nets are told any; see `conditional`."""
    number = model.num_classes
    return [tf.TensorSpec([None, number], tf.float32)] if number else []


def _spec(net, shape):
    """Of batches of a shape; of any size where the net takes any."""
    if checks.takes_any(net):
        shape = [*[None] * (len(shape) - 1), shape[-1]]
    return tf.TensorSpec([None, *shape], tf.float32)


def build(model: Any) -> dict[str, Callable]:
    """The endpoints of an `ImageModel`, as far as it has the nets that they need.

    Images are float32 [batch, *image_shape] in [-1, 1], and `visible` of their shape;
    latents float32 [batch, *latent_shape]; all other arguments int32 scalars. Where the
    nets are told classes, each has as a last argument their rows, float32 [batch,
    num_classes]. To `generate`, `revise` and `energy` latents and images may have any
    size if the nets take any.

    Returns:
      Compiled functions by name.
        generate(latents) -> images
        draw(first, num_images, num_steps, seed) -> images; `num_steps` of D1 from where
          they start, such as the generator's drafts
        revise(images, num_steps, seed, first) -> images; `num_steps` of D1
        revise_hidden(images, visible, num_steps, seed, first) -> images; the same, but
          pixels whose `visible` is 1 stay as they are
        energy(images) -> [batch]
        infer(images, visible, num_steps, seed, draw, first) -> latents; `num_steps` of
          G1, from the prior, on the pixels whose `visible` is 1; independent for each
          `draw`
        reconstruct(images, num_steps, seed) -> images; g of what `infer` finds
    """
    labels = labels_spec(model)
    functions = {"draw": _function(_draw(model), *[INTEGER] * 4, *labels)}
    if model.descriptor:
        functions |= _descriptor_endpoints(model)
    if model.generator:
        functions |= _generator_endpoints(model)
    return functions


def _function(python_function, *specs):
    function = tf.function(python_function, specs, autograph=False)

    @functools.wraps(python_function)
    def call(*arguments):
        with _without_remapper():
            return function(*arguments)

    return call


@contextlib.contextmanager
def _without_remapper():
    """TensorFlow's remapper gives up on a leaky ReLU inside a loop of Langevin steps,
    and says so on the user's terminal: the graph stays as it is, with or without it.

    The option belongs to the process; the last of several threads restores it.
    """
    global _callers, _kept
    with _lock:
        if not _callers:
            options = tf.config.optimizer.get_experimental_options()
            _kept = options.get("remapping", True)
            tf.config.optimizer.set_experimental_options({"remapping": False})
        _callers += 1
    try:
        yield
    finally:
        with _lock:
            _callers -= 1
            if not _callers:
                tf.config.optimizer.set_experimental_options({"remapping": _kept})


def _draw(model):
    def draw(first, num_images, num_steps, seed, labels=None):
        each_seed = image_seeds(seed, first, num_images, purpose=Purpose.SAMPLING)
        whose = draw_seed(seed, step=0, purpose=Purpose.SAMPLING)
        images = model.start(num_images, seed=whose, first=first, labels=labels)
        if model.descriptor is None:
            return images
        return _revised(model, images, num_steps, each_seed, labels)

    return draw


def _revised(model, images, num_steps, each_seed, labels, fixed=None):
    """Images after `num_steps` of D1, clipped."""
    images, _ = model.descriptor.given(labels).revise(
        images,
        seed=seeds.fold_in(each_seed, Purpose.REVISION),
        noise_scale=model.revision_noise_scale(),
        dynamics=dataclasses.replace(
            model.descriptor.revision, num_steps=num_steps, unroll=False
        ),
        fixed=fixed,
    )
    return tf.clip_by_value(images, -1.0, 1.0)


def _descriptor_endpoints(model):
    images, labels = images_spec(model), labels_spec(model)

    def revise(images, num_steps, seed, first, labels=None):
        number = tf.shape(images)[0]
        each_seed = image_seeds(seed, first, number, purpose=Purpose.REVISION)
        return _revised(model, images, num_steps, each_seed, labels)

    def revise_hidden(images, visible, num_steps, seed, first, labels=None):
        number = tf.shape(images)[0]
        each_seed = image_seeds(seed, first, number, purpose=Purpose.REVISION)
        return _revised(model, images, num_steps, each_seed, labels, visible > 0)

    def energy(images, labels=None):
        return model.descriptor.given(labels).energy(images)

    numbers = [INTEGER] * 3
    return {
        "revise": _function(revise, images, *numbers, *labels),
        "revise_hidden": _function(revise_hidden, images, images, *numbers, *labels),
        "energy": _function(energy, images, *labels),
    }


def _generator_endpoints(model):
    generator, labels = model.generator, labels_spec(model)
    images = tf.TensorSpec([None, *model.image_shape], tf.float32)

    def generate(latents, labels=None):
        return generator.given(labels)(latents, training=False)

    def infer(images, visible, num_steps, seed, draw, first, labels=None):
        each_seed = image_seeds(
            seed, first, tf.shape(images)[0], purpose=Purpose.INFERENCE, draw=draw
        )
        shape = [tf.shape(images)[0], *generator.latent_shape]
        latents = seeds.standard_normal(
            shape, seed=seeds.fold_in(each_seed, Purpose.LATENTS)
        )
        latents, _ = generator.given(labels).infer(
            tf.ensure_shape(latents, [None, *generator.latent_shape]),
            images,
            seed=seeds.fold_in(each_seed, Purpose.INFERENCE),
            noise_scale=model.inference_noise_scale(),
            dynamics=dataclasses.replace(
                generator.inference, num_steps=num_steps, unroll=False
            ),
            visible=visible,
        )
        return latents

    def reconstruct(images, num_steps, seed, labels=None):
        visible = tf.ones_like(images)
        return generate(infer(images, visible, num_steps, seed, 0, 0, labels), labels)

    return {
        "generate": _function(generate, latents_spec(model), *labels),
        "infer": _function(infer, images, images, *[INTEGER] * 4, *labels),
        "reconstruct": _function(reconstruct, images, INTEGER, INTEGER, *labels),
    }
