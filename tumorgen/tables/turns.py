"""Turns: processes that read a table, change it and write it again do so one after the other, and lose nothing.

The lock is the operating system's (flock), so it ends with the process that holds it, however that ends. Where there is
none, on Windows and on some file systems, processes do not wait for each other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import as_unwritable
from ..interruptions import interruptions_let_through

if sys.platform != "win32":
    import fcntl


@contextmanager
def one_at_a_time(table: Path) -> Iterator[None]:
    """Wait until no other process has its turn with a table; the block is this one's.

    Its folder is made where it is missing. The lock's file lies beside the table, hidden, while the block lasts: hold
    interruptions back around it (`interruptions_held`), which would leave it there. They come while it waits.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    place = table.with_name(f".{table.name}.lock")
    with as_unwritable(table):
        table.parent.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    with as_unwritable(table):
        descriptor = _take_turn(place)
    try:
        yield
    finally:
        with suppress(OSError):
            place.unlink()
        os.close(descriptor)


def _take_turn(place: Path) -> int:
    """A descriptor of the lock's file, locked where that can be; one that was removed meanwhile locks nothing."""
    while True:
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            with suppress(OSError):  # a file system without locks
                _lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), place.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:  # Ctrl-C while it waits
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with interruptions_let_through():
            fcntl.flock(descriptor, fcntl.LOCK_EX)
