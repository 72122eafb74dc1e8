"""The house: what a package shows the others, which file to open for what, and functions that fit on a screen."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "tumorgen"
PACKAGES = sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py"))
MODULES = sorted([*LIBRARY.rglob("*.py"), *(ROOT / "cli").glob("*.py"), *(ROOT / "recipes").rglob("*.py")])
LONGEST_FUNCTION = 40  # lines, the docstring not counted
PAGE = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")


def exported(package: str) -> set[str]:
    """Names that a package's stub lists."""
    tree = ast.parse((LIBRARY / package / "__init__.pyi").read_text(encoding="utf-8"))
    (names,) = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    return set(ast.literal_eval(names))


def imports_of_others(path: Path) -> Iterator[tuple[str, str]]:
    """Package and name of everything that a module imports from packages of the library that are not its own."""
    own = path.relative_to(LIBRARY).parts[0] if path.is_relative_to(LIBRARY) else ""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        if node.level == 2:
            package, _, module = node.module.partition(".")
        elif node.level == 0 and node.module.startswith("tumorgen."):
            package, _, module = node.module.removeprefix("tumorgen.").partition(".")
        else:
            continue
        if package in PACKAGES and package != own and module:
            yield from ((package, alias.name) for alias in node.names)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_exports_what_others_use(package: str) -> None:
    used = {name for path in MODULES for other, name in imports_of_others(path) if other == package}
    assert used <= exported(package)


def test_every_package_is_installed_and_has_a_row_in_the_page_of_the_house() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {f"tumorgen.{name}" for name in PACKAGES} <= set(project["tool"]["setuptools"]["packages"])
    rows = re.findall(r"^\| \d \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert set(PACKAGES) <= set(rows)


def test_what_is_to_be_changed_is_at_most_three_files_away() -> None:
    section = PAGE[PAGE.index("## Which file to open") : PAGE.index("## How errors reach the user")]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", section, re.MULTILINE)[2:]
    assert len(rows) >= 5
    for purpose, cell in rows:
        files = re.findall(r"`([\w/]+\.py)`", cell)
        assert 1 <= len(files) <= 3, purpose
        assert all((LIBRARY / name).is_file() for name in files), purpose


def test_functions_fit_on_a_screen() -> None:
    long = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                first = node.body[0]
                is_documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
                described = (first.end_lineno or 0) - first.lineno + 1 if is_documented else 0
                if (node.end_lineno or 0) - node.lineno + 1 - described > LONGEST_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert long == []
