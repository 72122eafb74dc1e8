"""Scans whose header gives two places: refused, trusted one way, recorded, rendered again; in every command."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from nifti_files import write_placed
from nnunet_runs import threshold_model
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.imaging.reading import read_volume

SCANS = ("--images", "ct", "--masks", "masks")
DATASET = Path("out/Dataset501_SynthLiver")
QFORM = np.array([[-4, 0, 0, 70], [0, -4, 0, 70], [0, 0, 5, -70], [0, 0, 0, 1.0]])
SFORM = QFORM + np.array([[0, 0, 0, 10], [0, 0, 0, -5], [0, 0, 0, 3], [0, 0, 0, 0]])
FORMS = {"sform": SFORM, "qform": QFORM}
OPTIONS = ("--output", "out", "--sizes", "tiny", "--jobs", 1)


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)


def write_scan(mask_lies: str = "both", codes: tuple[int, int] = (2, 1)) -> None:
    """A CT of two places; its mask has both of them as well, or one alone, as nibabel writes it."""
    volume, liver = ball_volume((5.0, 4.0, 4.0))
    write_placed(volume.array, Path("ct/a.nii.gz"), **FORMS, codes=codes)
    alone = FORMS.get(mask_lies)
    places = FORMS if alone is None else {"sform": alone, "qform": alone}
    write_placed(liver.astype(np.uint8), Path("masks/a.nii.gz"), **places, codes=codes)


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def origin_of(file: Path) -> list[float]:
    return [round(value, 3) for value in read_volume(file).geometry.origin_mm]


@pytest.mark.parametrize("name", ["synth", "healthy", "robustness"])
def test_two_places_are_refused_in_one_line(here, capfd, name):
    write_scan()
    done = command(name, *SCANS, "--output", "out", "--jobs", 1)
    assert done.exit_code == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("failed: a: ")]
    assert (
        "put voxels up to 11.6 mm apart, neither mirrored; say which is right: --trust sform or --trust qform" in line
    )
    assert not list(Path("out").rglob("*.nii.gz"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "trust", "origin"),
    [
        ("synth", "qform", [-70, -70, -70]),
        ("healthy", "sform", [-80, -65, -67]),
        ("robustness", "sform", [-80, -65, -67]),
    ],
)
def test_samples_lie_where_the_trusted_place_is(here, name, trust, origin):
    write_scan()
    done = command(name, *SCANS, "--output", "out", "--jobs", 1, "--trust", trust)
    assert done.exit_code == 0, done.output
    files = list(Path("out").rglob("*.nii.gz"))
    assert files
    assert all(origin_of(file) == origin for file in files)


def test_a_mask_that_nibabel_has_written_fits_the_place_that_it_has(here):
    """It has the CT's sform alone: trusted, both agree; and where the other is trusted, they do not."""
    write_scan("sform")
    assert command("synth", *SCANS, *OPTIONS, "--per-scan", 1, "--trust", "sform").exit_code == 0
    other = command(
        "synth", *SCANS, *OPTIONS, "--per-scan", 1, "--trust", "qform", "--name", "Other", "--dataset-id", 9
    )
    assert other.exit_code == 1
    assert "corners lie up to 11.58 mm apart" in other.stderr


def test_a_run_goes_on_and_is_rendered_again_from_the_place_that_was_trusted(here):
    write_scan()
    chosen = ("synth", *SCANS, *OPTIONS, "--trust", "sform")
    assert command(*chosen, "--per-scan", 1).exit_code == 0
    assert {row["trusted_form"] for row in rows(DATASET / "manifest.csv")} == {"sform"}
    for count in (1, 2):
        other = command("synth", *SCANS, *OPTIONS, "--per-scan", count, "--trust", "qform")
        assert other.exit_code == 1
        assert "a was begun with --trust sform, not --trust qform" in other.stderr
    assert command(*chosen, "--per-scan", 2).exit_code == 0
    assert command("verify", DATASET, "--replays", -1, "--jobs", 1).exit_code == 0
    assert command("verify", DATASET, "--trust", "qform", "--jobs", 1).exit_code == 1
    assert command("replay", DATASET / "manifest.csv", "--output", "again", "--jobs", 1).exit_code == 0
    for file in (*(DATASET / "imagesTr").iterdir(), *(DATASET / "labelsTr").iterdir(), DATASET / "manifest.csv"):
        assert file.read_bytes() == (Path("again") / file.relative_to(DATASET)).read_bytes()
    drawn = command("preview", DATASET, "--jobs", 1)
    assert drawn.exit_code == 0
    assert "note" not in drawn.stdout


def test_rows_of_version_0_1_0_are_read_as_it_read_them(here):
    """They do not say which place holds; that version took what ITK takes, here the qform."""
    write_scan()
    assert command("synth", *SCANS, *OPTIONS, "--per-scan", 1, "--trust", "qform").exit_code == 0
    table = rows(DATASET / "manifest.csv")
    with Path("old.csv").open("w", newline="") as file:
        names = [name for name in table[0] if name != "trusted_form"]
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(table)
    Path("old.tumors.csv").write_bytes((DATASET / "tumors.csv").read_bytes())
    assert command("replay", "old.csv", "--output", "again", "--jobs", 1).exit_code == 0
    for file in (DATASET / "imagesTr").iterdir():
        assert file.read_bytes() == (Path("again/imagesTr") / file.name).read_bytes()


