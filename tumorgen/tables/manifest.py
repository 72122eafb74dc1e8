"""The manifest: `manifest.csv`, a row per sample, and `tumors.csv`, a row per tumour; and back again without loss.

Columns are the fields of `Plan`, `Tumor`, `Outcome` and `Files`. Those of `Dial` stand at the end of a benchmark's
table of samples, and in no other.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np

from ..errors import TumorgenError, as_unwritable
from ..fields import About, columns, required_columns
from ..imaging import LabelChoice
from ..interruptions import interruptions_held
from ..method import Outcome, Plan, Tumor
from .codec import PACKED, Row, cells_of, columns_in, parse_row, read_text, rows_of, text_of, write_table
from .scan_paths import PATH_RULE, find_recorded, record_path
from .scans import Fingerprint, TrustedForm

SAMPLES = "manifest.csv"
TUMORS = "tumors.csv"

T = TypeVar("T")


SourceImage = Annotated[str, About(f"file of the healthy scan, {PATH_RULE}")]
SourceMask = Annotated[str, About("file of its liver mask, in the same way")]
LiverLabels = Annotated[
    str,
    About(
        "labels of that file that are liver, as they were chosen, separated by semicolons; empty where the file is a"
        " mask: any value above 0"
    ),
]
RealTumorLabels = Annotated[
    str, About("labels of that file that are tumours which are really there, separated by semicolons; empty: none")
]
Patient = Annotated[
    str,
    About("name of the first scan of the same patient, as `--patients` says; empty where nothing was said of the scan"),
]


class _OfMask:
    """What rows that name a mask have in common."""

    __slots__ = ()
    liver_labels: LiverLabels
    real_tumor_labels: RealTumorLabels

    @property
    def labels(self) -> LabelChoice:
        """What the labels of the mask are."""
        return LabelChoice.of_cells(self.liver_labels, self.real_tumor_labels)


@dataclass(frozen=True, slots=True)
class Files(_OfMask):
    """Where a sample comes from, what was written of it, and with which versions."""

    tumors_placed: Annotated[int, About("number of tumours in the sample")]
    tumor_volume_mm3: Annotated[
        float,
        About(
            "volume of the voxels that it labels tumour, without tumours that are really there; in rows of version"
            " 0.1.0 the sum over its tumours, in which a voxel that several share counts for each",
            "mm3",
        ),
    ]
    source_image: SourceImage
    source_mask: SourceMask
    image_file: Annotated[str, About("image of the sample, relative to the dataset's folder")]
    label_file: Annotated[str, About("label of the sample, relative to the dataset's folder")]
    image_sha256: Annotated[str, About("SHA-256 of the image's file")]
    label_sha256: Annotated[str, About("SHA-256 of the label's file")]
    tumorgen_version: Annotated[str, About("version of tumorgen that rendered it")]
    numpy_version: Annotated[str, About("version of numpy; the same bits are promised for the same versions")]
    scipy_version: Annotated[str, About("version of scipy; the same bits are promised for the same versions")]
    liver_labels: LiverLabels = ""
    real_tumor_labels: RealTumorLabels = ""
    real_tumor_voxels: Annotated[
        int, About("voxels of the label that are such tumours; all tumours else in the table are synthetic", "voxels")
    ] = 0
    trusted_form: TrustedForm = ""
    patient: Patient = ""
    source_fingerprint: Fingerprint = ""


@dataclass(frozen=True, slots=True)
class Dial:
    """What a benchmark has dialled in a sample, and how far; empty where a row does not say it."""

    dimension: Annotated[
        str,
        About(
            "what was dialled: `location`, `size`, `shape`, `intensity`, `texture`, or `control`; in a manifest of"
            " `tumorgen worst` also `size_class`"
        ),
    ]
    level: Annotated[
        str,
        About(
            "how far: a region of the liver, r in mm, sigma_e in mm, mu_t - mu_p in HU, eta, or `healthy`; in a"
            " manifest of `tumorgen worst` the level that the sample was drawn around"
        ),
    ]


@dataclass(frozen=True, slots=True)
class Sources(_OfMask):
    """A scan's files and whose it is, of a sample that is planned and not yet made."""

    source_image: SourceImage
    source_mask: SourceMask
    liver_labels: LiverLabels = ""
    real_tumor_labels: RealTumorLabels = ""
    trusted_form: TrustedForm = ""
    patient: Patient = ""


