"""Shares of processes: as few scans made ready as the end allows."""

from __future__ import annotations

import pytest

from tumorgen.generation import cut_samples
from tumorgen.preprocessing.sharing import LARGEST_PART, READY, part_size, seconds_of


@pytest.mark.parametrize(
    ("counts", "processes", "parts"),
    [
        ([20, 20], 2, [20]),  # a scan for each process
        ([20], 2, [10, 10]),  # one scan, which both make ready
        ([20] * 4, 1, [20]),
        ([1, 1, 1], 2, [1]),
        ([5 * LARGEST_PART], 1, [LARGEST_PART] * 5),
        ([20] * 1000, 2, [20]),
    ],
)
def test_parts_of_a_scan_are_as_large_as_ends_soonest(counts, processes, parts):
    size = part_size(counts, processes)
    assert [len(part) for part in cut_samples(range(counts[0]), size)] == parts


def test_a_process_that_goes_on_with_a_scan_has_it_ready():
    assert seconds_of([20], 1, 5) == READY + 20
    assert seconds_of([20, 20], 2, 20) == READY + 20
    assert seconds_of([20, 20], 2, 10) == 2 * (READY + 10)


def test_nothing_to_share_out_is_no_matter():
    assert part_size([], 2) == 1
