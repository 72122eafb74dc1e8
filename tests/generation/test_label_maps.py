"""Masks that are label maps: refused, chosen from, recorded, rendered again; in every command that reads masks."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import read_volume, write_volume
from tumorgen.tables.manifest import read_manifest

SCANS = ("--images", "ct", "--masks", "masks")
DATASET = Path("out/Dataset501_SynthLiver")


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)


def write_scan(case: str, kind: str) -> np.ndarray:
    """A ball of liver, whose mask is a label map of some kind; returns the map."""
    volume, liver = ball_volume((5.0, 4.0, 4.0))
    labels = np.where(liver, 5, 0).astype(np.uint8)  # as TotalSegmentator numbers a liver
    labels[0, :2, :2] = 1
    labels[-1, -2:, -2:] = 27
    if kind == "couinaud":
        labels = (liver * (1 + np.arange(liver.shape[0]) * 8 // liver.shape[0])[:, None, None]).astype(np.uint8)
    if kind == "lits":
        labels = liver.astype(np.uint8)
        labels[12:16, 14:19, 14:19] *= 2
        volume.array[labels == 2] -= 60
    write_volume(volume, Path("ct") / f"{case}.nii.gz")
    write_volume(Volume(labels, volume.geometry), Path("masks") / f"{case}.nii.gz")
    return labels


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["synth", "healthy", "robustness"])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("organs", "holds 1, 5, 27: a label map, no mask; choose the liver with --label"),
        ("couinaud", "a label map, no mask"),
        ("lits", "2 is a tumour that is really there"),
    ],
)
def test_a_label_map_is_refused_in_one_line(here, name, kind, reason):
    write_scan("a", kind)
    done = command(name, *SCANS, "--output", "out", "--jobs", 1)
    assert done.exit_code == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("failed: a: ")]
    assert reason in line
    assert not list(Path("out").rglob("*.nii.gz"))


@pytest.mark.parametrize("name", ["synth", "healthy", "robustness"])
def test_where_no_scan_can_be_used_no_id_is_taken_and_nothing_is_settled(here, name):
    """What the message recommends works then, under another name and with other settings."""
    for case in "ab":
        write_scan(case, "lits")
    run = (name, *SCANS, "--output", "out", "--dataset-id", 9, "--jobs", 1)
    failed = command(*run, "--name", "First")
    assert failed.exit_code == 1
    assert failed.stderr.splitlines()[-1].startswith("all 2 failed, for 1 reason: nothing was written.")
    assert not Path("out").exists()
    if name == "synth":
        chosen = ("--name", "Second", "--recipe", "paper", "--sizes", "tiny", "--per-scan", 1)
        done = command(*run, *chosen, "--label", 1, "--real-tumours", 2)
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize(("kind", "words"), [("organs", ["5"]), ("organs", ["liver"]), ("couinaud", ["any"])])
def test_tumours_lie_in_the_liver_that_was_chosen(here, kind, words):
    labels = write_scan("a", kind)
    Path("masks/labels.json").write_text(json.dumps({"5": "liver", "1": "spleen"}))
    options = [part for word in words for part in ("--label", word)]
    done = command("synth", *SCANS, *options, "--output", "out", "--per-scan", 2, "--sizes", "small", "--jobs", 1)
    assert done.exit_code == 0, done.output
    liver = labels == 5 if kind == "organs" else labels > 0
    for file in (DATASET / "labelsTr").iterdir():
        label = read_volume(file).array
        assert ((label > 0) == liver).all()
        assert (label == 2).any()
    assert {row["liver_labels"] for row in rows(DATASET / "manifest.csv")} == {";".join(words)}
    assert json.loads((DATASET / "provenance.json").read_text())["sources"]["a"]["liver_labels"] == ";".join(words)
    assert command("verify", DATASET, "--replays", -1).exit_code == 0


def test_labels_are_joined(here):
    labels = write_scan("a", "couinaud")
    options = [part for number in range(2, 5) for part in ("--label", number)]
    done = command("synth", *SCANS, *options, "--output", "out", "--per-scan", 1, "--sizes", "tiny", "--jobs", 1)
    assert done.exit_code == 0, done.output
    label = read_volume(DATASET / "labelsTr/a_v0000.nii.gz").array
    assert ((label > 0) == ((labels >= 2) & (labels <= 4))).all()


def test_a_run_goes_on_and_is_rendered_again_with_the_labels_that_were_chosen(here):
    write_scan("a", "organs")
    chosen = ("synth", *SCANS, "--output", "out", "--sizes", "tiny", "--jobs", 1, "--label", 5)
    assert command(*chosen, "--per-scan", 1).exit_code == 0
    other = command(*chosen, "--label", 27, "--per-scan", 2)
    assert other.exit_code == 1
    assert "a was begun with --label 5, not --label 5 --label 27" in other.stderr
    assert command(*chosen, "--per-scan", 2).exit_code == 0
    assert command("replay", DATASET / "manifest.csv", "--output", "again", "--jobs", 1).exit_code == 0
    for file in (DATASET / "labelsTr").iterdir():
        assert file.read_bytes() == (Path("again/labelsTr") / file.name).read_bytes()
    assert command("verify", "again", "--jobs", 1).exit_code == 0
    assert (Path("again") / "manifest.csv").read_bytes() == (DATASET / "manifest.csv").read_bytes()


def test_a_dataset_that_is_whole_refuses_labels_that_it_was_not_made_with(here):
    write_scan("a", "lits")
    run = ("synth", *SCANS, "--output", "out", "--sizes", "tiny", "--jobs", 1, "--per-scan", 1)
    chosen = ("--label", 1, "--real-tumours", 2)
    assert command(*run, *chosen).exit_code == 0
    assert "0 made in" in command(*run, *chosen).stdout
    for given, said in (
        (("--label", 7), "begun with --label 1 --real-tumours 2, not --label 7"),
        (("--label", 1), "begun with --label 1 --real-tumours 2, not --label 1"),
        ((), "begun with --label 1 --real-tumours 2, not no --label"),
        ((*chosen, "--real-tumours", "left lobe"), "not --label 1 --real-tumours 2 --real-tumours 'left lobe'"),
    ):
        for more in ((), ("--estimate",)):
            other = command(*run, *given, *more)
            assert other.exit_code == 1
            (line,) = other.stderr.splitlines()
            assert f"{said}; continue with the same" in line


def test_a_run_goes_on_whether_labels_are_chosen_by_number_or_by_name(here):
    """All samples of a scan say it as the first, and a name that has come to mean another label is refused."""
    write_scan("a", "organs")
    Path("masks/labels.json").write_text(json.dumps({"5": "liver", "1": "spleen"}))
    run = ("synth", *SCANS, "--output", "out", "--sizes", "tiny", "--jobs", 1)
    assert command(*run, "--label", "liver", "--label", 27, "--per-scan", 1).exit_code == 0
    for count, words in ((2, (27, 5)), (3, ("Liver", 27))):
        done = command(*run, "--label", words[0], "--label", words[1], "--per-scan", count)
        assert done.exit_code == 0, done.output
    assert [row["liver_labels"] for row in rows(DATASET / "manifest.csv")] == ["liver;27"] * 3
    assert command("verify", DATASET, "--replays", -1, "--jobs", 1).exit_code == 0
    Path("masks/labels.json").write_text(json.dumps({"1": "liver", "5": "spleen"}))
    other = command(*run, "--label", 5, "--label", 27, "--per-scan", 4)
    assert "a was begun with --label liver --label 27, not --label 5 --label 27" in other.stderr


def test_masks_that_have_become_label_maps_are_chosen_from_when_rows_are_rendered_again(here):
    labels = write_scan("a", "organs")
    plain = Path("masks/a.nii.gz")
    organs = plain.read_bytes()
    write_volume(Volume(labels == 5, read_volume(plain).geometry), plain)
    assert command("synth", *SCANS, "--output", "out", "--sizes", "tiny", "--per-scan", 1, "--jobs", 1).exit_code == 0
    plain.write_bytes(organs)
    moved = ("replay", DATASET / "manifest.csv", *SCANS, "--jobs", 1, "--output")
    refused = command(*moved, "refused")
    assert refused.exit_code == 1
    assert "planned with another liver mask" in refused.stderr
    assert command(*moved, "again", "--label", 5).exit_code == 0
    assert command("verify", DATASET, *SCANS, "--label", 5, "--jobs", 1).exit_code == 0
    drawn = command("preview", DATASET, *SCANS, "--label", 5, "--jobs", 1)
    assert drawn.exit_code == 0
    assert "note" not in drawn.stdout


def test_a_mask_with_traces_of_rounding_is_verified_and_rendered_again_as_it_was_read(here):
    labels = write_scan("a", "organs")
    plain = Path("masks/a.nii.gz")
    rounded = np.where(labels == 5, 1.0, 1.5e-8).astype("float32")
    write_volume(Volume(rounded, read_volume(plain).geometry), plain)
    assert command("synth", *SCANS, "--output", "out", "--sizes", "tiny", "--per-scan", 1, "--jobs", 1).exit_code == 0
    done = command("verify", DATASET, "--replays", -1, "--jobs", 1)
    assert done.exit_code == 0, done.output
    assert command("replay", DATASET / "manifest.csv", "--output", "again", "--jobs", 1).exit_code == 0


def test_real_tumours_stay_and_are_counted(here):
    labels = write_scan("a", "lits")
    options = ("--label", 1, "--real-tumours", 2)
    done = command("synth", *SCANS, *options, "--output", "out", "--per-scan", 3, "--sizes", "tiny", "--jobs", 1)
    assert done.exit_code == 0, done.output
    voxels = int((labels == 2).sum())
    assert f"note: in 1 scan tumours are really there, {voxels} voxels" in done.stdout
    for record in read_manifest(DATASET / "manifest.csv"):
        assert (record.files.liver_labels, record.files.real_tumor_labels) == ("1", "2")
        assert record.files.real_tumor_voxels == voxels
        label = read_volume(DATASET / record.files.label_file).array
        assert (label[labels == 2] == 2).all()
        synthetic = (label == 2).sum() - voxels
        assert synthetic * 5.0 * 4.0 * 4.0 == pytest.approx(sum(o.volume_mm3 for o in record.outcomes))
    assert command("verify", DATASET, "--replays", -1, "--jobs", 1).exit_code == 0
    assert command("replay", DATASET / "manifest.csv", "--output", "again", "--jobs", 1).exit_code == 0
    for file in (DATASET / "imagesTr").iterdir():
        assert file.read_bytes() == (Path("again/imagesTr") / file.name).read_bytes()


def test_healthy_keeps_real_tumours_only_where_that_is_asked_for(here):
    labels = write_scan("a", "lits")
    assert command("healthy", *SCANS, "--label", 1, "--real-tumours", 2, "--output", "out", "--jobs", 1).exit_code == 0
    label = Path("out/Dataset502_HealthyLiver/labelsTr/a.nii.gz")
    assert (read_volume(label).array == labels).all()
    assert command("healthy", *SCANS, "--label", 1, "--label", 2, "--output", "out", "--jobs", 1).exit_code == 0
    assert (read_volume(label).array == (labels > 0)).all()  # another choice is another dataset: it is written again
    again = command("healthy", *SCANS, "--label", 1, "--label", 2, "--output", "out", "--jobs", 1)
    assert "1 healthy scan, 0 written now" in again.stdout


def test_robustness_takes_a_label(here):
    labels = write_scan("a", "organs")
    dialled = ("--levels", "location=", "--levels", "shape=", "--levels", "intensity=", "--levels", "texture=")
    done = command("robustness", *SCANS, "--label", 5, *dialled, "--output", "out", "--jobs", 1)
    assert done.exit_code == 0, done.output
    folder = Path("out/Dataset504_Robustness")
    for file in (folder / "labelsTs").iterdir():
        assert ((read_volume(file).array > 0) == (labels == 5)).all()
    assert command("verify", folder, "--jobs", 1).exit_code == 0


def test_what_rows_decide_is_not_asked_for_on_the_command_line(here):
    write_scan("a", "lits")
    Path("m.csv").write_text("")
    done = command("synth", "--from-manifest", "m.csv", "--real-tumours", 2)
    assert done.exit_code == 2
    assert "--real-tumours does not go with --from-manifest" in done.output


def test_a_label_needs_to_be_one(here):
    write_scan("a", "organs")
    done = command("synth", *SCANS, "--label", "")
    assert done.exit_code == 2
    assert "a number or a name is needed" in done.output


def test_folders_of_organs_are_taken_for_masks(here):
    labels = write_scan("a", "organs")
    for name, number in (("spleen", 1), ("liver", 5)):
        organ = Volume(labels == number, read_volume(Path("masks/a.nii.gz")).geometry)
        write_volume(organ, Path("organs/a") / f"{name}.nii.gz")
    folders = (
        "--images",
        "ct",
        "--masks",
        "organs",
        "--output",
        "out",
        "--sizes",
        "tiny",
        "--per-scan",
        1,
        "--jobs",
        1,
    )
    assert command("synth", *folders).exit_code == 0
    label = read_volume(DATASET / "labelsTr/a_v0000.nii.gz").array
    assert ((label > 0) == (labels == 5)).all()
    assert command("verify", DATASET, "--images", "ct", "--masks", "organs", "--jobs", 1).exit_code == 0


def test_rows_of_earlier_versions_read_a_label_map_as_they_did(here):
    """Version 0.1.0 took any label for liver, and its rows have no column that says what was chosen."""
    write_scan("a", "couinaud")
    made = ("synth", *SCANS, "--label", "any", "--output", "out", "--sizes", "tiny", "--per-scan", 1, "--jobs", 1)
    assert command(*made).exit_code == 0
    old = [{k: v for k, v in row.items() if "_labels" not in k} for row in rows(DATASET / "manifest.csv")]
    with Path("old.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(old[0]))
        writer.writeheader()
        writer.writerows(old)
    Path("old.tumors.csv").write_bytes((DATASET / "tumors.csv").read_bytes())
    assert command("replay", "old.csv", "--output", "again", "--jobs", 1).exit_code == 0
    for file in DATASET.rglob("*.nii.gz"):
        assert file.read_bytes() == (Path("again") / file.relative_to(DATASET)).read_bytes()
