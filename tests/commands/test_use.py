"""The modes of main.py on one small run, and the files that they leave."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import coopnets_tf
from commands import paths
from commands.interpolate import interpolate
from commands.sample import sample
from coopnets_tf.data import datasets, drawing
from coopnets_tf.data.images import from_uint8
from coopnets_tf.errors import RunError
from tests.helpers import (
    TINY,
    assert_near,
    call,
    called,
    make_generator_model,
    make_model,
    names,
    read_picture,
    refused,
    run,
    sharpen,
    write_run,
)

QUICK = ["--infer_steps=3"]


def size_of_grid(rows, columns):
    """Height and width: digits of 8 pixels, enlarged, gaps of two."""
    return rows * (tile(columns) + 2) + 2, columns * (tile(columns) + 2) + 2


def tile(columns):
    """The size of a digit of 8 pixels in a grid: within 800 pixels, and 256 alone."""
    return min(798 // columns - 2, 256) // 8 * 8


def digit(picture, columns, row, column):
    """One of a grid, in its own 8 pixels a side."""
    size = tile(columns)
    top, left = (2 + (size + 2) * place for place in (row, column))
    return picture[top : top + size : size // 8, left : left + size : size // 8]


def triple(picture, place, *, side=80, cell=80):
    """The digits of a group in the first row, such as original, occluded, recovered.

    They are `side` large, in the middle of a `cell` that has room for a heading.
    """
    left = 12 + place * (3 * (cell + 2) + 12) + (cell - side) // 2
    step = side // 8
    return [
        picture[40 : 40 + side : step, start : start + side : step].astype(int)
        for start in range(left, left + 3 * (cell + 2), cell + 2)
    ]


@pytest.mark.slow
def test_sample_in_a_process_of_its_own(tmp_path):
    called(*TINY, cwd=tmp_path)
    result = run("--mode=sample", "--num_images=3", "--output=alone", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    opening, line = result.stdout.splitlines()
    assert opening == "sample: runs/digits-1 | starting TensorFlow"
    assert line == "Samples of step 2: alone"
    assert names(tmp_path / "alone") == {"generator.png", "descriptor.png"}


def test_sample(use, trained):
    folder, found, output = use("--mode=sample")
    assert output == f"Samples of step 2: runs/digits-1/{folder.name}\n"
    assert found == {"generator.png", "descriptor.png"}
    for name, steps in (("generator", 0), ("descriptor", None)):
        grid = read_picture(folder / f"{name}.png")
        assert grid.shape == size_of_grid(8, 8) and grid.std() > 10
        assert_near(grid, from_uint8(grid_of(trained, 64, steps)))


def grid_of(model, number, steps):
    return drawing.grid(model.sample(number, num_steps=steps))[..., 0]


def test_a_second_call_leaves_the_first(use, run_dir):
    first, _, _ = use("--mode=sample", "--num_images=1", "--revise_steps=0")
    before = {path: path.read_bytes() for path in first.iterdir()}
    second, _, _ = use("--mode=sample", "--num_images=1", "--revise_steps=0")
    numbers = [int(folder.name.removeprefix("sample-")) for folder in (first, second)]
    assert numbers[1] == numbers[0] + 1
    assert {path: path.read_bytes() for path in first.iterdir()} == before


def test_samples_of_another_size(tmp_path):
    """The same nets; an export takes any map of latents, too."""
    called(*TINY, "--network=weave", "--workdir=run", cwd=tmp_path)
    sample = ["--mode=sample", "--num_images=2", "--format=npy", "--workdir=run"]
    called(*sample, "--latent_size=4x3", "--output=map", cwd=tmp_path)
    called(*sample, "--image_size=16x12", "--output=size", cwd=tmp_path)
    images = np.load(tmp_path / "map/images.npy")
    assert images.shape == (2, 16, 12, 1)
    np.testing.assert_array_equal(images, np.load(tmp_path / "size/images.npy"))
    both = refused(*sample, "--latent_size=4x3", "--image_size=16x12", cwd=tmp_path)
    assert "--image_size and --latent_size both say" in both
    error = refused(*sample, "--latent_size=4", cwd=tmp_path)
    assert "--latent_size must be a map of 2 sides" in error
    called("--mode=export", "--workdir=run", "--output=nets", cwd=tmp_path)
    exported = tf.saved_model.load(str(tmp_path / "nets"))
    assert exported.generate(np.zeros((1, 3, 5, 4), "f")).shape == (1, 12, 20, 1)


def test_single_files_are_the_samples_in_every_format(use, trained):
    expected = trained.sample(5)
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
    single = np.stack([read_picture(folder / name) for name in singles])[..., None]
    np.testing.assert_array_equal(single, pixels)


def test_without_revision_there_is_the_generator_alone(use, trained):
    folder, found, _ = use("--mode=sample", "--revise_steps=0", "--format=npy")
    assert found == {"generator.png", "images.npy"}
    assert_near(np.load(folder / "images.npy"), trained.sample(64, num_steps=0))


def test_samples_beyond_a_grid_come_in_batches(tmp_path):
    model = sharpen(make_model(num_steps=1, unroll=False))
    toy = write_run(model, tmp_path / "toy")
    folder = sample(toy, num_images=205, seed=3, format="npy")
    assert folder == toy / "sample-1"
    assert read_picture(folder / "descriptor.png").shape == size_of_grid(10, 10)
    pixels = np.load(folder / "images.npy")
    assert pixels.shape == (205, 8, 8, 1)
    assert_near(pixels, model.sample(205, seed=3))


def test_interpolate(use, trained):
    """The corners are four latents of the prior, row by row."""
    folder, found, _ = use("--mode=interpolate", "--seed=3")
    assert found == {"corners.png"}
    grid = read_picture(folder / "corners.png")
    assert grid.shape == size_of_grid(8, 8)
    shown = [digit(grid, 8, row, column) for row in (0, 7) for column in (0, 7)]
    latents = paths.drawn(trained, "corners", 3).astype(np.float32)
    assert_near(np.stack(shown), trained.generate(latents)[..., 0])


def test_a_plane_of_two_latents(tmp_path):
    """The origin in its middle, the rim of it as a film; the same for every seed."""
    model = sharpen(make_model(latent_size=2))
    toy = write_run(model, tmp_path / "toy")
    folders = [
        interpolate(toy, interpolation="plane", seed=seed, animation="gif")
        for seed in (0, 1)
    ]
    assert names(folders[0]) == {"plane.png", "plane.gif"}
    grid = read_picture(folders[0] / "plane.png")
    assert grid.shape == size_of_grid(9, 9)
    np.testing.assert_array_equal(read_picture(folders[1] / "plane.png"), grid)
    for latents, row, column in (([0, 0], 4, 4), ([2, 0.5], 3, 8), ([-1, -2], 8, 2)):
        expected = model.generate(np.array([latents], np.float32))
        assert_near(digit(grid, 9, row, column), expected[0, ..., 0])
    with Image.open(folders[0] / "plane.gif") as film:
        assert film.n_frames == 4 * 23


def test_other_planes_are_refused(toy_run):
    with pytest.raises(RunError, match="`latent_size`=2. Received: latents of 6 num"):
        interpolate(toy_run, interpolation="plane")
    toy_of_two = write_run(make_model(latent_size=2), toy_run.parent / "of-two")
    with pytest.raises(RunError, match="not between two. Leave out `images`, or"):
        interpolate(toy_of_two, interpolation="plane", images=["0.png", "1.png"])
    assert not any(toy_of_two.glob("interpolate-*"))


def test_interpolate_between_ones_own_images(use, place):
    folder, found, _ = use("--mode=interpolate", "--images=0.png,1.png", *QUICK)
    assert found == {"spherical.png", "ends.png"}
    assert read_picture(folder / "spherical.png").shape == size_of_grid(1, 8)
    ends = np.stack([read_picture(place / f"{number}.png") for number in (0, 1)])[
        ..., None
    ]
    grid = drawing.grid(from_uint8(ends))[..., 0]
    np.testing.assert_array_equal(read_picture(folder / "ends.png"), grid)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    return write_run(sharpen(make_model()), tmp_path_factory.mktemp("runs") / "toy")


@pytest.mark.parametrize("file_format", ["gif", "webp"])
def test_a_film_goes_there_and_back(toy_run, file_format):
    """24 pictures one way, and all but its ends back; the first is the grid's."""
    folder = interpolate(toy_run, interpolation="linear", animation=file_format)
    assert names(folder) == {"linear.png", f"linear.{file_format}"}
    with Image.open(folder / f"linear.{file_format}") as film:
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
    grid = read_picture(folder / "linear.png")
    assert first.shape == size_of_grid(3, 3) and grid.shape == size_of_grid(8, 8)
    for path in range(8):
        difference = digit(first, 3, *divmod(path, 3)) - digit(grid, 8, path, 0)
        assert np.abs(difference).mean() < (1 if file_format == "gif" else 8)


