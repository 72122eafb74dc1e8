"""Rows render again: to the same bits, as edited, and never into the wrong scan."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from phantoms import ball_volume
from trees import files_in

from tumorgen.cli import main
from tumorgen.dataset.provenance import read_val_per_scan, versions
from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.generation.removal import remove_cases
from tumorgen.generation.replay import Replay, replay_manifest
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.generation.verify import verify_dataset
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.settings import Settings
from tumorgen.tables.manifest import read_manifest
from tumorgen.tables.sources import match_sources


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset of two scans, of every size class that fits, and its folder of scans."""
    root = tmp_path_factory.mktemp("made")
    for number, dtype in enumerate(("int16", "float32")):
        volume, liver = ball_volume((4.0, 2.0, 2.0), vessel_radius_mm=4.0, seed=number, dtype=dtype)
        write_volume(volume, root / "images" / f"scan_{number}.nii.gz")
        write_volume(Volume(liver, volume.geometry), root / "masks" / f"scan_{number}.nii.gz")
    sources, _ = match_sources(root / "images", root / "masks")
    report = synthesize_dataset(
        Run(Dataset(root / "Dataset501_X"), sources, Settings(sizes=("tiny", "medium", "mix")), per_scan=3, jobs=1)
    )
    assert not report.failures
    return root


@pytest.fixture(autouse=True)
def beside_the_scans(made, monkeypatch):
    """Where one stands, so that a copy of the dataset finds its scans."""
    monkeypatch.chdir(made)


def array(folder: Path, name: str) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name)))


