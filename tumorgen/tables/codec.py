"""CSV tables: rows read as records, with the place of what is wrong in them, and written to read back the same.

Read with `csv` and not pandas, which would turn case `001` into 1.0 and `NA` into a missing value.
"""

from __future__ import annotations

import csv
import io
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from ..errors import TumorgenError
from ..fields import column_fields, columns
from ..imaging import whole_file

Row = dict[str, str]
T = TypeVar("T")

# A spreadsheet computes what begins so, unless it is a number; an apostrophe in front says that it is text.
_FORMULA = re.compile(r"[=+\-@'\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.ASCII | re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LINE = re.compile(r"[^\r\n]*(\r\n|\r|\n)|[^\r\n]+")
_CODE = re.compile(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4})")


def neutral(text: str) -> str:
    r"""A cell that no spreadsheet takes for a formula, on one line; `plain` reads it back. Ordinary text stays.

    What could be taken for one gets an apostrophe in front, as spreadsheets have it for text; and so does what holds
    line ends or other control characters, or begins or ends with space. Behind the apostrophe, these characters are
    written as codes (`\x0a`) and a backslash as two.
    """
    risky = _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    if not (risky or _CONTROL.search(text) or text != text.strip()):
        return text
    return "'" + _CONTROL.sub(_code, text.replace("\\", "\\\\"))


def _code(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def plain(cell: str) -> str:
    """The text of a cell; without the apostrophe and the codes that `neutral` has put there."""
    cell = cell.lstrip()
    if not cell.startswith("'"):
        return cell.strip()
    return _CODE.sub(lambda code: "\\" if code[1] == "\\" else chr(int(code[1][1:], 16)), cell[1:])


def read_text(path: Path, *, torn: bool = False) -> str:
    """Text of a table; of one that may be torn, its whole lines.

    Raises
    ------
    TumorgenError
        The file cannot be read, or is not UTF-8.
    """
    try:
        content = path.read_bytes()
        return (content[: content.rfind(b"\n") + 1] if torn else content).decode("utf-8-sig")
    except FileNotFoundError:
        raise TumorgenError(f"{path}: no such file") from None
    except OSError as error:
        raise TumorgenError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise TumorgenError(f"{path}: cannot be read as a CSV table in UTF-8 ({error})") from error


def rows_of(path: Path, text: str, required: Sequence[str], *, unique: str = "") -> Iterator[tuple[str, Row]]:
    """Each row of a table's text with where it stands, `file:line`; its cells as they were before `text_of`.

    `unique` is a column that names files: no two rows have the same in it, capitals apart.

    Raises
    ------
    TumorgenError
        A required column is missing, a row has not as many cells as columns, or the text is not CSV.
    """
    # Line by line: io.StringIO takes four bytes a character of long tables.
    reader = csv.DictReader((found[0] for found in _LINE.finditer(text)), strict=True)
    seen = set()
    try:
        missing = [name for name in required if name not in (reader.fieldnames or ())]
        if missing:
            raise TumorgenError(f"{path}: columns missing: {', '.join(missing)}")
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            if None in cells or None in cells.values():
                raise TumorgenError(f"{where}: not as many cells as columns; cut off?")
            row = {name: plain(cell) for name, cell in cells.items()}
            if unique:
                name = row[unique].lower()  # to Windows and macOS, files of A and of a are the same
                if name in seen:
                    raise TumorgenError(f"{where}: {unique} {row[unique]!r} is there twice")
                seen.add(name)
            yield where, row
    except csv.Error as error:
        raise TumorgenError(f"{path}: not a CSV table ({error})") from error


def text_of(columns: Sequence[str], rows: Iterable[Mapping[str, str]], *, header: bool = True) -> str:
    """Text of rows, with a header or to be appended to one; no cell is a formula to a spreadsheet."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows({name: neutral(cell) for name, cell in row.items()} for row in rows)
    return buffer.getvalue()


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]], *, parents: bool = True) -> None:
    """Write a table; it appears whole or not at all. `parents` says whether a missing folder is made.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    with whole_file(path, parents=parents) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text_of(columns, ()))
        for row in rows:  # one by one, since tables may be long
            file.write(text_of(columns, [row], header=False))


def cells_of(kind: type, record: Any) -> Row:
    """Text of each column of a record, numbers as short as they read back the same; empty cells for None."""
    return {name: "" if record is None else _cell(getattr(record, name)) for name in columns(kind)}


def _cell(value: str | int | float | bool | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def parse_row(kind: type[T], row: Mapping[str, str], where: str, **given: Any) -> T:
    """A row's cells as a record, each of its field's type; a column that is not there leaves its field's default.

    Raises
    ------
    TumorgenError
        A cell does not hold its type, or the record refuses it; `where` says where the row stands.
    """
    values, record_type = dict(given), typing.cast(type, kind)
    for name, convert, optional in _readers(record_type):
        cell = row.get(name)
        if cell is None:
            continue
        try:
            values[name] = None if optional and not cell else convert(cell)
        except ValueError:
            kind_name = "bool" if convert is _truth else convert.__name__
            raise TumorgenError(f"{where}, column {name}: {cell[:80]!r} is not of type {kind_name}") from None
    try:
        return kind(**values)
    except TumorgenError as error:
        raise TumorgenError(f"{where}: {error}") from error


@cache
def _readers(kind: type) -> tuple[tuple[str, Callable[[str], Any], bool], ...]:
    """Of each column its name, what reads a cell of it, and whether an empty one says that nothing is known."""
    return tuple((f.name, _truth if f.kind is bool else f.kind, f.optional) for f in column_fields(kind))


def _truth(cell: str) -> bool:
    """A cell as a truth value, however a spreadsheet writes it."""
    return ("false", "true").index(cell.lower()) == 1
