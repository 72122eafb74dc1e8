"""Tables of quantiles of a bin of radii, from what was measured of its lesions, and blended where these are few.

What is measured becomes what is drawn:

- contrast of the core, and depth, are drawn as they are measured;
- sigma of the edge is the measured width over 2.563, as it is an error function that is drawn. The scan's own point
  spread and the annotator's hand are in it: what is drawn on a scan is not blurred again by the scanner;
- heterogeneity is the low-frequency SD inside as far as it exceeds that of the ring (the variances of the scan's noise
  and of the lesion's own field add up), over the contrast of the core;
- axis ratio, elongation and irregularity are found by drawing and measuring (`shape_tables`);
- grain is not measured: it is the prior's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..method import Bin, Quantiles, Real, Settings
from .appearance import WIDTH_OF_SIGMA
from .shape_tables import MEASURES, Numbers, RealShapes, fit_shapes, quantiles_of, rising

BINS_MM = (5.0, 10.0, 20.0, 200.0)  # where bins of radii end
STEPS = 10  # of probability in a table of a bin
HALF = 8.0  # so many lesions weigh as much as the prior
LIMITS: Mapping[str, tuple[float, float]] = {  # of what is drawn; beyond them lie errors of measurement, or oddities
    "radius_mm": (2.0, 60.0),
    "count": (1.0, 40.0),
    "contrast_hu": (-90.0, -12.0),
    "sigma_c_mm": (0.3, 3.0),
    "heterogeneity": (0.0, 0.45),
    "grain_mm": (0.5, 20.0),
    "axis_ratio": (0.3, 1.0),
    "elongation": (0.3, 2.0),
    "irregularity": (0.0, 0.35),
    "depth": (0.2, 20.0),
}
LOOKS: Mapping[str, str] = {"contrast_hu": "core_contrast_hu", "sigma_c_mm": "sigma_c_mm", "heterogeneity": "excess"}
SPACING = ("spacing_z_mm", "spacing_y_mm", "spacing_x_mm")
_LEAST = 3  # lesions that tables are looked for


@dataclass(frozen=True, slots=True, eq=False)
class BinLesions:
    """Lesions of a bin of radii, with a `weight` each: those whose shape and place, and those whose look was measured.

    `prior` holds the tables that they are blended with, each of `STEPS` steps.
    """

    shapes: pd.DataFrame
    looks: pd.DataFrame
    prior: Bin

    @property
    def support(self) -> tuple[float, float]:
        """How many lesions the tables of shape and of look rest on, each one over the number of its patient's scans."""
        seen = self.looks["core_contrast_hu"].notna()
        return float(self.shapes["weight"].sum()), float(self.looks["weight"][seen].sum())


def with_drawn(lesions: pd.DataFrame) -> pd.DataFrame:
    """Measured lesions with what is drawn of their look: `sigma_c_mm`, and `excess`, the heterogeneity."""
    excess = np.clip(lesions["inside_low_sd_hu"] ** 2 - lesions["ring_low_sd_hu"] ** 2, 0, None)
    return lesions.assign(
        sigma_c_mm=lesions["edge_width_mm"] / WIDTH_OF_SIGMA,
        excess=np.sqrt(excess) / lesions["core_contrast_hu"].abs(),
    )


def fit_bin(lesions: BinLesions, settings: Settings) -> Bin:
    """Tables of the lesions alone; those of a kind that was measured of fewer than three are the prior's."""
    found = lesions.prior
    if len(lesions.shapes) >= _LEAST:
        frame = lesions.shapes
        measures = {each.name: frame[each.name].to_numpy(float) for each in MEASURES.values()}
        real = RealShapes(
            frame["radius_mm"].to_numpy(float), frame[list(SPACING)].to_numpy(float), _weights(frame), measures
        )
        found = fit_shapes(real, found, LIMITS, settings)
        found = dataclasses.replace(found, depth=table_of(frame, "depth", "depth", STEPS))
    tables: dict[str, Any] = {
        table: table_of(lesions.looks, column, table, STEPS)
        for table, column in LOOKS.items()
        if lesions.looks[column].notna().sum() >= _LEAST
    }
    return dataclasses.replace(found, **tables)


def table_of(frame: pd.DataFrame, column: str, table: str, steps: int) -> Quantiles:
    """Quantiles of a column at equal steps of probability, within the limits of a table."""
    shares = np.linspace(0, 1, steps + 1).tolist()
    found = quantiles_of(frame[column].to_numpy(float), _weights(frame), shares)
    return rising(np.clip(found, *LIMITS[table]))


def _weights(frame: pd.DataFrame) -> Numbers:
    return frame["weight"].to_numpy(float)


def blend_bins(fitted: Bin, prior: Bin, support: tuple[float, float]) -> Bin:
    """A bin's tables, blended with a prior's as many lesions as were measured allow."""
    shapes, looks = support
    tables: dict[str, Any] = {
        name: blend(getattr(fitted, name), getattr(prior, name), looks if name in LOOKS else shapes)
        for name in tables_of(prior)
        if name != "grain_mm"
    }
    return dataclasses.replace(prior, **tables)


def tables_of(bin_: Bin) -> tuple[str, ...]:
    """Names of the tables of a bin."""
    return tuple(field.name for field in dataclasses.fields(bin_) if field.name != "below_mm")


def blend(fitted: Quantiles, prior: Quantiles, count: float) -> Quantiles:
    """A fitted table of n lesions and a prior's, quantile by quantile, each as much as `own_part` says."""
    own = own_part(count)
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
