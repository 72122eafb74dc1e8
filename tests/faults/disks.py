"""A disk that is watched: every call of a run that puts something on it, counted, and what is done at one of them.

The calls are counted in a run that nothing disturbs. Then there are as many runs, each disturbed at another call, and
after each the same command again.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result
from phantoms import ball_volume
from trees import files_in

from tumorgen.cli import main
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.tables.manifest import recover_manifest

NAME = "Dataset501_SynthLiver"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
BY_PATH = ("mkdir", "replace", "rename", "link", "symlink", "truncate")
BY_DESCRIPTOR = ("fsync", "ftruncate", "write", "writev", "pwrite", "sendfile")
OPENED = {"open", "os.mkdir", "os.rename", "os.link", "os.symlink", "os.truncate"}  # what Python itself tells of

T = TypeVar("T")
Fault = Callable[["Disk", str], int | None]


@dataclass(slots=True)
class Disk:
    """A disk whose k-th call fails as `fault` has it: it raises, or says how many bytes are still written.

    `after` is called once the k-th call is done.
    """

    fault: Fault = lambda disk, name: None
    at: int = 0
    after: Callable[[], None] = lambda: None
    calls: list[str] = field(default_factory=list)
    told: int = 0  # how many openings and so on Python's own audit has seen

    def call(self, name: str) -> int | None:
        self.calls.append(name)
        return self.fault(self, name) if self.at and len(self.calls) >= self.at else None

    def done(self, result: T) -> T:
        """What the call gives, once it is done."""
        if self.first:
            self.after()
        return result

    @property
    def first(self) -> bool:
        return len(self.calls) == self.at


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
            return disk.done(super().write(memoryview(content)[: len(content) // half] if half else content))

    real_open = io.open

    def open_(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
              newline: Any = None, **more: Any) -> Any:  # fmt: skip
        if not set(mode) & set("wax+") or not isinstance(file, str | os.PathLike):
            return real_open(file, mode, buffering, encoding, errors, newline, **more)
        disk.call("open")
        buffered = disk.done(io.BufferedWriter(File(file, mode.replace("b", "").replace("t", ""))))
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def by_path(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & WRITING:
                return real(*arguments, **options)
            disk.call(name)
            try:
                return real(*arguments, **options)
            finally:  # a folder may be there already
                disk.done(None)

        return call

    def by_descriptor(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(descriptor: int, *arguments: Any) -> Any:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # pipes are not on disk
                return real(descriptor, *arguments)
            half = disk.call(name)
            if name == "fsync":  # is counted, and not waited for
                return disk.done(None)
            return disk.done(real(descriptor, *_shortened(name, arguments, half) if half else arguments))

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


def tree(root: Path) -> dict[str, bytes]:
    """All files, hidden ones too, but the log, which has times in it."""
    found = files_in(root)
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
        assert len(record.outcomes) == record.files.tumors_placed
    return [record.plan.sample for record in records]


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


WITH = ["--per-scan", "1", "--sizes", "small", "--pattern", "single"]


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
