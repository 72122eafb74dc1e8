"""Ctrl-C at any moment of writing: it ends the run as what it is, and the same command does the rest.

First between any two lines of what puts something on disk, Python's library included. Then in whole runs, before and
after every call that puts something on disk.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from disks import NAME, Case, Disk, check_log, check_the_rest, check_what_is_left, empty, one_line, told, tree, watched
from interrupting import Steps, answering, interrupt

from tumorgen.dataset.lock import locked_folder
from tumorgen.dataset.raw import Dataset, write_description, write_json
from tumorgen.generation.copies import copy_manifest
from tumorgen.generation.log import open_log
from tumorgen.imaging.files import remove_folder, scratch_folder
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.patched_gzip import ChunkedVolume
from tumorgen.tables.entries import Entry
from tumorgen.tables.groups import marks_of_entries
from tumorgen.tables.manifest import Record, append_manifest, read_manifest, write_manifest
from tumorgen.tables.scans import ScanRow, record_scans

VOLUME = ChunkedVolume.from_volume(Volume(np.zeros((2, 3, 4), np.int16), Geometry((2, 3, 4), (1.0, 1.0, 1.0))))


@dataclass(frozen=True, slots=True)
class Made:
    """A dataset, and the records of its samples."""

    dataset: Dataset
    records: list[Record]


@pytest.fixture(scope="module")
def made(scans) -> Made:
    return Made(Dataset(scans / NAME), read_manifest(scans / NAME / "manifest.csv"))


def hold(folder: Path) -> None:
    with locked_folder(folder / "new"):
        pass


def log(folder: Path) -> None:
    with open_log(folder / "log.jsonl") as opened:
        opened.add(status="begin")


def use_scratch(folder: Path) -> None:
    with scratch_folder(folder) as scratch:
        (scratch / "inner").mkdir()


def clear(folder: Path) -> None:
    (folder / "old" / "inner").mkdir(parents=True, exist_ok=True)
    remove_folder(folder / "old")


WRITINGS: dict[str, Callable[[Path, Made], object]] = {
    "a row": lambda folder, made: append_manifest(made.records[0], folder / "manifest.csv"),
    "a volume": lambda folder, _: VOLUME.write(folder / "v.nii.gz", durable=False),
    "json": lambda folder, _: write_json({"a": 1}, folder / "new" / "a.json", parents=True),
    "a lock": lambda folder, _: hold(folder),
    "the log": lambda folder, _: log(folder),
    "scratch": lambda folder, _: use_scratch(folder),
    "clearing": lambda folder, _: clear(folder),
}
COMPOSED: dict[str, Callable[[Path, Made], object]] = {
    "tables": lambda folder, made: write_manifest(made.records, folder / "manifest.csv"),
    "copies": lambda folder, made: copy_manifest(made.dataset, folder / "copies"),
    "summary, splits, checksums": lambda folder, made: write_description(
        Dataset(folder), entries := list(map(Entry.of, made.records)), marks_of_entries(entries), 1
    ),
    "a scan": lambda folder, _: record_scans([ScanRow(case="a", image="a", status="failed")], folder / "scans.csv"),
}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in COMPOSED]


@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")  # which Python does not show
@pytest.mark.parametrize("name", [*WRITINGS, *SLOW])
def test_between_any_two_lines_of_writing(name, made, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    folders = (tmp_path / str(number) / NAME for number in count())
    folder = tmp_path

    def work() -> None:
        {**WRITINGS, **COMPOSED}[name](folder, made)

    def disturb(steps: Steps) -> Path:
        nonlocal folder
        folder = next(folders)
        folder.mkdir(parents=True)
        interrupt(work, steps)
        return folder

    with answering():
        whole = tree(disturb(Steps()))  # the first time, it imports what it needs
        steps = Steps()
        disturb(steps)
        gc.freeze()  # so that collecting is quick
        for at in range(1, steps.count + 1):
            disturbed = Steps(at=at)
            left = tree(disturb(disturbed))
            if name not in ("the log", "a lock"):  # which have times in them
                assert left.items() <= whole.items(), disturbed.where
            assert {path.name for path in folder.rglob(".*")} <= {".lock"}, disturbed.where
            if name == "a lock":
                gc.collect()  # what an interruption has left of it
            work()  # nobody holds anything any more


def interrupt_at(case: Case, at: int, number: int, *, after: bool) -> Result:
    """A fresh run that gets a signal before or after its k-th call; what it ends with is what the signal has it end."""
    empty(case.root)

    def come(*_: object) -> None:
        if disk.first:
            signal.raise_signal(number)

    disk = Disk(at=at, after=come) if after else Disk(come, at)
    with answering(), watched(disk):
        result = case.run()
    assert result.exit_code == ENDINGS[number][0], result.output
    assert one_line(result.stderr) == f"{ENDINGS[number][1]}. What is finished stays; the same command does the rest."
    return result


ENDINGS = {signal.SIGINT: (130, "Interrupted"), signal.SIGTERM: (143, "Terminated")}


@pytest.mark.parametrize(
    ("name", "number", "after", "step"),
    [
        ("synth", signal.SIGINT, True, 4),
        ("synth", signal.SIGTERM, False, 7),
        pytest.param("synth", signal.SIGINT, True, 1, marks=pytest.mark.slow),
        pytest.param("synth", signal.SIGTERM, False, 1, marks=pytest.mark.slow),
        pytest.param("shard", signal.SIGINT, True, 1, marks=pytest.mark.slow),
        pytest.param("replay", signal.SIGTERM, True, 1, marks=pytest.mark.slow),
        pytest.param("from manifest", signal.SIGINT, False, 1, marks=pytest.mark.slow),
    ],
)
def test_an_interruption_at_any_call_costs_nothing_but_the_time(cases, name, number, after, step) -> None:
    case = cases(name)
    os.chdir(case.root)
    for at in range(1, len(case.disk.calls) + 1, step):
        with told(case, at):
            interrupt_at(case, at, number, after=after)
            check_what_is_left(case)
            check_log(case)
            check_the_rest(case)
