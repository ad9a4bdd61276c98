"""What the chains of D1 do when they go on for ten times the trained length."""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from coopnets_tf import seeds
from coopnets_tf.seeds import Purpose, draw_seed

LENGTH = 10  # times the number of Langevin steps of the training
NUM_CHAINS = 200


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
    summed variances. 1: nothing is forgotten; 0: all of it; NaN: all chains are alike.

    Args:
      one, other: [chains, ...].
    """
    one, other = (
        np.asarray(part, np.float64).reshape(len(part), -1) for part in (one, other)
    )
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    scale = np.sqrt(np.sum(one**2) * np.sum(other**2))
    return float(np.sum(one * other) / scale) if scale > 0 else float("nan")


def summary(trace, *, trained, real_energy, distances):
    """The trace in a few numbers, and in a sentence whether long chains drift.

    Args:
      trace: `Trace`.
      trained: int; Langevin steps of the training.
      real_energy: [images]; of real images.
      distances: dict by step: `value` and `standard_error` of a distance of the chains
        from real images. Empty: not known.

    Returns:
      dict: energy, gradient norm, displacement and saturation at the draft, after the
      trained and after all steps, means over the chains; `autocorrelation` over all
      later steps; `verdict`. What is no number is None.
    """
    last = len(trace.energy) - 1
    at = {"draft": 0, "trained": trained, "last": last}
    real, spread = np.mean(real_energy), np.std(real_energy)
    means = {
        "energy_minus_real": trace.energy.mean(axis=1) - real,
        "gradient_norm": trace.gradient_norm.mean(axis=1)[
            np.maximum(np.arange(last + 1) - 1, 0)
        ],
        "displacement": trace.displacement.mean(axis=1),
        "saturation": trace.saturation,
    }
    return {
        "num_chains": trace.energy.shape[1],
        "trained_steps": trained,
        "steps": last,
        "real_energy": float(real),
        "real_energy_stddev": float(spread),
        **{
            name: {when: _number(values[step]) for when, step in at.items()}
            for name, values in means.items()
        },
        "autocorrelation": _number(trace.autocorrelation[-1]),
        "kernel_distance": distances,
        "verdict": _verdict(trace, means["energy_minus_real"][last], spread, distances),
    }


def _number(value):
    return float(value) if np.isfinite(value) else None


def _verdict(trace, gap, spread, distances):
    """Do long chains stay on the data? By energy and, where known, by a distance."""
    lost = int(np.sum(~np.isfinite(trace.energy[-1])))
    if lost:
        return f"{lost} of {trace.energy.shape[1]} long chains end in no numbers"
    size = abs(gap) / spread if spread > 0 else float("inf")
    direction = "below" if gap < 0 else "above"
    words = [f"mean energy {size:.3g} s.d. {direction} that of real images"]
    away = size > 2
    if len(distances) > 1:
        first, last = list(distances.values())[1], list(distances.values())[-1]
        error = np.hypot(first["standard_error"], last["standard_error"])
        away |= last["value"] - first["value"] > 2 * error
        words.append(
            f"kernel distance {last['value']:.3f}, {first['value']:.3f} at that length"
        )
    return ("they drift away" if away else "they stay") + ": " + "; ".join(words)


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
        steps = np.flatnonzero(np.isfinite(values).any(axis=1))
        low, middle, high = np.nanpercentile(values[steps], [10, 50, 90], axis=1)
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
