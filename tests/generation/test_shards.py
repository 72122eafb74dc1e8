"""Shards: a run divided among jobs; merged, it is what one run would have written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from phantoms import write_balls
from trees import tree

from tumorgen.cli import main
from tumorgen.dataset.raw import TEST, Dataset
from tumorgen.errors import TumorgenError
from tumorgen.generation.merge import MergeReport, merge_shards
from tumorgen.generation.removal import remove_cases
from tumorgen.generation.run import Run, RunReport
from tumorgen.generation.shards import Shard, parse_shard
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.method.recipes import load_recipe
from tumorgen.tables.entries import read_entries
from tumorgen.tables.sources import match_sources

SETTINGS = replace(load_recipe(), sizes=("tiny", "small"))
NAME = "Dataset501_SynthLiver"
PER_SCAN = 3


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_balls(tmp_path_factory.mktemp("scans"), 3, "liver")


def make(scans: Path, root: Path, shard: str | None = None, **options) -> RunReport:
    sources, _ = match_sources(scans / "images", scans / "masks")
    options = {"per_scan": PER_SCAN, "jobs": 1, "copies": root / "manifests", "settings": SETTINGS, **options}
    return synthesize_dataset(
        Run(Dataset(root / NAME), sources, shard=parse_shard(shard) if shard else None, **options)
    )


def joined(root: Path) -> MergeReport:
    return merge_shards(Dataset(root / NAME), copies=root / "manifests")


@pytest.fixture(scope="module")
def whole(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes | None]:
    """What one run writes."""
    root = tmp_path_factory.mktemp("whole")
    assert make(scans, root).made == 9
    return tree(root)


@given(st.integers(0, 200), st.integers(1, 50))
def test_shares_are_contiguous_even_and_complete(samples: int, count: int) -> None:
    shares = [Shard(number, count).share(range(samples)) for number in range(1, count + 1)]
    assert [sample for share in shares for sample in share] == list(range(samples))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["0/8", "9/8", "2", "2/0", "a/b", "-1/8", "1/8/2", ""])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(TumorgenError, match="--shard"):
        parse_shard(text)


def test_four_shards_in_any_order_are_one_run(scans, whole, tmp_path) -> None:
    for shard in ("3/4", "1/4", "4/4", "2/4"):
        report = make(scans, tmp_path, shard)
        assert report.made == len(report.records)
        assert not report.failures
    merged = joined(tmp_path)
    assert not merged.missing
    assert len(json.loads((tmp_path / NAME / "splits_final.json").read_text())) == 3
    assert tree(tmp_path) == whole


def test_more_shards_than_samples(scans, whole, tmp_path) -> None:
    made = [make(scans, tmp_path, f"{number}/12").made for number in range(1, 13)]
    assert sorted(made) == [0] * 3 + [1] * 9
    assert not joined(tmp_path).missing
    assert tree(tmp_path) == whole


def test_a_shard_writes_no_manifest_and_no_description(scans, tmp_path) -> None:
    make(scans, tmp_path, "2/3")
    samples = [f"liver_1_v{variant:04d}" for variant in range(3)]
    files = {path.relative_to(tmp_path / NAME).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {
        "settings.toml",
        "provenance.json",
        "shards/division.json",
        "shards/2-of-3.csv",
        "shards/2-of-3.tumors.csv",
        *(f"imagesTr/{sample}_0000.nii.gz" for sample in samples),
        *(f"labelsTr/{sample}.nii.gz" for sample in samples),
    }


def test_a_shard_goes_on_where_it_stopped(scans, whole, tmp_path) -> None:
    make(scans, tmp_path, "1/2")
    for table in ("1-of-2.csv", "1-of-2.tumors.csv"):
        path = tmp_path / NAME / "shards" / table
        path.write_bytes(path.read_bytes()[:-200])
    again = make(scans, tmp_path, "1/2")
    assert again.made > 0
    assert make(scans, tmp_path, "1/2").made == 0
    make(scans, tmp_path, "2/2")
    joined(tmp_path)
    assert tree(tmp_path) == whole


def test_what_is_finished_is_merged_and_what_is_missing_said(scans, whole, tmp_path) -> None:
    make(scans, tmp_path, "1/3")
    first = joined(tmp_path)
    assert len(first.report.records) == 3
    assert {str(shard): len(samples) for shard, samples in first.missing.items()} == {"2/3": 3, "3/3": 3}
    assert json.loads((tmp_path / NAME / "dataset.json").read_text())["numTraining"] == 3
    assert not (tmp_path / NAME / "shards" / "1-of-3.csv").exists()
    assert make(scans, tmp_path, "1/3").made == 0  # they are in the manifest now
    make(scans, tmp_path, "2/3")
    make(scans, tmp_path, "3/3")
    assert not joined(tmp_path).missing
    assert tree(tmp_path) == whole
    again = joined(tmp_path)  # nothing to do, nothing done
    assert len(again.report.records) == 9
    assert tree(tmp_path) == whole


def test_the_table_of_an_unfinished_shard_is_kept(scans, whole, tmp_path) -> None:
    """It may be running: rows that it appends must not be lost."""
    make(scans, tmp_path, "1/2")
    table = tmp_path / NAME / "shards" / "1-of-2.csv"
    rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join(rows[:-1]))
    assert [len(samples) for samples in joined(tmp_path).missing.values()] == [1, 5]
    assert table.is_file()
    with table.open("a") as file:
        file.write(rows[-1])
    assert [str(shard) for shard in joined(tmp_path).missing] == ["2/2"]
    make(scans, tmp_path, "2/2")
    joined(tmp_path)
    assert tree(tmp_path) == whole


def test_a_plain_run_does_the_rest(scans, whole, tmp_path) -> None:
    make(scans, tmp_path, "2/4")
    report = make(scans, tmp_path)
    assert (report.made, len(report.records)) == (7, 9)
    assert tree(tmp_path) == whole


def test_shards_go_on_after_a_plain_run(scans, whole, tmp_path) -> None:
    make(scans, tmp_path, per_scan=2)
    assert [make(scans, tmp_path, shard).made for shard in ("1/2", "2/2")] == [1, 2]
    joined(tmp_path)
    assert tree(tmp_path) == whole


def test_a_lost_file_is_missing_and_made_again(scans, whole, tmp_path) -> None:
    for shard in ("1/2", "2/2"):
        make(scans, tmp_path, shard)
    (tmp_path / NAME / "labelsTr" / "liver_0_v0001.nii.gz").unlink()
    assert list(joined(tmp_path).missing.values()) == [[("liver_0", 1)]]
    assert make(scans, tmp_path, "1/2").made == 1
    joined(tmp_path)
    assert tree(tmp_path) == whole


def test_a_scan_that_no_shard_can_make_is_given_up_and_others_may_go_before(scans, tmp_path, monkeypatch) -> None:
    broken = shutil.copytree(scans, tmp_path / "broken")
    (broken / "images" / "liver_1.nii.gz").write_bytes(b"")
    monkeypatch.chdir(broken)
    dataset, options = Dataset(tmp_path / NAME), {"settings": replace(SETTINGS, sizes=("tiny",)), "per_scan": 2}
    for shard in ("1/2", "2/2"):
        assert make(broken, tmp_path, shard, **options).failures
    with pytest.raises(TumorgenError, match="has shards that are not merged; run `tumorgen merge"):
        remove_cases(dataset, ["liver_0"])
    merged = CliRunner().invoke(main, ["merge", str(dataset.folder)])
    assert merged.exit_code == 1
    told = f"a scan that cannot be made is given up with `tumorgen remove {dataset.folder} --case SCAN`.\n"
    assert merged.stderr.endswith(told)
    assert [list(samples) for samples in joined(tmp_path).missing.values()] == [[("liver_1", 0)], [("liver_1", 1)]]

    done = remove_cases(dataset, ["liver_0"])
    assert done.removed == {"liver_0": 2}
    assert done.report.notes[0].startswith("its shards have not made all yet")
    assert [path.name for path in (dataset.folder / "shards").iterdir()] == ["division.json"]
    with pytest.raises(TumorgenError, match="shards of another run are there"):
        make(scans, tmp_path, "1/2", **options)  # which would draw into it again
    assert remove_cases(dataset, ["liver_1"]).removed == {"liver_1": 0}
    assert not (dataset.folder / "shards").exists()
    assert not joined(tmp_path).missing
    assert [entry.sample for entry in read_entries(dataset.manifest)] == ["liver_2_v0000", "liver_2_v0001"]


def test_what_a_killed_process_left_is_removed_when_all_is_there(scans, whole, tmp_path) -> None:
    make(scans, tmp_path, "1/2")
    left = tmp_path / NAME / "imagesTr" / ".partial-killed"
    left.mkdir()
    (left / "liver_0_v0000_0000.nii.gz").write_bytes(b"half")
    joined(tmp_path)
    assert left.exists()  # the other shard may be running
    make(scans, tmp_path, "2/2")
    joined(tmp_path)
    assert tree(tmp_path) == whole


@pytest.mark.parametrize(
    ("shard", "options", "reason"),
    [
        ("2/4", {}, "shards 2, now 4"),
        ("2/2", {"per_scan": 5}, "per_scan 3, now 5"),
        ("2/2", {"settings": replace(SETTINGS, sizes=("large",))}, "other settings"),
        ("2/2", {"seed": 1}, "--seed 0, not 1"),
    ],
)
def test_shards_that_do_not_fit_together_are_refused(scans, tmp_path, shard, options, reason) -> None:
    make(scans, tmp_path, "1/2")
    with pytest.raises(TumorgenError, match=reason):
        make(scans, tmp_path, shard, **options)


def test_shards_of_other_scans_are_refused(scans, tmp_path) -> None:
    make(scans, tmp_path, "1/2")
    sources, _ = match_sources(scans / "images", scans / "masks")
    with pytest.raises(TumorgenError, match="the scans"):
        synthesize_dataset(
            Run(Dataset(tmp_path / NAME), sources[:2], SETTINGS, per_scan=PER_SCAN, shard=Shard(2, 2), jobs=1)
        )


def test_a_shard_that_begins_while_another_does_is_not_refused(scans, tmp_path) -> None:
    """The other's folder for its half-written settings is there, and nothing else."""
    (tmp_path / NAME / ".partial-abc").mkdir(parents=True)
    assert make(scans, tmp_path, "1/9").made == 1


