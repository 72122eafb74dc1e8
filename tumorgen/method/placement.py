"""Placement: where in the liver the tumours of a plan lie.

The model `vessels`: a scan's candidates are the voxels of its liver, sorted by their clearance to the vessels: those
with no vessel within r are the first n, whatever r. A place is drawn from these, never searched for by trial and error.
The models `parenchyma` and `middle` have modules of their own (`method.parenchyma`, `method.middle`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..imaging import Box, Index, Triple, shape_of
from .existing import RealTumors
from .middle import Middle
from .parenchyma import InParenchyma
from .plan import Tumor, rounded
from .reach import Keep, Placed, apart_as_balls, reach_mm
from .scan import Scan
from .settings import MIDDLE, PARENCHYMA, VESSELS, Range, Settings

_TOUCH_MM = 1e-3  # "no vessel within r" includes one at r, up to the rounding of float32 distances
_FIRST_TRIES, _TRIES = 16, 512  # candidates looked at, some and then more together, before the whole set is
_BLOCK = 2**15  # candidates looked at together when all are, to bound the memory
_BEST_PART = 10  # where no voxel is clear of vessels: the part of the liver, by clearance, to draw from


Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]  # lowest and highest position (z, y, x) mm


class _Placing(Protocol):
    """A way to place the tumours of a sample, one after the other."""

    def apart(self, draft: Tumor, placed: Sequence[Placed]) -> Sequence[Keep]:
        """What keeps a tumour apart from those placed before: the first of these that leaves it a place counts."""
        ...

    def draw(self, draft: Tumor, keeps: Sequence[Keep]) -> tuple[Index | None, bool]:
        """Draw a tumour's voxel; None if there is no place for it, and whether that is clear of vessels."""
        ...

    def at(self, draft: Tumor, position_mm: Triple) -> Placed:
        """A tumour at its place, as the later ones are kept apart from it."""
        ...


def place_tumors(
    scan: Scan, settings: Settings, drafts: Sequence[Tumor], rng: Generator, region: Box | None
) -> tuple[list[Tumor], set[str]]:
    """Give every tumour a place, in order; return those that found one, and notes on what went differently.

    Tumours that find no room are left out (`fewer_placed`). With the pattern `satellite` the first is the main tumour,
    and the others lie around it, if it finds room; otherwise all centres lie in the region, if one is given.
    """
    tumors: list[Tumor] = []
    placed: list[Placed] = []
    notes: set[str] = set()
    cluster = settings.pattern == "satellite"
    within = _within(*_bounds_mm(scan, region)) if region else None
    placing = _PLACINGS[settings.places.model](scan, settings, rng)
    real = RealTumors(scan) if scan.real_tumor_voxels else None
    for draft in drafts:
        keeps = placing.apart(draft, placed)
        if cluster and placed:  # they may touch each other and the main tumour
            keeps = [_in_ring_around(placed[0].position_mm, drafts[0].radius_mm, settings.satellite.distance)]
        elif within:
            keeps = [_both(within, keep) for keep in keeps]
        if real:
            keeps = [_both(real.apart(draft), keep) for keep in keeps]
        voxel, clear = placing.draw(draft, keeps)
        if voxel is None:
            notes.add("fewer_placed")
            if cluster and not placed:
                break
            continue
        if not clear:
            notes.add("vessels_unavoidable")
        tumors.append(_move_to_voxel(scan, draft, voxel))
        placed.append(placing.at(draft, _position_mm(scan, voxel)))
    return tumors, notes


class _ClearOfVessels:
    """Places with no vessel within r, if that can be had; no tumour changes what another one has changed."""

    def __init__(self, scan: Scan, settings: Settings, rng: Generator) -> None:
        self.scan, self.avoid, self.rng = scan, settings.vessels.avoid, rng

    def apart(self, draft: Tumor, placed: Sequence[Placed]) -> Sequence[Keep]:
        return [apart_as_balls(placed, reach_mm(draft))]

    def draw(self, draft: Tumor, keeps: Sequence[Keep]) -> tuple[Index | None, bool]:
        (keep,) = keeps
        candidate, clear = draw_candidate(self.scan, draft.radius_mm if self.avoid else None, keep, self.rng)
        return None if candidate is None else self.scan.voxel(candidate), clear

    def at(self, draft: Tumor, position_mm: Triple) -> Placed:
        return Placed(position_mm, reach_mm(draft))


class _InMiddle(_ClearOfVessels):
    """Places in the middle slices of the liver, kept apart in the same way; vessels are not asked about."""

    def __init__(self, scan: Scan, settings: Settings, rng: Generator) -> None:
        super().__init__(scan, settings, rng)
        self.middle = Middle.of(scan, settings.places)

    def draw(self, draft: Tumor, keeps: Sequence[Keep]) -> tuple[Index | None, bool]:  # noqa: ARG002 - large or small
        (keep,) = keeps
        return self.middle.draw(keep, self.rng), True


