"""Charts of an evaluation as SVG elements of an HTML page: text stays text, and equal numbers give equal bytes.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..evaluation import FOUND_BY, RADIUS_BINS, UNNAMED, ConfidenceInterval, Estimates, Evaluation, Summary
from .findings import CONTROL_DIMENSION, FAILS, level_name
from .page import FAINT, INK, MUTED, shorten
from .plots import new_plot, style_axes, svg_of

MINE, THEIRS, DICE = "#0072b2", "#d55e00", "#009e73"
AXES = {  # what the levels of a dimension are; no formulas, whose letters an SVG would place one by one
    "location": "region of the liver",
    "size": "radius, mm",
    "shape": "elastic deformation, mm",
    "intensity": "contrast to the parenchyma, HU",
    "texture": "grain η",
    CONTROL_DIMENSION: "scans without tumour",
}
WIDTH = 9.6  # inches
NAME_LENGTH = 28  # of a model, in characters


def draw_detection(summary: Summary) -> str:
    """Draw the share of lesions found against radius, with 95 % intervals, by both rules (the paper's Figure 5)."""
    figure = new_plot(WIDTH, 3.4)
    axes = figure.add_subplot()
    for (rule, name), color, shift, marker in zip(FOUND_BY.items(), (MINE, THEIRS), (-0.08, 0.08), "os", strict=True):
        found = [summary.sensitivity[rule][radius] for radius in RADIUS_BINS]
        _with_intervals(axes, np.arange(len(found)) + shift, found, color, marker, name)
    counts = [summary.sensitivity["any"][radius].count for radius in RADIUS_BINS]
    axes.set_xticks(range(len(counts)), [f"{r} mm\nn = {n}" for r, n in zip(RADIUS_BINS, counts, strict=True)])
    axes.set_xlabel("radius of the sphere of the lesion's volume")
    axes.set_ylabel("share of lesions found")
    _finish(axes, legend=True)
    return svg_of(figure, "radius")


def draw_dice(evaluation: Evaluation, other: Evaluation | None = None, called: tuple[str, str] = UNNAMED) -> str:
    """Draw the DSC of liver and tumour: quartiles as boxes, whiskers to 1.5 times their range, cases as dots.

    The liver's axis begins just below its lowest value, since good models differ by hundredths. `called` is what the
    models are called.
    """
    mine, theirs = _shorten_both(called)
    figure = new_plot(WIDTH, 3.2)
    models = [(mine, evaluation, MINE)] + ([(theirs, other, THEIRS)] if other else [])
    for number, (metric, organ) in enumerate((("liver_dsc", "liver"), ("tumor_dsc", "tumour")), 1):
        axes = figure.add_subplot(1, 2, number)
        drawn = [_values(found, metric) for _, found, _ in models]
        for place, (values, (_, _, color)) in enumerate(zip(drawn, models, strict=True)):
            _box(axes, place, values, color)
        names = [
            f"{name}\nn = {len(v)}" if other else f"n = {len(v)}" for v, (name, _, _) in zip(drawn, models, strict=True)
        ]
        axes.set_xticks(range(len(names)), names, parse_math=False)
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.set_title(organ, fontsize=10, color=INK)
        axes.set_ylabel("DSC")
        _finish(axes)
        lowest = min((value for values in drawn for value in values), default=0.0)
        if metric == "liver_dsc" and lowest > 0.5:
            axes.set_ylim(math.floor(20 * lowest - 0.2) / 20, 1.003)
    return svg_of(figure, "dice")


def _shorten_both(called: tuple[str, str]) -> tuple[str, str]:
    """Names as short as an axis is, unless they would be alike then."""
    first, second = (shorten(name, NAME_LENGTH) for name in called)
    return (first, second) if first != second else called


def _values(found: Evaluation, metric: str) -> list[float]:
    return [value for case in found.cases if case.scored and not math.isnan(value := getattr(case, metric))]


def draw_differences(evaluation: Evaluation, other: Evaluation, called: tuple[str, str] = UNNAMED) -> str:
    """Draw the difference in tumour DSC, this minus the other, of each case where both are defined, sorted.

    `called` is what the models are called.
    """
    mine, theirs = _shorten_both(called)
    scores = {case.case: case.tumor_dsc for case in other.cases if case.scored}
    found = sorted(
        case.tumor_dsc - scores[case.case]
        for case in evaluation.cases
        if case.scored and not math.isnan(case.tumor_dsc - scores.get(case.case, math.nan))
    )
    figure = new_plot(WIDTH, 2.8)
    axes = figure.add_subplot()
    axes.bar(range(len(found)), found, width=0.8, color=[MINE if d > 0 else THEIRS for d in found])
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_xticks([])
    axes.set_xlabel(f"{len(found)} cases, sorted")
    axes.set_ylabel(f"tumour DSC,\n{mine}\nminus {theirs}", parse_math=False)
    style_axes(axes)
    return svg_of(figure, "differences")


def draw_robustness(summary: Summary) -> str:
    """Draw tumour DSC and sensitivity against level, a panel for each dimension (the paper's Figure 6).

    The last panel is that of the healthy control, with specificity. A line marks the share below which a model fails.
    """
    dimensions = {name: levels for name, levels in summary.dimensions.items() if name != CONTROL_DIMENSION}
    dimensions |= {name: levels for name, levels in summary.dimensions.items() if name == CONTROL_DIMENSION}  # the last
    columns = min(3, len(dimensions))
    rows = math.ceil(len(dimensions) / columns)
    figure = new_plot(WIDTH, 2.75 * rows + 0.3)
    named: dict[str, Any] = {}
    for number, (dimension, levels) in enumerate(dimensions.items(), 1):
        axes = figure.add_subplot(rows, columns, number)
        _panel(axes, dimension, levels)
        named |= {name: handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.set_layout_engine("constrained", h_pad=0.1)  # inches: room between an axis' name and the next title
    figure.legend(named.values(), named, loc="outside upper center", ncols=4, frameon=False, fontsize=9, labelcolor=INK)
    return svg_of(figure, "robustness")


def _panel(axes: Axes, dimension: str, levels: Mapping[str, Estimates]) -> None:
    """Draw the metrics of a dimension's levels, in their order."""
    cells = list(levels.values())
    places = np.arange(len(levels), dtype=float)
    label = f"fails: lesions found, or specificity, below {FAILS:g}"
    axes.axhline(FAILS, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), label=label)
    if dimension == CONTROL_DIMENSION:
        _with_intervals(axes, places, [c["specificity"] for c in cells], THEIRS, "D", "specificity")
    else:
        dice, found = ([c[metric] for c in cells] for metric in ("tumor_dsc", "sensitivity_any"))
        _with_intervals(axes, places - 0.06, dice, DICE, "o", "tumour DSC", joined=True)
        _with_intervals(axes, places + 0.06, found, MINE, "s", "lesions found, any overlap", joined=True)
    axes.set_xticks(places, [level_name(level) for level in levels], fontsize=8, parse_math=False)
    axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.set_title(shorten(dimension, 40), fontsize=10, color=INK, parse_math=False)
    axes.set_xlabel(AXES.get(dimension, "level"), fontsize=9)
    _finish(axes)


def _with_intervals(
    axes: Axes,
    places: np.ndarray[Any, Any],
    found: Sequence[ConfidenceInterval],
    color: str,
    marker: str,
    name: str,
    *,
    joined: bool = False,
) -> None:
    """Draw points with their intervals; undefined ones are left out."""
    defined = [i for i, each in enumerate(found) if each.defined]
    values, low, high = (
        np.array([getattr(found[i], name) for i in defined], float) for name in ("value", "low", "high")
    )
    axes.errorbar(
        places[defined],
        values,
        yerr=np.nan_to_num(np.abs([low - values, high - values])),  # without limits a point has no bar
        fmt=marker,
        color=color,
        markersize=5,
        linewidth=1.2,
        capsize=2.5,
        linestyle="-" if joined else "none",
        label=name,
    )


def _box(axes: Axes, place: int, values: Sequence[float], color: str) -> None:
    if not values:
        return
    axes.boxplot(
        [values],
        positions=[place],
        widths=0.45,
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": "none", "edgecolor": color, "linewidth": 1.3},
        medianprops={"color": color, "linewidth": 2},
        whiskerprops={"color": color},
        capprops={"color": color},
        manage_ticks=False,
    )
    spread = (np.arange(len(values)) * 0.618034 % 1 - 0.5) * 0.3  # golden section: even, and the same each time
    axes.plot(place + spread, values, ".", color=color, markersize=4, alpha=0.5, markeredgewidth=0)


def _finish(axes: Axes, *, legend: bool = False) -> None:
    """Style axes that show shares, from 0 to 1."""
    style_axes(axes)
    axes.set_ylim(-0.03, 1.03)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    if legend:
        axes.legend(frameon=False, fontsize=9, loc="best", labelcolor=INK)
