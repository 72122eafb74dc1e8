"""An audit as a whole: discs with bright rims are told from plain ones, named, drawn and written."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from discs import disc_scan, write_discs, write_scan
from matplotlib.figure import Figure
from scipy import ndimage

from tumorgen.cli import main
from tumorgen.dataset import AUDIT_FILES
from tumorgen.imaging import Geometry, Volume, read_volume, refuse_foreign_files, write_volume
from tumorgen.realism import (
    audit_files,
    audit_sets,
    find_lesions,
    has_synthetic,
    measure_appearance,
    measure_folder,
    telling,
)
from tumorgen.realism.auditing import RULES
from tumorgen.realism.comparing import SHAPE
from tumorgen.realism.telling import FORESTS


def audit(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["audit", "--jobs", "1", "--no-network", *map(str, arguments)])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module", autouse=True)
def small_forests():
    """Forests that are grown in no time, and tell as much of what is told here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telling, "TREES", 30)
        yield


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Path:
    """Real discs, and synthetic ones with bright rims in the same scans."""
    folder = tmp_path_factory.mktemp("sets")
    write_discs(folder / "real", 3)
    write_discs(folder / "ringed", 3, first_seed=50, rim_hu=40.0)
    return folder


@pytest.fixture(scope="module")
def done(sets, tmp_path_factory) -> tuple[Result, Path]:
    """The command run on them, and its output."""
    output = tmp_path_factory.mktemp("output") / "audit"
    return audit(sets / "ringed", "--real", sets / "real", "--output", output), output


def test_rims_are_found_and_named_first(done):
    result, output = done
    assert result.exit_code == 0, result.output
    record = json.loads((output / "audit.json").read_text(encoding="utf-8"))
    looks = record["verdicts"][0]
    assert looks["classifier"] == next(iter(FORESTS))
    assert looks["auc"]["value"] > 0.95
    assert {each["statistic"] for each in looks["giveaways"][:3]} == {"rim_hu", "rim_over_contrast", "outside_hu"}
    rim = next(row for row in record["comparisons"] if row["statistic"] == "rim_hu" and row["radius_bin"] == "all")
    assert rim["inside"] == 0
    assert rim["synthetic_median"] - rim["real_median"] > 20
    assert record["within_scans"]
    assert record["rules"] == dict(RULES)


def test_the_annotators_part_is_told(sets, tmp_path):
    for number in range(3):
        hu, labels = disc_scan(number + 50, scan_seed=number)
        eroded = np.where((labels == 2) & ~ndimage.binary_erosion(labels == 2, np.ones((1, 3, 3))), 1, labels)
        write_scan(tmp_path / "tight", f"p{number}", hu, eroded.astype(np.uint8))
    real, tight = (measure_folder("a set", folder, {}, jobs=1) for folder in (sets / "real", tmp_path / "tight"))
    verdicts = audit_sets(real, tight, network=False, jobs=1).verdicts
    found = {each.classifier: each.auc.value for each in verdicts}
    assert found["forest on appearance"] > 0.9
    assert found["forest on appearance, outlines aligned"] < 0.75


def test_command_tells_the_main_figures(done):
    output = done[0].output
    assert "real: 24 lesions, 3 scans, 3 patients (0 too small, 0 scans without)" in output
    assert "rim, HU" in output
    assert "forest on appearance: AUC 1.00" in output
    assert "note: no network was asked" not in output  # which is what --no-network asks for
    assert "* the synthetic median lies outside the real band" in output
    assert "too few" not in output
    assert "\n  rim, HU: 5-10, all\n" in output or "\n  rim, HU: <5, 5-10, all\n" in output


def test_every_file_is_there(done):
    assert sorted(path.name for path in done[1].iterdir()) == [
        "audit.html",
        "audit.json",
        "blind.png",
        "blind_key.csv",
        "comparison.csv",
        "giveaways.csv",
        "histograms.png",
        "lesions.csv",
        "pairs.png",
        "profiles.csv",
        "profiles.png",
        "scans.csv",
        "shares.csv",
    ]
    assert {path.name for path in done[1].iterdir()} == {*AUDIT_FILES}  # which `remove` deletes


