"""nnU-Net's resampling, worked out for any box of the result.

nnU-Net 2.8 resizes an image with cubic splines and a label map by the largest of its labels' linear interpolations, all
axes together or, where slices are thick, slice by slice with the nearest slice along the third axis
(`default_resampling.resample_data_or_seg`). Both are worked out here for the voxels that are asked for, and no others.

Cubic splines are linear and separable: along an axis, every new voxel is a weighted sum of old ones. The weights are
measured from `skimage.transform.resize` itself, which nnU-Net calls, and so include its way with borders. They fall off
by a factor of 3.7 a voxel (the pole of the spline's prefilter is sqrt(3) - 2): what is farther than some voxels away
counts for nothing. Labels need eight neighbours, and where these agree there is nothing to work out.

Arrays are (z, y, x) in the order of the plans' axes, after nnU-Net's transpose and crop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging import EMPTY, Box, Index, shape_of, whole_box

Floats = NDArray[np.float64]

UNSEEN = 1e-9  # weights below it are not looked at: of float32 values they change no bit but by rounding
UNCHANGED = 1e-7  # sd; what a change adds to new voxels farther away is less
_TILE = 64  # new voxels along an axis that are worked out together
_IN_CACHE = 1 << 16  # old voxels worked on together; as float64 they fit the processor's cache


@lru_cache(maxsize=64)
def cubic_weights(old: int, new: int) -> Floats | None:
    """Weights (new, old) of old voxels in each new one along an axis; None where nothing is resized."""
    from skimage.transform import resize

    if old == new:
        return None
    units = np.eye(old)
    columns = [resize(unit, (new,), order=3, mode="edge", clip=False, anti_aliasing=False) for unit in units]
    weights: Floats = np.ascontiguousarray(np.stack(columns, axis=1))
    weights.flags.writeable = False
    return weights


@dataclass(frozen=True, eq=False)
class Resampling:
    """How a case of a shape becomes one of another.

    Attributes
    ----------
    old, new
        Shapes (z, y, x).
    apart
        The axis along which slices are taken as they are, the nearest one; None where all axes are interpolated.
    """

    old: Index
    new: Index
    apart: int | None = None

    @property
    def is_none(self) -> bool:
        """Whether nothing is resampled."""
        return self.old == self.new

    @cached_property
    def weights(self) -> tuple[Floats | None, ...]:
        """Weights along each axis (`cubic_weights`); None where voxels are taken as they are."""
        return tuple(
            None if axis == self.apart else cubic_weights(old, new)
            for axis, (old, new) in enumerate(zip(self.old, self.new, strict=True))
        )

    @cached_property
    def slices(self) -> NDArray[np.intp]:
        """Along `apart`, the number of the old slice that each new one is; along any other axis, nothing."""
        axis = 0 if self.apart is None else self.apart
        nearest = np.floor(coordinates(self.old[axis], self.new[axis]) + 0.5)
        return np.clip(nearest, 0, self.old[axis] - 1).astype(np.intp)

    def taken(self, axis: int) -> NDArray[np.intp]:
        """Old voxels that new ones are, along an axis that is not interpolated."""
        return self.slices if axis == self.apart else np.arange(self.old[axis], dtype=np.intp)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Axes in the order in which they are interpolated: those that grow least, first."""
        growth = [new / old for old, new in zip(self.old, self.new, strict=True)]
        return tuple(sorted(range(3), key=growth.__getitem__))

    def resample(self, values: NDArray[Any], ranges: tuple[Floats, Floats] | None = None) -> NDArray[np.float32]:
        """The new image.

        Parameters
        ----------
        values
            The old image, float32.
        ranges
            Smallest and largest value that nnU-Net lets the spline have (`find_ranges`); None: it may have any.
        """
        result: NDArray[Any] = values
        if not self.is_none:
            result = np.empty(self.new, np.float32)
            first, second, third = self.order
            for tile in _tiles(self.new[first]):  # so that what lies between old and new image is never there whole
                slab = self._along(second, self._along(first, values, tile))
                self._along(third, slab, into=result[_across(first, tile)])
        if ranges is not None:
            result = self.clip(result, ranges)
        return result.astype(np.float32, copy=False)

    def clip(self, values: NDArray[Any], ranges: tuple[Floats, Floats], box: Box | None = None) -> NDArray[np.float32]:
        """The new image, or a box of it, with what the spline was beyond the ranges brought back to them."""
        if self.is_none:
            return values.astype(np.float32, copy=False)
        low, high = (self._at(side, box or whole_box(self.new)).astype(np.float32) for side in ranges)
        clipped: NDArray[np.float32] = np.clip(values, low, high, dtype=np.float32, casting="same_kind")
        return clipped

    def spread(self, change: Floats, box: Box) -> tuple[Box, Floats]:
        """What a change of a box of the old image adds to the new one, before that is clipped.

        It is a box, which may be empty, and what is added in it; outside, it is at most `UNCHANGED` in any voxel.
        """
        if self.is_none:
            return box, change
        weights = [self._weights_of(axis, part) for axis, part in enumerate(box)]
        sums = [np.abs(some).sum(axis=1) for some in weights]
        most = float(np.abs(change).max(initial=0)) * np.prod([some.max(initial=0) for some in sums])
        spans = [_span(some * most > UNCHANGED * some.max(initial=0)) for some in sums]
        target = _as_box(spans)
        if not all(shape_of(target)):
            return target, np.empty((0, 0, 0))
        for axis in self.order:
            change = _product(weights[axis][target[axis]], change, axis)
        return target, change

    def _weights_of(self, axis: int, part: slice) -> Floats:
        """Weights of some old voxels along an axis in all new ones."""
        weights = self.weights[axis]
        numbers = np.arange(part.start, part.stop)
        some: Floats = np.equal.outer(self.taken(axis), numbers).astype(float) if weights is None else weights[:, part]
        return some

    def _at(self, side: Floats, box: Box) -> Floats:
        """A limit for each new slice of a box, to be broadcast; where all axes are interpolated there is one."""
        if self.apart is None:
            return side
        shape = [1, 1, 1]
        shape[self.apart] = -1
        return side[self.slices[box[self.apart]]].reshape(shape)

    def _along(
        self, axis: int, values: NDArray[Any], part: slice | None = None, into: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Interpolate along one axis: the new voxels, or a part of them, float64 unless they go into another array."""
        weights, part = self.weights[axis], part or slice(0, self.new[axis])
        if into is None:
            shape = [part.stop - part.start if number == axis else n for number, n in enumerate(values.shape)]
            into = np.empty(shape)
        if weights is None:
            into[...] = np.take(values, self.taken(axis)[part], axis=axis)
            return into
        weights = weights[part]
        used = [(tile, _span(np.abs(weights[tile]).max(axis=0) > UNSEEN)) for tile in _tiles(len(weights))]
        for planes in _in_cache(values.shape, 1 if axis == 0 else 0):
            old, new = values[planes], into[planes]
            for tile, window in used:
                voxels = old[_across(axis, window)].astype(np.float64)
                new[_across(axis, tile)] = _product(weights[tile, window], voxels, axis)
        return into


def _tiles(count: int) -> list[slice]:
    """New voxels along an axis, some of them at a time."""
    return [slice(start, min(start + _TILE, count)) for start in range(0, count, _TILE)]


def _across(axis: int, part: slice) -> tuple[slice, ...]:
    """The index of a part along an axis."""
    return (*(slice(None),) * axis, part)


def _in_cache(shape: Sequence[int], axis: int) -> list[tuple[slice, ...]]:
    """An array of a shape, some planes across an axis at a time: they fit the processor's cache as float64."""
    count = max(1, _IN_CACHE * shape[axis] // math.prod(shape))
    return [_across(axis, slice(start, start + count)) for start in range(0, shape[axis], count)]


def find_ranges(values: NDArray[Any], apart: int | None) -> tuple[Floats, Floats]:
    """Smallest and largest of an image (z, y, x), or of each of its slices along an axis: nnU-Net clips to these."""
    axes = tuple(axis for axis in range(3) if axis != apart)
    low, high = values.min(axis=axes), values.max(axis=axes)
    return np.array(low, np.float64, ndmin=1), np.array(high, np.float64, ndmin=1)


def resample_labels(resampling: Resampling, labels: NDArray[Any], box: Box) -> NDArray[Any]:
    """Labels of a box of the new image, voxel for voxel as nnU-Net has them; `labels` is the whole old label map."""
    if resampling.is_none:
        return labels[box].copy()
    places = [_places(resampling, axis, box[axis]) for axis in range(3)]
    held = [np.clip(place, 0, old - 1) for place, old in zip(places, resampling.old, strict=True)]
    first = [int(np.floor(place.min())) for place in held]
    window = labels[tuple(slice(a, int(np.ceil(place.max())) + 1) for a, place in zip(first, held, strict=True))]
    if window.min() == window.max():
        return np.full(shape_of(box), window.flat[0])
    places = [place - a for place, a in zip(places, first, strict=True)]
    lower = [np.floor(place - a).astype(np.intp) for place, a in zip(held, first, strict=True)]
    upper = [np.ceil(place - a).astype(np.intp) for place, a in zip(held, first, strict=True)]
    least = most = window
    for axis, (low, high) in enumerate(zip(lower, upper, strict=True)):
        least = np.minimum(np.take(least, low, axis), np.take(least, high, axis))
        most = np.maximum(np.take(most, low, axis), np.take(most, high, axis))
    mixed = np.nonzero(least != most)
    if mixed[0].size:
        least[mixed] = _largest(window, np.stack([place[index] for place, index in zip(places, mixed, strict=True)]))
    return least


def reached_labels(resampling: Resampling, box: Box) -> Box:
    """The new voxels whose label depends on a box of the old label map; an empty box where there are none."""
    spans = []
    for axis, part in enumerate(box):
        place = np.clip(_places(resampling, axis, slice(0, resampling.new[axis])), 0, resampling.old[axis] - 1)
        spans.append(_span((np.ceil(place) >= part.start) & (np.floor(place) < part.stop)))
    return _as_box(spans)


def coordinates(old: int, new: int) -> Floats:
    """Where new voxels lie between old ones along an axis, as scipy.ndimage.zoom reckons it, to the last bit."""
    places: Floats = (np.arange(new, dtype=np.float64) + 0.5) * (old / new) - 0.5
    return places


def _places(resampling: Resampling, axis: int, part: slice) -> Floats:
    """Where new voxels lie along an axis, also beyond the old image: there, rounding breaks ties as in nnU-Net."""
    if axis == resampling.apart:
        return resampling.slices[part].astype(np.float64)
    return coordinates(resampling.old[axis], resampling.new[axis])[part]


def _largest(window: NDArray[Any], points: Floats) -> NDArray[Any]:
    """The label that has most of each point; of two that have the same, the nearer, else the smaller (nnU-Net's)."""
    from scipy import ndimage

    values = np.unique(window)
    shares = np.stack(
        [ndimage.map_coordinates((window == value).astype(float), points, order=1, mode="nearest") for value in values]
    )
    np.clip(shares, 0, 1, out=shares)
    nearest = np.searchsorted(values, ndimage.map_coordinates(window, points, order=0, mode="nearest"))
    near_share = np.take_along_axis(shares, nearest[None], axis=0)[0]
    return values[np.where(near_share == shares.max(axis=0), nearest, shares.argmax(axis=0))]


def _product(weights: Floats, values: Floats, axis: int) -> Floats:
    """Weights (new, old) times values along an axis, as products of matrices."""
    if axis == 0:
        planes: Floats = weights @ values.reshape(len(values), -1)
        return planes.reshape(-1, *values.shape[1:])
    rows: Floats = np.matmul(weights, values) if axis == 1 else values @ weights.T
    return rows


def _span(where: NDArray[np.bool_]) -> slice:
    """From the first to the last that is true; empty where none is."""
    found = np.flatnonzero(where)
    return slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, 0)


def _as_box(spans: Sequence[slice]) -> Box:
    z, y, x = spans
    return (z, y, x) if all(shape_of((z, y, x))) else EMPTY
