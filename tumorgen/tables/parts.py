"""A manifest in parts: records of some of its samples are read where their rows stand, in whatever process.

So none need be held that nobody asks for, and a process is told which with a few numbers.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..errors import TumorgenError
from .joining import SAMPLES_HEADERS, RowIndex, Rows, index_rows
from .manifest import TUMOR_COLUMNS, Record, parse_records, read_manifest, tumors_path

Span = tuple[int, int]  # first byte, number of bytes
_AT_ONCE = 500  # samples


@dataclass(frozen=True, slots=True)
class Part:
    """Some samples of a manifest: where their rows stand in both of its tables, or what they say.

    Attributes
    ----------
    manifest
        The table of samples.
    samples
        Names of the samples.
    spans, tumor_spans
        Bytes of both tables that hold their rows.
    known
        Their records where the tables are not as tumorgen writes them, and were read whole.
    """

    manifest: Path
    samples: tuple[str, ...]
    spans: tuple[Span, ...] = ()
    tumor_spans: tuple[Span, ...] = ()
    known: tuple[Record, ...] | None = None

    def read(self) -> list[Record]:
        """Records of the samples, in the order of the table.

        Raises
        ------
        TumorgenError
            A table cannot be read, or a cell does not hold its type or lies outside its domain.
        """
        if self.known is not None:
            return list(self.known)
        tumors = tumors_path(self.manifest)
        texts = _read_spans(self.manifest, self.spans), _read_spans(tumors, self.tumor_spans)
        return parse_records(self.manifest, texts[0], tumors, texts[1], strict=True)


@dataclass(frozen=True, slots=True)
class Parted:
    """A manifest of which parts can be read; made by `part_manifest`."""

    manifest: Path
    rows: dict[str, Rows]
    tumor_rows: dict[str, Rows]
    known: dict[str, Record] | None = None

    def part(self, samples: Collection[str]) -> Part:
        """The part of some samples, by their names."""
        names = tuple(samples)
        if self.known is not None:
            return Part(self.manifest, names, known=tuple(self.known[name] for name in names))
        tumors = (self.tumor_rows[name] for name in names if name in self.tumor_rows)
        return Part(self.manifest, names, _spans_of(self.rows[name] for name in names), _spans_of(tumors))

    def records(self) -> Iterator[Record]:
        """All records, in the order of the table; some at a time are in memory.

        Raises
        ------
        TumorgenError
            As `read_manifest` has it.
        """
        names = iter(self.rows if self.known is None else self.known)
        while some := tuple(islice(names, _AT_ONCE)):
            try:
                records = self.part(some).read()
            except TumorgenError:
                read_manifest(self.manifest)  # which says where it stands
                raise
            yield from records


def part_manifest(manifest: Path) -> Parted:
    """Find where the rows of each sample stand; tables that are not as tumorgen writes them are read whole.

    Raises
    ------
    TumorgenError
        A table is missing, or as `read_manifest` has it where they are read whole.
    """
    with suppress(TumorgenError, UnicodeDecodeError, csv.Error, OSError):  # reading them whole says what is wrong
        samples = index_rows([manifest], SAMPLES_HEADERS)
        tumors = index_rows([tumors_path(manifest)], [TUMOR_COLUMNS], tumors=True)
        plain = _is_plain(manifest, samples) and _is_plain(tumors_path(manifest), tumors)
        once = all(mine.count == 1 for mine in samples.rows.values())
        if plain and once and tumors.rows.keys() <= samples.rows.keys():
            return Parted(manifest, samples.rows, tumors.rows)
    return Parted(manifest, {}, {}, {record.plan.sample: record for record in read_manifest(manifest)})


def _is_plain(table: Path, index: RowIndex) -> bool:
    """Whether every byte of a table is in the rows that were found, those of a sample one after the other."""
    if not index.header:
        return False
    return len(index.header) + sum(mine.length for mine in index.rows.values()) == table.stat().st_size


def _spans_of(rows: Iterable[Rows]) -> tuple[Span, ...]:
    """Bytes of rows, those that follow one another as one span."""
    spans: list[Span] = []
    for mine in rows:
        if spans and sum(spans[-1]) == mine.start:
            spans[-1] = (spans[-1][0], spans[-1][1] + mine.length)
        else:
            spans.append((mine.start, mine.length))
    return tuple(spans)


def _read_spans(table: Path, spans: Iterable[Span]) -> str:
    """The header of a table and some of its rows.

    Raises
    ------
    TumorgenError
        It cannot be read.
    """
    try:
        with table.open("rb") as file:
            content = [file.readline()]
            for start, length in spans:
                file.seek(start)
                content.append(file.read(length))
        return b"".join(content).decode("utf-8")
    except OSError as error:
        raise TumorgenError(f"{table}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise TumorgenError(f"{table}: cannot be read as a CSV table in UTF-8 ({error}); save it as UTF-8") from error
