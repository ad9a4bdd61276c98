"""Where reports go besides metrics.jsonl: each step once, whatever interrupts a run."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from coopnets_tf.errors import RunError
from coopnets_tf.runs import trackers
from coopnets_tf.runs.folder import Run
from coopnets_tf.runs.hooks import Hook
from coopnets_tf.runs.services import Service
from coopnets_tf.runs.trackers import TRACKERS
from coopnets_tf.runs.tracking import Tracker
from flags import definitions
from tests.helpers import (
    TOY,
    called,
    make_model,
    metrics,
    poison,
    read_lines,
    refused,
    train,
)

SHORT = {"num_iterations": 6, "log_every": 2, "checkpoint_every": 3}
GUARDED = {**SHORT, "num_iterations": 12, "max_rollbacks": 1}
SCORES = {"evaluation/descriptor/recall": 0.25}
GRID = np.full((4, 6, 1), 7, np.uint8)


def new_model():
    return make_model(num_steps=1, unroll=False, limits={"displacement": 1.0})


def scores(every=4):
    """A hook that stands for an evaluation."""
    return Hook(
        every,
        lambda moment: moment.log.evaluation(moment.step, SCORES, {"nearest": GRID}),
        at_end=False,
    )


def trained(folder, *track, options=SHORT):
    return train(new_model(), folder, track=track, hooks=[scores()], **options)


def interrupted(folder, *track, step, options=SHORT):
    """A training that is killed after the reports of a step, before its checkpoint."""

    class Killed(Exception):
        pass

    def kill(moment):
        if moment.step == step:
            raise Killed

    hooks = [scores(), Hook(1, kill)]
    with pytest.raises(Killed):
        train(new_model(), folder, track=track, hooks=hooks, **options)


class Listed(Service):
    """Keeps what it is sent in a list for each of its runs."""

    title, library = "the list", "shelve"  # which is there
    runs: dict[str, list] = {}
    stories: dict[str, str] = {}

    def _begin(self, known, title, group):
        self._key = known or title
        self.runs.setdefault(self._key, [])
        return self._key

    def _send(self, step, values):
        self.runs[self._key] += [(step, name) for name in values]

    def _send_picture(self, step, tag, grid):
        self.runs[self._key].append((step, tag))

    def _explain(self, story):
        self.stories[self._key] = story


@pytest.fixture
def listed(monkeypatch):
    monkeypatch.setitem(TRACKERS, "list", Listed)
    monkeypatch.setattr(Listed, "runs", {})
    monkeypatch.setattr(Listed, "stories", {})
    return Listed.runs


def test_the_flag_has_all_of_them():
    assert definitions.output.TRACKERS == tuple(TRACKERS)


def test_what_is_not_there_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    text = refused(*TOY, "--track=csv,wandb", cwd=tmp_path)
    assert text == "Error: --track=wandb needs pip install wandb.\n"
    text = refused(*TOY, "--track=tensorbord", cwd=tmp_path)
    assert "Received: tensorbord. Did you mean tensorboard?" in text
    with pytest.raises(RunError, match="Received: cvs. Did you mean csv?"):
        trained(tmp_path / "run", "cvs")
    assert list(tmp_path.iterdir()) == []


def test_a_service_gets_each_report_once(tmp_path, listed):
    trained(tmp_path / "whole", "list")
    interrupted(tmp_path / "parts", "list", step=2)  # before the first checkpoint
    interrupted(tmp_path / "parts", "list", step=5)
    trained(tmp_path / "parts", "list")
    whole, parts = listed["whole"], listed["parts"]
    assert sorted(parts) == sorted(whole) and len(set(whole)) == len(whole)
    assert {(2, "loss/generator"), (4, next(iter(SCORES)))} <= set(whole)
    assert {(0, "samples/observed"), (4, "evaluation/nearest")} <= set(whole)
    assert [step for step, name in whole if name == "loss/generator"] == [2, 4, 6]


def test_after_a_rollback_a_service_has_another_run(tmp_path, listed, monkeypatch):
    poison(monkeypatch, 7)  # from step 8 back to step 3
    trained(tmp_path / "mine", "list", options=GUARDED)
    steps = {
        name: sorted({step for step, tag in one if tag == "loss/generator"})
        for name, one in listed.items()
    }
    assert steps == {"mine": [2, 4, 6], "mine, rollback 1": [4, 6, 8, 10, 12]}
    assert listed["mine, rollback 1"][0] == (3, "rollbacks/number")
    ((name, story),) = Listed.stories.items()
    assert name == "mine, rollback 1" and "step 8" in story
    before = {name: list(one) for name, one in listed.items()}
    trained(tmp_path / "mine", "list", options={**GUARDED, "num_iterations": 14})
    assert listed["mine"] == before["mine"]
    added = listed["mine, rollback 1"][len(before["mine, rollback 1"]) :]
    assert {step for step, _ in added} == {14}


class Failing(Tracker):
    """Can be opened so many times; fails at steps 2 and 4."""

    title, way_out = "the failing one", "Do without."
    times = 1

    def open(self):
        if not type(self).times:
            raise TimeoutError("no answer.\nNone at all.")
        type(self).times -= 1
        self.told = []

    def scalars(self, step, values):
        self.told.append(step)
        if step in (2, 4):
            raise TimeoutError("no answer")
        Failing.last = self.told


def test_one_that_fails_later_rests_until_the_next_checkpoint(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setitem(TRACKERS, "failing", Failing)
    monkeypatch.setattr(Failing, "times", 1)
    length = {"num_iterations": 8, "log_every": 1, "checkpoint_every": 3}
    train(new_model(), tmp_path / "run", track=("failing", "csv"), **length)
    assert Failing.last == [1, 2, 4, 7, 8]  # checkpoints: 3, 6
    warnings = [one for one in caplog.messages if "failing" in one]
    assert warnings == ["the failing one cannot be written now: no answer"] * 2
    train(new_model(), tmp_path / "without", **length)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "without")
    assert len((tmp_path / "run/metrics.csv").read_text().splitlines()) == 9


def test_one_that_cannot_begin_ends_the_start_but_no_training(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setitem(TRACKERS, "failing", Failing)
    monkeypatch.setattr(Failing, "times", 0)
    with pytest.raises(RunError) as end:
        trained(tmp_path / "run", "csv", "failing")
    expected = "`track`=failing cannot begin: no answer. None at all. Do without."
    assert str(end.value) == expected
    assert read_lines(tmp_path / "run") == []
    monkeypatch.setattr(Failing, "times", 1)
    poison(monkeypatch, 7)
    model = trained(tmp_path / "run", "failing", options=GUARDED)
    assert int(model.step) == 12 and int(model.rollbacks) == 1
    assert expected in caplog.text


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_row_for_a_step(tmp_path):
    interrupted(tmp_path / "run", "csv", step=2)
    interrupted(tmp_path / "run", "csv", step=5)
    with (tmp_path / "run/metrics.csv").open("a") as file:
        file.write("2,0.3")  # the end of a process that was killed
    trained(tmp_path / "run", "csv")
    found = rows(tmp_path / "run")
    assert [row["step"] for row in found] == ["2", "4", "6"]
    by_step = {}
    for line in map(json.loads, read_lines(tmp_path / "run")):
        by_step.setdefault(str(line["step"]), {}).update(line)
    for row in found:
        given = {name: float(value) for name, value in row.items() if value}
        assert given == by_step[row["step"]]
    assert by_step["4"]["evaluation/descriptor/recall"] == 0.25


def test_the_table_has_the_rollbacks(tmp_path, monkeypatch):
    poison(monkeypatch, 7)
    trained(tmp_path / "run", "csv", options=GUARDED)
    found = {row["step"]: row["rollbacks"] for row in rows(tmp_path / "run")}
    assert found == {step: "" for step in ("2", "4", "6", "8", "10", "12")} | {"3": "1"}
    assert list(found)[:3] == ["2", "3", "4"]


def test_the_command_line_tracks(tmp_path):
    run_dir = tmp_path / "runs/digits-1"
    output = called(*TOY, "--track=csv", "--log_every=1", cwd=tmp_path)
    assert "look inside: runs/digits-1/metrics.jsonl" in output
    assert not (run_dir / "tensorboard").exists()
    again = ["--resume", "--num_iterations=3", "--track=csv,tensorboard"]
    output = called(*again, cwd=tmp_path)
    assert "curves: tensorboard --logdir" in output
    assert [row["step"] for row in rows(run_dir)] == ["1", "2", "3"]
    assert len(list((run_dir / "tensorboard").glob("events.*"))) == 1


# Services, as far as they are installed, without a network.


def records(path):
    """What a file .wandb holds: a LevelDB log of protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, whole = path.read_bytes(), 7, b""
    while place < len(content):
        if (left := 32768 - place % 32768) < 7:  # of a block: padding
            place += left
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), 6
        kind, place = content[place + kind], place + 7
        whole, place = whole + content[place : place + length], place + length
        if kind in (1, 4):  # all of one, or its end
            yield Record.FromString(whole)
            whole = b""


