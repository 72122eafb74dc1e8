"""Where liver masks are found: files of the cases' names, and folders as TotalSegmentator writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tumorgen.errors import TumorgenError
from tumorgen.imaging.mask_folders import find_masks


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(root: Path, only_case: str = "") -> dict[str, str]:
    return {case: path.relative_to(root).as_posix() for case, path in find_masks(root, only_case).items()}


def test_a_folder_of_files(tmp_path):
    touch(tmp_path, "b.nii.gz", "a_0000.nrrd", "notes.txt")
    assert found(tmp_path) == {"a": "a_0000.nrrd", "b": "b.nii.gz"}


def test_a_folder_of_organs_for_each_case(tmp_path):
    touch(tmp_path, "s1/liver.nii.gz", "s1/spleen.nii.gz", "s2/segmentations/liver.nii.gz", "s2/ct.nii.gz")
    touch(tmp_path, "s0.nii.gz", "empty/spleen.nii.gz", ".s3/liver.nii.gz")
    expected = {"s0": "s0.nii.gz", "s1": "s1/liver.nii.gz", "s2": "s2/segmentations/liver.nii.gz"}
    assert found(tmp_path) == expected
    assert list(found(tmp_path)) == sorted(expected)


def test_a_single_scan_has_a_single_mask(tmp_path):
    touch(tmp_path, "segmentations/liver.nii.gz", "segmentations/spleen.nii.gz")
    organs = tmp_path / "segmentations"
    assert found(organs, "ct") == {"ct": "liver.nii.gz"}
    assert found(organs, "spleen") == {"liver": "liver.nii.gz", "spleen": "spleen.nii.gz"}  # as it is called
    assert find_masks(organs / "liver.nii.gz", "ct") == {"ct": organs / "liver.nii.gz"}
    assert find_masks(organs / "liver.nii.gz") == {"liver": organs / "liver.nii.gz"}


def test_two_masks_of_one_case_are_refused(tmp_path):
    touch(tmp_path, "A.nii.gz", "a/liver.nii.gz")
    with pytest.raises(TumorgenError, match="case 'a' has another mask"):
        find_masks(tmp_path)


def test_a_folder_without_masks_is_refused(tmp_path):
    touch(tmp_path, "s1/spleen.nii.gz")
    with pytest.raises(TumorgenError, match="no volumes in it"):
        find_masks(tmp_path)
    with pytest.raises(TumorgenError, match="no such file or folder"):
        find_masks(tmp_path / "none")
