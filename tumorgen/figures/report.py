"""The report of an evaluation: one HTML page that holds its plots and pictures, without network and script.

Text and layout are in `templates/report.html.j2`. It escapes what comes from files, since a case may have any name.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..errors import TumorgenError
from ..evaluation import (
    AS_WRITTEN,
    FOUND_BY,
    NAMES,
    RADIUS_BINS,
    UNNAMED,
    CaseScore,
    Conventions,
    Evaluation,
    Summary,
    name_models,
)
from ..imaging import find_volumes, whole_file
from .charts import draw_detection, draw_dice, draw_differences, draw_robustness
from .cutouts import PREDICTION_COLOR, REFERENCE_COLOR, draw_cutout
from .findings import RULE, cell_name, levels_without_score, where_it_fails, worst_cases
from .markup import NONE, page_environment

WORST = 8  # cases that are shown


@dataclass(frozen=True, slots=True)
class _Card:
    """A case that is shown: its level of the benchmark, its picture as base64, what is missing in it, and links."""

    case: CaseScore
    cell: str
    png: str
    missing: str
    links: Mapping[str, str]


def write_report(
    evaluation: Evaluation,
    summary: Summary,
    path: Path,
    *,
    other: Evaluation | None = None,
    images: Mapping[str, Path] | None = None,
    conventions: Conventions = AS_WRITTEN,
) -> None:
    """Write an evaluation as an HTML page, which appears whole or not at all; equal arguments give equal bytes.

    Parameters
    ----------
    evaluation, summary
        The scores, and their summary as `summarize` makes it.
    path
        The page; links in it are relative to its folder.
    other
        The evaluation that `summary` compares this one with, if it does.
    images
        Image of each case, drawn below the outlines of the worst cases; a case without one shows its labels alone.
    conventions
        What the files mean, as it was said when they were scored.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    called = name_models(evaluation, other) if other else UNNAMED
    worst = worst_cases(evaluation, WORST)
    cards = [_card(case, path.parent, (images or {}).get(case.case), conventions) for case in worst]
    page = (
        page_environment()
        .get_template("report.html.j2")
        .render(
            summary=summary,
            tables=[table for table in (summary.patients_table, summary.manifest) if table],
            names=NAMES,
            predictions=_folder(evaluation, "prediction_file"),
            references=_folder(evaluation, "reference_file"),
            faults=_faults(evaluation),
            other=other,
            called=called,
            other_faults=_faults(other) if other else [],
            radii=(*RADIUS_BINS, "all"),
            by_rule=[title for name in FOUND_BY.values() for title in (name, "95 % interval")],
            plots=_plots(evaluation, other, summary, called),
            finding=where_it_fails(summary),
            unscored_levels=[cell_name(*cell) for cell in levels_without_score(evaluation)],
            worst=cards,
            colors={"reference": REFERENCE_COLOR, "prediction": PREDICTION_COLOR},
            rules={**summary.rules, **({"fails": RULE} if summary.dimensions else {})},
        )
    )
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="")


def images_beside(reference: Path, evaluation: Evaluation) -> dict[str, Path]:
    """Image of each case in nnU-Net's layout, where labelsTs/x.nii.gz has imagesTs/x_0000.nii.gz; else none."""
    folder = reference.absolute()
    if not folder.name.startswith("labels"):
        return {}
    try:
        found = find_volumes(folder.with_name("images" + folder.name.removeprefix("labels")))
    except TumorgenError:
        return {}
    return {case.case: found[case.case] for case in evaluation.cases if case.case in found}


def _faults(evaluation: Evaluation) -> list[CaseScore]:
    return [case for case in evaluation.cases if not case.scored]


def _plots(
    evaluation: Evaluation, other: Evaluation | None, summary: Summary, called: tuple[str, str]
) -> dict[str, str]:
    """The plots of the page, as SVG, by what they show."""
    plots = {
        "lesions found against radius": draw_detection(summary),
        "DSC of every case": draw_dice(evaluation, other, called),
    }
    if other:
        plots["difference in tumour DSC, case by case"] = draw_differences(evaluation, other, called)
    if summary.dimensions:
        plots["metrics against level"] = draw_robustness(summary)
    return plots


def _card(case: CaseScore, folder: Path, image: Path | None, conventions: Conventions) -> _Card:
    """What is shown of a case, with links relative to the page's folder."""
    files = {"reference": Path(case.reference_file), "prediction": Path(case.prediction_file)}
    try:
        cutout = draw_cutout(files["reference"], files["prediction"], image, conventions)
        png, missing = base64.b64encode(cutout.png).decode(), cutout.without_ct
    except TumorgenError as error:
        png, missing = "", str(error)
    if image:
        files["image"] = image
    cell = cell_name(case.dimension, case.level) if case.dimension else ""
    return _Card(case, cell, png, missing, {name: _link(path, folder) for name, path in files.items()})


def _folder(evaluation: Evaluation, field: str) -> str:
    """Name of the folder that all files of a kind lie in; a dash where there is none, or more than one."""
    folders = {Path(file).absolute().parent.name for case in evaluation.cases if (file := getattr(case, field))}
    return folders.pop() if len(folders) == 1 else NONE


def _link(path: Path, folder: Path) -> str:
    """A link to a file, relative to the page's folder where that is possible."""
    try:
        return quote(Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix())
    except ValueError:  # another drive
        return path.absolute().as_uri()
