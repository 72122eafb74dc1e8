"""Where CTs are found: files of the cases' names, one for each."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tumorgen.cli import main
from tumorgen.errors import TumorgenError
from tumorgen.imaging.image_folders import find_images


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(root: Path) -> dict[str, str]:
    return {case: path.relative_to(root).as_posix() for case, path in find_images(root).items()}


def test_a_folder_of_files(tmp_path):
    touch(tmp_path, "b.nii.gz", "a_0000.nrrd", "c_0001.nii", "b_0010.mha", "notes.txt")
    assert found(tmp_path) == {"a": "a_0000.nrrd", "b": "b.nii.gz", "b_0010": "b_0010.mha", "c_0001": "c_0001.nii"}


@pytest.mark.parametrize("second", ["a_0001.nii.gz", "a_0003.nrrd"])
def test_a_second_channel_of_a_case_is_refused(tmp_path, second):
    touch(tmp_path, "a_0000.nii.gz", "b.nii.gz", second)
    with pytest.raises(TumorgenError, match=rf"channel {second[5]} of the case of a_0000\.nii\.gz"):
        find_images(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        ("liver-mask", "ct", "livers"),
        *((name, "--images", "ct", "--masks", "livers") for name in ("synth", "healthy", "robustness")),
    ],
)
def test_commands_that_list_images_refuse_it_in_one_line(tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "ct/a_0000.nii.gz", "ct/a_0001.nii.gz", "livers/a.nii.gz")
    done = CliRunner().invoke(main, line)
    assert done.exit_code in (1, 2)
    assert done.stderr.splitlines()[-1].startswith("Error: ct/a_0001.nii.gz: to nnU-Net it is channel 1")
    assert not list(tmp_path.rglob("Dataset*"))


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(TumorgenError, match="no volumes in it"):
        find_images(tmp_path)
