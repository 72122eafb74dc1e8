"""The page: opens alone, holds exactly the summary's numbers, escapes what is hostile; a browser shows all of it."""

from __future__ import annotations

import html
import json
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from browser import BROWSER
from click.testing import CliRunner
from label_maps import HERE, SHAPE, SPACING, THERE, label
from markupsafe import escape
from scored import benchmark, case, evaluation, faulty, lesion

from tumorgen.cli import main
from tumorgen.evaluation.intervals import ConfidenceInterval
from tumorgen.evaluation.scores import RADIUS_BINS, CaseScore, Evaluation
from tumorgen.evaluation.summary import name_models, summarize
from tumorgen.figures.report import images_beside, write_report
from tumorgen.imaging.files import safe_name
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.reading import write_volume

HOSTILE = "<script>alert('1')</script> & \"q\" ü"


class Page(HTMLParser):
    """Tags, links and the cells of tables of a page; and that every tag is closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags, self.links, self.rows, self.open = [], [], [], []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "a":
            self.links.append(dict(attrs)["href"])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


NAMES = {
    "liver DSC": "liver_dsc",
    "liver NSD": "liver_nsd",
    "tumour DSC": "tumor_dsc",
    "tumour NSD": "tumor_nsd",
    "lesion DSC": "lesion_dsc",
    "false positives per scan": "false_positives_per_scan",
    "lesions found, any overlap": "sensitivity_any",
    "lesions found, IoU > 0.5": "sensitivity_iou",
}


def numbers(found: ConfidenceInterval) -> list[str]:
    """An estimate as a table shows it: a minus is a minus, not a hyphen; a dash where there is none."""
    if not found.defined:
        return ["\N{EN DASH}"] * 2
    shown = [f"{found.value:.3f}", f"{found.low:.3f} to {found.high:.3f}"]
    return [text.replace("-", "\u2212") for text in shown]


def report(folder: Path, found: Evaluation, **more: object) -> Page:
    write_report(found, summarize(found, other=more.get("other")), folder / "report.html", **more)
    return Page(folder / "report.html")


def test_tables_hold_the_summarys_numbers(tmp_path):
    cases = [case(f"c{n}", found=(n % 3, 0), tumor_dsc=n / 10, false_positives=n % 2) for n in range(10)]
    found = evaluation(*cases, lesions=tuple(lesion(c, 7.0, detected_any=c.lesions > 1) for c in cases))
    summary = summarize(found)
    rows = {row[0]: row[1:] for row in report(tmp_path, found).rows}
    told = {
        **{name: summary.means[key] for name, key in NAMES.items() if key in summary.means},
        "lesions found, any overlap": summary.sensitivity["any"]["all"],
        "lesions found, IoU > 0.5": summary.sensitivity["iou"]["all"],
    }
    assert len(told) == 8
    for name, of in told.items():
        assert rows[name] == [*numbers(of), str(of.count), ""]
    for radius in RADIUS_BINS:
        any_overlap, iou = (summary.sensitivity[rule][radius] for rule in ("any", "iou"))
        assert rows[f"{radius} mm"] == [str(any_overlap.count), *numbers(any_overlap), *numbers(iou)]
    assert rows[">20 mm"] == ["0", *"\N{EN DASH}" * 4]
    assert rows["specificity, scans without tumour"] == [*"\N{EN DASH}" * 2, "0", ""]


def test_faults_are_listed(tmp_path):
    page = report(tmp_path, evaluation(case("a"), faulty("b", "unreadable")))
    assert ["b", "unreadable", "so it is"] in page.rows
    assert "1 case scored" in page.text
    assert "<b>1 case with a fault</b>, in no figure" in page.text


def test_a_comparison_and_a_benchmark_have_their_sections(tmp_path):
    cases = [case(f"c{n}", tumor_dsc=0.1 * n, prediction_file=f"new/c{n}.nii.gz") for n in range(8)]
    theirs = [case(c.case, tumor_dsc=0.6, prediction_file=f"old/{c.case}.nii.gz") for c in cases]
    other = evaluation(*theirs, faulty("x", "unreadable"))
    page = report(tmp_path, evaluation(*cases), other=other)
    assert "the other model is <b>old</b> (1 case with a fault)" in page.text
    rows = {row[0]: row[1:] for row in page.rows}
    of = summarize(evaluation(*cases), other=other).compare
    for name in ("tumour DSC", "false positives per scan", "lesions found, IoU > 0.5"):
        row = of[NAMES[name]]
        assert rows[name] == [
            *numbers(row.difference),
            f"{row.p_value:.3f}",
            f"{row.difference.count}",
            "8",
        ]
    assert rows["tumour DSC"][0].startswith("\u2212")  # a worse model
    assert "new against old" in page.text
    assert ["new minus old", "difference"] in [row[:2] for row in page.rows]
    assert ["old", "x", "unreadable", "so it is"] in page.rows
    assert "minus the other" not in page.text
    assert "Robustness" not in page.text
    summary = benchmark({("size", "2"): 0.1, ("size", "8"): 0.9})
    write_report(evaluation(*cases), summary, tmp_path / "b.html")
    assert "Fails, finding fewer than half of the lesions, at size 2 mm: 0.10" in (tmp_path / "b.html").read_text()


def test_models_are_called_by_what_tells_their_folders_apart():
    def of(*folders: str) -> Evaluation:
        return evaluation(*(case(folder, prediction_file=f"{folder}/c.nii.gz") for folder in folders))

    assert name_models(of("new"), of("old")) == ("new", "old")
    assert name_models(of("a/pred"), of("b/pred")) == ("a/pred", "b/pred")
    assert name_models(of("a/pred"), of("a/pred")) == ("this", "other")
    assert name_models(of("a", "b"), of("c")) == ("this", "other")
    assert name_models(of("a"), evaluation(faulty("x", "missing_prediction"))) == ("this", "other")


def test_a_level_without_any_scored_case_is_told(tmp_path):
    lost = replace(faulty("a", "missing_prediction"), dimension="size", level="2")
    page = report(tmp_path, evaluation(lost, case("b", dimension="size", level="8")))
    assert "Without any scored case, so in no plot: size 2 mm." in page.text
    assert "Without any scored case, so in no plot: size 2 mm." in report(tmp_path, evaluation(lost)).text


@pytest.mark.parametrize(
    "found",
    [
        evaluation(),
        evaluation(faulty("a", "unreadable")),
        evaluation(case("a", clean=True)),
        evaluation(case("a", dimension="control", level="healthy", clean=True)),
    ],
    ids=["no case", "no scored case", "no lesion", "the control alone"],
)
@pytest.mark.parametrize("compared", [False, True])
def test_there_may_be_nothing_to_tell(tmp_path, found, compared):
    assert "Evaluation" in report(tmp_path, found, **({"other": found} if compared else {})).text


def test_names_are_escaped(tmp_path):
    """Whatever comes from a file or from a table: cases, patients, dimensions, levels, reasons, paths."""
    at = {"patient": HOSTILE, "dimension": HOSTILE, "level": HOSTILE, "prediction_file": f"{HOSTILE}/{HOSTILE}.nii.gz"}
    cases = [case(HOSTILE, tumor_dsc=0.1, **at), replace(faulty(HOSTILE + "2", "unreadable"), reason=HOSTILE)]
    found = evaluation(*cases, lesions=(lesion(cases[0]),))
    summary = summarize(found, other=found, manifest=f"{HOSTILE}.csv")
    write_report(found, summary, tmp_path / "report.html", other=found)
    page = Page(tmp_path / "report.html")
    assert "script" not in page.tags
    assert "<script" not in page.text
    assert ["this", HOSTILE + "2", "unreadable", HOSTILE] in page.rows
    assert escape(HOSTILE) in page.text


def test_equal_evaluations_write_equal_bytes_and_nothing_from_the_network(tmp_path):
    found = evaluation(*(case(f"c{n}", tumor_dsc=0.1 * n) for n in range(5)))
    first = report(tmp_path, found).text
    assert first == report(tmp_path, found).text
    assert not re.search(r"(src|href)=['\"](https?:)?//", first)


def with_files(root: Path, name: str) -> CaseScore:
    """A case whose files are there, in nnU-Net's layout."""
    geometry = Geometry(SHAPE, SPACING)
    for folder, file, array in (
        ("labelsTs", name, label(HERE)),
        ("predictions", name, label(THERE)),
        ("imagesTs", f"{name}_0000", np.full(SHAPE, 60, np.int16)),
    ):
        write_volume(Volume(array, geometry), root / folder / f"{file}.nii.gz")
    files = {"reference_file": root / "labelsTs", "prediction_file": root / "predictions"}
    return case(safe_name(name), **{field: str(folder / f"{name}.nii.gz") for field, folder in files.items()})


