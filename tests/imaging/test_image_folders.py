"""Where CTs are found: files of the cases' names, one for each, and folders as TotalSegmentator's own data have."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.dicom import find_scans
from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.image_folders import find_images
from tumorgen.imaging.reading import write_volume
from tumorgen.tables.sources import match_sources


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


def test_a_folder_for_each_case(tmp_path):
    touch(tmp_path, "s2/ct.nii.gz", "s1/ct.nii.gz", "s1/segmentations/liver.nii.gz", ".s3/ct.nii.gz", "s4/mr.nii.gz")
    assert found(tmp_path) == {"s1": "s1/ct.nii.gz", "s2": "s2/ct.nii.gz"}
    assert list(found(tmp_path)) == ["s1", "s2"]
    touch(tmp_path, "a.nii.gz")
    assert found(tmp_path) == {"a": "a.nii.gz"}  # what lies below is nothing to do with them


def test_two_folders_of_one_case_are_refused(tmp_path):
    touch(tmp_path, "s 1/ct.nii.gz", "s-1/ct.nii.gz")
    with pytest.raises(TumorgenError, match="case 's-1' is also s 1"):
        find_images(tmp_path)


def test_folders_of_images_and_masks_pair_by_the_folders_of_cases(tmp_path):
    touch(tmp_path, "s1/ct.nii.gz", "s1/segmentations/liver.nii.gz", "Müller/ct.nii.gz", "Müller/liver.nii.gz")
    touch(tmp_path / "masks", "s1.nii.gz", "Möller.nii.gz")
    sources, missing = match_sources(tmp_path, tmp_path)
    assert [source.case for source in sources] == ["M-ller", "s1"]
    assert all(source.image.name == "ct.nii.gz" and source.mask.name == "liver.nii.gz" for source in sources)
    assert not missing
    with pytest.raises(TumorgenError, match="both are case 'M-ller', but are called otherwise"):
        match_sources(tmp_path, tmp_path / "masks")


def test_from_folders_of_cases_to_samples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    volume, liver = ball_volume((6.0, 5.0, 5.0))
    for case in ("s0001", "s0002"):
        write_volume(volume, Path(f"ts/{case}/ct.nii.gz"))
        write_volume(Volume(liver, volume.geometry), Path(f"ts/{case}/segmentations/liver.nii.gz"))
        write_volume(Volume(~liver, volume.geometry), Path(f"ts/{case}/segmentations/spleen.nii.gz"))
    scans = find_scans(Path("ts"))
    assert {case: path.as_posix() for case, path in scans.volumes.items()} == {
        "s0001": "ts/s0001/ct.nii.gz",
        "s0002": "ts/s0002/ct.nii.gz",
    }
    assert not scans.skipped
    line = "synth --images ts --masks ts --per-scan 1 --sizes tiny --recipe paper --output out --jobs 1"
    done = CliRunner().invoke(main, line.split())
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in Path("out").rglob("*_0000.nii.gz")) == [
        "s0001_v0000_0000.nii.gz",
        "s0002_v0000_0000.nii.gz",
    ]