def sent_to_wandb(folder):
    """The rows of each session: (run's id, name, {key: value})."""
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        found = list(records(path))
        (run,) = [one.run for one in found if one.WhichOneof("record_type") == "run"]
        history = [
            {
                item.key or "/".join(item.nested_key): json.loads(item.value_json)
                for item in one.history.item
            }
            for one in found
            if one.WhichOneof("record_type") == "history"
        ]
        yield run, history


def test_wandb_offline(tmp_path, monkeypatch, capsys):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    run_dir = tmp_path / "mine"
    interrupted(run_dir, "wandb", step=5)
    trained(run_dir, "wandb")
    capsys.readouterr()
    (first, before), (second, after) = sent_to_wandb(run_dir)
    assert first.run_id == second.run_id != ""
    assert (first.project, first.display_name, first.run_group) == (
        ("coopnets_tf", "mine", "mine")
    )
    config = {item.key: json.loads(item.value_json) for item in first.config.update}
    assert config["dataset"] == "digits"
    steps = [row["_step"] for row in before + after if "loss/generator" in row]
    assert steps == [2, 4, 6]
    assert [row["_step"] for row in before + after] == [0, 2, 4, 6]
    values = {row["_step"]: row for row in before + after}
    lines = [json.loads(line) for line in read_lines(run_dir)]
    assert values[6]["loss/generator"] == lines[-1]["generator_loss"]
    assert values[4]["evaluation/descriptor/recall"] == 0.25
    for picture in ("samples/generator", "evaluation/nearest"):
        assert values[4][f"{picture}/_type"] == "image-file"


