"""cases.csv and lesions.csv: what was written reads back the same."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from tumorgen.errors import TumorgenError
from tumorgen.evaluation.scores import (
    CASES,
    LESIONS,
    CaseScore,
    Evaluation,
    LesionScore,
    radius_bin,
    read_evaluation,
    write_evaluation,
)

MANIFESTS = Path(__file__).parents[2] / "manifests"
CASE = CaseScore(
    case="001",
    patient="NA",
    dimension="size",
    level="1e3",
    reference_file='a, "b"/001.nii.gz',
    prediction_file="p/001.nii",
    liver_dsc=0.1 + 0.2,
    liver_nsd=1 / 3,
    reference_tumor_mm3=1e-7,
    predicted_tumor_mm3=12345.678,
    lesions=3,
    detected_any=2,
    detected_iou=1,
    false_positives=4,
)
FAULTY = CaseScore(case="002", patient="002", status="unreadable", reason="cut off,\nhere")
LESION = LesionScore(
    case="001",
    patient="NA",
    kind="reference",
    lesion=1,
    volume_mm3=4.0,
    radius_mm=0.98,
    radius_bin="<5",
    center_x_mm=-1.5,
    center_y_mm=2.0,
    center_z_mm=-0.0,
    detected_any=True,
    iou=0.5,
    dsc=2 / 3,
)
FOUND = Evaluation((CASE, FAULTY), (LESION,))


def test_what_is_written_reads_back(tmp_path):
    """To the same bits; compared by repr, since nan is not itself."""
    write_evaluation(FOUND, tmp_path)
    assert repr(read_evaluation(tmp_path)) == repr(FOUND)
    assert math.isnan(read_evaluation(tmp_path).cases[0].tumor_dsc)


def test_nothing_reads_back(tmp_path):
    write_evaluation(Evaluation((), ()), tmp_path)
    assert read_evaluation(tmp_path) == Evaluation((), ())


def test_frictionless_accepts_the_tables(tmp_path):
    frictionless = pytest.importorskip("frictionless")
    write_evaluation(FOUND, tmp_path)
    for name in ("cases", "lesions"):
        descriptor = json.loads((MANIFESTS / f"{name}.schema.json").read_text())
        descriptor.pop("foreignKeys", None)
        schema = frictionless.Schema.from_descriptor(descriptor)
        report = frictionless.Resource(path=f"{name}.csv", basepath=str(tmp_path), schema=schema).validate()
        assert report.valid, report.flatten(["rowNumber", "fieldName", "type", "message"])


@pytest.mark.parametrize(
    ("radius_mm", "expected"),
    [(0.0, "<5"), (4.999, "<5"), (5.0, "5-10"), (10.0, "10-20"), (20.0, "10-20"), (20.001, ">20"), (44.0, ">20")],
)
def test_bins_are_what_their_names_say(radius_mm, expected):
    assert radius_bin(radius_mm) == expected


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        (CASES, "scored", "fine", "unknown status 'fine'"),
        (CASES, "002", "001", "cases.csv:3: case '001' is there twice"),
        (CASES, ",3,2,1,4", ",three,2,1,4", "column lesions: 'three' is not of type int"),
        (CASES, ",3,2,1,4", ",3,2,1", "not as many cells as columns"),
        (CASES, "liver_nsd", "liver", "columns missing: liver_nsd"),
        (LESIONS, "reference", "other", "unknown kind 'other'"),
        (LESIONS, "<5", "small", "unknown radius_bin 'small'"),
        (LESIONS, "001", "003", "case '003' is not in cases.csv"),
        (LESIONS, "true", "yes", "column detected_any: 'yes' is not of type bool"),
    ],
)
def test_a_table_that_is_wrong_is_told_with_its_place(tmp_path, file, old, new, reason):
    write_evaluation(FOUND, tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    with pytest.raises(TumorgenError, match=file) as error:
        read_evaluation(tmp_path)
    assert reason in str(error.value)


def test_tables_that_are_not_there(tmp_path):
    with pytest.raises(TumorgenError, match=r"cases\.csv: no such file$"):
        read_evaluation(tmp_path)


def test_scores_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CASE.lesions = 5
