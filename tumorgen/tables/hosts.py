"""The table of a healthy dataset, `scans.csv`: which of its scans belong together, so that folds can be dealt again.

Its columns are the fields of `HostRow`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..fields import About, blank_columns, required_columns
from ..imaging import refuse_unsafe_name
from .codec import parse_row, read_text, rows_of, write_records
from .groups import Mark, marks_of_scan
from .manifest import Patient
from .scans import Fingerprint, TrustedForm

HOSTS = "scans.csv"


@dataclass(frozen=True, slots=True)
class HostRow:
    """A scan that tumours are drawn into while a network trains."""

    case: Annotated[str, About("name of the scan; no two rows share it")]
    patient: Patient = ""
    source_fingerprint: Fingerprint = ""
    trusted_form: TrustedForm = ""
    image_file_sha256: Annotated[
        str, About("SHA-256 of the file that the image was written from; empty in tables of earlier versions")
    ] = ""
    mask_file_sha256: Annotated[str, About("SHA-256 of the mask's file, in the same way")] = ""

    def __post_init__(self) -> None:
        refuse_unsafe_name(self.case, "case")

    @property
    def marks(self) -> set[Mark]:
        """What tells whose the scan is."""
        return marks_of_scan(self.case, self.patient, self.source_fingerprint)


def read_hosts(path: Path) -> dict[str, HostRow]:
    """Read the rows by their cases; none where there is no table, as in datasets of version 0.1.0.

    Raises
    ------
    TumorgenError
        The table is malformed, or a case is there twice.
    """
    if not path.exists():
        return {}
    rows = rows_of(path, read_text(path), required_columns(HostRow), unique="case", blank=blank_columns(HostRow))
    return {row["case"]: parse_row(HostRow, row, where) for where, row in rows}


def write_hosts(rows: Iterable[HostRow], path: Path) -> None:
    """Write the table, ordered by case; it appears whole or not at all.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    write_records(path, HostRow, sorted(rows, key=lambda row: row.case))
