"""Patches: what a sample changes in its scan, and what came out of each of its tumours.

Arrays are (z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.boxes import Box
from .scan import Scan


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A box of the image and what it becomes: HU in the image's data type, label as uint8."""

    box: Box
    image: NDArray[Any]
    label: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of one tumour, measured when it had been rendered.

    Attributes
    ----------
    center_z_voxel, center_y_voxel, center_x_voxel
        Voxel that the centre lies in.
    volume_mm3
        Volume of the voxels labelled tumour by this row.
    equivalent_radius_mm
        Radius of the sphere of that volume.
    mean_hu, sd_hu
        Of the image in those voxels.
    contrast_hu
        mean_hu - mu_p.
    vessel_overlap
        Fraction of those voxels that are vessel in the healthy scan.
    clipped_fraction
        Fraction of the tumour's voxels that the liver's edge (or the scan's) cut off.
    box_z0 ... box_x1
        Box of voxels that the tumour may have changed, half-open; outside a sample's boxes its image is the source.
    """

    center_z_voxel: int
    center_y_voxel: int
    center_x_voxel: int
    volume_mm3: float
    equivalent_radius_mm: float
    mean_hu: float
    sd_hu: float
    contrast_hu: float
    vessel_overlap: float
    clipped_fraction: float
    box_z0: int
    box_z1: int
    box_y0: int
    box_y1: int
    box_x0: int
    box_x1: int

    @property
    def box(self) -> Box:
        """The box as slices (z, y, x)."""
        return slice(self.box_z0, self.box_z1), slice(self.box_y0, self.box_y1), slice(self.box_x0, self.box_x1)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """What a sample changes in its scan: blocks, to be laid over it in this order, and an outcome for each tumour."""

    blocks: tuple[Block, ...]
    outcomes: tuple[Outcome, ...]

    def apply(self, scan: Scan) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Whole image (the scan's data type) and whole label (uint8), (z, y, x), as new arrays."""
        image, label = scan.image.array.copy(), scan.liver.astype(np.uint8)
        for block in self.blocks:
            image[block.box] = block.image
            label[block.box] = block.label
        return image, label
