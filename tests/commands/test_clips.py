"""A run on one clip, and one on one picture, in all modes."""

import json

import numpy as np
import pytest
from PIL import Image

import coopnets_tf
from commands import sample
from coopnets_tf.data import drawing
from coopnets_tf.runs.export import metadata
from tests.data.files import animate, save
from tests.helpers import (
    TINY,
    assert_near,
    called,
    checkpoint,
    metrics,
    names,
    read_picture,
    refused,
)

CLIP = ["--dataset=clip.gif", "--network=toy_clips", "--num_frames=4", "--image_size=8"]
PICTURE = ["--dataset=photo.png", "--network=toy", "--image_size=8"]
USE = ["--workdir=clip", "--num_images=3"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where clip/ was trained on twelve frames, and photo/ on one picture."""
    place = tmp_path_factory.mktemp("place")
    frames = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
    animate(place / "clip.gif", frames)
    save(place / "photo.png", frames[:, 0])
    called(*TINY, *CLIP, "--workdir=clip", cwd=place)
    called(*TINY, *PICTURE, "--workdir=photo", cwd=place)
    return place


@pytest.fixture(scope="module")
def model(place):
    return coopnets_tf.load(place / "clip")


def frames_of(path):
    """How many pictures a film has, how long one is shown, and their size."""
    with Image.open(path) as film:
        film.load()  # before it a WebP does not say for how long
        return film.n_frames, film.info["duration"], film.size


def test_a_run_on_a_clip(place, model):
    assert "--num_frames=4\n" in (place / "clip/flags.cfg").read_text()
    assert metadata(model, None)["image_shape"] == [4, 8, 8, 3]
    strips = read_picture(place / "clip/samples/observed_000000.png")
    assert strips.shape == (4 * 194 + 2, 4 * 194 + 2, 3)  # 24 times 8 pixels, gaps of 2


def test_a_run_on_a_picture(place):
    model = coopnets_tf.load(place / "photo")
    assert model.image_shape == (8, 8, 3)
    output = called("--mode=reconstruct", "--workdir=photo", *USE[1:], cwd=place)
    assert "photo.png: 3 training windows" in output


@pytest.mark.parametrize("data", [CLIP, PICTURE], ids=["clip", "picture"])
def test_they_resume_bit_for_bit(data, place, tmp_path):
    dataset = f"--dataset={place}/{data[0].partition('=')[2]}"
    options = [*TINY, *data, dataset, "--log_every=1"]
    options += ["--flip"] if data is PICTURE else []  # a clip keeps latents
    options += ["--learning_rate_schedule=constant"]  # else it ends with the run
    called(*options, "--num_iterations=4", "--workdir=whole", cwd=tmp_path)
    called(*options, "--workdir=parts", cwd=tmp_path)
    again = ["--resume", "--workdir=parts", "--num_iterations=4"]
    called(*again, cwd=tmp_path)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")
    whole, parts = (checkpoint(tmp_path / name) for name in ("whole", "parts"))
    for name in set(whole) - {one for one in whole if "save_counter" in one}:
        np.testing.assert_array_equal(whole[name], parts[name], err_msg=name)
    text = "--num_frames=3 would change the run"
    if data is CLIP:
        assert text in refused(*again, "--num_frames=3", cwd=tmp_path)


@pytest.mark.parametrize("animation", [None, "webp"])
def test_samples_are_strips_and_films(place, model, animation):
    option = [f"--animation={animation}"] if animation else []
    output = f"films-{animation}"
    called("--mode=sample", *USE, f"--output={output}", *option, cwd=place)
    suffix = animation or "gif"
    kinds = ("generator", "descriptor")
    assert names(place / output) == {
        f"{net}.{kind}" for net in kinds for kind in ("png", suffix)
    }
    drawn = model.sample(3, num_steps=0).numpy()
    strips = read_picture(place / output / "generator.png")
    np.testing.assert_array_equal(strips, drawing.grid(drawn))
    grid = drawing.grid(drawn[:, 0])
    found = frames_of(place / output / f"generator.{suffix}")
    assert found == (4, sample.CLIP_MILLISECONDS, grid.shape[1::-1])


def test_a_film_shows_one_moment_of_each_clip_at_a_time(place, model):
    called("--mode=sample", *USE, "--output=moments", cwd=place)
    drawn = model.sample(3).numpy()
    with Image.open(place / "moments/descriptor.gif") as film:
        film.seek(2)
        found = np.asarray(film.convert("RGB")).astype(int)
    # Of 256 colours, chosen for each frame.
    assert np.abs(found - drawing.grid(drawn[:, 2])).mean() < 8


def test_clips_are_written_frame_by_frame_or_as_one_array(place, model):
    drawn = model.sample(3).numpy()
    called("--mode=sample", *USE, "--output=png", "--format=png", cwd=place)
    found = [
        [read_picture(place / f"png/images/{clip:06d}/{at:06d}.png") for at in range(4)]
        for clip in range(3)
    ]
    assert_near(np.array(found), drawn)
    called("--mode=sample", *USE, "--output=npy", "--format=npy", cwd=place)
    assert_near(np.load(place / "npy/images.npy"), drawn)


@pytest.mark.parametrize("mask", ["square:4", "random:0.5"])
def test_hidden_pixels_of_clips_are_recovered(place, mask):
    arguments = ["--mode=recover", *USE, f"--mask={mask}", "--infer_steps=1"]
    output = f"recovered-{mask[:4]}"
    printed = called(*arguments, f"--output={output}", cwd=place)
    assert "clip.gif: 3 training windows" in printed and "nearest pixel" in printed
    shown = read_picture(place / output / "recover.png")
    assert shown.shape == (9 * 194 + 2, 4 * 194 + 2, 3)  # three rows a clip


@pytest.mark.parametrize(
    ("arguments", "picture"),
    [
        (["interpolate"], "corners.png"),
        (["interpolate", "--animation=webp"], "corners.webp"),
        (["reconstruct", "--num_images=3", "--infer_steps=1"], "reconstruct.png"),
        (["export", "--export_format=keras"], "model.keras"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_mode_takes_clips(arguments, picture, place):
    mode, *options = arguments
    output = f"{mode}-{len(options)}"
    called(
        f"--mode={mode}", "--workdir=clip", *options, f"--output={output}", cwd=place
    )
    assert picture in names(place / output)


def test_a_clip_is_evaluated_by_its_frames(place, model):
    options = ["--workdir=clip", "--output=scores", "--export_samples=scored"]
    printed = called("--mode=evaluate", *options, cwd=place)
    report = json.loads((place / "scores/report.json").read_text())
    rows = ["generator", "descriptor", "shifted windows", "mean frame"]
    assert [*report["scores"]] == rows and all(row in printed for row in rows)
    assert names(place / "scores") >= {"nearest.png", "generator.png", "report.json"}
    scores = report["scores"]["descriptor"]
    assert f"{scores['psnr']['mean']:.2f} ± " in printed and scores["num_images"] == 8
    scored = read_picture(place / "scored/generator/000003/000001.png")
    assert_near(scored[None], model.sample(8, num_steps=0).numpy()[3:4, 1])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["sample", "--workdir=photo", "--animation=gif"], "--animation is for clips"),
        (["reconstruct", "--images=photo.png"], "clips of 4 frames. Leave it out."),
        (["recover", "--mask=square:9"], "--mask: the square of an image of 8x8"),
        (["train", "--network=toy"], "--network=toy is for still images"),
        (["train", "--num_frames=13"], "has 12 frames, fewer than --num_frames=13"),
        (["train", "--num_held_out=2"], "--num_held_out would hold nothing out"),
        (["train", "--evaluate_every=1"], "--evaluate_every needs images held out"),
        (
            ["train", "--algorithm=generator", "--training_mask=random:0.5"],
            "--training_mask would hide nothing",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused(arguments, text, place):
    mode, *options = arguments
    if mode == "train":
        options = [*TINY, *CLIP, *options]
    elif "--workdir=photo" not in options:
        options += ["--workdir=clip"]
    assert text in refused(f"--mode={mode}", *options, cwd=place)
