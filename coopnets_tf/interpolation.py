"""Paths between latent vectors, and all of a plane of them."""

import numpy as np


def linear(start: np.ndarray, end: np.ndarray, num_points: int) -> np.ndarray:
    """Latents on a straight line, both ends included: [..., num_points, length].

    Its middle is nearer to the origin than latents of the prior are.

    Args:
      start, end: [..., length].
      num_points: 2 or more.
    """
    part = np.linspace(0, 1, num_points)[:, None]
    return (1 - part) * start[..., None, :] + part * end[..., None, :]


def spherical(start: np.ndarray, end: np.ndarray, num_points: int) -> np.ndarray:
    """Latents along the great circle, after Shoemake (1985), "slerp".

        sin((1 - t) w) / sin(w) * start + sin(t w) / sin(w) * end

    with w the angle between both. Arguments and result as for `linear`, which replaces
    the arc between parallel vectors.
    """
    norms = np.linalg.norm(start, axis=-1) * np.linalg.norm(end, axis=-1)
    cosine = np.sum(start * end, axis=-1) / np.maximum(norms, 1e-12)
    angle = np.arccos(np.clip(cosine, -1, 1))[..., None, None]
    part = np.linspace(0, 1, num_points)[:, None]
    sine = np.sin(angle)
    flat = np.abs(sine) < 1e-6
    arc = np.sin((1 - part) * angle) * start[..., None, :]
    arc = (arc + np.sin(part * angle) * end[..., None, :]) / np.where(flat, 1, sine)
    return np.where(flat, linear(start, end, num_points), arc)


def four_corners(corners: np.ndarray, num_points: int) -> np.ndarray:
    """A square of latents between four: [num_points, num_points, length].

    An even grid of `between_corners`, whose argument `corners` is.
    """
    along = np.linspace(0, 1, num_points)
    return between_corners(corners, along, along)


def between_corners(
    corners: np.ndarray, down: np.ndarray, across: np.ndarray
) -> np.ndarray:
    """Latents of a square between four: [rows, columns, length].

        cos(a) cos(b) z1 + cos(a) sin(b) z2 + sin(a) cos(b) z3 + sin(a) sin(b) z4

    with a = down * pi / 2 and b = across * pi / 2. The squares of the weights sum to 1,
    so that between independent latents of the prior every point has the prior's
    distribution.

    Args:
      corners: [4, length]; top left, top right, bottom left, bottom right.
      down: [rows], in [0, 1]; 0 is the top.
      across: [columns], in [0, 1]; 0 is the left.

    Source: Xie et al., arXiv:1609.09408, by the authors' MATLAB code.
    """
    sides = [
        np.stack([np.cos(part * np.pi / 2), np.sin(part * np.pi / 2)])
        for part in (down, across)
    ]
    weights = np.einsum("ia,jb->ijab", *sides).reshape(4, len(down), len(across))
    return np.einsum("kab,kd->abd", weights, corners)


def plane(num_points: int) -> np.ndarray:
    """The plane of latents of two numbers: [num_points, num_points, 2].

    An even grid from -2 to 2, where 91 % of the prior are. The first number grows from
    left to right, the second from bottom to top.
    """
    along = np.linspace(-2, 2, num_points)
    return np.stack(np.meshgrid(along, along[::-1]), axis=-1)
