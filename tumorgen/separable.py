"""Linear operators on a box of voxels: small matrices, one for each axis, and trilinear interpolation.

Products are sparse, not BLAS's: their order of summation is the same on every processor and for every number of
threads, so that a row of the manifest gives the same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import ndimage, sparse

from .boxes import Box, grow

Floats = NDArray[np.float32]
Beyond = Literal["constant", "reflect"]  # what lies past the ends: zeros, or the values mirrored

# Not scipy's public interface, and without its checks: for a small tumour they take longer than the product.
_csr_matvecs: Any = getattr(getattr(sparse, "_sparsetools", None), "csr_matvecs", None)
_NO_BLUR = 1e-15  # scipy's own bound
_MEMORY = 8  # nodes; beyond them a cubic spline has forgotten a value but for 5e-5 of it
# B-spline coefficients of a unit at a node, there and around: sqrt(3) z^|k| with z = sqrt(3) - 2 (Unser 1999).
_UNIT = np.sqrt(3) * (np.sqrt(3) - 2) ** np.abs(np.arange(-_MEMORY, _MEMORY + 1))


def cubic_weights(positions: NDArray[np.float64], nodes: int) -> NDArray[np.float64]:
    """Matrix (positions, nodes) of cubic spline interpolation in a row of nodes, mirrored at its ends.

    Positions are in nodes, from 0; those beyond the ends take the value at the end.
    """
    positions = np.clip(positions, 0, nodes - 1)
    first = np.minimum(np.floor(positions).astype(np.intp), nodes - 2)
    splines = _spline_coefficients(nodes)[first + np.arange(4)[:, None]]
    weights: NDArray[np.float64] = (_cubic_b_spline(positions - first)[:, :, None] * splines).sum(axis=0)
    return weights


@lru_cache(maxsize=256)
def _spline_coefficients(nodes: int) -> NDArray[np.float64]:
    """B-spline coefficients (nodes + 2, nodes) of a unit at each node, with the mirrored node before and behind."""
    spline = np.asarray(ndimage.spline_filter1d(np.eye(nodes), order=3, axis=0, mode="mirror"))
    return np.concatenate([spline[1:2], spline, spline[-2:-1]])  # node -1 is node 1, node n is node n - 2


def endless_cubic_weights(
    starts: NDArray[np.float64], step: float, shares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Weights (n, nodes) of an endless row of nodes in sums of cubic spline interpolations, and each sum's first node.

    A sum takes its m `shares` (n, m) of the values at `starts`, in nodes, and every `step` nodes beyond. Its weights do
    not depend on which others are asked for.
    """
    sums, terms = shares.shape
    positions = starts[:, None] + step * np.arange(terms)
    before = np.floor(positions).astype(np.intp)
    first = before[:, 0] - 1
    reach = int(step * (terms - 1)) + 5  # nodes whose B-splines the terms of a sum may meet
    taps = _cubic_b_spline(positions - before) * shares
    places = np.arange(4)[:, None, None] + (before - 1 - first[:, None] + reach * np.arange(sums)[:, None])
    splines = np.bincount(places.ravel(), taps.ravel(), sums * reach).reshape(sums, reach)
    return (_from_splines(reach) @ splines.T).T, first - _MEMORY


@lru_cache(maxsize=256)
def _from_splines(splines: int) -> Operator:
    """What unit values at nodes add to B-splines in an endless row, (splines + 2 _MEMORY, splines), transposed."""
    matrix = np.zeros((splines + _UNIT.size - 1, splines))
    for spline, weights in enumerate(matrix.T):
        weights[spline : spline + _UNIT.size] = _UNIT
    return as_operator(matrix, np.float64)


