"""Figures of an audit: radial profiles by bin of radii, histograms of each statistic; real black, synthetic orange."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from ..evaluation import RADIUS_BINS
from ..figures import INK, MUTED, new_plot, style_axes
from .appearance import PROFILE_MM
from .comparing import APPEARANCE, BAND, SHAPE, STATISTIC_NAMES, lesion_frame
from .measuring import MeasuredSet
from .weighting import quantiles_of, weigh_patients

SYNTHETIC = "#d55e00"  # Okabe and Ito's
COLUMNS, BARS = 3, 24
FILL = 0.45  # of synthetic bars, through which the real ones are seen
_TAILS = (0.01, 0.99)  # of both sets: the limits of a histogram
_LEAST = 3  # lesions, for a curve


def draw_profiles(real: MeasuredSet, synthetic: MeasuredSet) -> Figure:
    """Mean HU against the distance from the label's outline, by radius: median and 5 to 95 % of the lesions.

    Patients weigh alike per scan. A dot stands for a bin of distances. Bins that no voxel falls into, as where voxels
    are larger, have none.
    """
    figure = new_plot(9.6, 5.6)
    for number, radii in enumerate(RADIUS_BINS, 1):
        axes = figure.add_subplot(2, 2, number)
        for found, color in ((real, INK), (synthetic, SYNTHETIC)):
            _draw_profile(axes, found, radii, color)
        axes.axhline(0, color=MUTED, linewidth=0.6)
        axes.axvline(0, color=MUTED, linewidth=0.6)
        axes.set_title(f"radius {radii} mm", fontsize=10, color=INK)
        axes.set_xlim(-6, 6)
        axes.set_xlabel("mm from the outline (negative: inside)")
        axes.set_ylabel("HU above parenchyma")
        style_axes(axes)
        if not any(np.size(line.get_xdata()) for line in axes.lines[:2]):
            axes.set_yticks(())  # matplotlib's hundredths of a HU are of nothing
        axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="lower right")
    return figure


def _draw_profile(axes: Axes, found: MeasuredSet, radii: str, color: str) -> None:
    chosen = [lesion for lesion in found.lesions if lesion.place.radius_bin == radii and lesion.appearance.profile_hu]
    profiles = np.array([lesion.appearance.profile_hu for lesion in chosen]).reshape(-1, len(PROFILE_MM))
    known = np.isfinite(profiles).sum(0) >= max(1, min(_LEAST, len(chosen)))
    label = f"{found.name} (n = {len(chosen)}){'' if known.any() or not chosen else ': voxels too coarse'}"
    at_mm, values = np.array(PROFILE_MM)[known], profiles[:, known]
    weigh = weigh_patients(each.scan.patient for each in found.scans)
    weights = [weigh[each.place.patient] for each in chosen]
    low, median, high = np.array([quantiles_of(of_bin, weights, BAND) for of_bin in values.T]).reshape(-1, 3).T
    axes.fill_between(at_mm, low, high, color=color, alpha=0.15, linewidth=0)
    axes.plot(at_mm, median, ".-", color=color, linewidth=1.6, markersize=5, label=label)


def draw_histograms(real: MeasuredSet, synthetic: MeasuredSet) -> Figure:
    """Share of the lesions by every statistic in both sets, patients weighing alike per scan."""
    frames = lesion_frame(real), lesion_frame(synthetic)
    names = (*APPEARANCE, *SHAPE)
    rows = math.ceil(len(names) / COLUMNS)
    figure = new_plot(9.6, 1.75 * rows + 0.3)
    figure.legend(
        handles=_name_sets(real, synthetic), loc="outside upper center", ncols=2, frameon=False, labelcolor=INK
    )
    for number, statistic in enumerate(names, 1):
        axes = figure.add_subplot(rows, COLUMNS, number)
        _draw_histogram(axes, frames, statistic)
        axes.set_title(STATISTIC_NAMES[statistic], fontsize=9, color=INK)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        if number % COLUMNS == 1:
            axes.set_ylabel("share of lesions", fontsize=9)
        style_axes(axes)
    return figure


def _name_sets(*sets: MeasuredSet) -> list[Patch]:
    """What bars look like of the real set and of the synthetic one."""
    first, second = (f"{found.name} (n = {len(found.lesions)})" for found in sets)
    return [
        Patch(facecolor="none", edgecolor=INK, label=first),
        Patch(color=SYNTHETIC, alpha=FILL, label=second),
    ]


def _draw_histogram(axes: Axes, frames: tuple[pd.DataFrame, pd.DataFrame], statistic: str) -> None:
    known = [frame[np.isfinite(frame[statistic])] for frame in frames]
    values = np.concatenate([frame[statistic].to_numpy(float) for frame in known])
    if not values.size:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", fontsize=9, color=MUTED)
        return
    low, high = np.quantile(values, _TAILS)
    edges: NDArray[Any] = np.linspace(low, high if high > low else low + 1, BARS + 1)
    for frame, color in zip(known, (INK, SYNTHETIC), strict=True):
        inside = np.clip(frame[statistic].to_numpy(float), edges[0], edges[-1])
        if inside.size:
            heights, _ = np.histogram(inside, edges, weights=frame["weight"].to_numpy(float))
            axes.stairs(
                heights / heights.sum(), edges, color=color, fill=color != INK, alpha=1 if color == INK else FILL
            )
