import json

import pytest

from benchmarks import compare, reports, run
from benchmarks.reports import Row

HERE = {"device": "CPU, 2 cores", "machine": "x86_64 one", "commit": "a1"}
ROWS = [
    Row("step, mnist", 2.0, "s"),
    Row("sampling, mnist, drafts", 1200.0, "images/s"),
    Row("start-up", 3.456, "s"),
]


def write(path, rows, **changes):
    reports.write(path, rows, {**HERE, **changes})
    return str(path)


def cells(text):
    """The lines of a table without its rule, as lists of words."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if "--" not in line
    ]


def test_a_report_is_what_was_written(tmp_path):
    path = write(tmp_path / "a.json", ROWS)
    rows, facts = reports.read(path)
    assert list(rows.values()) == ROWS and facts == HERE


def test_a_table():
    assert reports.shown(ROWS).splitlines() == [
        "| what                    | measured | unit     |",
        "| ----------------------- | -------- | -------- |",
        "| step, mnist             | 2        | s        |",
        "| sampling, mnist, drafts | 1,200    | images/s |",
        "| start-up                | 3.46     | s        |",
    ]


def test_ratios_row_by_row(tmp_path, capsys):
    before = write(tmp_path / "a.json", ROWS)
    changed = [
        Row("step, mnist", 1.5, "s"),
        Row("sampling, mnist, drafts", 600.0, "images/s"),
        Row("peak memory", 800.0, "MB"),
    ]
    after = write(tmp_path / "b.json", changed, commit="b2")
    compare.main([before, after])
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == "commit: a1 -> b2"
    assert cells(printed)[1:] == [
        ["step, mnist", "2", "1.5", "0.75", "s", "better"],
        ["sampling, mnist, drafts", "1,200", "600", "0.5", "images/s", "worse"],
        ["start-up", "3.46", "-", "-", "s", "before only"],
        ["peak memory", "-", "800", "-", "MB", "after only"],
    ]
    compare.main([before, before])
    found = cells(capsys.readouterr().out)[1:]
    assert [(line[3], line[5]) for line in found] == 3 * [("1", "same")]


@pytest.mark.parametrize("fact", compare.MACHINE)
def test_reports_of_different_machines_are_refused(fact, tmp_path, capsys):
    before = write(tmp_path / "a.json", ROWS)
    after = write(tmp_path / "b.json", ROWS, **{fact: "another"})
    with pytest.raises(SystemExit, match="different machines(?s:.)*another"):
        compare.main([before, after])
    compare.main([before, after, "--any_machine"])
    assert f"{fact}: {HERE[fact]} -> another" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, "{", "[1, 2]", '{"a": 1}', '{"rows": [1]}'])
def test_what_is_no_report_is_refused(content, tmp_path):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit, match="a.json cannot be read: ."):
        compare.main([str(path), str(path)])


def here(function, *arguments):
    """What takes a process of its own, made up."""
    answers = {
        run.loaded: lambda: run.time.time() + 3,
        run.measured_step: lambda arguments: {
            "step_seconds": 0.1 * len(arguments[0]),
            "ratio": 0.9,
            "trace_seconds": 4.0,
            "checkpoint_seconds": 0.05,
        },
        run.sampling: lambda arguments, number: [2000.0, 100.0],
        run.evaluation: lambda arguments: 20.0,
        run.folder_rates: lambda number: [10.0 * number, 50_000.0],
        run.step_memory: lambda arguments: 1000,
        run.facts: lambda: HERE,
    }
    return answers[function](*arguments)


def test_all_that_is_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "alone", here)
    run.main(["--quick", f"--out={tmp_path / 'a.json'}"])
    names = [name for name, *_ in cells(capsys.readouterr().out)[1:]]
    rows, facts = reports.read(tmp_path / "a.json")
    assert names == list(rows)
    assert names == [
        "start-up",
        *(
            f"{what}, {name}"
            for name in ("digits", "mnist")
            for what in ("step", "matrix rate", "trace", "checkpoint")
        ),
        *(
            f"sampling, {name}, {kind}"
            for name in ("digits", "mnist")
            for kind in ("drafts", "revised")
        ),
        "evaluation, digits",
        "folder of 20, decoded",
        "folder of 20, kept",
        "peak memory, 15 Langevin steps, unrolled",
        "peak memory, 15 Langevin steps, while",
    ]
    assert rows["folder of 20, decoded"].value == 200
    assert 2.5 < rows["start-up"].value <= 3.5
    assert {row.unit for row in rows.values()} <= reports.LESS_IS_BETTER.keys()
    assert facts == {**HERE, "quick": True}
    run.main([f"--out={tmp_path / 'b.json'}"])
    rows, _ = reports.read(tmp_path / "b.json")
    for name in run.NETWORKS:
        assert f"step, {name}" in rows
    assert "peak memory, batch and chains 400" in rows


def test_every_built_in_network_that_has_a_preset_is_measured(monkeypatch):
    """The flags of each ask for the nets that its rows are named after."""
    for name, arguments in run.NETWORKS.items():
        assert run.settings_of(arguments)["network"] == name
    assert json.dumps(run.NETWORKS)  # nothing but texts go to other processes
