"""Where a mask ends: what lies outside it, and distances of voxels to there, in mm."""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import edt
import numpy as np
from numpy.typing import NDArray

from .operators import Floats


def distance_inside(mask: NDArray[np.bool_], spacing_mm: Sequence[float], *, edge_ends_it: bool = False) -> Floats:
    """Distance of each voxel of a mask to the nearest one outside it, mm; zero outside, infinite where nothing is.

    Parameters
    ----------
    mask
        Boolean, (z, y, x).
    spacing_mm
        Spacing (z, y, x).
    edge_ends_it
        Whether what lies beyond the array is outside the mask.
    """
    labels = np.ascontiguousarray(mask).view(np.uint8)  # edt's way for booleans takes twice as long, to the same bits
    distance: Floats = edt.edt(labels, anisotropy=tuple(spacing_mm), black_border=edge_ends_it, parallel=1)
    return distance


def outside_with_margin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What lies outside a mask (z, y, x), in an array with a margin of one voxel, all outside, on every side.

    Holes, which the mask encloses in three dimensions, are not outside.
    """
    parts = cc3d.connected_components(np.pad(~mask, 1, constant_values=True), connectivity=6)
    outside: NDArray[np.bool_] = parts == parts[0, 0, 0]
    return outside