def test_links_lead_to_the_files_whatever_they_are_called(tmp_path):
    found = evaluation(with_files(tmp_path, "a b & <c> ü #1%"))
    images = images_beside(tmp_path / "labelsTs", found)
    (tmp_path / "out").mkdir()
    page = report(tmp_path / "out", found, images=images)
    assert len(page.links) == 3
    for link in page.links:
        assert not link.startswith("/")
        assert (tmp_path / "out" / unquote(link)).is_file()
    assert page.tags.count("img") == 1
    assert "no CT" not in page.text


def test_a_ct_that_does_not_fit_is_not_drawn_and_said(tmp_path):
    found = evaluation(with_files(tmp_path, "a"))
    shifted = Geometry(SHAPE, SPACING, (0.0, 0.0, 40.0))
    write_volume(Volume(np.full(SHAPE, 60, np.int16), shifted), tmp_path / "ct.nii.gz")
    page = report(tmp_path, found, images={"a": tmp_path / "ct.nii.gz"})
    assert page.tags.count("img") == 1
    assert re.search(r"no CT: .*ct\.nii\.gz: does not fit the labels", page.text)


def test_a_file_that_is_gone_costs_its_picture_only(tmp_path):
    found = evaluation(case("a", reference_file="gone.nii.gz", prediction_file="gone.nii.gz"))
    page = report(tmp_path, found)
    assert "no picture: gone.nii.gz: no such file" in page.text


