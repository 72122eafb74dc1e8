"""Charts of an evaluation as SVG, to stand in a page: text stays text, equal numbers draw equal bytes.

Matplotlib's object interface alone. Colours are Okabe and Ito's, which colour-blind readers tell apart.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .evaluation import RADIUS_BINS, Evaluation
from .findings import CONTROL
from .page import FAINT, INK, MUTED

MINE, THEIRS, DICE = "#0072b2", "#d55e00", "#009e73"
ENDS = ("low", "high")  # of an interval
RULES = {"any": "any overlap", "iou": "IoU > 0.5"}
WIDTH = 9.6  # inches

Summary = Mapping[str, Any]


def detection_by_radius(summary: Summary) -> str:
    """Share of lesions found against their radius, with 95 % intervals, by both rules (the paper's Figure 5)."""
    figure = _figure(WIDTH, 3.4)
    axes = figure.add_subplot()
    for (rule, name), color, shift, marker in zip(RULES.items(), (MINE, THEIRS), (-0.08, 0.08), "os", strict=True):
        found = [summary["sensitivity"][rule][radius] for radius in RADIUS_BINS]
        _with_intervals(axes, np.arange(len(found)) + shift, found, color, marker, name)
    counts = [summary["sensitivity"]["any"][radius]["count"] for radius in RADIUS_BINS]
    axes.set_xticks(range(len(counts)), [f"{r} mm\nn = {n}" for r, n in zip(RADIUS_BINS, counts, strict=True)])
    axes.set_xlabel("radius of the sphere of the lesion's volume")
    axes.set_ylabel("lesions found")
    _finish(axes, legend=True)
    return _svg(figure, "radius")


def dice_boxes(evaluation: Evaluation, other: Evaluation | None = None) -> str:
    """DSC of liver and tumour, case by case: quartiles as boxes, whiskers to 1.5 times their range, cases as dots."""
    figure = _figure(WIDTH, 3.2)
    axes = figure.add_subplot()
    models = [("this", evaluation, MINE)] + ([("other", other, THEIRS)] if other else [])
    names, place = [], 0
    for metric, organ in (("liver_dsc", "liver"), ("tumor_dsc", "tumour")):
        for name, found, color in models:
            values = [v for c in found.cases if c.scored and not math.isnan(v := getattr(c, metric))]
            _box(axes, place, values, color)
            names.append(f"{organ}{f', {name}' if other else ''}\nn = {len(values)}")
            place += 1
    axes.set_xticks(range(place), names)
    axes.set_ylabel("DSC")
    _finish(axes)
    return _svg(figure, "dice")


def differences(evaluation: Evaluation, other: Evaluation) -> str:
    """Difference in tumour DSC, this minus the other, of every case that is defined in both, sorted."""
    theirs = {case.case: case.tumor_dsc for case in other.cases if case.scored}
    found = sorted(
        case.tumor_dsc - theirs[case.case]
        for case in evaluation.cases
        if case.scored and not math.isnan(case.tumor_dsc - theirs.get(case.case, math.nan))
    )
    figure = _figure(WIDTH, 2.8)
    axes = figure.add_subplot()
    axes.bar(range(len(found)), found, width=0.8, color=[MINE if d > 0 else THEIRS for d in found])
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_xticks([])
    axes.set_xlabel(f"{len(found)} cases, sorted")
    axes.set_ylabel("tumour DSC,\nthis minus the other")
    _plain(axes)
    return _svg(figure, "differences")


def robustness(summary: Summary) -> str:
    """A panel per dimension of the benchmark: tumour DSC and sensitivity against level (the paper's Figure 6).

    The healthy control has a panel of its own, with specificity.
    """
    dimensions = {name: levels for name, levels in summary["dimensions"].items() if name != CONTROL}
    control = summary["dimensions"].get(CONTROL)
    panels = len(dimensions) + (control is not None)
    columns = min(3, panels)
    figure = _figure(WIDTH, 2.7 * math.ceil(panels / columns))
    for number, (dimension, levels) in enumerate(dimensions.items(), 1):
        axes = figure.add_subplot(math.ceil(panels / columns), columns, number)
        places = np.arange(len(levels), dtype=float)
        cells = list(levels.values())
        _with_intervals(axes, places - 0.06, [c["tumor_dsc"] for c in cells], DICE, "o", "tumour DSC", joined=True)
        _with_intervals(
            axes, places + 0.06, [c["sensitivity_any"] for c in cells], MINE, "s", "found, any overlap", joined=True
        )
        axes.set_xticks(range(len(levels)), list(levels), fontsize=8)
        axes.set_title(dimension, fontsize=10, color=INK)
        _finish(axes, legend=number == 1)
    if control is not None:
        axes = figure.add_subplot(math.ceil(panels / columns), columns, panels)
        found = [cell["specificity"] for cell in control.values()]
        _with_intervals(axes, np.arange(len(found), dtype=float), found, THEIRS, "D", "specificity")
        axes.set_xticks(range(len(found)), list(control), fontsize=8)
        axes.set_xlim(-1, len(found))
        axes.set_title(CONTROL, fontsize=10, color=INK)
        _finish(axes, legend=True)
    return _svg(figure, "robustness")


def _with_intervals(
    axes: Axes,
    places: np.ndarray[Any, Any],
    found: Sequence[Mapping[str, Any]],
    color: str,
    marker: str,
    name: str,
    *,
    joined: bool = False,
) -> None:
    """Points with their intervals; what is undefined is left out."""
    defined = [i for i, each in enumerate(found) if each["value"] is not None]
    x, y = places[defined], np.array([found[i]["value"] for i in defined], float)
    limits = [[found[i][end] if found[i][end] is not None else found[i]["value"] for i in defined] for end in ENDS]
    lengths = np.abs(np.array(limits, float) - y)
    axes.errorbar(
        x,
        y,
        yerr=lengths,
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


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    FigureCanvasSVG(figure)
    return figure


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=9)
    axes.set_facecolor("none")


def _finish(axes: Axes, *, legend: bool = False) -> None:
    """Shares run from 0 to 1."""
    _plain(axes)
    axes.set_ylim(-0.03, 1.03)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    if legend:
        axes.legend(frameon=False, fontsize=8, loc="best")


def _svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element; ids are told apart by name, since several stand in one page."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": f"tumorgen {name}", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return re.sub(r'(id="|#)([\w.]+_\d+)\b', rf"\1{name}-\2", text)
