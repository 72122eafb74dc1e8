"""Rows of the table of scans, put down while the scans are done: soon, and at a cost that does not grow with them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..tables import ScanRow, record_scans

PATIENCE = 20  # times as long as the table took to write: so it costs at most a twentieth, and a kill that much work


@contextmanager
def recording(table: Path, then: Callable[[ScanRow], None] | None = None) -> Iterator[Callable[[ScanRow], None]]:
    """What puts rows into the table of scans; whatever ends the block, all are on disk then, and `then` knows of each.

    The table is written whole each time. That of a few scans is written after each; that of thousands takes a second,
    so it is written when some more are done. A process that is killed meanwhile has to do those again.

    Raises
    ------
    TumorgenError
        The table that is there cannot be read, or its folder cannot be written to.
    """
    pending: list[ScanRow] = []
    due = -math.inf

    def write() -> float:
        began = time.monotonic()
        record_scans(pending, table)
        for row in pending:
            if then is not None:
                then(row)
        pending.clear()
        return time.monotonic() + PATIENCE * (time.monotonic() - began)

    def record(row: ScanRow) -> None:
        nonlocal due
        pending.append(row)
        if time.monotonic() >= due:
            due = write()

    try:
        yield record
    finally:
        if pending:
            write()
