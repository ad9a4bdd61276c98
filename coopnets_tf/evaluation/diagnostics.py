"""What the chains of D1 do when they go on for ten times the trained length."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from coopnets_tf import energies, seeds
from coopnets_tf.data import drawing
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.models.image_model import ImageModel

LENGTHS = (0, 1, 2, 5, 10)  # times the trained number of steps: where to look closer
NUM_CHAINS = 200
NUM_SHOWN = 8  # chains in the picture
NUM_REAL = 1_000  # images to compare energies with
Distance = Callable[[np.ndarray], tuple[float, float]]
FAR = 2  # s.d. of the real images' energies, or standard errors of a distance


class Trace(NamedTuple):
    """Chains of D1, step by step. Index 0 is where they start, their draft."""

    energy: np.ndarray  # [steps + 1, chains]
    gradient_norm: np.ndarray  # [steps, chains], of the energy, before each step
    displacement: np.ndarray  # [steps + 1, chains], from the draft, pixel units
    saturation: np.ndarray  # [steps + 1], share of pixels outside [-1, 1]
    autocorrelation: (
        np.ndarray
    )  # [steps - trained + 1], `correlation` with step trained
    states: dict[int, np.ndarray]  # step -> images [chains, ...], not clipped


def diagnose(
    model: ImageModel,
    reference: ImageDataset,
    *,
    seed: int,
    distance: Distance | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Runs long chains and says what became of them.

    Args:
      model: with at least one step of D1, its generator frozen.
      reference: real images.
      seed: in [0, 2**31).
      distance: function of images that returns how far they are from real ones, and its
        standard error.

    Returns:
      `summary` of the chains; pictures by name, uint8 [height, width, channels]:
      `diagnostics`, the curves, and `chains`, the states of some at `LENGTHS`.
    """
    trained = model.revision_steps
    steps = [length * trained for length in LENGTHS]
    labels = reference.known_labels[:NUM_REAL] if model.class_shares else None
    real_energy = model.energy(reference[:NUM_REAL], labels=labels).numpy()
    trace = run_chains(model, num_steps=steps[-1], seed=seed, keep=steps)
    if model.class_shares:
        rows: Any = model.draw_labels(NUM_CHAINS, seed=seed)
        of_chains = np.argmax(rows, axis=1)
        real_energy, energy = without_constants(
            real_energy, labels, trace.energy, of_chains
        )
        trace = trace._replace(energy=energy)
    distances = {}
    for step, states in trace.states.items():
        if distance is not None and np.isfinite(states).all():
            value, error = distance(states)
            distances[step] = {"value": value, "standard_error": error}
    shown = np.stack([states[:NUM_SHOWN] for states in trace.states.values()], axis=1)
    shown = np.nan_to_num(shown.reshape(-1, *shown.shape[2:]))
    pictures = {
        "diagnostics": plot(trace, trained=trained, real_energy=real_energy),
        "chains": drawing.grid(shown, num_columns=len(steps)),
    }
    found = summary(
        trace, trained=trained, real_energy=real_energy, distances=distances
    )
    return found, pictures


