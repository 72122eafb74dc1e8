"""Tables of quantiles of a bin of radii, from what was measured of its lesions, and blended where these are few.

What is measured becomes what is drawn:

- contrast of the core is drawn as it is measured;
- depth is that of the centre before the liver's surface cuts a part off (`depth_before_cut`);
- sigma of the edge is the measured width over 2.563, as it is an error function that is drawn. The scan's own point
  spread and the annotator's hand are in it: what is drawn on a scan is not blurred again by the scanner;
- of contrast and edge, the scatter that comes of measuring (`SCATTER`) is taken out of the spread;
- heterogeneity has the median of the low-frequency variance inside beyond that of noise, and a spread that is set: of a
  single lesion it is mostly chance;
- axis ratio, elongation and irregularity are found by drawing and measuring (`shape_tables`);
- grain is not measured: it is the prior's.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..method import Bin, Quantiles, Real, Settings
from .appearance import INSIDE_MM, INSIDE_TINY_MM, SMOOTH_MM, TINY_MM, WIDTH_OF_SIGMA
from .shape_tables import MEASURES, Numbers, RealShapes, fit_shapes, rising
from .weighting import quantiles_of

BINS_MM = (5.0, 10.0, 20.0, 200.0)  # where bins of radii end
STEPS = 10  # of probability in a table of a bin
HALF = 8.0  # so many lesions weigh as much as the prior
LIMITS: Mapping[str, tuple[float, float]] = {  # of what is drawn; beyond them lie errors of measurement, or oddities
    "radius_mm": (2.0, 60.0),
    "count": (1.0, 40.0),
    "contrast_hu": (-90.0, -12.0),
    "sigma_c_mm": (0.3, 3.0),
    "heterogeneity": (0.0, 0.6),
    "grain_mm": (0.5, 20.0),
    "axis_ratio": (0.3, 1.0),
    "elongation": (0.3, 2.0),
    "irregularity": (0.0, 0.35),
    "depth": (0.2, 20.0),
}
LOOKS: Mapping[str, str] = {  # table of a look: the column of `with_drawn` that it is of
    "contrast_hu": "core_contrast_hu",
    "sigma_c_mm": "sigma_c_mm",
    "heterogeneity": "field_variance",
}
SPACING = ("spacing_z_mm", "spacing_y_mm", "spacing_x_mm")
_LEAST = 3  # lesions that tables are looked for

# Found by measuring tumours that were drawn into real scans, by bin: SD of the measured contrast in HU, and of the
# logarithm of the measured sigma of the edge, about what was drawn.
SCATTER: Mapping[float, tuple[float, float]] = {
    5.0: (7.0, 0.55),
    10.0: (4.0, 0.33),
    20.0: (2.5, 0.2),
    200.0: (1.5, 0.15),
}
_NOISE_PART = 0.64  # of the ring's low-frequency variance that is noise; found likewise, of tumours without a field
_NOISE_GRAIN_MM = 1.6  # of noise after the Gaussian of 1.5 mm that parts low frequencies from high ones
_LEAST_SEEN = 0.25  # part of a field's variance
_FIELD_SPREAD = 0.5  # SD of the logarithm of heterogeneity


@dataclass(frozen=True, slots=True, eq=False)
class BinLesions:
    """Lesions of a bin of radii, with a `weight` each: those whose shape and place, and those whose look was measured.

    `prior` holds the tables that they are blended with, each of `STEPS` steps.
    """

    shapes: pd.DataFrame
    looks: pd.DataFrame
    prior: Bin

    def count(self, table: str) -> float:
        """How many lesions a table rests on, each one over the number of its patient's scans."""
        return float(self._measured(table).sum())

    def suffice_for(self, table: str) -> bool:
        """Whether what a table is of was measured of enough lesions to look for one."""
        return len(self._measured(table)) >= _LEAST

    def own_part(self, table: str) -> float:
        """The part that a table of these lesions has in a blend: none where they do not suffice for one."""
        return own_part(self.count(table)) if self.suffice_for(table) else 0.0

    def _measured(self, table: str) -> pd.Series[float]:
        """Weights of the lesions of which what a table is of was measured."""
        frame, column = (self.looks, LOOKS[table]) if table in LOOKS else (self.shapes, "depth")
        return frame["weight"][frame[column].notna()]


