"""Work over processes of this machine."""

from __future__ import annotations

import joblib

from .errors import TumorgenError


def count_jobs(jobs: int) -> int:
    """Number of processes; negative numbers count from the cores that this process may use, as in joblib."""
    if jobs == 0:
        raise TumorgenError("--jobs 0: give a number of processes, or -1 for all cores")
    return jobs if jobs > 0 else max(1, joblib.cpu_count() + 1 + jobs)
