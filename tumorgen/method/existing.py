"""Tumours that are really there: synthetic ones are placed so far away that they change no voxel of them.

Arrays and positions are (z, y, x).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..labels import TUMOR
from .distances import distance_inside
from .plan import Tumor
from .reach import Keep, changed_mm
from .scan import Scan


class RealTumors:
    """How far each voxel of a scan's liver is from tumours that are really there, in mm, measured once."""

    def __init__(self, scan: Scan) -> None:
        from scipy import ndimage  # here, since few scans have any

        there = np.asarray(scan.inside[scan.roi]) == TUMOR
        widened = ndimage.binary_dilation(there, np.ones((3, 3, 3), bool))  # a voxel counts with all of its extent
        self.distance_mm = distance_inside(~widened, scan.geometry.spacing_mm)
        self.spacing_mm, self.first = scan.geometry.spacing_mm, [axis.start for axis in scan.roi]

    def apart(self, tumor: Tumor) -> Keep:
        """Allow positions where a tumour changes nothing of them."""
        least_mm = changed_mm(tumor)

        def keep(positions: NDArray[np.float64]) -> NDArray[np.bool_]:
            z, y, x = np.rint(positions / self.spacing_mm).astype(np.intp).T
            first_z, first_y, first_x = self.first
            apart: NDArray[np.bool_] = self.distance_mm[z - first_z, y - first_y, x - first_x] > least_mm
            return apart

        return keep
