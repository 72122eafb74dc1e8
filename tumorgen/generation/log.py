"""The log of a run: a JSON object a line, a line per sample, appended as samples are done."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..dataset import Dataset, versions
from ..errors import Failure, TumorgenError, as_unwritable
from ..interruptions import interruptions_held
from .worker import Result

_BEGIN = b'{"time": "'  # of every line
_STEP = 1 << 16  # bytes; no line is longer
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)  # Windows would change the ends of lines


@dataclass(frozen=True, slots=True)
class Log:
    """A file to which lines are appended, each by one write, so that none is ever mixed with another's."""

    path: Path
    descriptor: int

    def add(self, **values: object) -> None:
        """Append a line, with the time.

        Raises
        ------
        TumorgenError
            It cannot be written.
        """
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **values}) + "\n"
        with interruptions_held(), as_unwritable(self.path):
            content = line.encode()
            while content:  # a disk that fills up takes a part first
                content = content[os.write(self.descriptor, content) :]

    def begin(self, **values: object) -> None:
        """Append the first line of a run: the command as typed, and the versions.

        Raises
        ------
        TumorgenError
            It cannot be written.
        """
        self.add(status="begin", command=sys.argv, process=os.getpid(), **values, versions=versions())

    def sample(self, dataset: Dataset, result: Result, seconds: float) -> None:
        """Append what became of a sample: its time, its bytes, or why there is none.

        Raises
        ------
        TumorgenError
            The log cannot be written, or the sample's files are gone.
        """
        if isinstance(result, Failure):
            self.add(sample=result.name, seconds=round(seconds, 3), bytes=0, status="failed", reason=result.reason)
            return
        name = result.plan.sample
        try:
            files = (dataset.image(name), dataset.label(name)) if dataset.raw else ()
            size = sum(path.stat().st_size for path in files)
        except OSError as error:
            raise TumorgenError(f"{dataset.folder}: has vanished during the run; nothing more is written") from error
        self.add(sample=name, seconds=round(seconds, 3), bytes=size, status="made", reason="")


@contextmanager
def open_log(path: Path) -> Iterator[Log]:
    """A log to append to; a line that an earlier run could not finish is cut off.

    Raises
    ------
    TumorgenError
        It cannot be written to, or the file is another than a log, which is left as it is.
    """
    with as_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, _FLAGS, 0o666)
    try:
        with as_unwritable(path):
            _cut(descriptor, path)
        yield Log(path, descriptor)
    finally:
        os.close(descriptor)


def _cut(descriptor: int, path: Path) -> None:
    size = os.fstat(descriptor).st_size
    end = _end_of_content(descriptor, size)
    start = max(0, end - _STEP)
    tail = _read_at(descriptor, end - start, start)
    begun = tail.rfind(b"\n") + 1
    first = _read_at(descriptor, min(end, len(_BEGIN)), 0)
    if not (_may_begin_line(first) and _may_begin_line(tail[begun:])):
        raise TumorgenError(f"{path}: is no log of tumorgen's, and stays as it is; choose another --log-file")
    if start + begun < size:
        os.ftruncate(descriptor, start + begun)


def _read_at(descriptor: int, size: int, start: int) -> bytes:
    """Bytes of a file from some place on; lines are appended at its end wherever it was read last."""
    os.lseek(descriptor, start, os.SEEK_SET)  # Windows has no `os.pread`
    return os.read(descriptor, size)


def _end_of_content(descriptor: int, size: int) -> int:
    """Bytes without the zeros at the end, which a crash may leave in place of what was not yet on disk."""
    while size:
        start = max(0, size - _STEP)
        content = _read_at(descriptor, size - start, start).rstrip(b"\0")
        if content:
            return start + len(content)
        size = start
    return 0


def _may_begin_line(content: bytes) -> bool:
    """Whether a line of a log may begin so; it may be cut off."""
    return content[: len(_BEGIN)] == _BEGIN[: len(content)]
