"""Views: volumes turned the way radiologists look at them, and the part of a slice that a picture shows.

Arrays are (z, y, x). Positions on a slice are in mm along the image's axes from the centre of its first voxel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import Geometry, Triple, Volume, orientation_of, read_volume

_TARGET = ("RL", "AP", "IS")  # x, y, z of a display volume: towards the patient's left, back and head


def read_fitting(path: Path, grid: Geometry, of: object, trust: str = "") -> Volume:
    """Read a volume that lies on a grid; `of` says in the message whose that is, `trust` is that of `read_volume`.

    Raises
    ------
    TumorgenError
        The file is missing or unreadable, or lies on another grid.
    """
    volume = read_volume(path, trust)
    difference = grid.difference(volume.geometry)
    if difference:
        raise TumorgenError(f"{path}: does not fit {of}: {difference}")
    return volume


def to_lps(volume: Volume) -> Volume:
    """The volume with its axes permuted and flipped so that x, y, z run closest to left, posterior, superior.

    For display only. The array is a view: no voxel is copied or resampled. An oblique scan keeps its own planes.
    """
    geometry = volume.geometry
    letters = orientation_of(geometry)  # of image x, y, z
    order = [next(i for i, letter in enumerate(letters) if letter in pair) for pair in _TARGET]
    flipped = [letters[i] == pair[0] for i, pair in zip(order, _TARGET, strict=True)]

    xyz = np.transpose(volume.array).transpose(order)
    xyz = xyz[tuple(slice(None, None, -1) if flip else slice(None) for flip in flipped)]
    array = np.transpose(xyz)

    first = np.zeros(3)  # image index (x, y, z) of the new first voxel
    for axis, flip in zip(order, flipped, strict=True):
        first[axis] = geometry.shape[::-1][axis] - 1 if flip else 0
    spacing = np.array(geometry.spacing_mm[::-1])[order]
    direction = np.reshape(geometry.direction, (3, 3))[:, order] * np.where(flipped, -1.0, 1.0)
    z, y, x = (int(n) for n in array.shape)
    return Volume(
        array,
        Geometry(
            (z, y, x),
            (float(spacing[2]), float(spacing[1]), float(spacing[0])),
            geometry.to_mm((first[2], first[1], first[0])),
            tuple(map(float, direction.ravel())),
        ),
    )


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane of a display volume: its axes (0 z, 1 y, 2 x) and the letters of its sides.

    `through` is the axis across the plane; `across` and `vertical` are those of the page, and `upwards` says whether
    the vertical one runs up it. `sides` are the letters at the left, right, top and bottom.
    """

    name: str
    through: int
    across: int
    vertical: int
    upwards: bool
    sides: str


# As radiologists look: at axial slices from the feet, so that the patient's right is on the left; at sagittal ones
# from the patient's left.
PLANES = (
    Plane("axial", 0, 2, 1, upwards=False, sides="RLAP"),
    Plane("coronal", 1, 2, 0, upwards=True, sides="RLSI"),
    Plane("sagittal", 2, 1, 0, upwards=True, sides="APSI"),
)


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of a slice: the slice's index, and its limits in mm across and along the plane's axes."""

    plane: Plane
    index: int
    across_mm: tuple[float, float]
    vertical_mm: tuple[float, float]

    @classmethod
    def around(cls, plane: Plane, center: Triple, size_mm: tuple[float, float], geometry: Geometry) -> Window:
        """A window of a size (width, height) around a continuous index (z, y, x), on the slice nearest to it."""
        last = geometry.shape[plane.through] - 1
        middle = [c * s for c, s in zip(center, geometry.spacing_mm, strict=True)]
        x, y = middle[plane.across], middle[plane.vertical]
        return cls(
            plane,
            min(max(round(center[plane.through]), 0), last),
            (x - size_mm[0] / 2, x + size_mm[0] / 2),
            (y - size_mm[1] / 2, y + size_mm[1] / 2),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """The voxels of a slice that a window shows (vertical, across), and the positions of their centres in mm."""

    values: NDArray[Any]
    across_mm: NDArray[np.floating[Any]]
    vertical_mm: NDArray[np.floating[Any]]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Outer limits of the voxels: across low and high, vertical low and high."""
        half_x = (self.across_mm[1] - self.across_mm[0]) / 2
        half_y = (self.vertical_mm[1] - self.vertical_mm[0]) / 2
        return (
            float(self.across_mm[0] - half_x),
            float(self.across_mm[-1] + half_x),
            float(self.vertical_mm[0] - half_y),
            float(self.vertical_mm[-1] + half_y),
        )


def cut_window(array: NDArray[Any], geometry: Geometry, window: Window) -> Cut:
    """Cut out what a window shows of a display volume, and two more voxels on each side, which fill its edges."""
    plane = window.plane
    indices = [
        np.arange(*_covered(limits, geometry.spacing_mm[axis], geometry.shape[axis]))
        for axis, limits in ((plane.vertical, window.vertical_mm), (plane.across, window.across_mm))
    ]
    whole = np.take(array, window.index, axis=plane.through)
    return Cut(
        whole[np.ix_(*indices)],
        indices[1] * geometry.spacing_mm[plane.across],
        indices[0] * geometry.spacing_mm[plane.vertical],
    )


def _covered(limits_mm: tuple[float, float], spacing_mm: float, length: int) -> tuple[int, int]:
    """Half-open range of voxels between two positions, with a margin, clipped to the image; two voxels at least."""
    low = min(max(math.floor(limits_mm[0] / spacing_mm) - 2, 0), length - 2)
    high = max(min(math.ceil(limits_mm[1] / spacing_mm) + 3, length), low + 2)
    return low, high
