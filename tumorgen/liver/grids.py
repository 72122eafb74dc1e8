"""To the grid of a coarse network and back, touching only the voxels that count.

nnU-Net normalises, resamples and answers for whole scans. At 4 mm it then looks at two of five rows of a scan of
0.75 mm, and all that its answer says of what is far from the liver is "no". So only those rows are read here, and the
answer is brought back in the box around the liver alone. The numbers are those of nnU-Net's own way,
`resample_torch_fornnunet`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging import Box, Triple, bounding_box, shape_of

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
_SLAB = 16  # slices that are brought back at a time, so that no array of the whole box is needed


@dataclass(frozen=True, slots=True)
class Samples:
    """Where a grid's points lie between those of another, along one axis: neighbours, and the share of the upper."""

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    share: Floats

    @classmethod
    def between(cls, count: int, wanted: int) -> Samples:
        """Of `wanted` points over the same length as `count`, as torch places them without aligned corners."""
        place = np.maximum((np.arange(wanted) + 0.5) * (count / wanted) - 0.5, 0)
        low = np.minimum(place.astype(np.intp), count - 1)
        return cls(low, np.minimum(low + 1, count - 1), (place - low).astype(np.float32))

    @property
    def used(self) -> NDArray[np.intp]:
        """The points of the other grid that count."""
        return np.unique(np.concatenate([self.low, self.high]))

    def within(self, points: NDArray[np.intp]) -> Samples:
        """The same, counted among some points of the other grid: all that are used."""
        return Samples(np.searchsorted(points, self.low), np.searchsorted(points, self.high), self.share)

    def part(self, window: slice) -> Samples:
        """A part of the points."""
        return Samples(self.low[window], self.high[window], self.share[window])

    def along(self, values: Floats, axis: int) -> Floats:
        """Values between those of an axis of an array (z, y, x)."""
        share = self.share.reshape([-1 if a == axis else 1 for a in range(3)])
        between: Floats = values.take(self.high, axis)
        lower = values.take(self.low, axis)
        between -= lower
        between *= share
        between += lower
        return between


@dataclass(frozen=True, slots=True)
class Window:
    """The HU that a network sees, as nnU-Net's CTNormalization has them."""

    lowest_hu: float
    highest_hu: float
    mean_hu: float
    sd_hu: float

    @classmethod
    def of_plans(cls, properties: dict[str, Any]) -> Window:
        """From a channel's `foreground_intensity_properties_per_channel`."""
        names = ("percentile_00_5", "percentile_99_5", "mean", "std")
        return cls(*(float(properties[name]) for name in names))

    def normalized(self, hu: NDArray[Any]) -> Floats:
        """HU as the network takes them."""
        values = np.clip(hu.astype(np.float32), self.lowest_hu, self.highest_hu)
        values -= np.float32(self.mean_hu)
        values /= np.float32(max(self.sd_hu, 1e-8))
        return values


@dataclass(frozen=True, slots=True)
class CoarseGrid:
    """A scan's part that nnU-Net keeps, and how many voxels of the network it becomes.

    Attributes
    ----------
    shape
        Of the scan (z, y, x).
    kept
        The box beyond which the scan is 0 everywhere: nnU-Net crops to it.
    coarse
        Shape of that box on the network's grid.
    """

    shape: tuple[int, int, int]
    kept: Box
    coarse: tuple[int, int, int]

    @classmethod
    def over(cls, hu: NDArray[Any], spacing_mm: Triple, wanted_mm: Triple) -> CoarseGrid:
        """The grid for a scan (z, y, x) and the spacing that the network was trained at."""
        kept = bounding_box(hu)
        z, y, x = (round(have / want * n) for have, want, n in zip(spacing_mm, wanted_mm, shape_of(kept), strict=True))
        depth, height, width = hu.shape
        return cls((depth, height, width), kept, (max(z, 1), max(y, 1), max(x, 1)))

    def take(self, hu: NDArray[Any], window: Window) -> Floats:
        """The scan as the network sees it."""
        samples = [Samples.between(n, m) for n, m in zip(shape_of(self.kept), self.coarse, strict=True)]
        used = [s.used for s in samples]
        values = window.normalized(hu[self.kept][np.ix_(*used)])
        for axis, (some, points) in enumerate(zip(samples, used, strict=True)):
            values = some.within(points).along(values, axis)
        return values

    def bring_back(self, lead: Floats) -> Mask:
        """Where a lead of the liver over the background, given on the coarse grid, is above 0 on the scan's."""
        found = np.zeros(self.shape, dtype=bool)
        above = lead > 0
        if not above.any():
            return found
        samples = [Samples.between(m, n) for n, m in zip(shape_of(self.kept), self.coarse, strict=True)]
        near = [self._near(some, part) for some, part in zip(samples, bounding_box(above), strict=True)]
        z, y, x = near
        if min(z.stop - z.start, y.stop - y.start, x.stop - x.start) == 0:
            return found  # all of it lies between slices far apart, as in nnU-Net's own resampling
        for axis in (1, 2):
            lead = samples[axis].part(near[axis]).along(lead, axis)
        kept = found[self.kept]
        for first in range(z.start, z.stop, _SLAB):
            slab = slice(first, min(first + _SLAB, z.stop))
            kept[slab, y, x] = samples[0].part(slab).along(lead, 0) > 0
        return found

    @staticmethod
    def _near(samples: Samples, part: slice) -> slice:
        """The points that have a neighbour in a part of the coarse grid; none may have where they are far apart."""
        near = np.flatnonzero((samples.high >= part.start) & (samples.low < part.stop))
        return slice(int(near[0]), int(near[-1]) + 1) if near.size else slice(0, 0)