def without_constants(
    real_energy: np.ndarray,
    labels: Any,
    energy: np.ndarray,
    of_chains: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Energies minus the mean of real images of the same class: each class has a
    constant of its own, which nobody knows. Of one without real images, minus the mean
    of the classes.

    Args:
      real_energy, labels: [images], and their classes.
      energy, of_chains: [steps + 1, chains], and the classes [chains].
    """
    known = np.unique(labels)
    means = {one: real_energy[labels == one].mean() for one in known}
    usual = np.mean(list(means.values()))
    real = real_energy - np.array([means[one] for one in labels])
    return real, energy - np.array([means.get(one, usual) for one in of_chains])


def run_chains(
    model: ImageModel,
    *,
    num_steps: int,
    seed: int,
    num_chains: int = NUM_CHAINS,
    keep: Sequence[int] = (),
) -> Trace:
    """Runs chains from where the model starts them and records where they go.

    Args:
      model: with a descriptor; its generator frozen.
      num_steps: of each chain, at least as many as in training.
      seed: in [0, 2**31).
      keep: steps whose states are returned.
    """
    labels = model.draw_labels(num_chains, seed=seed)
    descriptor: Any = model.nets["descriptor"].given(labels)
    trained = model.revision_steps
    one_step = dataclasses.replace(descriptor.revision, num_steps=1)
    stream = seeds.draw_seed(seed, step=0, purpose=seeds.Purpose.DIAGNOSTICS)

    @tf.function
    def move(states, step):
        return descriptor.revise(
            states,
            seed=seeds.fold_in(stream, step),
            noise_scale=model.revision_noise_scale(),
            dynamics=one_step,
        )

    @tf.function
    def measure(states, drafts):
        return (
            descriptor.energy(states),
            energies.displacement(states, drafts),
            energies.saturation(states),
        )

    whose = seeds.fold_in(stream, num_steps)
    drafts = model.start(num_chains, seed=whose, labels=labels)
    states, norms, measures = drafts, [], [measure(drafts, drafts)]
    origin, correlations, kept = drafts, [], {}
    for step in range(num_steps + 1):
        if step:
            states, chains = move(states, tf.constant(step - 1))
            norms.append(chains.gradient_norm)
            measures.append(measure(states, drafts))
        if step == trained:
            origin = states
        if step >= trained:
            correlations.append(correlation(origin, states))
        if step in keep:
            kept[step] = states.numpy()
    energy, displacement, saturation = map(np.array, zip(*measures, strict=True))
    return Trace(
        energy, np.array(norms), displacement, saturation, np.array(correlations), kept
    )


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """How much chains remember: correlation over chains, pooled over the pixels.

    With `one` and `other` as states of the same chains at two times, [chains, ...],
    each pixel's covariance over the chains is summed, and divided by the root of the
    product of the summed variances. 1: nothing is forgotten; 0: all of it; NaN: all
    chains are alike.
    """
    rows = (
        np.asarray(part, np.float64).reshape(len(part), -1) for part in (one, other)
    )
    one, other = (part - part.mean(axis=0) for part in rows)
    scale = np.sqrt(np.sum(one**2) * np.sum(other**2))
    return float(np.sum(one * other) / scale) if scale > 0 else float("nan")


def summary(
    trace: Trace,
    *,
    trained: int,
    real_energy: np.ndarray,
    distances: Mapping[int, dict[str, float]],
) -> dict[str, Any]:
    """The trace in a few numbers, and in a sentence whether long chains drift.

    Args:
      trained: Langevin steps of the training.
      real_energy: [images]; of real images.
      distances: `value` and `standard_error` of the chains' distance from real images,
        by step. Empty: not known.

    Returns:
      Energy, gradient norm, displacement and saturation at the draft, after the trained
      and after all steps (of the gradient, before the last), means over the chains;
      `autocorrelation` over all later steps; `verdict`, "away" if the mean energy is
      more than 2 s.d. from that of real images, or the distance has grown by more than
      2 errors since the trained length. NaN and infinity are None.
    """
    last = len(trace.energy) - 1
    at = {"draft": 0, "trained": trained, "last": last}
    real, spread = np.mean(real_energy), np.std(real_energy)
    means = {
        "energy_minus_real": trace.energy.mean(axis=1) - real,
        "gradient_norm": trace.gradient_norm.mean(axis=1),
        "displacement": trace.displacement.mean(axis=1),
        "saturation": trace.saturation,
    }
    gap = means["energy_minus_real"][last]
    compared = distances.get(trained), distances.get(last)
    return {
        "num_chains": trace.energy.shape[1],
        "trained_steps": trained,
        "steps": last,
        "real_energy": _number(real),
        "real_energy_stddev": _number(spread),
        **{
            name: {
                when: _number(values[min(step, len(values) - 1)])
                for when, step in at.items()
            }
            for name, values in means.items()
        },
        "autocorrelation": _number(trace.autocorrelation[-1]),
        "kernel_distance": distances,
        "verdict": _verdict(trace, gap, spread, *compared),
    }


def _number(value):
    return float(value) if np.isfinite(value) else None


def _verdict(trace, gap, spread, first, last):
    lost = int(np.sum(~np.isfinite(trace.energy[-1])))
    if lost:
        return f"{lost} of {trace.energy.shape[1]} chains end in NaN or infinity"
    size = abs(gap) / spread if spread > 0 else float("inf")
    direction = "below" if gap < 0 else "above"
    causes = ["energy"] if size > FAR else []
    words = [f"mean energy {size:.3g} s.d. {direction} that of real images"]
    if first and last:
        error = np.hypot(first["standard_error"], last["standard_error"])
        causes += ["distance"] if last["value"] - first["value"] > FAR * error else []
        values = [
            f"{one['value']:.3f} ± {one['standard_error']:.3f}" for one in (last, first)
        ]
        words.append(
            f"kernel distance {values[0]} at the end, {values[1]} at the trained length"
        )
    found = f"they drift away in {' and '.join(causes)}" if causes else "they stay"
    return f"{found}: {'; '.join(words)}"


def plot(trace: Trace, *, trained: int, real_energy: np.ndarray) -> np.ndarray:
    """The trace as a picture, uint8 [height, width, 3]. Arguments as for `summary`."""
    figure = Figure(figsize=(10, 6.4), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    real = np.mean(real_energy)
    _plot_chains(axes[0, 0], trace.energy - real, "energy minus mean of real images")
    _plot_chains(axes[0, 1], trace.gradient_norm, "norm of the energy's gradient")
    _plot_chains(
        axes[1, 0], trace.displacement, "r.m.s. distance from the draft, pixel units"
    )
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


def _plot_chains(panel, values, title):
    """The median chain and most others; steps without finite numbers are left out."""
    steps = np.flatnonzero(np.isfinite(values).any(axis=1))
    low, middle, high = np.nanpercentile(values[steps], [10, 50, 90], axis=1)
    panel.fill_between(steps, low, high, alpha=0.3, label="10 % to 90 % of chains")
    panel.plot(steps, middle, label="median chain")
    panel.set_title(title)
