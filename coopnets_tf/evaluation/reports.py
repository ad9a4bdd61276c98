"""A report of an evaluation as numbers by name, and as text for the terminal."""

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from coopnets_tf.wording import counted

WIDTH = 100  # characters of a line
NEIGHBOUR_SCORES = ("precision", "recall", "density", "coverage")

MEANINGS = {
    "parzen": "Log-likelihood of real images under windows around samples; larger is "
    "better.",
    "frechet_distance": "Distance of Gaussians fitted to features of samples and of "
    "real images; smaller is better.",
    "kernel_distance": "Squared maximum mean discrepancy of the features (KID); 0 is "
    "best.",
    "precision": "Share of samples that lie among real images.",
    "recall": "Share of real images that lie among samples.",
    "density": "Real images that reach a sample, divided by the number of neighbours.",
    "coverage": "Share of real images with a sample within their reach.",
    "inception_score": "By the extractor's classes; larger is better.",
    "accuracy": "Share of samples that the classifier takes for the class they were "
    "told to be.",
    "nearest": "Root mean square distance of pixels from the nearest training image.",
    "nearest_of_real": "The same of the real images that samples are scored against.",
    "near": "That distance, divided by the mean one of the 50 nearest training images, "
    "below which 5 % of the real images are.",
    "share_near": "Share of samples below that; about 0.05 if they are as new as real "
    "images, 1 of copies.",
    "gram": "Distance of Gram matrices from those of the picture, relative to these.",
    "psnr": "Of frames of samples and of the nearest training window, in dB.",
    "ssim": "Of frames of samples and of the nearest training window, at most 1.",
    "distance": "From the nearest training window, root mean square over pixels.",
    "real_energy": "Of the real images that samples are scored against.",
    "real_energy_stddev": "Of the real images that samples are scored against.",
    "energy_minus_real": "Of chains of ten times the trained length, in nats.",
    "gradient_norm": "Of the energy, along those chains.",
    "displacement": "Distance from the draft, root mean square, in pixel units.",
    "saturation": "Share of the chains' pixels outside [-1, 1].",
    "autocorrelation": "Of the chains' end with their state at the trained length.",
}


def meaning(name: str) -> str:
    """A sentence on a number of `scalars`; empty on one of somebody else."""
    known = (MEANINGS[part] for part in name.split("/") if part in MEANINGS)
    return next(known, "")


def scalars(report: Mapping[str, Any]) -> dict[str, float]:
    """The report's numbers by a flat name, such as `evaluation/generator/recall`.

    Those of the diagnostics begin with `evaluation/chains/`.
    """
    sections = {**report["scores"], "chains": report["diagnostics"]}
    return {
        f"evaluation/{name}": number
        for owner, section in sections.items()
        for name, number in _flat(section, owner)
    }


def _flat(value, name):
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(part, f"{name}/{key}")
    elif isinstance(value, float):  # numbers of images and steps are not scores
        yield name, value


def text(report: Mapping[str, Any]) -> str:
    """The scores, a row for a metric, what became of the chains, and the protocol."""
    protocol, lines = report["protocol"], []
    if scores := report["scores"]:
        bandwidths = protocol["parzen_windows"]["bandwidths"]
        ends = bandwidths[0], bandwidths[-1]
        columns = {
            name: _texts(own, protocol["extractor"], ends)
            for name, own in scores.items()
        }
        lines.append(table(_transposed(columns)))
        if any(one.get("bandwidth", "").endswith("!") for one in columns.values()):
            lines.append("!: an end of the bandwidths' grid; others might be better")
        if len({one["images"] for one in columns.values()}) > 1:
            lines.append(
                "Other numbers of images do not compare in Parzen and Frechet."
            )
        by_class = [one.get("classes", {}) for one in scores.values()]
        if known := [one for one in by_class if "frechet_distance" in one]:
            classes = max(one["num_classes"] for one in known)
            smallest = min(one["fewest_images"] for one in known)
            lines.append(
                f"Frechet of classes: of at most {classes}, the smallest with "
                f"{counted(smallest, 'images')} on one side. Few images make it large; "
                "compare the columns."
            )
        if "neighbours" in protocol["metrics"]:
            images = counted(protocol["num_neighbour_images"], "images")
            lines.append(f"Precision to coverage: of at most {images} a column.")
        if "memorisation" in protocol["metrics"]:
            found = next(iter(scores.values()))["memorisation"]
            lines.append(
                "Nearest training image: r.m.s. distance of the pixels, of real images "
                f"{found['nearest_of_real']:.3f}. Near, as 5 % of them: less than "
                f"{found['near']:.2f} of the mean distance of the 50 nearest."
            )
    if chains := report["diagnostics"]:
        lines.append(
            f"Chains of {counted(chains['steps'], 'steps')}, trained with "
            f"{chains['trained_steps']}: {chains['verdict']}"
        )
    return wrapped([*lines, *_protocol(report)])


