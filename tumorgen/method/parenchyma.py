"""Places in parenchyma: as deep below the liver's surface as real tumours lie, with what is around them parenchyma too.

A depth is drawn before the scan is looked at. Places are drawn from a narrow range of depths around it; where none is
admissible, the range widens. Of the first few that are, the one counts where the liver's edge cuts off the least: near
the surface real tumours lie along it, and less of them is cut off than chance would have it. Arrays are (z, y, x).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..imaging import EMPTY, Box, Index, Triple, overlap, whole_box
from .footprint import Footprint
from .plan import Tumor
from .reach import Keep, Placed, apart_as_balls, apart_as_shapes
from .real import draw_from
from .scan import FILTER_TRUNCATE, Scan, smoothing_sigma
from .settings import Settings
from .shape import extent_mm, squared_distance

LARGE_MM = 10.0  # radius from which on more of what lies under a tumour may be no parenchyma
_WIDTH_MM = 0.5  # of the range of depths that is looked at first, to either side; then twice that, and so on
_TRIES = 128  # sites drawn from a range of depths before it is widened
_LOOKED_AT = (8, 40)  # of those that are allowed, how many are compared before the next ones are looked at
_LAST_TRIES, _MOST = 512, 2**14  # sites drawn from the whole liver in the end, and where none of these will do
_MOST_LOOKED_AT = 2048  # of those that are allowed
_CHECKED = 16  # sites whose surroundings are looked at before others are drawn
_FOREIGN_STEP = 0.1  # by which more may be no parenchyma where it cannot be had otherwise
_LEVEL_MM = (1.0, 2.0, 3.0)  # widths (sigma) of the filters, besides that of Eq. 1, that a centre must stand
_LEVEL_SD = 2.0  # standard deviations of the parenchyma that the smoothed scan may be off its mean


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """What is asked of a tumour's place.

    Attributes
    ----------
    footprint
        What the tumour covers.
    depth_mm
        How deep its centre is to lie.
    most_outside, most_other
        Largest part of it that may lie outside the liver, and on liver that is no parenchyma.
    """

    footprint: Footprint
    depth_mm: float
    most_outside: float
    most_other: float


class InParenchyma:
    """Places in parenchyma, for the tumours of a sample; their shapes keep a gap, whatever their mass effects do."""

    def __init__(self, scan: Scan, settings: Settings, rng: Generator) -> None:
        self.scan, self.settings = scan, settings
        self.depths, self.rng = rng.spawn(2)  # so that no depth depends on the scan

    def apart(self, draft: Tumor, placed: Sequence[Placed]) -> Sequence[Keep]:
        """Keep the balls around shapes apart, or where that leaves no place the shapes themselves."""
        gap_mm, (_, _, reach) = self.settings.places.gap_mm, extent_mm(draft)
        as_balls = apart_as_balls(placed, reach, gap_mm)
        return [as_balls, apart_as_shapes(placed, self._footprint(draft).outline, gap_mm)] if placed else [as_balls]

    def draw(self, draft: Tumor, keeps: Sequence[Keep]) -> tuple[Index | None, bool]:
        """Draw a tumour's depth, and its voxel (`draw_site`)."""
        places, r = self.settings.places, draft.radius_mm
        depth_mm = r * draw_from(self.settings.real.bin_of(r).depth, self.depths)
        other = places.most_foreign[r >= LARGE_MM] if self.settings.vessels.avoid else 1.0
        demand = Demand(self._footprint(draft), depth_mm, places.most_clipped, other)
        return draw_site(self.scan, demand, keeps, self.rng)

    def at(self, draft: Tumor, position_mm: Triple) -> Placed:
        """A tumour at its place."""
        return Placed(position_mm, extent_mm(draft)[2], self._footprint(draft).outline)

    def _footprint(self, draft: Tumor) -> Footprint:
        return Footprint.of(draft, self.scan.geometry.spacing_mm)


def draw_site(scan: Scan, demand: Demand, keeps: Sequence[Keep], rng: Generator) -> tuple[Index | None, bool]:
    """Draw the voxel of a scan that a tumour is centred on.

    Parameters
    ----------
    scan
        The scan.
    demand
        What is asked of the place.
    keeps
        Tell which positions are allowed, the strictest first; where that leaves no place, the last one counts.
    rng
        Generator of places.

    Returns
    -------
    voxel
        Index (z, y, x) in the whole image; None if no place is admissible.
    clear
        Whether no more of what lies under the tumour is other than parenchyma than may be.
    """
    for numbers in _nearby(scan, demand.depth_mm, rng):
        for voxel in islice(_admissible(scan, demand, keeps[0], numbers), _CHECKED):
            if is_level(scan, voxel):
                return voxel, True
    return _draw_anywhere(scan, demand, keeps[-1], rng)


def _nearby(scan: Scan, depth_mm: float, rng: Generator) -> Iterator[NDArray[np.int64]]:
    """Draw numbers of sites near a depth, from wider and wider ranges of depths, until the range is the whole liver."""
    total, width_mm = scan.sites.voxels.size, _WIDTH_MM
    while total:
        near = scan.sites.around(depth_mm, width_mm)
        if near:
            yield rng.integers(near.start, near.stop, size=_TRIES)
        if len(near) == total:
            return
        width_mm *= 2


def _admissible(scan: Scan, demand: Demand, keep: Keep, numbers: NDArray[np.int64]) -> Iterator[Index]:
    """Those of some sites where the tumour would lie as it is asked for, as indices in the whole image.

    Of those that are compared the ones come first of which the liver's edge cuts off the least.
    """
    allowed, (few, many) = _allowed(scan, keep, numbers), _LOOKED_AT
    for some in (allowed[:few], allowed[few:many], allowed[many:]):
        if not some.size:
            return
        outside, other = _shares(scan, demand, some)
        fit = np.flatnonzero((outside <= demand.most_outside) & (other <= demand.most_other))
        for pick in fit[np.argsort(outside[fit], kind="stable")]:
            if _fits(scan, demand, some[pick], outside[pick]):
                yield _voxel(scan, some[pick])


