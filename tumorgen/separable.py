"""Linear operators on a box of voxels: small matrices, one for each axis, and trilinear interpolation.

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

_MEMORY = 8  # nodes; beyond them a cubic spline has forgotten a value but for 5e-5 of it
# B-spline coefficients of a unit at a node, there and around: sqrt(3) z^|k| with z = sqrt(3) - 2 (Unser 1999).
_UNIT = np.sqrt(3) * (np.sqrt(3) - 2) ** np.abs(np.arange(-_MEMORY, _MEMORY + 1))


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


def endless_cubic_weights(positions: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Matrix (positions, nodes) of cubic spline interpolation in an endless row of nodes, and its first node's number.

    Positions are in nodes and rise. The weights of a position do not depend on which others are asked for.
    """
    before = np.floor(positions).astype(np.intp)
    first, last = int(before[0]) - 1 - _MEMORY, int(before[-1]) + 2 + _MEMORY
    nodes = last - first + 1
    of_unit = np.zeros(2 * nodes + _UNIT.size)
    of_unit[nodes : nodes + _UNIT.size] = _UNIT
    # Row by row: where in `of_unit` node `first` is, if the unit is at the node before the one before the position.
    places = np.arange(nodes) + (nodes + _MEMORY + first + 1 - before)[:, None]
    weights = np.zeros((positions.size, nodes))
    for tap, weight in enumerate(_cubic_b_spline(positions - before)):
        weights += weight[:, None] * of_unit[places - tap]
    return weights, first


def _cubic_b_spline(t: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Weights of the four nodes around a position, t in [0, 1] past the second of them."""
    return [(1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6]


def apply_separable(operators: Sequence[sparse.csr_array], values: Floats) -> Floats:
    """Apply an operator (out, in) to each of the last three axes (z, y, x) of an array, the last axis first."""
    for axis, operator in zip((-1, -2, -3), reversed(operators), strict=True):
        turned = np.ascontiguousarray(np.moveaxis(values, axis, 0))
        applied = (operator @ turned.reshape(len(turned), -1)).reshape(-1, *turned.shape[1:])
        values = np.moveaxis(applied, 0, axis)
    return values


def as_operator(matrix: NDArray[Any]) -> sparse.csr_array:
    """A sparse matrix in float32, made directly: scipy's own way is slower than the product for a small tumour."""
    kept = matrix != 0
    starts = np.zeros(len(matrix) + 1, np.int32)
    np.cumsum(np.count_nonzero(kept, axis=1), out=starts[1:])
    columns = np.nonzero(kept)[1].astype(np.int32)
    return sparse.csr_array((matrix[kept].astype(np.float32), columns, starts), shape=matrix.shape)


def trilinear(values: Floats, index: Floats) -> Floats:
    """Values (z, y, x) interpolated at continuous indices (3, n); beyond the ends the value at the end.

    As `scipy.ndimage.map_coordinates(order=1, mode="nearest")`, in half its time.
    """
    flat = np.zeros(index.shape[1], np.int32)
    fractions, steps = [], []
    for i, n, step in zip(index, values.shape, (values.shape[1] * values.shape[2], values.shape[2], 1), strict=True):
        low = np.clip(np.floor(i), 0, max(n - 2, 0))
        fractions.append(np.clip(i - low, 0, 1))
        steps.append(step if n > 1 else 0)
        flat += low.astype(np.int32) * np.int32(step)
    voxels = values.ravel()

    def between(a: Floats, b: Floats, axis: int) -> Floats:
        b -= a
        b *= fractions[axis]
        b += a
        return b

    def on_line(offset: int) -> Floats:
        return between(voxels[flat + offset], voxels[flat + (offset + steps[2])], 2)

    def on_face(offset: int) -> Floats:
        return between(on_line(offset), on_line(offset + steps[1]), 1)

    return between(on_face(0), on_face(steps[0]), 0)
