"""The sheet of a sample: its source, a healthy scan as a rule, beside synthetic, in three planes. It reads no files."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from ..imaging import Box, Geometry, Triple
from ..method import Outcome, Tumor
from ..tables import Record
from ..wording import plural
from .page import (
    ALERT,
    FAINT,
    MARGIN,
    MUTED,
    TIMES,
    WIDTH,
    class_color,
    kind_of,
    name_class,
    new_figure,
    place_axes,
    shorten,
    whole,
    write_text,
)
from .panels import (
    LIVER_COLOR,
    REAL_COLOR,
    REAL_TUMOR,
    TUMOR_COLOR,
    WINDOW_HU,
    Panel,
    Side,
    draw_absent,
    draw_panel,
    draw_scale_bar,
    draw_side_letters,
)
from .views import PLANES, Plane, Window

MAX_ROWS = 6  # tumours shown, the largest first; a sample of class mix has up to 28
THUMBNAIL_ASPECT = 1.25  # width over height
TALLEST = 3.0  # height over width of what shows a whole liver: a column of voxels would make a page without end

# What stands in a row, plane by plane. The axial one also shows the synthetic scan as a reader would see it, unmarked.
# The first is called `source` on sheets of scans that have real tumours.
HEALTHY, PLAIN, OUTLINED = "healthy", "synthetic", "synthetic, label"
PANEL_KINDS = {"axial": (HEALTHY, PLAIN, OUTLINED), "coronal": (HEALTHY, OUTLINED), "sagittal": (HEALTHY, OUTLINED)}

# Inches.
_LABELS, _GAP, _PLANE_GAP, _ROW_GAP = 1.26, 0.03, 0.14, 0.06
_PANELS = sum(map(len, PANEL_KINDS.values()))
_GAPS = (_PANELS - len(PANEL_KINDS)) * _GAP + (len(PANEL_KINDS) - 1) * _PLANE_GAP
_PANEL = (WIDTH - 2 * MARGIN - _LABELS - _GAPS) / _PANELS


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """What a sample's sheet shows: its record, both scans turned for display, or why the healthy one is missing.

    `liver` is the bounding box of the liver in voxels of the display volume, or all of it where the label is empty.
    """

    record: Record
    geometry: Geometry
    liver: Box
    synthetic: Side
    healthy: Side | None
    missing: str = ""

    @property
    def tells_real(self) -> bool:
        """Whether its real tumours are told from the synthetic ones, as the mask of the scan tells them."""
        files = self.record.files
        if not has_real_tumors(self.record) or files is None or self.healthy is None or self.healthy.label is None:
            return False
        return int(np.count_nonzero(self.healthy.label == REAL_TUMOR)) == files.real_tumor_voxels


@dataclass(frozen=True, slots=True)
class _Shown:
    """A tumour of a sample: its number, its centre (z, y, x) as an index of the display volume, and its radius."""

    number: int
    tumor: Tumor
    outcome: Outcome | None
    center: Triple
    radius_mm: float


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of panels: slices through the point `slices`, windows of a size (width, height) around `middle`."""

    name: str
    size_mm: tuple[float, float]
    slices: Triple
    middle: Triple

    @property
    def height(self) -> float:
        """Height on the page in inches."""
        return _PANEL * self.size_mm[1] / self.size_mm[0]


def draw_sheet(sheet: Sheet) -> Figure:
    """Draw a sample's sheet: the liver in three planes through the largest tumour, then a row for each large one."""
    shown = sort_tumors(sheet)
    liver = _liver_row(sheet, shown)
    zooms = [_zoom_row(tumor, liver.size_mm) for tumor in shown[:MAX_ROWS]]
    top = 1.27 if sheet.missing else 1.1
    height = top + sum(row.height + _ROW_GAP for row in (liver, *zooms)) + 0.36
    figure = new_figure(height)
    _title(figure, sheet)
    _plane_names(figure, top, sheet)
    _describe_liver(figure, top, sheet, shown)
    _draw_row(figure, top, sheet, liver, letters=True)
    top += liver.height + _ROW_GAP
    for tumor, row in zip(shown, zooms, strict=False):  # the first few of them
        _describe(figure, top, tumor, sheet.record.plan.mu_p_hu)
        _draw_row(figure, top, sheet, row)
        top += row.height + _ROW_GAP
    _foot(figure, height, len(shown) - len(zooms))
    return figure


def _liver_row(sheet: Sheet, shown: list[_Shown]) -> _Row:
    middle = middle_of_liver(sheet)
    return _Row("liver", liver_size_mm(sheet), shown[0].center if shown else middle, middle)


