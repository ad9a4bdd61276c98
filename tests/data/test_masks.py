import re

import numpy as np
import pytest
from PIL import Image

from coopnets_tf.data import masks
from coopnets_tf.errors import MaskError
from tests.helpers import noise

SIDES = "`: the square of an image of 8x9 pixels may have a side of 1 to 8. Received"
SHARES = "`: the share of hidden pixels must be between 0 and 1. Received"
KINDS = [("square", 3), ("random", 0.4), ("salt_pepper", 0.4)]


def write_mask(path, dark):
    Image.fromarray(np.where(dark, 0, 255).astype(np.uint8)).save(path)
    return path


def half(*shape):
    dark = np.zeros(shape, bool)
    dark[:2] = True
    return dark


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("square:3", ("square", 3)),
        ("square:8", ("square", 8)),  # a column stays visible
        ("random:0.25", ("random", 0.25)),
        ("salt_pepper:1e-2", ("salt_pepper", 0.01)),
        (None, ("square", 4)),
    ],
)
def test_parse_mask(text, expected):
    kind, amount = masks.parse_mask(text, (8, 9, 3))
    assert (kind, amount) == expected and type(amount) is type(expected[1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("square:0", SIDES),
        ("square:-2", SIDES),
        ("square:9", SIDES),
        ("square:99", SIDES),
        ("square", SIDES),
        ("square:", SIDES),
        ("square:2.5", SIDES),
        ("random:0", SHARES),
        ("random:1", SHARES),
        ("random:1.7", SHARES),
        ("random:nan", SHARES),
        ("random:abc", SHARES),
        ("salt_pepper:-0.1", SHARES),
        ("circle:3", "` must be square:<pixels>, random:<share>"),
    ],
)
def test_what_is_no_mask_is_refused(text, reason):
    images = noise(2, 8, 9, 3)
    for refused in (
        lambda: masks.parse_mask(text, images.shape[1:]),
        lambda: masks.hide(images, text, seed=0),
    ):
        with pytest.raises(MaskError) as refusal:
            refused()
        message = str(refusal.value)
        assert message.startswith(f"`mask{reason}")
        assert message.endswith(f"Received: {text}.")


def test_a_square_never_hides_all_of_a_square_image():
    with pytest.raises(MaskError, match="of 8x8 pixels may have a side of 1 to 7. Rec"):
        masks.parse_mask("square:8", (8, 8, 1))
    assert masks.parse_mask("square:7", (8, 8, 1)) == ("square", 7)


def test_a_mask_file_that_is_missing_is_not_taken_for_a_kind():
    with pytest.raises(MaskError, match="mask.png, which does not exist.$"):
        masks.hide(noise(2, 8, 9, 3), "no/such/mask.png", seed=0)


def test_a_mask_file_hides_what_is_darker_than_the_middle(tmp_path):
    grey = np.full((6, 8), 128, np.uint8)
    grey[1, 2:5], grey[4, 7] = 127, 0
    Image.fromarray(grey).save(tmp_path / "mask.png")
    visible = masks.read_mask(tmp_path / "mask.png", (6, 8, 3))
    assert visible.shape == (6, 8, 3) and visible.dtype == np.float32
    expected = np.ones((6, 8, 3))
    expected[1, 2:5] = expected[4, 7] = 0
    np.testing.assert_array_equal(visible, expected)


def test_a_mask_file_serves_all_images_and_is_found_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_mask(tmp_path / "mask.png", half(6, 8))
    images = noise(4, 6, 8, 3)
    visible, occluded = masks.hide(images, "~/mask.png", seed=0)
    expected = np.broadcast_to(~half(6, 8)[..., None], images.shape)
    np.testing.assert_array_equal(visible, expected)
    np.testing.assert_array_equal(occluded, np.where(expected, images, 0))


@pytest.mark.parametrize(
    ("dark", "reason"),
    [
        (half(8, 6), "must have the images' size, 6x8. Received: 8x6"),
        (np.ones((6, 8), bool), "hides nothing or everything"),
        (np.zeros((6, 8), bool), "hides nothing or everything"),
        (None, "cannot be read"),
    ],
)
def test_a_mask_file_that_cannot_be_used_is_named(tmp_path, dark, reason):
    path = tmp_path / "mask.png"
    if dark is None:
        path.write_text("no image")
    else:
        write_mask(path, dark)
    for refused in (
        lambda: masks.read_mask(path, (6, 8, 3)),
        lambda: masks.hide(noise(2, 6, 8, 3), str(path), seed=0),
    ):
        with pytest.raises(MaskError, match=re.escape(f"`mask`={path}")) as refusal:
            refused()
        assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("height", "width", "side"), [(8, 8, 4), (8, 8, 3), (7, 7, 6), (9, 14, 5)]
)
def test_a_square_is_in_the_middle(height, width, side):
    visible = masks.visible_pixels(
        "square", side, number=3, image_shape=(height, width, 3), seed=0
    )
    assert visible.shape == (3, height, width, 3) and visible.dtype == np.float32
    for mask in visible.transpose(0, 3, 1, 2).reshape(-1, height, width):
        assert (mask == 0).sum() == side**2 and (mask == 1).sum() == mask.size - side**2
        for positions, length in zip(
            np.nonzero(mask == 0), (height, width), strict=True
        ):
            before, after = positions.min(), length - 1 - positions.max()
            assert before + side + after == length and abs(before - after) <= 1