def test_reconstruct(use, trained):
    folder, found, output = use("--mode=reconstruct", *QUICK)
    assert found == {"reconstruct.png", "errors.json"}
    assert "digits: 64 test images, held out of training" in output
    # 64 triples, three of them a row.
    height, width = read_picture(folder / "reconstruct.png").shape
    assert height == 40 + 22 * (80 + 12) and width < 850
    assert "Original, reconstruction, difference: runs/digits-1/" in output
    errors = json.loads((folder / "errors.json").read_text())
    assert set(errors) == {"mae", "rmse", "psnr", "ssim"}
    assert f"{errors['mae']['mean']:.4f} ± " in output
    images = datasets.load_splits("digits", num_held_out=597).test[:64]
    difference = (trained.reconstruct(images, num_steps=3) - images) / 2
    expected = pytest.approx(np.abs(difference).mean(), rel=1e-4)
    assert errors["mae"]["mean"] == expected


def test_reconstruct_ones_own_images(use, place):
    folder, _, output = use("--mode=reconstruct", "--images=0.png,1.png,2.png", *QUICK)
    assert "3 of your own images" in output
    picture = read_picture(folder / "reconstruct.png")
    original, found, difference = triple(picture, 1, cell=81)
    np.testing.assert_array_equal(original, read_picture(place / "1.png"))
    # Two roundings of their own, and a third of the difference.
    assert np.abs(np.abs(original - found) - difference).max() <= 2


