"""The page that sheets and overviews are drawn on: text and axes placed in inches, colours, and PNG files.

Positions are in inches from the upper left. Only matplotlib's object interface is used: it has no global state, so that
several workers can draw at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..evaluation import RADIUS_BINS, radius_bin
from ..imaging import whole_file
from ..method import MIX, REAL, SIZES, Tumor

DPI = 120
PICTURE_MARKS = ("Software", "tumorgen")  # what a PNG of `save_figure` holds
_SHOWN = "Description"  # key of the PNG
WIDTH, MARGIN = 13.7, 0.2  # inches
MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"

INK, MUTED, FAINT, ALERT = "#1b1f24", "#5b6570", "#c9ced4", "#b3261e"
SIZE_COLORS = ("#eda81c", "#e4572e", "#a2337a", "#3d2c8d")  # from small to large
OTHER_COLORS = ("#2a9d8f", "#457b9d", "#8ab17d", "#b56576")


def color_sizes(names: Iterable[str]) -> dict[str, str]:
    """Colours of any number of size classes: those of the first four, then the others in turn."""
    return dict(zip(names, chain(SIZE_COLORS, cycle(OTHER_COLORS)), strict=False))


RANGES = tuple(f"{name} mm" for name in RADIUS_BINS)  # of radii, that tumours of class `real` are shown by
DIMENSION_COLORS = {  # of the robustness benchmark, whose tumours have its dimensions in the place of size classes
    "location": "#457b9d",
    "size": "#eda81c",
    "shape": "#e4572e",
    "intensity": "#a2337a",
    "texture": "#2a9d8f",
    "control": "#8d96a0",
}
CLASS_COLORS = color_sizes(SIZES) | color_sizes(RANGES) | DIMENSION_COLORS | {REAL: "#457b9d", MIX: "#8d96a0"}


def save_figure(figure: Figure, path: Path, shown: str = "") -> None:
    """Write a figure as PNG; the file appears whole or not at all. It holds no date: equal figures give equal bytes.

    `shown` is kept in it, for `read_shown`.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    with whole_file(path) as partial:
        metadata = {"Software": "tumorgen"} | ({_SHOWN: shown} if shown else {})
        figure.savefig(partial, format="png", metadata=metadata, pil_kwargs={"compress_level": 3})


def read_shown(path: Path) -> str:
    """What `save_figure` was told that a picture shows; empty where that is not known."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return str(picture.info.get(_SHOWN, ""))
    except (OSError, ValueError, SyntaxError):  # the last of which is what a broken PNG raises
        return ""


def new_figure(height: float) -> Figure:
    """Make an empty white page of `WIDTH` and a height in inches."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def place_axes(figure: Figure, left: float, top: float, width: float, height: float, name: str) -> Axes:
    """Add axes without spines, placed in inches from the upper left of the figure."""
    full_width, full_height = figure.get_size_inches()
    place = (left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height)
    axes = figure.add_axes(place, label=name)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def write_text(
    figure: Figure, x: float, y: float, text: str, *, size: float = 8.5, color: str = INK, **style: Any
) -> float:
    """Write text with its top at (x, y), in inches from the upper left of the figure; return how wide it is in inches.

    The style is that of matplotlib's text (`weight`, `ha`). Dollar signs are formulas only if its `parse_math` says so,
    since names of samples and files are not.
    """
    width, height = figure.get_size_inches()
    baseline = y + 0.8 * size / 72  # by the baseline, so that texts of one line stand on it whatever letters they have
    artist = figure.text(x / width, 1 - baseline / height, text, fontsize=size, color=color, parse_math=False)
    artist.set(**style)
    return float(artist.get_window_extent().width) / DPI


def whole(value: float, *, signed: bool = False) -> str:
    """A number, rounded to a whole one, with a true minus sign; `signed` adds a plus to positive ones."""
    return f"{round(value):{'+' if signed else ''}d}".replace("-", MINUS)


def shorten(text: str, length: int) -> str:
    """The text, cut off with an ellipsis where it is longer than `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def class_color(name: str) -> str:
    """Colour of a size class, the same on every sheet; names that are in no table have one, too."""
    return CLASS_COLORS.get(name) or OTHER_COLORS[sum(name.encode()) % len(OTHER_COLORS)]


def name_class(name: str) -> str:
    """A size class as pictures have it: `real` alone would say that the tumours are."""
    return "real sizes" if name == REAL else name


def kind_of(tumor: Tumor) -> str:
    """What a tumour is shown as: its size class or, where that is `real`, the range of its radius as planned."""
    if tumor.size_class != REAL:
        return tumor.size_class
    return RANGES[RADIUS_BINS.index(radius_bin(tumor.radius_mm))]
