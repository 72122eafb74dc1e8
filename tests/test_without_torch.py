"""Where PyTorch and nnU-Net are not installed, every command runs but two that say what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nnunet_runs import write_dataset
from phantoms import ball_volume, write_balls

from tumorgen.cli import main

pytestmark = pytest.mark.longest

NEEDS_TORCH = {"liver-mask", "preprocess"}
MADE = "raw/Dataset501_SynthLiver"
COMMANDS = [
    "synth --images scans/images --masks scans/masks --output raw --per-scan 2 --sizes small --jobs 1",
    f"verify {MADE} --jobs 1",
    f"preview {MADE} --count 1 --jobs 1",
    f"replay {MADE}/manifest.csv --output again --jobs 1",
    f"merge {MADE}",
    f"mix --real raw/Dataset003_Liver --synthetic {MADE} --output raw --jobs 1",
    "healthy --images scans/images --masks scans/masks --output raw --jobs 1",
    "trainer-path",
    "robustness --images scans/images --masks scans/masks --output raw --dataset-id 503 --levels size=8 --jobs 1",
    f"evaluate {MADE}/labelsTr {MADE}/labelsTr --manifest {MADE}/manifest.csv --output evaluated --jobs 1",
    f"worst evaluated {MADE}/manifest.csv --output worst.csv --count 1 --jobs 1",
    f"audit {MADE} --real raw/Dataset003_Liver --output audited --jobs 1",
    "fit raw/Dataset003_Liver --output fitted.toml --jobs 1",
    f"turing make --real {MADE} --synthetic {MADE} --count 2 --share-real 0.5 --output reading --jobs 1",
    "turing export reading website",
    "recipes",
    f"remove {MADE} --case ball_1",
    "phantom made --count 1 --shape 40 64 64",
]
RUNNER = """
import json, shlex, sys, traceback
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = ("torch", "torchvision", "nnunetv2", "batchgenerators", "batchgeneratorsv2")
        return None if name.partition(".")[0] in absent else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from click.testing import CliRunner
from tumorgen.cli import main
ended = {}
for line in json.load(sys.stdin):
    result = CliRunner().invoke(main, shlex.split(line))
    if result.exit_code:
        ended[line] = result.output + "".join(traceback.format_exception(result.exception))
json.dump(ended, sys.stdout)
"""


def test_every_other_command_runs(tmp_path: Path) -> None:
    assert {line.split()[0] for line in COMMANDS} == set(main.commands) - NEEDS_TORCH
    write_balls(tmp_path / "scans", 2, "ball")
    volume, liver = ball_volume((4.0, 4.0, 4.0), seed=7)
    label = liver.astype(np.uint8)
    label[15:20, 15:20, 15:20] = 2
    write_dataset(tmp_path / "raw", "Dataset003_Liver", {"real": (volume, label)}, {"liver": 1, "cancer": 2})
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        cwd=tmp_path,
        input=json.dumps(COMMANDS),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {}


@pytest.mark.parametrize("command", ["liver-mask images masks-found --jobs 1", "preprocess --raw raw"])
def test_the_others_say_what_is_missing(tmp_path: Path, command: str) -> None:
    write_balls(tmp_path, 1, "ball")
    (tmp_path / "raw" / "Dataset501_Any").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        cwd=tmp_path,
        input=json.dumps([command]),
        capture_output=True,
        text=True,
        check=True,
    )
    (said,) = json.loads(done.stdout).values()
    (line,) = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert "nnU-Net cannot be imported (No module named '" in line
