"""Contact sheets of an audit: real lesions beside synthetic ones of their size, with names or blind.

The blind sheet has the same pairs, each in an order that is drawn; its key says which is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..fields import About
from ..figures import FAINT, MARGIN, MUTED, WIDTH, WINDOW_HU, new_figure, place_axes, write_text
from .appearance import GREY_LOW_HU, GREY_STEP_HU
from .comparing import lesion_frame
from .matching import match_lesions
from .measuring import VIEW_MM, VIEW_RADII, MeasuredLesion, MeasuredSet, View

PAIRS, ACROSS = 24, 4  # pairs on a sheet, and in a row
_GAP, _PAIR_GAP, _CAPTION, _HEAD = 0.03, 0.16, 0.22, 0.66  # inches
_PANEL = (WIDTH - 2 * MARGIN - ACROSS * _GAP - (ACROSS - 1) * _PAIR_GAP) / (2 * ACROSS)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A picture of the blind sheet, and what it shows."""

    pair: Annotated[int, About("number of the pair, from 1, by rows")]
    side: Annotated[str, About("`left` or `right`", choices=("left", "right"))]
    set: Annotated[str, About("`real` or `synthetic`")]
    scan: Annotated[str, About("name of the scan")]
    lesion: Annotated[int, About("number of the lesion in it, as in lesions.csv")]
    radius_mm: Annotated[float, About("its in-plane radius", "mm")]


def choose_pairs(real: MeasuredSet, synthetic: MeasuredSet) -> list[tuple[MeasuredLesion, MeasuredLesion]]:
    """Real lesions, spread over the radii, each with the synthetic one that matches it best; the smallest first."""
    frames = lesion_frame(real), lesion_frame(synthetic)
    pairing = match_lesions(*frames)
    best: dict[int, tuple[float, int]] = {}
    for first, second in zip(pairing.real.tolist(), pairing.synthetic.tolist(), strict=True):
        ratio = abs(np.log(frames[0]["radius_mm"].iloc[first] / frames[1]["radius_mm"].iloc[second]))
        best[first] = min(best.get(first, (np.inf, -1)), (float(ratio), second))
    order = sorted(best, key=lambda row: real.lesions[row].shape.radius_mm)
    chosen = [order[i] for i in np.unique(np.linspace(0, len(order) - 1, min(PAIRS, len(order))).round().astype(int))]
    return [(real.lesions[row], synthetic.lesions[best[row][1]]) for row in chosen]


def shuffle_pairs(
    pairs: Sequence[tuple[MeasuredLesion, MeasuredLesion]], rng: np.random.Generator
) -> tuple[list[tuple[MeasuredLesion, MeasuredLesion]], tuple[KeyRow, ...]]:
    """The pairs in an order that is drawn, the sides of each exchanged or not; and the key."""
    shuffled = [pairs[i] if rng.integers(2) else pairs[i][::-1] for i in rng.permutation(len(pairs)).tolist()]
    key = tuple(
        KeyRow(
            pair=number,
            side=side,
            set=lesion.place.set,
            scan=lesion.place.scan,
            lesion=lesion.place.lesion,
            radius_mm=lesion.shape.radius_mm,
        )
        for number, pair in enumerate(shuffled, 1)
        for side, lesion in zip(("left", "right"), pair, strict=True)
    )
    return shuffled, key


def draw_pairs(pairs: Sequence[tuple[MeasuredLesion, MeasuredLesion]], *, blind: bool) -> Figure:
    """Draw pairs side by side, in the CT window and to one scale in each; a blind sheet has numbers for names."""
    rows = -(-len(pairs) // ACROSS)
    figure = new_figure(_HEAD + rows * (_PANEL + _CAPTION) + 0.3)
    title = "Which is real?" if blind else "Real beside synthetic"
    low, high = WINDOW_HU
    write_text(figure, MARGIN, 0.14, title, size=14, weight="bold")
    about = f"pairs matched in size · window {low:.0f} to {high:.0f} HU · axial slices with the largest area"
    write_text(figure, MARGIN, 0.43, about.replace("-", "\N{MINUS SIGN}"), color=MUTED)
    for number, pair in enumerate(pairs):
        row, column = divmod(number, ACROSS)
        left, top = MARGIN + column * (2 * _PANEL + _GAP + _PAIR_GAP), _HEAD + row * (_PANEL + _CAPTION)
        side_mm = max(VIEW_MM, VIEW_RADII * min(lesion.shape.radius_mm for lesion in pair))
        for place, lesion in enumerate(pair):
            x = left + place * (_PANEL + _GAP)
            axes = place_axes(figure, x, top, _PANEL, _PANEL, f"{number} {place}")
            _draw_view(axes, lesion.view, side_mm)
            write_text(
                figure, x, top + _PANEL + 0.02, _caption(lesion, number, blind=blind, first=not place), color=MUTED
            )
    write_text(figure, WIDTH - MARGIN, _HEAD + rows * (_PANEL + _CAPTION), "tumorgen", color=FAINT, ha="right")
    return figure


def _caption(lesion: MeasuredLesion, number: int, *, blind: bool, first: bool) -> str:
    if blind:
        return f"{number + 1}, {'left' if first else 'right'}"
    return f"{lesion.place.set}, r {lesion.shape.radius_mm:.1f} mm"


def _draw_view(axes: Axes, view: View, side_mm: float) -> None:
    """Draw the slice with most of a lesion, a square of some mm around its middle, true to its spacing."""
    hu = view.grey[0].astype(np.float32) * GREY_STEP_HU + GREY_LOW_HU
    height, width = (n * spacing / 2 for n, spacing in zip(hu.shape, view.spacing_mm, strict=True))
    low, high = WINDOW_HU
    axes.imshow(
        hu,
        cmap="gray",
        vmin=low,
        vmax=high,
        extent=(-width, width, height, -height),
        interpolation="hanning",
        aspect="auto",
    )
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlim(-side_mm / 2, side_mm / 2)
    axes.set_ylim(side_mm / 2, -side_mm / 2)
