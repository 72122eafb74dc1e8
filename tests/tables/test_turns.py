"""Turns: processes that change one table do so one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tumorgen.errors import TumorgenError
from tumorgen.tables import scans, turns
from tumorgen.tables.scans import ScanRow, forget_scans, read_scans, record_scans
from tumorgen.tables.turns import one_at_a_time

pytestmark = pytest.mark.skipif(turns.sys.platform == "win32", reason="there are no locks")


def row(case: str) -> ScanRow:
    return ScanRow(case=case, image="a.nii.gz", status="failed")


@pytest.mark.parametrize("change", [lambda table: record_scans([row("b")], table), lambda t: forget_scans(["a"], t)])
def test_whoever_changes_a_table_has_it_alone_from_reading_to_writing(
    change: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, alone = tmp_path / "manifests" / "scans.csv", []
    record_scans([row("a")], table)

    def watched(name: str) -> None:
        original = getattr(scans, name)

        def call(*given: Any) -> Any:
            with (table.parent / ".scans.csv.lock").open("w") as file, pytest.raises(BlockingIOError):
                turns.fcntl.flock(file, turns.fcntl.LOCK_EX | turns.fcntl.LOCK_NB)
            alone.append(name)
            return original(*given)

        monkeypatch.setattr(scans, name, call)

    watched("read_scans")
    watched("write_scans")
    change(table)
    assert alone == ["read_scans", "write_scans"]
    assert [path.name for path in table.parent.iterdir()] == ["scans.csv"]


def test_a_turn_is_waited_for(tmp_path: Path) -> None:
    table = tmp_path / "scans.csv"
    second = threading.Thread(target=record_scans, args=([row("b")], table))
    with one_at_a_time(table):
        second.start()
        scans.write_scans([row("a")], table)
    second.join()
    assert [each.case for each in read_scans(table)] == ["a", "b"]


def test_a_file_system_without_locks_does_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(turns.fcntl, "flock", refuse)
    record_scans([row("a"), row("B")], tmp_path / "scans.csv")
    forget_scans(["b"], tmp_path / "scans.csv")
    assert [each.case for each in read_scans(tmp_path / "scans.csv")] == ["a"]


def test_a_system_without_locks_does_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns.sys, "platform", "win32")
    with one_at_a_time(tmp_path / "t.csv"):
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TumorgenError, match="cannot be written"), one_at_a_time(tmp_path / "file" / "t.csv"):
        pass
