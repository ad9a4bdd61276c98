import gzip
import hashlib
import itertools
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from coopnets_tf.data import datasets
from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.data.images import from_uint8, to_uint8
from coopnets_tf.errors import ArgumentError, DatasetError
from tests.data.files import animate, flat, moving, save


def numbered(num_images):
    pixels = np.arange(num_images, dtype=np.uint8)[:, None, None, None]
    return ImageDataset("numbers", pixels)


def take(dataset, number, *, first_step=0):
    """The pixel values of some batches."""
    batches = dataset.batches(3, run_seed=0)(first_step)
    return [
        np.rint((batch["images"].ravel() + 1) * 127.5).astype(int).tolist()
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
        next(numbered(10).batches(9, run_seed=seed)(0))["numbers"].tolist()
        for seed in (0, 1)
    ]
    assert orders[0] != orders[1]


def test_a_batch_has_the_numbers_of_its_images():
    dataset = numbered(10).part(slice(3, None))
    for batch in itertools.islice(dataset.batches(3, run_seed=0)(0), 4):
        assert set(batch) == {"images", "numbers"}
        np.testing.assert_array_equal(batch["images"], dataset[batch["numbers"]])


def test_a_batch_has_the_labels_and_the_visible_pixels_of_its_images():
    digits = datasets.load("digits").incomplete(
        lambda places: places[:, None, None, None] % 5 > np.arange(8)[:, None]
    )
    batch = next(digits.batches(20, run_seed=0)(3))
    numbers = batch["numbers"]
    np.testing.assert_array_equal(batch["images"], digits[numbers])
    np.testing.assert_array_equal(batch["labels"], digits.labels[numbers])
    np.testing.assert_array_equal(batch["visible"], digits.visible(numbers))
    assert 0 < batch["visible"].mean() < 1


def test_hidden_pixels_are_grey_and_told_whatever_the_part():
    dataset = numbered(10).incomplete(
        lambda places: (places % 2 == 0)[:, None, None, None]
    )
    part = dataset.part(np.array([4, 3, 8]))
    visible = part.visible(slice(None))
    assert visible.ravel().tolist() == [1, 0, 1] and visible.dtype == np.float32
    np.testing.assert_array_equal(part[:], visible * numbered(10)[np.array([4, 3, 8])])
    assert numbered(10).visible(slice(None)) is None
    assert (numbered(10)[:] != 0).all()


def test_an_image_with_hidden_pixels_has_no_scale_of_its_own():
    stretched = datasets.load("digits", normalize="per_image")
    with pytest.raises(DatasetError, match="`normalize`=per_image.*`training_mask`"):
        stretched.incomplete(lambda places: np.ones((len(places), 8, 8, 1), bool))


def test_flipped_batches_are_a_function_of_the_step():
    """Some images are mirrored, with what is visible of them, and all else is as it is
    without."""
    digits = datasets.load("digits").incomplete(
        lambda places: (
            np.arange(8)[None, None, :, None] > places[:, None, None, None] % 5
        )
    )

    def batches(first_step, **options):
        upcoming = digits.batches(50, run_seed=3, **options)(first_step)
        return list(itertools.islice(upcoming, 40 - first_step))

    plain, flipped = batches(0), batches(0, flip=True)
    shares = []
    for before, after in zip(plain, flipped, strict=True):
        for name in ("numbers", "labels"):
            np.testing.assert_array_equal(before[name], after[name])
        mirrored = [
            np.array_equal(one[:, ::-1], other)
            for one, other in zip(before["visible"], after["visible"], strict=True)
        ]
        shares.append(np.mean(mirrored))
        for name in ("images", "visible"):
            expected = np.where(
                np.reshape(mirrored, (-1, 1, 1, 1)),
                before[name][:, :, ::-1],
                before[name],
            )
            np.testing.assert_array_equal(expected, after[name])
    # Of 2,000 with probability 1/2: 5 standard errors are 0.056.
    assert abs(np.mean(shares) - 0.5) < 0.06
    for one, other in zip(batches(37, flip=True), flipped[37:], strict=True):
        np.testing.assert_array_equal(one["images"], other["images"])


