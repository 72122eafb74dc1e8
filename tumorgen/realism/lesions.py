"""Lesions of a label map: what counts as one, where it lies, and its radius.

A lesion is a component of 26 neighbours of the label of tumours. One of fewer than 20 voxels, or of an in-plane radius
below 2 mm, is too small to be measured: a handful of voxels has neither an edge nor an inside. Arrays are (z, y, x),
and axial slices lie along the first axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from ..imaging import Box, Triple, bounding_box, label_components, part_of
from ..labels import TUMOR

LEAST_VOXELS = 20
LEAST_RADIUS_MM = 2.0  # in-plane
_ROUNDING_MM = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Lesion:
    """A lesion that is large enough to be measured.

    Attributes
    ----------
    number
        Its number among the components of the scan, those too small among them, from 1, by their first voxel.
    box
        The smallest box of the label map (z, y, x) that holds it.
    mask
        Its voxels in that box, boolean.
    area_mm2
        Its area in each axial slice of the box.
    """

    number: int
    box: Box
    mask: NDArray[np.bool_]
    area_mm2: NDArray[np.float64]

    @property
    def radius_mm(self) -> float:
        """In-plane radius: that of the circle of its largest axial area."""
        return math.sqrt(float(self.area_mm2.max()) / math.pi)

    @property
    def voxels(self) -> int:
        """How many voxels it has."""
        return int(np.count_nonzero(self.mask))

    @property
    def center(self) -> Triple:
        """Mean of its voxels, as a continuous index (z, y, x) of the label map."""
        z, y, x = (
            float(along.mean()) + edge.start for along, edge in zip(np.nonzero(self.mask), self.box, strict=True)
        )
        return z, y, x

    @property
    def main_slices(self) -> NDArray[np.intp]:
        """Those axial slices of the label map in which it has at least half of its largest area."""
        slices: NDArray[np.intp] = self.box[0].start + np.flatnonzero(self.area_mm2 >= self.area_mm2.max() / 2)
        return slices


@dataclass(frozen=True, slots=True, eq=False)
class FoundLesions:
    """The lesions of a label map that can be measured, and how many components are too small for that.

    `real` counts those that are left out, where lesions are looked for that were drawn (`realism.drawn`).
    """

    lesions: tuple[Lesion, ...]
    too_small: int
    real: int = 0

    @property
    def components(self) -> int:
        """How many components there are, large and small."""
        return len(self.lesions) + self.too_small


def find_lesions(labels: NDArray[Any], spacing_mm: Triple) -> FoundLesions:
    """Find the lesions of a label map (z, y, x) with voxels of a spacing (z, y, x) in mm; there may be none."""
    tumors = labels == TUMOR
    window = bounding_box(tumors)
    numbers = label_components(tumors[window])
    found = cc3d.statistics(numbers)
    components = [
        _component(numbers, number, box, window, spacing_mm)
        for number, (box, voxels) in enumerate(zip(found["bounding_boxes"], found["voxel_counts"], strict=True))
        if number and voxels >= LEAST_VOXELS
    ]
    lesions = tuple(one for one in components if one.radius_mm >= LEAST_RADIUS_MM - _ROUNDING_MM)
    return FoundLesions(lesions, len(found["voxel_counts"]) - 1 - len(lesions))


def _component(numbers: NDArray[Any], number: int, box: Box, window: Box, spacing_mm: Triple) -> Lesion:
    """A component of a window of the label map, where it lies in a box of that window."""
    mask: NDArray[np.bool_] = numbers[box] == number
    area_mm2 = np.count_nonzero(mask, axis=(1, 2)) * (spacing_mm[1] * spacing_mm[2])
    return Lesion(number, part_of(window, box), mask, area_mm2.astype(np.float64))
