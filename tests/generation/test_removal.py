"""A scan is taken out of a dataset: what is left is what a run of the other scans would have written."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from phantoms import write_balls
from trees import tree

from tumorgen.cli import main
from tumorgen.dataset.raw import AUDIT_FILES, Dataset
from tumorgen.errors import TumorgenError
from tumorgen.generation import removal
from tumorgen.generation.removal import remove_cases
from tumorgen.generation.replay import Replay, replay_manifest
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.generation.verify import verify_dataset
from tumorgen.method.recipes import load_recipe
from tumorgen.tables.scans import ScanRow, write_scans
from tumorgen.tables.sources import match_sources

SETTINGS = replace(load_recipe(), sizes=("tiny",))
NAME = "Dataset501_SynthLiver"


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_balls(tmp_path_factory.mktemp("scans"), 3, "liver", (6.0, 4.0, 4.0))


def make(scans: Path, root: Path, cases: tuple[str, ...]) -> Dataset:
    sources, _ = match_sources(scans / "images", scans / "masks")
    dataset = Dataset(root / NAME)
    chosen = [source for source in sources if source.case in cases]
    run = Run(dataset, chosen, SETTINGS, per_scan=2, val_per_scan=1, jobs=1, copies=root / "manifests")
    assert not synthesize_dataset(run).failures
    return dataset


@pytest.fixture(scope="module")
def others(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes | None]:
    """What a run of two of the scans writes."""
    root = tmp_path_factory.mktemp("others")
    make(scans, root, ("liver_0", "liver_2"))
    return tree(root)


@pytest.fixture
def dataset(scans: Path, tmp_path: Path) -> Dataset:
    """Of three scans, with pictures."""
    return make(scans, tmp_path, ("liver_0", "liver_1", "liver_2"))


def test_what_is_left_is_what_a_run_of_the_others_writes(dataset, others, tmp_path):
    done = remove_cases(dataset, ["liver_1"], copies=tmp_path / "manifests")
    assert done.removed == {"liver_1": 2}
    assert len(done.report.records) == 4
    assert tree(tmp_path) == others
    assert verify_dataset(dataset.folder, jobs=1).problems == ()


def test_pictures_that_may_show_it_go_too(dataset):
    dataset.pictures.mkdir()
    for name in ("liver_0_v0000", "liver_1_v0001", "overview"):
        (dataset.pictures / f"{name}.png").write_bytes(b"png")
    remove_cases(dataset, ["liver_1"])
    assert [path.name for path in dataset.pictures.iterdir()] == ["liver_0_v0000.png"]


def test_an_audit_that_shows_it_goes_whole_and_what_others_put_there_stays(dataset, others, tmp_path):
    """Its tables name every scan, and its page holds cut-outs of their lesions."""
    dataset.audit.mkdir()
    for name in AUDIT_FILES:
        (dataset.audit / name).write_bytes(b"of liver_0 and liver_1")
    (dataset.audit / "notes.txt").write_text("mine")
    done = remove_cases(dataset, ["liver_1"], copies=tmp_path / "manifests")
    assert [path.name for path in dataset.audit.iterdir()] == ["notes.txt"]
    assert any(f"{dataset.audit}: showed its lesions and is gone" in note for note in done.report.notes)
    (dataset.audit / "notes.txt").unlink()
    (dataset.audit / AUDIT_FILES[0]).write_bytes(b"of liver_0 and liver_2")
    remove_cases(dataset, ["liver_0"])
    assert not dataset.audit.exists()


def die(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["rewrite_manifest", "_delete_files", "describe_dataset"])
def test_killed_at_any_step_the_same_command_does_the_rest(dataset, others, tmp_path, monkeypatch, step):
    with monkeypatch.context() as patch:
        patch.setattr(removal, step, die)
        with pytest.raises(KeyboardInterrupt):
            remove_cases(dataset, ["liver_1"], copies=tmp_path / "manifests")
    remove_cases(dataset, ["liver_1"], copies=tmp_path / "manifests")
    assert tree(tmp_path) == others


@pytest.mark.parametrize("step", ["_delete_files", "describe_dataset"])
def test_after_a_removal_that_was_killed_another_does_its_rest(dataset, others, tmp_path, monkeypatch, step):
    """And a name of which it says nothing is as unknown as ever."""
    with monkeypatch.context() as patch:
        patch.setattr(removal, step, die)
        with pytest.raises(KeyboardInterrupt):
            remove_cases(dataset, ["liver_1"])
    before = tree(dataset.folder)
    with pytest.raises(TumorgenError, match=r"has no sample of liver_11; its scans are liver_0, liver_2$"):
        remove_cases(dataset, ["liver_11"])
    assert tree(dataset.folder).keys() == before.keys()
    done = remove_cases(dataset, ["liver_2"])
    assert done.removed == {"liver_1": 2 if step == "_delete_files" else 0, "liver_2": 2}
    assert len(list(dataset.images.iterdir())) == 2
    assert verify_dataset(dataset.folder, jobs=1).problems == ()


def test_what_a_killed_run_has_left_is_repaired_and_that_is_said(dataset, scans, others, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (dataset.image("liver_0_v0001"), dataset.image("liver_1_v0000")):
        path.write_bytes(b"torn")
    dataset.sums.unlink()  # which a run writes when all is on disk: this one did not get that far
    (dataset.folder / ".lock").write_text("left by a process that is no more")
    typed = ["remove", str(dataset.folder), "--case"]
    unknown = CliRunner().invoke(main, [*typed, "liver_01"])
    assert unknown.exit_code == 1
    assert "has no sample of liver_01; its scans are liver_0, liver_1, liver_2\n" in unknown.stderr
    assert (dataset.folder / ".lock").exists()
    done = CliRunner().invoke(main, [*typed, "liver_1"])
    assert done.exit_code == 0, done.stderr
    assert "liver_1: 2 samples removed\n" in done.stdout
    assert "note: a run that was interrupted here was repaired; its own command makes what it has not" in done.stdout
    assert f"{dataset.folder}: 3 samples left\n" in done.stdout
    assert len(list(dataset.images.iterdir())) == len(list(dataset.labels.iterdir())) == 3
    assert verify_dataset(dataset.folder, jobs=1).problems == ()
    make(scans, tmp_path, ("liver_0", "liver_2"))
    assert tree(tmp_path) == others


@pytest.mark.parametrize("name", ["manifest.csv", "tumors.csv"])
def test_a_last_row_that_may_be_cut_off_is_dropped_with_its_sample_and_that_is_said(
    dataset, scans, others, tmp_path, monkeypatch, name
):
    """As an editor leaves it that takes the end of the last line away."""
    monkeypatch.chdir(tmp_path)
    table = dataset.folder / name
    table.write_bytes(table.read_bytes()[:-2])
    done = CliRunner().invoke(main, ["remove", str(dataset.folder), "--case", "liver_1"])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("had no end") == 1
    assert f"note: {table}: its last line had no end and may have been cut off" in done.stdout
    assert f"{dataset.folder}: 3 samples left\n" in done.stdout
    make(scans, tmp_path, ("liver_0", "liver_2"))
    assert tree(tmp_path) == others
    assert "had no end" not in CliRunner().invoke(main, ["remove", str(dataset.folder), "--case", "liver_2"]).stdout


def test_samples_are_counted_whatever_they_are_called(dataset, tmp_path):
    for name, copy in (("manifest.csv", "edited.csv"), ("tumors.csv", "edited.tumors.csv")):
        (tmp_path / copy).write_text((dataset.folder / name).read_text().replace("liver_1_v", "renamed-"))
    again = Dataset(tmp_path / "again")
    replay_manifest(Replay(again, tmp_path / "edited.csv", jobs=1))
    assert remove_cases(again, ["liver_1"]).removed == {"liver_1": 2}
    assert not list(again.folder.glob("*/renamed*"))


def test_a_name_that_begins_like_it_is_another(dataset, scans):
    """`liver_1` is no `liver_1_v0001`, nor is either a pattern."""
    other = dataset.image("liver_1_v0000_v0000")
    other.write_bytes(b"of another scan")
    remove_cases(dataset, ["liver_1"])
    assert other.exists()


def test_what_cannot_be_removed_is_refused_and_nothing_changes(dataset, tmp_path):
    before = tree(tmp_path)
    with pytest.raises(TumorgenError, match=r"has no sample of liver_9; its scans are liver_0, liver_1, liver_2$"):
        remove_cases(dataset, ["liver_0", "liver_9"])
    with pytest.raises(TumorgenError, match="would be empty; remove the folder instead"):
        remove_cases(dataset, ["liver_0", "liver_1", "liver_2"])
    assert tree(tmp_path) == before


def test_the_log_says_when_and_the_next_run_which_scans_it_was_not_given(dataset, scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "removals.jsonl"
    result = CliRunner().invoke(main, ["remove", str(dataset.folder), "--case", "liver_1", "--log-file", str(log)])
    assert result.exit_code == 0, result.stderr
    assert "liver_1: 2 samples removed" in result.stdout
    line = json.loads(log.read_text())
    assert (line["case"], line["samples"], line["status"]) == ("liver_1", 2, "removed")
    assert line["time"].endswith("+00:00")

    one = write_balls(tmp_path / "one", 1, "liver", (6.0, 4.0, 4.0))
    command = ["synth", "--images", str(one / "images"), "--masks", str(one / "masks"), "--per-scan", "2"]
    command += ["--sizes", "tiny", "--val-per-scan", "1", "--jobs", "1", "--output", str(tmp_path)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.stderr
    assert "note: 2 samples in the dataset, of 1 other scan, not of those given" in result.stdout


def test_a_table_that_was_changed_since_is_named_before_it_gets_new_checksums(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = dataset.folder / "tumors.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([*lines[:-1], lines[-1].replace(",tiny,", ",small,")]))
    told = f"note: {table}: is not as the last run that ended wrote it; its rows are taken as they stand"
    assert told in CliRunner().invoke(main, ["remove", str(dataset.folder), "--case", "liver_1"]).stdout
    assert told not in CliRunner().invoke(main, ["remove", str(dataset.folder), "--case", "liver_0"]).stdout


@pytest.fixture(scope="module")
def built(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset made of two folders, with its siblings: a healthy one, a mixture of both, another of the same scans."""
    folder = tmp_path_factory.mktemp("built")
    for side in ("images", "masks"):
        shutil.copytree(scans / side, folder / side)
    given = ("--images", "images", "--masks", "masks", "--jobs", "1")
    synth = ("synth", *given, "--per-scan", "2", "--sizes", "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (synth, (*synth, "--dataset-id", "503", "--name", "Another"), ("healthy", *given)):
            assert CliRunner().invoke(main, words).exit_code == 0
        real = Path(shutil.copytree("nnUNet_raw/Dataset502_HealthyLiver", "nnUNet_raw/Dataset001_Real"), "dataset.json")
        real.write_text(real.read_text().replace("Healthy livers (tumorgen)", "Real"))  # as if tumours were there
        mixed = CliRunner().invoke(main, ("mix", "--real", "1", "--synthetic", "501"))
        assert mixed.exit_code == 0, mixed.output
    return folder


@pytest.fixture
def project(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = Path(shutil.copytree(built, tmp_path / "Ann's project"))
    monkeypatch.chdir(copy)
    return copy


def test_siblings_that_have_the_scan_or_the_files_are_named(project):
    done = CliRunner().invoke(main, ["remove", "501", "--case", "liver_1"])
    assert done.exit_code == 0, done.output
    notes, raw = done.output.splitlines(), project / "nnUNet_raw"
    another = raw / "Dataset503_Another"
    assert (
        f"note: {another}: has samples of the same CT, as liver_1;"
        f" `tumorgen remove {shlex.quote(str(another))} --case liver_1` takes them out"
    ) in notes
    (mixed,) = [line for line in notes if "Dataset510_Mixed: " in line]
    assert "its dataset.json lists 2 cases whose files in Dataset501_SynthLiver are gone; make that mixture" in mixed
    (healthy,) = [line for line in notes if "Dataset502_HealthyLiver: " in line]
    assert "has the same CT, as liver_1; delete that folder and run `tumorgen healthy` without it" in healthy
    assert "a scan that is still among the inputs (images) is drawn into again by the next synth" in done.output
    again = CliRunner().invoke(main, ["remove", str(another), "--case", "liver_1"])
    assert "has samples of the same CT" not in again.output


def test_the_table_of_scans_is_named_where_it_lists_the_files(project):
    rows = [ScanRow(case=f"liver_{n}", image=f"images/liver_{n}.nii.gz", mask="m", status="ok") for n in range(3)]
    for mask, named in (("masks/liver_1.nii.gz", "manifests/scans.csv"), ("masks/liver_0.nii.gz", "images")):
        write_scans([replace(row, mask=str(project / mask), image=str(project / row.image)) for row in rows])
        done = CliRunner().invoke(main, ["remove", "503" if named == "images" else "501", "--case", "liver_1"])
        assert f"among the inputs ({named}) is drawn" in done.output


@pytest.mark.parametrize(
    ("number", "said"), [("502", "run `tumorgen healthy` without"), ("510", "make the mixture anew")]
)
def test_of_a_dataset_without_a_manifest_it_is_said_what_to_do_instead(project, number, said):
    done = CliRunner().invoke(main, ["remove", number, "--case", "liver_1"])
    assert done.exit_code == 1
    assert said in done.stderr
