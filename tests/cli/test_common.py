"""What commands say when they are done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tumorgen.cli.common import note_renamed, report_left_out
from tumorgen.cli.options import Scans
from tumorgen.imaging import case_name
from tumorgen.tables.entries import Entry


@pytest.mark.parametrize(
    ("left_out", "placed", "said"),
    [
        ([1], [0], "1 tumour was left out, ...; 1 sample has no tumour at all for that"),
        ([2, 3, 0], [0, 0, 4], "5 tumours were left out, ...; 2 samples have no tumour at all for that"),
        ([2, 0], [1, 0], "2 tumours were left out, ..."),
        ([0, 0], [0, 3], ""),
    ],
)
def test_it_is_said_what_slices_were_too_thick_for(capsys, left_out, placed, said):
    pairs = enumerate(zip(left_out, placed, strict=True))
    report_left_out(
        Entry(f"a_v{n}", "a", n, 0, "", "", tumors_without_voxel=without, tumors_placed=there)
        for n, (without, there) in pairs
    )
    why = "too small for the slices to fill half a voxel (tumors_without_voxel in manifest.csv)"
    assert capsys.readouterr().out == (f"note: {said.replace('...', why)}\n" if said else "")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a.nii.gz", "b_0000.nii.gz", "c.1.nrrd"], ""),
        (["Müller Otto 1_0000.nii.gz", "a.nii.gz"], "Müller Otto 1_0000.nii.gz is case M-ller-Otto-1"),
        (["a\x1b[1m.mha", "con.nii"], "a\\x1b[1m.mha is case a-1m and con.nii is case case-con"),
        ([f"{n} .nii" for n in range(9)], "0 .nii is case 0, 1 .nii is case 1, 2 .nii is case 2 and 6 more"),
    ],
)
def test_a_case_that_has_not_the_name_of_its_file_is_told(capsys, files, said):
    note_renamed({case_name(Path(file)): Path("ct", file) for file in files})
    rule = "names of cases keep letters a to z, digits, `.`, `_` and `-` alone"
    assert capsys.readouterr().out == (f"note: {rule}: {said}\n" if said else "")


def test_a_scan_that_lies_in_a_folder_of_its_own_is_not_renamed(capsys):
    note_renamed({"s0001": Path("s0001", "ct.nii.gz")})
    assert not capsys.readouterr().out


def test_who_takes_scans_of_folders_tells(capsys, tmp_path):
    for folder in ("ct", "livers"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "b c.nii.gz").touch()
    Scans(tmp_path / "ct", tmp_path / "livers").sources()
    assert "b c.nii.gz is case b-c" in capsys.readouterr().out
