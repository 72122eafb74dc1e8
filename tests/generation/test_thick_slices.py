"""Slices of 10 mm, too thick for the smallest tumours: what each command makes of them, and says."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import read_volume, write_volume
from tumorgen.method.labelled import least_radius_mm
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import load_scan
from tumorgen.method.settings import load_settings
from tumorgen.tables.manifest import Record, read_manifest, write_manifest
from tumorgen.wording import plural

SETTINGS = 'sizes = ["speck"]\n\n[classes.speck]\nradius_mm = 2.5\ncount = [2, 4]\nsigma_e_mm = [0.3, 0.8]\n'
SCANS = ("--images", "ct", "--masks", "masks")
SIZES = [part for name in ("location", "shape", "intensity", "texture") for part in ("--levels", f"{name}=")]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in (*arguments, "--jobs", 1)])


@pytest.fixture
def thick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    Path("settings.toml").write_text(SETTINGS)
    for case, spacing in (("thick", (10.0, 3.0, 3.0)), ("thin", (3.0, 3.0, 3.0))):
        volume, liver = ball_volume(spacing)
        write_volume(volume, Path("ct") / f"{case}.nii.gz")
        write_volume(Volume(liver, volume.geometry), Path("masks") / f"{case}.nii.gz")


def made_of_rows() -> Path:
    """A dataset as earlier versions made it: rendered from rows, some of whose tumours label no voxel."""
    scan = load_scan(Path("ct/thick.nii.gz"), Path("masks/thick.nii.gz"))
    plans = [draw_variant(scan, load_settings(Path("settings.toml")), 0, variant) for variant in range(3)]
    write_manifest([Record(plan, (None,) * len(plan.tumors), None) for plan in plans], Path("rows.csv"))
    done = command("replay", "rows.csv", *SCANS, "--output", "old")
    assert done.exit_code == 0, done.output
    assert "changed the image without labelling a voxel" in done.stdout
    return Path("old")


def test_synth_leaves_out_and_counts(thick):
    done = command(
        "synth", *SCANS, "--recipe", "turing", "--settings", "settings.toml", "--per-scan", 3, "--output", "out"
    )
    assert done.exit_code == 0, done.output
    folder = Path("out/Dataset501_SynthLiver")
    records = read_manifest(folder / "manifest.csv")
    without = sum(record.plan.tumors_without_voxel for record in records)
    assert without > 0
    assert f"note: {without} tumours were left out, too small for the slices to fill half a voxel" in done.stdout
    for record in records:
        plan = record.plan
        assert plan.case == "thick" or not plan.tumors_without_voxel
        assert len(plan.tumors) + plan.tumors_without_voxel == plan.tumors_requested
        assert all(outcome.volume_mm3 > 0 for outcome in record.outcomes)
        image = read_volume(folder / record.files.image_file).array
        changed = image != read_volume(Path("ct") / f"{plan.case}.nii.gz").array
        assert changed.any() == bool(plan.tumors)
    assert command("verify", folder, "--replays", -1).exit_code == 0
    assert command("replay", folder / "manifest.csv", "--output", "again").exit_code == 0
    for file in folder.rglob("*.nii.gz"):
        assert file.read_bytes() == (Path("again") / file.relative_to(folder)).read_bytes()


def test_a_level_that_a_scan_cannot_hold_is_left_out_of_a_benchmark(thick):
    run = ("robustness", *SCANS, *SIZES, "--levels", "size=2,16", "--output", "out")
    for done in (command(*run), command(*run)):  # the second time, too
        assert done.exit_code == 0, done.output
        assert "left out: thick variant 1: size 2: its tumour fills half of no voxel; voxels of 10 mm" in done.stdout
    folder = Path("out/Dataset504_Robustness")
    there = {(record.plan.case, record.dial.level) for record in read_manifest(folder / "manifest.csv")}
    assert there == {("thick", "healthy"), ("thick", "16"), ("thin", "healthy"), ("thin", "2"), ("thin", "16")}
    assert len(list((folder / "imagesTs").iterdir())) == 5
    assert command("verify", folder).exit_code == 0


def test_a_scan_is_healthy_only_where_the_manifest_says_so(thick):
    old = made_of_rows()
    with (old / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (old / "manifest.csv").open("w", newline="") as file:  # a fourth, of a scan without any tumour
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, {**rows[0], "sample": "control", "tumors_placed": "0"}])
    first = read_volume(old / "labelsTr/thick_v0000.nii.gz")
    empty = Volume(np.minimum(first.array, 1), first.geometry)
    for name in ("control", "thick_v0001"):  # of the second, no tumour has a voxel
        write_volume(empty, old / f"labelsTr/{name}.nii.gz")
    done = command("evaluate", old / "labelsTr", old / "labelsTr", "--manifest", old / "manifest.csv")
    assert done.exit_code == 0, done.output
    empty_ones = sum(not (read_volume(file).array == 2).any() for file in (old / "labelsTr").iterdir())
    assert (
        f"note: in {plural(empty_ones - 1, 'case')} the manifest lists tumours, and the reference has no voxel of any"
        in done.stdout
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("specificity")]
    assert line.split()[-1] == "1"  # the control alone


def test_rows_render_as_they_say_and_verify_tells(thick):
    done = command("verify", made_of_rows())
    assert done.exit_code == 0, done.output
    assert "changed the image without labelling a voxel" in done.stdout


def test_the_estimate_says_what_the_slices_hold(thick):
    Path("ct/thin.nii.gz").unlink()
    done = command("synth", *SCANS, "--estimate", "--output", "out")
    least = least_radius_mm((10.0, 3.0, 3.0))
    assert f"voxels of 10 mm hold tumours of about {least:g} mm radius and more" in done.stdout
