"""How the samples of a run are cut into units of work: a pure function of their numbers.

A unit is samples of one scan, done by one process. Large units cost few preparations of scans, small ones keep every
process busy to the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

PREPARATION = 10.0  # samples; what preparing a scan costs, by `make bench`: 0.3 to 0.5 W against 0.03 to 0.1 W
OVERHEAD = 0.03  # samples; what a unit costs by itself, 5 to 8 ms: sent, answered, its thread pools held to one
LOSS = 0.1  # of a unit's samples; progress is told in units, and a process that is killed loses one
LARGEST = 64  # samples


def unit_size(counts: Sequence[int], processes: int) -> int:
    """Samples a unit has at most, for scans of which `counts` samples are to be made: the size that ends soonest.

    Many scans with few samples become a unit each; a single scan with a thousand becomes many.
    """
    most = min(LARGEST, max(counts, default=1))
    return min(range(1, most + 1), key=lambda size: (span(counts, processes, size), -size), default=1)


def span(counts: Sequence[int], processes: int, size: int) -> float:
    """Upper bound of how long units of a size take, in samples' time: work / m + longest (1 - 1 / m) (Graham 1969).

    It holds for processes that take the next unit whenever they are free. One that goes on with the same scan need not
    prepare it again, so a scan costs at most a preparation a process.
    """
    units = [-(-count // size) for count in counts]
    preparations = sum(min(number, processes) for number in units)
    work = PREPARATION * preparations + OVERHEAD * sum(units) + sum(counts)
    largest = min(size, max(counts, default=0))
    return work / processes + (PREPARATION + largest) * (1 - 1 / processes) + LOSS * largest


def cut(samples: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """Samples in parts of equal length, give or take one, of which none is longer than a size."""
    parts = -(-len(samples) // size)
    edges = [len(samples) * part // parts for part in range(parts + 1)] if parts else []
    return [tuple(samples[a:b]) for a, b in pairwise(edges)]