def test_fewer_images_than_a_batch_are_refused():
    with pytest.raises(DatasetError, match="2 images.*batch_size=3.*`batch_size`"):
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
    batch = datasets.load("digits", normalize="per_image")[np.arange(50)]
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
    with pytest.raises(DatasetError, match=f"{name} could not be read from `data_dir`"):
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
    with pytest.raises(DatasetError, match="`data_dir`.*URL fetch failure"):
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
        (__file__, "cannot be read as an image: it is no image"),
    ],
)
def test_what_is_no_data_set_is_refused(name, text):
    with pytest.raises(DatasetError) as refusal:
        datasets.load(name, image_size=8)
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


def test_a_fingerprint_is_that_of_a_moved_folder(tmp_path):
    """And in its old form that of version 0.2, which had the place in it."""
    save(tmp_path / "here" / "a b" / "1.png", flat((1, 1, 1)))
    save(tmp_path / "here" / "2.png", flat((2, 1, 1)))
    paths = sorted((tmp_path / "here").rglob("*.png"))
    text = "".join(f"{path} {path.stat().st_size}\n" for path in paths)
    old = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def photos(name):
        place = str(tmp_path / name)
        return datasets.load(place, image_size=8, cache_bytes=0)

    before = photos("here").fingerprint()
    (tmp_path / "here").rename(tmp_path / "there")
    moved = photos("there")
    assert moved.fingerprint() == before
    in_0_2 = moved.fingerprint(folder=str(tmp_path / "here"))
    assert in_0_2 == f"2 images, blake2b {old}" != before
    (tmp_path / "there" / "2.png").rename(tmp_path / "there" / "3.png")
    assert photos("there").fingerprint() != before


def test_a_place_tells_what_was_found(tmp_path):
    save(tmp_path / "1.png", flat((1, 1, 1)))
    (tmp_path / "notes.txt").touch()
    dataset = datasets.load(str(tmp_path), image_size=8)
    assert str(dataset.found).endswith("1 image; skipped: 1 file that is no image")
    assert len(dataset.found.skipped) == 1
    assert datasets.load("digits").found is None


def write_all(folder, *, labels=True):
    """Training and test images of every named data set, and their labels."""
    grey = PIXELS[:, :28, :28, 0]
    classes = {"y_train": 9 - LABELS, "y_test": LABELS} if labels else {}
    np.savez(folder / "mnist.npz", x_train=255 - grey, x_test=grey, **classes)
    for part, images, own in (
        ("train", 255 - grey, 9 - LABELS),
        ("t10k", grey, LABELS),
    ):
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as file:
            file.write(bytes(16) + images.tobytes())
        path = folder / f"{part}-labels-idx1-ubyte.gz"
        path.unlink(missing_ok=True)
        if labels:
            with gzip.open(path, "wb") as file:
                file.write(bytes(8) + own.tobytes())
    planes = PIXELS.transpose(0, 3, 1, 2).reshape(20, -1)
    training = np.concatenate([9 - LABELS[:, None], 255 - planes], axis=1)
    for number in range(5):
        part = training[4 * number : 4 * number + 4]
        (folder / f"data_batch_{number + 1}.bin").write_bytes(part.tobytes())
    test = np.concatenate([LABELS[:, None], planes], axis=1)
    (folder / "test_batch.bin").write_bytes(test.tobytes())


LABELS = np.arange(20, dtype=np.uint8) % 10


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_splits_of_a_named_data_set(tmp_path, monkeypatch, name):
    write_all(tmp_path)
    pixels = PIXELS if name == "cifar10" else PIXELS[:, :28, :28, :1]
    whole, expected = (255 - pixels) / 127.5 - 1, pixels / 127.5 - 1

    def check(splits, labels):
        parts = (
            (whole[6:], 9 - LABELS[6:]),
            (whole[:6], 9 - LABELS[:6]),
            (
                expected,
                LABELS,
            ),
        )
        kinds = (
            "training images",
            "validation images, held out of training",
            "test images",
        )
        for split, (images, classes), kind in zip(
            splits[:3], parts, kinds, strict=True
        ):
            np.testing.assert_allclose(split[:99], images, atol=1e-6)
            assert str(split) == f"{name}: {len(images)} {kind}"
            if labels:
                np.testing.assert_array_equal(split.labels, classes)
            else:
                assert split.labels is None

    check(datasets.load_splits(name, data_dir=tmp_path, num_held_out=6), True)
    keras_pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    loaded = (255 - keras_pixels, 9 - LABELS[:, None]), (keras_pixels, LABELS[:, None])
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", lambda: loaded)
    check(datasets.load_splits(name, num_held_out=6), True)
    stretched = datasets.load_splits(name, normalize="per_image").test[:20]
    np.testing.assert_array_equal(stretched.min(axis=(1, 2, 3)), -np.ones(20))
    np.testing.assert_array_equal(stretched.max(axis=(1, 2, 3)), np.ones(20))
    if name != "cifar10":  # which has its labels in the images' files
        write_all(tmp_path, labels=False)
        check(datasets.load_splits(name, data_dir=tmp_path, num_held_out=6), False)


