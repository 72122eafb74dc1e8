"""The manifest: `manifest.csv`, a row per sample, and `tumors.csv`, a row per tumour; and back again without loss.

Columns derive from the fields of `Plan`, `Tumor`, `Outcome` and `Files`, so none is forgotten. Those of `Dial` stand at
the end of a benchmark's table of samples, and in no other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..errors import TumorgenError
from ..imaging.files import whole_file
from ..method.patch import Outcome
from ..method.plan import Plan, Tumor
from .codec import cells_of, parse, read_text, rows_of, text_of

SAMPLES = "manifest.csv"
TUMORS = "tumors.csv"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Files:
    """Where a sample comes from, what was written of it, and with which versions.

    Attributes
    ----------
    tumors_placed, tumor_volume_mm3
        Number of tumours, and the volume of all their labelled voxels.
    source_image, source_mask
        The scan's files, as absolute paths.
    image_file, label_file
        What was written, relative to the dataset's folder.
    image_sha256, label_sha256
        Checksums of the written files.
    tumorgen_version, numpy_version, scipy_version
        What rendered it: the same bits are promised for the same versions.
    """

    tumors_placed: int
    tumor_volume_mm3: float
    source_image: str
    source_mask: str
    image_file: str
    label_file: str
    image_sha256: str
    label_sha256: str
    tumorgen_version: str
    numpy_version: str
    scipy_version: str


@dataclass(frozen=True, slots=True)
class Dial:
    """What a benchmark has dialled in a sample, and how far; empty where a row does not say it."""

    dimension: str
    level: str


@dataclass(frozen=True, slots=True)
class Sources:
    """A scan's files, of a sample that is planned and not yet made."""

    source_image: str
    source_mask: str


@dataclass(frozen=True, slots=True)
class Record:
    """All that the manifest says of a sample. What came out is None where a row, written by hand, does not say it.

    Attributes
    ----------
    plan, outcomes
        What was drawn, and what came out of each tumour.
    files
        Where it comes from and what was written.
    dial
        Of a benchmark's sample; None where the table has no such columns.
    sources
        Where it comes from, if that is all that is known of its files.
    """

    plan: Plan
    outcomes: tuple[Outcome | None, ...]
    files: Files | None
    dial: Dial | None = None
    sources: Sources | None = None


def _columns(kind: type, *, without: str = "") -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind) if f.name != without)


PLAN_COLUMNS = _columns(Plan, without="tumors")
SAMPLE_COLUMNS = (*PLAN_COLUMNS, *_columns(Files))
DIAL_COLUMNS = _columns(Dial)
TUMOR_COLUMNS = ("sample", "tumor", *_columns(Tumor), *_columns(Outcome))


def tumors_path(manifest: Path) -> Path:
    """The table of tumours that belongs to a table of samples."""
    return manifest.with_name(TUMORS) if manifest.name == SAMPLES else manifest.with_suffix(".tumors.csv")


def sample_row(record: Record) -> dict[str, str]:
    """Cells of a sample's row."""
    row = {**cells_of(record.plan, PLAN_COLUMNS), **cells_of(record.files, _columns(Files))}
    for known in (record.sources, record.dial):
        row |= cells_of(known, _columns(type(known))) if known else {}
    return row


def sample_columns(records: Iterable[Record]) -> tuple[str, ...]:
    """Columns of a table of samples: those of a benchmark's end with what is dialled."""
    return (*SAMPLE_COLUMNS, *DIAL_COLUMNS) if any(record.dial for record in records) else SAMPLE_COLUMNS


def tumor_rows(record: Record) -> Iterator[dict[str, str]]:
    """Cells of the rows of a sample's tumours."""
    for number, (tumor, outcome) in enumerate(zip(record.plan.tumors, record.outcomes, strict=True)):
        key = {"sample": record.plan.sample, "tumor": str(number)}
        yield {**key, **cells_of(tumor, _columns(Tumor)), **cells_of(outcome, _columns(Outcome))}


def in_order(records: Iterable[Record]) -> list[Record]:
    """Records in the order of a written table: by case and variant."""
    return sorted(records, key=lambda r: (r.plan.case, r.plan.variant, r.plan.sample))


