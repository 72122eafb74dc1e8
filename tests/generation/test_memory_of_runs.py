"""A long run takes no more memory than a short one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.reading import write_volume

SHAPE, SPACING_MM = (16, 24, 24), (4.0, 4.0, 4.0)
SCANS, EARLY, SAMPLES = 4, 200, 2000
GROWTH_KIB, AT_END_KIB = 4 << 10, 16 << 10

RUN = """
import json, sys
from pathlib import Path
from tumorgen.dataset.raw import Dataset
from tumorgen.tables.sources import match_sources
from tumorgen.method.settings import Settings
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset

root, jobs, per_scan, early, samples = Path(sys.argv[1]), *map(int, sys.argv[2:])
seen = {}

def process(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return [int(found[name].split()[0]) for name in ("VmRSS", "VmHWM")]

def everyone():
    children = [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
    return {pid: process(pid) for pid in ["self", *children]}

def start(total):
    done = 0
    def move(step):
        nonlocal done
        done += step
        if done in (early, samples):
            seen[done] = everyone()
    return move

sources, _ = match_sources(root / "images", root / "masks")
settings = Settings(sizes=("tiny",), pattern="single")
run = Run(Dataset(root / "D"), sources, settings, per_scan=per_scan, jobs=jobs, start=start, log_file=root / "log")
report = synthesize_dataset(run)
print(json.dumps({"seen": seen, "end": process("self"), "made": report.made}))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    z, y, x = np.meshgrid(*[(np.arange(n) - n // 2) * s for n, s in zip(SHAPE, SPACING_MM, strict=True)], indexing="ij")
    distance = np.sqrt(z**2 + y**2 + x**2)
    geometry = Geometry(SHAPE, SPACING_MM, (0.0, 0.0, 0.0))
    for number in range(SCANS):
        noise = np.random.default_rng(number).standard_normal(SHAPE) * 10
        hu = np.rint(np.where(distance < 36, 100.0, -1000.0) + noise).astype(np.int16)
        write_volume(Volume(hu, geometry), tmp_path / "images" / f"s{number}.nii.gz")
        write_volume(Volume(distance < 30, geometry), tmp_path / "masks" / f"s{number}.nii.gz")
    return tmp_path


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("jobs", [1, 2])
def test_memory_does_not_grow_over_2000_samples(root, jobs):
    """Between the 200th and the 2,000th, of every process; and at the end, when the tables are read back, by little."""
    arguments = [str(n) for n in (root, jobs, SAMPLES // SCANS, EARLY, SAMPLES)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", RUN, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    early, late = (found["seen"][str(n)] for n in (EARLY, SAMPLES))
    told = f"{jobs} jobs, KiB now and at most: {EARLY}: {early}, {SAMPLES}: {late}, end: {found['end']}"
    print(told)  # noqa: T201  (figures for docs/reliability.md)
    assert found["made"] == SAMPLES
    assert len((root / "log").read_text().splitlines()) == SAMPLES + 1
    assert set(late) == set(early)
    assert len(late) > jobs - (jobs == 1)
    for process, (now, _) in late.items():
        assert now - early[process][0] < GROWTH_KIB, process
    assert found["end"][1] - early["self"][1] < AT_END_KIB
