"""The benchmark of patches runs; none of its figures is asserted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_every_class_and_both_loaders_are_measured(tmp_path):
    script = Path(__file__).with_name("benchmark_patches.py")
    arguments = ["--patches", "1", "--batches", "1", "--shape", "48", "144", "176"]
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.findall(r"^\| `(\w+)` \|", done.stdout, re.MULTILINE) == ["tiny", "small", "medium", "large", "mix"]
    assert re.search(r"[\d.]+ patches a second without tumours, [\d.]+ with them", done.stdout)
