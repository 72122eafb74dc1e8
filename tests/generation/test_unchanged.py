"""Scans whose samples are all there are compared with what the samples were made of, and read only if they must be."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from phantoms import ball_volume, write_balls

from tumorgen.cli import main
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import read_volume, write_volume
from tumorgen.liver.masks import mask_scans
from tumorgen.tables import sources
from tumorgen.tables.scans import read_scans, write_scans

SPACING = (6.0, 4.0, 4.0)
IMAGES = {case: Path("images") / f"{case}.nii.gz" for case in ("liver_0", "liver_1")}
SYNTH = ("synth", "--per-scan", "2", "--sizes", "tiny", "--jobs", "1")
FOLDERS = ("--images", "images", "--masks", "livers")


def synth(*words: str) -> Result:
    return CliRunner().invoke(main, [*SYNTH, *words])


def find_livers() -> None:
    """As `liver-mask` does: what is in `livers` stays."""
    livers = iter([read_volume(Path("masks") / path.name).array > 0 for path in IMAGES.values()])
    mask_scans(IMAGES, Path("livers"), lambda: lambda _: next(livers))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two scans, their masks, the table of scans, and a dataset with all samples that were asked for."""
    write_balls(tmp_path, 2, "liver", SPACING)
    monkeypatch.chdir(tmp_path)
    find_livers()
    assert synth().exit_code == 0
    return tmp_path


def correct_mask() -> None:
    mask = read_volume(Path("livers/liver_1.nii.gz"))
    less = mask.array.copy()
    less[: int(np.flatnonzero(less.any((1, 2)))[0]) + 2] = 0
    write_volume(Volume(less, mask.geometry), Path("livers/liver_1.nii.gz"))


def replace_scan() -> None:
    volume, _ = ball_volume(SPACING, seed=99)
    write_volume(volume, IMAGES["liver_1"])


@pytest.mark.parametrize("listed", [True, False], ids=["and liver-mask was run again", "and it was not"])
@pytest.mark.parametrize("change", [correct_mask, replace_scan])
def test_a_scan_that_has_changed_is_refused_though_nothing_is_missing(
    project: Path, change: Callable[[], None], listed: bool
) -> None:
    change()
    if listed:
        find_livers()
    result = synth()
    assert result.exit_code == 1
    (failed,) = [line for line in result.stderr.splitlines() if line.startswith("failed: ")]
    assert failed.startswith("failed: liver_1: ")
    assert "has changed since the dataset was begun" in failed or "is another scan than the one" in failed
    assert "4 were there" in result.stdout
    grown = synth("--per-scan", "3")  # of which samples are missing, it is the same line
    assert failed in grown.stderr


def test_what_the_line_says_makes_its_samples_anew(project: Path) -> None:
    correct_mask()
    find_livers()
    said = re.search("`tumorgen (remove [^`]+)`", synth().stderr)
    removed = CliRunner().invoke(main, shlex.split(said[1] if said else ""))
    assert removed.exit_code == 0, removed.output
    assert "liver_1: 2 samples removed" in removed.output
    again = synth()
    assert again.exit_code == 0, again.output
    assert "2 made" in again.stdout
    assert CliRunner().invoke(main, ["verify", "501", "--jobs", "1"]).exit_code == 0


def test_one_that_has_not_is_not_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "load_scan", None)
    result = synth()
    assert (result.exit_code, result.stderr) == (0, "")
    assert "not read" not in result.stdout


def test_files_that_are_only_younger_are_read_and_no_failure(project: Path) -> None:
    for path in (IMAGES["liver_0"], Path("livers/liver_1.nii.gz")):
        os.utime(path, ns=(1, 1))
    result = synth()
    assert result.exit_code == 0, result.output
    assert "not read" not in result.stdout
    find_livers()
    assert all(row.source_mask_sha256 for row in read_scans())


@pytest.mark.parametrize("words", [FOLDERS, ()], ids=["no table", "a table of an earlier version"])
def test_it_is_said_of_scans_that_no_table_can_tell_of(project: Path, words: tuple[str, ...]) -> None:
    write_scans([replace(row, source_mask_sha256="") for row in read_scans()])
    result = synth(*words)
    assert result.exit_code == 0, result.output
    said = "2 scans whose samples are all there were not read: `tumorgen verify nnUNet_raw/Dataset501_SynthLiver` finds"
    assert said in result.output
    assert "not read" not in synth(*words, "--per-scan", "3").output


def test_it_is_said_where_rows_are_rendered(project: Path) -> None:
    for words in (
        (*SYNTH[-2:], "--from-manifest", "manifests/Dataset501_SynthLiver.csv", "--dataset-id", "503"),
        ("manifests/Dataset501_SynthLiver.csv", "--output", "again"),
    ):
        command = ["replay" if "--output" in words else "synth", *words]
        first, second = (CliRunner().invoke(main, command) for _ in range(2))
        assert first.exit_code == second.exit_code == 0, second.output
        assert "not read" not in first.output
        assert "2 scans whose samples are all there were not read: `tumorgen verify " in second.output
