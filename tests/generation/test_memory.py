"""Memory that is kept: no page of an array is asked of the system twice."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from tumorgen.generation.memory import keep_memory

assert not int(sys.argv[1]) or keep_memory()
def use():
    for _ in range(50):
        kept = [np.ones(1 << 20, np.uint8) for _ in range(8)]
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_pages_of_arrays_are_kept():
    """Eight arrays of 256 pages, fifty times: a tenth of them or more are cleared again, or next to none."""
    given, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, told], capture_output=True, text=True, check=True).stdout)
        for told in "01"
    )
    assert given > 50 * 8 * 256 / 10
    assert kept < 100


GAPS = """
import numpy as np
from pathlib import Path
from tumorgen.generation.memory import release_memory

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
arrays = [np.ones(100_000, np.uint8) for _ in range(1000)]
del arrays[:-1]  # what is left holds the heap's end
before = held()
assert release_memory()
print(before - held())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_gaps_in_the_heap_are_given_back():
    """Of 100 MB that are free, but for one array at their end, most go."""
    given = int(subprocess.run([sys.executable, "-c", GAPS], capture_output=True, text=True, check=True).stdout)
    assert given > 80e6
