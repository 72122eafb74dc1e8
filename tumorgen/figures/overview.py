"""The overview of a dataset: a page with histograms above a grid of a few samples. It draws and reads no files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from ..method import MIX, SIZES
from ..tables import Record
from ..wording import plural
from .page import (
    DIMENSION_COLORS,
    FAINT,
    INK,
    MARGIN,
    MUTED,
    RANGES,
    WIDTH,
    class_color,
    kind_of,
    name_class,
    new_figure,
    place_axes,
    shorten,
    write_text,
)
from .panels import Panel, draw_panel, draw_scale_bar
from .sheets import THUMBNAIL_ASPECT, has_real_tumors, name_outlines

COLUMNS = 5  # of the grid

# Inches.
_HEAD, _CHARTS, _CAPTION, _GAP = 1.12, 2.75, 0.32, 0.1
_PANEL = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * _GAP) / COLUMNS
_PANEL_HEIGHT = _PANEL / THUMBNAIL_ASPECT


def draw_overview(
    name: str, records: Sequence[Record], panels: Sequence[tuple[Record, Panel]], told: Collection[bool] = ()
) -> Figure:
    """Draw a dataset's overview: four histograms of its tumours, and pictures of a few samples below them.

    `told` is that of `name_outlines`. Histograms are of synthetic tumours alone.
    """
    rows = -(-len(panels) // COLUMNS)
    height = _HEAD + _CHARTS + rows * (_PANEL_HEIGHT + _CAPTION) + 0.3
    figure = new_figure(height)
    scans = len({record.plan.case for record in records})
    tumors = sum(len(record.plan.tumors) for record in records)
    real = len({record.plan.case for record in records if has_real_tumors(record)})
    noun = "synthetic tumour" if real else "tumour"
    counted = ", ".join(plural(n, noun) for n, noun in ((scans, "scan"), (len(records), "sample"), (tumors, noun)))
    counted += f"; real ones, which the charts leave out, in {plural(real, 'scan')}" if real else ""
    write_text(figure, MARGIN, 0.14, shorten(name, 80), size=14, weight="bold")
    write_text(figure, MARGIN, 0.43, counted, color=MUTED)
    _class_key(figure, records)
    _charts(figure, records, _HEAD, _CHARTS - 0.75)
    if real:
        _outline_key(figure, _HEAD + _CHARTS - 0.22, name_outlines(told))
    for number, (record, panel) in enumerate(panels):
        row, column = divmod(number, COLUMNS)
        left, top = MARGIN + column * (_PANEL + _GAP), _HEAD + _CHARTS + row * (_PANEL_HEIGHT + _CAPTION)
        _grid_panel(figure, left, top, record, panel, first=number == 0)
    write_text(figure, WIDTH - MARGIN, height - 0.26, "tumorgen", color=FAINT, ha="right")
    return figure


def _outline_key(figure: Figure, top: float, outlines: Mapping[str, str]) -> None:
    """Write what the outlines of the pictures are, on one line."""
    left = MARGIN
    for text, color in outlines.items():
        left += write_text(figure, left, top, "━", color=color, weight="bold") + 0.06
        left += write_text(figure, left, top, text, color=MUTED) + 0.16


def _grid_panel(figure: Figure, left: float, top: float, record: Record, panel: Panel, *, first: bool) -> None:
    """Draw a sample's picture with its caption; the first one gets a scale bar."""
    axes = place_axes(figure, left, top, _PANEL, _PANEL_HEIGHT, f"grid {record.plan.sample}")
    draw_panel(axes, panel)
    if first:
        low, high = panel.window.across_mm
        draw_scale_bar(axes, high - low)
    below = top + _PANEL_HEIGHT + 0.05
    count = len(record.plan.tumors)
    tumors = f"{count} synthetic" if has_real_tumors(record) else plural(count, "tumour") if count else "no tumour"
    what = f"{name_class(record.plan.size_class)} · {tumors}"
    write_text(figure, left, below, shorten(record.plan.sample, 22), size=7.5)
    write_text(figure, left + _PANEL, below, what, size=7.5, color=MUTED, ha="right")


def _charts(figure: Figure, records: Sequence[Record], top: float, height: float) -> None:
    """Draw histograms of radii, contrasts and tumours per sample, and the number of tumours, each by size class."""
    kinds = order_classes(kind_of(t) for r in records for t in r.plan.tumors)
    measured = [pair for r in records for pair in _measures(r)]
    indent, gap = 0.4, 0.62
    width = (WIDTH - 2 * MARGIN - indent - 3 * gap) / 4
    lefts = [MARGIN + indent + n * (width + gap) for n in range(4)]
    radii, contrasts, counts, classes = (
        place_axes(figure, left, top, width, height, name)
        for left, name in zip(lefts, ("radii", "contrast", "per sample", "classes"), strict=True)
    )
    _radius_chart(radii, {k: [r for kind, r, _ in measured if kind == k and r > 0] for k in kinds})
    _contrast_chart(contrasts, {k: [c for kind, _, c in measured if kind == k and math.isfinite(c)] for k in kinds})
    _count_chart(counts, records)
    _class_chart(classes, Counter(kind for kind, _, _ in measured), kinds)


