"""Smooth noise, from which the recipe makes shapes, bends and textures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_OVERLAP = 0.7  # width of a node's bell, in distances between nodes: no lattice shows, and little is smoothed away


def waves(rng: Generator, shape: Sequence[int], reach: float | Sequence[float]) -> Floats:
    """Smooth noise of mean 0 and standard deviation 1 everywhere; bumps are about `reach` voxels apart.

    Parameters
    ----------
    rng
        Draws the nodes.
    shape
        Voxels along each axis.
    reach
        Distance of the nodes in voxels, of all axes or of each.
    """
    reaches = [float(reach)] * len(shape) if isinstance(reach, (int, float)) else list(reach)
    counts = [int(np.ceil(n / step)) + 4 for n, step in zip(shape, reaches, strict=True)]
    field = rng.standard_normal(counts, dtype=np.float32)
    for axis, (n, step, count) in enumerate(zip(shape, reaches, counts, strict=True)):
        away = np.arange(n)[:, None] / step - (np.arange(count) - 1.5)
        weights = np.exp(-0.5 * (away / _OVERLAP) ** 2)
        weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
        field = np.moveaxis(np.tensordot(weights.astype(np.float32), field, (1, axis)), 0, axis)
    return np.ascontiguousarray(field)