def test_missing_test_images_are_named(tmp_path):
    write_mnist(tmp_path)
    with pytest.raises(DatasetError, match="mnist could not be read from `data_dir`"):
        datasets.load_splits("mnist", data_dir=tmp_path)


def test_halves_of_the_held_out_images_choose_and_test():
    whole = datasets.load("digits")
    splits = datasets.load_splits("digits", num_held_out=97)
    for part, first, number in (
        (splits.validation, 0, 48),
        (splits.test, 48, 49),
        (splits.training, 97, 1_700),
    ):
        assert part.num_images == number
        np.testing.assert_array_equal(part[:5], whole[np.arange(first, first + 5)])
        np.testing.assert_array_equal(part.labels, whole.labels[first:][:number])
    assert splits.test.kind == "test images, held out of training"
    assert not splits.test_was_trained_on and splits.num_held_out == 97


def test_where_nothing_is_held_out_training_images_take_the_place():
    splits = datasets.load_splits("digits")
    assert [part.num_images for part in splits[:3]] == [1_797, 898, 899]
    assert str(splits.test) == "digits: 899 training images"
    assert splits.test_was_trained_on and splits.num_held_out == 0


def test_neighbouring_digits_are_of_many_hands():
    """In scikit-learn's file, blocks of some 130 images are by one writer, in turns
    of the ten digits: the first ones are 0, 1, ..., 9.
    """
    labels = datasets.load("digits").labels
    assert labels[:10].tolist() != list(range(10))
    counts = [np.bincount(part, minlength=10) for part in (labels[:597], labels[597:])]
    # A random half has each digit's share but for chance: 4 s.d. of 60 are 31.
    assert abs(counts[0] - 59.7).max() < 31


