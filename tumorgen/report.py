"""Report: an evaluation as one HTML page that opens alone: no network, no script, plots and pictures within.

Everything that comes from files is escaped: a case may be called anything.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import __version__
from .charts import RULES, detection_by_radius, dice_boxes, differences, robustness
from .cutouts import PREDICTION_COLOR, REFERENCE_COLOR, draw_cutout
from .errors import TumorgenError
from .evaluation import RADIUS_BINS, CaseScore, Evaluation
from .findings import where_it_fails, worst_cases
from .page import count as counted
from .volume import find_volumes, whole_file

NONE = "\N{EN DASH}"
WORST = 8  # cases that are shown
NAMES = {
    "liver_dsc": "liver DSC",
    "liver_nsd": "liver NSD",
    "tumor_dsc": "tumour DSC",
    "tumor_nsd": "tumour NSD",
    "lesion_dsc": "DSC of a lesion",
    "false_positives_per_scan": "false positives a scan",
    "sensitivity_any": "lesions found, any overlap",
    "sensitivity_iou": "lesions found, IoU > 0.5",
    "specificity": "specificity on scans without tumour",
}

Summary = Mapping[str, Any]


def write_report(
    evaluation: Evaluation,
    summary: Summary,
    path: Path,
    *,
    other: Evaluation | None = None,
    images: Mapping[str, Path] | None = None,
) -> None:
    """Write an evaluation as an HTML page; equal arguments write equal bytes.

    Parameters
    ----------
    evaluation, summary
        What was found, and `summary.summarize` of it.
    path
        The page; links in it are relative to its folder.
    other
        The other model's evaluation, if `summary` compares the two.
    images
        Images by case, for the pictures of the worst cases; where there is none the labels are drawn alone.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    sections = [
        _head(summary),
        _section("Figures", _figures(summary)),
        _section("Lesions found, by size", _plot(detection_by_radius(summary), "lesions found against radius")),
        _section("DSC, case by case", _plot(dice_boxes(evaluation, other), "DSC of every case")),
    ]
    if other and summary["compare"]:
        sections.append(_section("Against the other model", _comparison(evaluation, other, summary)))
    if summary["dimensions"]:
        line = f"<p class='finding'>{escape(where_it_fails(summary))}</p>"
        sections.append(_section("Robustness", line + _plot(robustness(summary), "figures against level")))
    sections.append(_section("Faults", _faults(evaluation, other)))
    sections.append(_section("Worst cases", _worst(evaluation, path.parent, images or {})))
    sections.append(_section("Rules", _rules(summary)))
    with whole_file(path) as partial:
        partial.write_text(_PAGE.format(style=_STYLE, body="\n".join(sections)), encoding="utf-8")


def images_beside(reference: Path, evaluation: Evaluation) -> dict[str, Path]:
    """The images of a folder of labels in nnU-Net's layout: labelsTs/x.nii.gz has imagesTs/x_0000.nii.gz."""
    folder = reference.absolute()
    if not folder.name.startswith("labels"):
        return {}
    try:
        found = find_volumes(folder.with_name("images" + folder.name.removeprefix("labels")))
    except TumorgenError:
        return {}
    return {case.case: found[case.case] for case in evaluation.cases if case.case in found}


def _head(summary: Summary) -> str:
    cases = summary["cases"]
    patients = counted(summary["patients"], "patient")
    known = f"listed in {summary['manifest']}" if summary["manifest"] else "each case taken for one"
    faults = cases["total"] - cases["scored"]
    return (
        "<header><h1>Evaluation</h1>"
        f"<p>{escape(counted(cases['scored'], 'case'))} scored, of {escape(patients)} ({escape(known)});"
        f" {counted(faults, 'fault')}, in no figure. Intervals are of 95&nbsp;% and over patients."
        f" tumorgen {escape(__version__)}.</p></header>"
    )


def _figures(summary: Summary) -> str:
    rows = [(NAMES[name], found, summary["undefined"].get(name, 0)) for name, found in summary["means"].items()]
    rows.append((NAMES["specificity"], summary["specificity"], 0))
    for rule, name in RULES.items():
        rows += [
            (f"lesions found, {name}" + ("" if radius == "all" else f", {radius} mm"), found, 0)
            for radius, found in summary["sensitivity"][rule].items()
            if radius in ("all", *RADIUS_BINS)
        ]
    cells = [[name, *_numbers(found), str(found["count"]), str(undefined or "")] for name, found, undefined in rows]
    return _table(("", "value", "95 % interval", "of", "undefined"), cells)


