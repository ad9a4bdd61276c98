import os

import numpy as np
import pytest

from coopnets_tf.data import datasets
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import RunError
from coopnets_tf.files import RUN_DESCRIPTION, write_json
from coopnets_tf.runs.checkpoints import last_step
from coopnets_tf.runs.folder import DATA, Run, check_data, create_run, record_data
from tests.data.files import flat, save
from tests.helpers import write_checkpoint


def test_unnamed_runs_are_numbered(tmp_path):
    root = tmp_path / "runs"
    assert create_run(None, name="digits", root=root) == root / "digits-1"
    assert create_run(None, name="digits", root=root) == root / "digits-2"
    (root / "digits-9").mkdir()
    assert create_run(None, name="digits", root=root) == root / "digits-10"


def test_a_path_that_is_no_text_is_refused_before_anything_is_written(tmp_path):
    place = tmp_path / os.fsdecode(b"latin\xe9")
    place.mkdir()
    for make in (
        lambda: Run(place / "run", 1),
        lambda: create_run(place / "run", name="digits"),
        lambda: create_run(None, name="digits", root=place / "runs"),
    ):
        with pytest.raises(RunError, match="whose name is not text in UTF-8"):
            make()
    assert list(place.iterdir()) == []


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
    grey, white = (
        ImageDataset("images", np.full((2, 8, 8, 1), value, np.uint8))
        for value in (127, 255)
    )
    options = {"way_out": "Or begin a new one."}
    check_data(tmp_path, white, **options)  # nothing is known yet
    assert list(tmp_path.iterdir()) == []
    record_data(tmp_path, grey)
    check_data(tmp_path, grey, **options)
    with pytest.raises(RunError, match="not those.*`dataset`. Or begin a new one."):
        check_data(tmp_path, white, **options)


def test_other_classes_of_the_same_images_are_refused_for_a_run(tmp_path):
    pixels = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8, 1)
    begun, moved = (
        ImageDataset("images", pixels, labels=labels)
        for labels in ([0, 0, 1], [0, 1, 1])
    )
    record_data(tmp_path, begun.part(slice(1, None)))
    check_data(tmp_path, begun, way_out="")
    with pytest.raises(RunError, match="another class"):
        check_data(tmp_path, moved, way_out="")
    check_data(tmp_path, ImageDataset("images", pixels), way_out="")  # asks for none
    write_json(tmp_path / DATA, {"fingerprint": begun.fingerprint()})  # of version 0.2
    check_data(tmp_path, moved, way_out="")


@pytest.mark.parametrize("named", [{"dataset": "/old/photos"}, "/old/photos"])
def test_a_run_of_version_0_2_knows_its_images_at_another_place(tmp_path, named):
    save(tmp_path / "photos" / "1.png", flat((1, 1, 1)))
    photos = datasets.load(str(tmp_path / "photos"), image_size=8, cache_bytes=0)
    write_json(
        tmp_path / DATA, {"fingerprint": photos.fingerprint(folder="/old/photos")}
    )
    write_json(tmp_path / RUN_DESCRIPTION, {"dataset": named})
    check_data(tmp_path, photos, way_out="")
    write_json(tmp_path / RUN_DESCRIPTION, {"dataset": {"dataset": "/other/photos"}})
    with pytest.raises(RunError, match="not those"):
        check_data(tmp_path, photos, way_out="")


def test_last_step(tmp_path):
    assert last_step(tmp_path) is None
    write_checkpoint(tmp_path / "checkpoints", 20)
    assert last_step(tmp_path) == 20