def test_merging_what_has_no_shards_is_refused(tmp_path) -> None:
    with pytest.raises(TumorgenError, match="no shards"):
        merge_shards(Dataset(tmp_path))


def typed(scans: Path, *more: str) -> list[str]:
    folders = ["--images", str(scans / "images"), "--masks", str(scans / "masks")]
    return ["synth", *folders, "--per-scan", str(PER_SCAN), "--sizes", "tiny,small", "--jobs", "1", *more]


def test_as_typed(scans, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    dataset = f"nnUNet_raw/{NAME}"
    first = CliRunner().invoke(main, typed(scans, "--shard", "1/2"))
    assert first.exit_code == 0, first.stderr
    assert f"tumorgen merge {dataset}" in first.stdout
    assert not Path("manifests").exists()
    early = CliRunner().invoke(main, ["merge", dataset])
    assert "next:" not in early.stdout
    assert early.exit_code == 1
    assert "shard 2/2: 5 samples (3 of liver_2, 2 of liver_1)" in early.stderr
    assert CliRunner().invoke(main, ["verify", dataset, "--jobs", "1"]).exit_code == 0
    stranger = Path(dataset) / "shards" / "3-of-2.csv"
    stranger.write_text("x")
    told = CliRunner().invoke(main, ["verify", dataset, "--jobs", "1", "--replays", "0"])
    assert "problem: shards/3-of-2.csv: does not belong" in told.stderr
    stranger.unlink()
    assert CliRunner().invoke(main, typed(scans, "--shard", "2/2")).exit_code == 0
    late = CliRunner().invoke(main, ["merge", dataset])
    again = CliRunner().invoke(main, typed(scans))  # what a run without shards says
    assert late.stdout.endswith(again.stdout[again.stdout.index("next:") :])
    assert f"next:\n  tumorgen verify {dataset}\n  export nnUNet_raw=" in late.stdout
    assert late.exit_code == 0, late.stderr
    assert "9 samples" in late.stdout
    assert Path("manifests", f"{NAME}.csv").read_bytes() == Path(dataset, "manifest.csv").read_bytes()
    assert CliRunner().invoke(main, ["verify", dataset, "--jobs", "1"]).exit_code == 0


def test_a_wrong_shard_is_a_usage_error(scans, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, typed(scans, "--shard", "3/2"))
    assert result.exit_code == 2
    assert "from 1/8 to 8/8" in result.stderr


def test_all_shards_at_once(scans, whole, tmp_path) -> None:
    """Processes of their own that begin together, as an array job does."""
    code = "import sys; from tumorgen.cli import main; main(sys.argv[1:])"
    commands = [
        [sys.executable, "-c", code, *typed(scans, "--output", str(tmp_path), "--shard", f"{n}/3")] for n in (1, 2, 3)
    ]
    running = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) for command in commands]
    for process in running:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    joined(tmp_path)
    assert tree(tmp_path) == whole


