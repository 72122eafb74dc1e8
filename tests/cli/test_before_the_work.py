"""Where a command is to write is looked at before the work; where the dataset is whole, a missing copy is a note.

A file in the place of a folder stands for all that cannot be written to: that stops root, too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.errors import NO_TEMPORARY_FOLDER, TumorgenError
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.phantom import folder as phantom_folder

DATASET = Path("out", "Dataset501_SynthLiver")
SYNTH = ["synth", "--images", "ct", "--masks", "livers", "--output", "out", "--sizes", "tiny", "--jobs", "1"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with scans, a dataset of them, an evaluation of it, and `file`, which is no folder."""
    before, root = Path.cwd(), tmp_path_factory.mktemp("work")
    os.chdir(root)
    for number in (0, 1):
        volume, liver = ball_volume((6.0, 6.0, 6.0), seed=number)
        write_volume(volume, Path("ct", f"liver_{number}.nii.gz"))
        write_volume(Volume(liver, volume.geometry), Path("livers", f"liver_{number}.nii.gz"))
    labels = str(DATASET / "labelsTr")
    for command in ([*SYNTH, "--per-scan", "1"], ["evaluate", labels, labels, "--output", "evaluation", "--jobs", "1"]):
        assert run(*command).exit_code == 0
    Path("file").touch()
    yield root
    os.chdir(before)


@pytest.fixture
def no_copies(work: Path) -> Iterator[None]:
    """The folder of the manifests' copies cannot be made."""
    shutil.rmtree("manifests")
    Path("manifests").touch()
    yield
    Path("manifests").unlink()
    assert run(*SYNTH, "--per-scan", "1").exit_code == 0


NOT_WRITTEN = "cannot be written (Not a directory)"
MANIFEST, LABELS = str(DATASET / "manifest.csv"), str(DATASET / "labelsTr")
PLACES: dict[str, Sequence[str]] = {
    "preview": ["preview", str(DATASET), "--output", "file/new"],
    "evaluate": ["evaluate", LABELS, LABELS, "--output", "file/new"],
    "audit": ["audit", str(DATASET), "--real", str(DATASET), "--output", "file/new"],
    "fit": ["fit", str(DATASET), "--output", "file/new.toml"],
    "fit, its plot": ["fit", str(DATASET), "--output", "new.toml", "--plot", "file/new.png"],
    "worst": ["worst", "evaluation", MANIFEST, "--output", "file/new.csv"],
    "phantom": ["phantom", "file/new"],
    "liver-mask": ["liver-mask", "ct", "file/new"],
    "liver-mask, its table": ["liver-mask", "ct", "new", "--scans", "file/scans.csv"],
}


@pytest.mark.parametrize("name", PLACES)
def test_a_place_that_cannot_be_written_to_is_found_before_the_work(work, name, monkeypatch) -> None:
    monkeypatch.setattr(phantom_folder, "draw_phantom", lambda *_, **__: pytest.fail("is drawn"))
    monkeypatch.setattr("tumorgen.parallel.run_in_processes", lambda *_, **__: pytest.fail("has begun"))
    monkeypatch.setattr("tumorgen.liver.network._predictor", lambda *_: pytest.fail("is loaded"))
    before = sorted(Path().rglob("*"))
    result = run(*PLACES[name])
    assert result.exit_code == 1, result.output
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert re.fullmatch(r"Error: \S*file(/new)?: cannot be written \(Not a directory\); choose another .*", line), line
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("command", [["--per-scan", "2"], ["--dataset-id", "502", "--from-manifest", MANIFEST]])
def test_a_run_with_work_to_do_does_none_where_its_manifest_cannot_be_copied(no_copies, command) -> None:
    before = sorted(Path("out").rglob("*"))
    drawn = [] if "--from-manifest" in command else ["--sizes", "tiny"]
    result = run("synth", "--images", "ct", "--masks", "livers", "--output", "out", "--jobs", "1", *drawn, *command)
    assert result.exit_code == 1
    assert result.output == (
        f"Error: manifests: {NOT_WRITTEN}; start in another folder: copies of the manifest go there\n"
    )
    assert [path for path in sorted(Path("out").rglob("*")) if path.name != ".lock"] == before


def test_no_scan_is_removed_where_its_rows_would_stay_in_a_copy(no_copies) -> None:
    before = sorted(Path("out").rglob("*"))
    result = run("remove", str(DATASET), "--case", "liver_0")
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: manifests: {NOT_WRITTEN}; ")
    assert sorted(Path("out").rglob("*")) == before


