import gzip
import itertools

import keras
import numpy as np
import pytest
from PIL import Image

from coopnets_tf import datasets
from coopnets_tf.datasets import DatasetError, ImageDataset


def numbered(num_images):
    pixels = np.arange(num_images, dtype=np.uint8)[:, None, None, None]
    return ImageDataset("numbers", pixels)


def take(dataset, number, **options):
    """The pixel values of some batches."""
    batches = dataset.batches(3, run_seed=0, **options)
    return [
        np.rint((batch.ravel() + 1) * 127.5).astype(int).tolist()
        for batch in itertools.islice(batches, number)
    ]


def test_an_epoch_visits_each_image_once_and_drops_the_short_batch():
    batches = take(numbered(10), 6)
    for epoch in (batches[:3], batches[3:]):
        seen = list(itertools.chain(*epoch))
        assert len(set(seen)) == 9
    assert batches[:3] != batches[3:]


def test_any_position_is_reached_directly():
    whole = take(numbered(10), 12)
    for first_step in (1, 3, 8):
        assert take(numbered(10), 4, first_step=first_step) == whole[first_step:][:4]


def test_another_seed_gives_another_order():
    orders = [
        next(numbered(10).batches(9, run_seed=seed)).ravel().tolist() for seed in (0, 1)
    ]
    assert orders[0] != orders[1]


def test_fewer_images_than_a_batch_are_refused():
    with pytest.raises(DatasetError, match="2 images.*batch_size=3.*--batch_size"):
        numbered(2).steps_per_epoch(3)


def assert_in_range(dataset, shape):
    batch = dataset[np.arange(10)]
    assert batch.shape == (10, *shape) and batch.dtype == np.float32
    assert batch.min() >= -1 and batch.max() <= 1
    assert batch.max() - batch.min() > 1.5


def test_digits():
    dataset = datasets.load("digits")
    assert dataset.num_images == 1_797
    assert_in_range(dataset, (8, 8, 1))


def test_held_out_images_are_the_first():
    whole, rest = datasets.load("digits"), datasets.load("digits", num_held_out=97)
    assert rest.num_images == 1_700
    np.testing.assert_array_equal(rest[np.arange(5)], whole[np.arange(97, 102)])
    with pytest.raises(DatasetError, match="num_held_out=1797"):
        datasets.load("digits", num_held_out=1_797)


def test_per_image_normalisation():
    batch = datasets.load("digits", per_image=True)[np.arange(50)]
    np.testing.assert_array_equal(batch.min(axis=(1, 2, 3)), -np.ones(50))
    np.testing.assert_array_equal(batch.max(axis=(1, 2, 3)), np.ones(50))


PIXELS = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)


def write_mnist(folder):
    np.savez(folder / "mnist.npz", x_train=PIXELS[:, :28, :28, 0])
    return PIXELS[:, :28, :28, :1]


def write_fashion_mnist(folder):
    with gzip.open(folder / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(bytes(16) + PIXELS[:, :28, :28, 0].tobytes())
    return PIXELS[:, :28, :28, :1]


def write_cifar10(folder):
    planes = PIXELS.transpose(0, 3, 1, 2).reshape(20, -1)
    records = np.concatenate([np.zeros((20, 1), np.uint8), planes], axis=1)
    for number in range(5):
        part = records[4 * number : 4 * number + 4]
        (folder / f"data_batch_{number + 1}.bin").write_bytes(part.tobytes())
    return PIXELS


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("mnist", write_mnist),
        ("fashion_mnist", write_fashion_mnist),
        ("cifar10", write_cifar10),
    ],
)
def test_named_data_sets(tmp_path, monkeypatch, name, write):
    with pytest.raises(DatasetError, match=f"{name} could not be read from --data_dir"):
        datasets.load(name, data_dir=tmp_path)
    pixels = write(tmp_path)
    local = datasets.load(name, data_dir=tmp_path)
    assert_in_range(local, pixels.shape[1:])
    expected = pixels / 127.5 - 1
    np.testing.assert_allclose(local[np.arange(20)], expected, atol=1e-6)

    # Keras hands out grey images without a channel axis.
    keras_pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    module = getattr(keras.datasets, name)
    monkeypatch.setattr(module, "load_data", lambda: ((keras_pixels, 0), (0, 0)))
    fetched = datasets.load(name)
    np.testing.assert_allclose(fetched[np.arange(20)], expected, atol=1e-6)

    def offline():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(module, "load_data", offline)
    with pytest.raises(DatasetError, match="--data_dir.*URL fetch failure"):
        datasets.load(name)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "mnist.npz").write_bytes(b"PK damaged")
    with pytest.raises(DatasetError, match=r"mnist\.npz"):
        datasets.load("mnist", data_dir=tmp_path)


