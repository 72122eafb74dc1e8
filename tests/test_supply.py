"""What the project stands on: every dependency has a lower bound, and the development environment is locked."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = ROOT / "requirements-dev.lock"
DIRECT = [
    Requirement(text)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in group
    if not text.startswith("tumorgen[")
]


def locked() -> list[tuple[Requirement, int]]:
    """Each pin of the lock and its number of hashes."""
    text = LOCK.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return [(Requirement(line.split(" --hash")[0].strip()), line.count("--hash=sha256:")) for line in lines]


def test_what_is_imported_is_a_dependency():
    """By the library and the commands. nnU-Net brings PyTorch and its data loaders, dask[distributed] its scheduler."""
    brought = {"torch", "batchgenerators", "batchgeneratorsv2", "distributed"}
    known = {canonicalize_name(requirement.name) for requirement in DIRECT}
    distributions = packages_distributions()
    for path in [*(ROOT / "tumorgen").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - brought - {"tumorgen"}
            for top in tops:
                found = {canonicalize_name(name) for name in distributions.get(top, [top])}
                assert found & known, f"{path}: {top}"


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_every_dependency_has_a_lower_bound_alone(requirement):
    assert [specifier.operator for specifier in requirement.specifier] == [">="]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_lock_pins_every_dependency_within_its_bound(python):
    here = default_environment() | {"python_version": python, "python_full_version": f"{python}.5"}
    pins = {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin, _ in locked()
        if pin.marker is None or pin.marker.evaluate(here)
    }
    for requirement in DIRECT:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_the_lock_holds_hashes_and_names_no_host():
    assert all(next(iter(pin.specifier)).operator == "==" and hashes for pin, hashes in locked())
    assert len(locked()) > 100
    assert not re.search(r"://|--index|--find-links|--extra-index", LOCK.read_text(encoding="utf-8"))


def test_no_document_names_a_registrys_host():
    """But for PyTorch's own, which alone has its builds without CUDA."""
    for path in (ROOT / "Makefile", ROOT / "pyproject.toml", *sorted((ROOT / "docs").glob("*.md"))):
        text = path.read_text(encoding="utf-8").replace("--index-url https://download.pytorch.org/", "")
        assert not re.search(r"index-url [a-z]+:|--index-url=", text), path
