"""Linear operators that act on one axis of an array after another: small sparse matrices, and Gaussian blurs.

Products are sparse, not BLAS's: their order of summation is the same on every processor and for every number of
threads, so that a row of the manifest gives the same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from math import exp
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..imaging import Box, grow
from .compiled import csr_matvecs

if TYPE_CHECKING:
    from scipy import sparse

Floats = NDArray[np.float32]

_NO_BLUR = 1e-15  # voxels
ONE = 2**24  # float32 adds up shares of this many parts without rounding
_CACHED = 2**16  # float32 numbers, half of a small second-level cache


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
        multiply = csr_matvecs()  # not scipy's public product, whose checks take longer for a small tumour
        if multiply is None:
            checked: NDArray[Any] = self.checked() @ vectors
            return checked
        rows, count = self.rows, vectors.shape[1]
        out = np.zeros((rows, count), self.values.dtype)
        matrix = self.starts, self.columns, self.values
        multiply(rows, self.width, count, *matrix, vectors.ravel(), out.ravel())
        return out

    def checked(self) -> sparse.csr_array:
        """As a sparse matrix of scipy."""
        from scipy import sparse

        used = slice(self.starts[0], self.starts[-1])
        parts = self.values[used], self.columns[used], self.starts - self.starts[0]
        return sparse.csr_array(parts, shape=self.shape)


def as_operator(matrix: NDArray[Any], dtype: DTypeLike = np.float32) -> Operator:
    """A small matrix, most of whose entries are not zero."""
    columns, starts = _full(*matrix.shape)
    return Operator(matrix.astype(dtype).ravel(), columns, starts, matrix.shape[1])


def as_operators(matrix: NDArray[Any], sizes: Sequence[int]) -> list[Operator]:
    """A small matrix, most of whose entries are not zero, cut into operators with these numbers of rows."""
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
    """Apply an operator (out, in) to each of the axes z, y, x of an array (n, z, y, x), slab by slab.

    Yields slices of the resulting planes and these planes, (n, planes, y, x). A slab is small enough for the
    processor's cache, and the caller may change it.
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


def linear_shares(places: NDArray[np.floating[Any]], nodes: int) -> tuple[NDArray[np.int32], Floats]:
    """Which two nodes of a row each place lies between, (n, 2), and their shares; beyond the last ones their value.

    Places are counted in nodes from the first one.
    """
    places = places.clip(0, nodes - 1)
    low = np.minimum(places.astype(np.int32), max(nodes - 2, 0))
    share = (places - low).astype(np.float32)
    return np.stack([low, np.minimum(low + 1, nodes - 1)], axis=1), np.stack([1 - share, share], axis=1)


def blur_mirrored(values: Floats, sigmas: Sequence[float], radii: Sequence[int]) -> Floats:
    """Gaussian blur of values that are mirrored at their ends, the last ones doubled: scipy's "reflect".

    `sigmas` and `radii`, how far the blur reaches, are in voxels (z, y, x).
    """
    operators = [_mirrored(n, sigma, radius) for n, sigma, radius in zip(values.shape, sigmas, radii, strict=True)]
    return apply_separable(operators, values)


def blur_into_zeros(values: Floats, within: Box, sigmas: Sequence[float], radii: Sequence[int]) -> Box:
    """Gaussian blur, in place, of values that are zero outside a box; return the box outside which they still are.

    `sigmas` and `radii`, how far the blur reaches, are in voxels (z, y, x). A voxel's value does not depend on how many
    zeros the box holds.
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
    side = [round(weight / whole * ONE) for weight in side]
    return np.array([*side, ONE - 2 * sum(side), *side[::-1]], np.float32) / np.float32(ONE)


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
    """Which weight each entry has, columns and row starts of a blur that widens a row of voxels on both sides."""
    columns = _around(-before, size + behind, radius)
    there = (columns >= 0) & (columns < size)
    starts = np.zeros(len(there) + 1, np.int32)
    np.cumsum(np.count_nonzero(there, axis=1), out=starts[1:])
    taps: NDArray[np.intp] = there.nonzero()[1]
    return taps, columns[there], starts


def _around(first: int, end: int, radius: int) -> NDArray[np.int32]:
    """Matrix whose rows hold, for each number from `first` up to `end`, the numbers up to a radius from it."""
    numbers: NDArray[np.int32] = np.add.outer(
        np.arange(first, end, dtype=np.int32), np.arange(-radius, radius + 1, dtype=np.int32)
    )
    return numbers