def with_drawn(lesions: pd.DataFrame, grain_mm: pd.Series[float]) -> pd.DataFrame:
    """Measured lesions with what is drawn of their look: `sigma_c_mm`, and `field_variance`, squared heterogeneity.

    Of a lesion's field, whose grain is given for each, and of noise, only a part of the variance passes the Gaussian
    that parts frequencies, and is seen within the disc where it is measured. What exceeds the noise is the field's; it
    may come out negative, and is nan where too little of it could be seen.
    """
    inner_mm = lesions["radius_mm"] - np.where(lesions["radius_mm"] < TINY_MM, INSIDE_TINY_MM, INSIDE_MM)
    noise = _NOISE_PART * part_within(inner_mm, _NOISE_GRAIN_MM) * lesions["ring_low_sd_hu"] ** 2
    seen = part_within(inner_mm, (grain_mm**2 + SMOOTH_MM**2) ** 0.5) * grain_mm**2 / (grain_mm**2 + SMOOTH_MM**2)
    field = (lesions["inside_low_sd_hu"] ** 2 - noise) / seen.where(seen >= _LEAST_SEEN)
    return lesions.assign(
        sigma_c_mm=lesions["edge_width_mm"] / WIDTH_OF_SIGMA, field_variance=field / lesions["core_contrast_hu"] ** 2
    )


def part_within(radius_mm: pd.Series[float], grain_mm: pd.Series[float] | float) -> pd.Series[float]:
    """Part of the variance of a Gaussian field of a grain (sigma of the filter) that is seen within a disc of a radius.

    One minus the mean correlation of two points of the disc, exp(-d^2 / 4 sigma^2), whose integral is known.
    """
    from scipy import special

    a = radius_mm**2 / (4 * grain_mm**2)
    mean_correlation = (1 - special.ive(0, 2 * a) - special.ive(1, 2 * a)) / a
    return pd.Series(1 - mean_correlation, radius_mm.index)


def fit_bin(lesions: BinLesions, settings: Settings) -> Bin:
    """Tables of the lesions alone; those of a kind that was measured of fewer than three are the prior's."""
    found = lesions.prior
    if lesions.suffice_for("depth"):
        frame = lesions.shapes
        measures = {each.name: frame[each.name].to_numpy(float) for each in MEASURES.values()}
        real = RealShapes(
            frame["radius_mm"].to_numpy(float), frame[list(SPACING)].to_numpy(float), _weights(frame), measures
        )
        drawn = frame.assign(depth=depth_before_cut(frame["depth"]))
        found = dataclasses.replace(found, depth=table_of(drawn, "depth", "depth", STEPS))
        found = fit_shapes(real, found, LIMITS, settings)
    return dataclasses.replace(found, **_look_tables(lesions))


def depth_before_cut(depth: pd.Series[float]) -> pd.Series[float]:
    """Depth of a ball's centre over its radius, from that of the centroid of what the liver's surface leaves of it.

    A plane at t radii from the centre leaves a ball whose centroid lies 3 (1 - t)^2 / (4 (2 - t)) radii deeper; this is
    t of the measured depth m, 1 + 2 m - 2 sqrt(m^2 - m + 1), below 0 for less than half a ball. From 1 on nothing is
    cut off.
    """
    return depth.where(depth >= 1, 1 + 2 * depth - 2 * (depth**2 - depth + 1) ** 0.5)


def _look_tables(lesions: BinLesions) -> dict[str, Any]:
    """Tables of what was measured of enough lesions."""
    looks = lesions.looks
    contrast_sd, edge_sd = SCATTER[lesions.prior.below_mm]
    own = looks.assign(
        core_contrast_hu=without_scatter(looks["core_contrast_hu"], looks["weight"], contrast_sd),
        sigma_c_mm=np.exp(without_scatter(np.log(looks["sigma_c_mm"]), looks["weight"], edge_sd)),
    )
    enough = {table for table in LOOKS if lesions.suffice_for(table)}
    tables = {table: table_of(own, LOOKS[table], table, STEPS) for table in enough - {"heterogeneity"}}
    if "heterogeneity" in enough:
        tables["heterogeneity"] = _heterogeneity(looks)
    return tables


