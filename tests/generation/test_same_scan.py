"""A scan is one scan, whatever its files are called: folds keep it on one side, and with it all of its patient."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from phantoms import ball_volume
from trees import files_in

from tumorgen.cli import main
from tumorgen.dataset.raw import Dataset, write_sums
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.tables.manifest import read_manifest, write_manifest

FOLDER = Path("nnUNet_raw/Dataset501_SynthLiver")
SCANS = ("--images", "ct", "--masks", "livers", "--jobs", 1)
SPACING = (5.0, 4.0, 4.0)


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write_scan(name: str, seed: int, kind: str = "int16", ending: str = ".nii.gz", geometry: Geometry | None = None):
    """A ball in `ct`, its liver in `livers`; scans of one seed have the same voxels."""
    volume, liver = ball_volume(SPACING, seed=seed)
    geometry = geometry or volume.geometry
    write_volume(Volume(volume.array.astype(kind), geometry), Path("ct") / f"{name}{ending}")
    write_volume(Volume(liver, geometry), Path("livers") / f"{name}.nii.gz")


def synth(*options: object, scans: tuple[object, ...] = SCANS) -> Result:
    result = command("synth", *scans, "--per-scan", 2, "--sizes", "tiny", *options)
    assert result.exit_code == 0, result.output
    return result


def folds(folder: Path = FOLDER) -> list[tuple[set[str], set[str]]]:
    """The scans on either side of each fold."""
    found = json.loads((folder / "splits_final.json").read_text())
    return [tuple({sample.split("_v")[0] for sample in fold[side]} for side in ("train", "val")) for fold in found]


def verify(folder: Path = FOLDER) -> list[str]:
    """The problems that `verify` finds."""
    result = command("verify", folder, "--jobs", 1, "--replays", 0)
    found = [line.removeprefix("problem: ") for line in result.stderr.splitlines() if line.startswith("problem: ")]
    assert bool(found) == bool(result.exit_code)
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)


@pytest.fixture
def scans(here):
    """Two names for one CT, of other type, container and geometry header, and two other scans."""
    write_scan("0001", 1)
    write_scan("ircadb", 1, "float32", ".nrrd", Geometry((28, 35, 35), (2.5, 0.8, 0.8), (5.0, 6.0, 7.0)))
    write_scan("0002", 2)
    write_scan("0003", 3)


def test_two_names_for_one_ct_are_on_one_side_of_each_fold_and_that_is_said(scans):
    said = synth().stdout
    assert "note: one CT under several names, equal in every voxel: 0001 = ircadb; they count as one patient\n" in said
    assert "note: 4 scans of 3 patients, who stay together\n" in said
    assert [held for _, held in folds()] == [{"0001", "ircadb"}, {"0002"}, {"0003"}]
    assert not any(train & held for train, held in folds())
    assert verify() == []


def test_the_manifest_says_which_scans_are_one(scans):
    synth()
    marks = {record.plan.case: record.files.source_fingerprint for record in read_manifest(FOLDER / "manifest.csv")}
    assert marks["0001"] == marks["ircadb"]
    assert len(set(marks.values())) == 3
    assert {record.patient for record in read_manifest(FOLDER / "manifest.csv")} == {""}


def deal_as_before() -> None:
    """The folds of version 0.1.0: by name alone."""
    cases = sorted({record.plan.case for record in read_manifest(FOLDER / "manifest.csv")})
    samples = {case: [f"{case}_v0000", f"{case}_v0001"] for case in cases}
    split = [
        {"train": [one for case in cases if case != held for one in samples[case]], "val": samples[held]}
        for held in cases
    ]
    (FOLDER / "splits_final.json").write_text(json.dumps(split))
    write_sums(Dataset(FOLDER))


def forget() -> None:
    """Take the columns that version 0.1.0 did not have out of the manifest."""
    with (FOLDER / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [name for name in rows[0] if name not in ("patient", "source_fingerprint")]
    with (FOLDER / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, kept, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_sums(Dataset(FOLDER))


LEAK = "has one CT, equal in every voxel, on both sides: {} in training, {} in validation"


def test_verify_reads_the_scans_and_finds_one_ct_on_both_sides_in_a_dataset_of_an_earlier_version(scans):
    synth()
    forget()
    deal_as_before()
    found = verify()
    assert len(found) == 2
    assert found[0].startswith("splits_final.json: fold 0 " + LEAK.format("ircadb", "0001"))
    assert found[1].startswith("splits_final.json: fold 3 " + LEAK.format("0001", "ircadb"))


def test_what_verify_says_to_do_about_it_helps(scans):
    synth()
    forget()
    deal_as_before()
    assert "note: 4 scans of an earlier version, of which nobody knows" in synth().stdout
    Path("patients.csv").write_text("case,patient\n0001,Doe\nircadb,Doe\n0002,Roe\n0003,Poe\n")
    assert "0 made in" in synth("--patients", "patients.csv").stdout
    assert verify() == []
    assert [held for _, held in folds()] == [{"0001", "ircadb"}, {"0002"}, {"0003"}]


def test_a_dataset_of_an_earlier_version_goes_on_and_its_new_samples_know(scans):
    synth()
    forget()
    deal_as_before()
    assert "4 made" in synth("--per-scan", 3).stdout
    assert [held for _, held in folds()] == [{"0001", "ircadb"}, {"0002"}, {"0003"}]
    assert verify() == []


def test_a_scan_that_comes_later_joins_its_other_name(scans):
    for folder in ("ct", "livers"):
        for path in Path(folder).glob("ircadb*"):
            path.rename(path.name + folder)
    synth()
    assert len(folds()) == 3
    write_scan("again", 3, "float64", ".mha")
    said = synth().stdout
    assert "2 made" in said
    assert "0003 = again" in said or "again = 0003" in said
    assert {"0003", "again"} in [held for _, held in folds()]


def test_scans_of_a_patient_stay_together_and_no_name_of_theirs_reaches_the_dataset(here):
    for number in range(4):
        write_scan(f"scan{number}", number)
    Path("patients.csv").write_text("case,patient\nscan0,Doe\nscan3,Doe\nscan1,Roe\n")
    said = synth("--patients", "patients.csv").stdout
    assert "note: patients.csv: does not list 1 of 4 cases, each a patient of its own: scan2\n" in said
    assert "note: 4 scans of 3 patients, who stay together\n" in said
    assert [held for _, held in folds()] == [{"scan0", "scan3"}, {"scan1"}, {"scan2"}]
    records = {record.plan.case: record for record in read_manifest(FOLDER / "manifest.csv")}
    assert {case: record.patient for case, record in records.items()} == {
        "scan0": "scan0",
        "scan1": "scan1",
        "scan2": "",
        "scan3": "scan0",
    }
    for path in Path("nnUNet_raw").rglob("*.*"):
        assert b"Doe" not in path.read_bytes(), path


def test_verify_finds_a_patient_on_both_sides(here):
    for number in range(3):
        write_scan(f"scan{number}", number)
    Path("patients.csv").write_text("case,patient\nscan0,Doe\nscan2,Doe\nscan1,Roe\n")
    synth("--patients", "patients.csv")
    assert verify() == []
    deal_as_before()
    found = verify()
    assert [line.split("; ")[0] for line in found] == [
        "splits_final.json: fold 0 has one patient on both sides: scan2 in training, scan0 in validation",
        "splits_final.json: fold 2 has one patient on both sides: scan0 in training, scan2 in validation",
    ]
    synth()  # without the table: what is known of the scans stays known
    assert verify() == []


def test_a_later_table_of_patients_needs_no_sample_to_be_made_again(here):
    for number in range(3):
        write_scan(f"scan{number}", number)
    synth()
    assert len(folds()) == 3
    Path("patients.csv").write_text("case,patient\nscan0,Doe\nscan2,Doe\nscan1,Roe\n")
    assert "0 made" in synth("--patients", "patients.csv").stdout
    assert [held for _, held in folds()] == [{"scan0", "scan2"}, {"scan1"}]
    assert verify() == []


def only(*names: str) -> tuple[object, ...]:
    """The options that give some of the scans, from folders of their own."""
    root = Path("_".join(names))
    for folder in ("ct", "livers"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(Path(folder, f"{name}.nii.gz"), root / folder)
    return "--images", root / "ct", "--masks", root / "livers", "--jobs", 1


@pytest.fixture
def batches(here):
    """Two scans of one patient are in the dataset; a second table links a third to one of them, and lists no other."""
    for number in range(4):
        write_scan(f"scan{number}", number)
    Path("first.csv").write_text("case,patient\nscan0,Doe\nscan1,Doe\nscan3,Roe\n")
    Path("second.csv").write_text("case,patient\nscan1,Doe\nscan2,Doe\n")
    synth("--patients", "first.csv", scans=only("scan0", "scan1", "scan3"))


def test_a_second_table_that_links_a_new_scan_parts_nobody(batches):
    said = synth("--patients", "second.csv", scans=only("scan2")).stdout
    assert "note: 1 scan is not in the table of patients and, as before, of one patient with scans that are" in said
    assert "of no case" not in said
    assert [held for _, held in folds()] == [{"scan0", "scan1", "scan2"}, {"scan3"}]
    assert verify() == []


def test_a_second_table_that_lists_all_of_a_patient_parts_them(batches):
    Path("second.csv").write_text("case,patient\nscan0,Doe\nscan1,Poe\nscan2,Poe\n")
    synth("--patients", "second.csv", scans=only("scan2"))
    assert [held for _, held in folds()] == [{"scan0"}, {"scan1", "scan2"}, {"scan3"}]


def test_a_table_that_parts_a_patient_in_part_is_refused_before_anything_is_made(batches):
    synth("--patients", "second.csv", scans=only("scan2"))
    before = files_in(FOLDER)
    Path("third.csv").write_text("case,patient\nscan0,Doe\nscan1,Poe\n")
    refused = command("synth", *SCANS, "--per-scan", 3, "--sizes", "tiny", "--patients", "third.csv")
    assert refused.exit_code == 1
    assert "parts scan0 and scan1, which were of one patient, and does not say whose scan2 is" in refused.stderr
    assert files_in(FOLDER) == before


def test_samples_of_a_manifest_keep_their_patients_beside_a_second_table(batches):
    synth(scans=only("scan2"))
    made = ("synth", "--from-manifest", FOLDER / "manifest.csv", "--jobs", 1, "--dataset-id", 503, "--name", "Again")
    done = command(*made, "--patients", "second.csv")
    assert done.exit_code == 0, done.output
    again = FOLDER.with_name("Dataset503_Again")
    assert [held for _, held in folds(again)] == [{"scan0", "scan1", "scan2"}, {"scan3"}]


def test_a_scan_named_as_one_that_is_there_but_for_capitals_is_refused_before_anything_is_made(here):
    write_scan("Scan1", 1)
    write_scan("scan2", 2)
    synth(scans=only("Scan1"))
    replayed = ("--dataset-id", 504, "--name", "Replayed", "--jobs", 1)
    assert command("synth", "--from-manifest", FOLDER / "manifest.csv", *replayed).exit_code == 0
    before = files_in(FOLDER)
    for folder in ("ct", "livers"):
        Path(folder, "Scan1.nii.gz").rename(Path(folder, "scan1.nii.gz"))
    refused = command("synth", *only("scan1", "scan2"), "--per-scan", 2, "--sizes", "tiny")
    assert refused.exit_code == 1
    assert refused.stderr == (
        "Error: case 'scan1' is in the dataset as 'Scan1': names must differ in more than capitals; rename the scan\n"
    )
    synth("--dataset-id", 503, "--name", "Again", scans=only("scan1"))
    again = FOLDER.with_name("Dataset503_Again") / "manifest.csv"
    refused = command("synth", "--from-manifest", again, *replayed)
    assert "case 'scan1' is in the dataset as 'Scan1'" in refused.stderr
    assert files_in(FOLDER) == before
    assert verify() == []


def test_all_scans_of_one_patient_make_no_split_and_verify_misses_none(here):
    for name in ("one", "two"):
        write_scan(name, 1)
    assert "note: all 2 scans are of one patient, so no split by patient is possible" in synth().stdout
    assert not (FOLDER / "splits_final.json").exists()
    assert verify() == []


def test_a_table_whose_zeros_a_spreadsheet_took_away_is_refused_before_anything_is_made(here):
    for name in ("098", "101"):
        write_scan(name, int(name))
    Path("patients.csv").write_text("case,patient\n98,Doe\n101,Doe\n")
    result = command("synth", *SCANS, "--patients", "patients.csv")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: patients.csv: has 1 of 2 cases but for leading zeros: 098 as 98; write the names as they are\n"
    )
    assert not FOLDER.exists()


def test_removing_a_scan_names_what_else_is_of_its_patient(scans):
    synth()
    removed = command("remove", FOLDER, "--case", "0001")
    assert removed.exit_code == 0, removed.output
    assert "note: of the same patient or the same CT, and still there: ircadb; --case" in removed.stdout
    assert "still there" not in command("remove", FOLDER, "--case", "0002").stdout


def test_shards_and_merge_keep_scans_together(scans):
    Path("patients.csv").write_text("case,patient\n0002,Doe\n0003,Doe\n0001,Roe\nircadb,Roe\n")
    for shard in ("1/2", "2/2"):
        synth("--shard", shard, "--patients", "patients.csv")
    merged = command("merge", FOLDER)
    assert "note: 4 scans of 2 patients, who stay together\n" in merged.stdout
    assert [held for _, held in folds()] == [{"0001", "ircadb"}, {"0002", "0003"}]
    assert verify() == []


def test_a_shard_is_refused_patients_of_scans_that_are_there_until_their_own_run_has_them(here):
    """It leaves their rows alone: the scans that it draws into would be parted from theirs after the merge."""
    for number, name in enumerate(("r0", "r1", "r9")):
        write_scan(name, number)
    synth(scans=only("r0", "r1"))
    Path("patients.csv").write_text("case,patient\nr0,Doe\nr1,Doe\nr9,Doe\n")
    shard = ("--shard", "1/1", "--patients", "patients.csv")
    refused = command("synth", *only("r9"), "--per-scan", 2, "--sizes", "tiny", *shard)
    assert refused.exit_code == 1
    assert "whose scans are that it has already (r0), and a shard does not write that down" in refused.stderr
    synth("--patients", "patients.csv", scans=only("r0", "r1"))
    synth(*shard, scans=only("r9"))
    assert "note: 3 scans of 1 patient, who stay together\n" in command("merge", FOLDER).stdout


def test_a_dataset_made_of_a_manifest_keeps_its_scans_together(scans):
    Path("patients.csv").write_text("case,patient\n0002,Doe\n0003,Doe\n0001,Roe\nircadb,Roe\n")
    synth("--patients", "patients.csv")
    made = ("synth", "--from-manifest", FOLDER / "manifest.csv", "--jobs", 1, "--dataset-id", 503, "--name", "Again")
    assert command(*made).exit_code == 0
    again = FOLDER.with_name("Dataset503_Again")
    assert [held for _, held in folds(again)] == [{"0001", "ircadb"}, {"0002", "0003"}]
    assert verify(again) == []


def test_rows_that_are_only_planned_say_whose_their_scans_are(scans, tmp_path):
    synth()
    records = [replace(record, files=None) for record in read_manifest(FOLDER / "manifest.csv")]
    assert {record.patient for record in records} == {""}
    Path("patients.csv").write_text("case,patient\n0002,Doe\n0003,Doe\n")
    write_manifest([replace(r, outcomes=(None,) * len(r.outcomes)) for r in records], Path("planned.csv"))
    options = ("--images", "ct", "--masks", "livers", "--patients", "patients.csv", "--jobs", 1)
    done = command("synth", "--from-manifest", "planned.csv", *options, "--dataset-id", 503, "--name", "Again")
    assert done.exit_code == 0, done.output
    assert [held for _, held in folds(FOLDER.with_name("Dataset503_Again"))] == [{"0001", "ircadb"}, {"0002", "0003"}]


def test_a_benchmark_says_which_of_its_scans_are_one(scans):
    done = command("robustness", *SCANS, "--levels", "size=8", "--levels", "shape=2")
    assert done.exit_code == 0, done.output
    assert "note: one CT under several names, equal in every voxel: 0001 = ircadb; they count as one pat" in done.stdout
    assert not [line for line in done.stdout.splitlines() if line.startswith("note:") and "fold" in line]


def test_the_same_values_elsewhere_are_another_scan(here):
    """A mirrored or turned copy is the same CT; the same numbers in other places are not."""
    write_scan("a", 1)
    volume, liver = ball_volume(SPACING, seed=1)
    mixed = volume.array.copy()
    mixed[liver] = np.random.default_rng(0).permutation(mixed[liver])
    write_volume(Volume(mixed, volume.geometry), Path("ct/b.nii.gz"))
    write_volume(Volume(liver, volume.geometry), Path("livers/b.nii.gz"))
    synth()
    assert len(folds()) == 2
