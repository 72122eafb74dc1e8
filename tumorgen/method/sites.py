"""Sites: where in a liver the centre of a tumour may lie, by depth below the surface, and what lies around each place.

Arrays are (z, y, x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..imaging import Triple, bounding_box
from .distances import distance_inside, outside_with_margin

OUTSIDE, OTHER, PARENCHYMA = range(3)  # what a voxel is: no liver, liver that is no parenchyma, parenchyma
DEPTH_STEP_MM = 0.1  # depths are told apart by; well below a voxel
_DEEPEST = 2**16 - 1  # steps, 6.5 m


@dataclass(frozen=True, slots=True, eq=False)
class Sites:
    """The parenchyma of a liver by depth below the surface: the voxels of any range of depths lie side by side.

    Attributes
    ----------
    kinds
        What each voxel of the scan's `roi` is, with a margin of one voxel that is no liver; uint8.
    voxels
        Flat indices into `roi` of the parenchyma, by rising depth.
    starts
        Number of the first voxel that is as deep as each multiple of `DEPTH_STEP_MM`; the last entry counts them all.
    """

    kinds: NDArray[np.uint8]
    voxels: NDArray[np.int32]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, liver: NDArray[np.bool_], parenchyma: NDArray[np.bool_], spacing_mm: Triple) -> Sites:
        """Sort the parenchyma of a liver by depth; both masks cover the scan's `roi`."""
        kinds = np.zeros([n + 2 for n in liver.shape], np.uint8)
        np.add(liver, parenchyma, out=kinds[1:-1, 1:-1, 1:-1], dtype=np.uint8)
        voxels = np.flatnonzero(parenchyma).astype(np.int32)
        box = bounding_box(liver)
        depth_mm = depth_below_surface(liver[box], spacing_mm)[parenchyma[box]]
        steps = np.minimum(depth_mm / np.float32(DEPTH_STEP_MM), _DEEPEST).astype(np.uint16)
        counts = np.bincount(steps)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(kinds, voxels[np.argsort(steps, kind="stable")], starts)

    def around(self, depth_mm: float, width_mm: float) -> range:
        """Numbers of the voxels whose depth lies within a width of one: of the deepest, where none is as deep."""
        if not self.voxels.size:
            return range(0)
        deepest = self.starts.size - 2
        middle = min(depth_mm, deepest * DEPTH_STEP_MM)
        low = max(0, math.floor((middle - width_mm) / DEPTH_STEP_MM))
        high = min(deepest, math.floor((middle + width_mm) / DEPTH_STEP_MM))
        return range(int(self.starts[low]), int(self.starts[high + 1]))

    def depth_mm(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Depth of some of the voxels below the liver's surface, to `DEPTH_STEP_MM`."""
        depth: NDArray[np.float64] = DEPTH_STEP_MM * (np.searchsorted(self.starts, numbers, side="right") - 1).astype(
            np.float64
        )
        return depth

    def indices(self, numbers: NDArray[np.int_]) -> NDArray[np.int64]:
        """Indices (n, 3) in `roi`, (z, y, x), of some of the voxels."""
        _, rows, columns = (n - 2 for n in self.kinds.shape)
        plane, left = np.divmod(self.voxels.take(numbers), rows * columns)
        return np.array([plane, *np.divmod(left, columns)], np.int64).T


def depth_below_surface(liver: NDArray[np.bool_], spacing_mm: Triple) -> NDArray[np.float32]:
    """Distance in mm of each voxel of a liver to the nearest one outside; holes in the liver have no surface.

    What lies beyond the array is outside.
    """
    return distance_inside(~outside_with_margin(liver), spacing_mm)[1:-1, 1:-1, 1:-1]