def without_scatter(values: pd.Series[float], weights: pd.Series[float], scatter: float) -> pd.Series[float]:
    """Values drawn to their median so far that their variance is less by that of a scatter; both weighted."""
    known = values.notna()
    if not known.any():
        return values
    middle = float(quantiles_of(values, weights, [0.5])[0])
    mean = float(np.average(values[known], weights=weights[known]))
    variance = float(np.average((values[known] - mean) ** 2, weights=weights[known]))
    kept = math.sqrt(max(0.0, 1 - scatter**2 / variance)) if variance else 0.0
    return middle + kept * (values - middle)


def _heterogeneity(looks: pd.DataFrame) -> Quantiles:
    """Table about the median of the measured heterogeneity."""
    from scipy import special

    (median,) = quantiles_of(looks["field_variance"].to_numpy(float), _weights(looks), [0.5])
    shares = (np.arange(STEPS + 1) + 0.25) / (STEPS + 0.5)  # the ends of a distribution without ends
    values = math.sqrt(max(0.0, median)) * np.exp(_FIELD_SPREAD * special.ndtri(shares))
    return rising(np.clip(values, *LIMITS["heterogeneity"]))


def table_of(frame: pd.DataFrame, column: str, table: str, steps: int) -> Quantiles:
    """Quantiles of a column at equal steps of probability, within the limits of a table."""
    shares = np.linspace(0, 1, steps + 1).tolist()
    found = quantiles_of(frame[column].to_numpy(float), _weights(frame), shares)
    return rising(np.clip(found, *LIMITS[table]))


def _weights(frame: pd.DataFrame) -> Numbers:
    return frame["weight"].to_numpy(float)


def blend_bin(fitted: Bin, prior: Bin, lesions: BinLesions) -> Bin:
    """A bin's tables, each blended with a prior's as many lesions as it rests on allow."""
    tables: dict[str, Any] = {
        name: blend(getattr(fitted, name), getattr(prior, name), lesions.own_part(name))
        for name in tables_of(prior)
        if name != "grain_mm"
    }
    return dataclasses.replace(prior, **tables)


def tables_of(bin_: Bin) -> tuple[str, ...]:
    """Names of the tables of a bin."""
    return tuple(field.name for field in dataclasses.fields(bin_) if field.name != "below_mm")


def blend(fitted: Quantiles, prior: Quantiles, own: float) -> Quantiles:
    """A fitted table and a prior's, quantile by quantile, the fitted one with a part from 0 to 1."""
    return rising(own * np.array(fitted) + (1 - own) * np.array(resampled(prior, len(fitted) - 1)))


def own_part(count: float) -> float:
    """The part that a table of n lesions has in a blend: n2 / (n2 + 8^2), one half for eight and 0.93 for thirty."""
    return count**2 / (count**2 + HALF**2)


def resampled(table: Quantiles, steps: int) -> Quantiles:
    """A table at other steps of probability."""
    shares = np.linspace(0, 1, steps + 1)
    return tuple(np.interp(shares, np.linspace(0, 1, len(table)), table).tolist())


def prior_bin(prior: Real, end_mm: float) -> Bin:
    """The tables of a recipe for a bin of radii that ends there, each of `STEPS` steps."""
    found = change_tables(prior.bin_of(np.nextafter(end_mm, 0)), lambda table: resampled(table, STEPS))
    return dataclasses.replace(found, below_mm=end_mm)


def change_tables(bin_: Bin, change: Callable[[Quantiles], Quantiles]) -> Bin:
    """A bin with each of its tables changed."""
    tables: dict[str, Any] = {name: change(getattr(bin_, name)) for name in tables_of(bin_)}
    return dataclasses.replace(bin_, **tables)


def rounded(table: Sequence[float], digits: int) -> Quantiles:
    """A table of rounded numbers, for people to read."""
    return tuple(round(value, digits) for value in table)
