"""The log of a run: a JSON object a line, a line per sample, appended as samples are done."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..dataset import Dataset
from ..errors import Failure, TumorgenError, as_unwritable
from ..interruptions import interruptions_held
from .worker import Result


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
        It cannot be written to.
    """
    with as_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        _cut(descriptor)
    try:
        yield Log(path, descriptor)
    finally:
        os.close(descriptor)


def _cut(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    start = max(0, size - (1 << 16))  # no line is longer
    tail = os.pread(descriptor, size - start, start)
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(descriptor, start + tail.rfind(b"\n") + 1)
