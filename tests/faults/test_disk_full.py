"""A disk that is full, a quota that is used up, a folder that vanishes: at every call that puts something on disk.

The calls are counted in a run that nothing disturbs; then there are as many runs, each with its fault at another call,
and after each the same command again. Last, a small disk that really is full.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.dataset import provenance
from tumorgen.dataset.raw import Dataset
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.settings import Settings
from tumorgen.tables.manifest import recover_manifest
from tumorgen.tables.sources import match_sources

NAME = "Dataset501_SynthLiver"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
BY_PATH = ("mkdir", "replace", "rename", "link", "symlink", "truncate")
BY_DESCRIPTOR = ("fsync", "ftruncate", "write", "writev", "pwrite", "sendfile")
OPENED = {"open", "os.mkdir", "os.rename", "os.link", "os.symlink", "os.truncate"}  # what Python itself tells of

Fault = Callable[["Disk", str], int | None]


@dataclass(slots=True)
class Disk:
    """A disk whose k-th call fails as `fault` has it: it raises, or says how many bytes are still written."""

    fault: Fault = lambda disk, name: None
    at: int = 0
    calls: list[str] = field(default_factory=list)
    told: int = 0  # how many openings and so on Python's own audit has seen

    def call(self, name: str) -> int | None:
        self.calls.append(name)
        return self.fault(self, name) if self.at and len(self.calls) >= self.at else None

    @property
    def first(self) -> bool:
        return len(self.calls) == self.at


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


_watching: list[Disk] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    """Python's own account, by which nothing that opens or renames is left out of ours."""
    if _watching and event in OPENED and not (event == "open" and not arguments[2] & WRITING):
        _watching[0].told += 1


sys.addaudithook(_hear)


