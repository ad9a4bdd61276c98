"""The paper's three algorithms, and dual teaching: each is the order in which the nets
take their steps.

step   what happens                                  D     G     CoopNets   dual
G0     the generator drafts images                               x          x
D1     the descriptor revises images                 (a)         of G0      of G0
G1     the generator infers latents of images              (b)   (c)        (b)
D2     the descriptor learns: observed - revised     x           x          x
G2     the generator learns: images given latents          x     x          (d)

(a) from noise, observed images, or where the chains ended before
(b) of observed images, from where their latents ended before
(c) of revised images, from the latents of their drafts; without Langevin steps these
    latents are taken as they are, which is MCMC teaching
(d) revised drafts, given the drafts' latents (MCMC teaching), and observed images,
    given the latents kept for them: `CoopNets` with `data_teaching`; not in the paper

The algorithms are in `algorithm_d`, `algorithm_g` and `coopnets`, and share, in
`models`, `Learner`, what every training has, `ImageLearner`, what every training on
images has, and `ImageModel`, what nets can do.

paper        code        meaning
Y            observed    real images, [batch, *image_shape] in [-1, 1]
X^           latents     drawn from N(0, I), [chains, *latent_shape]
Y^ = g(X^)   generated   the generator's drafts
Y~           revised     images after the descriptor's Langevin steps
X~           latents     after the generator's Langevin steps
f(Y)         scores      [batch], the sum of the descriptor's outputs

Source: Xie et al., arXiv:1609.09408.
"""

import tensorflow as tf

from coopnets_tf import energies
from coopnets_tf.descriptor import Descriptor
from coopnets_tf.langevin import ChainInfo

CHAIN_INITS = ("noise", "uniform", "data", "persistent")
REVISION_METRICS = (
    "descriptor_loss",
    "energy_gap",
    "gradient_norm",
    "displacement",
    "saturation",
)


def revision_metrics(
    descriptor: Descriptor,
    observed: tf.Tensor,
    start: tf.Tensor,
    revised: tf.Tensor,
    info: ChainInfo,
    descriptor_loss: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """What is reported of D1 and D2: scalars by name.

    `descriptor_loss`, without a penalty; `energy_gap`, mean energy of revised minus
    observed images, with f of the images as D2 saw them; `gradient_norm` of the energy
    along the Langevin chains, per pixel unit; `displacement` of an image by the chains,
    root mean square in pixel units; `saturation`, the share of revised pixels outside
    [-1, 1].

    Args:
      observed: [batch, *image_shape].
      start, revised: [chains, *image_shape]; before and after D1.
      info, descriptor_loss: of D1, and of D2.
    """
    reference_gap = energies.reference_gap(
        observed, revised, stddev=descriptor.reference_stddev
    )
    return {
        "descriptor_loss": descriptor_loss,
        "energy_gap": reference_gap - descriptor_loss,
        "gradient_norm": tf.reduce_mean(info.gradient_norm),
        "displacement": tf.reduce_mean(energies.displacement(revised, start)),
        "saturation": energies.saturation(revised),
    }
