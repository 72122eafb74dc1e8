"""What arguments and options may be."""

from __future__ import annotations

import functools
import os
import pkgutil
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click


class MeantPath(click.Path):
    """A path that is what was meant: `--output=~/data` would make a folder called `~`."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, as `click.Path` gives it."""
        why = find_misread(str(value))
        if why:
            self.fail(f"{str(value)!r} {why}.", param, ctx)
        return super().convert(value, param, ctx)


def find_misread(text: str) -> str:
    """What of a path was meant for a shell and got past it, with the remedy; empty where it may be what was meant."""
    path = Path(text)
    there = next((one for one in (path, *path.parents) if os.path.lexists(one)), None)
    if there == path:  # what is there already is what it is called
        return ""
    new = str(path.relative_to(there) if there else path)
    signs = {
        "has quotes around it; leave them out": new[:1] in ("'", '"') and new[-1:] == new[:1] and len(new) > 1,
        "begins with ~, which no shell has expanded; write the folder out": new.startswith("~"),
        "holds a variable that no shell has expanded; write the folder out": re.search(r"\$\w|\$\{|%\w+%", new),
        "has a blank at an end; leave it out": new != new.strip(),
        "is a path of Windows; give one of this system": os.name != "nt" and re.match(r"[A-Za-z]:[\\/]|\\\\", new),
        "has a semicolon in it; give one folder or file": ";" in new,
    }
    return next((why for why, is_so in signs.items() if is_so), "")


FOLDER = MeantPath(path_type=Path, file_okay=False)
EXISTING = MeantPath(path_type=Path, exists=True)
EXISTING_FOLDER = MeantPath(path_type=Path, exists=True, file_okay=False)
FILE = MeantPath(path_type=Path, dir_okay=False)
EXISTING_FILE = MeantPath(path_type=Path, exists=True, dir_okay=False)
NATURAL, POSITIVE = click.IntRange(min=0), click.IntRange(min=1)


class Processes(click.ParamType):  # type: ignore[type-arg]  # a type of its own it has since click 8.4 only
    """A number of processes, or -1 for all cores."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        number: int = click.INT.convert(value, param, ctx)
        if number < -1 or number == 0:
            raise click.UsageError(f"--jobs {number}: give a number of processes, or -1 for all cores.", ctx)
        return number


class SettingsFile(MeantPath):
    """A file of settings, or the name of a bundled one."""

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


class Once(click.Option):
    """An option of one value that people may take for one of several: given twice, it is refused.

    click would take the last and say nothing of the others. `joined` is what stands between the parts of a value that
    holds several.
    """

    def __init__(self, param_decls: Sequence[str], joined: str = "", **attributes: Any) -> None:
        super().__init__(param_decls, **attributes)
        self.joined = joined

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:  # noqa: ARG002
        """Have the parser keep every value."""
        parser.add_option(obj=self, opts=self.opts, dest=self.name, action="append", nargs=self.nargs)

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, Any]:
        """The one value, or a usage error."""
        given = opts.get(str(self.name))
        if not isinstance(given, list):
            return super().consume_value(ctx, opts)
        if len(given) > 1 and not ctx.resilient_parsing:
            name = max(self.opts, key=len)
            once = f"write {name} {self.joined.join(given)}" if self.joined else "it takes one value"
            raise click.UsageError(f"{name} is given {'twice' if len(given) == 2 else 'several times'}; {once}.", ctx)
        return super().consume_value(ctx, {**opts, str(self.name): given[0]})


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