def test_a_folder(tmp_path):
    for number in range(10):
        pixels = np.full((20, 30, 3), 25 * number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    dataset = datasets.load(str(tmp_path), image_size=16)
    assert_in_range(dataset, (16, 16, 3))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("diggits", "diggits, which does not exist. Did you mean digits?"),
        ("/no/such/place", "/no/such/place, which does not exist"),
        (__file__, "which is a file"),
    ],
)
def test_what_is_no_data_set_is_refused(name, text):
    with pytest.raises(DatasetError) as refusal:
        datasets.load(name)
    assert text in str(refusal.value)


def test_a_fingerprint_changes_with_the_images(tmp_path):
    for number in range(3):
        pixels = np.full((16, 16, 3), number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")

    def fingerprints():
        options = ({}, {"cache_bytes": 0})
        return [
            datasets.load(str(tmp_path), image_size=16, **option).fingerprint()
            for option in options
        ]

    first = fingerprints()
    assert fingerprints() == first
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes() + b" ")
    for one, other in zip(first, fingerprints(), strict=True):
        assert one.startswith("3 images") and one != other


def write_test_files(folder):
    """Test images of every named data set, and of one the training images too."""
    grey = PIXELS[:, :28, :28, 0]
    np.savez(folder / "mnist.npz", x_train=255 - grey, x_test=grey)
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz", "wb") as file:
        file.write(bytes(16) + grey.tobytes())
    planes = PIXELS.transpose(0, 3, 1, 2).reshape(20, -1)
    records = np.concatenate([np.zeros((20, 1), np.uint8), planes], axis=1)
    (folder / "test_batch.bin").write_bytes(records.tobytes())


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_named_data_sets_are_tried_on_their_test_images(tmp_path, monkeypatch, name):
    with pytest.raises(DatasetError, match=f"{name} could not be read from --data_dir"):
        datasets.load_test(name, 5, data_dir=tmp_path)
    write_test_files(tmp_path)
    pixels = PIXELS if name == "cifar10" else PIXELS[:, :28, :28, :1]
    expected = pixels / 127.5 - 1
    for number in (5, 20, 1_000):
        batch, what = datasets.load_test(name, number, data_dir=tmp_path)
        assert batch.dtype == np.float32 and what == f"{name}: {len(batch)} test images"
        np.testing.assert_allclose(batch, expected[:number], atol=1e-6)

    keras_pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    splits = (255 - keras_pixels, 0), (keras_pixels, 0)
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", lambda: splits)
    fetched, _ = datasets.load_test(name, 20)
    np.testing.assert_allclose(fetched, expected, atol=1e-6)
    stretched, _ = datasets.load_test(name, 20, per_image=True)
    np.testing.assert_array_equal(stretched.min(axis=(1, 2, 3)), -np.ones(20))
    np.testing.assert_array_equal(stretched.max(axis=(1, 2, 3)), np.ones(20))


def test_where_nothing_is_held_out_training_images_are_tried():
    batch, what = datasets.load_test("digits", 5)
    assert what == "digits: 5 training images"
    np.testing.assert_array_equal(batch, datasets.load("digits")[np.arange(5)])
    assert len(datasets.load_test("digits", 5_000)[0]) == 1_797


def test_held_out_images_are_tried_and_no_image_of_the_training():
    whole = datasets.load("digits")
    for number, expected in ((5, 5), (97, 97), (200, 97)):
        batch, what = datasets.load_test("digits", number, num_held_out=97)
        assert what == f"digits: {expected} images held out of training"
        np.testing.assert_array_equal(batch, whole[np.arange(expected)])


def test_images_to_try_are_normalised_as_in_training():
    batch, _ = datasets.load_test("digits", 50, per_image=True)
    expected = datasets.load("digits", per_image=True)[np.arange(50)]
    np.testing.assert_array_equal(batch, expected)


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
def test_images_of_a_folder_to_try(tmp_path, cache_bytes):
    for number in range(4):
        pixels = np.full((20, 30, 3), 25 * number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    options = {"image_size": 16, "color_mode": "grey", "cache_bytes": cache_bytes}
    for held_out, kind in ((3, "images held out of training"), (0, "training images")):
        batch, what = datasets.load_test(
            str(tmp_path), 2, num_held_out=held_out, **options
        )
        assert what == f"{tmp_path}: 2 {kind}"
        expected = np.array([0, 25]) / 127.5 - 1
        assert batch.shape == (2, 16, 16, 1)
        np.testing.assert_allclose(batch[:, 3, 5, 0], expected, atol=1e-6)
    with pytest.raises(DatasetError, match="/no/such/place"):
        datasets.load_test("/no/such/place", 2, **options)
