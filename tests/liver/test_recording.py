"""Rows of scans are put down soon, and thousands of them are not written thousands of times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tumorgen.liver import recording
from tumorgen.tables import scans
from tumorgen.tables.scans import ScanRow, read_scans

WRITING, WORK = 0.5, 1.0  # seconds


class Clock:
    """Seconds that pass where somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(recording, "time", clock)
    return clock


def row(number: int) -> ScanRow:
    return ScanRow(case=f"scan_{number:03d}", image="a.nii.gz", status="failed")


def test_a_table_that_takes_long_to_write_is_written_when_more_is_done(clock, tmp_path, monkeypatch):
    written = []

    def slow(rows: object, path: Path) -> None:
        written.append(len(list(rows)))
        clock.now += WRITING

    monkeypatch.setattr(recording, "record_scans", slow)
    with recording.recording(tmp_path / "scans.csv") as record:
        for number in range(100):
            clock.now += WORK
            record(row(number))
    assert sum(written) == 100
    assert written == [1, *[10] * 9, 9]  # of 10.5 s each but the first and the last: 0.5 s writing to 10 s of work


def test_a_table_of_a_few_scans_is_written_after_each(clock, tmp_path):
    with recording.recording(tmp_path / "scans.csv") as record:
        for number in range(3):
            record(row(number))
            assert len(read_scans(tmp_path / "scans.csv")) == number + 1


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_whatever_ends_the_work_costs_no_row(clock, tmp_path, monkeypatch, end):
    record_scans = scans.record_scans

    def slow(rows: list[ScanRow], path: Path) -> None:
        record_scans(rows, path)
        clock.now += WRITING

    monkeypatch.setattr(recording, "record_scans", slow)

    def work() -> None:
        with recording.recording(tmp_path / "scans.csv") as record:
            for number in range(5):
                record(row(number))
            assert len(read_scans(tmp_path / "scans.csv")) == 1
            raise end

    with pytest.raises(end):
        work()
    assert len(read_scans(tmp_path / "scans.csv")) == 5
