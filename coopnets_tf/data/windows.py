"""All windows of a picture or a clip, as the images of a data set."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

MOST = 2**24  # windows; their numbers alone take 128 MiB, and again in random order


class Windows:
    """The windows of one size in an array, by number: `windows[numbers]`.

    Number k is at the place `np.unravel_index(k, windows.counts)`. Of more than `MOST`
    those at every second, third, ... pixel are taken along each axis.

    Args:
      whole: [*sides, channels], such as a picture, [height, width, channels], or a
        clip, [frames, height, width, channels].
      size: of a window, a number for each of the sides, none of them larger.
    """

    def __init__(self, whole: np.ndarray, size: Sequence[int]) -> None:
        channels = whole.shape[-1]
        views = np.lib.stride_tricks.sliding_window_view(whole, (*size, channels))
        for step in itertools.count(1):
            steps: Any = [slice(None, None, step)] * len(size)
            self._views = views[(*steps, 0)]  # along the channels there is one
            self.counts = self._views.shape[: len(size)]
            if math.prod(self.counts) <= MOST:
                break
        self.whole = whole
        self.shape = (math.prod(self.counts), *size, channels)

    def __getitem__(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        return self._views[np.unravel_index(numbers, self.counts)]

    def are_alike(self) -> bool:
        """Whether all windows are the same: nothing changes along any side."""
        sides = [side for side, count in enumerate(self.counts) if count > 1]
        return not any(np.ptp(self.whole, axis=side).any() for side in sides)
