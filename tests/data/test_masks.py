import re
import sys

import numpy as np
import pytest
from PIL import Image

from coopnets_tf.data import masks as recovery
from coopnets_tf.errors import DatasetError

KINDS = [("square", 3), ("random", 0.4), ("salt_pepper", 0.4)]


def noise(*shape, seed=0):
    """Images of which no two values are the same, but for chance."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


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
        ("square:7", ("square", 7)),
        ("random:0.25", ("random", 0.25)),
        ("salt_pepper:1e-2", ("salt_pepper", 0.01)),
        (None, ("square", 4)),
    ],
)
def test_parse_mask(text, expected):
    kind, amount = recovery.parse_mask(text, (8, 9, 3))
    assert (kind, amount) == expected and type(amount) is type(expected[1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("square:0", "hides nothing or everything of an image of 8 pixels"),
        ("square:-2", "hides nothing or everything"),
        ("square:8", "hides nothing or everything"),
        ("random:0", "hides nothing or everything"),
        ("random:1", "hides nothing or everything"),
        ("random:nan", "hides nothing or everything"),
        ("salt_pepper:-0.1", "hides nothing or everything"),
        ("salt_pepper:1.5", "hides nothing or everything"),
        ("square", "must be square:<pixels>"),
        ("square:", "must be square:<pixels>"),
        ("square:2.5", "must be square:<pixels>"),
        ("random:many", "must be square:<pixels>"),
        ("circle:3", "must be square:<pixels>"),
        ("no/such/mask.png", "an image file"),
    ],
)
def test_what_is_no_mask_is_refused(text, reason):
    images = noise(2, 8, 9, 3)
    for refused in (
        lambda: recovery.parse_mask(text, images.shape[1:]),
        lambda: recovery.hide(images, text, seed=0),
    ):
        with pytest.raises(DatasetError) as refusal:
            refused()
        message = str(refusal.value)
        assert message.startswith("--mask ") and reason in message
        assert message.endswith(f"Received: {text}")


def test_a_mask_file_hides_what_is_darker_than_the_middle(tmp_path):
    grey = np.full((6, 8), 128, np.uint8)
    grey[1, 2:5], grey[4, 7] = 127, 0
    Image.fromarray(grey).save(tmp_path / "mask.png")
    visible = recovery.read_mask(tmp_path / "mask.png", (6, 8, 3))
    assert visible.shape == (6, 8, 3) and visible.dtype == np.float32
    expected = np.ones((6, 8, 3))
    expected[1, 2:5] = expected[4, 7] = 0
    np.testing.assert_array_equal(visible, expected)


def test_a_mask_file_serves_all_images_and_is_found_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_mask(tmp_path / "mask.png", half(6, 8))
    images = noise(4, 6, 8, 3)
    visible, occluded = recovery.hide(images, "~/mask.png", seed=0)
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
        lambda: recovery.read_mask(path, (6, 8, 3)),
        lambda: recovery.hide(noise(2, 6, 8, 3), str(path), seed=0),
    ):
        with pytest.raises(DatasetError, match=re.escape(f"--mask={path}")) as refusal:
            refused()
        assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("height", "width", "side"), [(8, 8, 4), (8, 8, 3), (7, 7, 6), (9, 14, 5)]
)
def test_a_square_is_in_the_middle(height, width, side):
    visible = recovery.visible_pixels(
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
        return recovery.visible_pixels(
            kind, 0.3, number=20, image_shape=shape, seed=seed
        )

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
    visible, occluded = recovery.hide(images, f"{kind}:{amount}", seed=3)
    assert images.tobytes() == before.tobytes()
    assert occluded.shape == images.shape and occluded.dtype == np.float32
    np.testing.assert_array_equal(
        visible,
        recovery.visible_pixels(kind, amount, number=50, image_shape=(8, 8, 3), seed=3),
    )
    seen = visible > 0
    assert 0 < seen.mean() < 1
    assert occluded[seen].tobytes() == images[seen].tobytes()
    again = recovery.hide(images, f"{kind}:{amount}", seed=3)
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
    occluded = recovery.occlude(images, visible, kind=kind, seed=0)
    assert images.tobytes() == copies[0].tobytes()
    assert visible.tobytes() == copies[1].tobytes()
    assert not np.shares_memory(occluded, images)


def test_without_a_mask_a_square_of_half_the_side_is_hidden():
    visible, _ = recovery.hide(noise(2, 8, 8, 1), None, seed=0)
    expected = np.ones((2, 8, 8, 1))
    expected[:, 2:6, 2:6] = 0
    np.testing.assert_array_equal(visible, expected)


@pytest.mark.parametrize(("kind", "amount"), [("square", 5), ("random", 0.8)])
def test_nearest_fill_against_a_search(kind, amount):
    images = noise(4, 9, 7, 3)
    visible = recovery.visible_pixels(
        kind, amount, number=4, image_shape=images.shape[1:], seed=0
    )
    before = images.copy(), visible.copy()
    filled = recovery.nearest_fill(images, visible)
    assert filled.dtype == np.float32 and filled.shape == images.shape
    for image, mask, result in zip(images, visible, filled, strict=True):
        seen = np.argwhere(mask[..., 0] > 0)
        for place in np.ndindex(9, 7):
            distances = ((seen - place) ** 2).sum(axis=1)
            nearest = seen[distances == distances.min()]  # ties: any will do
            values = image[nearest[:, 0], nearest[:, 1]]
            assert (values == result[place]).all(axis=1).any()
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(visible, before[1])


def test_nearest_fill_does_not_see_the_hidden_pixels():
    images = noise(3, 8, 8, 1)
    visible, occluded = recovery.hide(images, "random:0.5", seed=0)
    np.testing.assert_array_equal(
        recovery.nearest_fill(images, visible),
        recovery.nearest_fill(occluded, visible),
    )


@pytest.mark.parametrize("kind", ["square", "random"])
def test_biharmonic_fill_continues_a_ramp(kind):
    pytest.importorskip("skimage")
    rows, columns = np.mgrid[-0.4:0.4:16j, -0.3:0.3:16j]
    ramps = np.stack([rows + columns, rows - columns, columns], axis=-1)
    images = np.stack([ramps, -ramps]).astype(np.float32)
    visible = np.ones_like(images)
    # Not at the borders, where scikit-image knows fewer derivatives.
    visible[:, 3:-3, 3:-3] = recovery.visible_pixels(
        kind,
        {"square": 5, "random": 0.4}[kind],
        number=2,
        image_shape=(10, 10, 3),
        seed=0,
    )
    occluded = recovery.occlude(images, visible, kind=kind, seed=0)
    before = occluded.copy(), visible.copy()
    filled = recovery.biharmonic_fill(occluded, visible)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(occluded, before[0])
    np.testing.assert_array_equal(visible, before[1])
    np.testing.assert_array_equal(filled[visible > 0], images[visible > 0])
    # The second derivatives of a ramp are zero; the rest is the rounding of float32.
    np.testing.assert_allclose(filled, images, atol=1e-6)


def test_without_scikit_image_biharmonic_fill_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.restoration", None)
    with pytest.raises(ImportError):
        recovery.biharmonic_fill(noise(1, 8, 8, 1), np.ones((1, 8, 8, 1), np.float32))


def ssim(images, others, window):
    """Wang et al. (2004), in float64: Gaussian window of s.d. 1.5, images in [0, 1]."""
    place = np.arange(window) - window // 2
    weights = np.exp(-(place[:, None] ** 2 + place**2) / (2 * 1.5**2))
    weights /= weights.sum()

    def local(values):
        windows = np.lib.stride_tricks.sliding_window_view(
            values, (window, window), axis=(1, 2)
        )
        return (windows * weights).sum(axis=(-2, -1))

    mean, other = local(images), local(others)
    covariance = local(images * others) - mean * other
    variances = local(images**2) - mean**2 + local(others**2) - other**2
    likeness = (2 * mean * other + 0.01**2) / (mean**2 + other**2 + 0.01**2)
    return (likeness * (2 * covariance + 0.03**2) / (variances + 0.03**2)).mean()


@pytest.mark.parametrize(
    ("height", "width", "window"),
    [(1, 1, 1), (2, 2, 1), (8, 8, 7), (8, 20, 7), (11, 11, 11), (12, 12, 11)]
    + [(32, 32, 11)],
)
def test_errors_against_numpy(height, width, window):
    images = noise(3, height, width, 3)
    # Every image is off by another amount: a mean of decibels is not that of a mean.
    amounts = np.float32([0.02, 0.2, 0.6])[:, None, None, None]
    recovered = np.clip(images + amounts * noise(*images.shape, seed=1), -1, 1)
    visible = np.repeat(noise(3, height, width, 1, seed=2) > -0.5, 3, axis=3)
    visible[0, 0, 0] = False
    found = recovery.errors(images, recovered, visible.astype(np.float32))
    assert all(type(value) is float for value in found.values())

    scaled, others = ((one.astype(np.float64) + 1) / 2 for one in (images, recovered))
    hidden = np.abs(scaled - others)[~visible]
    squares = ((scaled - others) ** 2).mean(axis=(1, 2, 3))
    expected = {
        "hidden_mae": hidden.mean(),
        "hidden_rmse": np.sqrt((hidden**2).mean()),
        "psnr": np.mean(-10 * np.log10(squares)),
        "ssim": ssim(scaled, others, window),
    }
    # Differences of float32 numbers near 1 that are as small as 0.01.
    assert found == pytest.approx(expected, rel=2e-5)


def test_errors_of_hidden_pixels_do_not_count_the_visible():
    images = np.zeros((2, 8, 8, 1), np.float32)
    visible = np.ones_like(images)
    visible[0, 0, :4] = 0
    recovered = np.where(visible > 0, images + 0.9, images)
    recovered[0, 0, :4, 0] = [0.5, -0.5, 0, 1]
    found = recovery.errors(images, recovered, visible)
    # In parts of the range from -1 to 1: 1/4, 1/4, 0, 1/2.
    np.testing.assert_allclose(found["hidden_mae"], 1 / 4)
    np.testing.assert_allclose(found["hidden_rmse"], np.sqrt(6 / 64), rtol=1e-6)


def test_errors_over_whole_images():
    images = np.full((2, 8, 8, 3), -1, np.float32)
    recovered = images.copy()
    recovered[0] += 0.2  # 0.1 of the range: 20 dB
    recovered[1] += 0.02
    found = recovery.errors(images, recovered, np.zeros_like(images))
    assert found["hidden_mae"] == pytest.approx((0.1 + 0.01) / 2, rel=1e-5)
    assert found["psnr"] == pytest.approx((20 + 40) / 2, rel=1e-5)


@pytest.mark.parametrize("size", [8, 32])
def test_errors_of_equal_images(size):
    images = noise(2, size, size, 1)
    found = recovery.errors(images, images.copy(), np.zeros_like(images))
    assert found["hidden_mae"] == found["hidden_rmse"] == 0
    assert found["psnr"] == recovery.MOST_PSNR
    np.testing.assert_allclose(found["ssim"], 1, atol=1e-6)
