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

_MARGIN = 4  # coarse nodes beyond the box; a cubic spline forgets its end conditions within that many
_NEGLIGIBLE = 1e-4  # weights below this fraction of a row's norm change no HU
_TRUNCATE = 4.0


def texture(tumor: Tumor, grid: Grid) -> Floats:
    """Texture T'' in HU on all voxels (z, y, x) of the grid (Eq. 3).

    It depends on the row and the grid alone, and the grid on the row and the spacing: never on where the image ends.
    """
    operators = [
        upscaling(n, tumor.eta, tumor.sigma_b_mm / spacing)
        for n, spacing in zip(grid.shape, grid.spacing_mm, strict=True)
    ]
    nodes = [operator.shape[1] for operator in operators]
    noise = np.random.default_rng(tumor.texture_seed).standard_normal(nodes, dtype=np.float32)
    finished = apply_separable(operators, noise)
    finished *= np.float32(tumor.sigma_t_hu)
    finished += np.float32(tumor.mu_t_hu)
    return finished


def upscaling(size: int, eta: float, sigma: float) -> NDArray[np.float32]:
    """Matrix (size, nodes) of one axis: cubic interpolation from nodes eta voxels apart, Gaussian blur, unit gain.

    `sigma` is the blur in voxels. Each row has norm 1, so unit white noise on the nodes gives unit variance everywhere.
    """
    radius = int(np.ceil(_TRUNCATE * sigma))
    positions = np.arange(-radius, size + radius) / eta + radius / eta + _MARGIN
    nodes = int(np.ceil(positions[-1])) + _MARGIN
    interpolation = cubic_weights(positions, nodes)
    blur = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-6)) ** 2)
    blurred = sum(w * interpolation[i : i + size] for i, w in enumerate(blur / blur.sum()))
    matrix = np.asarray(blurred)
    matrix /= np.sqrt(np.sum(matrix**2, axis=1, keepdims=True))
    matrix[np.abs(matrix) < _NEGLIGIBLE] = 0.0
    return matrix.astype(np.float32)