def test_every_file_is_known_again_and_those_of_others_are_left_alone(sets, done, tmp_path):
    refuse_foreign_files(done[1], audit_files.MARKS, "")
    assert {*audit_files.MARKS} == {*AUDIT_FILES}
    for name in AUDIT_FILES:
        mine = tmp_path / name / name
        mine.parent.mkdir()
        mine.write_text("set,scan\n")
        result = audit(sets / "ringed", "--real", sets / "real", "--output", mine.parent)
        refused = f"Error: {mine}: was not written by this command, and stays as it is; choose another --output\n"
        assert result.output == refused


def test_sets_are_called_by_the_names_of_their_folders_alone(sets, done):
    record = json.loads((done[1] / "audit.json").read_text(encoding="utf-8"))
    assert [record[name]["folder"] for name in ("real", "synthetic")] == ["real", "ringed"]
    page = (done[1] / "audit.html").read_text(encoding="utf-8")
    assert "(<b>ringed</b>), beside" in page
    for file in done[1].iterdir():
        assert str(sets).encode() not in file.read_bytes(), file.name


def test_tables_hold_every_lesion_and_scan(done):
    output = done[1]
    lesions, scans = rows(output / "lesions.csv"), rows(output / "scans.csv")
    assert [row["set"] for row in lesions] == ["real"] * 24 + ["synthetic"] * 24
    assert len(rows(output / "profiles.csv")) == 48
    assert [(row["set"], row["scan"], row["lesions"]) for row in scans] == [
        (name, f"p{number}", "8") for name in ("real", "synthetic") for number in range(3)
    ]
    assert float(lesions[0]["core_contrast_hu"]) < -30


def test_blind_sheet_hides_a_real_and_a_synthetic_lesion_in_each_pair(done):
    key = rows(done[1] / "blind_key.csv")
    known = {(row["set"], row["scan"], row["lesion"]) for row in rows(done[1] / "lesions.csv")}
    pairs = [key[i : i + 2] for i in range(0, len(key), 2)]
    assert all({row["set"] for row in pair} == {"real", "synthetic"} for pair in pairs)
    assert [row["side"] for row in key] == ["left", "right"] * len(pairs)
    assert {row["set"] for row in key if row["side"] == "left"} == {"real", "synthetic"}  # the order is drawn
    assert all((row["set"], row["scan"], row["lesion"]) in known for row in key)


def test_page_stands_alone_and_escapes_names(done):
    page = (done[1] / "audit.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert "data:image/png;base64," in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "<script" not in page
    assert not re.search(r">\s*nan\b", page)


def test_default_output_lies_in_the_dataset(sets, tmp_path):
    write_discs(tmp_path / "mine", 1, first_seed=70, lesions=4)
    result = audit(tmp_path / "mine", "--real", sets / "real")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "mine" / "audit" / "audit.html").is_file()
    assert "synthetic: all lesions are of one patient, so there are no intervals" in result.output
    assert "fewer than two patients" in result.output


@pytest.fixture
def blank(monkeypatch):
    """Figures that show nothing, where only the tables are looked at: drawing them takes longer than all the rest."""
    for name in ("draw_profiles", "draw_histograms", "draw_pairs"):
        monkeypatch.setattr(audit_files, name, lambda *_, **__: Figure((1, 1)))


@pytest.mark.usefixtures("blank")
def test_nothing_is_concluded_from_few_real_lesions(tmp_path, monkeypatch):
    for name in ("TREES", "SHUFFLES", "RESAMPLES"):
        monkeypatch.setattr(telling, name, 2)  # what is found is not looked at
    few = write_discs(tmp_path / "few", 2, lesions=2)
    ringed = write_discs(tmp_path / "ringed", 2, first_seed=50, rim_hu=40.0)
    result = audit(ringed, "--real", few, "--output", tmp_path / "out")
    lines = result.output.splitlines()
    rim = next(line for line in lines if line.startswith("rim, HU"))
    assert rim.endswith("0.00  too few")
    assert not any(line.endswith("*") for line in lines)
    assert "too few: fewer than 8 real lesions or no synthetic one, so nothing is concluded" in lines
    assert not any("lie outside the real band" in line for line in lines)
    told = [line for line in lines if "AUC" in line and line.startswith("forest")]
    assert len(told) == len(FORESTS)
    assert all(line.endswith(": too few to conclude (4 real lesions)") for line in told)
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert "Too few to conclude: there are fewer than 8 real lesions." in page
    assert page.count("<td>4, too few</td>") == len(FORESTS)
    assert set(re.findall(r"<tr( class=\"few\")?><td>", page)) == {' class="few"'}