@pytest.mark.parametrize("kind", ["random", "salt_pepper"])
def test_random_masks(kind):
    def draw(seed):
        shape = (40, 50, 3)
        return masks.visible_pixels(kind, 0.3, number=20, image_shape=shape, seed=seed)

    visible = draw(0)
    assert visible.shape == (20, 40, 50, 3) and visible.dtype == np.float32
    assert set(np.unique(visible)) == {0, 1}
    for color in (1, 2):
        np.testing.assert_array_equal(visible[..., color], visible[..., 0])
    hidden = visible[..., 0] == 0
    # 5 standard errors of a share of independent pixels, sqrt(p (1 - p) / number).
    for pixels in (hidden, hidden[3], hidden[:, :20]):
        deviation = 5 * np.sqrt(0.3 * 0.7 / pixels.size)
        np.testing.assert_allclose(pixels.mean(), 0.3, atol=deviation)
    # Two masks that have nothing to do with each other agree in 0.3^2 + 0.7^2.
    agree = hidden[0] == hidden[1]
    deviation = 5 * np.sqrt(0.58 * 0.42 / agree.size)
    np.testing.assert_allclose(agree.mean(), 0.58, atol=deviation)
    np.testing.assert_array_equal(draw(0), visible)
    assert not np.array_equal(draw(1), visible)


@pytest.mark.parametrize(("kind", "amount"), KINDS)
def test_hide_keeps_visible_pixels_bit_for_bit_and_its_input(kind, amount):
    images = noise(50, 8, 8, 3)
    images[:, 0] = -0.0  # equal to, but not the same bits as, the grey of the hidden
    before = images.copy()
    visible, occluded = masks.hide(images, f"{kind}:{amount}", seed=3)
    assert images.tobytes() == before.tobytes()
    assert occluded.shape == images.shape and occluded.dtype == np.float32
    np.testing.assert_array_equal(
        visible,
        masks.visible_pixels(kind, amount, number=50, image_shape=(8, 8, 3), seed=3),
    )
    seen = visible > 0
    assert 0 < seen.mean() < 1
    assert occluded[seen].tobytes() == images[seen].tobytes()
    again = masks.hide(images, f"{kind}:{amount}", seed=3)
    np.testing.assert_array_equal(again[1], occluded)
    if kind != "salt_pepper":
        np.testing.assert_array_equal(occluded[~seen], 0)
        return
    np.testing.assert_array_equal(np.abs(occluded[~seen]), 1)
    points = occluded[~seen].reshape(-1, 3)  # a pixel is hidden in all colours
    np.testing.assert_array_equal(points.min(axis=1), points.max(axis=1))
    white = (points[:, 0] == 1).mean()
    np.testing.assert_allclose(white, 0.5, atol=5 * np.sqrt(0.25 / len(points)))


@pytest.mark.parametrize("kind", ["square", "random", "salt_pepper", "file"])
def test_occlude_does_not_write_into_its_inputs(kind):
    images = noise(5, 8, 8, 1)
    visible = (noise(5, 8, 8, 1, seed=1) > 0).astype(np.float32)
    copies = images.copy(), visible.copy()
    images.flags.writeable = visible.flags.writeable = False
    occluded = masks.occlude(images, visible, kind=kind, seed=0)
    assert images.tobytes() == copies[0].tobytes()
    assert visible.tobytes() == copies[1].tobytes()
    assert not np.shares_memory(occluded, images)


@pytest.mark.parametrize(("width", "left"), [(8, 2), (12, 4)])
def test_without_a_mask_a_square_of_half_the_shorter_side_is_hidden(width, left):
    visible, _ = masks.hide(noise(2, 8, width, 1), None, seed=0)
    expected = np.ones((2, 8, width, 1))
    expected[:, 2:6, left : left + 4] = 0
    np.testing.assert_array_equal(visible, expected)


@pytest.mark.parametrize("mask", [None, "random:0.5", "salt_pepper:0.5", "file"])
def test_a_mask_is_the_same_in_all_frames_of_a_clip(mask, tmp_path):
    clips = noise(3, 4, 8, 8, 1)
    if mask == "file":
        mask = str(write_mask(tmp_path / "mask.png", np.eye(8) > 0))
    visible, occluded = masks.hide(clips, mask, seed=0)
    still, _ = masks.hide(clips[:, 0], mask, seed=0)
    np.testing.assert_array_equal(visible, np.repeat(still[:, None], 4, axis=1))
    np.testing.assert_array_equal(occluded[visible > 0], clips[visible > 0])
    assert np.isin(occluded[visible == 0], [-1, 0, 1]).all()
