"""Predictions against references: what was done to them is what the scores say; every fault is told."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner, Result

from tumorgen.cli import main
from tumorgen.cli.evaluate import _print_row
from tumorgen.errors import TumorgenError
from tumorgen.evaluation.intervals import ConfidenceInterval
from tumorgen.evaluation.listings import manifest_beside, read_listings
from tumorgen.evaluation.predictions import evaluate_predictions
from tumorgen.evaluation.scores import CaseScore, Evaluation, read_evaluation
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.reading import read_volume, write_volume

SHAPE, SPACING = (20, 30, 40), (2.5, 1.0, 0.75)
TURNED = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
GEOMETRY = Geometry(SHAPE, SPACING, (-10.0, 20.0, 5.0), TURNED)
VOXEL_MM3 = 1.875  # exact in a header

Box = tuple[slice, slice, slice]
LIVER: Box = (slice(3, 17), slice(4, 26), slice(4, 36))
LARGE: Box = (slice(5, 11), slice(6, 14), slice(8, 20))  # 576 voxels: 6.4 mm
SMALL: Box = (slice(13, 15), slice(18, 22), slice(28, 32))  # 32 voxels: 2.4 mm


def labels(*tumors: Box, liver: Box = LIVER) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[liver] = 1
    for tumor in tumors:
        array[tumor] = 2
    return array


def write(path: Path, array: np.ndarray, geometry: Geometry = GEOMETRY) -> None:
    write_volume(Volume(array, geometry), path)


def shift(box: Box, axis: int, by: int) -> Box:
    moved = list(box)
    moved[axis] = slice(box[axis].start + by, box[axis].stop + by)
    return tuple(moved)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Predictions and references of three cases: perfect, the small one missed, one healthy with a false alarm."""
    predictions, reference = tmp_path / "predictions", tmp_path / "labelsTs"
    for name, truth, found in (
        ("a", labels(LARGE, SMALL), labels(LARGE, SMALL)),
        ("b", labels(LARGE, SMALL), labels(LARGE)),
        ("c", labels(), labels(SMALL)),
    ):
        write(reference / f"{name}.nii.gz", truth)
        write(predictions / f"{name}.nii.gz", found)
    return predictions, reference


def only(evaluation: Evaluation, case: str) -> CaseScore:
    (found,) = [score for score in evaluation.cases if score.case == case]
    return found


# scores


def test_a_perfect_prediction(folders):
    case = only(evaluate_predictions(*folders, jobs=1), "a")
    assert (case.liver_dsc, case.liver_nsd, case.tumor_dsc, case.tumor_nsd) == (1, 1, 1, 1)
    assert (case.lesions, case.detected_any, case.detected_iou, case.false_positives) == (2, 2, 2, 0)
    assert case.reference_tumor_mm3 == case.predicted_tumor_mm3 == (576 + 32) * VOXEL_MM3


def test_a_lesion_that_was_dropped(folders):
    found = evaluate_predictions(*folders, jobs=1)
    case = only(found, "b")
    assert (case.lesions, case.detected_any, case.detected_iou, case.false_positives) == (2, 1, 1, 0)
    assert case.tumor_dsc == 2 * 576 / (576 + 608)
    assert case.liver_dsc == 1  # a tumour is liver, whichever of the two it is called
    large, small = [lesion for lesion in found.lesions if lesion.case == "b"]
    assert (large.radius_bin, large.detected_iou, small.radius_bin, small.detected_any) == ("5-10", True, "<5", False)
    assert (small.volume_mm3, small.iou, small.dsc) == (60.0, 0, 0)
    assert small.radius_mm == pytest.approx((3 * 60 / (4 * math.pi)) ** (1 / 3))


def test_a_scan_without_lesion_is_scored(folders):
    found = evaluate_predictions(*folders, jobs=1)
    case = only(found, "c")
    assert (case.status, case.lesions, case.false_positives, case.tumor_dsc, case.tumor_nsd) == ("scored", 0, 1, 0, 0)
    (alarm,) = [lesion for lesion in found.lesions if lesion.case == "c"]
    assert (alarm.kind, alarm.lesion, alarm.detected_any, alarm.iou) == ("false_positive", 1, False, 0)


