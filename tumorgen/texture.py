"""Texture of a tumour (Eq. 3): noise on a coarse grid, scaled up with cubic interpolation, blurred, true to sigma_p.

All three steps are linear and separable, so each axis has one small matrix. Each of its rows is divided by its norm:
done literally, interpolation and blur leave 0.37 to 0.49 of the standard deviation; divided by the filter's exact gain,
every voxel has mean mu_t and standard deviation sigma_t, and the grain is what the filters make of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .plan import Tumor
from .separable import Floats, apply_separable, cubic_weights
from .shape import Grid

# Noise is drawn this far around the centre: enough for the shape, its blurs and its mass effect, be they on or off.
NOISE_REACH = 1.9  # r, and
NOISE_MARGIN_MM = 6.0
_END_NODES = 4  # nodes beyond the box; a cubic spline forgets its end conditions within that many
_NEGLIGIBLE = 1e-4  # weights below this fraction of a row's norm change no HU
_TRUNCATE = 4.0


def texture(tumor: Tumor, grid: Grid) -> Floats:
    """Texture T'' in HU on all voxels (z, y, x) of the grid (Eq. 3).

    Noise is drawn around the centre in a box that r and the spacing decide: the texture depends neither on where the
    image ends nor on which other steps are switched on.
    """
    reach = NOISE_REACH * tumor.radius_mm + NOISE_MARGIN_MM
    operators, nodes, used = [], [], []
    for size, below, spacing in zip(grid.shape, grid.below, grid.spacing_mm, strict=True):
        half = max(int(np.ceil(reach / spacing)), below, size - 1 - below)
        rows = np.arange(half - below, half - below + size)
        matrix = upscaling(2 * half + 1, tumor.eta, tumor.sigma_b_mm / spacing, rows)
        columns = np.flatnonzero(matrix.any(axis=0))
        nodes.append(matrix.shape[1])
        used.append(slice(columns[0], columns[-1] + 1))
        operators.append(matrix[:, used[-1]])
    noise = np.random.default_rng(tumor.texture_seed).standard_normal(nodes, dtype=np.float32)
    finished = apply_separable(operators, noise[tuple(used)])
    finished *= np.float32(tumor.sigma_t_hu)
    finished += np.float32(tumor.mu_t_hu)
    return finished


def upscaling(size: int, eta: float, sigma: float, rows: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
    """Matrix (size, nodes) of one axis: cubic interpolation from nodes eta voxels apart, Gaussian blur, unit gain.

    `sigma` is the blur in voxels; of `rows`, if given, only these are made. Each row has norm 1, so unit white noise on
    the nodes gives unit variance everywhere.
    """
    rows = np.arange(size) if rows is None else rows
    radius = int(np.ceil(_TRUNCATE * sigma))
    nodes = int(np.ceil((size - 1 + 2 * radius) / eta)) + 2 * _END_NODES
    around = np.arange(rows[0] - radius, rows[-1] + radius + 1)
    interpolation = cubic_weights((around + radius) / eta + _END_NODES, nodes)
    blur = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-6)) ** 2)
    matrix = np.asarray(sum(w * interpolation[i : i + rows.size] for i, w in enumerate(blur / blur.sum())))
    matrix /= np.sqrt(np.sum(matrix**2, axis=1, keepdims=True))
    matrix[np.abs(matrix) < _NEGLIGIBLE] = 0.0
    return matrix.astype(np.float32)