@pytest.mark.usefixtures("blank")
def test_scans_whose_grey_levels_are_odd_are_counted_together(tmp_path, monkeypatch):
    """Each has ends of its own, and none is left out of the number for that."""
    for name in ("TREES", "SHUFFLES", "RESAMPLES"):
        monkeypatch.setattr(telling, name, 2)  # what is found is not looked at
    for number in range(5):
        hu, labels = disc_scan(number, lesions=2)
        write_scan(tmp_path / "real", f"p{number}", np.clip(hu, -90 - number, None), labels)
    write_discs(tmp_path / "synthetic", 2, first_seed=50, lesions=2)
    result = audit(tmp_path / "synthetic", "--real", tmp_path / "real", "--output", tmp_path / "out")
    odd = "5 of 5 scans with values that end within the -160 to 240 HU compared"
    assert f"note: real: {odd} (p0, p1, p2 and 2 more; `note` in scans.csv)" in result.output


@pytest.mark.usefixtures("blank")
def test_the_mean_share_inside_is_of_statistics_with_enough_real_lesions(tmp_path, monkeypatch):
    """Of clipped lesions only place and shape are known: of what few of them look like, nothing is concluded."""
    for name in ("TREES", "SHUFFLES", "RESAMPLES"):
        monkeypatch.setattr(telling, name, 2)  # what is found is not looked at
    write_discs(tmp_path / "real", 1, lesions=4)
    for number in (1, 2):
        hu, labels = disc_scan(number)
        hu[labels == 2] = -200
        write_scan(tmp_path / "real", f"p{number}", hu, labels)
    real = measure_folder("real", tmp_path / "real", {}, jobs=1)
    synthetic = measure_folder("synthetic", write_discs(tmp_path / "synthetic", 2, first_seed=50), {}, jobs=1)
    found = audit_sets(real, synthetic, network=False, jobs=1)
    shapes = [row for row in found.overall if row.conclusive]
    assert {row.statistic for row in shapes} == set(SHAPE)
    assert found.inside == pytest.approx(np.mean([row.inside for row in shapes]))
    (note,) = (note for note in found.notes if note.startswith("forest on appearance: "))
    assert re.match(r"forest on appearance: [1-9]\d* real lesions? and 0 synthetic ones took no part: too little", note)


@pytest.mark.usefixtures("blank")
def test_patients_of_a_table_weigh_as_one(sets, tmp_path):
    table = tmp_path / "patients.csv"
    table.write_text("case,patient\np0,Ann\np1,Ann\n", encoding="utf-8")
    result = audit(sets / "ringed", "--real", sets / "real", "--output", tmp_path / "out", "--patients", table)
    assert "real: 24 lesions, 3 scans, 2 patients" in result.output
    assert {row["patient"] for row in rows(tmp_path / "out" / "lesions.csv")} == {"p0", "p2"}
    assert not any("Ann" in path.read_text() for path in (tmp_path / "out").glob("*.csv"))
    assert f"note: {table}: does not list 1 of 3 cases, each a patient of its own: p2\n" in result.output


@pytest.mark.parametrize("part", ["real", "dataset"])
def test_set_without_lesions_is_one_clear_line(sets, tmp_path, part):
    hu, labels = disc_scan(0, lesions=0)
    write_scan(tmp_path / "none", "p0", hu, labels)
    none, other = tmp_path / "none", sets / "real"
    result = audit(*((other, "--real", none) if part == "real" else (none, "--real", other)))
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].endswith(f"{none}: no lesions (label 2) in any of its scans")


