"""Gram matrices and nearest windows against NumPy; what they tell apart."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.data.windows import Windows
from coopnets_tf.errors import DatasetError
from coopnets_tf.evaluation import own_extractor, textures
from tests.helpers import TINY, called, make_model, names, noise, refused


def test_gram_matrices_equal_numpy():
    maps = noise(2, 3, 4, 5)
    expected = np.einsum("bhwi,bhwj->bij", maps, maps, dtype=np.float64) / 12
    found = textures.gram_matrices(tf.constant(maps))
    np.testing.assert_allclose(found, expected.reshape(2, 25), rtol=1e-5, atol=1e-6)


def test_the_distance_of_matrices_is_relative_and_a_mean_over_layers():
    """5 / 10 and 24 / 12 of numbers on paper."""
    found = [np.array([[9.0, 12.0]]), np.array([[0.0, 24.0]])]
    picture = [np.array([6.0, 8.0]), np.array([0.0, -12.0])]
    np.testing.assert_allclose(
        textures.gram_distance(found, picture), [(5 / 10 + 36 / 12) / 2]
    )


def test_random_filters_do_not_see_a_flat_image_nor_where_a_texture_begins():
    maps, _ = textures.random_filters((24, 24, 1))
    grams = functools.partial(textures.gram_matrices_of, maps)
    flat = grams(np.full((1, 24, 24, 1), 0.7, np.float32))
    np.testing.assert_allclose(np.concatenate(flat, axis=1), 0, atol=1e-9)
    columns = np.sin(np.arange(65) * 2 * np.pi / 5).astype(np.float32)
    stripes = np.broadcast_to(columns, (40, 65))[..., None]
    windows = np.stack([stripes[:, start : start + 64] for start in (0, 1)])
    upright, moved = ([one[number] for one in grams(windows)] for number in (0, 1))
    level = grams(
        np.broadcast_to(columns[:64], (1, 40, 64)).transpose(0, 2, 1)[..., None]
    )
    apart = textures.gram_distance(level, upright)[0]
    near = textures.gram_distance([one[None] for one in moved], upright)[0]
    assert near < 0.1 < 0.5 < apart


def test_shuffled_pixels_are_the_images_own():
    images = noise(3, 6, 5, 2)
    found = textures.shuffled(images, seed=0)
    assert found.shape == images.shape and np.any(found != images)
    for one, other in zip(images, found, strict=True):
        one, other = one.reshape(-1, 2).tolist(), other.reshape(-1, 2).tolist()
        assert sorted(one) == sorted(other)


def test_the_nearest_window_equals_a_search_of_all():
    picture, image = noise(9, 11, 2), noise(1, 4, 5, 2)[0]
    windows = np.lib.stride_tricks.sliding_window_view(picture, (4, 5), axis=(0, 1))
    windows = windows.transpose(0, 1, 3, 4, 2).astype(np.float64)
    distances = np.sqrt(np.square(windows - image).mean(axis=(2, 3, 4)))
    distance, place = textures.nearest_window(image, picture)
    assert place == np.unravel_index(distances.argmin(), distances.shape)
    assert distance == pytest.approx(distances.min(), rel=1e-12)


def test_a_copy_has_distance_zero_and_what_it_overlaps_can_be_left_out():
    picture = noise(14, 11, 1)
    image = picture[2:6, 3:8]
    assert textures.nearest_window(image, picture) == (0, (2, 3))
    distance, (row, column) = textures.nearest_window(image, picture, apart_from=(2, 3))
    assert distance > 0.5 and (abs(row - 2) >= 4 or abs(column - 3) >= 5)
    alone, _ = textures.nearest_window(picture, picture, apart_from=(0, 0))
    assert alone == np.inf


def stripes(path):
    """A picture of upright stripes, a little uneven, 40x48 pixels."""
    columns = 128 + 100 * np.sin(np.arange(48) * 2 * np.pi / 6)
    pixels = np.broadcast_to(columns, (40, 48)) + 10 * noise(40, 48)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


WEAVE = [*TINY, "--network=weave", "--image_size=32", "--color_mode=grey"]


@pytest.fixture(scope="module")
def texture_run(tmp_path_factory):
    """A folder with a tiny run on one picture, and the picture."""
    place = tmp_path_factory.mktemp("texture")
    stripes(place / "stripes.png")
    called("--dataset=stripes.png", "--workdir=run", *WEAVE, cwd=place)
    return place


def test_an_evaluation_of_one_picture(texture_run):
    output = called(
        "--mode=evaluate", "--workdir=run", "--output=scores", cwd=texture_run
    )
    report = json.loads((texture_run / "scores/report.json").read_text())
    scores = report["scores"]
    windows, shuffled = scores[textures.WINDOWS], scores[textures.SHUFFLED]
    assert windows["gram"]["mean"] < 0.2 < 0.5 < shuffled["gram"]["mean"]
    assert {"generator", "descriptor"} <= set(scores)
    for net in ("generator", "descriptor"):  # hardly trained
        assert scores[net]["gram"]["mean"] > windows["gram"]["mean"]
        assert scores[net]["nearest"]["mean"] > 0
    assert f"{windows['gram']['mean']:.3f}" in output
    assert {"nearest.png", "generator.png", "descriptor.png"} <= names(
        texture_run / "scores"
    )


def test_an_evaluation_of_one_picture_by_the_users_network(texture_run):
    images = keras.Input((None, None, 1))
    maps = keras.layers.Conv2D(4, 3, name="maps")(images)
    network = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))
    network.save(texture_run / "mine.keras")
    evaluate = ["--mode=evaluate", "--workdir=run", "--extractor=mine.keras"]
    error = refused(*evaluate, cwd=texture_run)
    assert "must answer in maps" in error and "--extractor_layer" in error
    error = refused(*evaluate[:2], "--extractor=inception", cwd=texture_run)
    assert "Give a .keras file with maps" in error
    assert not list((texture_run / "run").glob("evaluate*"))
    called(*evaluate, "--extractor_layer=maps", "--output=own", cwd=texture_run)
    report = json.loads((texture_run / "own/report.json").read_text())
    assert report["protocol"]["extractor"]["file"] == "mine.keras"
    assert report["scores"][textures.WINDOWS]["gram"]["mean"] > 0
    file, found = texture_run / "mine.keras", noise(3, 32, 32, 1)
    answers, _ = own_extractor.maps_of_file(file, (32, 32, 1), layer="maps")
    assert [one.shape for one in answers(found[:1])] == [(1, 30, 30, 4)]
    (grams,) = textures.gram_matrices_of(answers, found)
    maps = network.get_layer("maps")(found)
    expected = np.einsum("bhwi,bhwj->bij", maps, maps) / 900
    np.testing.assert_allclose(grams, expected.reshape(3, 16), rtol=1e-4, atol=1e-5)


def test_a_picture_of_one_window_has_no_others():
    training = ImageDataset("own", Windows(np.zeros((16, 16, 1), np.uint8), (16, 16)))
    maps, facts = textures.maps_for(training.image_shape)
    model = make_model(network="weave").of_size(image_size=(16, 16))
    found = textures.evaluate(
        model, training, num_samples=2, seed=0, maps=maps, extractor=facts
    )
    assert textures.WINDOWS not in found.report["scores"]
    assert "generator" in textures.text(found.report)


def test_pictures_smaller_than_a_filter_are_refused():
    with pytest.raises(DatasetError, match="15 pixels or more .*images of 8x16."):
        textures.random_filters((8, 16, 1))
