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

from .. import __version__
from ..errors import TumorgenError
from ..evaluation.scores import RADIUS_BINS, CaseScore, Evaluation
from ..imaging.files import find_volumes, whole_file
from .charts import RULES, draw_detection, draw_dice, draw_differences, draw_robustness
from .cutouts import PREDICTION_COLOR, REFERENCE_COLOR, draw_cutout
from .findings import RULE, cell_name, levels_without_score, where_it_fails, worst_cases
from .page import MINUS, plural

NONE = "\N{EN DASH}"
WORST = 8  # cases that are shown
NAMES = {
    "liver_dsc": "liver DSC",
    "liver_nsd": "liver NSD",
    "tumor_dsc": "tumour DSC",
    "tumor_nsd": "tumour NSD",
    "lesion_dsc": "DSC of a lesion",
    "false_positives_per_scan": "false positives per scan",
    "sensitivity_any": "lesions found, any overlap",
    "sensitivity_iou": "lesions found, IoU > 0.5",
    "specificity": "specificity, scans without tumour",
}

KINDS = ("prediction", "reference")

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
        _head(evaluation, other, summary),
        _section("In numbers", _headline(summary)),
        _section("Lesions found, by size", _by_size(summary)),
        _section("DSC, case by case", _plot(draw_dice(evaluation, other), "DSC of every case")),
    ]
    if other and summary["compare"]:
        sections.append(_section("Against the other model", _comparison(evaluation, other, summary)))
    if summary["dimensions"] or levels_without_score(evaluation):
        sections.append(_section("Robustness", _robustness(evaluation, summary)))
    sections.append(_section("Faults", _faults(evaluation, other)))
    sections.append(_section("Worst cases", _worst(evaluation, path.parent, images or {})))
    sections.append(_section("Rules", _rules(summary)))
    with whole_file(path) as partial:
        title = escape(f"Evaluation of {_folder(evaluation, 'prediction_file')}")
        page = _PAGE.format(title=title, style=_STYLE, body="\n".join(sections))
        partial.write_text(page, encoding="utf-8", newline="")


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


def _head(evaluation: Evaluation, other: Evaluation | None, summary: Summary) -> str:
    """What was compared, how much of it, what is left out."""
    predictions, references = (f"<b>{escape(_folder(evaluation, f'{kind}_file'))}</b>" for kind in KINDS)
    against = (
        f"; the other model is <b>{escape(_folder(other, 'prediction_file'))}</b>{_lacking(other)}" if other else ""
    )
    cases = summary["cases"]
    faults = cases["total"] - cases["scored"]
    known = f"as {Path(summary['manifest']).name} says" if summary["manifest"] else "each case taken for one"
    left_out = "no faults" if not faults else f"<b>{plural(faults, 'case')} with a fault</b>, in no figure"
    return (
        f"<header><h1>Evaluation of {predictions}</h1><p>Predictions {predictions} against references {references}"
        f"{against}. {plural(cases['scored'], 'case')} scored, from {plural(summary['patients'], 'patient')}"
        f" ({escape(known)}); {left_out}. Intervals hold 95&nbsp;% and are over patients; the rules are at the end.</p>"
        "</header>"
    )


def _lacking(other: Evaluation) -> str:
    faults = sum(not case.scored for case in other.cases)
    return f" ({plural(faults, 'case')} with a fault)" if faults else ""


def _folder(evaluation: Evaluation, field: str) -> str:
    """Name of the folder that all files of a kind lie in; a dash where there is none, or more than one."""
    folders = {Path(file).absolute().parent.name for case in evaluation.cases if (file := getattr(case, field))}
    return folders.pop() if len(folders) == 1 else NONE


def _headline(summary: Summary) -> str:
    every = {name: summary["sensitivity"][rule]["all"] for rule, name in RULES.items()}
    rows = [(NAMES[name], found, summary["undefined"].get(name, 0)) for name, found in summary["means"].items()]
    rows += [(f"lesions found, {name}", found, 0) for name, found in every.items()]
    rows.append((NAMES["specificity"], summary["specificity"], 0))
    cells = [[name, *_numbers(found), str(found["count"]), str(undefined or "")] for name, found, undefined in rows]
    return _table(("", "value", "95 % interval", "n", "undefined"), cells)


def _by_size(summary: Summary) -> str:
    """Sensitivity by both rules for each bin of radii, as a table and drawn (the paper's Figure 5)."""
    rows = [
        [f"{radius} mm" if radius in RADIUS_BINS else "all", str(summary["sensitivity"]["any"][radius]["count"])]
        + [cell for rule in RULES for cell in _numbers(summary["sensitivity"][rule][radius])]
        for radius in (*RADIUS_BINS, "all")
    ]
    columns = ["radius", "lesions", *(title for name in RULES.values() for title in (name, "95 % interval"))]
    return _table(columns, rows) + _plot(draw_detection(summary), "lesions found against radius")


def _robustness(evaluation: Evaluation, summary: Summary) -> str:
    """The benchmark: the one line, the levels that cannot be told about, Figure 6."""
    content = f"<p class='finding'>{escape(where_it_fails(summary))}</p>"
    missing = ", ".join(cell_name(*cell) for cell in levels_without_score(evaluation))
    if missing:
        content += f"<p class='missing'>Without any scored case, so in no plot: {escape(missing)}.</p>"
    return content + (_plot(draw_robustness(summary), "metrics against level") if summary["dimensions"] else "")


