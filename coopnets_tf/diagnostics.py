"""What the chains of D1 do when they go on for ten times the trained length."""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from coopnets_tf import seeds
from coopnets_tf.seeds import Purpose, draw_seed

LENGTH = 10  # times the number of Langevin steps of the training
NUM_CHAINS = 100


class Trace(NamedTuple):
    """Chains of D1, step by step. Index 0 is the generator's draft."""

    energy: np.ndarray  # [steps + 1, chains]
    gradient_norm: np.ndarray  # [steps, chains], of the energy, before each step
    displacement: np.ndarray  # [steps + 1, chains], from the draft, r.m.s. of a pixel
    saturation: np.ndarray  # [steps + 1], share of pixels outside [-1, 1]
    autocorrelation: np.ndarray  # [steps - trained steps + 1]; see `correlation`
    states: dict  # step -> images [chains, height, width, channels], not clipped


def trace(model, *, num_steps, seed, num_chains=NUM_CHAINS, keep=()):
    """Runs chains from drafts of the generator and writes down where they go.

    Args:
      model: `CoopNets`, its generator as shown or frozen.
      num_steps: int; of each chain.
      seed: int in [0, 2**31).
      num_chains: int.
      keep: steps whose states are returned.

    Returns:
      `Trace`.
    """
    descriptor = model.descriptor
    one_step = dataclasses.replace(descriptor.revision, num_steps=1)
    seed = draw_seed(seed, step=0, purpose=Purpose.DIAGNOSTICS)

    @tf.function
    def move(states, step):
        moved, chains = descriptor.revise(
            states,
            seed=seeds.fold_in(seed, step),
            noise_scale=model.noise_scale(),
            dynamics=one_step,
        )
        return moved, chains.gradient_norm, descriptor.energy(moved)

    latents_seed = seeds.fold_in(seed, num_steps)
    _, drafts = model.generator.propose(num_chains, seed=latents_seed)
    trained = min(descriptor.revision.num_steps, num_steps)
    states, kept = drafts, {0: drafts.numpy()}
    origin = drafts.numpy() if trained == 0 else None
    energies, norms = [descriptor.energy(drafts).numpy()], []
    moves, outside, correlations = [np.zeros(num_chains)], [_outside(drafts)], [1.0]
    for step in range(1, num_steps + 1):
        states, norm, energy = move(states, tf.constant(step - 1))
        energies.append(energy.numpy())
        norms.append(norm.numpy())
        squares = tf.reduce_mean(tf.square(states - drafts), axis=[1, 2, 3])
        moves.append(np.sqrt(squares))
        outside.append(_outside(states))
        if step == trained:
            origin = states.numpy()
        elif step > trained:
            correlations.append(correlation(origin, states.numpy()))
        if step in keep:
            kept[step] = states.numpy()
    return Trace(
        np.array(energies),
        np.array(norms).reshape(-1, num_chains),
        np.array(moves),
        np.array(outside),
        np.array(correlations),
        kept,
    )


def _outside(images):
    return float(tf.reduce_mean(tf.cast(tf.abs(images) > 1, tf.float32)))


def correlation(one, other):
    """How much chains remember: correlation over chains, pooled over the pixels.

    With `one` and `other` as states of the same chains at two times, each pixel's
    covariance over the chains is summed, and divided by the root of the product of the
    summed variances. 1: nothing is forgotten; 0: all of it.

    Args:
      one, other: [chains, ...].
    """
    one, other = (
        np.asarray(part, np.float64).reshape(len(part), -1) for part in (one, other)
    )
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    scale = np.sqrt(np.sum(one**2) * np.sum(other**2))
    return float(np.sum(one * other) / scale) if scale > 0 else 1.0


def summary(trace, *, trained, real_energy):
    """The trace in a few numbers, and in a sentence whether long chains drift.

    Args:
      trace: `Trace`.
      trained: int; Langevin steps of the training.
      real_energy: [images]; of real images.

    Returns:
      dict: `energy`, `displacement` and `saturation` at the draft, after the trained
      and after all steps; `real_energy` and its s.d.; `gradient_norm` at the trained
      and the last step; `autocorrelation` over all later steps; `verdict`.
    """
    last = len(trace.energy) - 1
    at = {"draft": 0, "trained": trained, "last": last}
    real, spread = float(np.mean(real_energy)), float(np.std(real_energy))
    gaps = {
        name: float(np.mean(trace.energy[step]) - real) for name, step in at.items()
    }
    return {
        "num_chains": trace.energy.shape[1],
        "trained_steps": trained,
        "steps": last,
        "real_energy": real,
        "real_energy_stddev": spread,
        "energy_minus_real": gaps,
        "gradient_norm": {
            name: float(np.mean(trace.gradient_norm[max(step - 1, 0)]))
            for name, step in at.items()
            if last > 0
        },
        "displacement": {
            name: float(np.mean(trace.displacement[step])) for name, step in at.items()
        },
        "saturation": {
            name: float(trace.saturation[step]) for name, step in at.items()
        },
        "autocorrelation": float(trace.autocorrelation[-1]),
        "verdict": _verdict(gaps["last"], spread),
    }


def _verdict(gap, spread):
    if abs(gap) <= 2 * spread:
        return "long chains stay within 2 s.d. of the real images' energies"
    direction = "below" if gap < 0 else "above"
    return (
        f"long chains drift: their mean energy is {abs(gap) / spread:.3g} s.d. "
        f"{direction} that of real images"
    )


def plot(trace, *, trained, real_energy):
    """The trace as a picture: uint8 [height, width, 3].

    Arguments as for `summary`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.4), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    real = np.mean(real_energy)
    panels = [
        (axes[0, 0], trace.energy - real, "energy minus mean energy of real images"),
        (axes[0, 1], trace.gradient_norm, "norm of the energy's gradient"),
        (axes[1, 0], trace.displacement, "r.m.s. distance from the draft, pixel units"),
    ]
    for panel, values, title in panels:
        low, middle, high = np.percentile(values, [10, 50, 90], axis=1)
        steps = np.arange(len(values))
        panel.fill_between(steps, low, high, alpha=0.3, label="10 % to 90 % of chains")
        panel.plot(steps, middle, label="median chain")
        panel.set_title(title)
    low, high = np.percentile(real_energy - real, [10, 90])
    axes[0, 0].axhspan(low, high, color="tab:green", alpha=0.2, label="real images")
    lags = trained + np.arange(len(trace.autocorrelation))
    axes[1, 1].plot(lags, trace.autocorrelation, label="correlation with that step")
    axes[1, 1].plot(trace.saturation, label="share of pixels outside [-1, 1]")
    axes[1, 1].set_ylim(-0.1, 1.05)
    axes[1, 1].set_title("memory of the trained length's state; saturation")
    for panel in axes.ravel():
        panel.axvline(trained, color="black", linestyle=":", label="trained length")
        panel.set_xlabel("Langevin step")
        panel.legend(fontsize="small")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
