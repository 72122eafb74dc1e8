"""The study on realism makes hosts, counts and shows what it says; on balls of liver with dark balls in them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import realism
from click.testing import CliRunner
from phantoms import ball_scan, ball_volume
from realism_hosts import CLIPPED_TO_HU, deviations, healthy_liver, with_air, write_hosts
from realism_page import Findings, draw_lines, reference_lines, statistic_lines, summary_lines
from realism_pictures import RADII_MM, choose_sizes
from realism_places import as_scan, without_lesions_of
from test_real_study import write_annotated

from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import read_volume, write_volume
from tumorgen.realism import MeasuredLabels
from tumorgen.realism.comparing import Comparison
from tumorgen.realism.measuring import MeasuredSet
from tumorgen.realism.scans import LabelledScan
from tumorgen.realism.shapes import LesionShape, TumorBurden

SPACING_MM = (5.0, 3.0, 3.0)


def test_air_that_was_clipped_is_air_again():
    clipped = np.array([-160, -159, 40], np.int16)
    assert with_air(clipped).tolist() == [-1000, -159, 40]
    for untouched in ([-1024, 40], [int(CLIPPED_TO_HU) + 1, 40]):
        assert with_air(np.array(untouched, np.int16)).tolist() == untouched


def test_real_tumours_and_six_millimetres_around_them_are_no_host():
    labels = np.ones((1, 1, 20), np.uint8)
    labels[..., :2] = 2
    healthy = healthy_liver(labels, (1.0, 1.0, 2.0))
    assert healthy[0, 0].tolist() == [0] * 5 + [1] * 15  # the voxel 6 mm from the last of the tumour is the fifth
    assert healthy_liver(np.ones((2, 2, 2), np.uint8), (1.0, 1.0, 1.0)).all()


def test_hosts_are_written_once(tmp_path):
    write_annotated(tmp_path / "real", "a", 0)
    (tmp_path / "real" / "imagesTr" / "a_0000.nii.gz").rename(tmp_path / "real" / "imagesTr" / "a.nii.gz")
    assert write_hosts(tmp_path / "real", tmp_path / "hosts") == ["a"]
    mask = tmp_path / "hosts" / "masks" / "a.nii.gz"
    assert np.unique(read_volume(mask).array).tolist() == [0, 1]
    written = mask.stat().st_mtime_ns
    write_hosts(tmp_path / "real", tmp_path / "hosts")
    assert mask.stat().st_mtime_ns == written


def test_what_is_no_parenchyma_is_seen_under_the_noise():
    scan = ball_scan((2.0, 2.0, 2.0), noise_sd=10.0)
    middle = tuple(n // 2 for n in scan.geometry.shape)
    assert deviations(scan)[middle] < 1
    scan.hu[tuple(slice(m - 4, m + 5) for m in middle)] -= 40  # 18 mm wide, four standard deviations
    assert deviations(scan)[middle] > 2


def row(statistic: str, radius_bin: str, synthetic_median: float, inside: float, real_count: int = 20) -> Comparison:
    """A comparison with a real band from 1 to 3."""
    numbers = dict.fromkeys(measured_names(), 0.0) | {"real_low": 1.0, "real_median": 2.0, "real_high": 3.0}
    numbers |= {"synthetic_median": synthetic_median, "inside": inside}
    counts = {"real_count": real_count, "real_patients": 4, "synthetic_count": 50, "synthetic_patients": 4}
    return Comparison(**numbers, **counts, statistic=statistic, radius_bin=radius_bin)


def measured_names() -> list[str]:
    counted = ("statistic", "radius_bin", "real_count", "real_patients", "synthetic_count", "synthetic_patients")
    return [name for name in Comparison.__dataclass_fields__ if name not in counted]


def findings(*rows: Comparison) -> Findings:
    auc = {"value": 0.6, "low": 0.5, "high": 0.7, "count": 20}
    verdict = {"classifier": "forest on appearance", "auc": auc, "by_radius": {"<5": auc}, "auc_by_lesion": None}
    sets = {"real": {"lesions": 26}, "synthetic": {"lesions": 50, "scans": 8}}
    audit = {**sets, "comparisons": [asdict(each) for each in rows], "verdicts": [verdict | {"giveaways": []}]}
    return Findings("lifelike", audit, {}, {"experts": [50, 0], "liver-mask": [49, 1]})


def test_a_median_outside_the_real_band_stands_out():
    lines = statistic_lines(
        [findings(row("rim_hu", "all", 2.5, 0.9), row("sd_ratio", "all", 4.0, 0.3))], "audit", ("all",)
    )
    assert "| rim, HU | 2.00 [1.00, 3.00] | 2.50 / 0.90 |" in lines
    assert "| SD inside over ring | 2.00 [1.00, 3.00] | **4.00 / 0.30** |" in lines


def test_nothing_is_concluded_from_a_few_lesions():
    found = findings(row("rim_hu", "all", 2.5, 0.9), row("rim_hu", ">20", 4.0, 0.0, real_count=3))
    assert len(statistic_lines([found], "audit", (">20",))) == 2  # the head alone
    assert "| medians inside the real band | 1 of 1 |" in summary_lines([found])


def test_the_bars_stand_in_one_table():
    lines = summary_lines([findings(row("rim_hu", "all", 2.5, 0.9), row("sd_ratio", "all", 4.0, 0.3))])
    assert "| synthetic lesions (real: 26) | 50 in 8 samples |" in lines
    assert "| medians inside the real band | 1 of 2 |" in lines
    assert "| share of lesions inside, mean over the statistics | 0.60 |" in lines
    assert "| forest on appearance: AUC | 0.60 (0.50 to 0.70) |" in lines
    assert "| ... r < 5 mm | 0.60 (0.50 to 0.70) |" in lines
    assert "| centres off the parenchyma, `liver-mask`'s masks | 1 of 49 |" in lines


def test_several_draws_stand_beside_what_they_have_on_average():
    """A median may lie outside in one draw and inside on average."""
    lines = draw_lines([findings(row("rim_hu", "all", 3.5, 0.7)), findings(row("rim_hu", "all", 1.5, 0.9))])
    assert lines[0] == "| seed | mean | 0 | 1 |"
    assert "| medians inside the real band | 1 of 1 | 0 of 1 | 1 of 1 |" in lines
    assert "| least share inside | 0.80 | 0.70 | 0.90 |" in lines
    assert "| forest on appearance: AUC | 0.60 | 0.60 | 0.60 |" in lines
    assert "| ... r < 5 mm | 0.60 | 0.60 | 0.60 |" in lines


def test_the_sheet_has_a_lesion_of_each_size_or_none():
    lesions = [SimpleNamespace(shape=SimpleNamespace(radius_mm=r)) for r in (3.1, 3.2, 8.0, 60.0)]
    chosen = choose_sizes(lesions)
    assert len(chosen) == len(RADII_MM)
    assert [each.shape.radius_mm for each in chosen if each] == [3.1, 8.0]


def measured(*radii_mm: float, circularity: float = 0.9) -> list[LesionShape]:
    """Lesions of which nothing but size and roundness matters."""
    return [LesionShape(r, r**3 / 250, 0, r, 1, 0.95, circularity, 0.8, 0.6, 1) for r in radii_mm]


def label_maps_of(name: str, **scans: list[LesionShape]) -> MeasuredSet:
    """A set of label maps, by the lesions of each."""
    nowhere, burden = Path("nowhere"), TumorBurden(1, 0, 1500.0, 10.0)
    maps = [MeasuredLabels(case, case, (1.0, 1.0, 1.0), burden, tuple(found)) for case, found in scans.items()]
    found = [as_scan(name, LabelledScan(each.case, each.case, each.case, nowhere, nowhere), each) for each in maps]
    return MeasuredSet(name, nowhere, tuple(found), ())


def test_a_case_that_is_in_both_sets_is_left_out():
    real = label_maps_of("real", ours=measured(3.0, 6.0))
    rougher = measured(6.0, circularity=0.8)
    labels = label_maps_of("other", liver_0=measured(6.0, 9.0), liver_1=measured(6.1), liver_2=rougher)
    assert [each.scan.case for each in without_lesions_of(labels, real).scans] == ["liver_1", "liver_2"]


def test_real_lesions_of_other_patients_have_a_table():
    auc = {"value": 0.6, "low": 0.5, "high": 0.7, "count": 20}
    by_lesion = {"auc_by_lesion": 0.55, "by_lesion_and_radius": {"<5": 0.58}}
    verdict = {"classifier": "forest on shape and place", "auc": auc, "by_radius": {"<5": auc}, **by_lesion}
    head, _, *rows = reference_lines({"scans": 116, "verdict": verdict})
    assert head == "|  | real lesions of 116 other label maps, matched by radius |"
    assert rows == [
        "| forest on shape and place: AUC | 0.60 (0.50 to 0.70) |",
        "| ... r < 5 mm | 0.60 (0.50 to 0.70) |",
        "| ... with lesions left out | 0.55 |",
        "| ... with lesions left out, r < 5 mm | 0.58 |",
    ]


@pytest.mark.slow
def test_the_study_runs_and_goes_on(tmp_path, monkeypatch):
    for seed, name in enumerate(("a", "b")):
        write_annotated(tmp_path / "real", name, seed)
    (tmp_path / "shown" / "images").mkdir(parents=True)
    volume, liver = ball_volume((5.0, 3.0, 3.0))
    write_volume(volume, tmp_path / "shown" / "images" / "ball.nii.gz")
    write_volume(Volume(liver.astype(np.uint8), volume.geometry), tmp_path / "shown" / "masks" / "ball.nii.gz")
    page = tmp_path / "docs" / "realism.md"
    (page.parent / "images").mkdir(parents=True)
    page.write_text("before\n<!-- realism: begin -->\n<!-- realism: end -->\nafter\n")
    monkeypatch.setattr(realism, "PAGE", page)
    monkeypatch.setattr(realism, "find_livers", lambda study, names: study.found.symlink_to(study.hosts / "masks"))
    folders = {"--real": "real", "--labels": "real/labelsTr", "--shown": "shown", "--work": "work"}
    words = [str(word) for option, name in folders.items() for word in (option, tmp_path / name)]
    words += ["--recipes", "lifelike", "--per-scan", "2", "--networks", "", "--write"]
    result = CliRunner().invoke(realism.main, words, catch_exceptions=False)
    assert result.exit_code == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| forest on appearance: AUC |" in text
    assert "Places and shapes beside 6 lesions in 2 label maps" in text
    for name in ("profiles", "sheet", "pairs"):
        assert (page.parent / f"images/realism-{name}.png").stat().st_size > 1000
    monkeypatch.setattr(realism, "run", lambda *words: pytest.fail(f"done before: {words}"))
    monkeypatch.setattr(realism, "find_livers", lambda study, names: None)
    again = CliRunner().invoke(realism.main, words[:-1], catch_exceptions=False)
    assert again.exit_code == 0
    (counts,) = (tmp_path / "work").glob("lifelike-*/audit-of-2-*/centers-experts.json")
    assert json.loads(counts.read_text())[1] == 0


@pytest.mark.slow
def test_draws_are_audited_one_after_the_other(tmp_path, monkeypatch):
    for seed, name in enumerate(("a", "b")):
        write_annotated(tmp_path / "real", name, seed)
    page = tmp_path / "realism.md"
    page.write_text("<!-- realism-draws: begin -->\n<!-- realism-draws: end -->\n")
    monkeypatch.setattr(realism, "PAGE", page)
    words = ["--real", str(tmp_path / "real"), "--work", str(tmp_path / "work"), "--per-scan", "1"]
    result = CliRunner().invoke(realism.main, [*words, "--draws", "2", "--write"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "| seed | mean | 0 | 1 |" in page.read_text()
    drawn = [path.read_bytes() for path in sorted(tmp_path.glob("work/lifelike-*/seed-*/*/tumors.csv"))]
    assert len({*drawn}) == 2