def test_a_run_that_crashed_is_repaired_before_shards_go_on(scans, whole, tmp_path, monkeypatch) -> None:
    """Its images may be torn, and no shard looks at rows that are not its own."""
    monkeypatch.chdir(tmp_path)
    make(scans, tmp_path, per_scan=1)
    folder = tmp_path / NAME
    torn = folder / "imagesTr" / "liver_0_v0000_0000.nii.gz"
    torn.write_bytes(b"")
    (folder / "SHA256SUMS").unlink()
    (folder / ".lock").write_text("left by a process that is no more")
    with pytest.raises(TumorgenError, match="a run without --shard was interrupted"):
        make(scans, tmp_path, "1/2")
    merged = CliRunner().invoke(main, ["merge", NAME])  # what is whole, described
    assert merged.exit_code == 1
    assert f"{NAME}: 2 samples in the manifest\n" in merged.stdout
    assert "next:" not in merged.stdout
    assert "preprocess" not in merged.stdout
    assert f"{NAME}: an interrupted run was repaired, 2 samples are whole; run its command again" in merged.stderr
    assert [entry.sample for entry in read_entries(folder / "manifest.csv")] == ["liver_1_v0000", "liver_2_v0000"]
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 2
    assert not torn.exists()
    assert not (folder / "labelsTr" / "liver_0_v0000.nii.gz").exists()  # nor is its label left without a row
    again = CliRunner().invoke(main, ["merge", NAME])  # which does not know that it was asked for more
    assert again.exit_code == 0
    assert "note: it has no shards, so nothing was merged; if a run left samples unmade, that run's" in again.stdout
    assert again.stdout.endswith(f"next:\n  tumorgen verify {NAME}\n")
    assert not (folder / ".lock").exists()
    for shard in ("1/2", "2/2"):
        make(scans, tmp_path, shard)
    assert not joined(tmp_path).missing
    assert tree(tmp_path) == whole


