"""Linear operators on a box of voxels: small matrices, one for each axis, and trilinear interpolation.

Products are sparse, not BLAS's: their order of summation is the same on every processor and for every number of
threads, so that a row of the manifest gives the same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from math import exp
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import ndimage, sparse

from ..imaging.boxes import Box, grow

Floats = NDArray[np.float32]

# Not scipy's public interface, and without its checks: for a small tumour they take longer than the product.
_csr_matvecs: Any = getattr(getattr(sparse, "_sparsetools", None), "csr_matvecs", None)
_NO_BLUR = 1e-15  # voxels
_ONE = 2**24  # float32 adds up shares of this many parts without rounding
_MEMORY = 8  # nodes; beyond them a cubic spline has forgotten a value but for 5e-5 of it
_CACHED = 2**16  # float32 numbers, half of a small second-level cache
# The cubic B-splines of the four nodes around a position as polynomials in t, from t^3 (first row) to 1.
_B_SPLINE = np.array([[-1, 3, -3, 1], [3, -6, 3, 0], [-3, 0, 3, 0], [1, 4, 1, 0]]) / 6
# B-spline coefficients of a unit at a node, there and around: sqrt(3) z^|k| with z = sqrt(3) - 2 (Unser 1999).
_UNIT = np.sqrt(3) * (np.sqrt(3) - 2) ** np.abs(np.arange(-_MEMORY, _MEMORY + 1))


def cubic_weights(positions: NDArray[np.float64], nodes: int) -> NDArray[np.float64]:
    """Matrix (positions, nodes) of cubic spline interpolation in a row of nodes, mirrored at its ends.

    Positions are in nodes, from 0; those beyond the ends take the value at the end.
    """
    positions = positions.clip(0, nodes - 1)
    first = np.minimum(positions.astype(np.intp), nodes - 2)
    cubic, square, linear, constant = _spline_pieces(nodes).take(first, axis=1)
    t = (positions - first)[:, None]
    weights: NDArray[np.float64] = ((cubic * t + square) * t + linear) * t + constant
    return weights


@lru_cache(maxsize=64)
def _spline_pieces(nodes: int) -> NDArray[np.float64]:
    """Polynomials in t (4 coefficients, from t^3 to 1) from each node to the next, of the spline of a unit at each."""
    spline = np.asarray(ndimage.spline_filter1d(np.eye(nodes), order=3, axis=0, mode="mirror"))
    spline = np.concatenate([spline[1:2], spline, spline[-2:-1]])  # node -1 is node 1, node n is node n - 2
    around = np.stack([spline[k : k + nodes - 1] for k in range(4)])
    pieces: NDArray[np.float64] = np.einsum("pk,kij->pij", _B_SPLINE, around)
    return pieces


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
    weights = np.empty((4, *t.shape))
    weights[0], weights[1] = u2 * u / 6, (3 * t - 6) * t2 / 6 + 2 / 3
    weights[2], weights[3] = (3 * u - 6) * u2 / 6 + 2 / 3, t2 * t / 6
    return weights


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
    def rows(self) -> int:
        """Number of rows."""
        return self.starts.size - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.width

    def part(self, first: int, end: int) -> Operator:
        """Its rows from the first up to the end, as an operator."""
        return Operator(self.values, self.columns, self.starts[first : end + 1], self.width)

    def __matmul__(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Apply it to columns (width, n) of its own data type."""
        if _csr_matvecs is None:
            checked: NDArray[Any] = self.checked() @ vectors
            return checked
        rows, count = self.rows, vectors.shape[1]
        out = np.zeros((rows, count), self.values.dtype)
        matrix = self.starts, self.columns, self.values
        _csr_matvecs(rows, self.width, count, *matrix, vectors.ravel(), out.ravel())
        return out

    def checked(self) -> sparse.csr_array:
        """As a sparse matrix of scipy."""
        used = slice(self.starts[0], self.starts[-1])
        parts = self.values[used], self.columns[used], self.starts - self.starts[0]
        return sparse.csr_array(parts, shape=self.shape)


def as_operator(matrix: NDArray[Any], dtype: DTypeLike = np.float32) -> Operator:
    """A small matrix, most of whose entries are not zero."""
    columns, starts = _full(*matrix.shape)
    return Operator(matrix.astype(dtype).ravel(), columns, starts, matrix.shape[1])


