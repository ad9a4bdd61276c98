"""A generator as a SavedModel that needs nothing of this package."""

import shutil

import keras
import tensorflow as tf


def export_generator(generator, directory):
    """Writes a SavedModel with the endpoint `generate`, also the serving default.

    `generate`: latents, float32 [batch, latent_size] from N(0, I) -> images, float32
    [batch, height, width, channels] in [-1, 1]. Batch norm uses its moving averages as
    they are now; call this inside `exact_statistics`.

    Args:
      generator: `Generator`.
      directory: `Path`; an older export there is replaced once the new one is whole.

    Raises:
      OSError: if it cannot be written.
    """
    new = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    archive = keras.export.ExportArchive()
    archive.track(generator)
    archive.add_endpoint(
        "generate",
        lambda latents: generator(latents, training=False),
        input_signature=[
            tf.TensorSpec([None, generator.latent_size], tf.float32, name="latents")
        ],
    )
    try:
        archive.write_out(new, verbose=False)
    except tf.errors.OpError as error:
        raise OSError(f"{directory} was not written: {error.message}") from error
    shutil.rmtree(directory, ignore_errors=True)
    new.rename(directory)
