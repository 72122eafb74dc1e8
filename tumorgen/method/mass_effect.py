"""The mass effect (Eq. 5): a growing tumour pushes what is around it outwards, anatomy and labels alike.

Arrays are (z, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging import EMPTY, Box, Geometry, Index, Triple
from .interpolation import nearest_values, trilinear
from .operators import Floats, blur_mirrored
from .plan import Tumor
from .shape import Axes, squared_distance

# Noise is what departs from the local mean by up to 3 sigma_p, where that mean changes by less than about 0.8 sigma_p
# from voxel to voxel; the rest is anatomy.
NOISE_SD, EDGE_SLOPE = 3.0, 0.8
_STRUCTURE_SIGMA, _STRUCTURE_RADIUS = 1.0, 3  # voxels


@dataclass(frozen=True, slots=True, eq=False)
class Pull:
    """Which voxels of a scan the mass effect moves, and where each is read from.

    Attributes
    ----------
    box
        The voxels around the centre, as a box of the scan; empty without a mass effect.
    moving
        Those of them that move, of the shape of `box`.
    source
        (3, n): continuous index into the box that each of these is read from.
    """

    box: Box
    moving: NDArray[np.bool_]
    source: Floats

    @classmethod
    def of(cls, tumor: Tumor, geometry: Geometry) -> Pull:
        """Make the pull map of a tumour. Eq. 5, as printed, says where a voxel is read from."""
        gamma_max = tumor.gamma_max_mm
        if not (gamma_max and tumor.mass_effect_percent):
            return cls(EMPTY, np.zeros((0, 0, 0), bool), np.empty((3, 0), np.float32))
        center, spacing = geometry.to_index(tumor.center_mm), geometry.spacing_mm
        box = _box_of_ball(center, [gamma_max / s for s in spacing], geometry.shape)
        offsets = [np.arange(b.start, b.stop) - c for b, c in zip(box, center, strict=True)]
        along = [(o * s).astype(np.float32) for o, s in zip(offsets, spacing, strict=True)]
        gamma2 = squared_distance(along)
        moving = gamma2 < gamma_max**2
        factor = pull_factor(gamma2, gamma_max, tumor.mass_effect_percent)
        source = np.empty((3, np.count_nonzero(moving)), np.float32)
        z, y, x = (o.astype(np.float32) for o in offsets)
        for index, offset, c, b in zip(source, (z[:, None, None], y[:, None], x), center, box, strict=True):
            np.add((factor * offset)[moving], np.float32(c - b.start), out=index)
        return cls(box, moving, source)

    def held_by(self, freedom: Floats | None) -> Pull:
        """The pull of voxels that move only as freely as `freedom` says (of the box's shape); None: all as they are."""
        if freedom is None:
            return self
        free = freedom[self.moving]
        held = np.flatnonzero(free < 1)
        if not held.size:
            return self
        at = np.stack(np.unravel_index(np.flatnonzero(self.moving)[held], self.moving.shape)).astype(np.float32)
        source, moving, loose = self.source.copy(), self.moving.copy(), free > 0
        source[:, held] = at + free[held] * (source[:, held] - at)
        moving[moving] = loose
        return Pull(self.box, moving, source.compress(loose, axis=1))

    def moved_label(self, label: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The label of the box after the move; each voxel takes the label nearest to its source: none is invented."""
        moved = label.copy()
        if not label.size or label.min() == label.max():
            return moved
        moved[self.moving] = nearest_values(label, self.source)
        return moved

    def move_hu(self, hu: Floats, noise_sd: float, visible: NDArray[np.bool_]) -> None:
        """Move the HU of the box, in place, where they are visible: anatomy as Eq. 5 says, while noise stays in place.

        Interpolating the noise would blur it, which shows as a halo around the tumour (measured: linear interpolation
        keeps 63 % of its standard deviation).
        """
        if not hu.size:
            return
        noise = noise_of(hu, noise_sd)
        seen = np.flatnonzero(visible[self.moving])
        anatomy = trilinear(hu - noise, self.source.take(seen, axis=1))
        target = self.moving & visible
        anatomy += noise[target]
        hu[target] = anatomy


def _box_of_ball(center: Triple, half_axes: Sequence[float], shape: Index) -> Box:
    """The voxels that a ball may cover, in an image of a shape; centre and half-axes in voxels."""
    starts = [max(0, int(np.ceil(c - h))) for c, h in zip(center, half_axes, strict=True)]
    stops = [min(n, int(np.floor(c + h)) + 1) for c, h, n in zip(center, half_axes, shape, strict=True)]
    if any(a >= b for a, b in zip(starts, stops, strict=True)):
        return EMPTY
    z, y, x = (slice(a, b) for a, b in zip(starts, stops, strict=True))
    return z, y, x


def pull_factor(gamma2: NDArray[np.floating[Any]], gamma_max: float, percent: float) -> NDArray[np.floating[Any]]:
    """Factor gamma' / gamma of Eq. 5: 1 - (1 - gamma / gamma_max)^2 I / 100, for gamma^2 below gamma_max^2."""
    factor: NDArray[np.floating[Any]] = 1 - (1 - np.sqrt(gamma2) / gamma_max) ** 2 * (percent / 100)
    return factor


def pulled_index(tumor: Tumor, axes: Axes, voxels: tuple[NDArray[np.intp], ...], spacing_mm: Triple) -> Floats:
    """Continuous index (3, n) that each of some voxels of a grid is read from (Eq. 5)."""
    points = [a[v] for a, v in zip(axes, voxels, strict=True)]
    gamma2 = points[0] ** 2 + points[1] ** 2 + points[2] ** 2
    shift = pull_factor(gamma2, tumor.gamma_max_mm, tumor.mass_effect_percent) - 1
    source = np.empty((3, shift.size), np.float32)
    for index, v, p, s in zip(source, voxels, points, spacing_mm, strict=True):
        np.add(v, p * shift / s, out=index)
    return source


def noise_of(hu: Floats, noise_sd: float) -> Floats:
    """The part of an image that is the scanner's noise: what departs from the local mean, where that is level.

    Where the local mean itself changes steeply from voxel to voxel there is an edge of the anatomy, and nothing is
    called noise: the weight is a half at EDGE_SLOPE and falls with the fourth power of the slope.
    """
    if not (noise_sd and hu.size):
        return np.zeros_like(hu)
    mean = blur_mirrored(hu, [_STRUCTURE_SIGMA] * 3, [_STRUCTURE_RADIUS] * 3)
    weight = squared_slope(mean)
    weight *= np.float32(1 / (EDGE_SLOPE * noise_sd) ** 2)
    weight *= weight
    weight += 1
    noise: Floats = np.subtract(hu, mean, out=mean)
    limit = np.float32(NOISE_SD * noise_sd)
    np.minimum(np.maximum(noise, -limit, out=noise), limit, out=noise)
    noise /= weight
    return noise


def squared_slope(values: Floats) -> Floats:
    """Squared length of the gradient per voxel; `numpy.gradient` squared and summed, in half its time."""
    total, twice = np.zeros_like(values), np.empty_like(values)  # twice the slope: only edges need a factor
    for axis in (axis for axis in range(3) if values.shape[axis] > 1):
        v, t = values.swapaxes(0, axis), twice.swapaxes(0, axis)
        np.subtract(v[2:], v[:-2], out=t[1:-1])
        np.subtract(v[1], v[0], out=t[0])
        np.subtract(v[-1], v[-2], out=t[-1])
        t[:: len(t) - 1] *= 2
        twice *= twice
        total += twice
    total *= 0.25
    return total
