"""Figures of the study on realism: radial profiles, a contact sheet of every recipe, and pairs with real tumours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from realism_page import PAIRS, PROFILES, SHEET

from tumorgen.evaluation import RADIUS_BINS
from tumorgen.figures import INK, MUTED, new_plot, style_axes
from tumorgen.realism import PROFILE_MM, measure_folder
from tumorgen.realism.appearance import GREY_LOW_HU, GREY_STEP_HU
from tumorgen.realism.comparing import BAND
from tumorgen.realism.measuring import MeasuredLesion

RADII_MM = (3.0, 4.5, 6.0, 8.0, 11.0, 15.0, 22.0)  # of the lesions that the contact sheet shows
WINDOW_HU = (-40.0, 180.0)
COLORS = {"lifelike": "#0072b2", "paper": "#e69f00", "turing": "#d55e00", "published": "#009e73"}  # Okabe and Ito's
SIDE_MM, SIDE_RADII = 40.0, 4.2
GREYS, COLORED, LEAST_COLOR = 64, 48, 24  # of a small PNG; what differs more between its channels is coloured
PAIRS_SCALE = 0.85
_DPI = 110
_LEAST = 3  # lesions, for a curve
_PLACE = ["set", "scan", "lesion"]


def write_pictures(audits: Mapping[str, Path], shown: Mapping[str, Path], page_folder: Path) -> None:
    """Draw the figures of the page from the audits' tables and from datasets whose scans may be shown."""
    save_small(draw_profiles(audits), page_folder / PROFILES)
    lesions = {recipe: measure_folder("synthetic", dataset, {}, jobs=1).lesions for recipe, dataset in shown.items()}
    save_small(draw_sheet({recipe: choose_sizes(each) for recipe, each in lesions.items()}), page_folder / SHEET)
    if "lifelike" in audits:
        shrink(half_of(Image.open(audits["lifelike"] / "pairs.png")), page_folder / PAIRS)


def half_of(pairs: Image.Image) -> Image.Image:
    """The left half of an audit's sheet of pairs, which has two of four in each row, a little smaller."""
    left = pairs.convert("RGB").crop((0, 0, pairs.width // 2, pairs.height))
    return left.resize([round(side * PAIRS_SCALE) for side in left.size], Image.Resampling.LANCZOS)


def save_small(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG of few colours."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(_DPI)
    figure.set_facecolor("white")
    canvas.draw()
    shrink(Image.fromarray(np.asarray(canvas.buffer_rgba())), path)


def shrink(image: Image.Image, path: Path) -> None:
    """Write an image as a PNG of few greys and colours: in a CT, noise is most of the bytes."""
    pixels = np.asarray(image.convert("RGB"))
    colored = pixels[np.ptp(pixels, axis=-1) > LEAST_COLOR]
    palette = np.repeat(np.linspace(0, 255, GREYS).round().astype(np.uint8)[:, None], 3, axis=1)
    if len(colored):
        found = Image.fromarray(colored[None]).quantize(COLORED, dither=Image.Dither.NONE).getpalette()
        palette = np.concatenate([palette, np.array(found, np.uint8).reshape(-1, 3)])
    few = Image.new("P", (1, 1))
    few.putpalette(np.resize(palette, (256, 3)).tobytes())
    Image.fromarray(pixels).quantize(palette=few, dither=Image.Dither.NONE).save(path, optimize=True)


def draw_profiles(audits: Mapping[str, Path]) -> Figure:
    """Median HU against the distance from the outline, by radius; of the real ones 5 to 95 % too."""
    figure = new_plot(9.2, 5.4)
    tables = {recipe: read_profiles(folder) for recipe, folder in audits.items()}
    for place, radii in enumerate(RADIUS_BINS, 1):
        axes = figure.add_subplot(2, 2, place)
        axes.axhline(0, color=MUTED, linewidth=0.6)
        axes.axvline(0, color=MUTED, linewidth=0.6)
        for recipe, table in reversed(tables.items()):
            _draw_profile(axes, table, "synthetic", radii, recipe, COLORS.get(recipe, MUTED))
        _draw_profile(axes, next(iter(tables.values())), "real", radii, "real", INK)
        axes.set_title(f"radius {radii} mm", fontsize=10, color=INK)
        axes.set_xlim(-6, 6)
        axes.set_xlabel("mm from the outline (negative: inside)")
        axes.set_ylabel("HU above parenchyma")
        style_axes(axes)
        axes.legend(*(each[::-1] for each in axes.get_legend_handles_labels()), frameon=False, fontsize=8)
    return figure


def read_profiles(audit: Path) -> pd.DataFrame:
    """Profiles of an audit's lesions, and their bins of radii."""
    lesions, profiles = (pd.read_csv(audit / name) for name in ("lesions.csv", "profiles.csv"))
    return profiles.merge(lesions[[*_PLACE, "radius_bin"]], on=_PLACE)


def _draw_profile(axes: Axes, table: pd.DataFrame, which: str, radii: str, name: str, color: str) -> None:
    chosen = table[(table["set"] == which) & (table["radius_bin"] == radii)]
    values = chosen[[f"{mm:g}" for mm in PROFILE_MM]]
    known = values.count() >= min(_LEAST, max(1, len(chosen)))
    low, median, high = np.where(known, values.quantile([*BAND]), np.nan)
    if which == "real":
        axes.fill_between(PROFILE_MM, low, high, color=color, alpha=0.15, linewidth=0)
    axes.plot(
        PROFILE_MM, median, color=color, linewidth=2.0 if which == "real" else 1.5, label=f"{name} ({len(chosen)})"
    )


def choose_sizes(lesions: Iterable[MeasuredLesion]) -> list[MeasuredLesion | None]:
    """For each radius of the sheet the lesion that is nearest to it, none twice; None where none is near."""
    left, chosen = list(lesions), []
    for radius_mm in RADII_MM:
        best = min(left, key=lambda each: abs(np.log(each.shape.radius_mm / radius_mm)), default=None)
        near = best is not None and abs(np.log(best.shape.radius_mm / radius_mm)) < np.log(1.3)
        chosen.append(best if near else None)
        left = [each for each in left if not near or each is not best]
    return chosen


def draw_sheet(chosen: Mapping[str, list[MeasuredLesion | None]]) -> Figure:
    """Draw the lesions of each recipe in a row, by size; each in its slice with the largest area."""
    figure = Figure(figsize=(9.2, 0.3 + 1.5 * len(chosen)), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    grid = figure.subplots(len(chosen), len(RADII_MM), squeeze=False)
    for axes, (recipe, lesions) in zip(grid, chosen.items(), strict=True):
        axes[0].set_ylabel(recipe, color=INK)
        for panel, lesion in zip(axes, lesions, strict=True):
            _draw_lesion(panel, lesion)
    return figure


def _draw_lesion(axes: Axes, lesion: MeasuredLesion | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if lesion is None:
        return
    view, half_mm = lesion.view, max(SIDE_MM, SIDE_RADII * lesion.shape.radius_mm) / 2
    hu = view.grey[0].astype(np.float32) * GREY_STEP_HU + GREY_LOW_HU
    height, width = (n * spacing / 2 for n, spacing in zip(hu.shape, view.spacing_mm, strict=True))
    low, high = WINDOW_HU
    extent = (-width, width, height, -height)
    axes.imshow(hu, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bicubic")
    axes.set_xlim(-half_mm, half_mm)
    axes.set_ylim(half_mm, -half_mm)
    axes.set_title(f"r {lesion.shape.radius_mm:.1f} mm", fontsize=7, color=MUTED, pad=2)
