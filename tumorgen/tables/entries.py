"""What a run needs to know of samples that are there: a few cells of each row of the table of samples.

A dataset may have a hundred thousand samples, and seven tumours each. So their rows are read as records (`manifest`)
only where somebody asks what was drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import TumorgenError
from ..fields import columns, required_columns
from ..imaging import LONGEST_SAMPLE, refuse_unsafe_name
from ..method import Plan
from .codec import parse_row, read_text, rows_of
from .manifest import Files, Record


@dataclass(frozen=True, slots=True)
class Entry:
    """Cells of a sample's row, called as its columns are (`Plan`, `Files`); what came out is empty where nothing did.

    Raises
    ------
    TumorgenError
        A name is none for a file, or a number is negative.
    """

    sample: str
    case: str
    variant: int
    seed: int
    source_image_sha256: str
    source_mask_sha256: str
    notes: str = ""
    tumors_without_voxel: int = 0
    tumors_placed: int | None = None
    image_sha256: str = ""
    label_sha256: str = ""
    liver_labels: str = ""
    real_tumor_labels: str = ""
    real_tumor_voxels: int | None = None
    patient: str = ""
    source_fingerprint: str = ""
    trusted_form: str = ""

    def __post_init__(self) -> None:
        refuse_unsafe_name(self.case, "case")
        refuse_unsafe_name(self.sample, "sample", LONGEST_SAMPLE)
        for name in ("variant", "seed", "tumors_without_voxel"):
            if getattr(self, name) < 0:
                raise TumorgenError(f"{name} is {getattr(self, name)}; it must not be negative")

    @property
    def is_written(self) -> bool:
        """Whether its row says what was written."""
        return bool(self.image_sha256 and self.label_sha256)

    @classmethod
    def of(cls, record: Record) -> Entry:
        """The entry of a sample of which everything is known."""
        known: dict[str, object] = {"patient": record.patient}
        for kind, holder in ((Plan, record.plan), (Files, record.files)):
            names = _COLUMNS.intersection(columns(kind)) if holder else ()
            known |= {name: getattr(holder, name) for name in names}
        return cls(**known)  # type: ignore[arg-type]


_COLUMNS = frozenset(columns(Entry))
_SHARED = _COLUMNS - {"sample", "variant", "image_sha256", "label_sha256"}  # the same in many rows


def read_entries(manifest: Path) -> list[Entry]:
    """Entries of a table of samples, in the order of its rows; none where there is no such table.

    A row that was cut off is dropped (`codec.length_of_whole`). Of the tumours nothing is read.

    Raises
    ------
    TumorgenError
        The table is malformed, a cell of an entry does not hold its type, or a sample is there twice.
    """
    text = read_text(manifest, torn=True) if manifest.exists() else ""
    if not text:
        return []
    rows = rows_of(manifest, text, required_columns(Entry), unique="sample", only=_COLUMNS)
    return [
        parse_row(Entry, {name: sys.intern(cell) if name in _SHARED else cell for name, cell in row.items()}, where)
        for where, row in rows
    ]


def sort_entries(entries: Iterable[Entry]) -> list[Entry]:
    """Entries in the order of a written table: by case and variant."""
    return sorted(entries, key=lambda entry: (entry.case, entry.variant, entry.sample))


def join_entries(*tables: Iterable[Entry]) -> list[Entry]:
    """Entries of several tables, each sample once; where it is in two, the first table's."""
    joined: dict[str, Entry] = {}
    for entries in tables:
        for entry in entries:
            joined.setdefault(entry.sample, entry)
    return list(joined.values())


def with_patients(entries: Iterable[Entry], patients: Mapping[str, str]) -> list[Entry]:
    """Entries that say whose their scans are: as `patients` (case -> patient) has it, else what they said before."""
    return [
        replace(entry, patient=patients[entry.case])
        if patients.get(entry.case, entry.patient) != entry.patient
        else entry
        for entry in entries
    ]
