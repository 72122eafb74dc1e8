"""Tables name no user's folders, and what is moved with its scans is found, replayed and continued."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from phantoms import write_balls

from tumorgen.cli import main
from tumorgen.generation import copies
from tumorgen.imaging.reading import read_volume
from tumorgen.liver.masks import mask_scans
from tumorgen.tables.manifest import read_manifest
from tumorgen.tables.scans import read_scans

NAME = "Dataset501_SynthLiver"
USER = "marie-curie"
Tool = Callable[..., Result]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in a user's folder: scans, masks, the table of scans, and a dataset."""
    project = tmp_path_factory.mktemp("data") / USER / "project"
    balls = write_balls(project, 2, "liver", (6.0, 4.0, 4.0))
    (project / "images").rename(project / "ct")
    images = {f"liver_{n}": project / "ct" / f"liver_{n}.nii.gz" for n in range(2)}
    torn = project / "ct" / "torn.nii.gz"
    torn.write_bytes(images["liver_0"].read_bytes()[:500])
    masks = iter([read_volume(balls / "masks" / f"{case}.nii.gz").array > 0 for case in images])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        report = mask_scans(images | {"torn": torn}, Path("livers"), lambda: lambda _: next(masks))
        assert report.made == 2
        shutil.rmtree("masks")
        assert tool(*SYNTH).exit_code == 1  # torn
    return project


def tool(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


SYNTH = ("synth", "--per-scan", "2", "--sizes", "tiny", "--jobs", "1", "--output", "nnUNet_raw", "--force")


@pytest.fixture
def moved(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, elsewhere; the first one cannot be seen."""
    shutil.copytree(made, tmp_path / "elsewhere")
    made.rename(made.with_name("away"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield tmp_path / "elsewhere"
    made.with_name("away").rename(made)


def voxels_of(dataset: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in dataset.rglob("*.nii.gz")}


def test_no_file_for_version_control_names_a_users_folder(made):
    dataset = made / "nnUNet_raw" / NAME
    kept = [*(made / "manifests").iterdir(), *(path for path in dataset.iterdir() if path.is_file())]
    assert {"scans.csv", f"{NAME}.csv", "manifest.csv", "tumors.csv", "provenance.json"} <= {path.name for path in kept}
    for path in kept:
        assert USER not in path.read_text(encoding="utf-8"), path
    rows = (made / "manifests" / "scans.csv").read_text()
    assert "ct/liver_0.nii.gz,livers/liver_0.nii.gz" in rows
    assert ",torn.nii.gz: " in rows
    assert "ct/liver_1.nii.gz,livers/liver_1.nii.gz" in (dataset / "manifest.csv").read_text()
    assert read_scans(made / "manifests" / "scans.csv")[0].image == str(made / "ct" / "liver_0.nii.gz")


@pytest.mark.parametrize("manifest", [f"manifests/{NAME}.csv", f"nnUNet_raw/{NAME}/manifest.csv"])
def test_what_is_moved_with_its_scans_is_replayed(made, moved, manifest):
    assert tool("replay", manifest, "--output", "again", "--jobs", "1").exit_code == 0
    dataset = moved / "nnUNet_raw" / NAME
    assert voxels_of(moved / "again") == voxels_of(dataset)
    assert (moved / "again" / "manifest.csv").read_bytes() == (dataset / "manifest.csv").read_bytes()


def test_what_is_moved_with_its_scans_is_proved_and_continued(moved):
    assert tool("verify", f"nnUNet_raw/{NAME}", "--replays", "-1", "--jobs", "1").exit_code == 0
    before = (moved / "nnUNet_raw" / NAME / "manifest.csv").read_bytes()
    assert ", 0 made in " in tool(*SYNTH).stdout
    assert (moved / "nnUNet_raw" / NAME / "manifest.csv").read_bytes() == before


def test_a_dataset_that_is_moved_alone_asks_for_its_scans(moved, tmp_path, monkeypatch):
    alone = tmp_path / "alone" / NAME
    shutil.copytree(moved / "nnUNet_raw" / NAME, alone)
    monkeypatch.chdir(alone)
    found = tool("verify", ".", "--jobs", "1")
    assert found.exit_code == 1
    assert found.stderr == (
        "Error: no scan is where the table says (ct/liver_0.nii.gz and ct/liver_1.nii.gz); say where they are now with"
        " --images and --masks\n"
    )
    given = ("--images", str(moved / "ct"), "--masks", str(moved / "livers"))
    assert tool("verify", ".", *given, "--jobs", "1").exit_code == 0
    monkeypatch.chdir(moved)  # where the scans are is found from where one stands, too
    assert tool("verify", str(alone), "--jobs", "1").exit_code == 0


def test_tables_of_earlier_versions_with_absolute_paths_read_replay_and_continue(moved):
    dataset = moved / "nnUNet_raw" / NAME
    manifest = dataset / "manifest.csv"
    relative = manifest.read_text()
    absolute = relative.replace(",ct/", f",{moved}/ct/").replace(",livers/", f",{moved}/livers/")
    assert absolute.count(str(moved)) == 8
    before = read_manifest(manifest)
    manifest.write_text(absolute)
    assert read_manifest(manifest) == before
    assert tool("replay", str(manifest), "--output", "again", "--jobs", "1").exit_code == 0
    assert voxels_of(moved / "again") == voxels_of(dataset)
    assert tool(*SYNTH, "--per-scan", "3").exit_code == 1  # torn
    rows = manifest.read_text().splitlines()
    assert [str(moved) in row for row in rows] == [False, True, True, False, True, True, False]
    assert tool("verify", str(dataset), "--jobs", "1").exit_code == 0


def test_many_rows_are_copied_compressed_and_read_by_the_same_code(moved, monkeypatch):
    monkeypatch.setattr(copies, "LARGEST_PLAIN", 1000)
    packed, dataset = moved / "manifests" / f"{NAME}.csv.gz", moved / "nnUNet_raw" / NAME
    told = tool(*SYNTH)
    assert f"its copy is compressed: manifests/{packed.name}" in told.stdout
    assert sorted(path.name for path in packed.parent.iterdir()) == [packed.name, f"{NAME}.tumors.csv.gz", "scans.csv"]
    assert gzip.decompress(packed.read_bytes()) == (dataset / "manifest.csv").read_bytes()
    assert packed.read_bytes()[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time
    once = packed.read_bytes()
    tool(*SYNTH)
    assert packed.read_bytes() == once
    assert tool("replay", str(packed), "--output", "again", "--jobs", "1").exit_code == 0
    assert voxels_of(moved / "again") == voxels_of(dataset)
    other = ("--output", "raw", "--dataset-id", "503", "--jobs", "1")
    assert tool("synth", "--from-manifest", str(packed), *other).exit_code == 0
    monkeypatch.undo()
    monkeypatch.chdir(moved)
    tool(*SYNTH)
    assert not packed.exists()
    assert (packed.parent / f"{NAME}.csv").is_file()
