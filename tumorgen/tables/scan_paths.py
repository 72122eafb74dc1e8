"""Paths of scans as tables record them: relative where that is possible, so that no table names a user's folders.

The root of a relative path is the nearest folder, at or above the table's, from which the file is found. So rows hold
wherever a table and its scans are moved or cloned together, and in copies of a table that lie below the same root.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..imaging import resolved

PATH_RULE = (
    "relative to the nearest folder, at or above the table's, from which it is found; `~/` is the home folder of who"
    " reads it; a path that lies below neither is absolute"
)
_NO_ROOTS = frozenset(map(Path, ("/home", "/Users")))  # what lies in them is called after users
_HOME = "~/"


def given_path(path: Path) -> Path:
    """The absolute path of a file as its user knows it: without `..`, and links behind it are not followed."""
    parts = path.absolute().parts
    left = len(parts) - parts[::-1].index("..") if ".." in parts else 0
    return Path(resolved(Path(*parts[:left])), *parts[left:]) if left else Path(*parts)


def record_path(path: str, table: Path) -> str:
    """A scan's file as a table records it (`PATH_RULE`); what is not absolute, or empty, stays as it is.

    It is absolute, too, where a file of the same relative path lies nearer to the table.
    """
    if not Path(path).is_absolute():
        return path
    folder = str(given_path(table).parent)
    root = Path(os.path.commonpath((path, folder)))
    if root != root.parent and root not in _NO_ROOTS:
        cell = Path(path).relative_to(root).as_posix()
        if find_recorded(cell, table) in (path, cell):
            return cell
    home = _home_folder()
    if home is None or home == home.parent or not Path(path).is_relative_to(home):
        return path
    return _HOME + Path(path).relative_to(home).as_posix()


def _home_folder() -> Path | None:
    """The user's home folder; a user without a name, as in containers, may have none."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def find_recorded(cell: str, table: Path) -> str:
    """Where a scan's file is that a table records: its absolute path; the cell itself where there is no such file.

    Looked for from the table's folder upwards, then from the working directory and from nnU-Net's folder of raw
    datasets, since a table may have been moved alone.
    """
    if cell.startswith(_HOME):
        home = _home_folder()
        return str(home / cell.removeprefix(_HOME)) if home else cell
    if not cell or Path(cell).is_absolute():
        return cell
    starts = (given_path(table).parent, Path.cwd(), given_path(Path(os.environ.get("nnUNet_raw") or ".")))
    for start in starts:
        for folder in (start, *start.parents):
            if os.path.isfile(folder / cell):  # noqa: PTH113 # Path's raises an error where nothing may be looked at
                return str(folder / cell)
    return cell
