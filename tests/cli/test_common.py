"""What commands say when they are done."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tumorgen.cli.common import note_renamed, report_left_out
from tumorgen.cli.options import NewDataset, Scans
from tumorgen.dataset import TEST, Dataset
from tumorgen.imaging import case_name
from tumorgen.liver import MaskReport
from tumorgen.tables import ScanRow
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
    files_too = (
        "tables keep the names of files as they are, so rename files that are called after patients before you go on"
    )
    assert capsys.readouterr().out == (f"note: {rule}: {said}; {files_too}\n" if said else "")


def test_a_scan_that_lies_in_a_folder_of_its_own_is_not_renamed(capsys):
    note_renamed({"s0001": Path("s0001", "ct.nii.gz")})
    assert not capsys.readouterr().out


def test_who_takes_scans_of_folders_tells(capsys, tmp_path):
    for folder in ("ct", "livers"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "b c.nii.gz").touch()
    Scans(tmp_path / "ct", tmp_path / "livers").sources()
    assert "b c.nii.gz is case b-c" in capsys.readouterr().out


APART = Path("p q")  # a folder that a shell takes for two
NEW = APART / "Dataset501_SynthLiver"
LIVER = ScanRow(case="a", image="a.nii", mask="m.nii", status="ok")
TESTED = SimpleNamespace(dataset=Dataset(NEW), entries=[Entry("a_v0", "a", 0, 0, "", "")], records=(), notes=(), made=1)
PLANNED = SimpleNamespace(cells=(), worst=1, unscored=0, records=("a row",))


def module(name: str) -> Any:
    """The module of a command; in its package its name is the command."""
    return importlib.import_module(f"tumorgen.cli.{name}")


@pytest.mark.parametrize(
    ("say", "line"),
    [
        (lambda: NewDataset(None, 501, "SynthLiver").say_next(NEW), f"tumorgen verify '{NEW}'"),
        (lambda: module("synth")._print_next_steps(TESTED, None, SimpleNamespace(count=2)), f"tumorgen merge '{NEW}'"),
        (lambda: module("merge")._print_next_steps(Dataset(NEW, TEST)), f"tumorgen verify '{NEW}'"),
        (
            lambda: module("liver_mask")._print_report(
                MaskReport((LIVER,), 1, (), (), ()), APART, APART / "scans.csv", 1.0, ()
            ),
            f"tumorgen synth --per-scan 20 --scans '{APART}/scans.csv'",
        ),
        (
            lambda: module("robustness")._print_report(TESTED, 1.0),
            f"tumorgen evaluate predictions '{NEW}/labelsTr' --manifest '{NEW}/manifest.csv'",
        ),
        (
            lambda: module("robustness")._print_report(TESTED, 1.0),
            f"nnUNetv2_predict -i '{NEW}/imagesTr' -o predictions -d 501 -c 3d_fullres -f 0",
        ),
        (
            lambda: module("worst")._print_cells(PLANNED, APART / "worst.csv"),
            f"tumorgen synth --from-manifest '{APART}/worst.csv' --dataset-id 503 --name Worst",
        ),
    ],
)
def test_lines_to_be_copied_into_a_shell_quote_their_paths(capsys, say: Callable[[], None], line: str):
    say()
    assert f"  {line}\n" in capsys.readouterr().out
