"""Paths between latent vectors."""

import numpy as np


def linear(start, end, num_points):
    """Latents on the straight line from one to another, both included.

    Between latents of the prior its middle is nearer to the origin than latents of the
    prior are.

    Args:
      start, end: [..., latent_size].
      num_points: int, 2 or more.

    Returns:
      [..., num_points, latent_size].
    """
    part = np.linspace(0, 1, num_points)[:, None]
    return (1 - part) * start[..., None, :] + part * end[..., None, :]


def spherical(start, end, num_points):
    """Latents along the great circle, after Shoemake (1985), "slerp".

        sin((1 - t) w) / sin(w) * start + sin(t w) / sin(w) * end

    with w the angle between both. Arguments and result as for `linear`, which also
    takes the place of an arc between parallel vectors.
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


def four_corners(corners, num_points):
    """A square of latents between four, which are its corners.

        cos(a) cos(b) z1 + cos(a) sin(b) z2 + sin(a) cos(b) z3 + sin(a) sin(b) z4

    with a and b from 0 to pi / 2. The squares of the weights sum to 1: of independent
    latents of the prior every point of the square has the prior's distribution.

    Args:
      corners: [4, latent_size].
      num_points: int; of each side.

    Returns:
      [num_points, num_points, latent_size].

    Source: Xie et al., arXiv:1609.09408, by the authors' MATLAB code.
    """
    angles = np.linspace(0, np.pi / 2, num_points)
    sides = np.stack([np.cos(angles), np.sin(angles)])
    weights = np.einsum("ia,jb->ijab", sides, sides).reshape(4, num_points, num_points)
    return np.einsum("kab,kd->abd", weights, corners)