def test_the_step_size_that_infers_latents(use):
    """One so small that the latents stay where they begin, whatever the images."""
    still = ["--mode=reconstruct", "--infer_step_size=1e-9", "--num_images=4"]
    one, other = (
        read_picture(use(*still, f"--infer_steps={steps}")[0] / "reconstruct.png")
        for steps in (1, 9)
    )
    np.testing.assert_array_equal(one, other)
    moved, _, _ = use("--mode=reconstruct", "--infer_steps=9", "--num_images=4")
    assert (read_picture(moved / "reconstruct.png") != other).any()


def test_recover(use):
    folder, found, output = use("--mode=recover", *QUICK)
    assert found == {"recover.png", "errors.json"}
    picture = read_picture(folder / "recover.png")
    original, occluded, recovered = triple(picture, 0)
    hidden = np.zeros((8, 8), bool)
    hidden[2:6, 2:6] = True  # the default: half the side
    for image in (occluded, recovered):
        np.testing.assert_array_equal(image[~hidden], original[~hidden])
    assert set(occluded[hidden]) == {128}
    assert (recovered[hidden] != 128).any()
    errors = json.loads((folder / "errors.json").read_text())
    methods = {"descriptor and generator", "generator alone", "nearest pixel"}
    methods |= {"mean image"}
    assert methods <= set(errors) <= methods | {"biharmonic"}
    for method, values in errors.items():
        assert set(values) == {"hidden_mae", "hidden_rmse", "psnr", "ssim"}
        found = values["hidden_mae"]
        assert f"{found['mean']:.4f} ± {found['standard_error']:.4f}" in output
        assert method in output


def test_a_picture_of_some_says_of_how_many(use):
    _, _, output = use("--mode=recover", "--num_images=120", *QUICK)
    assert "Original, occluded, recovered, the first 100 of 120: runs/" in output


def test_recovered_images_are_compared_by_the_maps_of_a_network(use, place):
    keras.utils.set_random_seed(0)
    maps = keras.layers.Conv2D(5, 3, name="maps")
    network = keras.Sequential([keras.Input((None, None, 3)), maps])
    network.save(place / "eyes.keras")
    asked = ["--mode=recover", "--extractor=eyes.keras", "--num_images=3", *QUICK]
    folder, found, output = use(*asked)
    assert found == {"recover.png", "errors.json", "extractor.json"}
    facts = json.loads((folder / "extractor.json").read_text())
    assert f"perceptual: by {facts['network']}, digest {facts['digest']}" in output
    errors = json.loads((folder / "errors.json").read_text())
    for own in errors.values():
        assert 0 < own["perceptual"]["mean"] < 4
    small = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 9)])
    small.save(place / "small.keras")
    asked[1] = "--extractor=small.keras"
    assert "small.keras does not take images of 8x8x1" in refused(*asked, cwd=place)
    asked[1] = "--extractor=classifier"
    assert "has no maps to compare images by" in refused(*asked, cwd=place)
    asked[1] = "--extractor_layer=maps"
    assert "--extractor=FILE.keras. Received: none" in refused(*asked, cwd=place)


def test_recover_with_a_mask_of_ones_own(use, place):
    mask = np.full((8, 8), 255, np.uint8)
    mask[:, :4] = 0
    Image.fromarray(mask).save(place / "mask.png")
    folder, _, _ = use("--mode=recover", "--mask=mask.png", "--images=2.png", *QUICK)
    picture = read_picture(folder / "recover.png")
    original, occluded, _ = triple(picture, 0, side=256, cell=256)
    np.testing.assert_array_equal(original, read_picture(place / "2.png"))
    assert set(occluded[:, :4].ravel()) == {128}
    np.testing.assert_array_equal(occluded[:, 4:], original[:, 4:])


