"""Reach: how far tumours extend from their centres, all around or in each direction, and which places keep them apart.

Positions and directions are (z, y, x), along the image's axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

_CACHED = 2**14  # products, half of a second-level cache with what they are made of
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
        Points (n, 3) that the shape is sampled at, relative to its centre, sorted by z, y and x.
    step_mm
        How far they are apart along each axis.
    """

    points_mm: NDArray[np.float64]
    step_mm: Triple

    def along(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far it reaches along some unit vectors (n, 3), in mm: no point of it is farther ahead than that."""
        ahead = _farthest_mm(directions, self._extremes_mm) * _BETWEEN
        reach: NDArray[np.float64] = ahead + _dot(np.abs(directions), np.array([self.step_mm]))[:, 0] / 2
        return reach

    @cached_property
    def bounds_mm(self) -> tuple[float, float]:
        """What `along` is at most, whatever the direction, and about at least: a thin shape may reach less in some."""
        along = self.along(_directions())
        return float(along.min()) / _BETWEEN, float(along.max()) * _BETWEEN

    @cached_property
    def _extremes_mm(self) -> NDArray[np.float64]:
        """Those of its points that are the farthest in one of many directions."""
        return _extremes(self.points_mm)


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
        """What `along` is about at least and at most."""
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
        apart, columns = np.ones(len(positions), bool), np.ascontiguousarray(positions.T)
        for other in placed:
            here = np.flatnonzero(apart)
            offsets = [p - column[here] for p, column in zip(other.position_mm, columns, strict=True)]
            apart[here] = _is_apart(other, offsets, outline, gap_mm)
        return apart

    return keep


def _is_apart(
    placed: Placed, offsets: Sequence[NDArray[np.float64]], outline: Outline, gap_mm: float
) -> NDArray[np.bool_]:
    """Whether a shape keeps a gap to a placed one that lies at some offsets (z, y, x) from it."""
    z, y, x = offsets
    distance = np.sqrt(z * z + y * y + x * x)
    near, far = (a + b + gap_mm for a, b in zip(outline.bounds_mm, placed.bounds_mm, strict=True))
    apart: NDArray[np.bool_] = distance >= far
    unsure = np.flatnonzero(~apart & (distance >= near))
    if unsure.size:
        distance = distance[unsure]
        ahead = np.array([offset[unsure] / distance for offset in offsets]).T
        reach = outline.along(ahead)
        clear = distance >= reach + placed.bounds_mm[1] + gap_mm
        left = np.flatnonzero(~clear)
        clear[left] = distance[left] >= reach[left] + placed.along(-ahead[left]) + gap_mm
        apart[unsure] = clear
    return apart


def _extremes(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those of some points (k, 3), which are sorted, that are the farthest ahead in one of many directions."""
    edge = np.ones(len(points) + 1, bool)
    edge[1:-1] = (points[1:, :2] != points[:-1, :2]).any(axis=1)
    points = points[edge[1:] | edge[:-1]]  # the ends of rows along x
    ends = []
    for some in _in_cache(_directions()[: len(_directions()) // 2], len(points)):  # the others are opposite to these
        ahead = _dot(some, points)
        ends += [ahead.argmax(axis=1), ahead.argmin(axis=1)]
    extremes: NDArray[np.float64] = points[np.flatnonzero(np.bincount(np.concatenate(ends)))]
    return extremes


def _farthest_mm(directions: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the farthest of some points (k, 3) is ahead in each direction (n, 3)."""
    if not len(directions):
        return np.empty(0)
    return np.concatenate([_dot(points, some).max(axis=0) for some in _in_cache(directions, len(points))])


def _in_cache(directions: NDArray[np.float64], points: int) -> Iterator[NDArray[np.float64]]:
    """Some directions at a time, whose products with points stay in the processor's cache."""
    at_once = max(1, _CACHED // max(1, points))
    return (directions[start : start + at_once] for start in range(0, len(directions), at_once))


def _dot(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inner products (n, k) of vectors (n, 3) and (k, 3), summed in the same order everywhere."""
    (a, b, c), (u, v, w) = first.T[:, :, None], np.ascontiguousarray(second.T)[:, None]
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