def _numbers(found: Mapping[str, Any]) -> tuple[str, str]:
    if found["value"] is None:
        return NONE, NONE
    limits = NONE if found["low"] is None else f"{found['low']:.3f} to {found['high']:.3f}"
    return f"{found['value']:.3f}", limits


def _comparison(evaluation: Evaluation, other: Evaluation, summary: Summary) -> str:
    rows = []
    for name, row in summary["compare"].items():
        p_value = NONE if row["p_value"] is None else f"{row['p_value']:.2g}"
        rows.append([NAMES[name], *_numbers(row["difference"]), p_value, str(row["n"])])
    table = _table(("this minus the other", "difference", "95 % interval", "p (Wilcoxon)", "patients"), rows)
    return table + _plot(differences(evaluation, other), "difference in tumour DSC, case by case")


def _faults(evaluation: Evaluation, other: Evaluation | None) -> str:
    rows = [
        [name, case.case, case.status, case.reason]
        for name, found in (("this", evaluation), ("other", other))
        if found
        for case in found.cases
        if not case.scored
    ]
    if not rows:
        return "<p>None: every case was scored.</p>"
    return _table(("model", "case", "fault", "reason"), rows, kind="words")


def _worst(evaluation: Evaluation, folder: Path, images: Mapping[str, Path]) -> str:
    cases = worst_cases(evaluation, WORST)
    if not cases:
        return "<p>No scored case has a tumour.</p>"
    legend = (
        f"<p><span class='key' style='border-top-color:{REFERENCE_COLOR}'></span> reference"
        f" <span class='key dashed' style='border-top-color:{PREDICTION_COLOR}'></span> prediction."
        " Cases with lesions of which none is found come first, then by DSC. Each shows the axial slice in which the"
        " two differ most; the patient's right is on the left.</p>"
    )
    cards = "".join(_card(case, folder, images.get(case.case)) for case in cases)
    return f"{legend}<div class='cards'>{cards}</div>"


def _card(case: CaseScore, folder: Path, image: Path | None) -> str:
    links = {"reference": Path(case.reference_file), "prediction": Path(case.prediction_file)}
    try:
        png = base64.b64encode(draw_cutout(links["reference"], links["prediction"], image)).decode()
        picture = f"<img alt='slice of {escape(case.case)}' src='data:image/png;base64,{png}'>"
    except TumorgenError as error:
        picture = f"<p class='missing'>no picture: {escape(str(error))}</p>"
    if image:
        links["image"] = image
    told = " · ".join(f"<a href='{_link(path, folder)}'>{name}</a>" for name, path in links.items())
    return (
        f"<figure>{picture}<figcaption><strong>{escape(case.case)}</strong><br>"
        f"tumour DSC {case.tumor_dsc:.3f}, {case.detected_any} of {counted(case.lesions, 'lesion')} found,"
        f" {counted(case.false_positives, 'false positive')}<br>{told}</figcaption></figure>"
    )


def _link(path: Path, folder: Path) -> str:
    """A link to a file, relative to the page's folder where that is possible."""
    try:
        return quote(Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix())
    except ValueError:  # another drive
        return escape(path.absolute().as_uri())


def _rules(summary: Summary) -> str:
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in summary["rules"].items())
    return f"<dl>{items}</dl>"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _plot(svg: str, name: str) -> str:
    return f"<div class='plot' role='img' aria-label='{escape(name)}'>{svg}</div>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "numbers") -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table class='{kind}'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation</title>
<style>{style}</style></head>
<body>
{body}
</body>
</html>
"""
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --muted: #5b6570; --line: #d5dae0; --page: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --muted: #9aa4ae; --line: #3a4148; --page: #16191d; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 62rem;
  margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
header p, dd, .missing { color: var(--muted); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .22rem .8rem .22rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child, .words th, .words td { text-align: left; }
th { font-weight: 600; color: var(--muted); }
.plot { background: #fff; border-radius: 6px; padding: .4rem; overflow-x: auto; }
.plot svg { max-width: 100%; height: auto; display: block; }
.finding { font-weight: 600; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figure img { width: 100%; border-radius: 4px; display: block; background: #000; }
figcaption { font-size: .85rem; margin-top: .3rem; overflow-wrap: anywhere; }
.key { display: inline-block; width: 1.6rem; border-top: 3px solid; vertical-align: middle; margin-left: .6rem; }
.key.dashed { border-top-style: dashed; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .85rem; }
dt { color: var(--muted); } dd { margin: 0; }
a { color: #0072b2; } @media (prefers-color-scheme: dark) { a { color: #56b4e9; } }
@media print { body { max-width: none; margin: 0; } section { break-inside: avoid; } }
"""
