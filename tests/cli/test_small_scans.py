"""A few variants of one small scan cost what they cost: no import that takes longer, no process that nobody needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from phantoms import write_balls

# Each takes longer to import than a variant of a small scan to make, or is what only other commands need.
NEEDLESS = {"SimpleITK", "asyncio", "joblib", "matplotlib", "nnunetv2", "pandas", "psutil", "scipy", "sklearn", "torch"}
NEEDLESS |= {"numpy.f2py", "numpy.ma", "numpy.testing"}
RUN = """
import json, sys
import numpy
imported = {"numpy": sorted(sys.modules)}
from tumorgen.cli import main
for recipe in sys.argv[1:]:
    command = ["synth", "--images", "images", "--masks", "masks", "--output", recipe, "--per-scan", "2"]
    main([*command, "--recipe", recipe, "--jobs", "8"], standalone_mode=False)
    imported[recipe] = sorted(sys.modules)
json.dump(imported, open("imported.json", "w"))
"""
RECIPES = ("turing", "lifelike")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where two variants of a small scan were made with either recipe, and with any number of processes."""
    root = tmp_path_factory.mktemp("small")
    write_balls(root, 1, "ball")
    subprocess.run([sys.executable, "-c", RUN, *RECIPES], cwd=root, capture_output=True, check=True)
    return root


@pytest.mark.parametrize("recipe", RECIPES)
def test_nothing_is_imported_that_two_variants_do_without(folder, recipe):
    assert len([*(folder / recipe).glob("*/imagesTr/*.nii.gz")]) == 2
    imported = json.loads((folder / "imported.json").read_text())
    assert "tumorgen.method.rendering" in imported[recipe]
    assert {*imported[recipe]} & NEEDLESS - {*imported["numpy"]} == set()  # numpy 1 brings numpy.ma itself
