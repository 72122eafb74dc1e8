"""The house: what a package shows the others, which file to open for what, and functions that fit on a screen."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "tumorgen"
PACKAGES = sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py"))
MODULES = sorted([*LIBRARY.rglob("*.py"), *(ROOT / "cli").glob("*.py")])
TESTS = sorted([*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "tests").rglob("conftest.py")])
CLOCKS = {"time", "timeit", "sched"}
LONGEST_FUNCTION = 40  # lines, the docstring not counted
PAGE = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")


def imports_of_others(path: Path) -> Iterator[str]:
    """Every module of another package of the library that a module imports from, dotted, as it is written."""
    own = path.relative_to(LIBRARY).parts[0] if path.is_relative_to(LIBRARY) else ""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            name = node.module if node.level == 2 else node.module.removeprefix("tumorgen.")
            absolute = node.level == 0 and node.module.startswith("tumorgen.")
            if (node.level == 2 or absolute) and name.partition(".")[0] in {*PACKAGES} - {own}:
                yield name


def test_packages_are_used_by_what_they_export() -> None:
    """Not by the modules in them, so that these can be taken apart without anybody noticing."""
    inside = [
        (str(path.relative_to(ROOT)), name) for path in MODULES for name in imports_of_others(path) if "." in name
    ]
    assert inside == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_there(package: str) -> None:
    module = importlib.import_module(f"tumorgen.{package}")
    assert module.__all__
    assert all(getattr(module, name) is not None for name in module.__all__)
    assert len(module.__doc__ or "") > 60


def test_every_package_is_installed_and_has_a_row_in_the_page_of_the_house() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {f"tumorgen.{name}" for name in PACKAGES} <= set(project["tool"]["setuptools"]["packages"])
    rows = re.findall(r"^\| \d \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert set(PACKAGES) <= set(rows)


def test_what_is_to_be_changed_is_at_most_three_files_away() -> None:
    section = PAGE[PAGE.index("## Which file to open") : PAGE.index("## How errors reach the user")]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", section, re.MULTILINE)[1:]
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


def test_no_test_measures_time() -> None:
    """Nor sleeps, nor sets a deadline of its own: on a busy machine it would fail what the program does not cause."""
    timed = []
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            is_deadline = (
                isinstance(node, ast.keyword) and node.arg == "deadline" and path != ROOT / "tests/conftest.py"
            )
            if is_deadline or not CLOCKS.isdisjoint(names):
                timed.append(f"{path.relative_to(ROOT)}: {getattr(node, 'lineno', '')}")
    assert timed == []


def commands_in(path: Path) -> Iterator[tuple[int, list[ast.expr]]]:
    """Line of each f-string in which a command of tumorgen stands in backticks, and what is put into that command."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            values = [part for part in node.values if isinstance(part, ast.FormattedValue)]
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
            for found in re.finditer(r"`tumorgen [^`]*`", text):
                before = text[: found.start()].count("\0")
                yield node.lineno, [part.value for part in values[before : before + found[0].count("\0")]]


def test_commands_in_messages_quote_for_the_shell_what_they_name() -> None:
    found = [(path, line, each) for path in MODULES for line, named in commands_in(path) for each in named]
    assert len(found) >= 7
    plain = [
        f"{path.relative_to(ROOT)}:{line}: {ast.unparse(each)}"
        for path, line, each in found
        if not (isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id == "typed")
    ]
    assert plain == []


def test_no_class_derives_from_clicks_param_type_with_a_type_in_brackets() -> None:
    """click has that since 8.4, and earlier versions are allowed: no command would start with them."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and any(
            isinstance(base, ast.Subscript) and ast.unparse(base).startswith("click.ParamType[") for base in node.bases
        )
    ]
    assert found == []