# In a browser

PROBE = """<script>addEventListener('load', () => {
  const box = e => { const r = e.getBoundingClientRect(); return [r.width, r.height]; };
  const all = (what, f) => [...document.querySelectorAll(what)].map(f);
  const found = {
    plots: all('.plot svg', box), pictures: all('img', i => [i.complete, i.naturalWidth, ...box(i)]),
    links: all('a', a => a.href), labels: all('.plot svg text', t => t.textContent.trim()),
    heights: all('.plot svg text', t => t.getBoundingClientRect().height),
    wide: document.documentElement.scrollWidth > innerWidth, headings: all('h2', h => h.textContent) };
  document.body.innerHTML = ''; const pre = document.createElement('pre'); pre.id = 'found';
  pre.textContent = JSON.stringify(found); document.body.append(pre); });</script></body>"""
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome on PATH; Debian: apt-get install chromium")
def test_a_browser_shows_plots_pictures_and_links(tmp_path, monkeypatch):
    """The report of the command itself, of the benchmark's layout, as Chromium lays it out."""
    for number in range(3):
        with_files(tmp_path, f"case {number}")
    rows = "".join(f"case-{n},p{n},size,{2**n}\n" for n in range(3))
    (tmp_path / "manifest.csv").write_text("sample,case,dimension,level\n" + rows)
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", "predictions", "labelsTs", "--compare", "labelsTs", "--output", "out", "--jobs", "1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    (tmp_path / "out" / "probe.html").write_text(page.replace("</body>", PROBE), encoding="utf-8")
    found, narrow = (_probe(tmp_path / "out" / "probe.html", width, tmp_path) for width in (1100, 500))
    assert len(found["plots"]) == 4  # by radius, DSC, differences, robustness
    assert all(width > 300 and height > 100 for width, height in found["plots"])
    assert len(found["pictures"]) == 3
    assert all(complete and natural > 100 and width > 100 for complete, natural, width, _ in found["pictures"])
    assert len(found["links"]) == 9
    for link in found["links"]:
        assert link.startswith("file://")
        assert Path(unquote(link.removeprefix("file://"))).is_file()
    assert {"any overlap", "size", "tumour DSC"} <= set(found["labels"])
    assert not found["wide"]
    assert "Robustness" in found["headings"]
    assert not narrow["wide"]
    assert min(height for height in narrow["heights"] if height) >= 10  # px; narrower plots scroll


def _probe(page: Path, width: int, folder: Path) -> dict[str, object]:
    """What a browser shows of a page, in a window so many pixels wide."""
    window = [f"--window-size={width},900", f"--user-data-dir={folder / f'profile {width}'}"]
    command = [BROWSER, *QUIET, *window, "--dump-dom", str(page)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)[1]))
