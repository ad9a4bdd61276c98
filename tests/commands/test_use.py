"""The modes of main.py on one small run, and the files that they leave."""

import contextlib
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import coopnets_tf
from commands import use as modes
from coopnets_tf.data import datasets
from coopnets_tf.data import images as pictures
from tests.helpers import ROOT, TINY, make_model, names, run, sharpen

# main.py for one line of arguments after the other, without TensorFlow's start.
SERVER = """
import contextlib, io, json, sys, traceback
sys.path.insert(0, sys.argv[1])
import flags, main
flags.parse(["main.py"])
main.load_tensorflow()
main.load_tensorflow = lambda: None
channel = sys.stdout
for line in sys.stdin:
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            flags.FLAGS.unparse_flags()
            sys.argv = ["main.py", *json.loads(line)]
            flags.parse(sys.argv)
            main.run_mode()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
            code = 1
    answer = json.dumps([code, output.getvalue(), errors.getvalue()])
    print(answer, file=channel, flush=True)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder whose runs/digits-1 has nets with pictures that differ."""
    place = tmp_path_factory.mktemp("place with space")
    result = run(*TINY, "--generator_learning_rate=0.05", cwd=place)
    assert result.returncode == 0, result.stderr
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    (place / "broken.png").write_text("no image")
    for name, grey in (("black", 0), ("white", 255)):
        Image.new("L", (8, 8), grey).save(place / f"{name}.png")
    return place


@pytest.fixture(scope="module")
def run_dir(place):
    return place / "runs/digits-1"


@pytest.fixture(scope="module")
def model(run_dir):
    return coopnets_tf.load(run_dir)