@dataclass(frozen=True, slots=True)
class TumorKey:
    """Which tumour a row of the table of tumours is about."""

    sample: Annotated[str, About("name of the sample that the tumour is in")]
    tumor: Annotated[int, About("number of the tumour in its sample, from 0")]


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

    @property
    def patient(self) -> str:
        """Name of the first scan of the same patient; empty where nothing is known of it."""
        known = self.files or self.sources
        return known.patient if known else ""


SAMPLE_COLUMNS = (*columns(Plan), *columns(Files))
DIAL_COLUMNS = columns(Dial)
TUMOR_COLUMNS = (*columns(TumorKey), *columns(Tumor), *columns(Outcome))
_PATHS = ("source_image", "source_mask")
_OWN_COLUMNS = {"sample", "case", "variant"}  # that no other table has all of


def tumors_path(manifest: Path) -> Path:
    """The table of tumours that belongs to a table of samples."""
    if manifest.suffix == PACKED:
        tumors = tumors_path(manifest.with_suffix(""))
        return tumors.with_name(f"{tumors.name}{PACKED}")
    return manifest.with_name(TUMORS) if manifest.name == SAMPLES else manifest.with_suffix(".tumors.csv")


def sample_row(record: Record, manifest: Path) -> Row:
    """Cells of a sample's row in a table of samples."""
    row = {**cells_of(Plan, record.plan), **cells_of(Files, record.files)}
    for known in (record.sources, record.dial):
        row |= cells_of(type(known), known) if known else {}
    return row | {name: record_path(row[name], manifest) for name in _PATHS}


def sample_columns(records: Iterable[Record]) -> tuple[str, ...]:
    """Columns of a table of samples: those of a benchmark's end with what is dialled."""
    return (*SAMPLE_COLUMNS, *DIAL_COLUMNS) if any(record.dial for record in records) else SAMPLE_COLUMNS


def tumor_rows(record: Record) -> Iterator[dict[str, str]]:
    """Cells of the rows of a sample's tumours."""
    for number, (tumor, outcome) in enumerate(zip(record.plan.tumors, record.outcomes, strict=True)):
        key = TumorKey(record.plan.sample, number)
        yield {**cells_of(TumorKey, key), **cells_of(Tumor, tumor), **cells_of(Outcome, outcome)}


def sort_records(records: Iterable[Record]) -> list[Record]:
    """Records in the order of a written table: by case and variant."""
    return sorted(records, key=lambda r: (r.plan.case, r.plan.variant, r.plan.sample))