def test_a_shifted_prediction(tmp_path):
    """By two voxels along y, 2 mm: the surface is within 2 mm everywhere, and not within 1.9."""
    write(tmp_path / "r/x.nii.gz", labels(LARGE))
    write(tmp_path / "p/x.nii.gz", labels(shift(LARGE, 1, 2)))
    (case,) = evaluate_predictions(tmp_path / "p", tmp_path / "r", jobs=1).cases
    assert (case.tumor_dsc, case.tumor_nsd, case.detected_iou) == (6 / 8, 1.0, 1)
    (case,) = evaluate_predictions(tmp_path / "p", tmp_path / "r", tolerance_mm=1.9, jobs=1).cases
    assert case.tumor_nsd < 0.8


def test_lesions_stand_where_they_are_in_space(folders):
    """LPS mm, through a header that turns x and y."""
    large, small = [lesion for lesion in evaluate_predictions(*folders, jobs=1).lesions if lesion.case == "a"]
    image = sitk.ReadImage(str(folders[1] / "a.nii.gz"))
    for lesion, (z, y, x) in ((large, (7.5, 9.5, 13.5)), (small, (13.5, 19.5, 29.5))):
        expected = image.TransformContinuousIndexToPhysicalPoint((x, y, z))
        assert (lesion.center_x_mm, lesion.center_y_mm, lesion.center_z_mm) == pytest.approx(expected)


def test_neither_has_a_tumour(tmp_path):
    """Nothing to agree on: undefined. So with references that know the liver alone."""
    write(tmp_path / "r/x.nii.gz", labels())
    write(tmp_path / "p/x.nii.gz", labels())
    (case,) = evaluate_predictions(tmp_path / "p", tmp_path / "r", jobs=1).cases
    assert (case.status, case.liver_dsc, case.lesions, case.predicted_tumor_mm3) == ("scored", 1, 0, 0)
    assert math.isnan(case.tumor_dsc)
    assert math.isnan(case.tumor_nsd)


def test_nothing_but_background(tmp_path):
    write(tmp_path / "r/x.nii.gz", labels())
    for name in ("p/x", "r/y", "p/y"):
        write(tmp_path / f"{name}.nii.gz", labels() * 0)
    one, both = evaluate_predictions(tmp_path / "p", tmp_path / "r", jobs=1).cases
    assert (one.status, one.liver_dsc, one.liver_nsd) == ("scored", 0, 0)
    assert both.status == "scored"
    assert math.isnan(both.liver_dsc)


def test_labels_that_reach_the_edge_of_the_image(tmp_path):
    whole: Box = (slice(0, 20), slice(0, 30), slice(0, 40))
    write(tmp_path / "r/x.nii.gz", labels(whole, liver=whole))
    write(tmp_path / "p/x.nii.gz", labels(whole, liver=whole))
    (case,) = evaluate_predictions(tmp_path / "p", tmp_path / "r", jobs=1).cases
    assert (case.liver_dsc, case.liver_nsd, case.tumor_nsd, case.detected_iou) == (1, 1, 1, 1)


# files


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha", ".mhd"])
def test_formats_may_differ(folders, ending):
    predictions, _ = folders
    expected = evaluate_predictions(*folders, jobs=1)
    image = sitk.ReadImage(str(predictions / "b.nii.gz"))
    (predictions / "b.nii.gz").unlink()
    sitk.WriteImage(image, str(predictions / f"b{ending}"))
    found = evaluate_predictions(*folders, jobs=1)
    assert found.lesions == expected.lesions
    assert only(found, "b").prediction_file.endswith(ending)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "float32", "float64"])
def test_data_types_may_differ(folders, dtype):
    expected = repr(evaluate_predictions(*folders, jobs=1))
    write(folders[0] / "b.nii.gz", labels(LARGE).astype(dtype))
    assert repr(evaluate_predictions(*folders, jobs=1)) == expected


def test_paths_are_told_as_given(folders, monkeypatch):
    monkeypatch.chdir(folders[0].parent)
    case = evaluate_predictions(Path("predictions"), Path("labelsTs"), jobs=2).cases[0]
    assert (case.prediction_file, case.reference_file) == ("predictions/a.nii.gz", "labelsTs/a.nii.gz")
    assert case.status == "scored"


