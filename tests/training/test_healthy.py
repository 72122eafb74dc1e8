"""`healthy`: a raw dataset of nnU-Net's with an empty tumour class, resumable, split by scan."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from phantoms import ball_volume
from trees import files_in

from tumorgen.cli import main
from tumorgen.dataset.lock import locked_folder
from tumorgen.errors import TumorgenError
from tumorgen.imaging import ChunkedVolume, fingerprint_ct
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.reading import read_volume, write_volume
from tumorgen.tables.scans import ScanRow, write_scans
from tumorgen.training import healthy


def command(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    for number in range(3):
        volume, liver = ball_volume((6.0, 5.0, 5.0), seed=number)
        write_volume(volume, Path("ct") / f"case_{number}.nii.gz")
        write_volume(Volume(liver, volume.geometry), Path("livers") / f"case_{number}.nii.gz")
    return "--images", "ct", "--masks", "livers"


DATASET = Path("nnUNet_raw/Dataset502_HealthyLiver")


def test_dataset_has_images_livers_and_no_tumour(folders):
    done = command("healthy", *folders, "--jobs", 1)
    assert done.exit_code == 0, done.output
    assert "3 healthy scans, 3 written now\n" in done.stdout
    about = json.loads((DATASET / "dataset.json").read_text())
    assert about["labels"] == {"background": 0, "liver": 1, "tumor": 2}
    assert about["channel_names"] == {"0": "CT"}
    assert about["numTraining"] == len(list((DATASET / "imagesTr").iterdir())) == 3
    for number in range(3):
        image = read_volume(DATASET / f"imagesTr/case_{number}_0000.nii.gz")
        label = sitk.ReadImage(str(DATASET / f"labelsTr/case_{number}.nii.gz"))
        source = read_volume(Path(f"ct/case_{number}.nii.gz"))
        assert np.array_equal(image.array, source.array)
        assert image.array.dtype == source.array.dtype
        assert not image.geometry.difference(source.geometry)
        assert label.GetPixelID() == sitk.sitkUInt8
        liver = read_volume(Path(f"livers/case_{number}.nii.gz")).array
        assert np.array_equal(sitk.GetArrayFromImage(label), liver)


def test_folds_hold_each_scan_out_once(folders):
    command("healthy", *folders, "--jobs", 1)
    splits = json.loads((DATASET / "splits_final.json").read_text())
    assert [fold["val"] for fold in splits] == [["case_0"], ["case_1"], ["case_2"]]
    assert all(sorted(fold["train"] + fold["val"]) == ["case_0", "case_1", "case_2"] for fold in splits)


def held_out() -> list[list[str]]:
    return [fold["val"] for fold in json.loads((DATASET / "splits_final.json").read_text())]


def test_two_names_for_one_ct_are_held_out_together(folders):
    volume, liver = ball_volume((6.0, 5.0, 5.0), seed=1)
    write_volume(Volume(volume.array.astype("float32"), volume.geometry), Path("ct/again.nrrd"))
    write_volume(Volume(liver, volume.geometry), Path("livers/again.nii.gz"))
    done = command("healthy", *folders, "--jobs", 1)
    assert (
        "note: one CT under several names, equal in every voxel: again = case_1; they count as one pat" in done.stdout
    )
    assert held_out() == [["again", "case_1"], ["case_0"], ["case_2"]]


def test_scans_of_a_patient_are_held_out_together_and_stay_so(folders):
    Path("p.csv").write_text("case,patient\ncase_0,Doe\ncase_2,Doe\n")
    done = command("healthy", *folders, "--jobs", 1, "--patients", "p.csv")
    assert "note: p.csv: does not list 1 of 3 cases, each a patient of its own: case_1\n" in done.stdout
    assert held_out() == [["case_0", "case_2"], ["case_1"]]
    assert b"Doe" not in (DATASET / "scans.csv").read_bytes()
    again = command("healthy", *folders, "--jobs", 1)
    assert "3 healthy scans, 0 written now, 3 were there\n" in again.stdout
    assert held_out() == [["case_0", "case_2"], ["case_1"]]


def halve_mask(number: int) -> None:
    """Correct a mask by hand."""
    mask = read_volume(Path(f"livers/case_{number}.nii.gz"))
    half = mask.array.copy()
    half[: half.shape[0] // 2] = 0
    write_volume(Volume(half, mask.geometry), Path(f"livers/case_{number}.nii.gz"))


def fail(*arguments: object) -> None:
    raise TumorgenError("cannot be written (No space left on device)")


@pytest.mark.parametrize("before", ["", "cut off", "no room"])
def test_a_scan_that_is_written_again_stays_its_patients(folders, monkeypatch, before):
    """Also where the run that was to write it did not come to its end, or had no room for it."""
    Path("p.csv").write_text("case,patient\ncase_0,Doe\ncase_2,Doe\n")
    command("healthy", *folders, "--jobs", 1, "--patients", "p.csv")
    halve_mask(2)
    with monkeypatch.context() as patched:
        if before == "cut off":
            patched.setattr(healthy, "_deal_folds", fail)
        elif before:
            patched.setattr(ChunkedVolume, "write", fail)
        assert not before or command("healthy", *folders, "--jobs", 1).exit_code == 1
    again = command("healthy", *folders, "--jobs", 1)
    assert "3 healthy scans, 1 written now, 2 were there\n" in again.stdout
    assert held_out() == [["case_0", "case_2"], ["case_1"]]


def test_a_second_table_that_links_a_new_scan_parts_nobody(folders):
    Path("p.csv").write_text("case,patient\ncase_0,Doe\ncase_2,Doe\n")
    command("healthy", *folders, "--jobs", 1, "--patients", "p.csv")
    volume, liver = ball_volume((6.0, 5.0, 5.0), seed=9)
    write_volume(volume, Path("new/ct/case_9.nii.gz"))
    write_volume(Volume(liver, volume.geometry), Path("new/livers/case_9.nii.gz"))
    Path("p.csv").write_text("case,patient\ncase_2,Doe\ncase_9,Doe\n")
    done = command("healthy", "--images", "new/ct", "--masks", "new/livers", "--jobs", 1, "--patients", "p.csv")
    assert "of one patient with scans that are: case_0 with case_2; to part them, list all of them" in done.stdout
    assert "of no case" not in done.stdout
    assert held_out() == [["case_0", "case_2", "case_9"], ["case_1"]]


def test_a_scan_named_as_one_that_is_there_but_for_capitals_is_refused(folders):
    command("healthy", *folders, "--jobs", 1)
    for folder in ("ct", "livers"):
        Path(folder, "case_1.nii.gz").rename(Path(folder, "Case_1.nii.gz"))
    before = files_in(DATASET)
    refused = command("healthy", *folders, "--jobs", 1)
    assert refused.exit_code == 1
    assert "case 'Case_1' is in the dataset as 'case_1'" in refused.stderr
    assert files_in(DATASET) == before


def test_one_run_writes_at_a_time(folders):
    with locked_folder(DATASET):
        refused = command("healthy", *folders, "--jobs", 1)
    assert refused.exit_code == 1
    assert "another run is writing to it" in refused.stderr
    assert not DATASET.exists()
    assert command("healthy", *folders, "--jobs", 1).exit_code == 0
    assert not (DATASET / ".lock").exists()


def test_a_killed_run_holds_nobody_up(folders):
    assert command("healthy", *folders, "--jobs", 1).exit_code == 0
    for left in (".partial-of-a-table", "imagesTr/.partial-of-an-image"):
        (DATASET / left).mkdir()
    (DATASET / ".lock").write_text('{"pid": 1}\n')
    assert command("healthy", *folders, "--jobs", 1).exit_code == 0
    assert not [*DATASET.rglob(".*")]


def test_a_killed_run_that_left_a_partial_file_alone_holds_nobody_up(folders):
    (DATASET / ".partial-1").mkdir(parents=True)
    assert command("healthy", *folders, "--jobs", 1).exit_code == 0


def test_a_dataset_of_an_earlier_version_goes_on_and_its_images_are_read_once(folders):
    volume, liver = ball_volume((6.0, 5.0, 5.0), seed=1)
    write_volume(Volume(volume.array.astype("int32"), volume.geometry), Path("ct/again.nii.gz"))
    write_volume(Volume(liver, volume.geometry), Path("livers/again.nii.gz"))
    command("healthy", *folders, "--jobs", 1)
    (DATASET / "scans.csv").unlink()
    write_volume(ball_volume((6.0, 5.0, 5.0), seed=7)[0], Path("ct/case_0.nii.gz"))  # and one has changed
    again = command("healthy", *folders, "--jobs", 1)
    assert "4 healthy scans, 1 written now" in again.stdout
    assert held_out() == [["again", "case_1"], ["case_0"], ["case_2"]]
    assert "again = case_1" in command("healthy", *folders, "--jobs", 1).stdout


def test_running_again_writes_what_is_missing_or_has_changed(folders):
    command("healthy", *folders, "--jobs", 1)
    (DATASET / "labelsTr/case_1.nii.gz").unlink()
    kept = (DATASET / "labelsTr/case_0.nii.gz").stat().st_mtime_ns
    volume, _ = ball_volume((6.0, 5.0, 5.0), seed=9)
    write_volume(volume, Path("ct/case_2.nii.gz"))
    again = command("healthy", *folders, "--jobs", 2)
    assert "3 healthy scans, 2 written now, 1 were there\n" in again.stdout
    assert (DATASET / "labelsTr/case_0.nii.gz").stat().st_mtime_ns == kept
    assert np.array_equal(read_volume(DATASET / "imagesTr/case_2_0000.nii.gz").array, volume.array)


def test_where_the_images_are_on_a_disk_that_is_not_mounted_the_table_stays(folders):
    command("healthy", *folders, "--jobs", 1)
    before = (DATASET / "scans.csv").read_bytes()
    (DATASET / "labelsTr").rename("disk")
    (DATASET / "labelsTr").symlink_to("unmounted")
    refused = command("healthy", *folders, "--jobs", 1)
    assert refused.exit_code == 1
    assert "labelsTr: is a link to unmounted, which is not there; is its disk mounted?\n" in refused.stderr
    assert (DATASET / "scans.csv").read_bytes() == before


def test_masks_of_another_folder_are_taken_though_they_are_older(folders):
    """Nor is a file written again that was touched and is the same."""
    command("healthy", *folders, "--jobs", 1)
    os.utime("ct/case_1.nii.gz")
    for path in sorted(Path("livers").iterdir()):
        mask = read_volume(path)
        smaller = mask.array.copy()
        smaller[: smaller.shape[0] // 2] = 0
        write_volume(Volume(smaller if path.name < "case_1" else mask.array, mask.geometry), Path("others") / path.name)
        os.utime(Path("others") / path.name, (0, 0))
    again = command("healthy", "--images", "ct", "--masks", "others", "--jobs", 1)
    assert "3 healthy scans, 1 written now" in again.stdout
    label = read_volume(DATASET / "labelsTr/case_0.nii.gz").array
    assert np.array_equal(label, read_volume(Path("others/case_0.nii.gz")).array)


def test_voxels_in_a_file_of_their_own_count_with_the_header_that_describes_them(folders):
    """Saved again, a corrected mask has the same header."""
    mask = read_volume(Path("livers/case_0.nii.gz"))
    half = mask.array.copy()
    half[: half.shape[0] // 2] = 0
    write_volume(read_volume(Path("ct/case_0.nii.gz")), Path("one/case_0.nii.gz"))
    Path("masks").mkdir()
    for array in (mask.array, half):
        sitk.WriteImage(to_image(Volume(array, mask.geometry)), "masks/case_0.mhd")
        made = command("healthy", "--images", "one", "--masks", "masks", "--jobs", 1)
        assert "1 healthy scan, 1 written now" in made.stdout, made.stderr
        assert np.array_equal(read_volume(DATASET / "labelsTr/case_0.nii.gz").array, array)


@pytest.mark.parametrize("begun", [False, True], ids=["new", "complete"])
def test_a_run_that_is_cut_off_leaves_nothing_that_passes_for_another_scans(folders, begun, monkeypatch):
    """Other scans of the same names, from the wrong folder, are all written when the run ends before its table."""
    for path in sorted(Path("ct").iterdir()):
        write_volume(ball_volume((6.0, 5.0, 5.0), seed=50 + int(path.name[5]))[0], Path("wrong") / path.name)
    if begun:
        command("healthy", *folders, "--jobs", 1)

    def end_early(*arguments: object) -> None:
        raise TumorgenError("ended before the table was written")

    with monkeypatch.context() as patched:
        patched.setattr(healthy, "_deal_folds", end_early)
        assert command("healthy", "--images", "wrong", "--masks", "livers", "--jobs", 1).exit_code == 1
    assert "3 healthy scans, 3 written now" in command("healthy", *folders, "--jobs", 1).stdout
    for path in Path("ct").iterdir():
        image, right = (read_volume(file).array for file in (DATASET / f"imagesTr/{path.name[:6]}_0000.nii.gz", path))
        assert np.array_equal(image, right)


def test_while_an_image_is_written_there_is_no_label_beside_it(folders, monkeypatch):
    command("healthy", *folders, "--jobs", 1)
    write_volume(ball_volume((6.0, 5.0, 5.0), seed=9)[0], Path("ct/case_2.nii.gz"))

    def fill_disk(path: Path, *arguments: object) -> str:
        raise TumorgenError(f"{path}: cannot be written (No space left on device)")

    with monkeypatch.context() as patched:
        patched.setattr(ChunkedVolume, "write", lambda self, path, blocks: fill_disk(path))
        assert command("healthy", *folders, "--jobs", 1).exit_code == 1
    assert not (DATASET / "labelsTr/case_2.nii.gz").exists()
    assert "3 healthy scans, 1 written now" in command("healthy", *folders, "--jobs", 1).stdout


def test_cases_that_are_not_among_the_scans_are_named(folders):
    command("healthy", *folders, "--jobs", 1)
    for folder in ("ct", "livers"):
        Path(folder, "case_2.nii.gz").unlink()
    told = command("healthy", *folders, "--jobs", 1).stdout
    assert "still holds 1 case of earlier runs, not among these scans: case_2; to be rid of them" in " ".join(
        told.split()
    )


def test_the_table_of_liver_mask_is_read(folders):
    scan, mask = (str(Path(folder, "case_0.nii.gz").resolve()) for folder in ("ct", "livers"))
    write_scans(
        [ScanRow(case="one", image=scan, mask=mask, status="ok"), ScanRow(case="two", image=scan, status="failed")]
    )
    done = command("healthy", "--jobs", 1)
    assert done.exit_code == 1
    assert "failed: two" in done.stderr
    assert "one scan only, so no split by patient is possible" in done.stdout
    assert [path.name for path in (DATASET / "labelsTr").iterdir()] == ["one.nii.gz"]
    assert not (DATASET / "splits_final.json").exists()


def test_a_scan_that_was_replaced_since_its_mask_was_made_is_refused(folders):
    scan, mask = (str(Path(folder, "case_0.nii.gz").resolve()) for folder in ("ct", "livers"))
    fingerprint = fingerprint_ct(read_volume(Path("ct/case_1.nii.gz")).array)
    write_scans([ScanRow(case="one", image=scan, mask=mask, status="ok", source_fingerprint=fingerprint)])
    done = command("healthy", "--jobs", 1)
    assert done.exit_code == 1
    assert "case_0.nii.gz: is another scan than the one that" in done.stderr


def test_what_cannot_be_used_fails_alone(folders):
    volume, liver = ball_volume((6.0, 6.0, 6.0))
    write_volume(Volume(liver, volume.geometry), Path("livers/case_1.nii.gz"))
    for folder in ("ct", "livers"):
        Path(folder, "case_2.nii.gz").rename(Path(folder, "case_2_seg.nii.gz"))
    done = command("healthy", *folders, "--jobs", 1)
    assert done.exit_code == 1
    assert "case_1.nii.gz: does not fit" in done.stderr
    assert "ends in _seg" in done.stderr
    assert json.loads((DATASET / "dataset.json").read_text())["numTraining"] == 1


def test_a_dataset_of_tumours_is_left_alone(folders):
    assert command("synth", *folders, "--per-scan", 1, "--sizes", "tiny", "--jobs", 1).exit_code == 0
    done = command("healthy", *folders, "--dataset-id", 501, "--name", "SynthLiver")
    assert done.exit_code == 1
    assert "holds another dataset" in done.stderr


def test_trainer_path_is_the_folder_of_the_trainer():
    folder = Path(command("trainer-path").stdout.strip())
    assert (folder / "nnUNetTrainerTumorgen.py").is_file()


def test_tumours_that_nnunet_would_clip_are_told_before_it_has_plans(folders):
    """Masks without any fat; then masks of which a hundredth is fat, so that the range begins there."""
    done = command("healthy", *folders, "--jobs", 1)
    (note,) = re.findall(r"note: (nnU-Net will clip .*)", done.stdout)
    low, high, share = map(int, re.search(r"to about (\S+) to (\S+), .* about (\d+)% of the tumours", note).groups())
    hu = [read_volume(path).array for path in sorted(Path("ct").iterdir())]
    livers = [read_volume(path).array > 0 for path in sorted(Path("livers").iterdir())]
    expected = np.percentile(np.concatenate([a[b] for a, b in zip(hu, livers, strict=True)]), (0.5, 99.5))
    assert (low, high) == pytest.approx(expected, abs=1.5)  # quantiles of each, joined
    assert share > 20
    assert "nnU-Net will clip" not in command("healthy", *folders, "--jobs", 1).stdout  # what is there is not read
    for path, liver in zip(sorted(Path("ct").iterdir()), livers, strict=True):
        ct = read_volume(path)
        ct.array[tuple(np.argwhere(liver)[::80].T)] = -100
        write_volume(ct, path)
    again = command("healthy", *folders, "--jobs", 1)
    assert "3 written now" in again.stdout
    assert "nnU-Net will clip" not in again.stdout


def test_scans_that_are_not_stored_in_axial_slices_are_named(folders):
    for folder in ("ct", "livers"):
        turned = sitk.DICOMOrient(sitk.ReadImage(f"{folder}/case_1.nii.gz"), "PIR")
        sitk.WriteImage(turned, f"{folder}/case_1.nii.gz")
    done = command("healthy", *folders, "--jobs", 1)
    assert done.exit_code == 0, done.output
    assert "1 scan not stored in axial slices (case_1): tumours are drawn as if they were" in done.stdout
    made = command("synth", *folders, "--jobs", 1, "--per-scan", 1, "--sizes", "tiny", "--recipe", "paper")
    assert "1 scan not stored in axial slices (case_1)" in made.stdout
    assert "not_axial in manifest.csv" in made.stdout