def test_liver_mask_records_the_place_and_synth_takes_it_from_the_table(here):
    write_scan()
    model = threshold_model(Path("model"))
    found = ("liver-mask", "ct", "livers", "--model", model)
    refused = command(*found)
    assert refused.exit_code == 1
    assert "--trust sform or --trust qform" in refused.stderr
    assert command(*found, "--trust", "sform").exit_code == 0
    (row,) = rows(Path("manifests/scans.csv"))
    assert row["trusted_form"] == "sform"
    assert origin_of(Path("livers/a.nii.gz")) == [-80, -65, -67]
    assert "1 were there" in command(*found).stdout  # nothing else is asked for, so it stays
    done = command("synth", *OPTIONS, "--per-scan", 1)
    assert done.exit_code == 0, done.output
    assert {row["trusted_form"] for row in rows(DATASET / "manifest.csv")} == {"sform"}
    assert "1 made in" in command(*found, "--trust", "qform").stdout
    assert origin_of(Path("livers/a.nii.gz")) == [-70, -70, -70]


def test_healthy_scans_are_written_again_from_another_place(here):
    write_scan()
    chosen = ("healthy", *SCANS, "--output", "out", "--jobs", 1, "--trust")
    made = [command(*chosen, trust).stdout for trust in ("sform", "sform", "qform")]
    assert [f"{count} written now" in told for count, told in zip((1, 0, 1), made, strict=True)] == [True] * 3
    assert {row["trusted_form"] for row in rows(Path("out/Dataset502_HealthyLiver/scans.csv"))} == {"qform"}
    assert {tuple(origin_of(file)) for file in Path("out").rglob("*.nii.gz")} == {(-70, -70, -70)}


def test_evaluate_reads_label_maps_of_two_places(here):
    _, liver = ball_volume((5.0, 4.0, 4.0))
    write_placed(liver.astype(np.uint8), Path("p/a.nii.gz"), **FORMS)
    write_placed(liver.astype(np.uint8), Path("r/a.nii.gz"), sform=SFORM, qform=SFORM)
    refused = command("evaluate", "p", "r", "--jobs", 1)
    assert refused.exit_code == 1
    assert "say which is right" in refused.stderr
    assert command("evaluate", "p", "r", "--jobs", 1, "--trust", "sform").exit_code == 0
    assert "is not on the reference's grid" in command("evaluate", "p", "r", "--jobs", 1, "--trust", "qform").stderr


@pytest.mark.parametrize("name", ["fit", "audit"])
def test_annotated_scans_of_two_places_are_read(here, name):
    volume, liver = ball_volume((5.0, 4.0, 4.0))
    labels = liver.astype(np.uint8)
    labels[12:16, 14:19, 14:19] *= 2
    for case in ("a", "b"):
        write_placed(volume.array, Path(f"real/images/{case}.nii.gz"), **FORMS)
        write_placed(labels, Path(f"real/labels/{case}.nii.gz"), **FORMS)
    given = {"fit": ("fit", "real", "--output", "f.toml"), "audit": ("audit", "real", "--real", "real", "--no-network")}
    told = command(*given[name], "--jobs", 1)
    assert told.exit_code == 1
    assert "say which is right" in told.stderr
    trusted = command(*given[name], "--jobs", 1, "--output", "out.toml", "--trust", "sform")
    assert "say which is right" not in trusted.stderr
    assert trusted.exit_code == 0, trusted.output
    if name == "fit":  # the recipe says by which command it can be had again
        assert Path("out.toml").read_text().startswith("# tumorgen fit real --trust sform --output out.toml\n")


def test_what_is_assumed_without_a_place_is_said(here):
    write_scan(codes=(0, 0))
    done = command("synth", *SCANS, *OPTIONS, "--per-scan", 1)
    assert done.exit_code == 0, done.output
    (note,) = [line for line in done.stdout.splitlines() if "does not say where" in line]
    assert note.startswith("note: ")
    assert "and 1 other file: " in note
    assert "taken along the patient's axes, to the left, to the back and upwards" in note
    assert origin_of(next((DATASET / "imagesTr").iterdir())) == [0, 0, 0]


def test_liver_mask_flags_a_scan_without_a_place(here):
    write_scan(codes=(0, 0))
    assert command("liver-mask", "ct", "livers", "--model", threshold_model(Path("model"))).exit_code == 0
    (row,) = rows(Path("manifests/scans.csv"))
    assert (row["status"], "no_place" in row["flags"].split(";")) == ("check", True)


def test_a_mask_that_does_not_fit_what_has_no_place_says_so(here):
    write_scan(codes=(0, 0))
    _, liver = ball_volume((5.0, 4.0, 4.0))
    write_placed(liver.astype(np.uint8), Path("masks/a.nii.gz"), sform=SFORM, qform=SFORM)
    done = command("synth", *SCANS, *OPTIONS, "--per-scan", 1)
    assert done.exit_code == 1
    assert "(a.nii.gz: no place in the header, so one was assumed)" in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "liver-mask",
        "synth",
        "replay",
        "verify",
        "preview",
        "healthy",
        "evaluate",
        "audit",
        "robustness",
        "worst",
        "fit",
    ],
)
def test_every_command_that_reads_scans_or_masks_has_the_option(name):
    assert "--trust [sform|qform]" in command(name, "--help").stdout