def test_one_process_or_two_same_tables(folders, tmp_path):
    for name, jobs in (("one", "1"), ("two", "2")):
        call(*folders, "--output", str(tmp_path / name), "--jobs", jobs)
    for file in ("cases.csv", "lesions.csv", "summary.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_progress_moves_once_a_case(folders):
    moves = []
    evaluate_predictions(*folders, jobs=1, start=lambda total: lambda step: moves.append((total, step)))
    assert moves == [(3, 1)] * 3


# faults


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def moved(path: Path) -> None:
    write(path, labels(LARGE), Geometry(SHAPE, SPACING, (-10.0, 20.0, 7.5), TURNED))


def other_shape(path: Path) -> None:
    write(path, labels(LARGE)[:-1], Geometry((19, 30, 40), SPACING, (-10.0, 20.0, 5.0), TURNED))


FAULTS = {
    "missing": (lambda p, r: (p / "b.nii.gz").unlink(), "missing_prediction", "there is no prediction of this name"),
    "extra": (lambda p, r: (r / "b.nii.gz").unlink(), "extra_prediction", "there is no reference of this name"),
    "moved": (lambda p, r: moved(p / "b.nii.gz"), "other_geometry", "corners lie up to 2.50 mm apart"),
    "shape": (lambda p, r: other_shape(p / "b.nii.gz"), "other_geometry", "(20, 30, 40) against (19, 30, 40)"),
    "label 3": (lambda p, r: write(p / "b.nii.gz", labels(LARGE) + 1), "unknown_labels", "holds the labels 3;"),
    "label -1": (
        lambda p, r: write(p / "b.nii.gz", labels().astype("int16") * -1),
        "unknown_labels",
        "holds the labels -1;",
    ),
    "probabilities": (
        lambda p, r: write(p / "b.nii.gz", labels() * np.float32(0.5)),
        "unknown_labels",
        "holds the labels 0.5;",
    ),
    "label of reference": (lambda p, r: write(r / "b.nii.gz", labels() * 7), "unknown_labels", "labelsTs/b.nii.gz"),
    "many labels": (
        lambda p, r: write(p / "b.nii.gz", np.arange(24000, dtype="int32").reshape(SHAPE)),
        "unknown_labels",
        "holds the labels 3, 4, 5, 6, 7, ...;",
    ),
    "cut off": (lambda p, r: cut_off(p / "b.nii.gz"), "unreadable", "cut off"),
    "text": (lambda p, r: (p / "b.nii.gz").write_text("no image"), "unreadable", "not a readable volume"),
    "empty": (lambda p, r: (r / "b.nii.gz").write_bytes(b""), "unreadable", "not a readable volume"),
    "folder": (lambda p, r: ((p / "b.nii.gz").unlink(), (p / "b.nii.gz").mkdir()), "unreadable", "a folder"),
    "not a number": (
        lambda p, r: write(p / "b.nii.gz", np.full(SHAPE, np.nan, np.float32)),
        "unreadable",
        "NaN or infinite",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_told_and_costs_no_other_case(folders, name):
    expected = {case.case: case for case in evaluate_predictions(*folders, jobs=1).cases}
    spoil, status, reason = FAULTS[name]
    spoil(*folders)
    found = {case.case: case for case in evaluate_predictions(*folders, jobs=1).cases}
    assert found["b"].status == status
    assert reason in found["b"].reason
    assert "\n" not in found["b"].reason
    assert math.isnan(found["b"].liver_dsc)
    assert found["b"].lesions == found["b"].false_positives == 0
    assert {case: found[case] for case in "ac"} == {case: expected[case] for case in "ac"}


def test_two_files_of_one_name_are_refused(folders):
    write(folders[0] / "b.nrrd", labels())
    with pytest.raises(TumorgenError, match="rename one of them"):
        evaluate_predictions(*folders, jobs=1)


def test_labels_that_floating_point_has_moved_are_scored(folders):
    predictions, reference = folders
    exact = evaluate_predictions(predictions, reference, jobs=1)
    for file in predictions.iterdir():
        write(file, read_volume(file).array.astype(np.float64) * 0.99999995)  # 2 becomes 1.9999999
    moved = evaluate_predictions(predictions, reference, jobs=1)
    assert [case.tumor_dsc for case in moved.cases] == [case.tumor_dsc for case in exact.cases]
    assert all(case.scored for case in moved.cases)


@pytest.mark.parametrize("at", [0, 1])
def test_a_dataset_json_that_swaps_liver_and_tumour_is_a_fault(folders, at):
    """Beside the predictions of a model that was trained so, or of the references."""
    about = {"labels": {"background": 0, "tumor": 1, "liver": 2}, "file_ending": ".nii.gz"}
    (folders[at] / "dataset.json").write_text(json.dumps(about))
    result = call(*folders, "--output", str(folders[0].parent / "out"))
    assert result.exit_code == 1
    assert result.stderr.count("its labels are named 1 (tumor), 2 (liver), but here 1 is liver and 2 tumour") == 3


def renumber(folder: Path, liver: int, tumor: int, names: dict[str, int] | None = None) -> None:
    """Give the liver and the tumours of predictions other numbers, and another organ beside them."""
    for file in sorted(folder.glob("*.nii.gz")):
        array = np.array([0, liver, tumor], np.uint8)[read_volume(file).array]
        array[0, 0, 0] = 77
        write(file, array)
    if names:
        (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, **names}}))


