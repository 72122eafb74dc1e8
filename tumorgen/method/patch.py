"""Patches: what a sample changes in its scan, and what came out of each of its tumours.

Arrays are (z, y, x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from ..fields import About
from ..imaging import Box
from .scan import Scan


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A box of the image and what it becomes: HU in the image's data type, label as uint8."""

    box: Box
    image: NDArray[Any]
    label: NDArray[np.uint8]


def _center_along(axis: str) -> About:
    return About(f"{axis} of the voxel that the centre lies in; rendering does not read this", "voxels")


def _box_along(axis: str, end: str) -> About:
    return About(f"{end} of the box of voxels that it may have changed, along {axis}", "voxels")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of one tumour, measured when it had been rendered.

    Outside the boxes of a sample's tumours, its image is the source.
    """

    center_z_voxel: Annotated[int, _center_along("z")]
    center_y_voxel: Annotated[int, _center_along("y")]
    center_x_voxel: Annotated[int, _center_along("x")]
    volume_mm3: Annotated[
        float,
        About(
            "volume of the voxels that it labels tumour; where the liver's edge is smoothed (recipe `lifelike`) or"
            " moved (`turing`) a few of them may lie outside the liver mask (docs/usage.md)",
            "mm3",
        ),
    ]
    equivalent_radius_mm: Annotated[float, About("radius of the sphere of that volume", "mm")]
    mean_hu: Annotated[float, About("mean of the image in those voxels; `nan` where there are none", "HU")]
    sd_hu: Annotated[float, About("standard deviation of the image in those voxels", "HU")]
    contrast_hu: Annotated[float, About("mean_hu - mu_p", "HU")]
    vessel_overlap: Annotated[float, About("fraction of those voxels that is vessel in the healthy scan")]
    clipped_fraction: Annotated[
        float, About("fraction of the tumour that the edge of the liver or of the scan cut off")
    ]
    box_z0: Annotated[int, _box_along("z", "first voxel")]
    box_z1: Annotated[int, _box_along("z", "end (exclusive)")]
    box_y0: Annotated[int, _box_along("y", "first voxel")]
    box_y1: Annotated[int, _box_along("y", "end (exclusive)")]
    box_x0: Annotated[int, _box_along("x", "first voxel")]
    box_x1: Annotated[int, _box_along("x", "end (exclusive)")]

    @property
    def has_voxels(self) -> bool:
        """Whether the tumour labels a voxel."""
        return not math.isnan(self.mean_hu)

    @property
    def box(self) -> Box:
        """The box as slices (z, y, x)."""
        return slice(self.box_z0, self.box_z1), slice(self.box_y0, self.box_y1), slice(self.box_x0, self.box_x1)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """What a sample changes in its scan: blocks, to be laid over it in this order, and an outcome for each tumour."""

    blocks: tuple[Block, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def images(self) -> list[tuple[Box, NDArray[Any]]]:
        """Boxes of the image, and what they become."""
        return [(block.box, block.image) for block in self.blocks]

    @property
    def labels(self) -> list[tuple[Box, NDArray[Any]]]:
        """Boxes of the label, and what they become."""
        return [(block.box, block.label) for block in self.blocks]

    def apply(self, scan: Scan) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return whole image (the scan's data type) and whole label (uint8), (z, y, x), as new arrays."""
        image, label = scan.image.array.copy(), scan.label.copy()
        for block in self.blocks:
            image[block.box] = block.image
            label[block.box] = block.label
        return image, label
