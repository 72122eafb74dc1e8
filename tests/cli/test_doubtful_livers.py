"""Masks that hardly are of a liver: a note of each command that takes them, unless liver-mask's table says it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.imaging import fingerprint_ct
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import read_volume, write_volume
from tumorgen.tables.scans import ScanRow, write_scans

SCANS = ("--images", "ct", "--masks", "livers")
SCANS_TABLE = Path("manifests/scans.csv")
COMMANDS = ("synth", "healthy", "robustness")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    volume, liver = ball_volume((8.0, 8.0, 8.0))
    for case in ("small", "whole"):
        write_volume(volume, Path("ct") / f"{case}.nii.gz")
        write_volume(Volume(liver, volume.geometry), Path("livers") / f"{case}.nii.gz")
    half = liver & (np.arange(liver.shape[2]) < liver.shape[2] // 2)  # of 905 ml
    write_volume(Volume(half, volume.geometry), Path("livers/small.nii.gz"))


def run(name: str, *scans: str) -> Result:
    few = ("--per-scan", "1", "--sizes", "tiny", "--recipe", "paper") if name == "synth" else ()
    few = ("--levels", "size=8") if name == "robustness" else few
    return CliRunner().invoke(main, [name, *scans, *few, "--output", "out", "--jobs", "1"])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_liver_that_is_too_small_is_noted(name):
    done = run(name, *SCANS)
    assert done.exit_code == 0, done.output
    (note,) = [line for line in done.stdout.splitlines() if "is it the liver, and is the spacing right?" in line]
    assert "small" in note
    assert "whole" not in note
    assert "less than 500" in note
    if name != "healthy":
        with next(Path("out").glob("*/manifest.csv")).open(newline="") as file:
            noted = {row["case"]: "volume_low" in row["notes"].split() for row in csv.DictReader(file)}
        assert noted == {"small": True, "whole": False}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_the_table_of_scans_says_is_not_said_twice(name):
    files = {"image": "ct/small.nii.gz", "mask": "livers/small.nii.gz"}
    fingerprint = fingerprint_ct(read_volume(Path("ct/small.nii.gz")).array)
    write_scans([ScanRow(case="small", **files, status="ok", source_fingerprint=fingerprint)], SCANS_TABLE)
    done = run(name)
    assert done.exit_code == 0, done.output
    assert "is it the liver" not in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_a_mask_that_is_none_of_a_liver_is_refused(name):
    volume, _ = ball_volume((8.0, 8.0, 8.0), noise_sd=250.0)
    for case in ("small", "whole"):
        write_volume(volume, Path("ct") / f"{case}.nii.gz")
    done = run(name, *SCANS)
    assert done.exit_code == 1
    assert "standard deviation in the liver mask is" in done.stderr
    assert not list(Path("out").rglob("*.nii.gz"))
