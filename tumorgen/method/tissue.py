"""What a liver consists of: the parenchyma's local mean, and what is no parenchyma (vessels, cysts, fat, the edge).

The scan is taken apart into a background, the mean of the parenchyma within about a centimetre, and a residual: noise,
and what is foreign. Arrays are (z, y, x).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging import Box, Triple, label_components
from .bulk import median_and_robust_sd
from .compiled import gaussian_filter
from .operators import Floats, Operator, apply_separable, linear_shares, separable_slabs

BACKGROUND_MM = 9.0  # width (sigma) of the mean that is called background
SMOOTH_MM = 1.2  # width (sigma) of the filter that vessels stand out of the noise after
_DARKEST_HU, _BRIGHTEST_HU = -150.0, 250.0  # from mu_p; air and bone would reach far into the liver
_TRUNCATE = 3.0  # of that filter
_CELL_MM = 4.0  # of the coarse grid that holds it, well below that width
_HU_STEPS = 16  # of the background per HU, so that it is the same on every machine
_WEAK_SD, _STRONG_SD = 2.2, 3.6  # robust standard deviations of the smoothed residual: hysteresis
_LEAST_MM3 = 60.0  # smaller pieces are noise
_NORMAL_SD = 3.0  # what the background is the mean of: within so many robust standard deviations of the median
_SAMPLED = 2**16  # voxels that a median is taken of


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """The local mean of the parenchyma, on a coarse grid of cells.

    Attributes
    ----------
    hu
        Mean of each cell (z, y, x), HU.
    cell
        Voxels of a cell along each axis; the first cell begins at the first voxel of the region.
    """

    hu: Floats
    cell: tuple[int, int, int]

    def in_box(self, box: Box) -> Floats:
        """The background in a box of the region's voxels, which may reach beyond it: linear between cells."""
        along, cells = self._between_cells(box)
        return apply_separable(along, self.hu[cells])

    def slabs(self, box: Box) -> Iterator[tuple[slice, Floats]]:
        """The background in a box, some planes (z, y, x) at a time: slices of the box's planes, and these."""
        along, cells = self._between_cells(box)
        for planes, hu in separable_slabs(along, self.hu[cells][None]):
            yield planes, hu[0]

    def _between_cells(self, box: Box) -> tuple[list[Operator], Box]:
        """Operators that interpolate a box's voxels, and the cells that they read."""
        axes = [_between_cells(b, k, n) for b, k, n in zip(box, self.cell, self.hu.shape, strict=True)]
        z, y, x = (cells for _, cells in axes)
        return [operator for operator, _ in axes], (z, y, x)


@dataclass(frozen=True, slots=True, eq=False)
class Tissue:
    """A liver taken apart, over the region `roi` of its scan.

    Attributes
    ----------
    background
        Local mean of the parenchyma.
    foreign
        Voxels of the liver that are no parenchyma, boolean: vessels, cysts, fat, its edge.
    parenchyma
        Voxels of the liver, none of them foreign, whose smoothed HU lie within 2 sigma_p of mu_p.
    """

    background: Background
    foreign: NDArray[np.bool_]
    parenchyma: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        hu: NDArray[Any],
        liver: NDArray[np.bool_],
        parenchyma_hu: tuple[float, float],
        spacing_mm: Triple,
    ) -> Tissue:
        """Take a liver apart.

        Parameters
        ----------
        hu, liver
            The scan in HU and its liver mask, over the same region.
        parenchyma_hu
            mu_p and sigma_p.
        spacing_mm
            Spacing (z, y, x).
        """
        mu_p, sigma_p = parenchyma_hu
        smooth = smooth_hu(hu, mu_p, spacing_mm)
        median, sd = _median_and_sd(smooth, liver)
        normal = liver & _within(smooth, median, _NORMAL_SD * sd)
        background = measure_background(hu, normal, mu_p, spacing_mm)
        foreign = find_foreign(smooth, background, liver, float(np.prod(spacing_mm)))
        parenchyma = _within(smooth, mu_p, 2 * sigma_p)
        parenchyma &= liver
        parenchyma &= ~foreign
        return cls(background, foreign, parenchyma)


def smooth_hu(hu: NDArray[Any], mu_p: float, spacing_mm: Triple) -> Floats:
    """A scan smoothed so far that vessels stand out of its noise; what is far from mu_p, as air, weighs no more."""
    sigmas = [SMOOTH_MM / s for s in spacing_mm]
    return gaussian_filter(near_mu_p(hu, mu_p), sigmas, _TRUNCATE)


def near_mu_p(hu: NDArray[Any], mu_p: float) -> Floats:
    """A scan's HU as float32, what is far from mu_p, as air and bone, brought nearer."""
    near: Floats = hu.astype(np.float32)
    return np.clip(near, mu_p + _DARKEST_HU, mu_p + _BRIGHTEST_HU, out=near)


