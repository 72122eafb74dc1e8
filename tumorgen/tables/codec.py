"""CSV tables: rows read as records, with the place of what is wrong in them, and written to read back the same.

Read with `csv` and not pandas, which would turn case `001` into 1.0 and `NA` into a missing value.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import typing
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, KeysView, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from ..errors import TumorgenError
from ..fields import column_fields, columns, refuse_twins
from ..imaging import whole_file

Row = dict[str, str]
PACKED = ".gz"  # ending of a table that is compressed
LONGEST_UNPACKED = 1 << 30  # bytes; the tables that are packed here have at most 120 MB
T = TypeVar("T")

# A spreadsheet computes what begins so, unless it is a number; an apostrophe in front says that it is text.
_FORMULA = re.compile(r"[=+\-@'\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.ASCII | re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LINE = re.compile(r"[^\r\n]*(\r\n|\r|\n)|[^\r\n]+")
_WHOLE = re.compile(r"([+-]?\d+)\.0*")  # a whole number, as tables of numbers write it
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_ROUNDED = re.compile(r"[+-]?\d(\.\d+)?[eE]\+?\d+")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_NO_TEXT = {  # what a file begins with that is no text in UTF-8
    b"PK\x03\x04": "a workbook of a spreadsheet",
    b"\xd0\xcf\x11\xe0": "a workbook of a spreadsheet",
    b"\xff\xfe": "UTF-16 ('Unicode text')",
    b"\xfe\xff": "UTF-16 ('Unicode text')",
}
_SHA256_LAST = re.compile(rb",[0-9a-f]{64}\Z")
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
    text = cell.strip()
    if not text.startswith("'"):
        return text
    cell = cell.lstrip()
    return _CODE.sub(lambda code: "\\" if code[1] == "\\" else chr(int(code[1][1:], 16)), cell[1:])


def read_text(path: Path, *, torn: bool = False) -> str:
    """Text of a table, which may be compressed (`.csv.gz`); of one that may be torn, what of it is whole.

    Raises
    ------
    TumorgenError
        The file cannot be read, or is not UTF-8.
    """
    try:
        content = path.read_bytes()
        if path.suffix == PACKED and content.startswith(b"\x1f\x8b"):
            content = _unpacked(content, path)
        for start, what in _NO_TEXT.items():
            if content.startswith(start):
                raise TumorgenError(f"{path}: cannot be read as a CSV table in UTF-8: it is {what}; save it as that")
        return (content[: length_of_whole(content)] if torn else content).decode("utf-8-sig")
    except FileNotFoundError:
        raise TumorgenError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:  # gzip's own errors among them
        raise TumorgenError(f"{path}: cannot be read ({getattr(error, 'strerror', '') or error})") from error
    except UnicodeDecodeError as error:
        raise TumorgenError(f"{path}: cannot be read as a CSV table in UTF-8 ({error}); save it as UTF-8") from error


def length_of_whole(content: bytes) -> int:
    """Bytes of a table that is appended to, without a last line that may have been cut off.

    A line without an end, which an editor may have taken away, is whole where it has all cells and the last is a
    SHA-256, of which a cut leaves less.
    """
    end = max(content.rfind(b"\n"), content.rfind(b"\r")) + 1
    last = content[end:]
    is_whole = _SHA256_LAST.search(last) and _count_cells(last) == _count_cells(content)
    return len(content) if is_whole else end


def _count_cells(content: bytes) -> int:
    """Cells of the first line."""
    line = re.match(rb"[^\r\n]*", content)
    return len(next(csv.reader([line[0].decode("utf-8-sig") if line else ""]), []))


def is_torn(path: Path) -> bool:
    """Whether a table that can be read has a last line that does not count, since it may have been cut off."""
    content = path.read_bytes()
    return length_of_whole(content) < len(content)


def _unpacked(content: bytes, path: Path) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        text = file.read(LONGEST_UNPACKED + 1)
    if len(text) > LONGEST_UNPACKED:
        raise TumorgenError(
            f"{path}: has more than {LONGEST_UNPACKED / 2**30:g} GiB unpacked; is it a table? then unpack it first"
        )
    return text


def columns_in(path: Path, text: str) -> KeysView[str]:
    """Names of the columns in a table's text, in order, to tell what table it is before its rows are read.

    Raises
    ------
    TumorgenError
        The text is not CSV.
    """
    first = _LINE.match(text)
    try:
        return dict.fromkeys(name.strip() for name in next(csv.reader([first[0] if first else ""]), [])).keys()
    except csv.Error as error:
        raise TumorgenError(f"{path}: not a CSV table ({error})") from error


def rows_of(
    path: Path,
    text: str,
    required: Sequence[str],
    *,
    unique: str = "",
    blank: Collection[str] = (),
    only: Collection[str] | None = None,
) -> Iterator[tuple[str, Row]]:
    """Each row of a table's text with where it stands, `file:line`; its cells as they were before `text_of`.

    `unique` is a column that names files: no two rows have the same in it, capitals apart. `blank` are columns that may
    be empty: their cells may be missing at the end of a row, where spreadsheets drop them. `only` are the columns that
    are asked for, of those that there are; by default all. Rows without any text are left out.

    Raises
    ------
    TumorgenError
        A required column is missing, a row has not as many cells as columns, or the text is not CSV.
    """
    if len(required) > 1:
        _refuse_separator(path, text, required)
    # Line by line: io.StringIO takes four bytes a character of long tables.
    reader = csv.reader((found[0] for found in _LINE.finditer(text)), strict=True)
    seen = set()
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_header(path, names, required)
        wanted = [(name, place) for place, name in enumerate(names) if only is None or name in only]
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            if not _is_whole(cells, names, blank, where):
                continue
            row = {name: plain(cells[place]) if place < len(cells) else "" for name, place in wanted}
            if unique:
                name = row[unique].lower()  # to Windows and macOS, files of A and of a are the same
                if name in seen:
                    raise TumorgenError(f"{where}: {unique} {row[unique]!r} is there twice")
                seen.add(name)
            yield where, row
    except csv.Error as error:
        raise TumorgenError(f"{path}: not a CSV table ({error})") from error


def _refuse_separator(path: Path, text: str, required: Sequence[str]) -> None:
    """Refuse a table whose cells are parted by something else than commas, by that name."""
    first = _LINE.match(text)
    for separator, what in _SEPARATORS.items():
        if first and {name.strip(' "\r\n') for name in first[0].split(separator)}.issuperset(required):
            raise TumorgenError(
                f"{path}: its cells are parted by {what}; save it parted by commas, with decimal points"
            )


def _check_header(path: Path, names: Sequence[str], required: Sequence[str]) -> None:
    """Refuse a table without the columns that it needs, or with two of one name."""
    missing = [name for name in required if name not in names]
    if missing:
        capital = [name for name in names if name.lower() in missing]
        way = f"; names of columns are in small letters, not {' and '.join(capital)}" if capital else ""
        raise TumorgenError(f"{path}: columns missing: {', '.join(missing)}{way}")
    refuse_twins(f"{path}: column", filter(None, names), "readers would differ in which they take")


def _is_whole(cells: Sequence[str], names: Sequence[str], blank: Collection[str], where: str) -> bool:
    """Whether a row has any text: spreadsheets may have left out empty cells at its end, or put some."""
    missing, more = names[len(cells) :], any(cell.strip() for cell in cells[len(names) :])
    if not more and not any(map(plain, cells)):
        return False
    if more or any(name not in blank for name in missing):
        raise TumorgenError(f"{where}: not as many cells as columns; cut off?")
    return True


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


def write_records(path: Path, kind: type, records: Iterable[Any]) -> None:
    """Write a table of records of one kind, in their order; it appears whole or not at all.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    write_table(path, columns(kind), (cells_of(kind, record) for record in records))