def test_export(place, run_dir, trained):
    """The files in new folders, since another export is never overwritten."""
    for number, (file_format, name) in enumerate(
        (("keras", "model.keras"), ("litert", "generator.tflite")), start=1
    ):
        output = called("--mode=export", f"--export_format={file_format}", cwd=place)
        assert output == f"Nets of step 2: runs/digits-1/export-{number}/{name}\n"
    loaded = coopnets_tf.load(run_dir / "export-1" / "model.keras")
    np.testing.assert_allclose(loaded.sample(2), trained.sample(2), rtol=0, atol=1e-5)


def test_an_export_to_onnx_needs_its_library(place, run_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    before = sorted(run_dir.rglob("*"))
    errors = refused("--mode=export", "--export_format=onnx", cwd=place)
    assert errors == "Error: --export_format=onnx needs pip install tf2onnx.\n"
    assert sorted(run_dir.rglob("*")) == before


def test_export_to_onnx(place, run_dir):
    pytest.importorskip("tf2onnx")
    output = called("--mode=export", "--export_format=onnx", cwd=place)
    folder = Path(output.removeprefix("Nets of step 2: ").strip())
    assert names(place / folder) == {"generator.onnx", "energy.onnx"}


def test_export_elsewhere(place):
    write_run(make_generator_model(), place / "toy", step=2)
    output = called("--mode=export", "--workdir=toy", "--output=elsewhere", cwd=place)
    assert output == "Nets of step 2: elsewhere\n"
    assert (place / "elsewhere/saved_model.pb").is_file()
    metadata = json.loads((place / "elsewhere/metadata.json").read_text())
    assert metadata["dataset"] == "digits" and metadata["training_steps"] == 2


def test_output_in_use_is_refused_and_left(place):
    folder = place / "letters"
    folder.mkdir()
    (folder / "letter.txt").write_text("mine")
    for mode in ("sample", "export"):
        errors = refused(f"--mode={mode}", "--output=letters", cwd=place)
        assert errors.startswith("Error: --output=letters holds files already")
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]
    output = called("--mode=sample", "--output=new/folder", cwd=place)
    assert "new/folder" in output
    assert names(place / "new/folder") == {"generator.png", "descriptor.png"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--mode=sample", "--workdir=."], "--workdir=. holds no run"),
        (["--mode=sample", "--workdir=nowhere"], "--workdir=nowhere does not exist."),
        (["--mode=sample", "--checkpoint=99"], "has no checkpoint '99'. It has: "),
        (["--mode=sample", "--checkpoint=99", "--output=unborn"], "no checkpoint"),
        (["--mode=sample", "--checkpoint=best"], "has no checkpoint 'best'"),
        (["--mode=interpolate", "--images=0.png"], "has two ends. Received: 1."),
        (["--mode=interpolate", "--images=0.png,1.png,2.png"], "Received: 3."),
        (["--mode=interpolate", "--images=0.png,broken.png"], "broken.png"),
        (["--mode=reconstruct", "--images=broken.png"], "broken.png"),
        (["--mode=reconstruct", "--images=lost.png"], "lost.png"),
        (["--mode=recover", "--mask=square:8"], "--mask: the square of an image"),
        (["--mode=recover", "--mask=random:0"], "the share between 0 and 1"),
        (["--mode=recover", "--mask=black.png"], "hides nothing or everything"),
        (["--mode=recover", "--mask=white.png"], "hides nothing or everything"),
        (
            ["--mode=recover", "--mask=circle:3"],
            "circle:3 must be square:<pixels>",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(arguments, text, place):
    """One sentence, and no folder is left behind."""
    before = set(place.rglob("*"))
    code, output, errors = call(*arguments, cwd=place)
    assert code == 2, errors
    assert errors.startswith("Error: ") and text in errors
    assert len(errors.splitlines()) == 1
    assert "Traceback" not in output + errors
    assert set(place.rglob("*")) == before


def test_a_wrong_run_is_no_run_to_resume(place):
    """Nobody spoke of --resume."""
    assert "resume" not in refused("--mode=sample", "--workdir=nowhere", cwd=place)


def test_an_export_never_replaces_others_files(place, run_dir):
    (run_dir / "export").mkdir()
    (run_dir / "export/letter.txt").write_text("mine")
    code, _, errors = call("--mode=export", cwd=place)
    assert code == 1 and errors.startswith("Error: ")
    assert len(errors.splitlines()) == 1
    assert (run_dir / "export/letter.txt").read_text() == "mine"
