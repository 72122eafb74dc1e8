"""A dataset whose images lie on another disk, by a link: where that is not mounted, nothing counts as lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from phantoms import write_balls
from trees import files_in

from tumorgen.cli import main
from tumorgen.generation import pool
from tumorgen.tables.entries import read_entries

NAME = "Dataset501_SynthLiver"
FOLDERS = ("imagesTr", "labelsTr")


def command(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def synth(*more: object) -> Result:
    scans = ("--images", "images", "--masks", "masks")
    return command("synth", *scans, "--per-scan", 2, "--sizes", "tiny", "--jobs", 1, "--output", ".", *more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans, and a dataset of two samples of each."""
    root = write_balls(tmp_path_factory.mktemp("made"), 2, "liver", (6.0, 4.0, 4.0))
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        assert synth().exit_code == 0
    return root


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, in the working folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def link_to_a_disk(folder: str) -> Path:
    """Move a folder of the dataset elsewhere and link to it."""
    disk, link = Path("disk").absolute(), Path(NAME, folder)
    disk.mkdir()
    link.rename(disk / folder)
    link.symlink_to(disk / folder)
    return disk


WRITING = {
    "synth": ("synth", "--images", "images", "--masks", "masks", "--sizes", "tiny", "--output", "."),
    "shard": ("synth", "--images", "images", "--masks", "masks", "--sizes", "tiny", "--output", ".", "--shard", "1/2"),
    "from manifest": ("synth", "--from-manifest", f"manifests/{NAME}.csv", "--output", "."),
    "replay": ("replay", f"manifests/{NAME}.csv", "--output", NAME),
    "merge": ("merge", NAME),
    "remove": ("remove", NAME, "--case", "liver_0"),
}


@pytest.mark.parametrize("words", WRITING.values(), ids=WRITING)
@pytest.mark.parametrize("folder", FOLDERS)
def test_whatever_writes_is_refused_and_nothing_changes(here, words, folder):
    disk = link_to_a_disk(folder)
    disk.rename("unmounted")
    before = files_in(here)
    refused = command(*words)
    assert refused.exit_code == 1
    told = f"{NAME}/{folder}: is a link to {disk / folder}, which is not there; is its disk mounted?\n"
    assert refused.stderr.endswith(told)
    assert files_in(here) == before


def test_so_is_a_test_set(here):
    """Which could pass for a training set without images."""
    for folder in FOLDERS:
        Path(NAME, folder).rename(Path(NAME, folder.replace("Tr", "Ts")))
    Path(NAME, "imagesTs").rename("disk")
    Path(NAME, "imagesTs").symlink_to("nowhere")
    assert "imagesTs: is a link to nowhere, which" in command("remove", NAME, "--case", "liver_0").stderr


def test_of_files_that_are_gone_the_rows_stay_until_there_is_a_new_one(here, made, monkeypatch):
    """A folder below which a disk should be mounted may be empty, and the files come back."""
    tables = {name: Path(NAME, name).read_bytes() for name in ("manifest.csv", "tumors.csv")}
    Path(NAME, "imagesTr").rename("disk")

    def end_early(*_: object) -> None:
        raise KeyboardInterrupt

    for path in Path("images").iterdir():
        path.write_bytes(b"")
    failed = synth()
    assert "0 samples with 0 tumours, 0 made in" in failed.stdout
    assert "2 failed, for 1 reason: nothing was written" in failed.stderr
    assert {name: Path(NAME, name).read_bytes() for name in tables} == tables
    shutil.copytree(made / "images", "images", dirs_exist_ok=True)
    with monkeypatch.context() as patched:
        patched.setattr(pool, "remove_manifest", end_early)
        assert synth().exit_code == 130
    assert {name: Path(NAME, name).read_bytes() for name in tables} == tables
    shutil.rmtree(Path(NAME, "imagesTr"))
    Path("disk").rename(Path(NAME, "imagesTr"))
    assert "4 samples with" in (done := synth()).stdout
    assert "0 made in" in done.stdout


def test_who_deleted_the_images_makes_them_again(here, made):
    shutil.rmtree(Path(NAME, "imagesTr"))
    assert "4 made in" in synth("--per-scan", 2).stdout
    assert files_in(here) == files_in(made)


def test_rows_whose_files_are_gone_do_not_stay_beside_new_ones(here):
    """Of other scans, say: no row is left without its files."""
    shutil.rmtree(Path(NAME, "imagesTr"))
    for folder in ("images", "masks"):
        Path(folder, "liver_0.nii.gz").unlink()
    assert synth().exit_code == 0
    assert [entry.sample for entry in read_entries(Path(NAME, "manifest.csv"))] == ["liver_1_v0000", "liver_1_v0001"]
