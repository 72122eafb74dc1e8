"""Scans that somebody has marked failed in the table of scans, though they have masks, are left out: nothing failed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from phantoms import write_balls

from tumorgen.cli import main
from tumorgen.tables.scans import ScanRow, read_scans, write_scans

TABLE = Path("manifests") / "scans.csv"
LEFT_OUT = "left out: ball_1: marked failed in the table of scans, though it has a mask\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with two scans in the table of scans."""
    monkeypatch.chdir(write_balls(tmp_path, 2, "ball"))
    files = [(f"ball_{n}", f"images/ball_{n}.nii.gz", f"masks/ball_{n}.nii.gz") for n in range(2)]
    write_scans([ScanRow(case=case, image=image, mask=mask, status="ok") for case, image, mask in files], TABLE)
    return tmp_path


def exclude(case: str) -> None:
    """Mark a scan failed, as a person would."""
    write_scans([replace(row, status="failed") if row.case == case else row for row in read_scans(TABLE)], TABLE)


def test_synth_leaves_it_out_and_says_what_of_it_is_there(folder):
    command = ["synth", "--recipe", "turing", "--per-scan", "1", "--output", "raw", "--jobs", "1"]
    assert CliRunner().invoke(main, command).exit_code == 0
    exclude("ball_1")
    result = CliRunner().invoke(main, command)
    assert (result.exit_code, LEFT_OUT in result.stdout) == (0, True)
    assert "1 sample in the dataset, of 1 other scan, not of those given; `tumorgen remove`" in result.stdout


def test_healthy_leaves_it_out(folder):
    exclude("ball_1")
    result = CliRunner().invoke(main, ["healthy", "--output", "raw", "--jobs", "1"])
    assert (result.exit_code, LEFT_OUT in result.stdout) == (0, True)
    assert "1 healthy scan, 1 written now" in result.stdout
