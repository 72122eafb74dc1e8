"""How long and how much, said beforehand; and a run for which the disk does not have enough room."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.generation import space
from tumorgen.generation.estimate import estimate_run
from tumorgen.generation.run import Run
from tumorgen.generation.shards import Shard
from tumorgen.generation.space import deflated_bytes, most_bytes, needed_bytes, refuse_full_disk
from tumorgen.generation.synth import find_outstanding, synthesize_dataset
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.reading import write_volume
from tumorgen.method.recipes import load_recipe
from tumorgen.method.settings import Settings
from tumorgen.tables.sources import Source, match_sources

SETTINGS = Settings(sizes=("tiny", "small"))
SPACINGS = (
    (5.0, 5.0, 5.0),
    (4.0, 4.0, 4.0),
    (3.0, 3.0, 3.0),
)  # so that the largest has five times the smallest's voxels
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scans")
    for number, spacing in enumerate(SPACINGS):
        volume, liver = ball_volume(spacing, seed=number)
        write_volume(volume, root / "images" / f"liver_{number}.nii.gz")
        write_volume(Volume(liver, volume.geometry), root / "masks" / f"liver_{number}.nii.gz")
    return root


@pytest.fixture(scope="module")
def sources(scans):
    return match_sources(scans / "images", scans / "masks")[0]


def written(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.nii.gz"))


def test_it_says_what_the_run_writes(sources, tmp_path) -> None:
    """Within 5 %, though one scan was measured and the others are of other sizes."""
    dataset = Dataset(tmp_path / "D")
    found = estimate_run(Run(dataset, sources, SETTINGS, per_scan=4))
    assert list(tmp_path.iterdir()) == []
    assert [(each.name, each.samples) for each in found.classes] == [("tiny", 6), ("small", 6)]
    assert found.samples == 12
    assert found.case == "liver_1"  # of middling size
    synthesize_dataset(Run(dataset, sources, SETTINGS, per_scan=4, jobs=1))
    assert found.bytes == pytest.approx(written(dataset.folder), rel=0.05)
    assert found.seconds > 0


def test_it_says_what_a_run_of_the_default_recipe_writes(sources, tmp_path) -> None:
    """Within a tenth: sizes and numbers are as different as real ones, and one sample stands for all."""
    run = Run(Dataset(tmp_path / "D"), sources, load_recipe(), per_scan=6, jobs=1)
    found = estimate_run(run)
    assert [(each.name, each.samples) for each in found.classes] == [("real", 18)]
    synthesize_dataset(run)
    assert found.bytes == pytest.approx(written(run.dataset.folder), rel=0.1)


def test_only_what_is_missing_counts(sources, tmp_path) -> None:
    dataset = Dataset(tmp_path / "D")
    synthesize_dataset(Run(dataset, sources, SETTINGS, per_scan=2, jobs=1))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert estimate_run(Run(dataset, sources, SETTINGS, per_scan=2)).samples == 0
    assert estimate_run(Run(dataset, sources, SETTINGS, per_scan=4)).samples == 6
    assert estimate_run(Run(dataset, sources, SETTINGS, per_scan=4, shard=Shard(1, 2))).samples == 2
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path != tmp_path} == before


def test_more_processes_take_less_time(sources, tmp_path) -> None:
    one, two = (estimate_run(Run(Dataset(tmp_path / "D"), sources, SETTINGS, per_scan=50, jobs=n)) for n in (1, 2))
    assert one.samples == two.samples == 150
    assert two.seconds < one.seconds
    assert one.preparations == 3


def test_a_broken_scan_is_passed_over(scans, tmp_path) -> None:
    shutil.copytree(scans, tmp_path / "in")
    (tmp_path / "in" / "images" / "liver_1.nii.gz").write_bytes(b"no scan" * 10_000)
    sources, _ = match_sources(tmp_path / "in" / "images", tmp_path / "in" / "masks")
    found = estimate_run(Run(Dataset(tmp_path / "D"), sources, SETTINGS, per_scan=2))
    assert found.case in ("liver_0", "liver_2")
    (tmp_path / "in" / "images" / "liver_0.nii.gz").write_bytes(b"")
    (tmp_path / "in" / "images" / "liver_2.nii.gz").write_bytes(b"")
    with pytest.raises(TumorgenError, match="no scan can be used"):
        estimate_run(Run(Dataset(tmp_path / "D"), sources, SETTINGS, per_scan=2))


def test_a_folder_of_something_else_is_refused(sources, tmp_path) -> None:
    (tmp_path / "D").mkdir()
    (tmp_path / "D" / "precious.txt").write_text("mine")
    with pytest.raises(TumorgenError, match="holds another dataset"):
        estimate_run(Run(Dataset(tmp_path / "D"), sources, SETTINGS))


def typed(scans: Path, *more: str) -> list[str]:
    folders = ["--images", str(scans / "images"), "--masks", str(scans / "masks")]
    return ["synth", *folders, "--per-scan", "2", "--sizes", "tiny,small", "--jobs", "1", *more]


def test_as_typed(scans, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    result = CliRunner().invoke(main, typed(scans, "--estimate"))
    assert result.exit_code == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[:2] for row in rows if row and row[0] in ("tiny", "small", "total")] == [
        ["tiny", "3"],
        ["small", "3"],
        ["total", "6"],
    ]
    assert "GB are free" in result.stdout
    assert "1 core" in result.stdout
    assert list(tmp_path.iterdir()) == []
    assert CliRunner().invoke(main, typed(scans)).exit_code == 0
    assert "every sample is there" in CliRunner().invoke(main, typed(scans, "--estimate")).stdout


def test_scripts_read_the_estimate(scans, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    said = json.loads(CliRunner().invoke(main, typed(scans, "--estimate", "--json")).stdout)
    assert said["samples"] == 6
    assert said["bytes_free"] > said["bytes_needed"] > 0
    assert said["seconds_needed"] >= 0
    assert CliRunner().invoke(main, typed(scans)).exit_code == 0
    said = json.loads(CliRunner().invoke(main, typed(scans, "--estimate", "--json")).stdout)
    assert (said["samples"], said["bytes_needed"], said["seconds_needed"]) == (0, 0, 0)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd"])
def test_room_is_judged_alike_for_every_format(tmp_path, ending) -> None:
    volume, _ = ball_volume((2.0, 2.0, 2.0))
    paths = [tmp_path / f"gz{i}.nii.gz" if i else tmp_path / f"scan{ending}" for i in range(2)]
    for path in paths:
        sitk.WriteImage(to_image(volume), str(path), useCompression=True)
    assert deflated_bytes(paths[0]) == pytest.approx(deflated_bytes(paths[1]), rel=0.15)


def test_room_is_judged_by_what_samples_take(sources, tmp_path) -> None:
    """Not too little; and not much too much, which would refuse what fits."""
    dataset = Dataset(tmp_path / "D")
    needed = needed_bytes(sources, find_outstanding(Run(dataset, sources, SETTINGS, per_scan=2)).wanted)
    synthesize_dataset(Run(dataset, sources, SETTINGS, per_scan=2, jobs=1))
    assert 1.0 <= needed / written(dataset.folder) <= 1.2


def test_of_many_scans_a_few_are_looked_into(tmp_path, monkeypatch) -> None:
    looked, scans = [], []
    for number in range(30):
        path = tmp_path / f"{number}.nii.gz"
        path.write_bytes(np.random.default_rng(number).bytes(1000 + 10 * number) + bytes(1000))
        scans.append(Source(str(number), path, path))
    whole = space.sample_sizes(scans)
    monkeypatch.setattr(space, "LOOKED_INTO", 5)
    monkeypatch.setattr(space, "deflated_bytes", lambda path: looked.append(path) or deflated_bytes(path))
    some = space.sample_sizes(scans)
    assert len(looked) == 10  # five images and five masks
    assert list(some.values()) == pytest.approx(list(whole.values()), rel=0.05)


def test_a_file_that_is_not_there_needs_no_room(tmp_path) -> None:
    assert deflated_bytes(tmp_path / "nothing.nii.gz") == 0
    (tmp_path / "empty.nii.gz").touch()
    assert deflated_bytes(tmp_path / "empty.nii.gz") == 0


def test_incompressible_bytes_count_whole(tmp_path) -> None:
    path = tmp_path / "noise.nii.gz"
    path.write_bytes(np.random.default_rng(0).bytes(3_000_000))
    assert deflated_bytes(path) == 3_000_000


def test_a_full_disk_is_refused_before_anything_is_written(scans, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: Usage(2_000_000, 1_900_000, 100_000))
    refused = CliRunner().invoke(main, typed(scans))
    assert refused.exit_code == 1
    assert "will write about 0.0 GB, and 0.0 GB are free" in refused.stderr
    assert "--force" in refused.stderr
    assert list(tmp_path.iterdir()) == []
    assert "not enough: the run will not start" in CliRunner().invoke(main, typed(scans, "--estimate")).stdout
    assert CliRunner().invoke(main, typed(scans, "--force")).exit_code == 0
    assert CliRunner().invoke(main, typed(scans)).exit_code == 0  # nothing is missing, so nothing is needed


def test_no_file_is_looked_into_where_all_have_room(sources, monkeypatch) -> None:
    wanted = {source.case: (0, 1) for source in sources}
    monkeypatch.setattr(space, "deflated_bytes", lambda path: pytest.fail("has looked"))
    stored = sum(path.stat().st_size for source in sources for path in (source.image, source.mask))
    assert most_bytes(sources, wanted) == round(space.MARGIN * 2 * stored)
    refuse_full_disk(Path.cwd(), sources, wanted)


def test_the_disk_that_counts_is_the_outputs(sources, tmp_path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: asked.append(path) or Usage(1, 1, 10**12))
    synthesize_dataset(Run(Dataset(tmp_path / "a" / "b" / "D"), sources[:1], SETTINGS, per_scan=1, jobs=1))
    assert asked == [tmp_path / "a" / "b" / "D"]
