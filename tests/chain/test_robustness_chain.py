"""robustness -> predictions -> evaluate -> worst: the figures say exactly what was done to the labels."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from click.testing import CliRunner, Result
from phantoms import ball_volume
from scipy import ndimage

from tumorgen.cli import main
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import read_volume, write_volume
from tumorgen.tables.manifest import Record, read_manifest

FOLDER = Path("nnUNet_raw/Dataset504_Robustness")
SCANS = 2
SHIFT = 6  # voxels of 3 mm along x


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def predicted(record: Record, label: np.ndarray) -> np.ndarray | None:
    """What is done to a label: a known thing for some levels, nothing for the others."""
    found, tumor = label.copy(), label == 2
    match (record.dial.dimension, record.dial.level):
        case ("control", "healthy") if record.plan.case == "scan_0":
            found[tuple(slice(n // 2, n // 2 + 3) for n in label.shape)] = 2  # a false alarm in the middle of the liver
        case ("size", _) if record.outcomes[0].equivalent_radius_mm < 5:
            found[tumor] = 1  # small ones are dropped
        case ("intensity", "0"):
            found[tumor & ~ndimage.binary_erosion(tumor)] = 1  # eroded by a voxel
        case ("shape", "9"):
            found[tumor] = 1
            found[np.roll(tumor, SHIFT, axis=2)] = 2  # shifted along x
        case ("texture", "1") if record.plan.case == "scan_1":
            return None  # missing
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The chain as it is typed; what was done to each sample, the summary, what evaluate said."""
    root = tmp_path_factory.mktemp("chain")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("nnUNet_raw", raising=False)
        for number in range(SCANS):
            volume, liver = ball_volume((5.0, 3.0, 3.0), vessel_radius_mm=4.0, seed=number)
            write_volume(volume, Path("images") / f"scan_{number}.nii.gz")
            write_volume(Volume(liver, volume.geometry), Path("masks") / f"scan_{number}.nii.gz")
        made = command("robustness", "--images", "images", "--masks", "masks", "--jobs", 2)
        assert made.exit_code == 0, made.output
        expected = {}
        for record in read_manifest(FOLDER / "manifest.csv"):
            label = read_volume(FOLDER / "labelsTs" / f"{record.plan.sample}.nii.gz")
            found = predicted(record, label.array)
            if found is not None:
                write_volume(Volume(found, label.geometry), Path("predictions") / f"{record.plan.sample}.nii.gz")
                expected[record.plan.sample] = (record.dial, label.array == 2, found == 2)
        typed = ("predictions", FOLDER / "labelsTs", "--manifest", FOLDER / "manifest.csv", "--jobs", 2)
        told = command("evaluate", *typed)
        summary = json.loads(Path("evaluation/summary.json").read_text())
        planned = command("worst", "evaluation", FOLDER / "manifest.csv", "--cells", 3, "--count", 6, "--jobs", 2)
        yield root, expected, summary, told, planned


