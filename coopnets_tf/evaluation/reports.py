"""A report of an evaluation as numbers by name, and as text for the terminal."""

from collections.abc import Mapping
from typing import Any

NEIGHBOUR_SCORES = ("precision", "recall", "density", "coverage")


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
    """The protocol, the scores and what became of the chains, as lines of text."""
    protocol, steps = report["protocol"], ""
    if descriptor := report["nets"].get("descriptor"):
        steps = f", D1 with {descriptor['revision']['num_steps']} steps"
    lines = [
        f"Seed {protocol['seed']}{steps}; scored against {protocol['scored_against']}"
    ]
    if protocol["reference_was_trained_on"]:
        lines.append(
            "Careful: no image was held out of training, so these scores favour nets "
            "that repeat what they have seen. Hold some out (`num_held_out`)."
        )
    if "parzen" in protocol["metrics"]:
        windows = protocol["parzen_windows"]
        lines.append(
            f"Parzen windows: bandwidth chosen on {windows['bandwidth_chosen_on']}; "
            f"pixels {windows['pixels']}"
        )
    if extractor := protocol["extractor"]:
        lines.append(f"Features: {extractor['name']}: {extractor['network']}")
        if "accuracy" in extractor:
            lines[-1] += (
                f"; accuracy {extractor['accuracy']:.2%} on {extractor['accuracy_on']}"
            )
    if scores := report["scores"]:
        bandwidths = protocol["parzen_windows"]["bandwidths"]
        ends = bandwidths[0], bandwidths[-1]
        rows = {name: _texts(own, extractor, ends) for name, own in scores.items()}
        lines.append(table(rows))
        if any(row.get("bandwidth", "").endswith("!") for row in rows.values()):
            lines.append("!: an end of the bandwidths' grid; others might be better")
        if len({row["images"] for row in rows.values()}) > 1:
            lines.append(
                "Rows of other numbers of images do not compare in Parzen and Frechet."
            )
        if "neighbours" in protocol["metrics"]:
            lines.append(
                "Precision to coverage: of at most "
                f"{protocol['num_neighbour_images']:,} images of each row."
            )
    if chains := report["diagnostics"]:
        lines.append(
            f"Chains of {chains['steps']} steps, trained with "
            f"{chains['trained_steps']}: {chains['verdict']}"
        )
    return "\n".join(lines)


def _texts(scores, extractor, ends):
    """The scores of one set of images as texts, by the names of the columns."""
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
