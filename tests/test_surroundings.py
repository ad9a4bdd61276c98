"""Full disks, wrong folders, edited settings, images that change, output that fails."""

import os
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import flags
import surroundings
from coopnets_tf import files
from coopnets_tf.data import datasets, folders
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.errors import DatasetError, NotSaved
from coopnets_tf.runs import logs, training
from tests.helpers import (
    ROOT,
    TINY,
    TOY,
    assert_same_run,
    call,
    called,
    keras_set_to,
    make_descriptor_model,
    make_model,
    metrics,
    refused,
    run,
    train,
)


def save_images(folder, number, size=8):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        pixels = np.random.default_rng(index).integers(0, 256, (size, size), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")


@pytest.mark.slow
def test_a_disk_that_takes_no_checkpoint(tmp_path):
    """Files may grow to 1 MB, a checkpoint of the digits' nets has 8."""
    limit = 10**6
    result = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *TINY, "--checkpoint_every=1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert result.returncode == 1
    assert "The checkpoint of step 1 was not written" in result.stderr
    assert "Error: The checkpoint of step 2 was not written" in result.stderr
    assert "File too large. It happened in runs/digits-1" in result.stderr
    assert "Traceback" not in result.stderr and "{{" not in result.stderr
    folder = tmp_path / "runs/digits-1"
    assert len(logs.read_lines(folder / "metrics.jsonl")) == 1
    assert list((folder / "checkpoints").glob("*")) == []
    # Once there is room the same run goes on, from its beginning.
    again = run("--resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (folder / "checkpoints" / "ckpt-2.index").exists()


def test_a_full_disk_ends_in_one_line(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise NotSaved("The checkpoint of step 2 was not written: [Errno 28] No space")

    monkeypatch.setattr(training, "train", full)
    code, _, errors = call(*TINY, cwd=tmp_path)
    assert code == 1 and errors == (
        "Error: The checkpoint of step 2 was not written: [Errno 28] No space. "
        "It happened in runs/digits-1\n"
    )


def test_training_goes_on_without_what_cannot_be_written(tmp_path, monkeypatch, caplog):
    whole = train(make_model(unroll=False), tmp_path / "whole")

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logs.drawing, "save_png", full)
    monkeypatch.setattr(logs.tf.summary, "scalar", full)
    monkeypatch.setattr(logs.os, "fsync", full)
    hindered = train(make_model(unroll=False), tmp_path / "hindered")
    for one, other in zip(whole.get_weights(), hindered.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for what in ("A picture", "TensorBoard's file", "metrics.jsonl"):
        text = f"{what} cannot be written now: [Errno 28] No space left on device"
        assert text in caplog.text


class SmallDisk:
    """A file that takes so many bytes and then, for a while, no more."""

    def __init__(self, room):
        self.content, self.room = b"", room

    def write(self, content):
        taken = content[: self.room]
        if not taken:
            raise OSError(28, "No space left on device")
        self.room -= len(taken)
        self.content += taken
        return len(taken)


def test_lines_wait_for_room(tmp_path):
    lines = logs.Lines(tmp_path / "metrics.jsonl")
    lines._file.close()
    lines._file = disk = SmallDisk(room=20)
    lines.write({"step": 1})  # has 12 bytes
    for step in (2, 3):
        with pytest.raises(OSError):
            lines.write({"step": step})
    disk.room = 1000
    lines.write({"step": 4})
    expected = b"".join(b'{"step": %d}\n' % step for step in (1, 2, 3, 4))
    assert disk.content == expected


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
@pytest.mark.parametrize("workdir", ["/proc/self", "/proc/new"])
def test_a_folder_that_cannot_be_written_to(workdir, tmp_path):
    errors = refused(*TINY, f"--workdir={workdir}", cwd=tmp_path)
    assert workdir in errors and "Give another" in errors


def test_debug_shows_where_an_error_came_from(tmp_path):
    (tmp_path / "photos").mkdir()
    code, _, errors = call("--dataset=photos", "--debug", cwd=tmp_path)
    assert code == 2 and "Traceback" in errors
    assert "photos" in errors.splitlines()[-1]


def test_a_name_full_of_traps(tmp_path):
    name = "# --dataset=ü 雪 'quoted' $HOME"
    save_images(tmp_path / name, 5)
    workdir = f"--workdir={name}\n--seed=many"
    nets = ["--network=digits", "--algorithm=descriptor", "--chain_init=noise"]
    options = [*TINY, *nets, "--image_size=8", workdir]
    called(f"--dataset=./{name}", *options, cwd=tmp_path)
    called("--resume", workdir, "--num_iterations=3", cwd=tmp_path)


@pytest.mark.parametrize("name", ["two\nlines", "space ", os.fsdecode(b"\xff")])
def test_a_name_that_flags_cfg_cannot_hold(tmp_path, name):
    (tmp_path / name).mkdir()
    code, _, errors = call(f"--dataset=./{name}", cwd=tmp_path)
    assert code == 2
    assert "Error: --dataset has line breaks, spaces at its end" in errors
    assert [path.name for path in tmp_path.iterdir()] == [name]


EDITS = {
    "--seed=many": "--seed must be a whole number",
    "--sed=3": "There is no flag --sed. Did you mean --seed?",
    "hello": "Flags begin with --. Received: hello.",
    "--batch_size=-3": "-3",
    "--flagfile=nowhere.cfg": "nowhere.cfg",
}


@pytest.mark.parametrize("line", EDITS)
def test_edited_flags_are_named(tmp_path, line):
    own = tmp_path / "run" / "flags.cfg"
    own.parent.mkdir()
    own.write_text(f"--dataset=digits\n{line}\n")
    errors = refused("--resume", "--workdir=run", cwd=tmp_path)
    assert errors.startswith("Error: run/flags.cfg, line 2: ")
    assert EDITS[line] in errors
    assert own.read_text() == f"--dataset=digits\n{line}\n"


def test_mutated_flags_never_end_in_a_traceback(tmp_path):
    rng = random.Random(0)
    content = (flags.PRESETS / "digits.cfg").read_bytes()
    for _ in range(300):
        mutated = bytearray(content)
        for _ in range(rng.choice([1, 5, 50])):
            mutated[rng.randrange(len(mutated))] = rng.randrange(256)
        (tmp_path / "flags.cfg").write_bytes(mutated)
        try:
            flags.parse(["main.py", "--resume", f"--workdir={tmp_path}"])
        except SystemExit as end:
            assert end.code == 2
        finally:
            flags.FLAGS.unparse_flags()


def test_copies_of_one_image_are_refused_and_one_alone_is_not(tmp_path):
    save_images(tmp_path, 1)
    assert datasets.load(str(tmp_path), image_size=8).num_images == 1
    for copy in ("a.png", "b.png"):
        shutil.copy(tmp_path / "0.png", tmp_path / copy)
    with pytest.raises(DatasetError, match="All 3 images .* are the same"):
        datasets.load(str(tmp_path), image_size=8)


def test_a_run_survives_the_loss_of_an_image(tmp_path):
    """It ends with a checkpoint, and goes on exactly when the image is back."""
    save_images(tmp_path / "photos", 12)

    def photos():
        lazy, _ = folders.read(
            tmp_path / "photos", image_size=8, color_mode="grey", cache_bytes=0
        )
        return ImageDataset("photos", lazy)

    length = {"num_iterations": 6, "batch_size": 4}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(make_descriptor_model(unroll=False), whole, data=photos(), **length)
    data = photos()
    original, moved = data.batches, tmp_path / "moved.png"

    def losing(*arguments, **options):
        batches = original(*arguments, **options)

        def upcoming(first_step):
            for number, batch in enumerate(batches(first_step)):
                if number == 2:
                    (tmp_path / "photos" / "7.png").rename(moved)
                yield batch

        return upcoming

    data.batches = losing
    with pytest.raises(DatasetError, match="7.png was changed or removed"):
        train(make_descriptor_model(unroll=False), broken, data=data, **length)
    assert list((broken / "checkpoints").glob("ckpt-[345].index"))
    moved.rename(tmp_path / "photos" / "7.png")
    train(make_descriptor_model(unroll=False), broken, data=photos(), **length)
    assert_same_run(whole, broken)


@pytest.mark.slow
def test_nothing_is_written_outside_the_run_folder(tmp_path):
    home, temporary, place = (tmp_path / name for name in ("home", "tmp", "place"))
    for folder in (home, temporary, place):
        folder.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    result = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *TINY, "--workdir=run"],
        cwd=place,
        env={**environment, "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert [path.name for path in place.iterdir()] == ["run"]
    assert list(temporary.iterdir()) == []
    outside = [path for path in home.rglob("*") if path.is_file()]
    # Keras loads matplotlib, which lists the fonts of the machine.
    assert {path.parent.name for path in outside} <= {".keras", "matplotlib"}


STABILISED = [
    "--deterministic",
    "--learning_rate_schedule=plateaus",
    "--descriptor_clip_norm=5",
    "--generator_gradient_cap=0.1",
    "--langevin_clamp=100",
    "--energy_penalty=0.001",
    "--generator_average=0.9",
    "--rollback_rate_factor=0.5",
    "--keep_best=displacement",
    "--log_every=1",
    "--checkpoint_every=2",
    "--keep_checkpoints=9",
]


def test_every_stabiliser_survives_a_resume(tmp_path):
    """Also the length of the schedule, which is that of the run's first plan."""
    begun = ["--num_iterations=2", "--schedule_steps=5", "--workdir=two"]
    nets = "--init_from=whole/checkpoints/ckpt-0"
    called(*TOY, *STABILISED, "--num_iterations=5", "--workdir=whole", cwd=tmp_path)
    output = called(*TOY, *STABILISED, *begun, nets, cwd=tmp_path)
    assert "Nets of " in output and "does not fit" not in output
    called("--resume", "--workdir=two", "--num_iterations=5", cwd=tmp_path)
    lines = metrics(tmp_path / "whole")
    assert metrics(tmp_path / "two") == lines
    rates = [line["descriptor_learning_rate"] for line in lines]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.1 * rates[0]
    schedule = "--learning_rate_schedule=cosine"
    errors = refused("--resume", "--workdir=two", schedule, cwd=tmp_path)
    assert f"{schedule} would change the run" in errors


def test_output_into_a_closed_pipe_is_lost_and_no_more():
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        output = surroundings.Harmless(pipe)
        for _ in range(2):
            print("to nobody", file=output, flush=True)
        assert os.fstat(writer).st_rdev == os.stat(os.devnull).st_rdev


def test_letters_that_an_encoding_lacks_are_written_as_numbers(tmp_path, monkeypatch):
    with open(tmp_path / "out", "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", None)
        surroundings.harmless_output()
        print("photos 雪", flush=True)
        print("no terminal", file=sys.stderr)
        sys.stderr.close()
        monkeypatch.undo()
    assert (tmp_path / "out").read_text() == "photos \\u96ea\n"


def test_settings_of_somebody_else_do_not_count(monkeypatch):
    """TensorFlow runs already here, as in a notebook that ran something before."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    tf.constant(1)
    with keras_set_to("float64"):
        surroundings.load_tensorflow()
        assert keras.config.image_data_format() == "channels_last"
        assert keras.config.floatx() == "float32"
        assert keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
def test_a_keras_json_that_keras_refuses_is_named(tmp_path):
    (tmp_path / "keras.json").write_text('{"floatx": "bfloat16"}')
    result = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *TINY],
        cwd=tmp_path,
        env={**os.environ, "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    last = result.stderr.splitlines()[-1]
    assert last.startswith("Error: Keras cannot begin: ")
    assert last.endswith("Mend its keras.json, or remove it.")


@pytest.mark.parametrize("home", ["~", "/proc"])
def test_who_has_no_home_keeps_things_where_keras_does(monkeypatch, home):
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setattr(files.os.path, "expanduser", lambda path: home)
    monkeypatch.setattr(files.os, "access", lambda *arguments: False)
    assert str(files.keras_folder()) == "/tmp/.keras"


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["{} >&-", "{} 2>&-", "{} <&- >&- 2>&-", "{} | true"])
def test_a_training_goes_on_without_output(tmp_path, shell):
    """Also no file of the run gets the number of a stream that was closed."""
    command = f"{sys.executable} {ROOT / 'main.py'} {' '.join(TINY)} --workdir=run"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    place = tmp_path / "雪"
    place.mkdir()
    subprocess.run(
        ["bash", "-c", shell.format(command)],
        cwd=place,
        env=environment,
        check=shell != "{} | true",
        capture_output=True,
        timeout=300,
    )
    assert (place / "run/checkpoints/stop-2.index").exists()
    assert (place / "run/export/saved_model.pb").exists()
    assert len((place / "run/metrics.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_model_is_loaded_without_complaints_of_tensorflow(tmp_path):
    """In a process with TensorFlow's own settings; lines of its import are its own."""
    called(*TINY, "--workdir=run", cwd=tmp_path)
    program = """
import tensorflow, coopnets_tf
model = coopnets_tf.load("run")
images = model.sample(2, seed=0)
model.revise(images, num_steps=3, seed=0)
model.reconstruct(images, num_steps=3, seed=0)
"""
    hidden = "TF_CPP_MIN_LOG_LEVEL"
    environment = {key: value for key, value in os.environ.items() if key != hidden}
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "optimizer" not in result.stderr
