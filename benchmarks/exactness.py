"""Do exact batch norm statistics change what the generator makes?

    python -m benchmarks.exactness --mode=sample --workdir=<run>

Compares images of the generator with the training images of the run: once with the
statistics of their batch, as the nets were trained, and once with exact ones, as
pictures and exports use them. The measure is the squared maximum mean discrepancy
(unbiased, kernel (x.y / pixels + 1)^3 on pixels in [-1, 1]); 0 means alike, and two
halves of the training images show how much chance alone makes. Prints one JSON line:
means over draws of latents and images, and their standard errors.
"""

import json

import numpy as np
from absl import app

import flags
import surroundings

NUMBER = 600  # images on each side; the training images of the digits are twice as many
BATCH = 100
DRAWS = 10


def rows(images):
    """Images as float64 [number, pixels]."""
    return np.asarray(images, np.float64).reshape(len(images), -1)


def compare(model, dataset, seed):
    """Discrepancies of one draw of latents and of training images, by name."""
    import tensorflow as tf

    from coopnets_tf.evaluation import metrics

    order = np.random.default_rng(seed).permutation(dataset.num_images)
    real, again = dataset[order[:NUMBER]], dataset[order[NUMBER : 2 * NUMBER]]
    shape = [NUMBER, *model.generator.latent_shape]
    latents = tf.random.stateless_normal(shape, [seed, 0])
    ways = {"batch": model.generator.on_batch, "exact": model.generator}
    made = {
        name: np.concatenate(
            [
                generate(latents[first : first + BATCH])
                for first in range(0, NUMBER, BATCH)
            ]
        )
        for name, generate in ways.items()
    }
    mmd = {
        name: float(metrics.discrepancy(rows(real), rows(images)))
        for name, images in made.items()
    }
    return {
        **mmd,
        "exact_minus_batch": mmd["exact"] - mmd["batch"],
        "real": float(metrics.discrepancy(rows(real), rows(again))),
        "mean_pixel_difference": np.abs(made["batch"] - made["exact"]).mean() / 2,
    }


def measure():
    settings = flags.settings()
    surroundings.load_tensorflow()
    from commands import build, use
    from coopnets_tf.data import datasets

    run_dir, model = use.opened(
        settings["workdir"], settings["checkpoint"], settings["trust_network"]
    )
    dataset = datasets.load(**use.data_of(run_dir, build.data_options(settings)))
    draws = [compare(model, dataset, seed) for seed in range(DRAWS)]
    result = {}
    for name in draws[0]:
        values = [draw[name] for draw in draws]
        result[name] = round(float(np.mean(values)), 5)
        error = np.std(values, ddof=1) / np.sqrt(DRAWS)
        result[f"{name}_error"] = round(float(error), 5)
    return {**result, "images": NUMBER, "draws": DRAWS, "step": int(model.step)}


if __name__ == "__main__":
    app.run(lambda argv: print(json.dumps(measure())), flags_parser=flags.parse)
