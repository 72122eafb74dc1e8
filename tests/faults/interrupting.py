"""Signals between any two steps of a piece of work: one after the other, so that no race is left to chance."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from tumorgen import interruptions
from tumorgen.dataset import lock, raw
from tumorgen.generation import log, run, shards
from tumorgen.imaging import files, patched_gzip
from tumorgen.tables import manifest

# What opens, writes, syncs, renames, closes and removes: each line of it is a step.
LIBRARY = (contextlib, shutil, tempfile)
WRITING = tuple(each.__file__ for each in (*LIBRARY, files, lock, log, manifest, patched_gzip, raw, run, shards))
HOLDING = (interruptions.__file__, contextlib.__file__)


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a program may have it."""

    signal = signal.SIGTERM


def terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise an exception each; afterwards their handlers are those of before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(slots=True)
class Steps:
    """Counts the steps of a piece of work, which are in some files, and sends signals before the k-th of them."""

    files: Sequence[str | None] = WRITING
    event: str = "line"  # or opcode
    at: int = 0
    signals: Sequence[int] = (signal.SIGINT,)
    count: int = 0
    where: str = ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Steps | None:
        if frame.f_code.co_filename not in self.files:
            return None
        frame.f_trace_opcodes = self.event == "opcode"
        if event == self.event:
            self.count += 1
            if self.count == self.at:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                for number in self.signals:
                    signal.raise_signal(number)
        return self

    def of(self, work: Callable[[], object]) -> None:
        """Do the work so."""
        before = sys.gettrace()
        sys.settrace(self)
        try:
            work()
        finally:
            sys.settrace(before)


def interrupt(work: Callable[[], object], steps: Steps) -> None:
    """Do a piece of work with signals before a step: it ends with what they raise, and with nothing else."""
    try:
        steps.of(work)
    except KeyboardInterrupt:
        assert steps.where
    except BaseException as error:
        error.add_note(f"interrupted before step {steps.at}, {steps.where}")
        raise
    else:
        assert not steps.where, f"what came before step {steps.at}, {steps.where}, is lost"