def as_operators(matrix: NDArray[Any], sizes: Sequence[int]) -> list[Operator]:
    """Likewise, cut into operators of so many rows."""
    whole = as_operator(matrix)
    return [whole.part(first, end) for first, end in pairwise([0, *accumulate(sizes)])]


@lru_cache(maxsize=256)
def _full(rows: int, width: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Columns and starts of an operator without zeros."""
    columns = np.tile(np.arange(width, dtype=np.int32), rows)
    return columns, np.arange(0, rows * width + 1, width, dtype=np.int32)


def apply_separable(operators: Sequence[Operator], values: Floats) -> Floats:
    """Apply an operator (out, in) to each of the last three axes (z, y, x) of an array, the last axis first."""
    on_z, on_y, on_x = operators
    *batch, z, y, x = values.shape
    turned = _applied(on_z, _on_planes(on_y, on_x, values.reshape(-1, z, y, x)))
    return turned.transpose(1, 0, 2, 3).reshape(*batch, on_z.rows, on_y.rows, on_x.rows)


def separable_slabs(operators: Sequence[Operator], values: Floats) -> Iterator[tuple[slice, Floats]]:
    """Likewise of an array (n, z, y, x), in slabs: planes, and what they become, (n, planes, y, x).

    A slab is small enough to be worked on in the processor's cache, and may be changed.
    """
    on_z, on_y, on_x = operators
    through = _on_planes(on_y, on_x, values)
    for planes in _slabs(on_z.rows, through[0].size):
        yield planes, _applied(on_z.part(planes.start, planes.stop), through).transpose(1, 0, 2, 3)


def _on_planes(on_y: Operator, on_x: Operator, values: Floats) -> Floats:
    """Operators applied to the axes y and x of an array (n, z, y, x), as (z, n, y, x), some planes at a time."""
    number, z, y, x = values.shape
    rows, columns = on_y.rows, on_x.rows
    applied = np.empty((z, number, rows, columns), np.float32)
    for planes in _slabs(z, number * max(y, rows) * max(x, columns)):
        turned = _applied(on_x, values[:, planes].transpose(3, 0, 1, 2))  # now (x, n, z, y)
        turned = _applied(on_y, turned.transpose(3, 1, 2, 0))  # (y, n, z, x)
        applied[planes] = turned.transpose(2, 1, 0, 3)
    return applied


def _slabs(planes: int, plane: int) -> list[slice]:
    """All of some planes, so many at a time as stay in the processor's cache; `plane` is the size of one."""
    at_once = max(1, _CACHED // max(plane, 1))
    return [slice(start, min(start + at_once, planes)) for start in range(0, planes, at_once)]


def _applied(operator: Operator, values: Floats) -> Floats:
    """An operator applied to the first axis; its columns lie in a row, as the product wants them."""
    applied: Floats = operator @ np.ascontiguousarray(values).reshape(len(values), -1)
    return applied.reshape(-1, *values.shape[1:])


def gaussian(values: Floats, sigmas: Sequence[float], radii: Sequence[int]) -> Floats:
    """Gaussian blur of values that are mirrored at their ends, the last ones doubled: scipy's "reflect".

    `sigmas` and `radii`, how far it reaches, are in voxels (z, y, x).
    """
    operators = [_mirrored(n, sigma, radius) for n, sigma, radius in zip(values.shape, sigmas, radii, strict=True)]
    return apply_separable(operators, values)


def spread(values: Floats, within: Box, sigmas: Sequence[float], radii: Sequence[int]) -> Box:
    """Gaussian blur, in place, of values that are zero outside a box, as zeros follow them; return the box after it.

    A voxel's value does not depend on how much of the zeros the box holds.
    """
    over = grow(within, radii, values.shape)
    operators = []
    for a, b, sigma, radius in zip(within, over, sigmas, radii, strict=True):
        taps, columns, starts = _spreading(a.stop - a.start, a.start - b.start, b.stop - a.stop, radius)
        operators.append(Operator(_kernel(sigma, radius).take(taps), columns, starts, a.stop - a.start))
    values[over] = apply_separable(operators, values[within])
    return over


@lru_cache(maxsize=256)
def _kernel(sigma: float, radius: int) -> Floats:
    """Weights of a Gaussian, in whole 2^-24ths that add up to 1: where all voxels are 1 they stay exactly that."""
    side = [exp(-0.5 * (step / max(sigma, _NO_BLUR)) ** 2) for step in range(radius, 0, -1)]
    whole = 2 * sum(side) + 1
    side = [round(weight / whole * _ONE) for weight in side]
    return np.array([*side, _ONE - 2 * sum(side), *side[::-1]], np.float32) / np.float32(_ONE)


@lru_cache(maxsize=256)
def _mirrored(size: int, sigma: float, radius: int) -> Operator:
    """The Gaussian whose row i reads what is up to `radius` from i, in a mirrored row."""
    places = _around(0, size, radius) % (2 * size)
    columns = np.minimum(places, 2 * size - 1 - places).ravel()
    starts = np.arange(0, places.size + 1, 2 * radius + 1, dtype=np.int32)
    return Operator(np.tile(_kernel(sigma, radius), size), columns, starts, size)


@lru_cache(maxsize=128)
def _spreading(
    size: int, before: int, behind: int, radius: int
) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.int32]]:
    """Which weights its rows have, columns and starts of an operator from some voxels to more on both sides."""
    columns = _around(-before, size + behind, radius)
    there = (columns >= 0) & (columns < size)
    starts = np.zeros(len(there) + 1, np.int32)
    np.cumsum(np.count_nonzero(there, axis=1), out=starts[1:])
    taps: NDArray[np.intp] = there.nonzero()[1]
    return taps, columns[there], starts