def _allowed(scan: Scan, keep: Keep, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of some sites whose positions are allowed."""
    first = [s.start for s in scan.roi]
    return numbers[keep((scan.sites.indices(numbers) + first) * scan.geometry.spacing_mm)]


def _first_allowed(scan: Scan, keep: Keep, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first of some sites whose positions are allowed, as many as are looked at."""
    found = np.empty(0, np.int64)
    for start in range(0, numbers.size, _MOST_LOOKED_AT):
        found = np.append(found, _allowed(scan, keep, numbers[start : start + _MOST_LOOKED_AT]))
        if found.size >= _MOST_LOOKED_AT:
            break
    return found[:_MOST_LOOKED_AT]


def _shares(scan: Scan, demand: Demand, numbers: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Which part of the tumour would lie outside the liver, and on other tissue, at some sites."""
    centers = scan.sites.indices(numbers)
    return demand.footprint.shares(scan.sites.kinds, centers, most_outside=demand.most_outside)


def _fits(scan: Scan, demand: Demand, number: int, outside: float) -> bool:
    """Whether no more of the tumour than may lies outside the liver at a site, where about `outside` does."""
    center = scan.sites.indices(np.array([number]))[0]
    return demand.footprint.fits(scan.sites.kinds, center, outside, demand.most_outside)


def _draw_anywhere(scan: Scan, demand: Demand, keep: Keep, rng: Generator) -> tuple[Index | None, bool]:
    """Draw a site from the whole liver: with as little other tissue under the tumour as can be had, in steps.

    Of those alike the one nearest to the depth that is asked for is taken.
    """
    for numbers in _spread(scan, rng):
        numbers = _first_allowed(scan, keep, numbers)
        outside, other = _shares(scan, demand, numbers)
        inside = outside <= demand.most_outside
        numbers, outside, other = numbers[inside], outside[inside], other[inside]
        steps = np.maximum(0, np.ceil((other - demand.most_other) / _FOREIGN_STEP))
        off_mm = np.abs(scan.sites.depth_mm(numbers) - demand.depth_mm)
        for pick in np.lexsort((off_mm, steps))[:_CHECKED]:
            voxel = _voxel(scan, numbers[pick])
            if _fits(scan, demand, numbers[pick], outside[pick]) and is_level(scan, voxel):
                return voxel, bool(steps[pick] == 0)
    return None, False


def _spread(scan: Scan, rng: Generator) -> Iterator[NDArray[np.int64]]:
    """Draw numbers of sites from the whole liver: first some, then far more of them, evenly spread and in no order."""
    total = scan.sites.voxels.size
    if total:
        yield rng.integers(total, size=_LAST_TRIES)
        step = -(-total // _MOST)
        yield rng.permutation(np.arange(rng.integers(step), total, step))


def _voxel(scan: Scan, number: int) -> Index:
    """Index (z, y, x) in the whole image of a site."""
    inside = scan.sites.indices(np.array([number]))[0]
    z, y, x = (int(i) + s.start for i, s in zip(inside, scan.roi, strict=True))
    return z, y, x


def is_level(scan: Scan, voxel: Index) -> bool:
    """Whether the scan around a voxel is parenchyma: smoothed by any filter, within 2 sigma_p of mu_p.

    The filters are that of Eq. 1 and Gaussians of 1, 2 and 3 mm. What lies beyond the liver's edge counts, so that a
    place is refused where the mask leaks; beyond its end a scan is mirrored, as it is where Eq. 1 is applied to it.
    """
    spacing = np.array(scan.geometry.spacing_mm)
    filters = [smoothing_sigma(scan.sigma_a, scan.geometry), *(mm / spacing for mm in _LEVEL_MM)]
    weights, totals = _gaussians(tuple(tuple(sigmas.tolist()) for sigmas in filters))
    z, y, x = (slice(i - n // 2, i + n // 2 + 1) for i, n in zip(voxel, weights.shape[1:], strict=True))
    hu = _mirrored(scan, (z, y, x)).astype(np.float32)
    sums = np.einsum("zyx,fzyx->f", hu - np.float32(scan.mu_p_hu), weights)
    limit = _LEVEL_SD * scan.sigma_p_hu
    return bool((np.abs(sums) <= limit * totals).all())


def _mirrored(scan: Scan, box: Box) -> NDArray[Any]:
    """HU in a box around a voxel of a scan, which is mirrored at its ends where the box reaches beyond them."""
    here, inside = overlap(whole_box(scan.geometry.shape), box) or (EMPTY, EMPTY)
    beyond = [(i.start, b.stop - b.start - i.stop) for i, b in zip(inside, box, strict=True)]
    return np.pad(scan.hu[here], beyond, mode="symmetric") if any(map(any, beyond)) else scan.hu[here]


@lru_cache(maxsize=8)
def _gaussians(filters: tuple[tuple[float, ...], ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (f, z, y, x) of Gaussian filters with widths in voxels (z, y, x), and the sum of each filter's (f).

    They are the same for all tumours of a scan.
    """
    reach = np.ceil(FILTER_TRUNCATE * np.max(filters, axis=0)).astype(int)
    weights = []
    for sigmas in filters:
        steps = [np.arange(-n, n + 1) / s for n, s in zip(reach, sigmas, strict=True)]
        weights.append(np.exp(-0.5 * squared_distance(steps)).astype(np.float32))
    stacked = np.stack(weights)
    return stacked, stacked.sum(axis=(1, 2, 3))
