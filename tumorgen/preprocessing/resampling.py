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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging import Box, Index, shape_of

Floats = NDArray[np.float64]

UNSEEN = 1e-9  # weights below it are not looked at: of float32 values they change no bit but by rounding
UNCHANGED = 1e-7  # a new voxel on which changed ones weigh less stays; a change of 20 sd is then one of 3e-6 sd
_TILE = 32  # new voxels along an axis that are worked out together


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

    def reached(self, box: Box) -> Box:
        """The new voxels that depend on a box of the old image; an empty box where there are none."""
        return _as_box([self._reached(axis, part) for axis, part in enumerate(box)])

    def _reached(self, axis: int, part: slice) -> slice:
        weights = self.weights[axis]
        if weights is None:
            taken = self.taken(axis)
            return _span((taken >= part.start) & (taken < part.stop))
        return _span(np.abs(weights[:, part]).sum(axis=1) > UNCHANGED)

    def resample(self, values: NDArray[Any], box: Box, ranges: tuple[Floats, Floats]) -> NDArray[np.float32]:
        """Voxels of a box of the new image.

        Parameters
        ----------
        values
            The whole old image, float32.
        box
            Of the new image.
        ranges
            Smallest and largest value that nnU-Net lets the spline have (`find_ranges`).
        """
        if self.is_none:
            return values[box].astype(np.float32)
        result: NDArray[Any] = values
        offset = [0, 0, 0]
        for axis in (0, 1, 2):  # the windows of the later axes first, so that nothing is worked out in vain
            used = self._used(axis, box[axis])
            result = result[(slice(None),) * axis + (used,)]
            offset[axis] = used.start
        for axis in (0, 1, 2):
            result = self._along(axis, box[axis], result, offset[axis])
        low, high = (self._at(side, box) for side in ranges)
        clipped: NDArray[np.float32] = np.clip(result, low, high).astype(np.float32)
        return clipped

    def _at(self, side: Floats, box: Box) -> Floats:
        """A limit for each new slice of a box, to be broadcast; where all axes are interpolated there is one."""
        if self.apart is None:
            return side
        shape = [1, 1, 1]
        shape[self.apart] = -1
        return side[self.slices[box[self.apart]]].reshape(shape)

    def _used(self, axis: int, part: slice) -> slice:
        """Old voxels along an axis that some new ones depend on."""
        weights = self.weights[axis]
        if weights is None:
            taken = self.taken(axis)[part]
            return slice(int(taken.min()), int(taken.max()) + 1)
        return _span(np.abs(weights[part]).max(axis=0) > UNSEEN)

    def _along(self, axis: int, part: slice, values: NDArray[Any], first: int) -> NDArray[Any]:
        """Interpolate along one axis: new voxels `part`, of values whose first is the old voxel `first`."""
        weights = self.weights[axis]
        if weights is None:
            return np.take(values, self.taken(axis)[part] - first, axis=axis)
        shape = list(values.shape)
        shape[axis] = part.stop - part.start
        result = np.empty(shape)
        for start in range(part.start, part.stop, _TILE):
            tile = slice(start, min(start + _TILE, part.stop))
            used = self._used(axis, tile)
            here = slice(used.start - first, used.stop - first)
            window = values[(slice(None),) * axis + (here,)].astype(np.float64)
            target = (slice(None),) * axis + (slice(tile.start - part.start, tile.stop - part.start),)
            result[target] = _product(weights[tile, used], window, axis)
        return result


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
    lower = [np.floor(place).astype(np.intp) for place in places]
    upper = [np.ceil(place).astype(np.intp) for place in places]
    least = most = labels
    for axis, (low, high) in enumerate(zip(lower, upper, strict=True)):
        least = np.minimum(np.take(least, low, axis), np.take(least, high, axis))
        most = np.maximum(np.take(most, low, axis), np.take(most, high, axis))
    mixed = np.nonzero(least != most)
    if mixed[0].size:
        first = [int(low.min()) for low in lower]
        window = labels[tuple(slice(a, int(high.max()) + 1) for a, high in zip(first, upper, strict=True))]
        points = [place[index] - a for place, index, a in zip(places, mixed, first, strict=True)]
        least[mixed] = _largest(window, np.stack(points))
    return least


def reached_labels(resampling: Resampling, box: Box) -> Box:
    """The new voxels whose label depends on a box of the old label map; an empty box where there are none."""
    spans = []
    for axis, part in enumerate(box):
        place = _places(resampling, axis, slice(0, resampling.new[axis]))
        spans.append(_span((np.ceil(place) >= part.start) & (np.floor(place) < part.stop)))
    return _as_box(spans)


def coordinates(old: int, new: int) -> Floats:
    """Where new voxels lie between old ones along an axis, as scipy.ndimage.zoom reckons it, to the last bit."""
    places: Floats = (np.arange(new, dtype=np.float64) + 0.5) * (old / new) - 0.5
    return places


def _places(resampling: Resampling, axis: int, part: slice) -> Floats:
    """Where new voxels lie along an axis, held within the old image."""
    if axis == resampling.apart:
        return resampling.slices[part].astype(np.float64)
    old = resampling.old[axis]
    return np.clip(coordinates(old, resampling.new[axis])[part], 0, old - 1)


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
    return (z, y, x) if all(shape_of((z, y, x))) else (slice(0, 0), slice(0, 0), slice(0, 0))
