"""How a model of one clip does: its samples beside the clip that it was trained on.

    sample                 against the training window that is nearest to it, r.m.s.
    shifted windows        of the clip itself, half a window apart: what frames of the
                           right look at another moment score
    mean frame             of the clip, repeated, against windows: what no motion scores

To repeat its clip is what such a model learns: a higher score is a better copy, and a
sample much nearer to a window than shifted windows are is one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from coopnets_tf.data import drawing, images
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.evaluation import (
    drawn,
    facts,
    memorisation,
    metrics,
    recovery,
    reports,
)
from coopnets_tf.evaluation.drawn import Evaluation
from coopnets_tf.models.image_model import ImageModel
from coopnets_tf.wording import counted

MOST_CLIPS = 8  # of a net, and windows of the clip: nearly all of them are alike
SHIFTED, MEAN_FRAME = "shifted windows", "mean frame"


def evaluate(
    model: ImageModel, training: ImageDataset, *, num_samples: int, seed: int
) -> Evaluation:
    """Scores what the nets make of one clip.

    Args:
      training: the windows of the clip.
      num_samples: clips drawn of each net, at most `MOST_CLIPS`.
      seed: in [0, 2**31); of the draws.

    Returns:
      An evaluation whose scores are those of `scores`, by net, and of two baselines.

    Raises:
      NotFinite: if a net makes images that contain NaN or infinity.
    """
    number = min(num_samples, MOST_CLIPS)
    sets = drawn.samples_by_net(model, number, seed=seed)
    nearest = {
        net: training[memorisation.nearest(clips[:], training).numbers]
        for net, clips in sets.items()
    }
    found_scores = {net: scores(one[:], nearest[net]) for net, one in sets.items()}
    protocol = {
        "num_samples": number,
        "seed": seed,
        "trained_on": str(training),
        "window": list(training.image_shape),
        "scored_against": "the nearest training window, r.m.s. over its pixels",
    }
    report = facts.report(model, protocol, found_scores | baselines(training))
    net = drawn.final_net(model)
    pairs = {"sample": sets[net][:], "nearest": nearest[net]}
    pictures = {"nearest": drawing.compared(pairs)}
    reference = ImageDataset("nearest", images.to_uint8(nearest[net]))
    return Evaluation(report, pictures, sets, reference)


def scores(clips: np.ndarray, others: np.ndarray) -> dict[str, Any]:
    """How alike clips are, float32 [number, frames, height, width, channels] each.

    Returns:
      `psnr` and `ssim` of a frame, each a `mean` over all and its `standard_error` over
      clips, None of one clip; `distance`, r.m.s. over the pixels, in pixel units; and
      of `clips` alone their `motion`, the r.m.s. difference of neighbouring frames.
    """
    found: dict[str, Any] = {"num_images": len(clips)}
    for name, values in recovery.similarity(clips, others).items():
        found[name] = metrics.with_error(values.mean(axis=1, dtype=np.float64))
    found["distance"] = _rms(clips - others)
    found["motion"] = _rms(np.diff(clips, axis=1))
    return found


def _rms(differences):
    """Over the pixels of a clip, the mean over clips."""
    squares = np.square(differences, dtype=np.float64)
    return float(np.sqrt(squares.mean(axis=(1, 2, 3, 4))).mean())


def baselines(training: ImageDataset) -> dict[str, dict[str, Any]]:
    """What windows of the clip score against those half a window later, where it is
    longer than a window; and its mean frame against windows.
    """
    last = training.num_images - 1
    shift = min(training.image_shape[0] // 2, last)
    starts = np.linspace(0, last - shift, min(MOST_CLIPS, last - shift + 1))
    starts = starts.round().astype(int)
    windows = training[starts]
    found = {}
    if shift:
        found[SHIFTED] = scores(windows, training[starts + shift])
    clip: Any = training.whole
    frame = images.from_uint8(clip.mean(axis=0).round())
    found[MEAN_FRAME] = scores(np.broadcast_to(frame, windows.shape), windows)
    return found


def text(report: Mapping[str, Any]) -> str:
    """The scores, a row for each of what was scored, and what they are."""
    rows = {
        name: {
            "clips": str(own["num_images"]),
            "PSNR, dB": reports.plus_minus(own["psnr"], 2),
            "SSIM": reports.plus_minus(own["ssim"], 3),
            "r.m.s. distance": f"{own['distance']:.3f}",
            "motion": f"{own['motion']:.3f}",
        }
        for name, own in report["scores"].items()
    }
    protocol = report["protocol"]
    frames = counted(protocol["window"][0], "frames")
    return reports.wrapped(
        [
            reports.table(rows),
            f"Samples of {frames} against the nearest of {protocol['trained_on']}.",
            "Larger PSNR and SSIM are better copies, which is what a model of one clip "
            f"makes. {SHIFTED.capitalize()}: of the clip itself, half a window apart; "
            f"{MEAN_FRAME}: no motion, which is the r.m.s. difference of neighbouring "
            "frames.",
            "±: standard error over clips; windows overlap, and theirs is too small.",
        ]
    )
