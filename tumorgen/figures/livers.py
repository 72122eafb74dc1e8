"""Pictures of liver masks, to be looked at before tumours are put into them.

A strip for each scan, three planes through the middle of its liver with the outline; and pages of strips, those that
look wrong first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray

from ..errors import Failure, TumorgenError
from ..imaging import EVERYTHING, Volume, bounding_box, read_ct, read_mask, refuse_foreign_files, stamp_of_volume
from ..labels import LIVER
from ..liver import STRIPS
from ..parallel import Case, Start, map_cases, no_progress, split_failures
from ..tables import ScanRow
from ..wording import plural
from .page import (
    ALERT,
    DPI,
    FAINT,
    INK,
    MARGIN,
    MUTED,
    PICTURE_MARKS,
    WIDTH,
    new_figure,
    place_axes,
    read_shown,
    save_figure,
    shorten,
    write_text,
)
from .panels import Panel, Side, draw_panel, draw_side_letters
from .views import PLANES, Window, read_fitting, to_lps

PER_PAGE, COLUMNS = 24, 3
_FRAME_MM = 25.0  # around the liver: what a mask runs into lies beside it
_ORDER = {"failed": 0, "check": 1, "ok": 2}
_COLORS = {"failed": ALERT, "check": ALERT, "ok": INK}

# Inches.
_GAP = 0.16
_STRIP = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * _GAP) / COLUMNS
_PANEL = _STRIP / len(PLANES)
_HEAD, _CAPTION = 0.7, 0.74
_LINES, _CAPTION_LINES = 6, 2  # of a reason: in the place of a strip, and below one
_FEW = 4  # scans or pages, for which processes would cost more than they do


@dataclass(frozen=True, slots=True)
class LiverPictures:
    """Pages that show all livers, how many strips were drawn for them now, and scans that could not be drawn."""

    pages: tuple[Path, ...]
    drawn: int
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the overview: its number of so many, its scans, and the counts of all scans."""

    number: int
    pages: int
    rows: tuple[ScanRow, ...]
    scans: int
    failed: int
    to_check: int

    @property
    def name(self) -> str:
        """Name of its file."""
        return "overview.png" if self.number == 1 else f"overview-{self.number}.png"

    def digest(self, strips: Path) -> str:
        """What tells it from a page that shows anything else, strips of other files included."""
        drawn_from = [read_shown(strips / f"{row.case}.png") for row in self.rows]
        return sha256(repr((self, drawn_from)).encode("utf-8", "surrogateescape")).hexdigest()


def draw_livers(rows: Sequence[ScanRow], folder: Path, *, jobs: int = -1, start: Start = no_progress) -> LiverPictures:
    """Draw scans and their livers: `overview.png`, `overview-2.png`, ..., and a strip for each in `overview/`.

    Strips are kept as long as scan and mask are the files that they were drawn from, and so are pages that show the
    same strips and rows. Pages have 24 scans, those that failed first, then those to check.

    Parameters
    ----------
    rows
        The scans, at least one.
    folder
        Where to draw: the folder of the masks.

    Raises
    ------
    TumorgenError
        The folder cannot be written to, or another's picture has the name of a page.
    """
    strips = folder.absolute() / STRIPS  # worker processes may have another working directory
    todo = [row for row in rows if row.status != "failed" and not _shows(strips / f"{row.case}.png", row)]
    cases = [Case(row, row.case, about=(row.image, row.mask)) for row in todo]
    work = partial(_draw_strip, folder=strips)
    _, failures = split_failures(map_cases(work, cases, jobs if len(cases) > _FEW else 1, start=start))
    ordered = sorted(rows, key=lambda row: (_ORDER[row.status], row.case))
    shown = [ordered[first : first + PER_PAGE] for first in range(0, len(ordered), PER_PAGE)]
    counts = Counter(row.status for row in rows)
    pages = [
        Page(number, len(shown), tuple(some), len(rows), counts["failed"], counts["check"])
        for number, some in enumerate(shown, 1)
    ]
    remedy = "move it away, and run the same command again"
    refuse_foreign_files(folder, dict.fromkeys((page.name for page in pages), PICTURE_MARKS), remedy)
    files = tuple(folder / page.name for page in pages)
    stale = [page for page in pages if read_shown(folder / page.name) != page.digest(strips)]
    _save_pages(stale, folder.absolute(), jobs)
    for old in {*folder.glob("overview-*.png")} - {*files}:
        if read_shown(old):
            old.unlink()
    return LiverPictures(files, len(todo) - len(failures), failures)


def _save_pages(pages: Sequence[Page], folder: Path, jobs: int) -> None:
    """Write pages.

    Raises
    ------
    TumorgenError
        One cannot be written.
    """
    work = partial(_save_page, folder=folder)
    cases = [Case(page, page.name) for page in pages]
    _, failures = split_failures(map_cases(work, cases, jobs if len(cases) > _FEW else 1))
    if failures:
        raise TumorgenError(failures[0].reason)


def _save_page(page: Page, folder: Path) -> None:
    strips = folder / STRIPS
    save_figure(draw_page(page, strips), folder / page.name, page.digest(strips))


