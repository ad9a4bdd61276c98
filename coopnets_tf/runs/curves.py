"""How the numbers of a run are called where they are shown, and what they mean."""

from typing import NamedTuple

from coopnets_tf.evaluation import reports


class Curve(NamedTuple):
    """How a metric is shown: the group and name of its curve, and a text."""

    tag: str
    description: str


CURVES = {
    "descriptor_loss": Curve(
        "loss/descriptor",
        "Mean score of revised minus observed images; D2 descends it.",
    ),
    "generator_loss": Curve(
        "loss/generator",
        "Mean of |images - g(latents)|^2 / (2 sigma^2); G2 descends it.",
    ),
    "reconstruction_loss": Curve(
        "loss/reconstruction",
        "The same of observed images, given the latents kept for each.",
    ),
    "energy_gap": Curve(
        "chains/energy_gap",
        "Mean energy of revised minus observed images, f as D2 saw them.",
    ),
    "gradient_norm": Curve(
        "chains/gradient_norm", "Norm of the energy's gradient along the chains of D1."
    ),
    "displacement": Curve(
        "chains/displacement",
        "How far D1 moved an image, root mean square over its pixels.",
    ),
    "saturation": Curve(
        "chains/saturation", "Share of revised pixels outside [-1, 1]."
    ),
    "latent_gradient_norm": Curve(
        "chains/latent_gradient_norm",
        "Norm of the energy's gradient along the chains of G1.",
    ),
    "latent_rms": Curve(
        "chains/latent_rms",
        "Root mean square of the inferred latents; 1 under the prior.",
    ),
    "descriptor_learning_rate": Curve("rates/descriptor", "Of the next step."),
    "generator_learning_rate": Curve("rates/generator", "Of the next step."),
    "steps_per_second": Curve(
        "speed/steps_per_second", "With all that happened between two lines of metrics."
    ),
    "images_per_second": Curve("speed/images_per_second", "Observed images."),
}


def curve(name: str) -> Curve:
    """Of a metric of the training, or of a score, which has its group in its name."""
    tag = name if "/" in name else f"metrics/{name}"
    return CURVES.get(name, Curve(tag, reports.meaning(name)))