_PLACINGS: Mapping[str, Callable[[Scan, Settings, Generator], _Placing]] = {
    VESSELS: _ClearOfVessels,
    PARENCHYMA: InParenchyma,
    MIDDLE: _InMiddle,
}


def move_to_candidate(scan: Scan, tumor: Tumor, candidate: int) -> Tumor:
    """Centre a tumour on a candidate of the scan."""
    return _move_to_voxel(scan, tumor, scan.voxel(candidate))


def _move_to_voxel(scan: Scan, tumor: Tumor, voxel: Index) -> Tumor:
    x, y, z = (rounded(c) for c in scan.geometry.to_mm(voxel))
    return replace(tumor, center_x_mm=x, center_y_mm=y, center_z_mm=z)


def _position_mm(scan: Scan, voxel: Index) -> Triple:
    z, y, x = (i * s for i, s in zip(voxel, scan.geometry.spacing_mm, strict=True))
    return z, y, x


def _bounds_mm(scan: Scan, region: Box) -> Bounds:
    """First and last position of a region's voxels along each axis."""
    spacing = scan.geometry.spacing_mm
    low = [s.start * mm for s, mm in zip(region, spacing, strict=True)]
    return np.array(low), np.array([(s.stop - 1) * mm for s, mm in zip(region, spacing, strict=True)])


def _within(low_mm: NDArray[np.float64], high_mm: NDArray[np.float64]) -> Keep:
    """Allow positions within bounds."""

    def keep(positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        within: NDArray[np.bool_] = np.all((positions >= low_mm) & (positions <= high_mm), axis=1)
        return within

    return keep


def _both(first: Keep, second: Keep) -> Keep:
    """Allow positions that both allow."""

    def keep(positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        allowed = first(positions)
        allowed[allowed] = second(positions[allowed])
        return allowed

    return keep


def _in_ring_around(center: Triple, radius: float, distance: Range) -> Keep:
    """Allow positions around a tumour whose distance from its centre, in its radii, lies in a range."""

    def keep(positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        squared = np.sum((positions - center) ** 2, axis=1)
        low, high = np.square(np.multiply(distance, radius))
        allowed: NDArray[np.bool_] = (squared >= low) & (squared <= high)
        return allowed

    return keep


def draw_candidate(scan: Scan, radius_mm: float | None, keep: Keep, rng: Generator) -> tuple[int | None, bool]:
    """Draw a candidate of a scan for a tumour of radius r.

    If none of the candidates with no vessel within r is allowed, one is drawn from the tenth of the liver with the most
    clearance, then from twice that, and so on: it is not always the same voxel, and the search ends.

    Parameters
    ----------
    scan
        The scan.
    radius_mm
        r; None if vessels need not be avoided.
    keep
        Tells which positions are allowed.
    rng
        Generator of places.

    Returns
    -------
    candidate
        Number of the candidate in `scan.candidates`; None if no voxel of the liver is allowed.
    clear
        Whether no vessel lies within r of it.
    """
    total = scan.candidates.size
    clear = total if radius_mm is None else count_clear(scan, radius_mm)
    pick = _draw_allowed(scan, clear, keep, rng)
    if pick is not None:
        return pick, True
    count = max(clear, total // _BEST_PART, 1)
    while True:
        pick = _draw_allowed(scan, count, keep, rng, thorough=count == total)
        if pick is not None or count == total:
            return pick, False
        count = min(2 * count, total)


def count_clear(scan: Scan, radius_mm: float) -> int:
    """Count the candidates with no vessel voxel within r: they are the first ones."""
    limit = radius_mm + _TOUCH_MM
    return bisect_left(range(scan.clearance_mm.size), True, key=lambda i: bool(scan.clearance_mm[i] <= limit))


def _draw_allowed(scan: Scan, count: int, keep: Keep, rng: Generator, *, thorough: bool = True) -> int | None:
    """Draw uniformly from the allowed ones of the first candidates: a few are tried, then, if `thorough`, all are."""
    if not count:
        return None
    tries = rng.integers(count, size=_TRIES)
    for some in (tries[:_FIRST_TRIES], tries[_FIRST_TRIES:]):
        allowed = np.flatnonzero(keep(_positions_mm(scan, some)))
        if allowed.size:
            return int(some[allowed[0]])
    if not thorough:
        return None
    blocks = (np.arange(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))
    everything = np.concatenate([block[keep(_positions_mm(scan, block))] for block in blocks])
    return int(everything[rng.integers(everything.size)]) if everything.size else None


def _positions_mm(scan: Scan, picks: NDArray[np.int_]) -> NDArray[np.float64]:
    """Positions (n, 3), (z, y, x) mm along the image's axes, of some candidates."""
    indices = np.unravel_index(scan.candidates[picks], shape_of(scan.roi))
    columns = [(i + r.start) * s for i, r, s in zip(indices, scan.roi, scan.geometry.spacing_mm, strict=True)]
    return np.stack(columns, axis=1)
