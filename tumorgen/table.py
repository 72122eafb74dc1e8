"""CSV tables as text: read with where each row stands, written to read back the same.

Read with `csv` and not pandas, which would turn case `001` into 1.0 and `NA` into a missing value.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from .errors import TumorgenError

Row = dict[str, str]


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
    except OSError as error:
        raise TumorgenError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise TumorgenError(f"{path}: cannot be read as a CSV table in UTF-8 ({error})") from error


def rows_of(path: Path, text: str, required: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """Each row of a table's text with where it stands, `file:line`.

    Raises
    ------
    TumorgenError
        A required column is missing, a row has not as many cells as columns, or the text is not CSV.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = [name for name in required if name not in (reader.fieldnames or ())]
        if missing:
            raise TumorgenError(f"{path}: columns missing: {', '.join(missing)}")
        for row in reader:
            if None in row or None in row.values():
                raise TumorgenError(f"{path}:{reader.line_num}: not as many cells as columns; cut off?")
            yield f"{path}:{reader.line_num}", row
    except csv.Error as error:
        raise TumorgenError(f"{path}: not a CSV table ({error})") from error


def text_of(columns: Sequence[str], rows: Iterable[Mapping[str, str]], *, header: bool = True) -> str:
    """Text of rows, with a header or to be appended to one."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
