"""Tables of samples and tumours written anew from their own rows, as they stand: in order, or without some of them.

Rows are copied as they are, in one pass over the files, since parsing those of a large dataset takes minutes and more
memory than the run.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from ..errors import TumorgenError
from ..imaging import whole_file
from .codec import length_of_whole, plain, text_of
from .entries import Entry, sort_entries
from .manifest import (
    DIAL_COLUMNS,
    SAMPLE_COLUMNS,
    TUMOR_COLUMNS,
    Record,
    recover_manifest,
    tumors_path,
    write_manifest,
)

_PATIENT = SAMPLE_COLUMNS.index("patient")
SAMPLES_HEADERS = (SAMPLE_COLUMNS, (*SAMPLE_COLUMNS, *DIAL_COLUMNS))


@dataclass(slots=True)
class Rows:
    """Where the rows of a sample are: in which table, from which byte, how many bytes and rows."""

    table: Path
    start: int
    length: int = 0
    count: int = 0


@dataclass(slots=True)
class RowIndex:
    """Where the rows of each sample are, in tables of one header; `header` is None where these differ."""

    rows: dict[str, Rows] = field(default_factory=dict)
    header: bytes | None = b""


def select_whole(entries: Iterable[Entry], tables: Sequence[Path]) -> list[Entry]:
    """Entries of which all tumours have their rows; `tables` are the tables of samples that they were read from.

    Raises
    ------
    TumorgenError
        The rows of a sample's tumours are not in order.
    """
    index = index_rows([tumors_path(table) for table in tables], [TUMOR_COLUMNS], tumors=True)
    if index.header is None:  # a table of an earlier version, or one that was saved by other means
        counts = {record.plan.sample: len(record.plan.tumors) for record in _recover(tables)}
    else:
        counts = {sample: rows.count for sample, rows in index.rows.items()}
    return [entry for entry in entries if entry.tumors_placed in (None, counts.get(entry.sample, 0))]


def have_columns_of_today(manifest: Path) -> bool:
    """Whether rows that are appended to both tables of a manifest stand under the columns that they are of."""
    tables = ((manifest, SAMPLES_HEADERS), (tumors_path(manifest), [TUMOR_COLUMNS]))
    return all(index_rows([table], headers, rows=False).header for table, headers in tables)


def join_tables(entries: Iterable[Entry], tables: Sequence[Path], manifest: Path) -> None:
    """Write the rows of entries, and those of their tumours, into both tables of a manifest, by case and variant.

    What an entry says of its patient is written; every other cell is as it was. Each table appears whole or not at all.

    Parameters
    ----------
    entries
        The samples that are to be in it.
    tables
        Tables of samples that have their rows, beside those of the tumours; of two rows the first table's counts.
    manifest
        The table of samples to write; it may be one of the others.

    Raises
    ------
    TumorgenError
        A table is malformed, or the folder cannot be written to.
    """
    ordered = sort_entries(entries)
    samples = index_rows(tables, SAMPLES_HEADERS)
    tumors = index_rows([tumors_path(table) for table in tables], [TUMOR_COLUMNS], tumors=True)
    if samples.header is None or tumors.header is None:
        _join_records(ordered, tables, manifest)
        return
    if any(entry.sample not in samples.rows for entry in ordered):
        raise TumorgenError(f"{manifest}: has changed while it was read; run the same command again")
    header = tumors.header or _line_of(TUMOR_COLUMNS)
    known = (tumors.rows[entry.sample] for entry in ordered if entry.sample in tumors.rows)
    _write(tumors_path(manifest), header, _copied(known))
    rows = _copied(samples.rows[entry.sample] for entry in ordered)
    told = (_with_patient(row, entry.patient) for row, entry in zip(rows, ordered, strict=True))
    with _as_unreadable(manifest):
        _write(manifest, samples.header or _line_of(SAMPLE_COLUMNS), told)


def digest_without_patients(manifest: Path) -> str:
    """SHA-256 of a table of samples as if it did not say whose the scans are; of one of other columns, as it is.

    Raises
    ------
    TumorgenError
        The table is not CSV in UTF-8.
    """
    digest = hashlib.sha256()
    with manifest.open("rb") as file, _as_unreadable(manifest):
        header = file.readline()
        digest.update(header)
        if header not in map(_line_of, SAMPLES_HEADERS):
            return hashlib.file_digest(file, lambda: digest).hexdigest()
        for row in file:
            digest.update(_without_patient(row))
    return digest.hexdigest()


def index_rows(
    tables: Iterable[Path], headers: Sequence[Sequence[str]], *, tumors: bool = False, rows: bool = True
) -> RowIndex:
    """Where the whole rows of tables are that begin with one of the headers; `tumors` are numbered in their samples.

    Without `rows` only headers are looked at.
    """
    known, index = {_line_of(header) for header in headers}, RowIndex()
    for table in tables:
        if not table.is_file():
            continue
        with table.open("rb") as file, _as_unreadable(table):
            header = file.readline()
            if not (header.endswith(b"\n") or b"\r" in header):
                continue
            if header not in known or index.header not in (b"", header):
                return RowIndex(header=None)
            index.header = header
            if not _index_rows(table, header, file if rows else (), index.rows, tumors=tumors):
                return RowIndex(header=None)
    return index


@contextmanager
def _as_unreadable(table: Path) -> Iterator[None]:
    try:
        yield
    except (UnicodeDecodeError, csv.Error) as error:
        raise TumorgenError(f"{table}: cannot be read as a CSV table in UTF-8 ({error}); save it as UTF-8") from error


def _index_rows(table: Path, header: bytes, lines: Iterable[bytes], rows: dict[str, Rows], *, tumors: bool) -> bool:
    """Find the rows of a table; False where the last one has no end and yet counts, so that it cannot be copied."""
    start = len(header)
    for line in lines:
        if not line.endswith(b"\n"):
            return length_of_whole(header + line) == len(header)
        sample, _, rest = line.partition(b",")
        name = sample.decode() if line[:1] not in b"\"'" else plain(next(csv.reader([line.decode()]))[0])
        mine = rows.get(name)
        if mine is None:
            mine = rows[name] = Rows(table, start)
        if mine.table == table and mine.start + mine.length == start:
            if tumors and line[:1] not in b"\"'" and rest.partition(b",")[0] != b"%d" % mine.count:
                raise TumorgenError(f"{table}: the tumours of sample {name!r} are not numbered from 0 in order")
            mine.length += len(line)
            mine.count += 1
        start += len(line)
    return True


def _copied(rows: Iterable[Rows]) -> Iterator[bytes]:
    """The bytes of rows; a table is opened once."""
    files = {}
    try:
        for mine in rows:
            if mine.table not in files:
                files[mine.table] = mine.table.open("rb")
            files[mine.table].seek(mine.start)
            yield files[mine.table].read(mine.length)
    finally:
        for file in files.values():
            file.close()


def _with_patient(row: bytes, patient: str) -> bytes:
    """A sample's row that names its patient."""
    if row.count(b",") < len(SAMPLE_COLUMNS) - 1:
        return row
    (cells,) = csv.reader([row.decode()])
    if plain(cells[_PATIENT]) == patient:
        return row
    names = next(header for header in SAMPLES_HEADERS if len(header) == len(cells))
    told: Mapping[str, str] = {**dict(zip(names, map(plain, cells), strict=True)), "patient": patient}
    return text_of(names, [told], header=False).encode()


