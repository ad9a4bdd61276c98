"""The form of batches, and what is refused in them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from coopnets_tf.errors import DatasetError
from coopnets_tf.models.batches import as_batch, check_batch
from tests.helpers import make_descriptor_model, noise

SHAPE = (4, 4, 1)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda images: images,
        lambda images: {"images": images},
        lambda images: ({"images": images}, None),
        lambda images: (images, np.arange(3)),
    ],
)
def test_batches_are_dicts_of_images_of_the_nets_shape(wrap):
    images = noise(3, *SHAPE).astype(np.float64)
    batch = as_batch(wrap(images), SHAPE)
    assert list(batch) == ["images"] and batch["images"].dtype == tf.float32
    np.testing.assert_array_equal(batch["images"], images)
    for shape in [(3, 4, 4), (3, 4, 4, 3), (3, 8, 8, 1), (3, 4, 4, 1, 1), (3,)]:
        text = rf"shape \[4, 4, 1\]. Received: \[{', '.join(map(str, shape[1:]))}\]."
        with pytest.raises(DatasetError, match=text):
            as_batch(wrap(np.zeros(shape, np.float32)), SHAPE)


def test_what_else_a_batch_holds_stays():
    batch = {"images": np.zeros((3, *SHAPE)), "numbers": np.arange(3)}
    found = as_batch(batch, SHAPE)
    assert list(found) == list(batch) and found["numbers"] is batch["numbers"]


def test_incomplete_images_are_for_one_algorithm():
    batch = {"images": tf.zeros([2, 3]), "visible": tf.ones([2, 3])}
    assert list(as_batch(batch, (3,), incomplete=True)) == ["images", "visible"]
    with pytest.raises(DatasetError, match="Only Algorithm G.*`visible`"):
        as_batch(batch, (3,))


GREY = np.resize(np.arange(256), (8, 8, 8, 1)).astype(np.float32)
REFUSED = r"in \[-1, 1\]. Received: {}, from 0 to 255. Give pixels / 127.5 - 1.$"


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float16"])
def test_pixels_from_0_to_255_are_no_images(dtype):
    pixels = GREY.astype(dtype)
    for batch in (pixels, tf.constant(pixels), ({"images": pixels}, None)):
        with pytest.raises(DatasetError, match=REFUSED.format(dtype)):
            check_batch(batch)
    if "int" in dtype:
        with pytest.raises(DatasetError, match=f"Received: {dtype}. Give"):
            as_batch(pixels, (8, 8, 1))


def test_images_may_touch_their_range_but_not_leave_it_nor_hold_nan():
    images = noise(2, *SHAPE)
    images[0, 0, 0], images[0, 0, 1] = 1.0001, -1.0001  # by rounding
    check_batch(images)
    for value, found in ((1.01, "to 1.01"), (np.nan, "NaN"), (np.inf, "NaN")):
        images[1, 2, 2] = value
        with pytest.raises(DatasetError, match=found):
            check_batch(images)
    visible = np.ones_like(images)
    visible[1, 2, 2] = 0
    check_batch({"images": images, "visible": visible})


class Sequence(keras.utils.PyDataset):
    def __init__(self, images):
        super().__init__()
        self.images = images

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.images[4 * index :][:4]


WAYS_IN = {
    "array": lambda images: images,
    "tensor": tf.constant,
    "dict": lambda images: {"images": images},
    "dataset": lambda images: tf.data.Dataset.from_tensor_slices(images).batch(4),
    "sequence": Sequence,
    "generator": lambda images: ((images[first:][:4],) for first in (0, 4)),
    "iterator": lambda images: iter([(images[:4],), (images[4:],)]),
}


@pytest.mark.parametrize("way", WAYS_IN)
def test_fit_looks_at_the_first_batch_and_loses_none(way):
    model, wrap = make_descriptor_model(num_steps=1), WAYS_IN[way]
    with pytest.raises(DatasetError, match="from 0 to 255"):
        model.fit(wrap(GREY))
    assert int(model.step) == 0
    options = {"batch_size": 4} if way in ("array", "tensor", "dict") else {}
    options |= {"steps_per_epoch": 2} if "ator" in way else {}
    model.fit(wrap(noise(8, 8, 8, 1)), verbose=0, shuffle=False, **options)
    assert int(model.step) == 2


def test_train_on_batch_looks_at_it():
    model = make_descriptor_model(num_steps=1)
    with pytest.raises(DatasetError, match="from 0 to 255"):
        model.train_on_batch(GREY)
    model.train_on_batch(noise(8, 8, 8, 1))
    assert int(model.step) == 1
