"""The log: a line of JSON per sample, valid whatever ended the run before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorgen.dataset.raw import Dataset
from tumorgen.errors import Failure, TumorgenError
from tumorgen.generation.log import open_log


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_failure_has_its_reason(tmp_path) -> None:
    with open_log(tmp_path / "log.jsonl") as log:
        log.sample(Dataset(tmp_path), Failure("case variant 3", "no room\nat all", 1), 1.23456)
    (line,) = lines(tmp_path / "log.jsonl")
    assert set(line) == {"time", "sample", "seconds", "bytes", "status", "reason"}
    assert (line["sample"], line["seconds"], line["status"]) == ("case variant 3", 1.235, "failed")


@given(st.integers(0, 200))
def test_a_line_that_was_cut_off_is_removed_and_no_other(tmp_path_factory, cut: int) -> None:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    with open_log(path) as log:
        for number in range(3):
            log.add(sample=str(number))
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    kept = path.read_bytes().count(b"\n")
    with open_log(path) as log:
        log.add(sample="next")
    assert [line["sample"] for line in lines(path)] == [*map(str, range(kept)), "next"]


def test_a_system_without_pread_opens_a_log_and_lines_still_go_to_its_end(tmp_path, monkeypatch) -> None:
    """Windows is one."""
    monkeypatch.delattr("os.pread")
    for number in range(2):
        with open_log(tmp_path / "log.jsonl") as log:
            log.add(sample=str(number))
    assert [line["sample"] for line in lines(tmp_path / "log.jsonl")] == ["0", "1"]


@pytest.mark.parametrize(
    "content",
    [
        b"\x1f\x8b\x08\x00 of a CT",
        b"one line\nand half a",
        b"a,b\n1,2\n",
        bytes(9) + b"\n" + bytes(9),  # voxels, say
        bytes(128) + b"DICM",
    ],
)
def test_a_file_that_is_no_log_is_refused_and_left_as_it_is(tmp_path, content: bytes) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(TumorgenError, match="is no log of tumorgen's, and stays as it is"):
        open_log(path).__enter__()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("end", "zeros", "kept"),
    [
        (b"a note", 0, None),
        (b"a note", 100_000, None),
        (b"", 100, 1),
        (b"", 1 << 16, 1),
        (b"", 200_000, 1),
        (b'{"time": "2026', 9, 1),
        (b'{"time": "2026', 100_000, 1),
    ],
)
def test_only_what_may_be_a_line_of_its_own_is_cut_off(tmp_path, end: bytes, zeros: int, kept: int | None) -> None:
    """A crash may leave zeros in place of what was not yet on disk."""
    path = tmp_path / "log.jsonl"
    with open_log(path) as log:
        log.add(sample="0")
    path.write_bytes(path.read_bytes() + end + bytes(zeros))
    if kept is None:
        with pytest.raises(TumorgenError, match="is no log"):
            open_log(path).__enter__()
        assert path.read_bytes().endswith(end + bytes(zeros))
        return
    with open_log(path) as log:
        log.add(sample="1")
    assert [line["sample"] for line in lines(path)] == ["0", "1"]


@pytest.mark.parametrize("begun", [b"", b'{"ti'])
@pytest.mark.parametrize("zeros", [0, 1, 300, 200_000])
def test_a_log_of_which_no_line_reached_the_disk_begins_anew(tmp_path, begun: bytes, zeros: int) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(begun + bytes(zeros))
    with open_log(path) as log:
        log.add(sample="0")
    assert [line["sample"] for line in lines(path)] == ["0"]
