"""The table of scans: lossless, merged by case, and strict about what users may have typed into it."""

import csv
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorgen.errors import TumorgenError
from tumorgen.fields import columns
from tumorgen.tables.scans import STATUSES, ScanRow, forget_scans, read_scans, record_scans, write_scans

ROW = ScanRow(
    case="001",
    image="/data/001.nii.gz",
    mask="/masks/001.nii.gz",
    shape_z=58,
    shape_y=326,
    shape_x=386,
    spacing_z_mm=3.27,
    spacing_y_mm=0.9765625,
    spacing_x_mm=0.9765625,
    liver_ml=1511.2,
    hu_mean=61.3,
    hu_sd=21.0,
    status="check",
    flags="cut_by_edge;hu_low",
    reason='the mask reaches the edge (top, left); "odd", isn\'t it',
)
FAILED = ScanRow(case="NA", image="/data/NA.nii", status="failed", reason="truncated")


def test_columns_are_those_that_the_manifest_promises():
    assert (
        *("case", "image", "mask", "shape_z", "shape_y", "shape_x", "spacing_z_mm", "spacing_y_mm", "spacing_x_mm"),
        *("liver_ml", "hu_mean", "hu_sd", "status", "flags", "reason", "source", "study"),
        *("trusted_form", "source_fingerprint", "mask_fingerprint", "source_mask_sha256", "files_seen"),
    ) == columns(ScanRow)


def test_rows_round_trip_and_are_ordered_by_case(tmp_path):
    write_scans([FAILED, ROW], tmp_path / "manifests" / "scans.csv")
    assert read_scans(tmp_path / "manifests" / "scans.csv") == [ROW, FAILED]


number = st.none() | st.floats(allow_nan=False, allow_infinity=False)
line = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]) | st.sampled_from(',"; '), max_size=30)


@given(hu=number, size=st.none() | st.integers(1, 4096), text=line.map(str.strip), status=st.sampled_from(STATUSES))
def test_any_row_round_trips(tmp_path_factory, hu, size, text, status):
    row = replace(ROW, hu_mean=hu, shape_z=size, reason=text, status=status)
    path = tmp_path_factory.mktemp("table") / "scans.csv"
    write_scans([row], path)
    assert read_scans(path) == [row]


def test_a_row_replaces_the_one_of_its_case_and_no_other(tmp_path):
    path = tmp_path / "scans.csv"
    record_scans([ROW], path)
    record_scans([FAILED], path)
    record_scans([replace(ROW, status="ok")], path)
    assert read_scans(path) == [replace(ROW, status="ok"), FAILED]


def test_columns_that_somebody_has_added_stay_behind_ours_as_long_as_their_rows(tmp_path):
    path = tmp_path / "scans.csv"
    path.write_text("seen by,case,image,mask,status,cohort,\nAnn,a,/a,/m,check,'=1,\n,b,/b,/m,ok,x,\nEve,c,/c,/m,ok\n")
    record_scans([ScanRow(case="A", image="/a", mask="/n", status="ok"), FAILED], path)
    forget_scans(["b"], path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == (*columns(ScanRow), "seen by", "cohort")
    added = [(row["case"], row["mask"], row["seen by"], row["cohort"]) for row in rows]
    assert added == [("A", "/n", "Ann", "'=1"), ("NA", "", "", ""), ("c", "/m", "Eve", "")]


def test_a_table_written_by_hand_needs_four_columns(tmp_path):
    path = tmp_path / "scans.csv"
    path.write_text("\ufeffcase,image,mask,status,mine\r\na,/a.nii,/m.nii,ok,whatever\r\n", encoding="utf-8")
    assert read_scans(path) == [ScanRow(case="a", image="/a.nii", mask="/m.nii", status="ok")]


def test_a_missing_table_says_where_it_comes_from(tmp_path):
    with pytest.raises(
        TumorgenError, match=r"scans\.csv: no such file; run `tumorgen liver-mask in/ out/` first or give"
    ):
        read_scans(tmp_path / "scans.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns missing: case, image, mask, status|columns missing: case, image, status"),
        ("case,image,mask\na,b,c\n", "columns missing: status"),
        (
            "case,image,mask,status,hu_mean\na,b,c,ok,warm\n",
            r"scans\.csv:2, column hu_mean: 'warm' is not of type float",
        ),
        ("case,image,mask,status,hu_mean\na,b,c,ok,nan\n", r"scans\.csv:2: hu_mean is nan; a finite number is needed"),
        ("case,image,mask,status,shape_z\na,b,c,ok,1.5\n", "column shape_z: '1.5' is not of type int"),
        ("case,image,mask,status\na,b,c,fine\n", "unknown status 'fine'; choose from ok, check, failed"),
        ("case,image,mask,status\na,b,c,ok\na,d,e,ok\n", r"scans\.csv:3: case 'a' is there twice"),
        ("case,image,mask,status\na,b\n", "not as many cells as columns"),
        ("case,image,mask,status\n../a,b,c,ok\n", "case '../a' is not safe as a file name"),
        ("case,image,mask,status\na,b,,ok\n", "case 'a' has no mask"),
        ('case,image,mask,status\n"a,b,c,ok\n', "not a CSV table"),
    ],
)
def test_bad_tables_get_one_line(tmp_path, text, message):
    path = tmp_path / "scans.csv"
    path.write_text(text)
    with pytest.raises(TumorgenError, match=message) as caught:
        read_scans(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("status", ["OK", "Ok", " ok "])
def test_a_table_as_a_spreadsheet_saves_it_is_read(tmp_path, status):
    """Capitals in the status, no separators behind the last cell, and rows of separators alone."""
    path = tmp_path / "scans.csv"
    write_scans([replace(ROW, status="ok", flags="", reason="")], path)
    header, row = path.read_text().splitlines()
    path.write_text(f"{header}\r\n{row.rstrip(',')[:-2]}{status}\r\n{',' * header.count(',')}\r\n", newline="")
    assert read_scans(path) == [replace(ROW, status="ok", flags="", reason="")]


def test_bytes_that_are_no_text_get_one_line(tmp_path):
    (tmp_path / "scans.csv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(TumorgenError, match="cannot be read as a CSV table"):
        read_scans(tmp_path / "scans.csv")


def test_a_failed_write_leaves_the_table_whole(tmp_path, monkeypatch):
    path = tmp_path / "scans.csv"
    write_scans([ROW], path)

    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TumorgenError, match="No space left"):
        record_scans([FAILED], path)
    monkeypatch.undo()
    assert read_scans(path) == [ROW]


def test_columns_of_the_file_are_the_fields(tmp_path):
    write_scans([ROW], tmp_path / "scans.csv")
    with (tmp_path / "scans.csv").open(newline="") as file:
        assert tuple(next(csv.reader(file))) == columns(ScanRow)
