"""The library's face: a dozen names, loaded when they are used, and all that docs/api.md needs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import tumorgen

ROOT = Path(__file__).parents[1]
HEAVY = {"SimpleITK", "joblib", "nnunetv2", "numpy", "pandas", "scipy", "torch"}


def test_every_name_is_there():
    for name in tumorgen.__all__:
        assert getattr(tumorgen, name) is not None


def test_importing_it_imports_nothing_else():
    code = "import sys, tumorgen; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY.isdisjoint(loaded)
    assert {name for name in loaded if name.startswith("tumorgen")} == {"tumorgen"}


def test_the_api_page_uses_nothing_else():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert re.findall(r"tumorgen\.\w+", page) == []  # no module of the library is named
    used = set(re.findall(r"\btg\.(\w+)", page))
    assert used
    assert used <= set(tumorgen.__all__)
    table = set(re.findall(r"^\| `(\w+)\(", page, re.MULTILINE))
    assert table <= set(tumorgen.__all__)
