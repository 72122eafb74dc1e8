"""A picture of a fitted recipe: each table as a curve of probability, beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..figures import save_figure, shorten
from ..method import Bin, Quantiles
from ..wording import plural
from .bin_tables import LOOKS, prior_bin, tables_of
from .fitting import Fit
from .shape_tables import MEASURES

DRAWN, MEASURED, PRIOR = "#0072b2", "#1b1f24", "#d55e00"
COLUMNS: Mapping[str, str] = {  # table of a bin: the column that was measured for it
    **LOOKS,
    **{table: measure.name for table, measure in MEASURES.items()},
    "depth": "depth",
}
NAMES: Mapping[str, str] = {
    "radius_mm": "radius, mm",
    "count": "tumours per sample",
    "contrast_hu": "contrast, HU",
    "sigma_c_mm": "sigma of the edge, mm",
    "heterogeneity": "heterogeneity",
    "grain_mm": "grain, mm (not measured)",
    "axis_ratio": "axis ratio in plane",
    "elongation": "z over in-plane axis",
    "irregularity": "irregularity (dots: 1 - circularity)",
    "depth": "depth over r",
}
_UP = "share of {} up to this value"  # what the curves rise by
_LOGARITHMIC = {"radius_mm", "count", "depth"}


def draw_fit(fit: Fit, path: Path, name: str) -> None:
    """Draw the tables of a fit as PNG: blue dashes what is drawn, dots what was measured, orange the recipe lifelike.

    `name` is what was measured, for the title.

    Of axis ratio, elongation, irregularity and depth the dots are measures of what becomes of the draws (on voxels,
    deformed, cut off by the liver's surface), so that curve and dots need not agree.

    Raises
    ------
    TumorgenError
        The file cannot be written.
    """
    names = tables_of(fit.settings.real.bins[0])
    figure = Figure(figsize=(2.2 * len(names), 12), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    counted = f"{plural(len(fit.shapes), 'lesion')} in {plural(len(fit.counts), 'label map')}"
    figure.suptitle(f"{shorten(name, 80)}: {counted}", fontsize=13, parse_math=False)
    grid = figure.add_gridspec(1 + len(fit.bins), len(names))
    real, prior = fit.settings.real, fit.prior.real
    ill = fit.counts[fit.counts["count"] > 0]
    half = len(names) // 2
    first, second = (figure.add_subplot(grid[0, columns]) for columns in (slice(half), slice(half, None)))
    _draw(first, "radius_mm", real.radius_mm, prior.radius_mm, fit.shapes["radius_mm"])
    first.set_ylabel(_UP.format("lesions"), fontsize=9)
    _draw(second, "count", real.count, prior.count, ill["count"])
    second.set_ylabel(_UP.format("scans"), fontsize=9)
    below = 0.0
    for row, (bin_, lesions) in enumerate(zip(real.bins, fit.bins, strict=True), 1):
        panels = _draw_bin(figure, grid, row, bin_, prior_bin(prior, bin_.below_mm))
        for axes, table in zip(panels, names, strict=True):
            _draw_measured(axes, table, lesions.looks if table in LOOKS else lesions.shapes)
        panels[0].set_ylabel(f"radius {below:g} to {bin_.below_mm:g} mm\n{_UP.format('lesions')}", fontsize=9)
        below = bin_.below_mm
    save_figure(figure, path)


def _draw_bin(figure: Figure, grid: Any, row: int, bin_: Bin, prior: Bin) -> list[Axes]:
    """Draw the tables of a bin into a row of panels."""
    panels = []
    for column, name in enumerate(tables_of(bin_)):
        axes = figure.add_subplot(grid[row, column])
        _draw_tables(axes, name, getattr(bin_, name), getattr(prior, name))
        axes.tick_params(labelleft=not column)
        panels.append(axes)
    return panels


def _draw(axes: Axes, name: str, table: Quantiles, prior: Quantiles, values: pd.Series[float]) -> None:
    """Draw a table with values that were measured for it."""
    _draw_tables(axes, name, table, prior)
    _draw_values(axes, values)
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def _draw_measured(axes: Axes, name: str, lesions: pd.DataFrame) -> None:
    column = COLUMNS.get(name, "")
    if column in lesions:
        values = lesions[column]
        change = {"circularity": 1 - values, "field_variance": np.sqrt(values.clip(0))}.get(column, values)
        _draw_values(axes, change)
        axes.text(0.03, 0.93, f"n = {values.notna().sum()}", transform=axes.transAxes, fontsize=8)


def _draw_tables(axes: Axes, name: str, table: Quantiles, prior: Quantiles) -> None:
    for values, color, style, label in ((prior, PRIOR, "-", "lifelike"), (table, DRAWN, (0, (4, 2)), "drawn")):
        axes.plot(values, np.linspace(0, 1, len(values)), color=color, linestyle=style, linewidth=1.6, label=label)
    axes.set_title(NAMES[name], fontsize=9)
    axes.tick_params(labelsize=8)
    axes.set_ylim(-0.02, 1.02)
    if name in _LOGARITHMIC:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_values(axes: Axes, values: pd.Series[float]) -> None:
    known = np.sort(values.dropna().to_numpy(float))
    share = (np.arange(len(known)) + 0.5) / max(1, len(known))
    axes.plot(known, share, ".", color=MEASURED, markersize=3, label="measured", zorder=3)