def write_manifest(records: Iterable[Record], manifest: Path, *, parents: bool = False) -> None:
    """Write both tables, ordered by case and variant; each appears whole or not at all.

    `parents` says whether a missing folder is made.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    ordered = sort_records(records)
    rows = (row for record in ordered for row in tumor_rows(record))
    write_table(tumors_path(manifest), TUMOR_COLUMNS, rows, parents=parents)
    samples = (sample_row(record, manifest) for record in ordered)
    write_table(manifest, sample_columns(ordered), samples, parents=parents)


def remove_manifest(manifest: Path) -> None:
    """Remove a table of samples and then that of their tumours: no row of the one has rows of others' tumours.

    Raises
    ------
    TumorgenError
        They cannot be removed.
    """
    with as_unwritable(manifest):
        for path in (manifest, tumors_path(manifest)):
            path.unlink(missing_ok=True)


def append_manifest(record: Record, manifest: Path) -> None:
    """Append a sample to both tables, on disk when this returns: from then on the sample counts as done.

    The tumours' rows go first, so that a sample in the table of samples has all of them.

    Raises
    ------
    TumorgenError
        The tables cannot be written to.
    """
    with interruptions_held():
        _append(tumors_path(manifest), TUMOR_COLUMNS, tumor_rows(record))
        _append(manifest, sample_columns([record]), [sample_row(record, manifest)])


def _append(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    with as_unwritable(path), path.open("a", encoding="utf-8", newline="") as file:
        file.write(text_of(columns, rows, header=file.tell() == 0))
        file.flush()
        os.fsync(file.fileno())


def read_manifest(manifest: Path) -> list[Record]:
    """Read both tables back; columns of what came out, and columns with a default, may be missing.

    Raises
    ------
    TumorgenError
        A table is missing, malformed or of another kind, a cell does not hold its type or lies outside its domain, a
        sample is there twice, a tumour has no sample; said with file, row and column.
    """
    tumors, samples_text = tumors_path(manifest), read_text(manifest)
    if not (tumors.exists() or columns_in(manifest, samples_text) >= _OWN_COLUMNS):
        raise TumorgenError(f"{manifest}: is no manifest of samples, such as {SAMPLES} of a dataset")
    return parse_records(manifest, samples_text, tumors, read_text(tumors), strict=True)


def list_cases(manifest: Path) -> set[str]:
    """Names of the scans that a table of samples is of; nothing else of it is read.

    Raises
    ------
    TumorgenError
        The table is missing or malformed.
    """
    return {row["case"] for _, row in rows_of(manifest, read_text(manifest), ("case",))}


def list_patients(manifest: Path) -> dict[str, str]:
    """The scans that a table of samples is of, and the patient of each or nothing; empty where there is no table.

    Raises
    ------
    TumorgenError
        The table is malformed.
    """
    text = read_text(manifest, torn=True) if manifest.exists() else ""
    rows = rows_of(manifest, text, ("case",), only={"case", "patient"}) if text else ()
    return {row["case"]: row.get("patient", "") for _, row in rows}


def recover_manifest(manifest: Path) -> list[Record]:
    """Read what an interrupted run has left: whole rows of finished samples; empty where there is no manifest.

    A row that was cut off and tumours whose sample never was finished are dropped.

    Raises
    ------
    TumorgenError
        A table is malformed, a cell does not hold its type or lies outside its domain, or a sample is there twice.
    """
    if not manifest.exists():
        return []
    tumors = tumors_path(manifest)
    whole = [read_text(path, torn=True) if path.exists() else "" for path in (manifest, tumors)]
    return parse_records(manifest, whole[0], tumors, whole[1], strict=False) if whole[0] else []


def parse_records(
    manifest: Path, samples_text: str, tumors_file: Path, tumors_text: str, *, strict: bool
) -> list[Record]:
    """Read what the texts of both tables say.

    Parameters
    ----------
    manifest, tumors_file
        The tables, for what is said of them, and for where scans are (`scan_paths`).
    samples_text, tumors_text
        Their texts, each with its header.
    strict
        Whether a tumour of no sample is refused, or left out.

    Raises
    ------
    TumorgenError
        As `read_manifest` has it.
    """
    tumors: dict[str, list[tuple[Tumor, Outcome | None]]] = {}
    needed = required_columns(Plan)
    for _, row in rows_of(manifest, samples_text, needed, unique="sample"):
        tumors[row["sample"]] = []
    for where, row in rows_of(tumors_file, tumors_text, (*columns(TumorKey), *required_columns(Tumor))):
        drawn = tumors.get(row["sample"])
        if drawn is None:
            if strict:
                raise TumorgenError(f"{where}: sample {row['sample']!r} is not in {manifest.name}")
            continue
        if row["tumor"] != str(len(drawn)):
            raise TumorgenError(
                f"{where}: tumor is {row['tumor']!r}, not {len(drawn)}; a sample's tumours are numbered from 0 in order"
            )
        drawn.append((parse_row(Tumor, row, where), _parse_optional(Outcome, row, where)))
    places: dict[str, str] = {"": ""}
    records = []
    for where, row in rows_of(manifest, samples_text, needed):  # read again, since rows take more room than records
        for cell in (row.get(name, "") for name in _PATHS):
            if cell not in places:
                places[cell] = find_recorded(cell, manifest)
        found = {name: places[row[name]] for name in _PATHS if name in row}
        records.append(_record(row | found, tumors[row["sample"]], where))
    return records


def _record(row: Mapping[str, str], drawn: Sequence[tuple[Tumor, Outcome | None]], where: str) -> Record:
    plan = parse_row(Plan, row, where, tumors=tuple(tumor for tumor, _ in drawn))
    files = _parse_optional(Files, row, where)
    sources = None if files else _parse_optional(Sources, row, where)
    dial = parse_row(Dial, row, where) if set(DIAL_COLUMNS) <= set(row) else None
    return Record(plan, tuple(outcome for _, outcome in drawn), files, dial, sources)


def _parse_optional(kind: type[T], row: Mapping[str, str], where: str) -> T | None:
    """What a row says of what came out; None where a cell that must say something is empty or missing."""
    return parse_row(kind, row, where) if all(map(row.get, required_columns(typing.cast(type, kind)))) else None


def spread_samples(samples: Sequence[str], count: int) -> frozenset[str]:
    """Choose `count` samples, spread evenly from the first to the last; all of them if it is negative or too large."""
    if count < 0 or count >= len(samples):
        return frozenset(samples)
    return frozenset(samples[int(i)] for i in np.linspace(0, len(samples) - 1, count))