def cells_of(kind: type, record: Any) -> Row:
    """Text of each column of a record, numbers as short as they read back the same; empty cells for None."""
    return {
        field.name: "" if record is None else _cell(getattr(record, field.name), field.kind)
        for field in column_fields(kind)
    }


def _cell(value: str | int | float | bool | None, kind: type) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if kind is float and isinstance(value, int):
        return str(float(value))  # as it is when it has been read back
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
            raise TumorgenError(f"{where}, column {name}: {cell[:80]!r} {_misfit(cell, convert)}") from None
    try:
        return kind(**values)
    except TumorgenError as error:
        raise TumorgenError(f"{where}: {error}") from error


@cache
def _readers(kind: type) -> tuple[tuple[str, Callable[[str], Any], bool], ...]:
    """Of each column its name, what reads a cell of it, and whether an empty one says that nothing is known."""
    readers = {bool: _truth, int: _whole}
    return tuple((f.name, readers.get(f.kind, f.kind), f.optional) for f in column_fields(kind))


def _whole(cell: str) -> int:
    """A cell as a whole number; `24.0` is one."""
    found = _WHOLE.fullmatch(cell)
    return int(found[1] if found else cell)


def _misfit(cell: str, convert: Callable[[str], Any]) -> str:
    """Why a cell is not what its column holds."""
    if convert is float and _COMMA.fullmatch(cell):
        return "has a decimal comma; save the table with decimal points"
    if convert is _whole and _ROUNDED.fullmatch(cell):
        return "is not of type int: a spreadsheet has rounded it; take the original table"
    return f"is not of type {_KINDS.get(convert, convert.__name__)}"


def _truth(cell: str) -> bool:
    """A cell as a truth value, however a spreadsheet writes it."""
    return ("false", "true").index(cell.lower()) == 1


_KINDS: dict[Callable[[str], Any], str] = {_truth: "bool", _whole: "int"}