def _cubic_b_spline(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (4, ...) of the four nodes around a position, t in [0, 1] past the second of them."""
    u = 1 - t
    t2, u2 = t * t, u * u
    return np.stack([u2 * u / 6, (3 * t - 6) * t2 / 6 + 2 / 3, (3 * u - 6) * u2 / 6 + 2 / 3, t2 * t / 6])


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """A sparse matrix by rows: row i has `values` at `columns`, both from starts[i] to starts[i + 1].

    The product is bit for bit that of `scipy.sparse.csr_array`, with or without its checks.
    """

    values: NDArray[np.floating[Any]]
    columns: NDArray[np.int32]
    starts: NDArray[np.int32]
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.starts.size - 1, self.width

    def __matmul__(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Apply it to columns (width, n) of its own data type."""
        if _csr_matvecs is None:
            checked: NDArray[Any] = self.checked() @ vectors
            return checked
        out = np.zeros((self.shape[0], vectors.shape[1]), self.values.dtype)
        matrix = self.starts, self.columns, self.values
        _csr_matvecs(*self.shape, vectors.shape[1], *matrix, vectors.ravel(), out.ravel())
        return out

    def checked(self) -> sparse.csr_array:
        """As a sparse matrix of scipy."""
        used = slice(self.starts[0], self.starts[-1])
        parts = self.values[used], self.columns[used], self.starts - self.starts[0]
        return sparse.csr_array(parts, shape=self.shape)


def as_operator(matrix: NDArray[Any], dtype: DTypeLike = np.float32) -> Operator:
    """A small matrix, most of whose entries are not zero."""
    rows, width = matrix.shape
    columns = np.tile(np.arange(width, dtype=np.int32), rows)
    starts = np.arange(0, rows * width + 1, width, dtype=np.int32)
    return Operator(matrix.astype(dtype).ravel(), columns, starts, width)


def apply_separable(operators: Sequence[Operator], values: Floats) -> Floats:
    """Apply an operator (out, in) to each of the last three axes (z, y, x) of an array, the last axis first."""
    on_z, on_y, on_x = operators
    *batch, z, y, x = values.shape
    turned = _applied(on_x, values.reshape(-1, z, y, x).transpose(3, 0, 1, 2))  # now (x, batch, z, y)
    turned = _applied(on_y, turned.transpose(3, 1, 2, 0))  # (y, batch, z, x)
    turned = _applied(on_z, turned.transpose(2, 1, 0, 3))  # (z, batch, y, x)
    return turned.transpose(1, 0, 2, 3).reshape(*batch, *(o.shape[0] for o in operators))


def _applied(operator: Operator, values: Floats) -> Floats:
    """An operator applied to the first axis; its columns lie in a row, as the product wants them."""
    applied: Floats = operator @ np.ascontiguousarray(values).reshape(len(values), -1)
    return applied.reshape(-1, *values.shape[1:])


def gaussian(values: Floats, sigmas: Sequence[float], radii: Sequence[int], mode: Beyond) -> Floats:
    """Gaussian blur; bit for bit `scipy.ndimage.gaussian_filter`, which makes the kernel of every axis anew.

    `sigmas` and `radii`, how far it reaches, are in voxels (z, y, x).
    """
    for axis, (sigma, radius) in enumerate(zip(sigmas, radii, strict=True)):
        if sigma > _NO_BLUR:
            values = ndimage.correlate1d(values, _kernel(sigma, radius), axis, mode=mode)
    return values


def spread(values: Floats, within: Box, sigmas: Sequence[float], radii: Sequence[int]) -> Box:
    """Blur, in place, values that are zero outside a box, as zeros follow them; return the box that they spread over.

    The same bits as `gaussian` in "constant" mode, which blurs all the zeros too.
    """
    for axis, (sigma, radius) in enumerate(zip(sigmas, radii, strict=True)):
        if sigma > _NO_BLUR:
            within = grow(within, [radius if axis == i else 0 for i in range(3)], values.shape)
            values[within] = ndimage.correlate1d(values[within], _kernel(sigma, radius), axis, mode="constant")
    return within


@lru_cache(maxsize=256)
def _kernel(sigma: float, radius: int) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.exp(-0.5 / (sigma * sigma) * np.arange(-radius, radius + 1) ** 2)
    weights /= weights.sum()
    return weights


def trilinear(values: Floats, index: Floats) -> Floats:
    """Values (z, y, x) interpolated at continuous indices (3, n); beyond the ends the value at the end.

    As `scipy.ndimage.map_coordinates(order=1, mode="nearest")`, in half its time.
    """
    flat = np.zeros(index.shape[1], np.int32)
    fractions, steps = [], []
    for i, n, step in zip(index, values.shape, (values.shape[1] * values.shape[2], values.shape[2], 1), strict=True):
        low = np.minimum(np.maximum(np.floor(i), 0), max(n - 2, 0))
        fractions.append(np.minimum(np.maximum(i - low, 0), 1))
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
