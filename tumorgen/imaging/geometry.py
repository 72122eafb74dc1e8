"""Voxels with their place in space.

Arrays are (z, y, x). Spacing is (z, y, x) in mm. Origin, direction and points are ITK's: (x, y, z) in mm, LPS (3D
Slicer shows RAS: negate x and y).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..wording import few, plural

GEOMETRY_TOLERANCE_MM = 1e-3  # headers store spacing and origin as float32: 1e-3 mm is far above their rounding

Index = tuple[int, int, int]
Triple = tuple[float, float, float]
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)  # direction of a scan along the patient's axes


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where voxels are: shape and spacing (z, y, x); origin (x, y, z) and direction (row-major 3 x 3) as in ITK."""

    shape: Index
    spacing_mm: Triple
    origin_mm: Triple = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm3."""
        return math.prod(self.spacing_mm)

    @property
    def is_axial(self) -> bool:
        """Whether slices along the array's first axis are axial: it is within 45 degrees of the patient's length."""
        return abs(self.direction[8]) >= math.sqrt(0.5)

    def to_mm(self, index: Triple) -> Triple:
        """Physical point (x, y, z), LPS mm, of a continuous voxel index (z, y, x)."""
        scaled = [i * s for i, s in zip(index[::-1], self.spacing_mm[::-1], strict=True)]
        x, y, z = np.reshape(self.direction, (3, 3)) @ scaled + self.origin_mm
        return float(x), float(y), float(z)

    def to_index(self, point_mm: Triple) -> Triple:
        """Continuous voxel index (z, y, x) of a physical point (x, y, z) in LPS mm."""
        return _index_of(self, point_mm)

    def difference(self, other: Geometry) -> str:
        """Why two volumes do not lie on the same voxel grid, in words; empty where they do.

        Corners are compared in mm, so that a tiny difference in direction counts for what it moves.
        """
        if self.shape != other.shape:
            return f"shape {self.shape} against {other.shape} (z, y, x)"
        if not np.allclose(self.spacing_mm, other.spacing_mm, rtol=0, atol=GEOMETRY_TOLERANCE_MM):
            return f"spacing {self.spacing_mm} against {other.spacing_mm} mm (z, y, x)"
        last = np.subtract(self.shape, 1)
        corners = [tuple(last * np.array(pick)) for pick in np.ndindex(2, 2, 2)]
        apart = max(float(np.linalg.norm(np.subtract(self.to_mm(c), other.to_mm(c)))) for c in corners)
        if apart > 100 * GEOMETRY_TOLERANCE_MM:
            return f"corners lie up to {apart:.2f} mm apart (origin or direction differs)"
        return ""

    def is_turned(self, other: Geometry) -> bool:
        """Whether two volumes have the same voxel centres, their axes being in another order or direction."""
        return bool(self.difference(other)) and not all(self.difference(turned) for turned in other.turns())

    def turns(self) -> Iterator[Geometry]:
        """The geometries of the same voxels with their axes in any order and direction."""
        axes = np.reshape(self.direction, (3, 3))[:, ::-1]  # of z, y and x
        for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
            first: list[float] = [0.0, 0.0, 0.0]
            for axis, sign in zip(order, signs, strict=True):
                first[axis] = 0.0 if sign > 0 else self.shape[axis] - 1.0
            a, b, c = order
            yield Geometry(
                (self.shape[a], self.shape[b], self.shape[c]),
                (self.spacing_mm[a], self.spacing_mm[b], self.spacing_mm[c]),
                self.to_mm((first[0], first[1], first[2])),
                tuple((axes[:, order] * signs)[:, ::-1].ravel().tolist()),
            )


@lru_cache(maxsize=64)
def _index_of(geometry: Geometry, point_mm: Triple) -> Triple:
    """Where a point lies; every step of a tumour's rendering asks for its centre."""
    offset = np.subtract(point_mm, geometry.origin_mm)
    if geometry.direction != IDENTITY:
        offset = np.linalg.solve(np.reshape(geometry.direction, (3, 3)), offset)
    x, y, z = (offset / geometry.spacing_mm[::-1]).tolist()
    return z, y, x


def describe_not_axial(cases: Sequence[str]) -> str:
    """What there is to know of scans that are not stored in axial slices, in words."""
    return (
        f"{plural(len(cases), 'scan')} not stored in axial slices ({few(sorted(cases))}): tumours are drawn as if they"
        " were, flat and uneven along another axis than in a patient; turn such scans before liver-mask, as"
        ' SimpleITK.DICOMOrient(image, "LPS") does'
    )


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """An array (z, y, x) and its geometry."""

    array: NDArray[Any]
    geometry: Geometry
