"""The table of scans, `manifests/scans.csv`: what `liver-mask` found in each, and what `synth` reads.

Columns derive from the fields of `ScanRow`, so none is forgotten.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from ..errors import TumorgenError
from ..imaging.files import refuse_unsafe_name, whole_file
from .codec import read_text, rows_of, text_of

SCANS = Path("manifests") / "scans.csv"
STATUSES = ("ok", "check", "failed")

Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRow:
    """A scan and its liver. Numbers that are not known, because the scan could not be read, are None.

    Attributes
    ----------
    case
        Name of the scan; no two rows share it.
    image, mask
        Files of the CT and of its liver mask, as absolute paths; no mask where the scan failed before there was one.
    shape_z, shape_y, shape_x, spacing_z_mm, spacing_y_mm, spacing_x_mm
        Voxels of the scan along each axis, and their size.
    liver_ml, hu_mean, hu_sd
        Volume of the liver; mean and standard deviation of the CT in it, in HU.
    status
        `ok`; `check` where something looks wrong; `failed` where there is no liver to use.
    flags
        What looks wrong: words of `tumorgen.liver.masks.FLAGS`, separated by semicolons.
    reason
        The same in a sentence, or why it failed.
    source
        Of a DICOM series, 16 digits of the SHA-256 of its UID; else empty.
    """

    case: str
    image: str
    mask: str = ""
    shape_z: int | None = None
    shape_y: int | None = None
    shape_x: int | None = None
    spacing_z_mm: float | None = None
    spacing_y_mm: float | None = None
    spacing_x_mm: float | None = None
    liver_ml: float | None = None
    hu_mean: float | None = None
    hu_sd: float | None = None
    status: str
    flags: str = ""
    reason: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise TumorgenError(f"unknown status {self.status!r}; it is one of {', '.join(STATUSES)}")
        refuse_unsafe_name(self.case, "case")
        if self.status != "failed" and not self.mask:
            raise TumorgenError(f"case {self.case!r} has no mask; give it one, or set its status to failed")


COLUMNS = tuple(field.name for field in fields(ScanRow))
_REQUIRED = tuple(field.name for field in fields(ScanRow) if field.default is MISSING)


def read_scans(path: Path = SCANS) -> list[ScanRow]:
    """Read the table of scans.

    Raises
    ------
    TumorgenError
        The table is missing or malformed, a column is missing, a cell does not hold its type, a case is there twice;
        said with file, line and column.
    """
    if not path.exists():
        raise TumorgenError(
            f"{path}: no such file; run `tumorgen liver-mask in/ out/` first or give --images and --masks"
        )
    rows: dict[str, ScanRow] = {}
    for where, cells in rows_of(path, read_text(path), _REQUIRED):
        row = _parse(cells, where)
        if row.case.lower() in rows:  # to Windows and macOS, files of A and of a are the same
            raise TumorgenError(f"{where}: case {row.case!r} is there twice")
        rows[row.case.lower()] = row
    return list(rows.values())


def write_scans(rows: Iterable[ScanRow], path: Path = SCANS) -> None:
    """Write the table of scans, ordered by case; it appears whole or not at all.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    ordered = sorted(rows, key=lambda row: row.case)
    text = text_of(COLUMNS, ({name: _text(getattr(row, name)) for name in COLUMNS} for row in ordered))
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def record_scan(row: ScanRow, path: Path = SCANS) -> None:
    """Put a row into the table, in the place of the one of its case, or of its series; the others stay.

    On disk when this returns.

    Raises
    ------
    TumorgenError
        As `read_scans` and `write_scans`; a table that is not there yet is begun.
    """
    others = read_scans(path) if path.exists() else []
    write_scans([*(other for other in others if other.case != row.case and not is_same_series(other, row)), row], path)


def is_same_series(one: ScanRow, other: ScanRow) -> bool:
    """Whether two rows are of one DICOM series, whatever their cases' names: no patient is to be there twice."""
    return bool(one.source) and one.source == other.source


def _text(value: Cell) -> str:
    """Text of a cell; for numbers the shortest that reads back to the same one."""
    return "" if value is None else str(value)


def _parse(cells: Mapping[str, str], where: str) -> ScanRow:
    values = {
        name: _value(hint, cells[name], f"{where}, column {name}")
        for name, hint in typing.get_type_hints(ScanRow).items()
        if name in cells
    }
    try:
        return ScanRow(**values)  # type: ignore[arg-type]  # each is of the type of its field
    except TumorgenError as error:
        raise TumorgenError(f"{where}: {error}") from error


def _value(hint: type, cell: str, where: str) -> Cell:
    """A cell as the type of its field; what is empty and may be, as None."""
    if hint is str:
        return cell
    if not cell:
        return None
    kind: type[int] | type[float] = typing.get_args(hint)[0]
    try:
        value = kind(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TumorgenError(f"{where}: {cell[:80]!r} is not of type {kind.__name__}")
    return value
