"""The benchmark of patches runs; none of its figures is asserted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CLASSES = ("tiny", "small", "medium", "large", "mix")


@pytest.mark.slow
def test_every_class_and_both_loaders_are_measured(tmp_path):
    script = Path(__file__).with_name("benchmark_patches.py")
    arguments = ["--patches", "1", "--batches", "1", "--shape", "48", "144", "176"]
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = re.findall(r"^\| `?([\w ]+?)`? \| (\d*) \| (\d*) \| ([\d.]+) \| (\d+) \|$", done.stdout, re.MULTILINE)
    assert [row[0] for row in rows] == ["no tumours", "made offline", "all in turn", *CLASSES]
    for name, median, _, rate, epoch in rows:
        assert bool(median) == (name in CLASSES)
        # Both are rounded: 500 patches by 12 processes at a rate of two decimals.
        assert float(epoch) == pytest.approx(500 / 12 / float(rate), abs=1, rel=0.01)
