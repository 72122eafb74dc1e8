"""A scan as nnU-Net's preprocessing has it before it is resampled: transposed, cropped, normalised; and its variants.

Arrays are (z, y, x) in the order of the plans' axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging import Box, Index, overlap, shape_of
from .changes import Change, narrowed
from .resampling import Resampling, find_ranges, reached_labels, resample_labels

NO_DATA = -1  # nnU-Net's label of what lies outside the body
SAME = 4e-7  # sd; a cell to which its variant adds no more in any voxel stays as it is
_CELL = 64  # voxels a side of what is resampled together of a label map; most of it has one label throughout

Values = NDArray[np.float32]
Labels = NDArray[np.int8]
Normalize = Callable[[NDArray[Any]], Values]
Laid = tuple[Box, NDArray[Any]]  # a box, and what is in it
Corner = tuple[int, int, int]
Cells = Callable[[Box], Iterable[Box]]


@dataclass(frozen=True, slots=True, eq=False)
class Cropped:
    """A scan, healthy or not, that is still to be resampled.

    Attributes
    ----------
    transpose
        nnU-Net's `transpose_forward`.
    crop
        The box that is not empty, of the transposed scan.
    values, labels
        What is in it: normalised, float32; int8, -1 where there is no data.
    outside
        Which voxels of it lie outside the body; None where none does.
    normalize
        Makes normalised values, float32, of HU.
    """

    transpose: tuple[int, int, int]
    crop: Box
    values: Values
    labels: Labels
    outside: NDArray[np.bool_] | None
    normalize: Normalize

    @classmethod
    def of(
        cls,
        hu: NDArray[Any],
        label: NDArray[np.uint8],
        outside: NDArray[np.bool_] | None,
        transpose: tuple[int, int, int],
        normalize: Normalize,
    ) -> Cropped:
        """Transpose, crop and normalise a scan (HU, labels and what lies outside the body, on one grid)."""
        crop = find_crop(outside, hu.shape, transpose)
        there = _cropped(outside, crop, transpose)
        values = normalize(np.ascontiguousarray(hu.transpose(transpose)[crop]))
        labels = _mark_outside(np.ascontiguousarray(label.transpose(transpose)[crop]).astype(np.int8), there)
        return cls(transpose, crop, values, labels, there, normalize)

    @property
    def shape(self) -> Index:
        """Voxels (z, y, x)."""
        return shape_of(self.crop)

    def lay_values(self, changes: Sequence[Change]) -> list[Laid]:
        """The boxes in which changes of the scan alter normalised values, and these."""
        return self._lay([(c.box, c.hu) for c in changes], self.values, lambda hu, _: self.normalize(hu))

    def crop_outside(self, outside: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """Which of the voxels lie outside the body, where of the scan `outside` do."""
        return _cropped(outside, self.crop, self.transpose)

    def lay_labels(self, changes: Sequence[Change], outside: NDArray[np.bool_] | None) -> list[Laid]:
        """The boxes in which changes of the scan alter labels, and these; `outside` then lies outside the body."""

        def as_labels(label: NDArray[Any], box: Box) -> NDArray[Any]:
            return _mark_outside(label.astype(np.int8), None if outside is None else outside[box])

        return self._lay([(c.box, c.label) for c in changes], self.labels, as_labels)

    def _lay(
        self, changed: Sequence[Laid], before: NDArray[Any], made: Callable[[NDArray[Any], Box], NDArray[Any]]
    ) -> list[Laid]:
        laid = []
        for box, voxels in changed:
            here = tuple(box[axis] for axis in self.transpose)
            windows = overlap((here[0], here[1], here[2]), self.crop)
            if windows:
                inner, place = windows
                new = narrowed(place, before[place], made(voxels.transpose(self.transpose)[inner], place))
                laid += [new] if new else []
        return laid


def find_crop(outside: NDArray[np.bool_] | None, shape: Sequence[int], transpose: Sequence[int] = (0, 1, 2)) -> Box:
    """The smallest box of a transposed scan that holds all that does not lie outside the body; the whole, if all does.

    So does nnU-Net.
    """
    spans = []
    for axis in transpose:
        span = slice(0, shape[axis])
        if outside is not None:
            others = tuple(other for other in range(3) if other != axis)
            found = np.flatnonzero(~outside.all(axis=others))
            span = slice(int(found[0]), int(found[-1]) + 1) if found.size else span
        spans.append(span)
    z, y, x = spans
    return z, y, x


def _cropped(outside: NDArray[np.bool_] | None, crop: Box, transpose: tuple[int, int, int]) -> NDArray[np.bool_] | None:
    return None if outside is None else np.ascontiguousarray(outside.transpose(transpose)[crop])


def _mark_outside(labels: Labels, outside: NDArray[np.bool_] | None) -> Labels:
    """Labels, written to: background outside the body is no data."""
    if outside is not None:
        labels[outside & (labels == 0)] = NO_DATA
    return labels


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """The values that nnU-Net clips a resampled image to: smallest and largest of it or of each of its old slices.

    Attributes
    ----------
    limits
        Smallest and largest.
    counts
        How many voxels have that value.
    apart
        The axis of the slices, if they are resampled one by one.
    """

    limits: tuple[NDArray[np.float64], NDArray[np.float64]]
    counts: tuple[NDArray[np.intp], NDArray[np.intp]]
    apart: int | None

    @classmethod
    def of(cls, values: Values, apart: int | None) -> Ranges:
        """Find them in a cropped image."""
        limits = find_ranges(values, apart)
        low, high = (_count(values, limit, apart) for limit in limits)
        return cls(limits, (low, high), apart)

    def hold(self, values: Values, laid: Sequence[Laid]) -> bool:
        """Whether the image has the same limits with other values laid over it, in boxes that do not overlap."""
        low, high = (count.copy() for count in self.counts)
        for box, new in laid:
            part = slice(0, 1) if self.apart is None else box[self.apart]
            ends = [limit[part] for limit in self.limits]
            lowest, highest = find_ranges(new, self.apart)
            if (lowest < ends[0]).any() or (highest > ends[1]).any():
                return False
            for count, end in zip((low, high), ends, strict=True):
                count[part] += _count(new, end, self.apart) - _count(values[box], end, self.apart)
        return bool((low > 0).all() and (high > 0).all())


def _count(values: NDArray[Any], limits: NDArray[np.float64], apart: int | None) -> NDArray[np.intp]:
    """Voxels that have a value, of the whole or of each slice."""
    shape = [1, 1, 1]
    if apart is not None:
        shape[apart] = -1
    axes = tuple(axis for axis in range(3) if axis != apart)
    return np.atleast_1d(np.count_nonzero(values == limits.reshape(shape).astype(values.dtype), axis=axes))


def resample_all_labels(cropped: Cropped, resampling: Resampling) -> Labels:
    """The whole label map, resampled."""
    result = np.empty(resampling.new, np.int8)
    for starts in product(*(range(0, n, _CELL) for n in resampling.new)):
        z, y, x = (slice(a, min(a + _CELL, n)) for a, n in zip(starts, resampling.new, strict=True))
        result[z, y, x] = resample_labels(resampling, cropped.labels, (z, y, x))
    return result


def changed_values(
    healthy: tuple[Values, Values], laid: Sequence[Laid], resampling: Resampling, ranges: Ranges, cells: Cells
) -> list[Laid]:
    """Cells of the resampled image that change with an image over which `laid` is laid, and what is in them.

    Parameters
    ----------
    healthy
        The image, and what is made of it by resampling without holding it within the ranges.
    laid
        Boxes that do not overlap.
    resampling, ranges
        How, and within what limits, which are the same with `laid` over the image.
    cells
        The cells of a grid of the resampled image that a box lies in.
    """
    before, resampled = healthy
    added = [resampling.spread(new.astype(np.float64) - before[box], box) for box, new in laid]
    shares: dict[Corner, tuple[Box, list[Laid]]] = {}
    for box, more in added:
        for cell in cells(box) if all(shape_of(box)) else ():
            shares.setdefault((cell[0].start, cell[1].start, cell[2].start), (cell, []))[1].append((box, more))
    changed = []
    for cell, parts in shares.values():
        total = _sum_in(cell, parts)
        if max(total.max(), -total.min()) > SAME:
            total += resampled[cell]
            changed.append((cell, resampling.clip(total, ranges.limits, cell)))
    return changed


def _sum_in(cell: Box, parts: Sequence[Laid]) -> NDArray[np.float64]:
    """The sum of boxes, in a cell that each of them has a share in."""
    total = np.zeros(shape_of(cell))
    for box, values in parts:
        windows = overlap(cell, box)
        if windows:
            total[windows[0]] += values[windows[1]]
    return total


def changed_labels(labels: Labels, laid: Sequence[Laid], resampling: Resampling) -> list[Laid]:
    """Boxes of the resampled label map that change with one over which `laid` has been laid, and what is in them."""
    boxes = [reached_labels(resampling, box) for box, _ in laid]
    return [(box, resample_labels(resampling, labels, box)) for box in boxes if all(shape_of(box))]
