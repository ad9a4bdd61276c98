import pytest

from coopnets_tf.errors import RunError
from coopnets_tf.runs.checkpoints import last_step
from coopnets_tf.runs.folder import check_data, create_run, record_data
from tests.helpers import write_checkpoint


def test_unnamed_runs_are_numbered(tmp_path):
    root = tmp_path / "runs"
    assert create_run(None, name="digits", root=root) == root / "digits-1"
    assert create_run(None, name="digits", root=root) == root / "digits-2"
    (root / "digits-9").mkdir()
    assert create_run(None, name="digits", root=root) == root / "digits-10"


def test_a_named_run_may_be_new_or_an_empty_folder(tmp_path):
    assert create_run(tmp_path / "a" / "b", name="digits") == tmp_path / "a" / "b"
    assert create_run(tmp_path / "a" / "b", name="digits") == tmp_path / "a" / "b"


@pytest.mark.parametrize(
    "content", ["model.json", "flags.cfg", "metrics.jsonl", "checkpoints"]
)
def test_a_used_folder_is_refused_and_left_alone(tmp_path, content):
    (tmp_path / content).write_text("precious")
    with pytest.raises(RunError, match=f"{tmp_path.name}.*never overwritten"):
        create_run(tmp_path, name="digits")
    assert (tmp_path / content).read_text() == "precious"


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="`workdir` cannot be made.*file"):
        create_run(tmp_path / "file", name="digits")


def test_other_images_are_refused_for_a_run(tmp_path):
    options = {"way_out": "Bring the old ones back."}
    check_data(tmp_path, fingerprint="b", **options)  # nothing is known yet
    assert list(tmp_path.iterdir()) == []
    record_data(tmp_path, fingerprint="a")
    check_data(tmp_path, fingerprint="a", **options)
    record_data(tmp_path, fingerprint="b")  # what it was begun with stays known
    with pytest.raises(RunError, match="not those with which.*Bring the old ones back"):
        check_data(tmp_path, fingerprint="b", **options)


def test_last_step(tmp_path):
    assert last_step(tmp_path) is None
    write_checkpoint(tmp_path / "checkpoints", 20)
    assert last_step(tmp_path) == 20