@pytest.mark.parametrize(
    ("numbers", "names", "options"),
    [
        ((5, 9), None, ("--label", "5", "--tumour-label", "9")),
        ((5, 9), {"liver": 5, "liver_tumor": 9}, ("--label", "liver")),
        ((2, 1), {"liver": 2, "tumor": 1}, ("--label", "liver")),  # swapped
        ((128, 255), None, ("--label", "128", "--tumour-label", "255")),
    ],
)
def test_other_numbers_of_predictions_are_chosen(folders, tmp_path, numbers, names, options):
    predictions, reference = folders
    exact = evaluate_predictions(predictions, reference, jobs=1)
    renumber(predictions, *numbers, names)
    result = call(predictions, reference, "--output", str(tmp_path / "out"), *options)
    assert result.exit_code == 0, result.output
    for one, other in zip(read_evaluation(tmp_path / "out").cases, exact.cases, strict=True):
        assert (one.liver_dsc, one.lesions, one.detected_iou) == (other.liver_dsc, other.lesions, other.detected_iou)
        assert one.tumor_dsc == other.tumor_dsc or math.isnan(other.tumor_dsc)
        assert one.predicted_tumor_mm3 == other.predicted_tumor_mm3


def test_of_organs_alone_the_liver_is_scored_and_no_tumour_is_predicted(folders, tmp_path):
    """TotalSegmentator calls a kidney 2: it is no tumour."""
    predictions, reference = folders
    renumber(predictions, 5, 5)
    write(predictions / "a.nii.gz", np.where(labels() == 1, 5, 2).astype(np.uint8))
    write(predictions / "b.nii.gz", labels() * 0)  # the scan ends above the liver
    out, note = ("--output", str(tmp_path / "out")), "note: no prediction has a label that is called a tumour"
    result = call(predictions, reference, *out, "--label", "5")
    assert result.exit_code == 0
    assert note in result.stdout
    a, b, _ = read_evaluation(tmp_path / "out").cases
    assert (a.liver_dsc, a.predicted_tumor_mm3) == (1, 0)
    assert (b.liver_dsc, b.predicted_tumor_mm3) == (0, 0)
    assert note not in call(predictions, reference, *out, "--label", "5", "--tumour-label", "9").stdout  # as was asked


def test_what_is_chosen_for_predictions_must_be_labels(folders, tmp_path):
    out = ("--output", str(tmp_path / "out"))
    assert call(*folders, *out, "--tumour-label", "2").exit_code == 2
    result = call(*folders, *out, "--label", "liver")
    assert result.exit_code == 1
    assert result.stderr.count("no label is called 'liver': no names are known; give a number") == 3
    write(folders[0] / "a.nii.gz", labels() * 0.3)
    write(folders[0] / "b.nii.gz", labels() * np.linspace(0, 1, SHAPE[2]))
    result = call(*folders, *out, "--label", "1")
    assert result.stderr.count("holds fractions") == 1  # one value alone is a label, whatever it is