def _without_patient(row: bytes) -> bytes:
    """A sample's row with an empty cell for its patient; with quotes in it, as `text_of` would write it."""
    if b'"' not in row:
        cells = row.split(b",")
        return b",".join([*cells[:_PATIENT], b"", *cells[_PATIENT + 1 :]])
    buffer = io.StringIO()
    for texts in csv.reader([row.decode()]):
        csv.writer(buffer, lineterminator="\n").writerow([*texts[:_PATIENT], "", *texts[_PATIENT + 1 :]])
    return buffer.getvalue().encode()


def _write(path: Path, header: bytes, rows: Iterable[bytes]) -> None:
    with whole_file(path, parents=False) as partial, partial.open("wb") as file:
        file.write(header)
        file.writelines(rows)


def _line_of(columns: Sequence[str]) -> bytes:
    return text_of(columns, ()).encode()


def _recover(tables: Sequence[Path]) -> Iterator[Record]:
    return chain.from_iterable(map(recover_manifest, tables))


def _join_records(entries: Sequence[Entry], tables: Sequence[Path], manifest: Path) -> None:
    """Write tables of other columns, or that were saved by other means, from what they say."""
    wanted = {entry.sample: entry.patient for entry in entries}
    found: dict[str, Record] = {}
    for record in _recover(tables):
        if record.plan.sample in wanted:
            found.setdefault(record.plan.sample, record)
    write_manifest(
        [
            replace(record, files=replace(record.files, patient=wanted[sample])) if record.files else record
            for sample, record in found.items()
        ],
        manifest,
    )
