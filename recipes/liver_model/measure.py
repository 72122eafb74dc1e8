"""The quality of a model on scans that it has not seen, measured through `tumorgen liver-mask` itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorgen.errors import TumorgenError
from tumorgen.evaluation.overlap import dsc, nsd
from tumorgen.imaging.files import whole_file
from tumorgen.imaging.geometry import Volume
from tumorgen.liver.cleaning import clean_mask
from tumorgen.liver.models import find_model
from tumorgen.liver.network import load_model

from .cases import LESIONS, Scene, Task, lesion_scene, paint_scene, real_scene
from .conditions import phantoms, variations
from .labels import MapFile
from .leaks import BEYOND_MM, Leaks, measure_leaks

TOLERANCE_MM = 3.0
UNSEEN = 1_000_003  # added to the seed of painted cases and phantoms that are measured on
MARKERS = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True, slots=True)
class Score:
    """Scores of a case: DSC, NSD at `TOLERANCE_MM`, the error of the volume in per cent, what lies beyond the liver."""

    case: str
    dsc: float
    nsd: float
    volume_error_percent: float
    leaks: Leaks


def held_out(data: Path, scan: str, maps: Sequence[MapFile], count: int, seed: int) -> Iterable[tuple[str, Scene]]:
    """A real scan that was left out, in several variations; phantoms and `count` painted CTs that no training uses."""
    if scan:
        scene = real_scene(data, scan)
        for name, (image, liver) in variations(scan, (scene.image, scene.liver)):
            yield name, scene if name == scan else Scene(image, liver)
    if count:
        yield from ((name, Scene(image, liver)) for name, (image, liver) in phantoms(seed + UNSEEN))
    for k in range(count if maps else 0):
        source = maps[k * 7 % len(maps)]
        scene = paint_scene(Task(f"unseen_painted_{k:02d}", "painted", source), source, seed + UNSEEN)
        yield f"painted CT {k}" + ("" if scene.liver.array.any() else ", no liver in view"), scene


def lesions(data: Path) -> Iterable[tuple[str, Scene]]:
    """Livers with tumours, which no training uses; those that are there."""
    for name in LESIONS:
        if (data / "lesions" / f"{name}_ct.nii.gz").is_file():
            yield name, lesion_scene(data, name)


def score(scene: Scene, found: NDArray[np.bool_], case: str) -> Score:
    """Scores of a mask (z, y, x) against the liver of its scene; nan if neither has a voxel."""
    truth, spacing = scene.liver.array > 0, scene.image.geometry.spacing_mm
    volume = np.count_nonzero(truth)
    error = 100 * (np.count_nonzero(found) - volume) / volume if volume else math.nan
    leaks = measure_leaks(found, truth, spacing, scene.tissues)
    return Score(case, dsc(truth, found), nsd(truth, found, spacing, TOLERANCE_MM), error, leaks)


def measure(model: Path, cases: Iterable[tuple[str, Scene]], pictures: Path | None, threads: int) -> list[Score]:
    """Scores of a model folder, as `liver-mask` uses it; a picture of each case if wanted."""
    segment = load_model(find_model(model), threads=threads, device="auto", fit=True)
    scores = []
    for name, scene in cases:
        mask = clean_mask(segment(scene.image), scene.image.geometry.spacing_mm).mask
        scores.append(score(scene, mask, name))
        if pictures:
            file = pictures / f"{name.replace(', ', '_').replace(' ', '-')}.png"
            picture(name, scene.image, scene.liver.array > 0, mask, file)
    return scores


def picture(name: str, image: Volume, truth: np.ndarray, found: np.ndarray, path: Path) -> None:
    """Three slices of a case with both outlines: reference cyan, prediction orange."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    where = np.argwhere(truth | found)
    middle = where.mean(axis=0).astype(int) if len(where) else np.array(truth.shape) // 2
    top = int(np.percentile(where[:, 0], 85)) if len(where) else int(middle[0])
    sz, sy, sx = image.geometry.spacing_mm
    cuts = (
        ("axial, middle", np.s_[middle[0]], sy / sx),
        ("axial, upper", np.s_[top], sy / sx),
        ("coronal", np.s_[::-1, middle[1]], sz / sx),
    )
    figure = Figure(figsize=(12, 4), facecolor="black")
    FigureCanvasAgg(figure)
    for axes, (plane, cut, aspect) in zip(figure.subplots(1, 3), cuts, strict=True):
        axes.imshow(image.array[cut], cmap="gray", vmin=-160, vmax=240, aspect=aspect)
        for mask, colour in ((truth, "cyan"), (found, "orange")):
            if mask[cut].any() and not mask[cut].all():
                axes.contour(mask[cut], [0.5], colors=colour, linewidths=0.8)
        axes.set_title(f"{name}: {plane}", color="white", fontsize=9)
        axes.set_axis_off()
    figure.tight_layout(pad=0.2)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=80, format="png")


def table(scores: Sequence[Score]) -> str:
    """Scores as a table in markdown."""
    head = f"| case | DSC | NSD at {TOLERANCE_MM:g} mm | volume error | beyond {BEYOND_MM:g} mm, ml | of it in |"
    return "\n".join([head, "|---|---|---|---|---|---|", *map(_row, scores)]) + "\n"


def _row(made: Score) -> str:
    error = "" if math.isnan(made.volume_error_percent) else f"{made.volume_error_percent:+.1f} %"
    cells = (made.case, f"{made.dsc:.3f}", f"{made.nsd:.3f}", error, f"{made.leaks.ml:.0f}", made.leaks.named)
    return f"| {' | '.join(cells)} |"


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