@contextlib.contextmanager
def serving(place):
    """A function that calls main.py with arguments: exit code, output, errors."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(ROOT)],
        cwd=place,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:

        def call(*arguments):
            print(json.dumps(arguments), file=server.stdin, flush=True)
            return json.loads(server.stdout.readline())

        yield call
        server.stdin.close()


@pytest.fixture(scope="module")
def call(place):
    with serving(place) as call:
        yield call


@pytest.fixture
def use(call, run_dir):
    """Calls main.py; returns the new folder, its names and what was printed."""

    def use(*arguments):
        before = set(run_dir.iterdir())
        code, output, errors = call(*arguments)
        assert (code, errors) == (0, ""), errors
        (folder,) = set(run_dir.iterdir()) - before
        assert str(folder.relative_to(run_dir.parent.parent)) in output
        return folder, names(folder), output

    return use


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def size_of_grid(rows, columns):
    """Height and width: digits of 8 pixels enlarged four times, gaps of two."""
    return rows * 34 + 2, columns * 34 + 2


def assert_near(pixels, images):
    """Pictures of a process equal those of another but for rounding at a half."""
    difference = pixels.astype(int) - pictures.to_uint8(images)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.01


def test_sample_in_a_process_of_its_own(place, run_dir):
    result = run("--mode=sample", "--num_images=3", cwd=place)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    (folder,) = run_dir.glob("sample-*")
    assert result.stdout == "Samples of step 2: runs/digits-1/sample-1\n"
    assert names(folder) == {"generator.png", "descriptor.png"}


def test_sample(use, model):
    folder, found, _ = use("--mode=sample")
    assert found == {"generator.png", "descriptor.png"}
    for name, steps in (("generator", 0), ("descriptor", None)):
        grid = read(folder / f"{name}.png")
        assert grid.shape == size_of_grid(8, 8) and grid.std() > 10
        assert_near(grid, pictures.from_uint8(grid_of(model, 64, steps)))


def grid_of(model, number, steps):
    return pictures.grid(model.sample(number, num_steps=steps))[..., 0]


def test_a_second_call_leaves_the_first(use, run_dir):
    first, _, _ = use("--mode=sample", "--num_images=1")
    before = {path: path.read_bytes() for path in first.iterdir()}
    second, _, _ = use("--mode=sample", "--num_images=1")
    numbers = [int(folder.name.removeprefix("sample-")) for folder in (first, second)]
    assert numbers[1] == numbers[0] + 1
    assert {path: path.read_bytes() for path in first.iterdir()} == before


def test_single_files_are_the_samples_in_every_format(use, model):
    expected = model.sample(5)
    folder, found, _ = use("--mode=sample", "--num_images=5", "--format=npz")
    assert found == {"generator.png", "descriptor.png", "images.npz"}
    with np.load(folder / "images.npz") as arrays:
        assert list(arrays) == ["images"]
        pixels = arrays["images"]
    assert pixels.dtype == np.uint8 and pixels.shape == (5, 8, 8, 1)
    assert_near(pixels, expected)
    folder, _, _ = use("--mode=sample", "--num_images=5", "--format=npy")
    np.testing.assert_array_equal(np.load(folder / "images.npy"), pixels)
    folder, found, _ = use("--mode=sample", "--num_images=5", "--format=png")
    singles = [f"images/{number:06d}.png" for number in range(5)]
    assert found == {"generator.png", "descriptor.png", *singles}
    single = np.stack([read(folder / name) for name in singles])[..., None]
    np.testing.assert_array_equal(single, pixels)


def test_without_revision_there_is_the_generator_alone(use, model):
    folder, found, _ = use("--mode=sample", "--revise_steps=0", "--format=npy")
    assert found == {"generator.png", "images.npy"}
    assert_near(np.load(folder / "images.npy"), model.sample(64, num_steps=0))


def test_samples_beyond_a_grid_come_in_batches(tmp_path):
    model = sharpen(make_model(num_steps=1, unroll=False))
    modes.sample(
        model, tmp_path, num_images=205, num_steps=None, seed=3, file_format="npy"
    )
    assert read(tmp_path / "descriptor.png").shape == size_of_grid(10, 10)
    pixels = np.load(tmp_path / "images.npy")
    assert pixels.shape == (205, 8, 8, 1)
    assert_near(pixels, model.sample(205, seed=3))


def test_interpolate(use):
    folder, found, _ = use("--mode=interpolate")
    assert found == {"corners.png"}
    assert read(folder / "corners.png").shape == size_of_grid(8, 8)


def test_interpolate_between_ones_own_images(use, place, model):
    folder, found, _ = use("--mode=interpolate", "--images=0.png,1.png")
    assert found == {"spherical.png", "ends.png"}
    assert read(folder / "spherical.png").shape == size_of_grid(1, 8)
    ends = np.stack([read(place / f"{number}.png") for number in (0, 1)])[..., None]
    grid = pictures.grid(pictures.from_uint8(ends))[..., 0]
    np.testing.assert_array_equal(read(folder / "ends.png"), grid)


@pytest.mark.parametrize("file_format", ["gif", "webp"])
def test_a_film_goes_there_and_back(tmp_path, file_format):
    """24 pictures one way, and all but its ends back; the first is the grid's."""
    model = sharpen(make_model())
    model.freeze()
    modes.interpolate(model, tmp_path, kind="linear", seed=0, animation=file_format)
    assert names(tmp_path) == {"linear.png", f"linear.{file_format}"}
    with Image.open(tmp_path / f"linear.{file_format}") as film:
        assert film.n_frames == 46 and film.info["loop"] == 0
        assert film.info.get("duration", 80) == 80  # which Pillow reads from GIF alone
        frames = []
        for number in (0, 1, 23, 45):
            film.seek(number)
            frames.append(np.asarray(film.convert("L"), int))
    first, second, middle, last = frames
    # A GIF has no loss, a WebP one of a few grey levels.
    assert np.abs(second - last).mean() <= (0 if file_format == "gif" else 4)
    assert np.abs(first - middle).mean() > 20
    # Eight paths at once, three columns; the grid has one path a row.
    grid = read(tmp_path / "linear.png")
    assert first.shape == size_of_grid(3, 3) and grid.shape == size_of_grid(8, 8)
    for path in range(8):
        row, column = divmod(path, 3)
        tile = first[34 * row + 2 : 34 * row + 34, 34 * column + 2 : 34 * column + 34]
        expected = grid[34 * path + 2 : 34 * path + 34, 2:34]
        assert np.abs(tile - expected).mean() < (1 if file_format == "gif" else 8)