def test_each_case_is_scored_as_it_was_made(done):
    root, expected, _, _, _ = done
    with (root / "evaluation" / "cases.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file) if row["status"] == "scored"}
    assert rows.keys() == expected.keys()
    for case, (dial, truth, found) in expected.items():
        assert (rows[case]["dimension"], rows[case]["level"]) == (dial.dimension, dial.level)
        assert rows[case]["patient"] == case[:6]
        if truth.any():
            assert float(rows[case]["tumor_dsc"]) == pytest.approx(dice(truth, found), abs=1e-12)


def test_figure_6_shows_what_was_done_and_only_that(done):
    _, expected, summary, _, _ = done
    dimensions = summary["dimensions"]
    assert {name: len(levels) for name, levels in dimensions.items()} == {
        **dict.fromkeys(("location", "size", "shape", "intensity", "texture"), 5),
        "control": 1,
    }
    worse = set()
    for name, levels in dimensions.items():
        for level, metrics in levels.items():
            truth = [
                dice(t, f)
                for dial, t, f in expected.values()
                if (dial.dimension, dial.level) == (name, level) and t.any()
            ]
            if name != "control":
                assert metrics["tumor_dsc"]["value"] == pytest.approx(np.mean(truth), abs=1e-12)
                assert metrics["tumor_dsc"]["count"] == len(truth)
                worse |= {(name, level)} if metrics["tumor_dsc"]["value"] < 1 else set()
    assert worse == {("size", "2"), ("intensity", "0"), ("shape", "9")}


def test_dropped_lesions_are_missed_eroded_and_shifted_ones_found(done):
    _, expected, summary, _, _ = done
    dimensions = summary["dimensions"]
    assert dimensions["size"]["2"]["sensitivity_any"]["value"] == 0
    assert dimensions["size"]["2"]["tumor_dsc"]["value"] == 0
    assert dimensions["size"]["8"]["sensitivity_any"]["value"] == 1
    assert dimensions["intensity"]["0"]["sensitivity_any"]["value"] == 1
    assert 0 < dimensions["intensity"]["0"]["tumor_dsc"]["value"] < 1
    overlaps = [
        bool((t & f).any()) for dial, t, f in expected.values() if (dial.dimension, dial.level) == ("shape", "9")
    ]
    assert dimensions["shape"]["9"]["sensitivity_any"]["value"] == np.mean(overlaps)
    lesions = [t for _, t, _ in expected.values() if t.any()]
    assert summary["sensitivity"]["any"]["all"]["count"] == len(lesions)  # one a sample, each in one piece


def test_the_control_says_how_often_it_cries_wolf(done):
    _, _, summary, _, _ = done
    assert summary["specificity"]["value"] == 0.5  # one of two healthy scans
    assert summary["specificity"]["count"] == SCANS
    assert summary["dimensions"]["control"]["healthy"]["false_positives_per_scan"]["value"] == 0.5
    assert summary["dimensions"]["control"]["healthy"]["tumor_dsc"]["count"] == 1  # of two empty masks it is undefined


def test_the_missing_case_is_told_and_in_no_mean(done):
    _, _, summary, told, _ = done
    assert told.exit_code == 1
    assert summary["cases"]["missing_prediction"] == 1
    assert summary["cases"]["scored"] == 26 * SCANS - 1
    assert "missing_prediction: scan_1_v0021" in told.stderr
    assert summary["dimensions"]["texture"]["1"]["tumor_dsc"]["count"] == SCANS - 1


def test_worst_finds_the_cells_that_were_spoilt(done):
    root, _, _, _, planned = done
    assert planned.exit_code == 0, planned.output
    assert planned.stdout.count("<- worst") == 3
    assert "note: 1 sample of the manifest without a score" in planned.stdout
    records = read_manifest(root / "worst.csv")
    assert {(r.dial.dimension, r.dial.level) for r in records} == {("size", "2"), ("intensity", "0"), ("shape", "9")}
    assert planned.stdout.splitlines()[1].startswith("size 2 ")


def test_the_report_shows_it(done):
    root, expected, summary, _, _ = done
    page = (root / "evaluation" / "report.html").read_text(encoding="utf-8")
    finding = re.search(r'<p class="finding">(.*?)</p>', page)[1]
    low, high = (summary["dimensions"]["size"]["2"]["sensitivity_any"][end] for end in ("low", "high"))
    assert finding.startswith(
        f"Fails, finding fewer than half of the lesions, at size 2 mm: 0.00 [{low:.2f}, {high:.2f}]"
    )
    assert "intensity" not in finding  # eroded ones are found
    figure_6 = page[page.index("<h2>Robustness</h2>") : page.index("<h2>Faults</h2>")]
    for name in ("location", "size", "shape", "intensity", "texture", "control"):
        assert f">{name}</text>" in figure_6
    assert "<td>scan_1_v0021</td><td>missing_prediction</td>" in page
    missed = {case for case, (dial, _, _) in expected.items() if (dial.dimension, dial.level) == ("size", "2")}
    shown = re.findall(r"<figcaption><strong>(.*?)</strong>", page)
    assert set(shown[: len(missed)]) == missed  # the worst first
    assert page.count('alt="slice of') == len(shown) == 8
    links = re.findall(r'<a href="(.*?)"', page)
    assert len(links) >= 2 * len(shown)
    for link in links:
        assert (root / "evaluation" / unquote(link)).is_file()
