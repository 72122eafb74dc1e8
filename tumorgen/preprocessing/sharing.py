"""How the samples of scans are shared out to processes, each of which makes a scan ready for itself."""

from __future__ import annotations

from collections.abc import Sequence

from ..generation import cut_samples

READY = 8.0  # samples' time that a scan takes to be made ready; 6 to 10 were measured
LARGEST_PART = 24  # samples; how far a run has come is told when a part is done
TRIED_SCANS = 16  # a process; of more, each is a part, and which process gets which hardly matters


def part_size(counts: Sequence[int], processes: int) -> int:
    """Samples a part has at most, for scans of which `counts` samples are to be made: the size that ends soonest."""
    most = min(LARGEST_PART, max(counts, default=1))
    if len(counts) > TRIED_SCANS * processes:
        return most
    return min(range(1, most + 1), key=lambda size: (seconds_of(counts, processes, size), -size))


def seconds_of(counts: Sequence[int], processes: int, size: int) -> float:
    """When the last part is done, in samples' time, of processes that take the next part whenever they are free."""
    free = [(0.0, -1)] * processes  # when a process is, and the scan that it has ready
    for scan, count in enumerate(counts):
        for part in cut_samples(range(count), size):
            began, ready = min(free)
            free[free.index((began, ready))] = began + len(part) + READY * (ready != scan), scan
    return max(free)[0]