def test_corners_of_two_images_are_refused(tmp_path, observed):
    with pytest.raises(ValueError, match="two images"):
        modes.interpolate(make_model(), tmp_path, kind="corners", seed=0, ends=observed)
    assert list(tmp_path.iterdir()) == []


EVALUATE = "--mode=evaluate", "--evaluation_samples=60"


def test_evaluate(use, place, model):
    folder, found, output = use(
        *EVALUATE, "--evaluate_real", f"--export_samples={place}/scored"
    )
    sets = ["generator", "descriptor", "training_images"]
    events = [name for name in found if name.startswith("tensorboard/")]
    assert len(events) == 1 and found - {*events} == {
        "report.json",
        "diagnostics.png",
        "chains.png",
        *[f"{name}.png" for name in sets],
    }
    report = json.loads((folder / "report.json").read_text())
    assert report["step"] == 2 and report["protocol"]["num_samples"] == 60
    assert report["protocol"]["scored_against"] == (
        "digits: 299 test images, held out of training"
    )
    assert "1,200 training images" in report["protocol"]["extractor"]["network"]
    for words in (
        "scored against digits: 299 test images, held out of training",
        "bandwidth chosen on digits: 298 validation images, held out of training",
        f"{report['protocol']['extractor']['accuracy']:.2%} on digits: 299 test images",
        "Chains of 10 steps, trained with 1",
        f"{report['scores']['descriptor']['frechet_distance']:.2f}",
    ):
        assert words in output, words
    exported = read(place / "scored" / "reference" / "000000.png")
    assert exported.shape == (8, 8)
    assert len(list((place / "scored" / "reference").iterdir())) == 299
    # The scored images are those of `sample`, whatever --seed the run was trained with.
    for name, steps in (("generator", 0), ("descriptor", None)):
        scored = sorted((place / "scored" / name).iterdir())
        assert len(scored) == 60
        pixels = np.stack([read(path) for path in scored])[..., None]
        assert_near(pixels, model.sample(60, seed=0, num_steps=steps))
    accumulator = EventAccumulator(str(folder / "tensorboard")).Reload()
    tags = accumulator.Tags()["tensors"]
    assert "evaluation/generator/parzen/nats" in tags
    assert {"evaluation/diagnostics", "evaluation/chains"} <= set(tags)


def test_evaluate_some_metrics_on_the_validation_images(use):
    folder, _, output = use(
        *EVALUATE, "--metrics=parzen,neighbours", "--split=validation"
    )
    report = json.loads((folder / "report.json").read_text())
    assert set(report["scores"]["generator"]) == {
        "num_images",
        "parzen",
        "precision",
        "recall",
        "density",
        "coverage",
    }
    assert report["diagnostics"] == {}
    assert "scored against digits: 149 validation images, held out" in output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--evaluation_samples=19"], "--evaluation_samples=19"),
        (["--export_samples=."], "--export_samples=. holds files already"),
        (["--inception_weights=no.h5"], "no.h5"),
        (["--num_held_out=100"], "--num_held_out=100 would change the run"),
        (["--normalize=per_image"], "--normalize=per_image would change the run"),
        (["--metrics=fid"], "must be some of parzen,frechet"),
        (["--split=validation", "--parzen_protocol=paper"], "leave out --split"),
    ],
)
def test_evaluations_that_cannot_be_had(call, run_dir, arguments, text):
    before = set(run_dir.iterdir())
    code, _, errors = call(*EVALUATE, *arguments)
    assert code == 2 and text in errors and errors.count("\n") == 1, errors
    assert set(run_dir.iterdir()) == before


