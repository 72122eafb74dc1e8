"""Tables of shape that make drawn tumours measure like real lesions.

What is drawn (the axes of an ellipsoid, the strength of its deformation) is not what is measured (moments, extents and
outline of what came of it, on voxels, where the liver ends). So the tables are found by trying: tumours are drawn from
them, on the real lesions' voxels and of their radii, and below a liver's surface that cuts some of them off; they are
measured as lesions are; and each table is moved by the difference between the quantiles of both, until they agree. The
same tumours are drawn in each round, but for their tables.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging import Geometry, Triple
from ..labels import BACKGROUND, LIVER, TUMOR
from ..method import (
    REAL,
    Bin,
    MuRange,
    Quantiles,
    SampleTraits,
    Settings,
    Size,
    Tumor,
    apply_switches,
    draw_from,
    draw_tumor,
    fit_to_real,
    occupied_voxels,
    tumor_grid,
)
from .lesions import find_lesions
from .shapes import LesionShape, measure_shapes
from .weighting import quantiles_of

Numbers = NDArray[np.float64]

DRAWN = 480  # tumours in each round
ROUNDS = 5
PLANES = 8  # the liver's surface is the one of these that cuts off least: so many sites are compared where tumours go
_SMOOTHED = 0.1  # of a value in each round
_MOST_PIXELS = 10.0  # over a radius; beyond that, finer voxels change no measure of an ellipsoid


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure that a table decides: what is added to the table for each unit that the measure is too low.

    `start` is the table's ends at the beginning; None where it begins with the measure's own quantiles.
    """

    name: str
    gain: float
    start: tuple[float, float] | None = None


MEASURES: Mapping[str, Measure] = {
    "axis_ratio": Measure("axis_ratio", 1.0),
    "elongation": Measure("z_extent", 1.0),
    "irregularity": Measure("circularity", -0.6, (0.05, 0.25)),  # the stronger the deformation, the less circular
}


@dataclass(frozen=True, slots=True, eq=False)
class RealShapes:
    """Lesions of a bin of radii: radius, spacing (lesion, axis) and weight of each, and what was measured of them."""

    radius_mm: Numbers
    spacing_mm: Numbers
    weights: Numbers
    measures: Mapping[str, Numbers]

    def quantiles(self, name: str, shares: Sequence[float]) -> Numbers:
        """Quantiles of a measure."""
        return quantiles_of(self.measures[name], self.weights, shares)


def fit_shapes(real: RealShapes, start: Bin, limits: Mapping[str, tuple[float, float]], settings: Settings) -> Bin:
    """Find tables of axis ratio, elongation and irregularity whose tumours measure as lesions do.

    Parameters
    ----------
    real
        The lesions.
    start
        The bin whose tables these become; as many quantiles are found as it has of each. Its depths are drawn.
    limits
        Least and greatest value of each table.
    settings
        Those that the tumours are drawn with, the tables apart.
    """
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(real.radius_mm), DRAWN, p=real.weights / real.weights.sum())
    seeds = rng.integers(2**32, size=DRAWN).tolist()
    found = dataclasses.replace(start, **_first_tables(real, start, limits))
    for _ in range(ROUNDS):
        trial = dataclasses.replace(settings, real=dataclasses.replace(settings.real, bins=(found,)))
        drawn = [
            draw_shape(trial, float(real.radius_mm[i]), _as_triple(real.spacing_mm[i]), seed)
            for i, seed in zip(chosen, seeds, strict=True)
        ]
        measured = [each for each in drawn if each]
        tables: dict[str, Any] = {
            table: correct(getattr(found, table), measure, real, measured, limits[table])
            for table, measure in MEASURES.items()
        }
        found = dataclasses.replace(found, **tables)
    return found