def wrapped(parts: Iterable[str]) -> str:
    """Sentences, as wide as a table may be, below and above tables as they are."""
    return "\n".join(
        part if "\n" in part else textwrap.fill(part, WIDTH, subsequent_indent="  ")
        for part in parts
    )


def _protocol(report):
    """What the scores depend on, as lines of text."""
    protocol, steps = report["protocol"], ""
    if descriptor := report["nets"].get("descriptor"):
        steps = f", D1 with {counted(descriptor['revision']['num_steps'], 'steps')}"
    yield f"Seed {protocol['seed']}{steps}; scored against {protocol['scored_against']}"
    if protocol["reference_was_trained_on"]:
        yield (
            "Careful: no image was held out of training, so these scores favour nets "
            "that repeat what they have seen, and cannot tell whether they do. Hold "
            "some out (`num_held_out`)."
        )
    if "parzen" in protocol["metrics"]:
        windows = protocol["parzen_windows"]
        yield (
            f"Parzen windows: bandwidth chosen on {windows['bandwidth_chosen_on']}; "
            f"pixels {windows['pixels']}"
        )
    if extractor := protocol["extractor"]:
        yield f"Features: {extractor['name']}: {extractor['network']}"
        if "accuracy" in extractor:
            accuracy = f"{extractor['accuracy']:.2%} on {extractor['accuracy_on']}"
            yield f"Its accuracy: {accuracy}"


def _transposed(columns):
    names = next(iter(columns.values()))
    return {
        name: {column: cells.get(name, "") for column, cells in columns.items()}
        for name in names
    }


def _texts(scores, extractor, ends):
    """The scores of one set of images as texts, by metric."""
    texts = {"images": f"{scores['num_images']:,}"}
    if found := scores.get("parzen"):
        texts["Parzen, nats"] = f"{found['nats']:.1f} ± {found['standard_error']:.1f}"
        mark = "!" if found["bandwidth"] in ends else ""
        texts["bandwidth"] = f"{found['bandwidth']:.3f}{mark}"
    if "frechet_distance" in scores:
        texts[extractor["frechet_name"]] = f"{scores['frechet_distance']:.2f}"
    if found := scores.get("kernel_distance"):
        texts["kernel"] = f"{found['value']:.4f} ± {found['standard_error']:.4f}"
    texts |= {
        name: f"{scores[name]:.3f}" for name in NEIGHBOUR_SCORES if name in scores
    }
    if found := scores.get("inception_score"):
        name = f"IS ({extractor['name']})"
        texts[name] = f"{found['mean']:.2f} ± {found['stddev']:.2f}"
    if found := scores.get("classes"):
        texts["of its class"] = f"{found['accuracy']:.1%}"
        if "frechet_distance" in found:
            texts["Frechet, mean of classes"] = f"{found['frechet_distance']:.2f}"
    if found := scores.get("memorisation"):
        texts["nearest training image"] = f"{found['nearest']:.3f}"
        texts["share that is near"] = f"{found['share_near']:.1%}"
    return texts


def table(rows: Mapping[str, Mapping[str, str | float]]) -> str:
    """Numbers or texts, {row: {column: cell}}, as aligned text."""
    texts = {
        row: {
            name: cell if isinstance(cell, str) else f"{cell:.4g}"
            for name, cell in cells.items()
        }
        for row, cells in rows.items()
    }
    names = list(next(iter(texts.values())))
    widths = [
        2 + max(len(name), *(len(cells[name]) for cells in texts.values()))
        for name in names
    ]
    first = max(len(row) for row in texts)
    lines = [" " * first + "".join(map(str.rjust, names, widths))]
    for row, cells in texts.items():
        line = map(str.rjust, [cells[name] for name in names], widths)
        lines.append(f"{row:<{first}}" + "".join(line))
    return "\n".join(lines)


def plus_minus(found: Mapping[str, float | None], digits: int) -> str:
    """Such as "0.123 ± 0.004"; see `metrics.with_error`."""
    error = found["standard_error"]
    more = "" if error is None else f" ± {error:.{digits}f}"
    return f"{found['mean']:.{digits}f}{more}"
