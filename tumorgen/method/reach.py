"""Reach: how far tumours extend from their centres, all around or in each direction, and which places keep them apart.

Positions and directions are (z, y, x), along the image's axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..imaging import Triple
from .body import TRUNCATE
from .plan import Tumor
from .shape import extent_mm

# Tells which of some positions (n, 3), (z, y, x) mm, are allowed.
Keep = Callable[[NDArray[np.float64]], NDArray[np.bool_]]

_BETWEEN = 1.03  # above 1 / cos(13 degrees): what a ball between two of the directions is beyond them


def reach_mm(tumor: Tumor) -> float:
    """How far from its centre a tumour changes the anatomy: the reach of its deformed shape or of its mass effect."""
    _, _, reach = extent_mm(tumor)
    if not tumor.mass_effect_percent:
        return reach
    return max(tumor.gamma_max_mm, reach)


def changed_mm(tumor: Tumor) -> float:
    """How far from its centre a tumour may change a voxel: its anatomy, the blur of its edge and of its capsule."""
    return reach_mm(tumor) + TRUNCATE * (tumor.sigma_c_mm + (tumor.sigma_d_mm if tumor.capsule_hu else 0.0))


@dataclass(frozen=True, eq=False)
class Outline:
    """How far a shape reaches in each direction.

    Attributes
    ----------
    points_mm
        Points (n, 3) that the shape is sampled at, relative to its centre.
    step_mm
        How far they are apart along each axis.
    """

    points_mm: NDArray[np.float64]
    step_mm: Triple

    def along(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far it reaches along some unit vectors (n, 3), in mm: no point of it is farther ahead than that."""
        ahead = _dot(directions, self._extremes_mm).max(axis=1) * _BETWEEN
        reach: NDArray[np.float64] = ahead + _dot(np.abs(directions), np.array([self.step_mm]))[:, 0] / 2
        return reach

    @cached_property
    def bounds_mm(self) -> tuple[float, float]:
        """What `along` is at least and at most, whatever the direction."""
        along = self.along(_directions())
        return float(along.min()) / _BETWEEN, float(along.max()) * _BETWEEN

    @cached_property
    def _extremes_mm(self) -> NDArray[np.float64]:
        """Those of its points that are the farthest in one of many directions."""
        extremes: NDArray[np.float64] = self.points_mm[np.unique(_dot(_directions(), self.points_mm).argmax(axis=1))]
        return extremes


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Where a tumour is.

    Attributes
    ----------
    position_mm
        Its centre.
    reach_mm
        The farthest it reaches from there in any direction.
    outline
        How far it reaches in each; of a ball, unless it is given.
    """

    position_mm: Triple
    reach_mm: float
    outline: Outline | None = None

    def along(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far it reaches along some unit vectors (n, 3), in mm."""
        return self.outline.along(directions) if self.outline else np.full(len(directions), self.reach_mm)

    @property
    def bounds_mm(self) -> tuple[float, float]:
        """What `along` is at least and at most."""
        return self.outline.bounds_mm if self.outline else (self.reach_mm, self.reach_mm)


def apart_as_balls(placed: Sequence[Placed], reach_mm: float, gap_mm: float = 0.0) -> Keep:
    """Allow positions where a tumour of a reach keeps a gap to all placed ones, whatever the directions."""
    z, y, x = np.array([other.position_mm for other in placed]).reshape(-1, 3).T
    least = np.square(reach_mm + np.array([other.reach_mm for other in placed]) + gap_mm)

    def keep(positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        squared = np.square(positions[:, :1] - z)
        squared += np.square(positions[:, 1:2] - y)
        squared += np.square(positions[:, 2:] - x)
        apart: NDArray[np.bool_] = (squared >= least).all(axis=1)
        return apart

    return keep


def apart_as_shapes(placed: Sequence[Placed], outline: Outline, gap_mm: float) -> Keep:
    """Allow positions where a shape keeps a gap to all placed ones: a plane across the line of centres parts them."""

    def keep(positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        apart = np.ones(len(positions), bool)
        for other in placed:
            here = np.flatnonzero(apart)
            apart[here] = _is_apart(other, other.position_mm - positions[here], outline, gap_mm)
        return apart

    return keep


def _is_apart(placed: Placed, offsets: NDArray[np.float64], outline: Outline, gap_mm: float) -> NDArray[np.bool_]:
    """Whether a shape keeps a gap to a placed one that lies at some offsets (n, 3) from it."""
    distance = np.sqrt(np.square(offsets).sum(axis=1))
    near, far = (a + b + gap_mm for a, b in zip(outline.bounds_mm, placed.bounds_mm, strict=True))
    apart: NDArray[np.bool_] = distance >= far
    unsure = np.flatnonzero(~apart & (distance >= near))
    ahead = offsets[unsure] / distance[unsure, None]
    apart[unsure] = distance[unsure] >= outline.along(ahead) + placed.along(-ahead) + gap_mm
    return apart


def _dot(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inner products (n, k) of vectors (n, 3) and (k, 3), summed in the same order everywhere."""
    (a, b, c), (u, v, w) = first.T[:, :, None], second.T[:, None]
    products: NDArray[np.float64] = a * u
    products += b * v
    products += c * w
    return products


@cache
def _directions() -> NDArray[np.float64]:
    """Unit vectors (290, 3) in all directions: none is farther than 13 degrees from the nearest of them."""
    steps = np.array([step for step in product(range(-3, 4), repeat=3) if np.gcd.reduce(step) == 1], float)
    unit: NDArray[np.float64] = steps / np.sqrt(np.square(steps).sum(axis=1, keepdims=True))
    return unit