def test_a_manifest_beside_the_labels_with_semicolons_is_told_and_not_passed_over(folders, tmp_path):
    write_manifest(tmp_path, "sample;case\na;p1\nb;p1\n")
    result = call(*folders, "--output", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "manifest.csv: its cells are parted by semicolons" in result.stderr


def test_a_name_that_is_no_text_breaks_no_table(folders, tmp_path):
    name = os.fsdecode(b"\xff\xfe.nii.gz")
    try:
        (folders[0] / "b.nii.gz").rename(folders[0] / name)
    except OSError:
        pytest.skip("this file system takes no such name")
    result = call(*folders, "--output", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert {case.status for case in read_evaluation(tmp_path / "out").cases} == {
        "scored",
        "missing_prediction",
        "extra_prediction",
    }


# manifests


def write_manifest(folder: Path, text: str, name: str = "manifest.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_the_manifest_says_who_is_one_patient_and_what_was_dialled(folders, tmp_path):
    text = "sample,case,more,dimension,level\na,p1,,size,44\nb,p1,,control,healthy\n"
    found = evaluate_predictions(*folders, manifest=write_manifest(tmp_path, text), jobs=1)
    told = [(case.patient, case.dimension, case.level) for case in found.cases]
    assert told == [("p1", "size", "44"), ("p1", "control", "healthy"), ("c", "", "")]
    assert {(lesion.case, lesion.patient, lesion.level) for lesion in found.lesions} == {
        ("a", "p1", "44"),
        ("b", "p1", "healthy"),
        ("c", "c", ""),
    }


def test_a_manifest_of_the_dataset_has_only_patients(tmp_path):
    listings = read_listings(write_manifest(tmp_path, "sample,case,variant\ns_v0000,s,0\n"))
    assert (listings["s_v0000"].patient, listings["s_v0000"].dimension) == ("s", "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("case,level\na,1\n", "columns missing: sample"),
        ("sample,case\na,p\na,q\n", "sample 'a' is there twice"),
        ("sample,case\na,\n", "sample or case is empty"),
        ("sample,case\nz,p\n", "lists none of the cases (such as a)"),
        ("sample,case\na\n", "not as many cells"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused(folders, tmp_path, text, reason):
    with pytest.raises(TumorgenError) as error:
        evaluate_predictions(*folders, manifest=write_manifest(tmp_path, text), jobs=1)
    assert reason in str(error.value)


def test_the_manifest_beside_the_labels_is_found(folders):
    reference = folders[1]
    assert manifest_beside(reference) is None
    write_manifest(reference.parent, "file,sex\na,f\n")
    assert manifest_beside(reference) is None  # somebody else's
    ours = write_manifest(reference.parent, "sample,case\na,p\n")
    assert manifest_beside(reference) == ours


# whose the cases are


def patients_of(folders, **tables: Path) -> list[str]:
    return [case.patient for case in evaluate_predictions(*folders, jobs=1, **tables).cases]


def write_table(folder: Path, text: str) -> Path:
    (folder / "patients.csv").write_text(text)
    return folder / "patients.csv"


def test_a_table_of_patients_says_which_cases_are_of_one(folders, tmp_path):
    assert patients_of(folders, patients=write_table(tmp_path, "case,patient\na,Doe\nc,Doe\nb,Roe\n")) == [
        "Doe",
        "Roe",
        "Doe",
    ]


def test_a_patient_of_the_name_of_an_unlisted_case_is_somebody_else(folders, tmp_path):
    table = write_table(tmp_path, "case,patient\na,b\nc,b\n")
    assert patients_of(folders, patients=table) == ["b", "b (unlisted)", "b"]


def test_a_table_of_patients_may_name_the_scans_of_the_manifest(folders, tmp_path):
    manifest = write_manifest(tmp_path, "sample,case\na,s\nb,s\nc,t\n")
    table = write_table(tmp_path, "case,patient\ns,Doe\nt,Doe\n")
    assert patients_of(folders, manifest=manifest) == ["s", "s", "t"]
    assert patients_of(folders, manifest=manifest, patients=table) == ["Doe"] * 3
    assert patients_of(folders, manifest=manifest, patients=write_table(tmp_path, "case,patient\nt,Doe\n")) == [
        "s",
        "s",
        "Doe",
    ]


def pinned(*rows: str) -> str:
    """A manifest of tumorgen as far as it matters here."""
    return "sample,case,source_image_sha256,patient,source_fingerprint\n" + "".join(f"{row}\n" for row in rows)


def test_scans_that_are_one_ct_or_of_one_patient_are_one_patient(folders, tmp_path):
    copies = write_manifest(tmp_path, pinned("a,0001,x,,f", "b,ircadb,y,,f", "c,other,z,,g"))
    assert patients_of(folders, manifest=copies) == ["0001", "0001", "other"]
    table = write_table(tmp_path, "case,patient\nircadb,Doe\nother,Doe\n")
    assert patients_of(folders, manifest=copies, patients=table) == ["Doe"] * 3
    named = write_manifest(tmp_path, pinned("a,s,x,s,f", "b,t,y,s,g", "c,u,z,,h"))
    assert patients_of(folders, manifest=named) == ["s", "s", "u"]
    earlier = write_manifest(tmp_path, "sample,case,source_image_sha256\na,s,x\nb,t,x\nc,u,z\n")
    assert patients_of(folders, manifest=earlier) == ["s", "s", "u"]


def test_other_columns_of_somebody_elses_table_are_not_read(folders, tmp_path):
    manifest = write_manifest(tmp_path, "sample,case,patient\na,s,x\nb,t,x\nc,x,y\n")
    assert patients_of(folders, manifest=manifest) == ["s", "t", "x"]


def test_a_table_of_patients_is_no_manifest_and_the_reverse(folders, tmp_path):
    table = write_table(tmp_path, "case,patient\na,Doe\n")
    with pytest.raises(TumorgenError, match=r"is a table of patients, not of samples; give it as --patients"):
        patients_of(folders, manifest=table)
    with pytest.raises(TumorgenError, match=r"has a column `sample`; a table of patients has the columns case"):
        patients_of(folders, patients=write_manifest(tmp_path, "sample,case\na,Doe\n"))


@pytest.fixture
def numbered(tmp_path: Path) -> tuple[Path, Path]:
    """Six cases of three patients, two each: 098 to 103."""
    predictions, reference = tmp_path / "predictions", tmp_path / "labels"
    for number in range(98, 104):
        write(reference / f"{number:03d}.nii.gz", labels(LARGE))
        write(predictions / f"{number:03d}.nii.gz", labels(LARGE))
    return predictions, reference


@pytest.mark.parametrize(("option", "columns"), [("--manifest", "sample,case"), ("--patients", "case,patient")])
def test_zeros_that_a_spreadsheet_took_away_are_told_everywhere(numbered, tmp_path, option, columns):
    table = tmp_path / "table.csv"
    table.write_text(f"{columns}\n" + "".join(f"{number},P{number // 2}\n" for number in range(98, 103)) + "7,P1\n")
    result = call(*numbered, option, str(table), "--output", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    notes = [
        f"{table}: has 2 of 6 cases but for leading zeros: 098 as 98 and 099 as 99; as long as names differ, each is a"
        " patient of its own",
        f"{table}: does not list 1 of 6 cases, each a patient of its own: 103",
        f"{table}: 1 row of no case: 7",
    ]
    told = result.stdout.splitlines()
    assert told[0] == f"5 patients, as {table} says"
    assert told[1:4] == [f"note: {note}" for note in notes]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["notes"] == notes
    assert summary["names"] == [
        {
            "table": str(table),
            "cases": 6,
            "alike": [
                {"case": "098", "listed": "98", "but_for": "leading zeros"},
                {"case": "099", "listed": "99", "but_for": "leading zeros"},
            ],
            "unlisted": ["103"],
            "unmatched": ["7"],
            "respelled": [],
        }
    ]
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(note in page for note in notes)


def test_a_table_of_file_names_is_refused_with_what_they_differ_in(numbered, tmp_path):
    table = write_table(tmp_path, "case,patient\n" + "".join(f"{n:03d}.nii.gz,P\n" for n in range(98, 104)))
    result = call(*numbered, "--patients", str(table))
    assert result.exit_code == 1
    assert "has 6 of 6 cases but for the file's ending: 098 as 098.nii.gz, 099 as 099.nii.gz, " in result.stderr
    assert result.stderr.endswith("; write the names as they are\n")


def test_both_tables_are_named(folders, tmp_path):
    manifest = write_manifest(tmp_path, "sample,case\na,s\nb,s\nc,t\n")
    table = write_table(tmp_path, "case,patient\ns,Doe\nt,Doe\n")
    result = call(*folders, "--manifest", str(manifest), "--patients", str(table), "--output", str(tmp_path / "out"))
    assert result.stdout.startswith(f"1 patient, as {table} and {manifest} say\n\n")
    assert "(as patients.csv and manifest.csv say)" in (tmp_path / "out" / "report.html").read_text()


# the command


def call(predictions: Path, reference: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["evaluate", str(predictions), str(reference), "--jobs", "1", *options])


def test_command_writes_tables_and_tells_the_figures(folders, tmp_path):
    result = call(*folders, "--output", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    rows = {line[:28].strip(): line[28:].split() for line in result.stdout.splitlines()}
    assert rows["liver DSC"] == ["1.000", "1.000", "to", "1.000", "3"]
    assert rows["false positives per scan"][0] == "0.333"
    assert rows["found, any overlap"][0] == "0.750"
    assert rows["found, any overlap, <5 mm"][0] == "0.500"
    assert rows["found, any overlap, >20 mm"] == ["-", "-", "to", "-", "0"]
    assert rows["specificity"][0] == "0.000"
    assert "3 patients, each case counted as one" in result.stdout
    assert f"3 cases scored, 0 faults; look at {tmp_path / 'out' / 'report.html'}" in result.stdout
    assert len(read_evaluation(tmp_path / "out").cases) == 3
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["cases"]["scored"] == 3


def test_command_fails_if_a_case_has_a_fault_and_writes_the_rest(folders, tmp_path):
    (folders[0] / "a.nii.gz").unlink()
    cut_off(folders[0] / "b.nii.gz")
    result = call(*folders, "--output", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "missing_prediction: a: " in result.stderr
    assert "unreadable: b: " in result.stderr
    assert "1 case scored, 2 faults" in result.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["cases"]["missing_prediction"] == summary["cases"]["unreadable"] == summary["cases"]["scored"] == 1
    assert summary["means"]["liver_dsc"]["count"] == 1


def test_command_has_no_table_of_nothing(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("tumorgen.figures.write_report", lambda *_, **__: None)
    for name in "abc":
        (folders[0] / f"{name}.nii.gz").rename(folders[0] / f"{name}{name}.nii.gz")
    result = call(*folders, "--compare", str(folders[1]), "--output", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "no case is scored, so there are no figures" in result.stdout
    assert "so there are no differences" in result.stdout
    assert "liver DSC" not in result.stdout
    quiet = call(*folders, "-q", "--output", str(tmp_path / "out"))
    assert quiet.output.splitlines()[-1] == "cases with a fault are left out of all figures"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("report.html", "<title>Evaluation of my lab</title>"),
        ("cases.csv", "case,patient\na,p\n"),
        ("lesions.csv", "case,lesion,radius_mm\n"),
        ("summary.json", '{"specificity": 1}'),
        ("compared/cases.csv", "case,patient\n"),
    ],
)
def test_command_leaves_files_of_others_alone(folders, tmp_path, name, text):
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    result = call(*folders, "--output", str(tmp_path / "out"))
    assert result.exit_code == 1
    refused = f"Error: {file}: was not written by this command, and stays as it is; choose another --output\n"
    assert result.output == refused
    assert file.read_text() == text
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [file]


def test_command_writes_its_files_anew_even_where_a_run_was_killed_before_its_page(folders, tmp_path):
    """Though nothing could be scored."""
    out = tmp_path / "out"
    for name in "abc":
        (folders[0] / f"{name}.nii.gz").rename(folders[0] / f"{name}{name}.nii.gz")
    for number in range(3):
        result = call(*folders, "--compare", str(folders[1]), "--output", str(out))
        assert "0 cases scored" in result.stdout
        if number:
            (out / "report.html").unlink()


def test_faults_of_one_reason_share_a_line(folders, tmp_path):
    for name in "defgh":
        (folders[1] / f"{name}.nii.gz").write_bytes((folders[1] / "a.nii.gz").read_bytes())
    result = call(*folders, "--output", str(tmp_path / "out"))
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("missing_prediction")]
    assert line == "missing_prediction: d, e, f and 2 more (5): there is no prediction of this name"
    assert "3 cases scored, 5 faults" in result.stdout


def test_what_rounds_to_nothing_has_no_sign(capsys):
    _print_row("difference", ConfidenceInterval(-0.0001, -0.0004, -0.2, 3))
    assert capsys.readouterr().out.split()[1:5] == ["0.000", "0.000", "to", "-0.200"]


def test_command_names_no_folder_that_was_not_typed(folders, tmp_path, monkeypatch):
    predictions, reference = folders
    (reference.parent / "manifest.csv").write_text("sample,case\na,p\nb,p\nc,p\n")
    for folder, typed in ((tmp_path, (predictions.name, reference.name)), (reference, (predictions, "."))):
        monkeypatch.chdir(folder)
        assert call(*map(str, typed), "--output", str(tmp_path / "out")).exit_code == 0
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert summary["manifest"] == ("manifest.csv" if folder == tmp_path else "../manifest.csv")
        assert summary["names"][0]["table"] == summary["manifest"]


def test_command_takes_the_manifest_beside_the_labels(folders, tmp_path):
    write_manifest(folders[1].parent, "sample,case\na,p\nb,p\nc,p\n")
    result = call(*folders, "--output", str(tmp_path / "out"))
    assert f"1 patient, as {folders[1].parent / 'manifest.csv'} says" in result.stdout


def test_command_compares(folders, tmp_path):
    result = call(folders[1], folders[1], "--compare", str(folders[0]), "--output", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("found, IoU > 0.5") and "0.250" in line]
    assert line.split()[-2:] == ["4", "1"]  # lesions; one difference that is not 0 proves nothing
    assert "\nlabelsTs minus predictions:\n" in result.stdout
    assert only(read_evaluation(tmp_path / "out" / "compared"), "b").detected_any == 1


def test_tables_of_the_other_model_go_when_nothing_is_compared_any_more(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("tumorgen.figures.write_report", lambda *_, **__: None)
    out = tmp_path / "out"
    call(folders[1], folders[1], "--compare", str(folders[0]), "--output", str(out))
    assert sorted(path.name for path in (out / "compared").iterdir()) == ["cases.csv", "lesions.csv"]
    assert call(folders[1], folders[1], "--output", str(out)).exit_code == 0
    assert json.loads((out / "summary.json").read_text())["compare"] is None
    assert not (out / "compared").exists()


def test_what_others_have_put_beside_the_tables_of_the_other_model_stays(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("tumorgen.figures.write_report", lambda *_, **__: None)
    out = tmp_path / "out"
    call(folders[1], folders[1], "--compare", str(folders[0]), "--output", str(out))
    (out / "compared" / "notes.txt").write_text("mine")
    call(folders[1], folders[1], "--output", str(out))
    assert [path.name for path in (out / "compared").iterdir()] == ["notes.txt"]
    call(*folders, "--output", str(out / "compared"))
    of_its_own = read_evaluation(out / "compared")
    call(folders[1], folders[1], "--output", str(out))
    assert repr(read_evaluation(out / "compared")) == repr(of_its_own)


def test_a_fault_of_the_other_is_told_too(folders, tmp_path):
    (folders[0] / "a.nii.gz").unlink()
    result = call(folders[1], folders[1], "--compare", str(folders[0]), "--output", str(tmp_path / "out"), "--json")
    assert result.exit_code == 1
    assert f"missing_prediction in {folders[0].name}: a: " in result.stderr  # the first model has it
    assert [fault["model"] for fault in json.loads(result.stdout)["faults"]] == [folders[0].name]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["compare"]["liver_dsc"]["n"] == 2


@pytest.mark.parametrize("options", [["--tolerance", "-1"], ["--manifest", "nowhere.csv"], ["--jobs", "0"]])
def test_command_typed_wrongly(folders, options):
    assert call(*folders, *options).exit_code == 2


def test_an_empty_folder_is_told(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    result = call(tmp_path / "empty", folders[1])
    assert result.exit_code == 1
    assert "no volumes in it" in result.stderr
