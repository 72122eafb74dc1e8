"""What a machine that goes down may leave: rows without their bytes. It is found, and made again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from phantoms import ball_volume
from trees import files_in

from tumorgen.checksums import sha256_of
from tumorgen.dataset import durable
from tumorgen.dataset.durable import count_synced, remove_torn_samples, sync_samples
from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.generation import run as run_module
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.settings import Settings
from tumorgen.tables.entries import read_entries
from tumorgen.tables.sources import match_sources


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scans")
    volume, liver = ball_volume((4.0, 4.0, 4.0))
    write_volume(volume, root / "images" / "liver.nii.gz")
    write_volume(Volume(liver, volume.geometry), root / "masks" / "liver.nii.gz")
    return root


def make(scans: Path, folder: Path, per_scan: int = 4, **options: Any) -> int:
    sources, _ = match_sources(scans / "images", scans / "masks")
    run = Run(Dataset(folder), sources, Settings(sizes=("tiny",)), per_scan=per_scan, jobs=1, **options)
    return synthesize_dataset(run).made


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
    before = files_in(folder)
    dataset = Dataset(folder)
    TORN[how](getattr(dataset, part)("liver_v0002"))
    (folder / "SHA256SUMS").unlink()  # which a run writes when all is on disk: this one did not get that far
    (folder / ".lock").write_text("left by a process that is no more")
    assert make(scans, folder) == 1
    assert files_in(folder) == before


def test_an_image_that_is_a_link_to_itself_is_made_again(scans, tmp_path):
    folder = tmp_path / "Dataset501_x"
    assert make(scans, folder) == 4
    image = Dataset(folder).image("liver_v0002")
    before = image.read_bytes()
    image.unlink()
    image.symlink_to(image.name)
    assert make(scans, folder) == 1
    assert not image.is_symlink()
    assert image.read_bytes() == before


def test_what_is_whole_is_kept(scans, tmp_path):
    make(scans, tmp_path / "D")
    assert remove_torn_samples(Dataset(tmp_path / "D"), read_entries(tmp_path / "D" / "manifest.csv")) == []
    (tmp_path / "D" / ".lock").write_text("left")
    assert make(scans, tmp_path / "D") == 0


def killed(scans: Path, folder: Path, after: int, per_scan: int) -> None:
    """A run that has made some samples when it is killed: nothing tidies up."""

    def start(total: int) -> Callable[[int], None]:
        left = after

        def move(step: int) -> None:
            nonlocal left
            left -= step
            if left < 0:
                raise KeyboardInterrupt

        return move

    with pytest.raises(KeyboardInterrupt):
        make(scans, folder, per_scan, start=start)
    assert (folder / ".lock").exists()


def compared(monkeypatch: pytest.MonkeyPatch, scans: Path, folder: Path, per_scan: int) -> tuple[list[str], list[int]]:
    """Names of the images that the next run compares with their rows, and how many samples it says it does."""
    read, told = [], []

    def noting(path: Path) -> str:
        read.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(durable, "sha256_of", noting)
    make(scans, folder, per_scan, check=lambda total: told.append(total) or (lambda step: told.append(-step)))
    assert sum(told) == 0
    return [name for name in read if name.endswith("_0000.nii.gz")], told


def test_after_a_crash_only_what_was_made_since_the_last_run_is_compared(scans, tmp_path, monkeypatch):
    make(scans, tmp_path / "D", 3)
    killed(scans, tmp_path / "D", after=2, per_scan=7)
    images, told = compared(monkeypatch, scans, tmp_path / "D", 7)
    assert images == [f"liver_v000{n}_0000.nii.gz" for n in (3, 4, 5)]
    assert told[0] == 3


def test_in_the_midst_of_a_run_files_are_synced_and_need_not_be_compared(scans, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "SYNC_EVERY_S", 0.0)
    killed(scans, tmp_path / "D", after=3, per_scan=5)
    images, _ = compared(monkeypatch, scans, tmp_path / "D", 5)
    assert images == ["liver_v0003_0000.nii.gz"]  # whose row was written, and then the process was killed


def test_a_table_that_is_another_was_never_synced(tmp_path):
    table = tmp_path / "manifest.csv"
    table.write_text("sample\na\nb\n")
    known = sha256_of(table)
    table.write_text("sample\na\nb\nc\n")
    assert count_synced(table, {known}) == 2
    table.write_text("sample\nb\na\nc\n")
    assert count_synced(table, {known}) == 0
    assert count_synced(tmp_path / "none.csv", {known}) == 0


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