def _zoom_row(shown: _Shown, liver_mm: tuple[float, float]) -> _Row:
    side = zoom_mm(shown.radius_mm, liver_mm)
    return _Row(f"tumour {shown.number}", (side, side), shown.center, shown.center)


def has_real_tumors(record: Record) -> bool:
    """Whether tumours that are really there were kept in a sample's scan."""
    return record.files is not None and record.files.real_tumor_voxels > 0


def count_tumors(record: Record) -> str:
    """How many tumours a sample has, in words."""
    count = len(record.plan.tumors)
    if has_real_tumors(record):
        return f"{plural(count, 'synthetic tumour')}, and real ones" if count else "real tumours alone"
    return plural(count, "tumour") if count else "no tumour"


def sort_tumors(sheet: Sheet) -> list[_Shown]:
    """The sample's tumours, the largest first, by the radius of the sphere of their volume, or r if not measured."""
    shown = []
    for number, (tumor, outcome) in enumerate(zip(sheet.record.plan.tumors, sheet.record.outcomes, strict=True)):
        radius = outcome.equivalent_radius_mm if outcome else tumor.radius_mm
        shown.append(_Shown(number, tumor, outcome, sheet.geometry.to_index(tumor.center_mm), radius))
    return sorted(shown, key=lambda t: -t.radius_mm)


def liver_size_mm(sheet: Sheet) -> tuple[float, float]:
    """Width and height of a window that shows the whole liver in any of the three planes, with a margin."""
    z, y, x = (float(b.stop - b.start) * s for b, s in zip(sheet.liver, sheet.geometry.spacing_mm, strict=True))
    height = 1.15 * max(y, z)
    return max(1.15 * max(x, y), height / TALLEST), height


def middle_of_liver(sheet: Sheet) -> Triple:
    """Continuous index (z, y, x) of the middle of the liver's bounding box."""
    z, y, x = ((b.start + b.stop - 1) / 2 for b in sheet.liver)
    return z, y, x


def zoom_mm(radius_mm: float, liver_mm: tuple[float, float]) -> float:
    """Side of the square around a tumour: enough to see its surroundings, never more than the liver."""
    return min(max(40.0, 4.2 * radius_mm), max(40.0, *liver_mm))


def _draw_row(figure: Figure, top: float, sheet: Sheet, row: _Row, *, letters: bool = False) -> None:
    """Draw a row: healthy beside synthetic in three planes."""
    first = HEALTHY if sheet.healthy else PLAIN
    for plane, kind, left in _columns():
        axes = place_axes(figure, left, top, _PANEL, row.height, f"{row.name} {plane.name} {kind}")
        side = sheet.healthy if kind == HEALTHY else sheet.synthetic
        if side is None:
            draw_absent(axes, _shown_name(sheet, HEALTHY))
            continue
        point = list(row.middle)
        point[plane.through] = row.slices[plane.through]
        window = Window.around(plane, (point[0], point[1], point[2]), row.size_mm, sheet.geometry)
        draw_panel(axes, Panel(window, Side(side.image, None) if kind == PLAIN else side, sheet.geometry))
        if letters:
            draw_side_letters(axes, plane)
        if plane is PLANES[0] and kind == first:
            draw_scale_bar(axes, row.size_mm[0])


def _columns() -> Iterator[tuple[Plane, str, float]]:
    """Plane, kind and left edge of each panel of a row."""
    left = MARGIN + _LABELS
    for plane in PLANES:
        for kind in PANEL_KINDS[plane.name]:
            yield plane, kind, left
            left += _PANEL + _GAP
        left += _PLANE_GAP - _GAP


def _title(figure: Figure, sheet: Sheet) -> None:
    plan = sheet.record.plan
    z, y, x = sheet.geometry.spacing_mm
    sizes = name_class(plan.size_class)
    kind = sizes if plan.pattern == "classes" else f"{sizes}, {plan.pattern}"
    facts = (
        f"CT window {whole(WINDOW_HU[0])} to {whole(WINDOW_HU[1])} HU",
        f"voxels {x:.2f} {TIMES} {y:.2f} {TIMES} {z:.2f} mm",
        f"liver parenchyma {whole(plan.mu_p_hu)} ± {whole(plan.sigma_p_hu)} HU",
        f"seed {plan.seed}",
    )
    write_text(figure, MARGIN, 0.14, shorten(plan.sample, 80), size=14, weight="bold")
    write_text(figure, WIDTH - MARGIN, 0.16, f"{kind} · {count_tumors(sheet.record)}", size=12, ha="right")
    write_text(figure, MARGIN, 0.43, " · ".join(facts), color=MUTED)
    if sheet.missing:
        write_text(figure, MARGIN, 0.59, f"Synthetic side only: {shorten(sheet.missing, 170)}", color=ALERT)


