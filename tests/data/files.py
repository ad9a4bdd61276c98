"""Image files for tests."""

import numpy as np
from PIL import Image


def save(path, array, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array), mode).save(path, **options)
    return path


def flat(color, size=(8, 8)):
    return np.full((*size, len(color)), color, np.uint8)