def test_of_a_test_set_no_training_is_made(scans, tmp_path, monkeypatch) -> None:
    """A `robustness` that was killed is repaired as any run is."""
    monkeypatch.chdir(tmp_path)
    sources, _ = match_sources(scans / "images", scans / "masks")
    dataset = Dataset(tmp_path / NAME, TEST)
    synthesize_dataset(Run(dataset, sources[:1], SETTINGS, per_scan=1, jobs=1))
    (dataset.folder / ".lock").write_text("left by a process that is no more")
    repaired = CliRunner().invoke(main, ["merge", "--json", NAME])
    assert repaired.exit_code == 1
    assert "an interrupted run was repaired, 1 sample is whole" in repaired.stderr
    assert "preprocess" not in repaired.output
    summary = json.loads(repaired.stdout)
    assert (summary["samples"], summary["missing"], summary["interrupted"]) == (1, {}, True)
    again = CliRunner().invoke(main, ["merge", NAME])
    assert again.exit_code == 0
    assert again.stdout.endswith(f"next:\n  tumorgen verify {NAME}\n")


def test_a_merge_that_cannot_be_written_leaves_the_mark_of_the_crash(scans, tmp_path, monkeypatch) -> None:
    make(scans, tmp_path, per_scan=1)
    folder = tmp_path / NAME
    (folder / ".lock").write_text("left by a process that is no more")

    def full(*_: object) -> None:
        raise TumorgenError("disk full")

    monkeypatch.setattr("tumorgen.generation.merge.describe_dataset", full)
    with pytest.raises(TumorgenError, match="disk full"):
        joined(tmp_path)
    assert (folder / ".lock").exists()


def test_where_nothing_is_left_of_a_crashed_run_merge_says_so(scans, tmp_path) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / ".lock").write_text("left by a process that is no more")
    with pytest.raises(TumorgenError, match="left no whole sample; run it again"):
        joined(tmp_path)
    assert make(scans, tmp_path, "1/9").made == 1


def test_a_shard_that_is_refused_and_a_smaller_run_leave_the_command(scans, tmp_path) -> None:
    make(scans, tmp_path, "1/9", per_scan=3)
    provenance = tmp_path / NAME / "provenance.json"
    before = provenance.read_bytes()
    with pytest.raises(TumorgenError, match="shards of another run"):
        make(scans, tmp_path, "2/9", per_scan=2)
    assert provenance.read_bytes() == before
    for number in range(2, 10):
        make(scans, tmp_path, f"{number}/9", per_scan=3)
    joined(tmp_path)
    make(scans, tmp_path, per_scan=1)
    assert "--per-scan 3 --val-per-scan 2" in json.loads(provenance.read_text())["command"]
