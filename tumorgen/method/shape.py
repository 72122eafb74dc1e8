"""Shape of a tumour: an implicit ellipsoid, elastically deformed, evaluated on any grid without resampling.

Coordinates are mm from the tumour's centre along the image's axes (z, y, x).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..imaging import Box, Triple, bounding_box, shape_of
from .operators import Floats, as_operators, separable_slabs
from .plan import Tumor
from .splines import cubic_weights

FINE_MM = 1.6  # voxels longer than this are cut into equal parts, so that thick slices get partial volumes
DEFORM_SPAN = 2.0  # control points cover -2 r to 2 r, as the authors' crop of four half-axes does
_REMEMBERED = 64  # shapes; rendering soon asks for the same ones as sampling
_PROBES = 32  # samples per axis when the extent of a shape is looked for

Axes = tuple[Floats, Floats, Floats]


@dataclass(frozen=True, slots=True)
class Grid:
    """The voxels around a tumour, whether inside the image or not, and their finer parts.

    Attributes
    ----------
    start
        Index (z, y, x) in the image of the first voxel; may be negative.
    shape
        Voxels per axis.
    fine
        Parts per voxel and axis.
    spacing_mm, fine_spacing_mm
        Spacing of the voxels and of their fine parts.
    offset_mm
        Position of the first voxel's centre, relative to the tumour's.
    below
        Voxels before the one that is nearest to the tumour's centre; negative where the grid begins beyond it.
    """

    start: tuple[int, int, int]
    shape: tuple[int, int, int]
    fine: tuple[int, int, int]
    spacing_mm: Triple
    fine_spacing_mm: Triple
    offset_mm: Triple
    below: tuple[int, int, int]

    def axes(self, *, fine: bool) -> Axes:
        """Coordinates in mm along z, y, x of the voxels' centres or of their fine parts'."""
        parts = self.fine if fine else (1, 1, 1)
        z, y, x = (
            (_centres(n, k) * s + o).astype(np.float32)
            for n, k, s, o in zip(self.shape, parts, self.spacing_mm, self.offset_mm, strict=True)
        )
        return z, y, x

    def part(self, box: Box) -> Grid:
        """The grid of the voxels in a box, which counts from the grid's first voxel."""
        z, y, x = (a + b.start for a, b in zip(self.start, box, strict=True))
        shape = shape_of(box)
        offset_z, offset_y, offset_x = (
            o + b.start * s for o, b, s in zip(self.offset_mm, box, self.spacing_mm, strict=True)
        )
        below_z, below_y, below_x = (n - b.start for n, b in zip(self.below, box, strict=True))
        offset, below = (offset_z, offset_y, offset_x), (below_z, below_y, below_x)
        return Grid((z, y, x), shape, self.fine, self.spacing_mm, self.fine_spacing_mm, offset, below)

    def holding(self, fine: Box, margins: Sequence[int] = (0, 0, 0)) -> Box:
        """Voxels that hold a box of fine parts and margins, in fine parts, around it; they may lie beyond the grid."""
        z, y, x = (
            slice((b.start - m) // k, -(-(b.stop + m) // k)) for b, m, k in zip(fine, margins, self.fine, strict=True)
        )
        return z, y, x

    def voxel_mean(self, values: NDArray[np.float32] | NDArray[np.bool_]) -> Floats:
        """Mean over each voxel of what was evaluated on its fine parts: the partial volume."""
        if self.fine == (1, 1, 1):
            return values.astype(np.float32, copy=False)
        (z, y, x), (i, j, k) = self.shape, self.fine
        mean: Floats = np.add.reduce(values.reshape(z, i, y, j, x, k), axis=(1, 3, 5), dtype=np.float32)
        mean /= np.float32(i * j * k)
        return mean

    def mostly(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Voxels with at least half of their fine parts in a mask."""
        return mask if self.fine == (1, 1, 1) else self.voxel_mean(mask) >= 0.5


@lru_cache(maxsize=256)
def _centres(voxels: int, parts: int) -> NDArray[np.float64]:
    """Centres of all parts of some voxels in a row, counted in voxels from the first one's centre."""
    return (np.arange(voxels * parts) - (parts - 1) / 2) / parts


def grid_around(center: Triple, low_mm: Triple, high_mm: Triple, spacing_mm: Triple) -> Grid:
    """Voxels that cover [low, high] mm (z, y, x) around a continuous voxel index (z, y, x).

    The grid never depends on where the image ends, and its shape does not depend on the centre, so that a tumour moved
    by a fraction of a voxel keeps its texture.
    """
    nearest = [round(c) for c in center]
    below = [ceil(-low / s + 0.5) for low, s in zip(low_mm, spacing_mm, strict=True)]
    above = [ceil(high / s + 0.5) for high, s in zip(high_mm, spacing_mm, strict=True)]
    start = [n - b for n, b in zip(nearest, below, strict=True)]
    offset = [(a - c) * s for a, c, s in zip(start, center, spacing_mm, strict=True)]
    # An odd number of parts: a voxel that is half tumour is never a tie, which would make all tumours too large.
    fine = [ceil(s / FINE_MM - 1e-6) // 2 * 2 + 1 for s in spacing_mm]
    fine_z, fine_y, fine_x = (s / k for s, k in zip(spacing_mm, fine, strict=True))
    shape = [b + a + 1 for b, a in zip(below, above, strict=True)]
    return Grid(
        (start[0], start[1], start[2]),
        (shape[0], shape[1], shape[2]),
        (fine[0], fine[1], fine[2]),
        spacing_mm,
        (fine_z, fine_y, fine_x),
        (offset[0], offset[1], offset[2]),
        (below[0], below[1], below[2]),
    )


class Form(NamedTuple):
    """The part of a tumour's row that its shape depends on."""

    radius_mm: float
    half_axes_mm: Triple
    sigma_e_mm: float
    deform_points: int
    shape_seed: int
    turn_deg: float = 0.0

    @classmethod
    def of(cls, tumor: Tumor) -> Form:
        """Take the form from a tumour's row."""
        form = tumor.radius_mm, tumor.half_axes_mm, tumor.sigma_e_mm, tumor.deform_points, tumor.shape_seed
        return cls(*form, tumor.turn_deg)


def displacement(tumor: Tumor | Form) -> NDArray[np.float64]:
    """Elastic displacement in mm, (3, p, p, p), at the control points: N(0, sigma_e), zero at the centre."""
    return _standard_displacement(tumor.shape_seed, tumor.deform_points) * tumor.sigma_e_mm


@lru_cache(maxsize=_REMEMBERED)
def _standard_displacement(seed: int, points: int) -> NDArray[np.float64]:
    """Displacement (3, p, p, p) for sigma_e = 1, in mm."""
    drawn = np.random.default_rng(seed).normal(size=(3, points, points, points))
    drawn[:, points // 2, points // 2, points // 2] = 0.0
    return drawn


def level(tumor: Tumor | Form, axes: Axes) -> Floats:
    """Radius q of the deformed ellipsoid on the grid of three axes, (z, y, x); the tumour is where q is at most 1.

    q(x)^2 = sum over the axes of ((x_i + u_i(x)) / a_i)^2 with the displacement u, a cubic spline through the control
    points. The spline is separable, so it is evaluated axis by axis. Where the ellipsoid is turned, x is turned back by
    as much in plane; u, which has no direction of its own, is not.
    """
    z = (axes[0] / tumor.half_axes_mm[0]).astype(np.float32, copy=False)
    in_plane: Floats = _scaled_in_plane(tumor, axes)
    if tumor.sigma_e_mm == 0:
        ellipsoid: Floats = np.sqrt((z**2)[:, None, None] + in_plane[0] ** 2 + in_plane[1] ** 2)
        return ellipsoid
    points = tumor.deform_points
    nodes = (displacement(tumor) / np.reshape(tumor.half_axes_mm, (3, 1, 1, 1))).astype(np.float32)
    step = 2 * DEFORM_SPAN * tumor.radius_mm / (points - 1)
    weights = cubic_weights(np.concatenate(axes).astype(np.float64) / step + points // 2, points)
    operators = as_operators(weights, [a.size for a in axes])
    q = np.empty([a.size for a in axes], np.float32)
    for planes, moved in separable_slabs(operators, nodes):
        moved[0] += z[planes, None, None]
        moved[1:] += in_plane
        moved *= moved
        part = np.add(moved[0], moved[1], out=q[planes])
        part += moved[2]
        np.sqrt(part, out=part)
    return q


def _scaled_in_plane(tumor: Tumor | Form, axes: Axes) -> Floats:
    """Coordinates (2, 1, y, x) along the ellipsoid's axes in plane, in half-axes."""
    y, x = axes[1][:, None], axes[2][None, :]
    turned = np.empty((2, 1, y.size, x.size), np.float32)
    half_y, half_x = tumor.half_axes_mm[1:]
    if tumor.turn_deg:
        cosine, sine = (np.float32(f(math.radians(tumor.turn_deg))) for f in (math.cos, math.sin))
        turned[0], turned[1] = (cosine * y - sine * x) / half_y, (cosine * x + sine * y) / half_x
    else:
        turned[0], turned[1] = y / half_y, x / half_x
    return turned


def squared_distance(axes: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Squared distance from the centre (gamma^2 of Eq. 5, mm2) on the grid of three axes, of their data type."""
    z, y, x = (a**2 for a in axes)
    distance2: NDArray[Any] = z[:, None, None] + y[:, None] + x
    return distance2


def _half_extents_mm(tumor: Form) -> Triple:
    """Half the size of the box (z, y, x) around the turned ellipsoid."""
    z, y, x = tumor.half_axes_mm
    if not tumor.turn_deg:
        return z, y, x
    cosine, sine = math.cos(math.radians(tumor.turn_deg)), math.sin(math.radians(tumor.turn_deg))
    return z, math.hypot(y * cosine, x * sine), math.hypot(x * cosine, y * sine)


def extent_mm(tumor: Tumor | Form) -> tuple[Triple, Triple, float]:
    """Lowest and highest corner (z, y, x) of the deformed shape, and its reach from the centre, in mm.

    Probed on a coarse grid of its own, and widened by one step of it, so that it depends on the shape alone.
    """
    return _extent_mm(tumor if isinstance(tumor, Form) else Form.of(tumor))


@lru_cache(maxsize=_REMEMBERED)
def _extent_mm(tumor: Form) -> tuple[Triple, Triple, float]:
    half = np.array(_half_extents_mm(tumor))
    if tumor.sigma_e_mm == 0:
        z, y, x = half.tolist()
        return (-z, -y, -x), (z, y, x), max(tumor.half_axes_mm)
    bound = half + 1.2 * np.abs(displacement(tumor)).max(axis=(1, 2, 3))
    step = 2 * bound / (_PROBES - 1)
    probes = (np.arange(_PROBES) * step[:, None] - bound[:, None]).astype(np.float32)
    probes[:, -1] = bound
    inside = level(tumor, (probes[0], probes[1], probes[2])) <= 1
    if not inside.any():
        z, y, x = step.tolist()
        return (-z, -y, -x), (z, y, x), float(step.max())
    box = bounding_box(inside)
    used = [axis[b] for axis, b in zip(probes, box, strict=True)]
    (z0, z1), (y0, y1), (x0, x1) = ((float(a[0] - s), float(a[-1] + s)) for a, s in zip(used, step, strict=True))
    distance2 = squared_distance([a.astype(np.float64) for a in used])
    reach = float(np.sqrt(distance2[inside[box]].max()) + step.max())
    return (z0, y0, x0), (z1, y1, x1), reach
