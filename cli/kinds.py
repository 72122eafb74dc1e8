"""What arguments and options may be."""

from __future__ import annotations

import functools
import pkgutil
from pathlib import Path
from typing import Any

import click

FOLDER = click.Path(path_type=Path, file_okay=False)
EXISTING = click.Path(path_type=Path, exists=True)
EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
NATURAL, POSITIVE = click.IntRange(min=0), click.IntRange(min=1)


class SettingsFile(click.Path):
    """A file of settings, or the name of one that comes along."""

    name = "file or name"

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The file's path."""
        from tumorgen.errors import TumorgenError
        from tumorgen.method import find_settings

        if not isinstance(value, str) or Path(value).exists() or Path(value).name != value or Path(value).suffix:
            return super().convert(value, param, ctx)
        try:
            return find_settings(value)
        except TumorgenError as error:
            self.fail(f"{value}: no such file, and {error}", param, ctx)


class TableChoice(click.Choice[str]):
    """One of the words of a table of the library, `module:TABLE`.

    The table is read when the words are needed: it is not on the way of `tumorgen --help`.
    """

    def __init__(self, table: str) -> None:
        self.table = table
        self.case_sensitive = True

    @functools.cached_property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]  # read-only, and read late
        """The words, in the order of the table."""
        return tuple(pkgutil.resolve_name(self.table))
