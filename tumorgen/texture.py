"""Texture of a tumour (Eq. 3): noise on a coarse grid, scaled up with cubic interpolation, blurred, true to sigma_p.

All three steps are linear and separable, so each axis has one small matrix. Each of its rows is divided by its norm:
done literally, interpolation and blur leave 0.37 to 0.49 of the standard deviation; divided by the filter's exact gain,
every voxel has mean mu_t and standard deviation sigma_t, and the grain is what the filters make of it.

The grid of the noise is endless in all directions; node (0, 0, 0) lies on the voxel of the tumour's centre. So the
texture depends neither on where the image ends nor on which other steps are switched on, and only the nodes that a
tumour's voxels need are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .plan import Tumor
from .separable import Floats, apply_separable, as_operator, endless_cubic_weights
from .shape import Grid

_NEGLIGIBLE = 5e-4  # weights below this fraction of a row's norm change some hundredths of a HU
_TRUNCATE = 4.0
_STREAM = 64  # log2 of how far the streams of two planes are apart


def texture(tumor: Tumor, grid: Grid) -> Floats:
    """Texture T'' in HU on all voxels (z, y, x) of the grid (Eq. 3)."""
    operators, needed = [], []
    for size, below, spacing in zip(grid.shape, grid.below, grid.spacing_mm, strict=True):
        matrix, first = upscaling(np.arange(-below, size - below), tumor.eta, tumor.sigma_b_mm / spacing)
        used = np.flatnonzero(matrix.any(axis=0))
        operators.append(as_operator(matrix[:, used[0] : used[-1] + 1]))
        needed.append(range(first + int(used[0]), first + int(used[-1]) + 1))
    finished = apply_separable(operators, white_noise(tumor.texture_seed, needed))
    finished *= np.float32(tumor.sigma_t_hu)
    finished += np.float32(tumor.mu_t_hu)
    return finished


def upscaling(voxels: NDArray[np.intp], eta: float, sigma: float) -> tuple[NDArray[np.float32], int]:
    """Matrix (voxels, nodes) of one axis: cubic interpolation from nodes eta voxels apart, Gaussian blur, unit gain.

    `voxels` are consecutive and counted from that of node 0; `sigma` is the blur in voxels. Each row has norm 1, so
    unit white noise on the nodes gives unit variance everywhere. With the matrix comes the number of its first node.
    """
    radius = int(np.ceil(_TRUNCATE * sigma))
    around = np.arange(voxels[0] - radius, voxels[-1] + radius + 1)
    interpolation, first = endless_cubic_weights(around / eta)
    blur = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-6)) ** 2)
    matrix = np.asarray(sum(w * interpolation[i : i + voxels.size] for i, w in enumerate(blur / blur.sum())))
    square = matrix**2
    matrix[square < _NEGLIGIBLE**2 * square.sum(axis=1, keepdims=True)] = 0.0
    matrix /= np.sqrt(np.sum(matrix**2, axis=1, keepdims=True))
    return matrix.astype(np.float32), first


def white_noise(seed: int, nodes: Sequence[range]) -> Floats:
    """Noise N(0, 1) on some nodes (z, y, x) of the endless grid that belongs to a seed.

    Each plane of nodes has a stream of its own, and is filled from its middle outwards: however much of it is drawn, a
    node gets the same number.
    """
    planes, rows, columns = nodes
    half = max(abs(n) for r in (rows, columns) for n in (r[0], r[-1]))
    drawn = np.empty((len(planes), (2 * half + 1) ** 2), np.float32)
    bits = np.random.PCG64(seed)
    rng, start = np.random.Generator(bits), bits.state
    for plane, row in zip(planes, drawn, strict=True):
        bits.state = start
        bits.advance(plane % 2**32 << _STREAM)
        rng.standard_normal(out=row, dtype=np.float32)
    place = _from_the_middle(half)[rows[0] + half : rows[-1] + half + 1, columns[0] + half : columns[-1] + half + 1]
    return drawn[:, place]


@lru_cache(maxsize=128)
def _from_the_middle(half: int) -> NDArray[np.int32]:
    """Number of each point of a square (2 half + 1 a side), counted from its middle, ring by ring."""
    along = np.abs(np.arange(-half, half + 1))
    rings = np.maximum(along[:, None], along[None, :])
    numbers = np.empty(rings.size, np.int32)
    numbers[np.argsort(rings, axis=None, kind="stable")] = np.arange(rings.size, dtype=np.int32)
    return numbers.reshape(rings.shape)