def test_synthetic_tumours_are_not_taken_for_real_ones(sets, tmp_path):
    """A dataset of tumorgen's as the real side, and in `fit` its label maps alone, too."""
    made = write_discs(tmp_path / "made", 1, lesions=2)
    (made / "manifest.csv").write_text("sample,case,tumors_placed\np0,p0,2\n")
    recipe = ("--output", tmp_path / "mine.toml", "--jobs", "1")
    lines = {
        made: ("audit", sets / "ringed", "--real", made, "--output", tmp_path / "out", "--jobs", "1", "--no-network"),
        f"{made}": ("fit", made, *recipe),
        made / "labels": ("fit", "--labels", made / "labels", *recipe),
    }
    for folder, words in lines.items():
        done = CliRunner().invoke(main, [str(word) for word in words])
        refused = f"Error: {folder}: holds samples with synthetic tumours; give scans with real, annotated ones\n"
        assert (done.exit_code, done.output) == (1, refused)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made"]
    (made / "manifest.csv").write_text("sample,case,tumors_placed\nq0,q0,2\n")  # of other samples
    assert not has_synthetic(made / "labels")


def test_what_is_no_set_is_one_clear_line(sets, tmp_path):
    result = audit(tmp_path, "--real", sets / "real")
    assert result.exit_code == 1
    assert (
        f"Error: {tmp_path}: not a set of images and labels; one of these pairs of folders is needed" in result.output
    )


def test_table_of_other_data_is_refused(sets, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("case,patient\nx,y\n")
    result = audit(sets / "ringed", "--real", sets / "real", "--output", tmp_path / "out", "--patients", table)
    assert result.exit_code == 1
    assert f"{table}: lists none of the cases (such as p0); is it of other data?" in result.output


def test_scans_that_cannot_be_measured_are_listed_and_cost_no_other(sets, tmp_path):
    mixed = write_discs(tmp_path / "mixed", 3, first_seed=50)
    hu, labels = disc_scan(9)
    write_scan(mixed, "alone", hu, None)
    write_scan(mixed, "moved", hu, labels)
    write_volume(Volume(labels, Geometry(labels.shape, (2.5, 0.9, 1.0))), mixed / "labels" / "moved.nii.gz")
    result = audit(mixed, "--real", sets / "real", "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert "no label of that name in" in result.output
    assert "is not on the grid of" in result.output
    assert "2 scans could not be measured" in result.output
    assert (tmp_path / "out" / "audit.html").is_file()


def test_radii_that_never_match_leave_the_classifiers_out(sets, tmp_path):
    hu, labels = disc_scan(0, lesions=0)
    labels[2:8, 30:100, 40:120] = 2
    hu[labels == 2] = 60
    for case in ("p0", "p1"):
        write_scan(tmp_path / "large", case, hu, labels)
    result = audit(tmp_path / "large", "--real", sets / "real", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "no synthetic lesion has the radius of a real one: no classifier was asked" in result.output
    assert not (tmp_path / "out" / "pairs.png").exists()
    assert "No synthetic lesion has the size of a real one." in (tmp_path / "out" / "audit.html").read_text("utf-8")


def test_output_is_no_folder_of_cases(sets, tmp_path):
    result = audit(sets / "ringed", "--real", sets / "real", "--output", tmp_path / "labelsTr")
    assert result.exit_code == 1
    assert "is a folder of cases, which may hold nothing else" in result.output


def test_real_lesions_measure_what_is_known_of_them(data):
    """Medians of a dozen lesions of two patients lie within what 71 lesions of nine patients span."""
    folder = data / "lesions"
    if not folder.is_dir():
        pytest.skip(f"no real lesions at {folder}")
    looks = []
    for number in (0, 5):
        image, labels = (read_volume(folder / f"lits{number}_{part}.nii.gz") for part in ("ct", "seg"))
        spacing = image.geometry.spacing_mm
        for lesion in find_lesions(labels.array, spacing).lesions:
            looks.append(measure_appearance(image.array, labels.array, lesion, spacing))
    contrasts = sorted(look.contrast_hu for look in looks)
    assert len(looks) == 12
    assert -53 < contrasts[len(looks) // 2] < -19
    assert sum(look.contrast_hu > 0 for look in looks) == 0
    assert -7 < sorted(look.rim_hu for look in looks)[len(looks) // 2] < 7
    assert 0.6 < sorted(look.edge_width_mm for look in looks)[len(looks) // 2] < 5.6