def measure_background(hu: NDArray[Any], parenchyma: NDArray[np.bool_], mu_p: float, spacing_mm: Triple) -> Background:
    """Local mean of the parenchyma: Gaussian-weighted, of what is parenchyma only; mu_p where there is none near."""
    z, y, x = (max(1, round(_CELL_MM / s)) for s in spacing_mm)
    sigmas = [BACKGROUND_MM / (k * s) for k, s in zip((z, y, x), spacing_mm, strict=True)]
    count, total = _sum_cells(hu, parenchyma, mu_p, (z, y, x))
    weight, above = (gaussian_filter(each, sigmas, 4.0, beyond_zero=True) for each in (count, total))
    mean = np.divide(above, weight, out=np.zeros_like(above), where=weight > 1e-3)
    return Background((np.rint((mean + mu_p) * _HU_STEPS) / _HU_STEPS).astype(np.float32), (z, y, x))


def find_foreign(
    smooth: Floats, background: Background, liver: NDArray[np.bool_], voxel_mm3: float
) -> NDArray[np.bool_]:
    """Voxels of the liver that are no parenchyma: pieces of it that stand out of the background.

    A piece stands out by 2.2 robust standard deviations of the smoothed residual everywhere and by 3.6 somewhere, and
    has 60 mm3 at least.
    """
    residual = subtract_background(smooth, background)
    sd = _median_and_sd(residual, liver)[1]
    np.abs(residual, out=residual)
    weak = residual > np.float32(_WEAK_SD * sd)
    weak &= liver
    piece = label_components(weak)[weak]
    strong = np.bincount(piece, residual[weak] > np.float32(_STRONG_SD * sd)) > 0
    large = np.bincount(piece) * voxel_mm3 >= _LEAST_MM3
    weak[weak] = (strong & large)[piece]
    return weak


def subtract_background(values: Floats, background: Background) -> Floats:
    """Values over the whole region less its background, as a new array, its rows one behind the other in memory."""
    residual = np.empty(values.shape, np.float32)
    z, y, x = (slice(0, size) for size in values.shape)
    for planes, mean in background.slabs((z, y, x)):
        np.subtract(values[planes], mean, out=residual[planes])
    return residual


def _sum_cells(
    hu: NDArray[Any], parenchyma: NDArray[np.bool_], mu_p: float, cell: tuple[int, int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Parenchyma in each cell of voxels, as their number and what they have above mu_p; the last cells may be smaller.

    Some planes at a time, which are added up first: that is quickest.
    """
    z, y, x = (range(0, size, step) for size, step in zip(hu.shape, cell, strict=True))
    sums = np.empty((2, len(z), len(y), len(x)))
    for number, start in enumerate(z):
        planes = slice(start, start + cell[0])
        here = parenchyma[planes]
        above = np.subtract(hu[planes], np.float32(mu_p), dtype=np.float32)
        above *= here
        for summed, values in zip(sums, (here, above), strict=True):
            rows = np.add.reduceat(values.sum(axis=0, dtype=np.float32), y, axis=0)
            summed[number] = np.add.reduceat(rows, x, axis=1)
    return sums[0], sums[1]


def _between_cells(voxels: slice, cell: int, cells: int) -> tuple[Operator, slice]:
    """Linear interpolation of some voxels in a row from the centres of cells, and which cells it reads.

    Beyond the last centres it is their value.
    """
    known_columns, known_shares = _interpolation(cell, cells)
    within = voxels.start >= 0 and voxels.stop <= cell * cells
    inside = voxels if within else np.arange(voxels.start, voxels.stop).clip(0, cell * cells - 1)
    columns = known_columns[inside].ravel()
    used = slice(int(columns[0]), int(columns[-1]) + 1)
    starts = np.arange(0, columns.size + 1, 2, dtype=np.int32)
    return Operator(known_shares[inside].ravel(), columns - columns[0], starts, used.stop - used.start), used


@lru_cache(maxsize=64)
def _interpolation(cell: int, cells: int) -> tuple[NDArray[np.int32], Floats]:
    """Which two cells every voxel of a row lies between, (n, 2), and their shares."""
    return linear_shares((np.arange(cell * cells) - (cell - 1) / 2) / cell, cells)


def _within(values: Floats, middle: float, far: float) -> NDArray[np.bool_]:
    """Which values lie within a distance of a middle."""
    inside: NDArray[np.bool_] = values >= np.float32(middle - far)
    inside &= values <= np.float32(middle + far)
    return inside


def _median_and_sd(values: Floats, where: NDArray[np.bool_]) -> tuple[float, float]:
    """Median and robust standard deviation of values in a mask.

    Of so many of them, evenly spread, that the rest would change neither by a hundredth of the deviation.
    """
    voxels = np.flatnonzero(where)
    sample = values.reshape(-1)[voxels[:: max(1, voxels.size // _SAMPLED)]].astype(np.float64)
    return median_and_robust_sd(sample)
