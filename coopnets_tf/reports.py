"""A report of an evaluation as numbers by name, and as text for the terminal."""

NEIGHBOURS = ("precision", "recall", "density", "coverage")


def scalars(report):
    """The report's scores by a flat name, such as `evaluation/generator/recall`."""
    numbers = {}
    for owner, scores in report["scores"].items():
        for name, value in scores.items():
            parts = value if isinstance(value, dict) else {"": value}
            for part, number in parts.items():
                numbers[f"evaluation/{owner}/{name}_{part}".rstrip("_")] = number
    return numbers


def told(report):
    """The protocol, the scores and what became of the chains, as lines of text."""
    protocol = report["protocol"]
    lines = [
        f"{protocol['num_samples']:,} samples of each net, seed {protocol['seed']}, "
        f"D1 with {protocol['revision_steps']} steps | scored against "
        f"{protocol['scored_against']}"
    ]
    if "parzen" in protocol["metrics"]:
        windows = protocol["parzen_windows"]
        lines.append(
            f"Parzen windows: bandwidth chosen on {windows['bandwidth_chosen_on']}; "
            f"pixels {windows['pixels']}"
        )
    if extractor := protocol["extractor"]:
        accuracy = extractor.get("test_accuracy")
        right = f", {accuracy:.2%} of the test images right" if accuracy else ""
        lines.append(f"Features: {extractor['name']}: {extractor['network']}{right}")
    rows = {
        owner: _texts(scores, extractor) for owner, scores in report["scores"].items()
    }
    if any(rows.values()):
        lines.append(table(rows))
    if chains := report.get("diagnostics"):
        lines.append(
            f"Chains of {chains['steps']} steps ({chains['trained_steps']} trained): "
            f"{chains['verdict']}"
        )
    return "\n".join(lines)


def _texts(scores, extractor):
    """The scores of one set of images as texts, by the names of the columns."""
    texts = {}
    if found := scores.get("parzen"):
        texts["Parzen, nats"] = f"{found['nats']:.1f} ± {found['standard_error']:.1f}"
        texts["bandwidth"] = f"{found['bandwidth']:.3f}"
    if "frechet_distance" in scores:
        # Never "FID" alone: that is a number of another network's weights.
        inception = extractor["name"] == "Keras InceptionV3"
        name = "FID (Keras InceptionV3)" if inception else "Frechet"
        texts[name] = f"{scores['frechet_distance']:.2f}"
    if found := scores.get("kernel_distance"):
        texts["kernel"] = f"{found['value']:.4f} ± {found['standard_error']:.4f}"
    texts |= {name: f"{scores[name]:.3f}" for name in NEIGHBOURS if name in scores}
    if found := scores.get("inception_score"):
        texts["inception"] = f"{found['mean']:.2f} ± {found['stddev']:.2f}"
    return texts


def table(rows):
    """Numbers or texts, {row: {column: cell}}, as aligned text."""
    rows = {
        row: {
            name: cell if isinstance(cell, str) else f"{cell:.4g}"
            for name, cell in cells.items()
        }
        for row, cells in rows.items()
    }
    names = list(next(iter(rows.values())))
    widths = [
        2 + max(len(name), *(len(cells[name]) for cells in rows.values()))
        for name in names
    ]
    first = max(len(row) for row in rows)
    lines = [" " * first + "".join(map(str.rjust, names, widths))]
    for row, cells in rows.items():
        texts = [cells[name] for name in names]
        lines.append(f"{row:<{first}}" + "".join(map(str.rjust, texts, widths)))
    return "\n".join(lines)
