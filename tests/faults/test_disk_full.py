"""A disk that is full, a quota that is used up, a folder that vanishes: at every call that puts something on disk.

The calls are counted in a run that nothing disturbs; then there are as many runs, each with its fault at another call,
and after each the same command again. Last, a small disk that really is full.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from disks import (
    BY_PATH,
    NAME,
    WITH,
    Case,
    Disk,
    Fault,
    check_log,
    check_the_rest,
    check_what_is_left,
    empty,
    given,
    one_line,
    told,
    tree,
    watched,
    write_scans,
)
from limits import files_of_at_most

from tumorgen.cli import main

pytestmark = pytest.mark.longest


def full(disk: Disk, name: str) -> int | None:
    """No space left, from this call on; a write is cut off halfway before."""
    if disk.first and name in ("write", "writev", "pwrite", "sendfile"):
        return 2  # of a half
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def quota(disk: Disk, name: str) -> None:
    """The quota is used up for one call, which writes nothing."""
    if disk.first:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


def vanishing(folder: Path) -> Fault:
    """The dataset's folder is gone when the call is made."""

    def vanish(disk: Disk, name: str) -> None:
        if disk.first:
            shutil.rmtree(folder, ignore_errors=True)

    return vanish


def break_at(case: Case, fault: Fault, at: int) -> Result:
    """A fresh run whose k-th call fails."""
    empty(case.root)
    with watched(Disk(fault, at)):
        result = case.run()
    assert result.exception is None or isinstance(result.exception, SystemExit), (result.exception, result.output)
    if result.exit_code:
        assert result.exit_code == 1
        assert one_line(result.stderr).startswith("Error: "), result.stderr
    return result


def test_no_call_goes_by(cases) -> None:
    disk = cases("synth").disk
    assert sum(disk.calls.count(name) for name in ("open", "ftruncate", *BY_PATH)) == disk.told
    assert {"write", "writev", "pwrite", "fsync", "ftruncate", "replace", "mkdir"} <= set(disk.calls)


@pytest.mark.parametrize(
    ("name", "fault", "step"),
    [
        ("synth", full, 1),
        ("synth", quota, 3),
        ("shard", full, 1),
        ("replay", full, 1),
        ("replay", quota, 3),
        ("from manifest", full, 1),
    ],
)
def test_a_full_disk_at_any_call_costs_nothing_but_the_time(cases, name, fault, step) -> None:
    case = cases(name)
    os.chdir(case.root)
    stopped = Counter[int]()
    for at in range(1, len(case.disk.calls) + 1, step):
        with told(case, at):
            stopped[break_at(case, fault, at).exit_code] += 1
            check_what_is_left(case)
            check_log(case)
            check_the_rest(case)
    assert stopped[1] > stopped[0]  # which is for a folder that was there, so that it need not be made


@pytest.mark.parametrize("name", ["synth", "replay"])
def test_a_folder_that_vanishes_at_any_call_stays_away(cases, name) -> None:
    case = cases(name)
    os.chdir(case.root)
    for at in range(1, len(case.disk.calls) + 1):
        with told(case, at):
            code = break_at(case, vanishing(case.dataset), at).exit_code
            begun = "open" in case.disk.calls[:at]  # of the lock: before it there is nothing to vanish
            assert code == begun
            assert case.dataset.exists() != begun
            if at % 5 == 0:  # nothing is left, so it is much the same each time
                check_the_rest(case)


def test_what_the_command_says_may_find_no_room_either(scans, tmp_path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w") as nowhere:
        done = start(tmp_path, [*given(scans), "--output", "out", *WITH, "--jobs", "1"], stdout=nowhere)
    assert done.returncode == 1
    assert one_line(done.stderr) == "Error: output: cannot be written (No space left on device)"


PHANTOM = ["out", "--shape", "48", "96", "96", "--spacing", "5", "4", "4", "--jobs", "1"]


@pytest.mark.parametrize("most", [0, 20_000])
def test_an_image_that_the_system_takes_in_part_is_not_there(tmp_path, monkeypatch, most) -> None:
    """ITK writes it, and does not notice."""
    monkeypatch.chdir(tmp_path)
    with files_of_at_most(most):
        result = CliRunner().invoke(main, ["phantom", *PHANTOM])
    assert result.exit_code == 1
    assert re.search(r"^Error: .*phantom_000\.nii\.gz: cannot be written \(File too large\)$", result.stderr, re.M)
    assert not tree(tmp_path)
    assert CliRunner().invoke(main, ["phantom", *PHANTOM]).exit_code == 0


# A small disk that really is full.

SMALL, LARGE = "256k", "8m"


def start(root: Path, arguments: Sequence[str], name: str = "synth", **where: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from tumorgen.cli import main; main()", name, *arguments]
    options = {"stdout": subprocess.PIPE, **where}
    return subprocess.run(command, cwd=root, stderr=subprocess.PIPE, text=True, check=False, **options)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB, in memory."""
    at = tmp_path / "disk"
    at.mkdir()
    if not sys.platform.startswith("linux") or not shutil.which("mount"):
        pytest.skip("mounts a tmpfs, which is Linux's")
    tried = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(at)], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"may not mount a small disk here: {tried.stderr.strip()}")
    yield at
    subprocess.run(["umount", str(at)], check=True)


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={LARGE}", str(disk)], check=True)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Scans whose variants do not all fit on the small disk, and what a run makes of them elsewhere."""
    root = tmp_path_factory.mktemp("large")
    write_scans(root, (4.0, 4.0, 4.0))
    work = tmp_path_factory.mktemp("work")
    done = start(work, [*given(root), "--output", "out", *MANY, "--jobs", "1"])
    assert done.returncode == 0, done.stderr
    return root, tree(work)


MANY = ["--per-scan", "4", "--sizes", "small", "--pattern", "single"]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_small_disk_that_is_full(disk, large, jobs) -> None:
    scans, whole = large
    arguments = [*given(scans), "--output", "out", *MANY, "--jobs", jobs]
    if jobs == "1":
        refused = start(disk, arguments)
        assert refused.returncode == 1
        assert "make room, choose another --output, or --force" in one_line(refused.stderr)
        assert not list(disk.iterdir())
    case = Case(disk, arguments, disk / "out" / NAME, whole, set(), Disk())
    for _ in range(2):  # as full as before
        stopped = start(disk, [*arguments, "--force"])
        assert stopped.returncode == 1
        assert re.fullmatch(r"Error: .*\(No space left on device\).*", one_line(stopped.stderr))
        assert 0 < len(check_what_is_left(case)) < 8
    enlarge(disk)
    assert start(disk, arguments).returncode == 0
    assert tree(disk) == whole


def test_an_image_for_which_a_small_disk_has_no_room(disk) -> None:
    stopped = start(disk, PHANTOM, "phantom")
    assert stopped.returncode == 1
    assert re.search(r"phantom_000\.nii\.gz: cannot be written \(No space left on device\)", stopped.stderr)
    assert not tree(disk)
