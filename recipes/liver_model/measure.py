"""The quality of a model on scans that it has not seen, measured through `tumorgen liver-mask` itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tumorgen.errors import TumorgenError
from tumorgen.evaluation.overlap import dsc, nsd
from tumorgen.imaging.files import whole_file
from tumorgen.imaging.geometry import Volume
from tumorgen.liver.masks import clean_mask
from tumorgen.liver.models import find_model
from tumorgen.liver.network import load_model

from .cases import Case, Task, make, real_case
from .conditions import phantoms, variations
from .labels import MapFile

TOLERANCE_MM = 3.0
UNSEEN = 1_000_003  # added to the seed of painted cases and phantoms that are measured on
MARKERS = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True, slots=True)
class Score:
    """Scores of a case: DSC, NSD at `TOLERANCE_MM`, and the error of the volume in per cent."""

    case: str
    dsc: float
    nsd: float
    volume_error_percent: float


def held_out(data: Path, scan: str, maps: Sequence[MapFile], count: int, seed: int) -> Iterable[tuple[str, Case]]:
    """A real scan that was left out, in several variations; phantoms and `count` painted CTs that no training uses."""
    if scan:
        yield from variations(scan, real_case(data, scan))
    if count:
        yield from phantoms(seed + UNSEEN)
    for k in range(count if maps else 0):
        task = Task(f"unseen_painted_{k:02d}", "painted", maps[k * 7 % len(maps)])
        image, liver = make(task, data, seed + UNSEEN)
        yield f"painted CT {k}" + ("" if liver.array.any() else ", no liver in view"), (image, liver)


def score(reference: Volume, prediction: np.ndarray, case: str) -> Score:
    """Scores of a predicted mask (z, y, x) against a liver on the same grid; nan if neither has a voxel."""
    truth, found = reference.array > 0, prediction.astype(bool)
    volume = np.count_nonzero(truth)
    error = 100 * (np.count_nonzero(found) - volume) / volume if volume else math.nan
    agreed = nsd(truth, found, reference.geometry.spacing_mm, TOLERANCE_MM)
    return Score(case, dsc(truth, found), agreed, error)


def measure(model: Path, cases: Iterable[tuple[str, Case]], pictures: Path | None, threads: int) -> list[Score]:
    """Scores of a model folder, with the post-processing of `liver-mask`; a picture of each case if wanted."""
    segment = load_model(find_model(model), threads=threads, device="auto")
    scores = []
    for name, (image, liver) in cases:
        found = segment(image)
        mask = clean_mask(found)[0] if found.any() else found
        scores.append(score(liver, mask, name))
        if pictures:
            picture(image, liver.array > 0, mask, pictures / f"{name.replace(', ', '_').replace(' ', '-')}.png")
    return scores


def picture(image: Volume, truth: np.ndarray, found: np.ndarray, path: Path) -> None:
    """Three slices of each kind with both outlines: reference green, prediction red."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    where = np.argwhere(truth | found)
    middle = where.mean(axis=0).astype(int) if len(where) else np.array(truth.shape) // 2
    top = int(np.percentile(where[:, 0], 85)) if len(where) else int(middle[0])
    sz, sy, sx = image.geometry.spacing_mm
    cuts = ((np.s_[middle[0]], sy / sx), (np.s_[top], sy / sx), (np.s_[::-1, middle[1]], sz / sx))
    figure = Figure(figsize=(12, 4), facecolor="black")
    FigureCanvasAgg(figure)
    for axes, (cut, aspect) in zip(figure.subplots(1, 3), cuts, strict=True):
        axes.imshow(image.array[cut], cmap="gray", vmin=-160, vmax=240, aspect=aspect)
        for mask, colour in ((truth, "lime"), (found, "red")):
            if mask[cut].any() and not mask[cut].all():
                axes.contour(mask[cut], [0.5], colors=colour, linewidths=0.8)
        axes.set_axis_off()
    figure.tight_layout(pad=0.2)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=80, format="png")


def table(scores: Sequence[Score]) -> str:
    """Scores as a table in markdown."""
    rows = [f"| {s.case} | {s.dsc:.3f} | {s.nsd:.3f} | {s.volume_error_percent:+.1f} % |" for s in scores]
    return "\n".join([f"| case | DSC | NSD at {TOLERANCE_MM:g} mm | volume error |", "|---|---|---|---|", *rows]) + "\n"


def put(text: str, page: Path) -> None:
    """Put a text between the markers of a page.

    Raises
    ------
    TumorgenError
        The page has no such markers.
    """
    content = page.read_text(encoding="utf-8")
    begin, end = (content.find(marker) for marker in MARKERS)
    if begin < 0 or end < begin:
        raise TumorgenError(f"{page}: no {MARKERS[0]} ... {MARKERS[1]}")
    with whole_file(page) as partial:
        partial.write_text(f"{content[: begin + len(MARKERS[0])]}\n{text}{content[end:]}", encoding="utf-8")