def _shown_name(sheet: Sheet, kind: str) -> str:
    return "source" if kind == HEALTHY and has_real_tumors(sheet.record) else kind


def _plane_names(figure: Figure, head: float, sheet: Sheet) -> None:
    for plane in PLANES:
        lefts = [left for other, _, left in _columns() if other is plane]
        middle = (lefts[0] + lefts[-1] + _PANEL) / 2
        write_text(figure, middle, head - 0.4, plane.name.capitalize(), size=10, weight="bold", ha="center")
    for _, kind, left in _columns():
        write_text(figure, left + _PANEL / 2, head - 0.19, _shown_name(sheet, kind), color=MUTED, ha="center")


def name_outlines(told: Collection[bool]) -> dict[str, str]:
    """What outlines are, and their colours; `told`: whether each sample with real tumours shows which these are."""
    if not told:
        return {"liver": LIVER_COLOR, "tumour": TUMOR_COLOR}
    synthetic = "synthetic tumour" if all(told) else "real or synthetic"
    return {"liver": LIVER_COLOR, synthetic: TUMOR_COLOR} | ({"real tumour": REAL_COLOR} if any(told) else {})


def _describe_liver(figure: Figure, top: float, sheet: Sheet, shown: list[_Shown]) -> None:
    """Write what the first row shows, and what the outlines mean."""
    real = has_real_tumors(sheet.record)
    through = f"through tumour {shown[0].number}" if shown else "no synthetic tumour" if real else "no tumour"
    write_text(figure, MARGIN, top + 0.02, "Whole liver", size=10, weight="bold")
    write_text(figure, MARGIN, top + 0.21, through, color=MUTED)
    outlines = name_outlines([sheet.tells_real] if real else [])
    for number, (text, color) in enumerate(outlines.items()):
        y = top + 0.5 + 0.18 * number
        write_text(figure, MARGIN, y, "━", color=color, weight="bold")
        write_text(figure, MARGIN + 0.18, y, text, color=MUTED)


def _describe(figure: Figure, top: float, shown: _Shown, mu_p_hu: float) -> None:
    """Write what the manifest says of a tumour to the left of its row."""
    tumor, outcome = shown.tumor, shown.outcome
    lines = [f"$r$ = {tumor.radius_mm:.3g} mm drawn", f"$\\mu_t$ = {whole(tumor.mu_t_hu)} HU"]
    if outcome:
        lines += [
            f"{outcome.equivalent_radius_mm:.1f} mm labelled",
            f"contrast {whole(outcome.contrast_hu, signed=True)} HU" if math.isfinite(outcome.contrast_hu) else "",
        ]
        if outcome.clipped_fraction >= 0.005:
            lines += [f"{outcome.clipped_fraction * 100:.0f} % cut by the edge", "of liver or scan"]
    else:
        lines.append(f"contrast {whole(tumor.mu_t_hu - mu_p_hu, signed=True)} HU")
    write_text(figure, MARGIN, top + 0.02, f"Tumour {shown.number}", size=10, weight="bold")
    write_text(figure, MARGIN, top + 0.21, kind_of(tumor), color=class_color(kind_of(tumor)), weight="bold")
    for number, line in enumerate(line for line in lines if line):
        write_text(figure, MARGIN, top + 0.43 + 0.18 * number, line, color=MUTED, parse_math=True)


def _foot(figure: Figure, height: float, hidden: int) -> None:
    if hidden:
        verb = "is" if hidden == 1 else "are"
        line = f"{plural(hidden, 'smaller tumour')} {verb} not shown: tumors.csv lists them all."
        write_text(figure, MARGIN, height - 0.3, line, color=MUTED)
    write_text(figure, WIDTH - MARGIN, height - 0.3, "tumorgen", color=FAINT, ha="right")


def crop_thumbnail(sheet: Sheet) -> Panel:
    """The axial slice of the synthetic scan through its largest tumour, or the middle of the liver if it has none."""
    shown = sort_tumors(sheet)
    z, y, x = middle_of_liver(sheet)
    width, _ = liver_size_mm(sheet)
    window = Window.around(
        PLANES[0], (shown[0].center[0] if shown else z, y, x), (width, width / THUMBNAIL_ASPECT), sheet.geometry
    )
    side = sheet.synthetic
    alone = slice(window.index, window.index + 1)  # one slice is all that has to travel between processes
    label = None if side.label is None else side.label[alone].copy()
    spacing = sheet.geometry.spacing_mm
    flat = Geometry((1, *sheet.geometry.shape[1:]), spacing)
    moved = Window(window.plane, 0, window.across_mm, window.vertical_mm)
    return Panel(moved, Side(side.image[alone].copy(), label), flat)