def _numbers(found: Mapping[str, Any]) -> tuple[str, str]:
    if found["value"] is None:
        return NONE, NONE
    limits = NONE if found["low"] is None else f"{_number(found['low'])} to {_number(found['high'])}"
    return _number(found["value"]), limits


def _number(value: float) -> str:
    """Three decimals; what rounds to 0 has no sign."""
    return f"{value:z.3f}".replace("-", MINUS)


def _p_value(value: float | None) -> str:
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _comparison(evaluation: Evaluation, other: Evaluation, summary: Summary) -> str:
    rows = []
    for name, row in summary["compare"].items():
        of = (str(row["difference"]["count"]), str(row["n"]))
        rows.append([NAMES[name], *_numbers(row["difference"]), _p_value(row["p_value"]), *of])
    table = _table(("this minus the other", "difference", "95 % interval", "p (Wilcoxon)", "n", "patients"), rows)
    return table + _plot(draw_differences(evaluation, other), "difference in tumour DSC, case by case")


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
        " Cases with lesions of which none is found come first, then by tumour DSC, then by false positives. Each shows"
        " the axial slice in which the two differ most.</p>"
    )
    cards = "".join(_card(case, folder, images.get(case.case)) for case in cases)
    return f"{legend}<div class='cards'>{cards}</div>"


def _card(case: CaseScore, folder: Path, image: Path | None) -> str:
    links = {"reference": Path(case.reference_file), "prediction": Path(case.prediction_file)}
    try:
        cutout = draw_cutout(links["reference"], links["prediction"], image)
        png = base64.b64encode(cutout.png).decode()
        picture = f"<img alt='slice of {escape(case.case)}' src='data:image/png;base64,{png}'>"
        note = f"<br><span class='missing'>no CT: {escape(cutout.without_ct)}</span>" if cutout.without_ct else ""
    except TumorgenError as error:
        picture, note = f"<p class='missing'>no picture: {escape(str(error))}</p>", ""
    if image:
        links["image"] = image
    told = " · ".join(f"<a href='{_link(path, folder)}'>{name}</a>" for name, path in links.items())
    cell = f"<br>{escape(cell_name(case.dimension, case.level))}" if case.dimension else ""
    return (
        f"<figure>{picture}<figcaption><strong>{escape(case.case)}</strong>{cell}<br>"
        f"tumour DSC {case.tumor_dsc:.3f}, {case.detected_any} of {plural(case.lesions, 'lesion')} found,"
        f" {plural(case.false_positives, 'false positive')}<br>{told}{note}</figcaption></figure>"
    )


def _link(path: Path, folder: Path) -> str:
    """A link to a file, relative to the page's folder where that is possible."""
    try:
        return quote(Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix())
    except ValueError:  # another drive
        return escape(path.absolute().as_uri())


def _rules(summary: Summary) -> str:
    rules = summary["rules"] | ({"fails": RULE} if summary["dimensions"] else {})
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rules.items())
    return f"<dl>{items}</dl><footer>tumorgen {escape(__version__)}</footer>"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _plot(svg: str, name: str) -> str:
    return f"<div class='plot' role='img' aria-label='{escape(name)}'>{svg}</div>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "numbers") -> str:
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class='wide'><table class='{kind}'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style></head>
<body>
{body}
</body>
</html>
"""
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --muted: #5b6570; --line: #d5dae0; --page: #fff; --link: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --muted: #9aa4ae; --line: #3a4148; --page: #16191d; --link: #56b4e9; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 62rem;
  margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; } h1 b { font-weight: inherit; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; padding-top: .7rem; border-top: 1px solid var(--line); }
h1, header, .finding, .missing, dd, figcaption, .words td:last-child { overflow-wrap: anywhere; }
td, strong, b { unicode-bidi: isolate; }
header p { max-width: 50rem; } dd, .missing, footer { color: var(--muted); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin-bottom: .8rem; }
th, td { text-align: right; padding: .2rem 0 .2rem 1.6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
.numbers th, .numbers td { white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0; }
th:first-child, td:first-child, .words th, .words td { text-align: left; }
th { font-weight: 600; color: var(--muted); border-bottom-color: var(--muted); }
.plot svg { width: 100%; height: auto; display: block; }
.finding { font-weight: 600; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(13.5rem, 1fr)); gap: 1.2rem 1rem; }
figure { margin: 0; break-inside: avoid; }
figure img { width: 100%; aspect-ratio: 1; border-radius: 4px; display: block; background: #000; }
figcaption { font-size: .85rem; line-height: 1.4; margin-top: .4rem; }
.key { display: inline-block; width: 1.6rem; border-top: 3px solid; vertical-align: middle; }
.key + .key { margin-left: .6rem; } .key.dashed { border-top-style: dashed; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .85rem; }
dt { color: var(--muted); } dd { margin: 0; } footer { font-size: .85rem; margin-top: 1.5rem; }
a { color: var(--link); }
@media print { body { max-width: none; margin: 0; padding: 0; font-size: 10pt; } h2 { break-after: avoid; }
  .plot, tr { break-inside: avoid; } .wide { overflow: visible; } .cards { grid-template-columns: repeat(4, 1fr); } }
"""
