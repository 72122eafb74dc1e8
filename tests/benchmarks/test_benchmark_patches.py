"""The benchmark of patches runs; none of its figures is asserted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import benchmark_patches
import pytest
from forks import run_fork

SMALL = """
import benchmark_patches
benchmark_patches.PATCH = [48, 48, 48]
benchmark_patches.EPOCHS_S = 4.0, 3.0, 2.0, 1.0  # less to sleep through
benchmark_patches.main()
"""
CLASSES = ("tiny", "small", "medium", "large", "mix")


@pytest.mark.slow
def test_every_class_and_both_loaders_are_measured(tmp_path):
    here = Path(__file__).parent
    arguments = ["--patches", "1", "--batches", "1", "--shape", "48", "144", "176"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(here), str(here.parent)))}
    (tmp_path / "small.py").write_text(SMALL)
    printed = run_fork([tmp_path / "small.py", *arguments], tmp_path, environment)
    rows = re.findall(r"^\| `?([\w ]+?)`? \| (\d*) \| (\d*) \| ([\d.]+) \| (\d+) \|$", printed, re.MULTILINE)
    assert [row[0] for row in rows] == ["no tumours", "made offline", "all in turn", *CLASSES]
    for name, median, _, rate, epoch in rows:
        assert bool(median) == (name in CLASSES)
        # Both are rounded: 500 patches by 12 processes at a rate of two decimals.
        assert float(epoch) == pytest.approx(500 / 12 / float(rate), abs=1, rel=0.01)
    waits = re.findall(r"^\| `?([\w ]+?)`? \|((?: [\d.]+% \|){4})$", printed, re.MULTILINE)
    assert [name for name, _ in waits] == ["made offline", "all in turn", "mix"]
    assert all(0 <= float(share) < 100 for _, shares in waits for share in re.findall(r"[\d.]+", shares))


class Clock:
    """Stands in for the module `time`: it goes on only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_one_who_is_busy_waits_for_what_is_made_too_slowly(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(benchmark_patches, "time", clock)

    def made(seconds: float) -> Iterator[None]:
        for _ in range(11):
            clock.sleep(seconds)
            yield

    assert benchmark_patches.waiting(made(0.0), 5, 0.02) == 0
    assert benchmark_patches.waiting(made(0.06), 5, 0.02) == pytest.approx(0.75)
