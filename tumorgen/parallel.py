"""Work over processes of this machine."""

from __future__ import annotations

from collections.abc import Callable

import joblib

from .errors import TumorgenError

Start = Callable[[int], Callable[[int], None]]  # gets the number of steps; returns what gets steps as they are done


def no_progress(total: int) -> Callable[[int], None]:  # noqa: ARG001
    """The progress of work that nobody watches."""
    return lambda step: None  # noqa: ARG005


def count_jobs(jobs: int) -> int:
    """Number of processes; negative numbers count from the cores that this process may use, as in joblib."""
    if jobs == 0:
        raise TumorgenError("--jobs 0: give a number of processes, or -1 for all cores")
    return jobs if jobs > 0 else max(1, joblib.cpu_count() + 1 + jobs)
