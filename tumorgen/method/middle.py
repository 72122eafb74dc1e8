"""Places model `middle`: in the middle slices of the liver, some mm from its edge, whatever vessels there are.

What the authors' released code is described to do (docs/method.md). Arrays are (z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..imaging import Index, Triple, bounding_box
from .distances import distance_inside
from .reach import Keep
from .scan import Scan
from .settings import Places

_TRIES = 512  # voxels looked at before all of them are


@dataclass(frozen=True, slots=True, eq=False)
class Middle:
    """The middle slices of a scan's liver.

    Attributes
    ----------
    liver
        Liver mask in the scan's `roi`.
    first
        Index of the first voxel of `roi` in the image.
    spacing_mm
        Spacing of the voxels.
    voxels
        Flat indices into `liver` of the liver's voxels in these slices.
    inside_mm
        Least distance from the voxel of a centre to one outside the liver.
    """

    liver: NDArray[np.bool_]
    first: Index
    spacing_mm: Triple
    voxels: NDArray[np.intp]
    inside_mm: float

    @classmethod
    def of(cls, scan: Scan, places: Places) -> Middle:
        """The middle slices that the settings of places ask for; at least one."""
        liver = scan.healthy_roi()
        slices = bounding_box(liver)[0]
        last = slices.stop - 1 - slices.start
        low, high = (slices.start + round(part * last) for part in places.slices)
        voxels = np.flatnonzero(liver[low : high + 1]) + low * liver[0].size
        z, y, x = (s.start for s in scan.roi)
        return cls(liver, (z, y, x), scan.geometry.spacing_mm, voxels, places.inside_mm)

    def draw(self, keep: Keep, rng: Generator) -> Index | None:
        """Draw the voxel of a centre, each with the same chance; None where there is none that `keep` allows.

        Some voxels are tried, and then all are looked at.
        """
        if not self.voxels.size:
            return None
        tries = self.voxels[rng.integers(self.voxels.size, size=_TRIES)]
        ball = self._ball()
        pick = next((one for one in self._allowed(tries, keep) if self._is_inside(one, ball)), None)
        if pick is None:
            depth = distance_inside(self.liver, self.spacing_mm, edge_ends_it=True).ravel()
            inside = self._allowed(self.voxels[depth[self.voxels] >= self.inside_mm], keep)
            pick = inside[rng.integers(len(inside))] if len(inside) else None
        if pick is None:
            return None
        z, y, x = (int(i) + first for i, first in zip(pick, self.first, strict=True))
        return z, y, x

    def _allowed(self, voxels: NDArray[np.intp], keep: Keep) -> NDArray[np.intp]:
        """Indices (n, 3) into `liver` of those of some voxels that are allowed."""
        indices = np.stack(np.unravel_index(voxels, self.liver.shape), axis=1)
        return indices[keep((indices + self.first) * np.array(self.spacing_mm))]

    def _ball(self) -> NDArray[np.bool_]:
        """What is nearer to a voxel than its least distance from the edge, in a box around the voxel."""
        reach = [int(self.inside_mm / s) for s in self.spacing_mm]
        along = [np.arange(-n, n + 1) * s for n, s in zip(reach, self.spacing_mm, strict=True)]
        z, y, x = np.meshgrid(*along, indexing="ij", sparse=True)
        ball: NDArray[np.bool_] = z**2 + y**2 + x**2 < self.inside_mm**2
        return ball

    def _is_inside(self, index: NDArray[np.intp], ball: NDArray[np.bool_]) -> bool:
        """Whether all of the ball around a voxel is liver; what is beyond the scan is none."""
        low = [int(i) - n // 2 for i, n in zip(index, ball.shape, strict=True)]
        high = [a + n for a, n in zip(low, ball.shape, strict=True)]
        if min(low) < 0 or any(b > n for b, n in zip(high, self.liver.shape, strict=True)):
            return False
        z, y, x = (slice(a, b) for a, b in zip(low, high, strict=True))
        return bool(self.liver[z, y, x][ball].all())
