"""Separable linear operators: small matrices, one for each axis of a box of voxels.

Products are sparse, not BLAS's: their order of summation is the same on every processor and for every number of
threads, so that a row of the manifest gives the same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

Floats = NDArray[np.float32]


def cubic_weights(positions: NDArray[np.float64], nodes: int) -> NDArray[np.float64]:
    """Matrix (positions, nodes) of cubic spline interpolation in a row of nodes, mirrored at its ends.

    Positions are in nodes, from 0; those beyond the ends take the value at the end.
    """
    positions = np.clip(positions, 0, nodes - 1)
    first = np.minimum(np.floor(positions).astype(np.intp), nodes - 2)
    mirrored = _spline_coefficients(nodes)
    weights = np.zeros((positions.size, nodes))
    for tap, weight in enumerate(_cubic_b_spline(positions - first)):
        weights += weight[:, None] * mirrored[first + tap]
    return weights


@lru_cache(maxsize=256)
def _spline_coefficients(nodes: int) -> NDArray[np.float64]:
    """B-spline coefficients (nodes + 2, nodes) of a unit at each node, with the mirrored node before and behind."""
    spline = np.asarray(ndimage.spline_filter1d(np.eye(nodes), order=3, axis=0, mode="mirror"))
    return np.concatenate([spline[1:2], spline, spline[-2:-1]])  # node -1 is node 1, node n is node n - 2


def _cubic_b_spline(t: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Weights of the four nodes around a position, t in [0, 1] past the second of them."""
    return [(1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6]


def apply_separable(matrices: Sequence[NDArray[Any]], values: Floats) -> Floats:
    """Apply one matrix (out, in) to each of the last three axes (z, y, x) of an array, the last axis first."""
    leading = values.ndim - 3
    for matrix in reversed(matrices):
        values = np.ascontiguousarray(np.moveaxis(values, -1, 0))
        values = (_csr(matrix) @ values.reshape(values.shape[0], -1)).reshape(-1, *values.shape[1:])
    # Each turn has brought the last axis to the front, so the leading axes now stand behind the three.
    return np.moveaxis(values, (0, 1, 2), (leading, leading + 1, leading + 2))


def _csr(matrix: NDArray[Any]) -> sparse.csr_array:
    """A sparse matrix in float32, made directly: scipy's own way is slower than the product for a small tumour."""
    rows, columns = np.nonzero(matrix)
    starts = np.zeros(matrix.shape[0] + 1, np.int32)
    np.cumsum(np.bincount(rows, minlength=matrix.shape[0]), out=starts[1:])
    data = matrix[rows, columns].astype(np.float32)
    return sparse.csr_array((data, columns.astype(np.int32), starts), shape=matrix.shape)
