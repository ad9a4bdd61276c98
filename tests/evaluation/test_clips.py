import numpy as np
import pytest

from coopnets_tf.data.image_dataset import ImageDataset
from coopnets_tf.data.images import from_uint8
from coopnets_tf.data.windows import Windows
from coopnets_tf.errors import NotFinite
from coopnets_tf.evaluation import clips
from tests.helpers import noise


def clip(number, seed=0):
    """Frames of noise."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (number, 8, 8, 1), np.uint8)


def windows_of(whole, num_frames=4):
    windows = Windows(whole, (num_frames, 8, 8))
    return ImageDataset("clip.mp4", windows, kind="training windows")


class Copier:
    """A model of two nets: one repeats a window, the other adds noise to it."""

    generator, revision_steps, step, image_shape = True, 1, 7, (4, 8, 8, 1)

    def __init__(self, window, stddev):
        self._window, self._stddev = window, stddev

    def draw_labels(self, number, *, seed):
        return None

    def sample_batches(self, number, *, seed, num_steps, labels):
        clips = np.repeat(self._window[None], number, axis=0)
        if num_steps is None:
            clips = clips + self._stddev * noise(*clips.shape, seed=seed)
        yield clips


@pytest.fixture
def no_facts(monkeypatch):
    monkeypatch.setattr(clips.facts, "nets", lambda model: {})


def test_a_copy_scores_as_high_as_there_is_and_noise_by_its_size(no_facts):
    whole = clip(12)
    model = Copier(from_uint8(whole[5:9]) * np.float32(0.5), 0.1)
    training = windows_of(np.rint((whole - 127.5) * 0.5 + 127.5).astype(np.uint8))
    found = clips.evaluate(model, training, num_samples=100, seed=0)
    scores = found.report["scores"]
    assert [*scores] == ["generator", "descriptor", "shifted windows", "mean frame"]
    copy, noisy = scores["generator"], scores["descriptor"]
    assert copy["num_images"] == clips.MOST_CLIPS
    # uint8 of what was halved: both are rounded, by half a step at most.
    assert copy["distance"] < 2 / 255 and copy["ssim"]["mean"] > 0.99
    assert noisy["distance"] == pytest.approx(0.1 / np.sqrt(3), rel=0.05)
    expected = -20 * np.log10(noisy["distance"] / 2)
    assert noisy["psnr"]["mean"] == pytest.approx(expected, abs=0.1)
    assert 0 < noisy["psnr"]["standard_error"] < 0.2
    # Two halved images of uniform noise differ by 0.5 sqrt(2/3), r.m.s.
    shifted = scores["shifted windows"]["distance"]
    assert shifted == pytest.approx(0.5 * np.sqrt(2 / 3), rel=0.05)
    assert scores["mean frame"]["distance"] < shifted
    np.testing.assert_array_equal(found.reference[:], training[[5] * 8])
    assert [*found.scored] == ["generator", "descriptor"]


def test_a_standard_error_is_over_clips():
    ones, others = np.zeros((2, 3, 8, 8, 1), np.float32), noise(2, 3, 8, 8, 1)
    found = clips.scores(ones, others)
    parts = [clips.scores(ones[[k]], others[[k]])["psnr"] for k in range(2)]
    low, high = sorted(part["mean"] for part in parts)
    assert parts[0]["standard_error"] is None
    assert found["psnr"]["mean"] == pytest.approx((low + high) / 2)
    assert found["psnr"]["standard_error"] == pytest.approx((high - low) / 2)


def test_motion_is_what_changes_from_frame_to_frame():
    moving = noise(2, 3, 8, 8, 1)
    found = clips.scores(moving, moving)
    expected = [
        np.sqrt(np.mean([np.square(one[k + 1] - one[k]) for k in range(2)]))
        for one in moving.astype(float)
    ]
    assert found["motion"] == pytest.approx(np.mean(expected), rel=1e-6)


def test_windows_are_compared_with_those_half_a_window_later():
    whole = clip(9)
    found = clips.baselines(windows_of(whole))
    scaled = from_uint8(whole)
    windows = np.stack([scaled[at : at + 4] for at in range(6)])
    expected = clips.scores(windows[:4], windows[2:])
    assert found[clips.SHIFTED] == expected
    frame = from_uint8(whole.mean(axis=0).round())
    still = np.broadcast_to(frame, (4, 4, 8, 8, 1))
    assert found[clips.MEAN_FRAME] == clips.scores(still, windows[:4])
    assert found[clips.MEAN_FRAME]["motion"] == 0


def test_a_clip_as_long_as_a_window_has_none_to_compare_with():
    found = clips.baselines(windows_of(clip(4)))
    assert [*found] == [clips.MEAN_FRAME]
    assert found[clips.MEAN_FRAME]["num_images"] == 1


def test_the_text_has_a_row_for_each_of_them(no_facts):
    whole = clip(6)
    model = Copier(from_uint8(whole[:4]), 0.1)
    training = windows_of(whole)
    report = clips.evaluate(model, training, num_samples=2, seed=0).report
    lines = clips.text(report).splitlines()
    assert lines[0].split() == "clips PSNR, dB SSIM r.m.s. distance motion".split()
    moved = f"{clips.scores(training[:1], training[:1])['motion']:.3f}"
    copied = f"generator 2 100.00 ± 0.00 1.000 ± 0.000 0.000 {moved}"
    assert lines[1].split() == copied.split()
    assert "of 4 frames against the nearest of clip.mp4: 3 training windows" in lines[5]
    assert max(map(len, lines)) <= 100


def test_what_is_not_finite_has_no_score():
    whole = clip(6)
    model = Copier(from_uint8(whole[:4]), np.nan)
    with pytest.raises(NotFinite, match="Images of the descriptor contain NaN"):
        clips.evaluate(model, windows_of(whole), num_samples=2, seed=0)