def test_evaluate_a_folder_without_labels(call, place):
    for number in range(64):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        (place / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(place / "photos" / f"{number}.png")
    photos = ["--dataset=photos", "--network=digits", "--image_size=8", *TINY]
    code, _, errors = call(*photos, "--num_held_out=44", "--workdir=photos-run")
    assert (code, errors) == (0, ""), errors
    arguments = *EVALUATE, "--workdir=photos-run", "--inception_weights=no.h5"
    code, _, errors = call(*arguments, "--extractor=classifier")
    assert code == 2 and "photos has none" in errors
    code, output, errors = call(*EVALUATE, "--workdir=photos-run", "--metrics=parzen")
    assert code == 0 and "22 test images, held out of training" in output


def test_reconstruct(use, model):
    folder, found, output = use("--mode=reconstruct", "--infer_steps=3")
    assert found == {"reconstruct.png", "errors.json"}
    assert "digits: 64 test images, held out of training" in output
    # 33 triples, three of them a row.
    assert read(folder / "reconstruct.png").shape == size_of_grid(11, 9)
    errors = json.loads((folder / "errors.json").read_text())
    assert set(errors) == {"mae", "rmse", "psnr", "ssim"}
    assert f"{errors['mae']:.4g}" in output
    images = datasets.load_splits("digits", num_held_out=597).test[:64]
    difference = (model.reconstruct(images, num_steps=3) - images) / 2
    assert errors["mae"] == pytest.approx(np.abs(difference).mean(), rel=1e-4)


def test_reconstruct_ones_own_images(use, place):
    folder, _, output = use("--mode=reconstruct", "--images=0.png,1.png,2.png")
    assert "3 of your own images" in output
    grid = read(folder / "reconstruct.png")
    assert grid.shape == size_of_grid(1, 9)
    original, found, difference = (
        grid[2:34:4, 2 + 34 * column : 34 + 34 * column : 4].astype(int)
        for column in (3, 4, 5)
    )
    np.testing.assert_array_equal(original, read(place / "1.png"))
    # Two roundings of their own, and a third of the difference.
    assert np.abs(np.abs(original - found) - difference).max() <= 2


def test_recover(use):
    folder, found, output = use("--mode=recover", "--infer_steps=3")
    assert found == {"recover.png", "errors.json"}
    grid = read(folder / "recover.png")
    assert grid.shape == size_of_grid(11, 9)
    original, occluded, recovered = (
        grid[2:34:4, 2 + 34 * column : 34 + 34 * column : 4] for column in range(3)
    )
    hidden = np.zeros((8, 8), bool)
    hidden[2:6, 2:6] = True  # the default: half the side
    for image in (occluded, recovered):
        np.testing.assert_array_equal(image[~hidden], original[~hidden])
    assert set(occluded[hidden]) == {128}
    assert (recovered[hidden] != 128).any()
    errors = json.loads((folder / "errors.json").read_text())
    methods = {"descriptor and generator", "generator alone", "nearest pixel"}
    assert methods <= set(errors) <= methods | {"biharmonic"}
    for method, values in errors.items():
        assert set(values) == {"hidden_mae", "hidden_rmse", "psnr", "ssim"}
        assert method in output and f"{values['hidden_mae']:.4g}" in output


def test_recover_with_a_mask_of_ones_own(use, place):
    mask = np.full((8, 8), 255, np.uint8)
    mask[:, :4] = 0
    Image.fromarray(mask).save(place / "mask.png")
    folder, _, _ = use("--mode=recover", "--mask=mask.png", "--images=2.png")
    grid = read(folder / "recover.png")
    original, occluded, _ = (
        grid[2:34:4, 2 + 34 * column : 34 + 34 * column : 4] for column in range(3)
    )
    np.testing.assert_array_equal(original, read(place / "2.png"))
    assert set(occluded[:, :4].ravel()) == {128}
    np.testing.assert_array_equal(occluded[:, 4:], original[:, 4:])


def test_export(call, run_dir, model):
    """The files in new folders, since another export is never overwritten."""
    for number, (file_format, name) in enumerate(
        (("keras", "model.keras"), ("litert", "generator.tflite")), start=1
    ):
        code, output, errors = call("--mode=export", f"--export_format={file_format}")
        assert (code, errors) == (0, "")
        assert output == f"Nets of step 2: runs/digits-1/export-{number}/{name}\n"
    loaded = coopnets_tf.load(run_dir / "export-1" / "model.keras")
    np.testing.assert_allclose(loaded.sample(2), model.sample(2), rtol=0, atol=1e-5)


def test_export_elsewhere(call, place):
    code, output, errors = call("--mode=export", "--output=elsewhere")
    assert (code, errors) == (0, "")
    assert output == "Nets of step 2: elsewhere\n"
    assert (place / "elsewhere/saved_model.pb").is_file()
    metadata = json.loads((place / "elsewhere/metadata.json").read_text())
    assert metadata["dataset"] == "digits" and metadata["training_steps"] == 2


def test_output_in_use_is_refused_and_left(call, place):
    folder = place / "letters"
    folder.mkdir()
    (folder / "letter.txt").write_text("mine")
    for mode in ("sample", "export"):
        code, _, errors = call(f"--mode={mode}", "--output=letters")
        assert code == 2
        assert errors.startswith("Error: --output=letters holds files already")
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]
    code, output, errors = call("--mode=sample", "--output=new/folder")
    assert (code, errors) == (0, "") and "new/folder" in output
    assert names(place / "new/folder") == {"generator.png", "descriptor.png"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--mode=sample", "--workdir=nowhere"], "--workdir=nowhere holds no run"),
        (["--mode=sample", "--checkpoint=99"], "has no checkpoint '99'. It has: "),
        (["--mode=sample", "--checkpoint=99", "--output=unborn"], "no checkpoint"),
        (["--mode=sample", "--checkpoint=best"], "has no checkpoint 'best'"),
        (["--mode=interpolate", "--images=0.png"], "has two ends. Received: 1."),
        (["--mode=interpolate", "--images=0.png,1.png,2.png"], "Received: 3."),
        (["--mode=interpolate", "--images=0.png,broken.png"], "broken.png"),
        (["--mode=reconstruct", "--images=broken.png"], "broken.png"),
        (["--mode=reconstruct", "--images=lost.png"], "lost.png"),
        (["--mode=recover", "--mask=square:8"], "hides nothing or everything"),
        (["--mode=recover", "--mask=random:0"], "hides nothing or everything"),
        (["--mode=recover", "--mask=black.png"], "hides nothing or everything"),
        (["--mode=recover", "--mask=white.png"], "hides nothing or everything"),
        (["--mode=recover", "--mask=circle:3"], "--mask must be square:<pixels>"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments, text, call, place):
    """One sentence, and no folder is left behind."""
    before = set(place.rglob("*"))
    code, output, errors = call(*arguments)
    assert code == 2, errors
    assert errors.startswith("Error: ") and text in errors
    assert len(errors.splitlines()) == 1
    assert "Traceback" not in output + errors
    assert set(place.rglob("*")) == before


def test_a_wrong_run_is_no_run_to_resume(call):
    """Nobody spoke of --resume."""
    _, _, errors = call("--mode=sample", "--workdir=nowhere")
    assert "resume" not in errors


def test_an_export_never_replaces_others_files(call, run_dir):
    for path in (run_dir / "export").rglob("*"):
        if path.is_file():
            path.unlink()
    (run_dir / "export/letter.txt").write_text("mine")
    code, _, errors = call("--mode=export")
    assert code == 1 and errors.startswith("Error: ")
    assert len(errors.splitlines()) == 1
    assert (run_dir / "export/letter.txt").read_text() == "mine"
