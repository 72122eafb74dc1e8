"""Panels: one slice of a scan in the CT window, with the outlines of its label, a scale bar and the sides' letters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from ..imaging import Geometry
from ..labels import LIVER, TUMOR
from .page import MUTED
from .views import Plane, Window, cut_window

WINDOW_HU = (-100.0, 240.0)
LIVER_COLOR, TUMOR_COLOR = "#39b6d8", "#ffb000"
REAL_COLOR = "#8a5cff"  # as far as can be from both and from grey, to colour-blind readers too

REAL_TUMOR = 3  # of a label that is shown, and in no file: a tumour that was there before


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A scan to look at: image in HU and label, (z, y, x), turned by `to_lps`.

    The label is 0 in the background, 1 in the liver, 2 in a tumour, 3 (`REAL_TUMOR`) in one that is known to be real.
    """

    image: NDArray[Any]
    label: NDArray[Any] | None


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One picture: a window onto a scan, and the scan's geometry."""

    window: Window
    side: Side
    geometry: Geometry


def draw_panel(axes: Axes, panel: Panel) -> None:
    """Draw a slice in the CT window, true to its spacing, with the outlines of liver (thin) and tumours."""
    window = panel.window
    image = cut_window(panel.side.image, panel.geometry, window)
    low, high = WINDOW_HU
    _blank(axes, "black")
    axes.imshow(
        image.values.astype(np.float32),
        cmap="gray",
        vmin=low,
        vmax=high,
        origin="lower",
        extent=image.extent,
        interpolation="hanning",
        interpolation_stage="data",
        resample=True,
        aspect="auto",  # the axes have the window's own proportions
    )
    if panel.side.label is not None:
        label = cut_window(panel.side.label, panel.geometry, window)
        for mask, color, width in (
            (label.values >= LIVER, LIVER_COLOR, 0.7),
            (label.values == TUMOR, TUMOR_COLOR, 1.1),
            (label.values == REAL_TUMOR, REAL_COLOR, 1.1),
        ):
            if mask.any() and not mask.all():
                axes.contour(
                    label.across_mm,
                    label.vertical_mm,
                    mask.astype(np.float32),
                    levels=[0.5],
                    colors=[color],
                    linewidths=[width],
                )
    axes.set_xlim(window.across_mm)
    axes.set_ylim(window.vertical_mm if window.plane.upwards else window.vertical_mm[::-1])


def draw_scale_bar(axes: Axes, width_mm: float) -> None:
    """Draw a bar of a round length in mm in the lower left of a panel."""
    length = max(mm for mm in (1, 2, 5, 10, 20, 50, 100) if mm <= max(1, 0.36 * width_mm))
    start = min(axes.get_xlim()) + 0.06 * width_mm
    across = axes.get_xaxis_transform()  # x in mm, y in parts of the panel
    dark = [withStroke(linewidth=1.6, foreground="black")]
    axes.plot(
        [start, start + length],
        [0.06, 0.06],
        transform=across,
        color="white",
        linewidth=1.8,
        solid_capstyle="butt",
        path_effects=[withStroke(linewidth=2.8, foreground="black")],
    )
    axes.text(start, 0.085, f"{length} mm", transform=across, color="white", fontsize=7, va="bottom", path_effects=dark)


def draw_side_letters(axes: Axes, plane: Plane) -> None:
    """Write at the sides of a panel what lies there: right, left, anterior, posterior, superior, inferior."""
    places = ((0.025, 0.5, "left", "center"), (0.975, 0.5, "right", "center"), (0.5, 0.97, "center", "top"))
    for letter, (x, y, ha, va) in zip(plane.sides[:3], places, strict=True):
        axes.text(
            x,
            y,
            letter,
            transform=axes.transAxes,
            color="white",
            fontsize=7,
            ha=ha,
            va=va,
            path_effects=[withStroke(linewidth=1.6, foreground="black")],
        )


def _blank(axes: Axes, color: str) -> None:
    axes.set_facecolor(color)
    axes.set_xticks([])
    axes.set_yticks([])


def draw_absent(axes: Axes, name: str) -> None:
    """Write in the place of a panel that the scan of that name, `healthy` say, is missing."""
    _blank(axes, "#eceff2")
    axes.text(
        0.5,
        0.5,
        f"{name} scan\nnot available",
        transform=axes.transAxes,
        color=MUTED,
        fontsize=8,
        ha="center",
        va="center",
    )