def _around(first: int, end: int, radius: int) -> NDArray[np.int32]:
    """What is up to a radius from each of some numbers (rows)."""
    numbers: NDArray[np.int32] = np.add.outer(
        np.arange(first, end, dtype=np.int32), np.arange(-radius, radius + 1, dtype=np.int32)
    )
    return numbers


def trilinear(values: Floats, index: Floats) -> Floats:
    """Values (z, y, x) interpolated at continuous indices (3, n); beyond the ends the value at the end.

    As `scipy.ndimage.map_coordinates(order=1, mode="nearest")`, in a quarter of its time.
    """
    last, last_low = _ends(values.shape)
    fractions = np.maximum(index, np.float32(0))
    np.minimum(fractions, last, out=fractions)
    lows = np.floor(fractions)
    np.minimum(lows, last_low, out=lows)
    fractions -= lows
    flat = _flat_index(lows, values.shape)
    steps = [s if n > 1 else 0 for s, n in zip(_steps(values.shape), values.shape, strict=True)]
    voxels = np.ravel(values)

    def between(a: Floats, b: Floats, axis: int) -> Floats:
        b -= a
        b *= fractions[axis]
        b += a
        return b

    def on_line(offset: int) -> Floats:
        return between(_taken(voxels[offset:], flat), _taken(voxels[offset + steps[2] :], flat), 2)

    def on_face(offset: int) -> Floats:
        return between(on_line(offset), on_line(offset + steps[1]), 1)

    return between(on_face(0), on_face(steps[0]), 0)


def nearest(values: NDArray[Any], index: Floats) -> NDArray[Any]:
    """Values (z, y, x) of the voxels nearest to continuous indices (3, n); beyond the ends the value at the end."""
    last, _ = _ends(values.shape)
    places = np.rint(np.minimum(np.maximum(index, np.float32(0)), last))
    return _taken(np.ravel(values), _flat_index(places, values.shape))


@lru_cache(maxsize=256)
def _ends(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """The last index along each axis, and the last one that has a next, (3, 1)."""
    sizes = np.array(shape, np.float32)[:, None]
    return np.maximum(sizes - 1, 0), np.maximum(sizes - 2, 0)


def _steps(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """How far apart neighbours along each axis lie in a flat array."""
    return shape[1] * shape[2], shape[2], 1


def _flat_index(places: Floats, shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Whole indices (3, n), as indices into the flat array."""
    plane, row, _ = _steps(shape)
    along = places.astype(np.int32)
    along[0] *= plane
    along[1] *= row
    flat = along[2]
    flat += along[1]
    flat += along[0]
    return np.asarray(flat, np.intp)


def _taken(voxels: NDArray[Any], flat: NDArray[np.intp]) -> NDArray[Any]:
    """Elements of a flat array; the mode is the quickest, and nothing is clipped."""
    taken: NDArray[Any] = voxels.take(flat, mode="clip")
    return taken