def edit(folder: Path, to: Path, row_of: str, number: str, /, **cells: str) -> Path:
    """Copy a dataset's tables with some cells of one tumour changed by hand."""
    to.mkdir()
    (to / "edited.csv").write_text((folder / "manifest.csv").read_text())
    with (folder / "tumors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if (row["sample"], row["tumor"]) == (row_of, number):
            row.update(cells)
    with (to / "edited.tumors.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return to / "edited.csv"


def test_replay_gives_the_same_files(made):
    again = made / "again"
    report = replay_manifest(Replay(Dataset(again), made / "Dataset501_X" / "manifest.csv", jobs=1))
    assert report.made == 6
    for table in ("manifest.csv", "tumors.csv", "dataset.json", "splits_final.json"):
        assert (again / table).read_bytes() == (made / "Dataset501_X" / table).read_bytes()
    for path in again.rglob("*.nii.gz"):
        assert path.read_bytes() == (made / "Dataset501_X" / path.relative_to(again)).read_bytes()


def test_replay_of_one_sample_from_a_copy_of_the_manifest(made, tmp_path):
    copy = tmp_path / "kept.csv"
    copy.write_text((made / "Dataset501_X" / "manifest.csv").read_text())
    (tmp_path / "kept.tumors.csv").write_text((made / "Dataset501_X" / "tumors.csv").read_text())
    command = ["replay", str(copy), "--sample", "scan_1_v0002", "--output", str(tmp_path / "one"), "--jobs", "1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.stderr
    (record,) = read_manifest(tmp_path / "one" / "manifest.csv")
    assert record.plan.sample == "scan_1_v0002"
    name = "imagesTr/scan_1_v0002_0000.nii.gz"
    assert (tmp_path / "one" / name).read_bytes() == (made / "Dataset501_X" / name).read_bytes()


def test_a_row_made_darker_renders_darker(made, tmp_path):
    edited = edit(made / "Dataset501_X", tmp_path / "e", "scan_0_v0001", "0", mu_t_hu="-40.0")
    replay_manifest(Replay(Dataset(tmp_path / "out"), edited, samples=["scan_0_v0001"], jobs=1))
    before = {r.plan.sample: r for r in read_manifest(made / "Dataset501_X" / "manifest.csv")}["scan_0_v0001"]
    (after,) = read_manifest(tmp_path / "out" / "manifest.csv")
    assert after.plan.tumors[0].mu_t_hu == -40.0
    # The whole tumour moves by the change in mu_t, but for its soft edge and its capsule, which are a part of it.
    change = before.plan.tumors[0].mu_t_hu + 40
    assert before.outcomes[0].mean_hu - after.outcomes[0].mean_hu == pytest.approx(change, rel=0.25)
    assert before.outcomes[0].volume_mm3 == after.outcomes[0].volume_mm3
    assert before.outcomes[1:] == after.outcomes[1:]


def test_a_row_moved_by_hand_renders_where_it_says(made, tmp_path):
    before = {r.plan.sample: r for r in read_manifest(made / "Dataset501_X" / "manifest.csv")}["scan_0_v0001"]
    moved = before.plan.tumors[0].center_x_mm + 10
    edited = edit(made / "Dataset501_X", tmp_path / "e", "scan_0_v0001", "0", center_x_mm=str(moved))
    replay_manifest(Replay(Dataset(tmp_path / "out"), edited, samples=["scan_0_v0001"], jobs=1))
    (after,) = read_manifest(tmp_path / "out" / "manifest.csv")
    assert after.outcomes[0].center_x_voxel - before.outcomes[0].center_x_voxel == 5  # 10 mm at 2 mm a voxel
    assert not verify_dataset(tmp_path / "out", jobs=1, replays=-1).problems


def test_a_voxel_edited_in_vain_is_told(made, tmp_path):
    edited = edit(made / "Dataset501_X", tmp_path / "e", "scan_0_v0001", "0", center_x_voxel="1")
    command = ["replay", str(edited), "--sample", "scan_0_v0001", "--output", str(tmp_path / "out"), "--jobs", "1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0
    assert "note: scan_0_v0001, tumour 0: rendered at voxel" in result.stdout
    name = "imagesTr/scan_0_v0001_0000.nii.gz"
    assert (tmp_path / "out" / name).read_bytes() == (made / "Dataset501_X" / name).read_bytes()


def test_measured_columns_may_be_empty(made, tmp_path):
    with (made / "Dataset501_X" / "tumors.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    names = list(row)[list(row).index("center_z_voxel") :]
    edited = edit(made / "Dataset501_X", tmp_path / "e", "scan_0_v0000", "0", **dict.fromkeys(names, ""))
    replay_manifest(Replay(Dataset(tmp_path / "out"), edited, samples=["scan_0_v0000"], jobs=1))
    name = "labelsTr/scan_0_v0000.nii.gz"
    assert np.array_equal(array(tmp_path / "out", name), array(made / "Dataset501_X", name))


def test_scans_that_have_moved_are_found_where_told(made, tmp_path):
    (made / "images").rename(tmp_path / "images")
    try:
        with pytest.raises(TumorgenError, match=r"no scan is where the table says .* with --images and --masks"):
            replay_manifest(Replay(Dataset(tmp_path / "lost"), made / "Dataset501_X" / "manifest.csv", jobs=1))
        found = replay_manifest(
            Replay(
                Dataset(tmp_path / "found"),
                made / "Dataset501_X" / "manifest.csv",
                images=tmp_path / "images",
                masks=made / "masks",
                jobs=1,
            )
        )
        assert found.made == 6
    finally:
        (tmp_path / "images").rename(made / "images")


def test_another_scan_is_refused(made, tmp_path):
    volume, liver = ball_volume((4.0, 2.0, 2.0), seed=5)
    for number in range(2):
        write_volume(volume, tmp_path / "images" / f"scan_{number}.nii.gz")
        write_volume(Volume(liver, volume.geometry), tmp_path / "masks" / f"scan_{number}.nii.gz")
    report = replay_manifest(
        Replay(
            Dataset(tmp_path / "out"),
            made / "Dataset501_X" / "manifest.csv",
            images=tmp_path / "images",
            masks=tmp_path / "masks",
            jobs=1,
        )
    )
    assert report.made == 0
    assert all("planned for another image" in failure.reason for failure in report.failures)


def test_replay_into_its_own_dataset_is_refused(made):
    with pytest.raises(TumorgenError, match="replay into another folder"):
        replay_manifest(Replay(Dataset(made / "Dataset501_X"), made / "Dataset501_X" / "manifest.csv"))


@pytest.mark.parametrize("lost", [False, True], ids=["whole", "one sample lost"])
def test_what_synth_has_drawn_takes_no_samples_but_its_own(made, tmp_path, lost):
    """Its settings, seed and command would not be theirs, and the command would be refused from then on."""
    sources, _ = match_sources(made / "images", made / "masks")
    dataset = Dataset(tmp_path / "Dataset501_SynthLiver")
    run = Run(dataset, sources[:1], Settings(sizes=("tiny",)), per_scan=1, seed=7, jobs=1)
    synthesize_dataset(run)
    label = dataset.label("scan_0_v0000").read_bytes()
    if lost:
        dataset.label("scan_0_v0000").unlink()
    before = files_in(dataset.folder)
    stranger = "scan_0_v0000" if lost else "scan_1_v0000"
    command = ["synth", "--from-manifest", str(made / "Dataset501_X" / "manifest.csv"), "--output", str(tmp_path)]
    refused = CliRunner().invoke(main, [*command, "--jobs", "1"])
    assert refused.exit_code == 1
    with pytest.raises(TumorgenError, match=f"was drawn by `synth` or `robustness`, and '{stranger}' is none of its"):
        replay_manifest(Replay(dataset, made / "Dataset501_X" / "manifest.csv", samples=[stranger], jobs=1))
    assert files_in(dataset.folder) == before
    own = tmp_path / "own.csv"
    for name, copy in (("manifest.csv", own), ("tumors.csv", tmp_path / "own.tumors.csv")):
        copy.write_bytes((dataset.folder / name).read_bytes())
    assert replay_manifest(Replay(dataset, own, jobs=1)).made == lost  # what was lost is rendered again
    assert dataset.label("scan_0_v0000").read_bytes() == label
    assert synthesize_dataset(run).made == 0


def test_splits_validate_on_as_many_variants_as_the_folder_was_begun_with(made, tmp_path):
    """Whoever renders a sample again that was lost need not know what the run was told."""
    again, manifest = Dataset(tmp_path / "again"), made / "Dataset501_X" / "manifest.csv"
    replay_manifest(Replay(again, manifest, jobs=1, val_per_scan=3))
    before = {name: (again.folder / name).read_bytes() for name in ("splits_final.json", "provenance.json")}
    again.image("scan_0_v0000").unlink()
    replay_manifest(Replay(again, manifest, jobs=1))
    assert {name: (again.folder / name).read_bytes() for name in before} == before
    splits = json.loads(before["splits_final.json"])
    assert [len(split["val"]) for split in splits] == [3, 3]
    remove_cases(again, ["scan_1"])
    assert read_val_per_scan(again) == 3


def test_what_was_begun_with_other_versions_is_not_continued(made, tmp_path, monkeypatch):
    """Also where the run before was interrupted at its first sample."""
    again, manifest = Dataset(tmp_path / "again"), made / "Dataset501_X" / "manifest.csv"

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tumorgen.generation.replay.run_batches", interrupted)
        with pytest.raises(KeyboardInterrupt):
            replay_manifest(Replay(again, manifest, jobs=1))
    assert json.loads((again.folder / "provenance.json").read_text())["versions"] == versions()
    now = versions()
    with monkeypatch.context() as patch:
        patch.setattr("tumorgen.dataset.provenance.versions", lambda: {**now, "scipy": "0.0.1"})
        with pytest.raises(TumorgenError, match=r"was begun with scipy .*, this is 0\.0\.1"):
            replay_manifest(Replay(again, manifest, jobs=1))
    assert replay_manifest(Replay(again, manifest, samples=["scan_0_v0000"], jobs=1)).made == 1


def test_a_full_disk_is_refused_unless_it_is_forced(made, tmp_path, monkeypatch):
    monkeypatch.setattr("tumorgen.generation.space.free_bytes", lambda _: 1000)
    manifest = str(made / "Dataset501_X" / "manifest.csv")
    command = ["replay", manifest, "--output", str(tmp_path / "again"), "--sample", "scan_0_v0000", "--jobs", "1"]
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 1
    assert "or --force" in refused.output
    assert not (tmp_path / "again").exists()
    assert CliRunner().invoke(main, [*command, "--force"]).exit_code == 0


def test_unknown_sample_is_refused(made, tmp_path):
    with pytest.raises(TumorgenError, match="has no sample 'nobody'"):
        replay_manifest(Replay(Dataset(tmp_path), made / "Dataset501_X" / "manifest.csv", samples=["nobody"]))


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("mu_t_hu", "dark", "column mu_t_hu: 'dark' is not of type float"),
        ("radius_mm", "-3", "radius_mm is -3.0"),
        ("radius_mm", "nan", "radius_mm is nan"),
        ("half_axis_x_mm", "1e9", "half_axis_x_mm is"),
        ("deform_points", "4", "an odd number from 3 to 15 is needed"),
        ("center_x_mm", "inf", "center_x_mm is inf; a finite number is needed"),
        ("tumor", "7", "tumours are numbered from 0"),
        ("sample", "nobody", "'nobody' is not in"),
    ],
)
def test_a_bad_cell_is_told_with_its_place(made, tmp_path, column, cell, message):
    edited = edit(made / "Dataset501_X", tmp_path / "e", "scan_0_v0000", "0", **{column: cell})
    result = CliRunner().invoke(main, ["replay", str(edited), "--output", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert message in result.stderr
    assert "edited.tumors.csv:2" in result.stderr


def test_a_centre_outside_the_scan_fails_that_sample_alone(made, tmp_path):
    edited = edit(made / "Dataset501_X", tmp_path / "e", "scan_0_v0000", "0", center_x_mm="9999")
    report = replay_manifest(Replay(Dataset(tmp_path / "out"), edited, jobs=1))
    assert report.made == 5
    assert "lies outside the scan" in report.failures[0].reason


def test_a_wrong_number_of_jobs_leaves_nothing_behind(made, tmp_path):
    """Not even a lock's file, which would say that a run was interrupted."""
    for _ in range(2):
        with pytest.raises(TumorgenError, match="--jobs 0"):
            replay_manifest(Replay(Dataset(tmp_path / "out"), made / "Dataset501_X" / "manifest.csv", jobs=0))
        assert not (tmp_path / "out").exists()


def test_a_manifest_of_samples_takes_a_log_and_no_word_on_which_scans(made, tmp_path):
    manifest, log = str(made / "Dataset501_X" / "manifest.csv"), tmp_path / "log.jsonl"
    command = ["synth", "--from-manifest", manifest, "--output", str(tmp_path), "--jobs", "1", "--log-file", str(log)]
    assert CliRunner().invoke(main, command).exit_code == 0
    begun, *lines = map(json.loads, log.read_text().splitlines())
    assert (begun["status"], begun["versions"]) == ("begin", versions())
    assert len(lines) == 6
    assert {line["status"] for line in lines} == {"made"}
    refused = CliRunner().invoke(main, [*command, "--skip-check"])
    assert refused.exit_code == 2
    assert "--skip-check does not go with --from-manifest" in refused.output