@contextmanager
def watched(disk: Disk) -> Iterator[Disk]:
    """All that this process puts on disk goes by `disk`."""

    class File(io.FileIO):
        def write(self, content: Any) -> int:
            half = disk.call("write")
            return super().write(memoryview(content)[: len(content) // half] if half else content)

    real_open = io.open

    def open_(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
              newline: Any = None, **more: Any) -> Any:  # fmt: skip
        if not set(mode) & set("wax+") or not isinstance(file, str | os.PathLike):
            return real_open(file, mode, buffering, encoding, errors, newline, **more)
        disk.call("open")
        buffered = io.BufferedWriter(File(file, mode.replace("b", "").replace("t", "")))
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def by_path(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if name != "open" or arguments[1] & WRITING:
                disk.call(name)
            return real(*arguments, **options)

        return call

    def by_descriptor(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(descriptor: int, *arguments: Any) -> Any:
            mode = os.fstat(descriptor).st_mode
            half = disk.call(name) if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else None  # pipes are not on disk
            if name == "fsync":  # is counted, and not waited for
                return None
            return real(descriptor, *_shortened(name, arguments, half) if half else arguments)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for module in (io, builtins):
            patch.setattr(module, "open", open_)
        for name in ("open", *BY_PATH):
            patch.setattr(os, name, by_path(name))
        for name in filter(lambda name: hasattr(os, name), BY_DESCRIPTOR):
            patch.setattr(os, name, by_descriptor(name))
        _watching[:] = [disk]
        try:
            yield disk
        finally:
            _watching.clear()


def _shortened(name: str, arguments: Sequence[Any], half: int) -> list[Any]:
    if name == "sendfile":  # source, offset, count
        return [arguments[0], arguments[1], max(1, os.fstat(arguments[0]).st_size // half)]
    if name == "writev":
        whole = b"".join(arguments[0])
        return [[whole[: len(whole) // half]]]
    return [arguments[0][: len(arguments[0]) // half], *arguments[1:]]


def write_scans(root: Path, spacing_mm: tuple[float, float, float]) -> None:
    for number in (0, 1):
        volume, liver = ball_volume(spacing_mm, seed=number)
        write_volume(volume, root / "images" / f"liver_{number}.nii.gz")
        write_volume(Volume(liver, volume.geometry), root / "masks" / f"liver_{number}.nii.gz")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans, and a dataset made of them."""
    root = tmp_path_factory.mktemp("scans")
    write_scans(root, (8.0, 8.0, 8.0))
    sources, _ = match_sources(root / "images", root / "masks")
    settings = Settings(sizes=("tiny",), pattern="single")
    assert synthesize_dataset(Run(Dataset(root / NAME), sources, settings, per_scan=1, jobs=1)).made == 2
    return root


def tree(root: Path) -> dict[str, bytes]:
    """All files, hidden ones too, but the log, which has times in it."""
    found = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    found.pop("log.jsonl", None)
    return found


def folders(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_dir()}


def one_line(said: str) -> str:
    """The one line that a run has ended with, its progress apart."""
    (line,) = [line for line in re.split(r"[\r\n]+", said) if line.strip() and not re.match(r"(synth|replay): ", line)]
    return line


@dataclass(frozen=True, slots=True)
class Case:
    """A command, and what it leaves when nothing happens."""

    root: Path
    command: list[str]
    dataset: Path
    whole: dict[str, bytes]
    folders: set[str]
    disk: Disk

    def run(self) -> Result:
        return CliRunner().invoke(main, self.command)


def empty(root: Path) -> None:
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def undisturbed(root: Path, command: list[str], dataset: Path) -> Case:
    """Run a command where nothing happens, and count its calls."""
    os.chdir(root)
    for disk in (Disk(), Disk()):  # the first time, it imports what it needs
        empty(root)
        with watched(disk):
            result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
    return Case(root, command, dataset, tree(root), folders(root), disk)


def check_what_is_left(case: Case) -> list[str]:
    """Whole files and true rows only; return the samples that count as done."""
    left = tree(case.dataset)
    prefix = case.dataset.relative_to(case.root).as_posix()
    for name in left:
        if name.endswith(".gz"):
            assert left[name] == case.whole[f"{prefix}/{name}"], name
    hidden = [path for path in case.root.rglob(".*") if not path.name.startswith(".lock")]
    assert not hidden
    tables = [case.dataset / "manifest.csv", *case.dataset.glob("shards/*-of-?.csv")]
    records = [record for table in tables for record in recover_manifest(table)]
    for record in records:
        assert {record.files.image_file, record.files.label_file} <= set(left)
        assert record.outcomes
    return [record.plan.sample for record in records]


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


def check_log(case: Case) -> None:
    """Whole lines, but for a last one that was cut off."""
    log = case.root / "log.jsonl"
    for line in log.read_text().split("\n")[:-1] if log.exists() else []:
        json.loads(line)


@contextmanager
def told(case: Case, at: int) -> Iterator[None]:
    """Have a failure say at which call."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"call {at} of {len(case.disk.calls)}: {case.disk.calls[at - 1]}")
        raise


def check_the_rest(case: Case) -> None:
    """The same command does the rest, to the same bits, and leaves nothing else."""
    with watched(Disk()):
        result = case.run()
    assert result.exit_code == 0, result.output
    assert tree(case.root) == case.whole
    assert folders(case.root) == case.folders


WITH = ["--per-scan", "1", "--sizes", "tiny", "--pattern", "single"]


def given(scans: Path) -> list[str]:
    return ["--images", str(scans / "images"), "--masks", str(scans / "masks")]


def make_cases(scans: Path) -> dict[str, tuple[list[str], str]]:
    """Commands of runs, and where each writes its dataset."""
    to = ["--output", "out", "--jobs", "1"]
    rows = str(scans / NAME / "manifest.csv")
    return {
        "synth": (["synth", *given(scans), *to, *WITH, "--log-file", "log.jsonl"], f"out/{NAME}"),
        "shard": (["synth", *given(scans), *to, *WITH, "--shard", "1/2"], f"out/{NAME}"),
        "replay": (["replay", rows, *to], "out"),
        "from manifest": (["synth", "--from-manifest", rows, *to], f"out/{NAME}"),
    }


@pytest.fixture(scope="module", autouse=True)
def _home_again() -> Iterator[None]:
    before = Path.cwd()
    yield
    os.chdir(before)


@pytest.fixture(scope="module", autouse=True)
def _asked_once() -> Iterator[None]:
    """Versions of libraries, which take longer to find than a sample of this size to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "version", cache(provenance.version))
        yield


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, scans: Path) -> Callable[[str], Case]:
    @cache
    def of(name: str) -> Case:
        command, dataset = make_cases(scans)[name]
        root = tmp_path_factory.mktemp("case")
        return undisturbed(root, command, root / dataset)

    return of


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


# A small disk that really is full.

SMALL, LARGE = "256k", "8m"


def start(root: Path, arguments: Sequence[str], **where: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from tumorgen.cli import main; main()", "synth", *arguments]
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
    work = root / "work"
    work.mkdir()
    done = start(work, [*given(root), "--output", "out", *MANY, "--jobs", "1"])
    assert done.returncode == 0, done.stderr
    return root, tree(work)


MANY = ["--per-scan", "4", "--sizes", "tiny", "--pattern", "single"]


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