def _first_tables(real: RealShapes, start: Bin, limits: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """Tables to begin with, the same whatever a recipe has, so that a fit can be repeated."""
    tables = {}
    for table, measure in MEASURES.items():
        shares = np.linspace(0, 1, len(getattr(start, table))).tolist()
        begun = np.interp(shares, (0, 1), measure.start) if measure.start else real.quantiles(measure.name, shares)
        tables[table] = rising(np.clip(begun, *limits[table]))
    return tables


def correct(
    table: Quantiles, measure: Measure, real: RealShapes, drawn: Sequence[LesionShape], limits: tuple[float, float]
) -> Quantiles:
    """A table moved by the difference of the quantiles of a measure, real ones minus drawn ones, within limits."""
    shares = np.linspace(0, 1, len(table)).tolist()
    values = np.array([getattr(shape, measure.name) for shape in drawn])
    missing = real.quantiles(measure.name, shares) - quantiles_of(values, np.ones(len(values)), shares)
    moved = np.array(table) + measure.gain * (missing if measure.gain > 0 else missing[::-1])
    return rising(smooth(np.clip(moved, *limits)))


def smooth(values: Numbers) -> Numbers:
    """Values of which each has moved a little towards the mean of its neighbours; the ends go on in a line.

    What is measured of tumours of one kind scatters, so that many tables fit equally well; this is a smooth one. Any
    more of it, and the tails of a table are no longer those that fit.
    """
    longer = np.pad(values, 1, "reflect", reflect_type="odd")
    return (1 - _SMOOTHED) * values + _SMOOTHED * (longer[:-2] + longer[2:]) / 2


def rising(values: Numbers) -> Quantiles:
    """Values as a table that never falls: the mean of the lowest such table above them, and the highest below."""
    above, below = np.maximum.accumulate(values), np.minimum.accumulate(values[::-1])[::-1]
    return tuple(((above + below) / 2).tolist())


def draw_shape(settings: Settings, radius_mm: float, spacing_mm: Triple, seed: int) -> LesionShape | None:
    """Draw a tumour from the tables of settings, on voxels of a spacing (z, y, x), and measure it as a lesion.

    It lies as deep below a liver's surface as is drawn, and is measured without its depth: little of a liver is around
    it. None where it is too small to be measured.
    """
    rng = np.random.default_rng(seed)
    coarser = max(1.0, radius_mm / (_MOST_PIXELS * max(spacing_mm[1:])))
    spacing = _as_triple(np.array(spacing_mm) * coarser)
    size = Size(radius_mm, (1, 1), (0.0, 0.0))
    tumor = draw_tumor(settings, REAL, size, MuRange(0.0, 0.0), 0.0, rng)
    tumor = apply_switches(fit_to_real(tumor, settings, (0.0, 0.0), SampleTraits(0.0, 0.0), rng), settings)
    depth_mm = radius_mm * draw_from(settings.real.bin_of(radius_mm).depth, rng)
    labels = _label(tumor, spacing, depth_mm, settings.places.most_clipped, rng)
    found = find_lesions(labels, spacing)
    if not found.lesions:
        return None
    largest = max(found.lesions, key=lambda lesion: lesion.voxels)
    return measure_shapes(labels, spacing, (largest,))[0]


def _label(
    tumor: Tumor, spacing_mm: Triple, depth_mm: float, most_clipped: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Label map of a tumour at a depth below a plane where the liver ends, at a random place between voxels.

    As where tumours are placed, it is the plane of some at random that cuts off least, and the tumour lies deeper where
    more than `most_clipped` of it would be cut off.
    """
    x, y, z = (rng.uniform(-0.5, 0.5, 3) * spacing_mm[::-1]).tolist()
    placed = dataclasses.replace(tumor, center_x_mm=x, center_y_mm=y, center_z_mm=z)
    geometry = Geometry((1, 1, 1), spacing_mm)
    occupied = np.pad(occupied_voxels(placed, geometry), 1)
    axes = [np.pad(axis, 1, "reflect", reflect_type="odd") for axis in tumor_grid(placed, geometry).axes(fine=False)]
    labels = np.where(occupied, TUMOR, LIVER).astype(np.uint8)
    labels[_beyond_surface(occupied, axes, depth_mm, most_clipped, rng)] = BACKGROUND
    return labels


def _beyond_surface(
    occupied: NDArray[np.bool_],
    axes: Sequence[NDArray[Any]],
    depth_mm: float,
    most_clipped: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """What lies beyond the plane, of a grid with coordinates (z, y, x) from the tumour's centre."""
    if not occupied.any():
        return np.zeros_like(occupied)
    upwards = rng.standard_normal((PLANES, 3))
    upwards /= np.linalg.norm(upwards, axis=1, keepdims=True)
    height_mm = np.stack([axis[at] for axis, at in zip(axes, np.nonzero(occupied), strict=True)], axis=1) @ upwards.T
    plane = int(np.argmin((height_mm > depth_mm).mean(axis=0)))
    surface_mm = max(depth_mm, float(np.quantile(height_mm[:, plane], 1 - most_clipped)))
    z, y, x = (axis * step for axis, step in zip(axes, upwards[plane], strict=True))
    return np.asarray(z[:, None, None] + y[:, None] + x > surface_mm)


def _as_triple(values: Numbers) -> Triple:
    z, y, x = map(float, values)
    return z, y, x