def write_manifest(records: Iterable[Record], manifest: Path, *, parents: bool = False) -> None:
    """Write both tables, ordered by case and variant; each appears whole or not at all. `parents`: as in `whole_file`.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    ordered = in_order(records)
    rows = (row for record in ordered for row in tumor_rows(record))
    _write(tumors_path(manifest), TUMOR_COLUMNS, rows, parents=parents)
    _write(manifest, sample_columns(ordered), map(sample_row, ordered), parents=parents)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]], *, parents: bool) -> None:
    with whole_file(path, parents=parents) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text_of(columns, ()))
        for row in rows:  # one by one, since tables may be long
            file.write(text_of(columns, [row], header=False))


def append_manifest(record: Record, manifest: Path) -> None:
    """Append a sample to both tables, on disk when this returns: from then on the sample counts as done.

    The tumours' rows go first, so that a sample in the table of samples has all of them.

    Raises
    ------
    TumorgenError
        The tables cannot be written to.
    """
    _append(tumors_path(manifest), TUMOR_COLUMNS, tumor_rows(record))
    _append(manifest, sample_columns([record]), [sample_row(record)])


def _append(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text_of(columns, rows, header=file.tell() == 0))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise TumorgenError(f"{path}: cannot be written ({error.strerror})") from error


def read_manifest(manifest: Path) -> list[Record]:
    """Read both tables back; columns of what came out may be missing or empty.

    Raises
    ------
    TumorgenError
        A table is missing or malformed, a cell does not hold its type or lies outside its domain, a sample is there
        twice, a tumour has no sample; said with file, row and column.
    """
    tumors = tumors_path(manifest)
    return _records(manifest, read_text(manifest), tumors, read_text(tumors), strict=True)


def recover_manifest(manifest: Path) -> list[Record]:
    """Read what an interrupted run has left: whole rows of finished samples; empty where there is no manifest.

    A row that was cut off and tumours whose sample never was finished are dropped.

    Raises
    ------
    TumorgenError
        As `read_manifest`.
    """
    if not manifest.exists():
        return []
    tumors = tumors_path(manifest)
    whole = [read_text(path, torn=True) if path.exists() else "" for path in (manifest, tumors)]
    return _records(manifest, whole[0], tumors, whole[1], strict=False) if whole[0] else []


def _records(manifest: Path, samples_text: str, tumors_file: Path, tumors_text: str, *, strict: bool) -> list[Record]:
    tumors: dict[str, list[tuple[Tumor, Outcome | None]]] = {}
    for _, row in rows_of(manifest, samples_text, PLAN_COLUMNS):  # read twice, since rows take more than records
        if row["sample"] in tumors:
            raise TumorgenError(f"{manifest}: a sample stands there twice")
        tumors[row["sample"]] = []
    for where, row in rows_of(tumors_file, tumors_text, ("sample", "tumor", *_columns(Tumor))):
        drawn = tumors.get(row["sample"])
        if drawn is None:
            if strict:
                raise TumorgenError(f"{where}: sample {row['sample']!r} is not in {manifest.name}")
            continue
        if row["tumor"] != str(len(drawn)):
            raise TumorgenError(
                f"{where}: tumor is {row['tumor']!r}, not {len(drawn)}; a sample's tumours are numbered from 0 in order"
            )
        drawn.append((parse(Tumor, row, where), _parse_optional(Outcome, row, where)))
    samples = rows_of(manifest, samples_text, PLAN_COLUMNS)
    return [_record(row, tumors[row["sample"]], where) for where, row in samples]


def _record(row: Mapping[str, str], drawn: Sequence[tuple[Tumor, Outcome | None]], where: str) -> Record:
    plan = parse(Plan, row, where, tumors=tuple(tumor for tumor, _ in drawn))
    files = _parse_optional(Files, row, where)
    sources = None if files else _parse_optional(Sources, row, where)
    dial = parse(Dial, row, where) if set(DIAL_COLUMNS) <= set(row) else None
    return Record(plan, tuple(outcome for _, outcome in drawn), files, dial, sources)


def _parse_optional(kind: type[T], row: Mapping[str, str], where: str) -> T | None:
    """As `_parse`; None where a cell is empty or missing."""
    return parse(kind, row, where) if all(row.get(name) for name in _columns(kind)) else None


def spread_samples(samples: Sequence[str], count: int) -> frozenset[str]:
    """Choose `count` samples, spread evenly from the first to the last; all of them if it is negative or too large."""
    if count < 0 or count >= len(samples):
        return frozenset(samples)
    return frozenset(samples[int(i)] for i in np.linspace(0, len(samples) - 1, count))