def test_no_scan_is_removed_where_the_log_cannot_be_written(work) -> None:
    before = sorted(Path("out").rglob("*"))
    result = run("remove", str(DATASET), "--case", "liver_0", "--log-file", "file/log.jsonl")
    assert result.exit_code == 1
    assert "file/log.jsonl: cannot be written" in result.output
    assert sorted(Path("out").rglob("*")) == before


def test_robustness_does_none_either(no_copies) -> None:
    result = run("robustness", "--images", "ct", "--masks", "livers", "--output", "out", "--jobs", "1")
    assert result.exit_code == 1
    assert NOT_WRITTEN in result.stderr
    assert not Path("out", "Dataset504_Robustness").exists()


@pytest.mark.parametrize("command", [[*SYNTH, "--per-scan", "1"], ["merge", str(DATASET)]])
def test_where_the_dataset_is_whole_a_missing_copy_is_a_note(no_copies, command) -> None:
    if command[0] == "merge":
        for number in (1, 2):
            shard = [*SYNTH, "--dataset-id", "503", "--per-scan", "1", "--shard", f"{number}/2"]
            assert run(*shard).exit_code == 0  # shards copy nothing
        command = ["merge", "out/Dataset503_SynthLiver"]
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert re.search(r"note: manifests/\S+: cannot be written \(.*\); the dataset is whole without", result.stdout)
    assert run("verify", str(DATASET), "--jobs", "1").exit_code == 0


@pytest.mark.parametrize(
    "words", ["No usable temporary directory found in ['/tmp']", "a temporary directory could not"]
)
def test_no_folder_for_temporary_files_is_one_line(work, words, monkeypatch) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise OSError(words)

    monkeypatch.setattr("tumorgen.generation.verify_dataset", nowhere)
    result = run("verify", str(DATASET))
    assert result.exit_code == 1
    assert result.output == f"Error: {NO_TEMPORARY_FOLDER}\n"


def test_what_a_library_warns_of_is_a_line(work, monkeypatch) -> None:
    def warned(*_: object, **__: object) -> None:
        warnings.showwarning(UserWarning("no room\nfor semaphores"), UserWarning, "/somewhere/joblib.py", 44)
        raise TumorgenError("enough")

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which the command replaces
    monkeypatch.setattr("tumorgen.generation.verify_dataset", warned)
    assert run("verify", str(DATASET)).output == "note: no room for semaphores\nError: enough\n"


def test_a_network_is_not_asked_for_where_there_is_no_folder_for_temporary_files(work, monkeypatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    result = run("liver-mask", "ct", "new")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"Error: {NO_TEMPORARY_FOLDER}"


def test_a_working_folder_that_is_read_only(work, tmp_path) -> None:
    """A job that starts in a mounted folder, with --output elsewhere: for real."""
    if not sys.platform.startswith("linux") or not shutil.which("unshare"):
        pytest.skip("mounts a folder read-only, which is Linux's")
    here = tmp_path / "here"
    here.mkdir()
    mount = f'mount --bind {here} {here} && mount -o remount,ro,bind {here} && cd {here} && exec "$@"'
    inside = ["unshare", "--mount", "bash", "-c", mount, "bash"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("may not mount here")
    tumorgen = [sys.executable, "-c", "from tumorgen.cli import main; main()"]

    def started(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*inside, *tumorgen, *arguments], capture_output=True, text=True, check=False)

    whole = [str(work / word) if word in ("ct", "livers", "out") else word for word in SYNTH]
    refused = started(*whole, "--per-scan", "9")
    assert refused.returncode == 1
    assert refused.stderr == (
        "Error: manifests: cannot be written (Read-only file system); start in another folder: copies of the manifest"
        " go there\n"
    )
    again = started(*whole, "--per-scan", "1")
    assert again.returncode == 0, again.stderr
    assert "(Read-only file system); the dataset is whole without this copy" in again.stdout


OTHER = ["--images", "ct", "--masks", "livers", "--dataset-id", "519", "--jobs", "1", "--output"]


@pytest.mark.parametrize(
    "words",
    [
        *([name, *OTHER, str(DATASET / "imagesTr")] for name in ("synth", "healthy", "robustness")),
        ["evaluate", LABELS, LABELS, "--jobs", "1", "--output", str(DATASET)],
        ["evaluate", LABELS, LABELS, "--jobs", "1", "--output", str(DATASET / "new" / "scores")],
    ],
)
def test_nothing_else_is_written_into_a_dataset(work, words) -> None:
    before = sorted(DATASET.rglob("*"))
    done = run(*words)
    assert done.exit_code in (1, 2)
    last = done.stderr.splitlines()[-1]
    assert (
        last
        == f"Error: {words[-1]}: lies in {DATASET.name}, a dataset, which holds nothing else; choose another --output"
    )
    assert sorted(DATASET.rglob("*")) == before
