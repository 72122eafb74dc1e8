"""Whatever is changed in a dataset, verify says which file and why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from conftest import ball_volume

from tumorgen.cli import main
from tumorgen.dataset import Dataset
from tumorgen.generate import match_sources
from tumorgen.settings import Settings
from tumorgen.synth import synth
from tumorgen.verify import spread, verify
from tumorgen.volume import Volume, write_volume


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("sound")
    for number in range(2):
        volume, liver = ball_volume((4.0, 2.5, 2.5), seed=number)
        write_volume(volume, root / "images" / f"scan_{number}.nii.gz")
        write_volume(Volume(liver, volume.geometry), root / "masks" / f"scan_{number}.nii.gz")
    sources, _ = match_sources(root / "images", root / "masks")
    synth(sources, Dataset(root / "Dataset501_X"), Settings(sizes=("tiny", "small")), per_scan=2, jobs=1)
    return root / "Dataset501_X"


def test_a_sound_dataset_is_sound(sound):
    verdict = verify(sound, jobs=1, replays=-1)
    assert verdict.problems == ()
    assert (verdict.samples, verdict.scans, verdict.replayed) == (4, 2, 4)


def test_command_says_so(sound):
    result = CliRunner().invoke(main, ["verify", str(sound), "--jobs", "1"])
    assert result.exit_code == 0
    assert "sound (4 samples of 2 scans, 3 rendered again)" in result.stdout


def rewrite(path: Path, change) -> None:
    """Change voxels of a file of the dataset."""
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    array = change(array)
    changed = sitk.GetImageFromArray(array)
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(path), useCompression=True)


def flip_corner(array):
    array[0, 0, 0] += 1
    return array


def set_nine(array):
    array[0, 0, 0] = 9
    return array


def flip_inside(array):
    array[tuple(n // 2 for n in array.shape)] += 1
    return array


def shift_header(path: Path) -> None:
    image = sitk.ReadImage(str(path))
    image.SetOrigin([c + 1 for c in image.GetOrigin()])
    sitk.WriteImage(image, str(path), useCompression=True)


def edit_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def swap(first: Path, second: Path) -> None:
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


IMAGE, LABEL = "imagesTr/scan_0_v0000_0000.nii.gz", "labelsTr/scan_0_v0000.nii.gz"

TAMPERINGS = {
    "voxel outside the boxes": (
        lambda d: rewrite(d / IMAGE, flip_corner),
        IMAGE,
        "1 voxels outside",
    ),
    "voxel inside a box": (lambda d: rewrite(d / IMAGE, flip_inside), IMAGE, "SHA-256"),
    "label of background": (lambda d: rewrite(d / LABEL, flip_corner), LABEL, "1 voxels outside"),
    "unknown label": (lambda d: rewrite(d / LABEL, set_nine), LABEL, "holds the labels [9]"),
    "label's type": (lambda d: rewrite(d / LABEL, lambda a: a.astype("float32")), LABEL, "data type is float32"),
    "header": (lambda d: shift_header(d / IMAGE), IMAGE, "its geometry is not the scan's"),
    "files swapped": (lambda d: swap(d / IMAGE, d / IMAGE.replace("v0000", "v0001")), IMAGE, "SHA-256"),
    "file removed": (lambda d: (d / LABEL).unlink(), LABEL, "is missing"),
    "file added": (
        lambda d: shutil.copy(d / LABEL, d / "labelsTr" / "x.nii.gz"),
        "labelsTr/x.nii.gz",
        "not in the manifest",
    ),
    "file cut off": (lambda d: (d / IMAGE).write_bytes((d / IMAGE).read_bytes()[:-20]), IMAGE, "cut off"),
    "numTraining": (
        lambda d: edit_text(d / "dataset.json", '"numTraining": 4', '"numTraining": 5'),
        "dataset.json",
        "is 5",
    ),
    "labels": (lambda d: edit_text(d / "dataset.json", '"tumor": 2', '"tumor": 3'), "dataset.json", "labels is"),
    "dataset.json gone": (lambda d: (d / "dataset.json").unlink(), "dataset.json", "cannot be read"),
    "drawn cell": (lambda d: _add_one(d, "mu_t_hu"), "scan_0_v0000", "rendered again from its rows"),
    "measured cell": (lambda d: _add_one(d, "volume_mm3"), "scan_0_v0000", "does not say what came out"),
    "tumour's row removed": (lambda d: _drop_last_tumor(d), "scan_1_v0001", "rendered again|outside the recorded"),
    "patient on both sides": (lambda d: _leak(d), "splits_final.json", "in training and in validation"),
    "splits gone": (lambda d: (d / "splits_final.json").unlink(), "splits_final.json", "is missing"),
}


def _add_one(folder: Path, column: str) -> None:
    import csv

    with (folder / "tumors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0][column] = repr(float(rows[0][column]) + 1)
    with (folder / "tumors.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _drop_last_tumor(folder: Path) -> None:
    lines = (folder / "tumors.csv").read_text().splitlines(keepends=True)
    (folder / "tumors.csv").write_text("".join(lines[:-1]))


def _leak(folder: Path) -> None:
    folds = json.loads((folder / "splits_final.json").read_text())
    folds[0]["train"].append(folds[0]["val"][0])
    (folder / "splits_final.json").write_text(json.dumps(folds))


@pytest.mark.parametrize("name", TAMPERINGS)
def test_every_tampering_is_found(sound, tmp_path, name):
    tamper, file, reason = TAMPERINGS[name]
    folder = tmp_path / sound.name
    shutil.copytree(sound, folder)
    tamper(folder)
    found = [str(problem) for problem in verify(folder, jobs=1, replays=-1).problems]
    assert any(p.startswith(file) and any(r in p for r in reason.split("|")) for p in found), found


def test_command_lists_problems_and_fails(sound, tmp_path):
    folder = tmp_path / sound.name
    shutil.copytree(sound, folder)
    (folder / LABEL).unlink()
    result = CliRunner().invoke(main, ["verify", str(folder), "--jobs", "1"])
    assert result.exit_code == 1
    assert f"problem: {LABEL}: is missing" in result.stderr


def test_a_folder_that_is_no_dataset(tmp_path):
    result = CliRunner().invoke(main, ["verify", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds no manifest.csv" in result.stderr


def test_a_source_that_is_gone_is_told(sound, tmp_path):
    images = sound.parent / "images"
    images.rename(tmp_path / "elsewhere")
    try:
        found = verify(sound, jobs=1).problems
        assert len(found) == 4
        assert all("its scan cannot be read" in problem.reason for problem in found)
        assert not verify(sound, jobs=1, images=tmp_path / "elsewhere", masks=sound.parent / "masks").problems
    finally:
        (tmp_path / "elsewhere").rename(images)


@pytest.mark.parametrize(("count", "expected"), [(0, ""), (1, "a"), (2, "ae"), (3, "ace"), (9, "abcde"), (-1, "abcde")])
def test_spread_is_even(count, expected):
    assert spread("abcde", count) == frozenset(expected)
