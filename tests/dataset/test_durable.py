"""What a machine that goes down may leave: rows without their bytes. It is found, and made again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from phantoms import ball_volume

from tumorgen.dataset.durable import remove_torn_samples, sync_samples
from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.settings import Settings
from tumorgen.tables.manifest import read_manifest
from tumorgen.tables.sources import match_sources


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scans")
    volume, liver = ball_volume((4.0, 4.0, 4.0))
    write_volume(volume, root / "images" / "liver.nii.gz")
    write_volume(Volume(liver, volume.geometry), root / "masks" / "liver.nii.gz")
    return root


def make(scans: Path, folder: Path) -> int:
    sources, _ = match_sources(scans / "images", scans / "masks")
    return synthesize_dataset(Run(Dataset(folder), sources, Settings(sizes=("tiny",)), per_scan=4, jobs=1)).made


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


TORN = {
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", TORN)
@pytest.mark.parametrize("part", ["image", "label"])
def test_after_a_power_cut_what_is_torn_is_made_again(scans, tmp_path, how, part):
    folder = tmp_path / "D"
    make(scans, folder)
    before = tree(folder)
    dataset = Dataset(folder)
    TORN[how](getattr(dataset, part)("liver_v0002"))
    (folder / ".lock").write_text("left by a process that is no more")
    assert make(scans, folder) == 1
    assert tree(folder) == before


def test_what_is_whole_is_kept(scans, tmp_path):
    make(scans, tmp_path / "D")
    assert remove_torn_samples(Dataset(tmp_path / "D"), read_manifest(tmp_path / "D" / "manifest.csv")) == []
    (tmp_path / "D" / ".lock").write_text("left")
    assert make(scans, tmp_path / "D") == 0


def test_images_and_labels_are_synced_before_the_run_says_that_it_is_done(scans, tmp_path, monkeypatch):
    synced: list[str] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc here to tell what is synced")
    monkeypatch.setattr(os, "fsync", noting)
    make(scans, tmp_path / "D")
    volumes = {str(path) for path in (tmp_path / "D").rglob("*.nii.gz")}
    assert len(volumes) == 8
    last = max(synced.index(path) for path in volumes)
    assert last < max(i for i, path in enumerate(synced) if path.endswith("dataset.json"))


def test_a_disk_that_does_not_take_them_is_told(scans, tmp_path, monkeypatch):
    make(scans, tmp_path / "D")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TumorgenError, match="No space left"):
        sync_samples(Dataset(tmp_path / "D"), ["liver_v0000"])