def test_mlflow_in_a_file(tmp_path, monkeypatch, capsys, recwarn):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/kept.db")
    run_dir = tmp_path / "mine"
    interrupted(run_dir, "mlflow", step=5)
    trained(run_dir, "mlflow")
    capsys.readouterr()
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("coopnets_tf")
    (run,) = client.search_runs([experiment.experiment_id])
    assert json.loads((run_dir / "mlflow.json").read_text())["id"] == run.info.run_id
    assert (run.info.run_name, run.info.status) == ("mine", "FINISHED")
    assert run.data.params == {"dataset": "digits"}
    found = client.get_metric_history(run.info.run_id, "loss/generator")
    lines = [json.loads(line) for line in read_lines(run_dir)]
    lines = [line for line in lines if "generator_loss" in line]
    assert [(one.step, one.value) for one in found] == [
        (line["step"], line["generator_loss"]) for line in lines
    ]
    (score,) = client.get_metric_history(run.info.run_id, *SCORES)
    assert (score.step, score.value) == (4, 0.25)
    names = [
        Path(one.path).name for one in client.list_artifacts(run.info.run_id, "images")
    ]
    pictures = sorted(
        name.split("+timestamp")[0] for name in names if "compressed" not in name
    )
    assert pictures == [
        "evaluation~nearest+step+4",
        *(
            f"samples~{net}+step+{step}"
            for net in ("descriptor", "generator")
            for step in (4, 6)
        ),
        "samples~observed+step+0",
    ]


def test_a_run_that_mlflow_does_not_know_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/kept.db")
    record = {"id": "0" * 32, "rollbacks": 0, "step": 4}
    (tmp_path / "mlflow.json").write_text(json.dumps(record))
    with pytest.raises(RunError) as end:
        trackers.opened("mlflow", Run(tmp_path, 6), 4, [])
    assert "`track`=mlflow cannot begin: Run with id=000" in str(end.value)
    assert str(end.value).endswith("MLFLOW_TRACKING_URI says where it looks.")


def test_wandb_without_a_login_is_refused(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    wandb.teardown()  # it remembers the variables that it was begun with
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "NETRC", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    with pytest.raises(RunError) as end:
        trackers.opened("wandb", Run(tmp_path, 6), 0, [])
    text = str(end.value)
    assert text.startswith("`track`=wandb cannot begin: No API key configured")
    assert text.endswith("Or set WANDB_MODE=offline, and `wandb sync` later.")