def _class_key(figure: Figure, records: Sequence[Record]) -> None:
    """Write a key of the size classes' colours, of tumours and of samples, on one line at the upper right."""
    tumors = {kind_of(t) for r in records for t in r.plan.tumors}
    right = WIDTH - MARGIN
    for name in reversed(order_classes(tumors | {r.plan.size_class for r in records})):
        right -= write_text(figure, right, 0.43, name_class(name), color=MUTED, ha="right") + 0.06
        right -= write_text(figure, right, 0.43, "■", color=class_color(name), ha="right") + 0.16


def _measures(record: Record) -> Iterator[tuple[str, float, float]]:
    """Kind, radius in mm and contrast in HU of each tumour: as measured, or as planned if it was not measured."""
    for tumor, outcome in zip(record.plan.tumors, record.outcomes, strict=True):
        if outcome is None:
            yield kind_of(tumor), tumor.radius_mm, tumor.mu_t_hu - record.plan.mu_p_hu
        else:
            yield kind_of(tumor), outcome.equivalent_radius_mm, outcome.contrast_hu


def order_classes(names: Iterable[str]) -> list[str]:
    """Names of size classes and ranges of radii, each once: from small to large, unknown ones by name, `mix` last."""
    rank = {name: number for number, name in enumerate((*SIZES, *RANGES))}
    return sorted(set(names), key=lambda name: (name == MIX, rank.get(name, len(rank)), name))


def _radius_chart(axes: Axes, values: dict[str, list[float]]) -> None:
    everything = [v for group in values.values() for v in group] or [4.0]
    low, high = math.floor(2 * math.log2(min(everything))) / 2, math.ceil(2 * math.log2(max(everything)) + 0.01) / 2
    _stacked(axes, values, 2 ** np.linspace(low, high, max(9, round(8 * (high - low)) + 1)))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    _style(axes, "Radius", "equivalent sphere, mm", "tumours")


def _contrast_chart(axes: Axes, values: dict[str, list[float]]) -> None:
    everything = [v for group in values.values() for v in group] or [0.0]
    low, high = min(everything), max(everything)
    step = next((s for s in (1, 2, 2.5, 5, 10, 20) if (high - low) / s <= 32), 50)
    edges = np.arange(math.floor(low / step), math.ceil(high / step) + 1.5) * step
    _stacked(axes, values, edges)
    if edges[0] < 0 < edges[-1]:
        axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
    _style(axes, "Contrast", "mean inside to parenchyma, HU", "tumours")


def _count_chart(axes: Axes, records: Sequence[Record]) -> None:
    kinds = order_classes(r.plan.size_class for r in records)
    values = {k: [float(len(r.plan.tumors)) for r in records if r.plan.size_class == k] for k in kinds}
    counts = [len(r.plan.tumors) for r in records]
    step = 1 + max(counts) // 30
    edges = np.arange(min(1, *counts) - 0.5, max(counts) + step, step)
    _stacked(axes, values, edges)
    axes.set_xlim(edges[0], edges[-1])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    _style(axes, "Tumours per sample", "tumours", "samples")


def _class_chart(axes: Axes, counts: Counter[str], kinds: Sequence[str]) -> None:
    heights = [counts[k] for k in kinds]
    axes.bar(range(len(kinds)), heights, color=[class_color(k) for k in kinds], width=0.68)
    for number, value in enumerate(heights):
        axes.text(number, value, f"{value}", ha="center", va="bottom", fontsize=8, color=INK)
    axes.set_xticks(range(len(kinds)), kinds, parse_math=False)
    titles = {RANGES: "Tumours by drawn radius", tuple(DIMENSION_COLORS): "Tumours per dimension"}
    title = next((title for names, title in titles.items() if set(kinds) <= set(names)), "Tumours per size class")
    _style(axes, title, "", "tumours")


def _stacked(axes: Axes, values: dict[str, list[float]], edges: NDArray[np.float64]) -> None:
    """Histograms of the classes, stacked."""
    if not values:
        return
    colors = [class_color(kind) for kind in values]
    axes.hist(list(values.values()), edges.tolist(), stacked=True, color=colors, edgecolor="white", linewidth=0.5)


def _style(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, fontsize=10, fontweight="bold", color=INK, loc="left")
    axes.set_xlabel(across, fontsize=8, color=MUTED)
    axes.set_ylabel(up, fontsize=8, color=MUTED)
    axes.tick_params(labelsize=8, colors=MUTED, length=2.5)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    axes.set_ylim(top=max(1.0, axes.get_ylim()[1]) * 1.05)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(FAINT)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color="#eceff2", linewidth=0.8)
