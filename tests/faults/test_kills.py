"""A hundred real kills at random moments lose nothing, tear nothing and change nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 100
FAULTS = ("lost", "torn", "duplicate", "different", "left running", "left over", "wrong exit code", "traceback")


@pytest.mark.slow
@pytest.mark.longest
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for orphans in /proc")
def test_a_hundred_kills_leave_the_dataset_of_an_uninterrupted_run(tmp_path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("kills.py")), str(tmp_path), "--kills", str(KILLS)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == KILLS
    faults = {name: found[name] for name in FAULTS}
    assert not any(faults.values()), (faults, done.stderr)
