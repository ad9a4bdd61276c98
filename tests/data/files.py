"""Image files for tests."""

import numpy as np
from PIL import Image


def save(path, array, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array), mode).save(path, **options)
    return path


def flat(color, size=(8, 8)):
    return np.full((*size, len(color)), color, np.uint8)


def moving(number, size=(8, 8), step=16):
    """Frames that get lighter, uint8 [number, *size, 3]."""
    greys = (step * np.arange(number, dtype=np.uint8))[:, None, None, None]
    return np.broadcast_to(greys, (number, *size, 3))


def animate(path, frames, milliseconds=40):
    """Writes frames as an animation of Pillow's."""
    first, *others = [Image.fromarray(frame) for frame in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(path, save_all=True, append_images=others, duration=milliseconds)
    return path