def test_a_part_has_its_own_labels_and_place():
    whole = datasets.load("digits")
    part = whole.part(slice(100, 300)).part(slice(50, None), kind="others")
    assert (part.num_images, part.kind, whole.kind) == (
        150,
        "others",
        "training images",
    )
    np.testing.assert_array_equal(part.places, np.arange(150, 300))
    np.testing.assert_array_equal(part.labels, whole.labels[150:300])
    np.testing.assert_array_equal(part[:3], whole[np.arange(150, 153)])
    drawn = part.drawn(20, seed=0)
    assert drawn.num_images == len(set(drawn.places)) == 20
    assert set(drawn.places) <= set(part.places) and (np.diff(drawn.places) < 0).any()
    np.testing.assert_array_equal(drawn.labels, whole.labels[drawn.places])
    np.testing.assert_array_equal(drawn[:20], whole[drawn.places])
    np.testing.assert_array_equal(drawn.places, part.drawn(20, seed=0).places)
    assert part.drawn(seed=1).num_images == 150


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
def test_splits_of_a_folder(tmp_path, cache_bytes):
    for number in range(4):
        pixels = np.full((20, 30, 3), 25 * number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    options = {"image_size": 16, "color_mode": "grey", "cache_bytes": cache_bytes}
    for held_out, kind in (
        (3, "test images, held out of training"),
        (0, "training images"),
    ):
        splits = datasets.load_splits(str(tmp_path), num_held_out=held_out, **options)
        assert str(splits.test) == f"{tmp_path}: 2 {kind}"
        assert splits.test.labels is None
        batch = splits.test[:9]
        assert batch.shape == (2, 16, 16, 1)
        greys = np.rint((batch[:, 3, 5, 0] + 1) * 127.5)
        np.testing.assert_array_equal(greys, 25 * splits.test.places)
        parts = [splits.training.places, splits.validation.places, splits.test.places]
        if held_out:  # each image has one place
            assert sorted(np.concatenate(parts)) == [0, 1, 2, 3]
    with pytest.raises(DatasetError, match="/no/such/place"):
        datasets.load_splits("/no/such/place", **options)


def test_images_of_a_folder_are_held_out_at_random(tmp_path):
    """Sorted by name, the first ones may all be of one kind."""
    for number in range(40):
        pixels = np.full((16, 16, 3), 6 * number, np.uint8)
        (tmp_path / str(number // 20)).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / str(number // 20) / f"{number:02d}.png")
    splits = datasets.load_splits(str(tmp_path), image_size=16, num_held_out=20)
    held_out = np.concatenate([splits.validation.places, splits.test.places])
    # Of 20 out of 40 at random, 4 to 16 are of the first kind but for 1 in 10,000.
    assert 4 <= np.sum(held_out < 20) <= 16
    again = datasets.load(str(tmp_path), image_size=16, num_held_out=20)
    np.testing.assert_array_equal(again.places, splits.training.places)
    plain = datasets.load(str(tmp_path), image_size=16)
    np.testing.assert_array_equal(plain.places, np.arange(40))


def picture(folder, size=(10, 12)):
    """A photograph of noise, and its pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    return str(save(folder / "photo.png", pixels)), pixels


def test_the_images_of_a_picture_are_its_windows(tmp_path):
    """In its own size, whatever that of the windows is."""
    place, pixels = picture(tmp_path)
    dataset = datasets.load(place, image_size=(8, 9), num_frames=None)
    assert (dataset.num_images, dataset.image_shape) == (3 * 4, (8, 9, 3))
    np.testing.assert_array_equal(dataset.whole, pixels)
    for number in range(12):
        top, left = np.unravel_index(number, (3, 4))
        expected = pixels[top : top + 8, left : left + 9] / 127.5 - 1
        np.testing.assert_allclose(dataset[[number]][0], expected, atol=1e-6)
    assert str(dataset.found) == "photo.png: a picture of 10x12 rgb"
    splits = datasets.load_splits(place, image_size=8)
    assert splits.test_was_trained_on and splits.test.num_images == 15


def test_windows_are_trained_on_in_a_known_order(tmp_path):
    """Flipped, too, and like arrays of the same images."""
    place, _ = picture(tmp_path)
    dataset = datasets.load(place, image_size=8)
    same = ImageDataset("same", to_uint8(dataset[:]))
    pair = [one.batches(4, run_seed=3, flip=True)(2) for one in (dataset, same)]
    for found, expected in itertools.islice(zip(*pair, strict=True), 6):
        np.testing.assert_array_equal(found["images"], expected["images"])


def test_a_grey_picture_and_one_of_16_bits(tmp_path):
    place, _ = picture(tmp_path)
    grey = datasets.load(place, image_size=8, color_mode="grey")
    assert grey.image_shape == (8, 8, 1)
    deep = np.arange(100, dtype=np.uint16).reshape(10, 10) * 40
    place = str(save(tmp_path / "deep.png", deep))
    dataset = datasets.load(place, image_size=8, color_mode="grey")
    assert dataset.found.grey_range == "0:4095"
    assert dataset.whole.max() == 99 * 40 * 255 // 4095
    other = datasets.load(place, image_size=8, grey_range="0:3960")
    assert other.whole.max() == 255


@pytest.mark.parametrize("name", ["brick", "grass", "gravel"])
def test_the_textures_of_scikit_image(name):
    pytest.importorskip("skimage")
    dataset = datasets.load(name, image_size=224)
    assert (dataset.num_images, dataset.image_shape) == (289**2, (224, 224, 1))
    assert dataset.found is None and len(np.unique(dataset.whole)) > 50


def test_textures_need_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(DatasetError, match="pip install scikit-image"):
        datasets.load("brick", image_size=8)


def test_the_images_of_a_clip_are_its_windows_in_time(tmp_path):
    place = str(animate(tmp_path / "clip.apng", moving(6)))
    dataset = datasets.load(place, image_size=8, num_frames=4)
    assert (dataset.num_images, dataset.image_shape) == (3, (4, 8, 8, 3))
    np.testing.assert_array_equal(dataset.whole, moving(6))
    expected = from_uint8(np.stack([moving(6)[at : at + 4] for at in range(3)]))
    np.testing.assert_array_equal(dataset[:], expected)
    batch = next(dataset.batches(2, run_seed=0, flip=True)(0))
    assert batch["images"].shape == (2, 4, 8, 8, 3)


def test_clips_are_mirrored_left_to_right(tmp_path):
    frames = np.zeros((5, 8, 8, 3), np.uint8)
    frames[..., 0, :] = 10 * np.arange(5)[:, None, None] + 50
    place = str(animate(tmp_path / "clip.apng", frames))
    dataset = datasets.load(place, image_size=8, num_frames=2)
    batches = dataset.batches(2, run_seed=0, flip=True)(0)
    edges = np.concatenate(
        [batch["images"][..., [0, -1], 0] for batch in itertools.islice(batches, 6)]
    )
    is_left, is_right = ((edges[..., side] > -1).all(axis=(1, 2)) for side in (0, 1))
    assert (is_left ^ is_right).all() and is_left.any() and is_right.any()


def test_windows_are_looked_at_from_all_over(tmp_path):
    place, _ = picture(tmp_path)
    dataset = datasets.load(place, image_size=8)
    np.testing.assert_array_equal(dataset.shown(3), dataset[[0, 7, 14]])
    assert len(dataset.shown(99)) == 15
    np.testing.assert_array_equal(numbered(9).shown(3), numbered(9)[:3])


def test_the_fingerprint_of_a_picture_is_of_all_its_pixels(tmp_path):
    place, pixels = picture(tmp_path)
    before = datasets.load(place, image_size=8).fingerprint()
    save(tmp_path / "elsewhere/other.png", pixels)
    moved = datasets.load(str(tmp_path / "elsewhere/other.png"), image_size=8)
    assert moved.fingerprint() == before
    pixels[-1, -1] ^= 1
    save(tmp_path / "photo.png", pixels)
    assert datasets.load(place, image_size=8).fingerprint() != before


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"image_size": 11}, "has 10x12 pixels, and `image_size`=11x11 is cut out"),
        ({"image_size": 8, "num_held_out": 2}, "`num_held_out` would hold nothing out"),
        ({"image_size": 8, "normalize": "per_image"}, "`normalize`=per_image would"),
        ({"image_size": 8, "num_frames": 2}, "has 1 frame, fewer than `num_frames`=2"),
    ],
)
def test_what_a_picture_cannot_be_is_refused(options, text, tmp_path):
    place, _ = picture(tmp_path)
    with pytest.raises(DatasetError, match=text):
        datasets.load(place, **options)


def test_what_a_clip_cannot_be_is_refused(tmp_path):
    place = str(animate(tmp_path / "clip.apng", moving(6)))
    with pytest.raises(DatasetError, match="is a clip. Give `num_frames`"):
        datasets.load(place, image_size=8)
    options = {"image_size": 8, "num_frames": 4}
    with pytest.raises(DatasetError, match="`num_held_out` would hold nothing out"):
        datasets.load(place, num_held_out=1, **options)
    with pytest.raises(DatasetError, match="`training_mask` would hide nothing"):
        datasets.load(place, **options).incomplete(lambda places: places)


def test_a_picture_of_one_colour_and_a_clip_without_motion_are_refused(tmp_path):
    photo = save(tmp_path / "photo.png", flat((1, 2, 3), (9, 9)))
    np.save(tmp_path / "clip.npy", moving(6, step=0))
    for place, num_frames in ((photo, None), (tmp_path / "clip.npy", 2)):
        with pytest.raises(DatasetError, match="All windows of .* are the same"):
            datasets.load(str(place), image_size=8, num_frames=num_frames)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heldout": 5}, "num_heldout. Did you mean num_held_out?"),
        ({"colour_mode": "grey"}, "colour_mode. Did you mean color_mode?"),
        ({"normalize": "per-image"}, "must be fixed or per_image. Received: per-im"),
        ({"color_mode": "gray"}, "`color_mode` must be rgb or grey. Received: gray"),
        ({"resize": "strech"}, "`resize` must be crop or stretch. Received: strech"),
    ],
)
def test_an_option_that_no_data_set_has_is_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        datasets.load("digits", **options)


def test_a_place_needs_the_size_of_its_images(tmp_path):
    with pytest.raises(ArgumentError, match="`image_size`"):
        datasets.load(str(tmp_path))
