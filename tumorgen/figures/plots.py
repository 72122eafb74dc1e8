"""Plots for HTML pages: SVG elements whose text stays text, and whose bytes are equal where their numbers are.

Only matplotlib's object interface is used. Ink and lines take the HTML page's colours (`--ink`, `--muted`, `--line`),
so that a dark page has light axes.
"""

from __future__ import annotations

import io
import re

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .page import FAINT, INK, MUTED

THEME = {INK: "--ink", MUTED: "--muted", FAINT: "--line"}


def new_plot(width: float, height: float) -> Figure:
    """Make an empty figure without a ground, of a size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    FigureCanvasSVG(figure)
    return figure


def style_axes(axes: Axes) -> None:
    """Leave the left and the lower spine, in the page's colours."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(color=MUTED, labelcolor=INK, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.set_facecolor("none")


def svg_of(figure: Figure, name: str) -> str:
    """The figure as an SVG element in the page's colours; its ids begin with a name, so that no figures share one."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": f"tumorgen {name}", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return re.sub(r"<[^<>]+>", lambda tag: _of_page(tag[0], name), text)  # tags only: text stays as it is


def _of_page(tag: str, name: str) -> str:
    """A tag with the figure's name in its ids, in the page's colours and font."""
    tag = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r"font-family: [^;\"]*sans-serif; ?", "", tag)
    for color, role in THEME.items():
        tag = tag.replace(color, f"var({role}, {color})")
    return tag