def _shows(strip: Path, row: ScanRow) -> bool:
    """Whether a strip was drawn from the files of a row, as far as these are still there."""
    known = read_shown(strip).split()
    now = _marks(row).split(" ")
    return len(known) == len(now) and all(mark in ("", drawn) for mark, drawn in zip(now, known, strict=True))


def _marks(row: ScanRow) -> str:
    """What tells the volumes of a row from others of their names; of one that is not there nothing."""
    return f"{stamp_of_volume(Path(row.image))} {stamp_of_volume(Path(row.mask))}"


def _draw_strip(row: ScanRow, folder: Path) -> None:
    marks = _marks(row)  # before they are read: they may be replaced meanwhile
    image = read_ct(Path(row.image), row.trusted_form)
    mask = read_mask(Path(row.mask), EVERYTHING, row.trusted_form)
    read_fitting(Path(row.mask), image.geometry, row.image, row.trusted_form)
    save_figure(draw_strip(image, mask.array), folder / f"{row.case}.png", marks)


def draw_strip(image: Volume, mask: NDArray[np.bool_]) -> Figure:
    """Draw a liver (z, y, x) in its scan: axial, coronal and sagittal through its middle, on one scale."""
    turned = to_lps(image)
    liver = to_lps(Volume(mask.astype(np.uint8) * LIVER, image.geometry)).array
    box = bounding_box(liver)
    geometry = turned.geometry
    size = max((s.stop - s.start) * mm for s, mm in zip(box, geometry.spacing_mm, strict=True)) + 2 * _FRAME_MM
    middle = tuple((s.start + s.stop - 1) / 2 for s in box)
    figure = Figure(figsize=(_STRIP, _PANEL), dpi=DPI, facecolor="black")
    FigureCanvasAgg(figure)
    for number, plane in enumerate(PLANES):
        window = Window.around(plane, (middle[0], middle[1], middle[2]), (size, size), geometry)
        axes = place_axes(figure, number * _PANEL, 0, _PANEL, _PANEL, plane.name)
        draw_panel(axes, Panel(window, Side(turned.array, liver), geometry))
        draw_side_letters(axes, plane)
    return figure


def draw_page(page: Page, strips: Path) -> Figure:
    """Draw a page of strips with what is known of each scan."""
    height = _HEAD + -(-len(page.rows) // COLUMNS) * (_PANEL + _CAPTION) + 0.3
    figure = new_figure(height)
    write_text(figure, MARGIN, 0.14, "Livers", size=14, weight="bold")
    left = MARGIN + 0.9
    told = [(plural(page.scans, "scan"), MUTED), (f"{page.failed} failed", ALERT), (f"{page.to_check} to check", ALERT)]
    for text, color in told:
        if not text.startswith("0 "):
            left += write_text(figure, left, 0.21, text, color=color) + 0.2
    number = f"page {page.number} of {page.pages} · " if page.pages > 1 else ""
    write_text(figure, WIDTH - MARGIN, height - 0.26, f"{number}tumorgen", color=FAINT, ha="right")
    for place, row in enumerate(page.rows):
        line, column = divmod(place, COLUMNS)
        _place_scan(figure, MARGIN + column * (_STRIP + _GAP), _HEAD + line * (_PANEL + _CAPTION), row, strips)
    return figure


def _without_file(row: ScanRow) -> str:
    """A row's reason without the name of its scan, or as earlier versions had it the path."""
    return row.reason.removeprefix(f"{row.image}: ").removeprefix(f"{Path(row.image).name}: ")


def _place_scan(figure: Figure, left: float, top: float, row: ScanRow, strips: Path) -> None:
    axes = place_axes(figure, left, top, _STRIP, _PANEL, row.case)
    axes.set_facecolor("#eceff2")
    axes.set_xticks([])
    axes.set_yticks([])
    below, strip, reason = top + _PANEL + 0.06, strips / f"{row.case}.png", _without_file(row)
    write_text(figure, left, below, shorten(row.case, 36), weight="bold", color=_COLORS[row.status])
    if row.status == "failed":
        for number, line in enumerate(wrap(reason, 66, max_lines=_LINES, placeholder=" …")):
            write_text(figure, left + 0.12, top + 0.12 + 0.2 * number, line, color=ALERT)
        write_text(figure, left, below + 0.2, row.status, size=7.5, color=ALERT)
        return
    if strip.is_file():
        axes.imshow(imread(strip), aspect="auto", interpolation="none")
    known = [
        f"{row.liver_ml:.0f} ml" if row.liver_ml else "",
        f"{row.hu_mean:.0f} HU" if row.hu_mean is not None else "",
    ]
    write_text(figure, left + _STRIP, below, " · ".join(filter(None, known)), color=MUTED, ha="right")
    color = _COLORS[row.status] if reason else MUTED
    caption = f"{row.status}: {reason}" if reason else row.status
    for number, line in enumerate(wrap(caption, 76, max_lines=_CAPTION_LINES, placeholder=" …")):
        write_text(figure, left, below + 0.2 + 0.15 * number, line, size=7.5, color=color)
