"""The table of scans, `manifests/scans.csv`: what `liver-mask` found in each, and what `synth` reads.

Its columns are the fields of `ScanRow`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from ..errors import TumorgenError
from ..fields import FINITE, About, blank_columns, check_domains, required_columns
from ..imaging import refuse_unsafe_name
from ..interruptions import interruptions_held
from ..method import size_along, spacing_along
from .codec import Row, parse_row, read_text, rows_of, write_records
from .scan_paths import PATH_RULE, find_recorded, record_path
from .turns import one_at_a_time

SCANS = Path("manifests") / "scans.csv"
STATUSES = ("ok", "check", "failed")


TrustedForm = Annotated[
    str,
    About(
        "`sform` or `qform`: which of two places in the headers of CT and mask was taken where they contradict each"
        " other, as it was chosen (`--trust`); empty: they do not, or in tables of version 0.1.0 whichever ITK takes"
    ),
]


Fingerprint = Annotated[
    str,
    About(
        "SHA-256 of the sums of the scan's planes, in HU: the same for all files of one CT, whatever their"
        " format, data type and geometry; empty in tables of earlier versions"
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRow:
    """A scan and its liver. Numbers that are not known, because the scan could not be read, are None."""

    case: Annotated[str, About("name of the scan; no two rows share it")]
    image: Annotated[str, About(f"file of the CT, {PATH_RULE}")]
    mask: Annotated[str, About("file of its liver mask, in the same way; empty where there is none")] = ""
    shape_z: Annotated[int | None, size_along("z")] = None
    shape_y: Annotated[int | None, size_along("y")] = None
    shape_x: Annotated[int | None, size_along("x")] = None
    spacing_z_mm: Annotated[float | None, spacing_along("z", *FINITE)] = None
    spacing_y_mm: Annotated[float | None, spacing_along("y", *FINITE)] = None
    spacing_x_mm: Annotated[float | None, spacing_along("x", *FINITE)] = None
    liver_ml: Annotated[float | None, About("volume of the liver", "ml", *FINITE)] = None
    hu_mean: Annotated[float | None, About("mean of the CT in the liver", "HU", *FINITE)] = None
    hu_sd: Annotated[float | None, About("standard deviation of the CT in the liver", "HU", *FINITE)] = None
    status: Annotated[
        str, About("`ok`; `check`: something looks wrong; `failed`: there is no liver to use", choices=STATUSES)
    ]
    flags: Annotated[
        str,
        About(
            "what looks wrong, separated by semicolons: `empty`, `volume_low` (under 500 ml), `volume_high` (over"
            " 4000 ml), `hu_low`, `hu_high`, `cut_by_edge`, `part_cut` (it hung on by a neck), `pieces_dropped`,"
            " `no_place` (its header does not say where it lies); of a DICOM series `copied_slices` (files twice),"
            " `damaged_beside` (damaged files beside it),"
            " `derived` (not an original), `lossy` (compressed with loss), `no_uid` (its UID was taken out),"
            " `acquisitions` (it may be of several, one behind the other)"
        ),
    ] = ""
    reason: Annotated[str, About("what looks wrong in a sentence, or why the scan failed")] = ""
    source: Annotated[
        str,
        About(
            "of a DICOM series, 16 digits of the SHA-256 of its UID (of its folder, if it has none); empty for other"
            " scans"
        ),
    ] = ""
    trusted_form: TrustedForm = ""
    source_fingerprint: Fingerprint = ""
    mask_fingerprint: Annotated[
        str, About("SHA-256 of the voxels of the mask that the row is about; empty in tables of earlier versions")
    ] = ""
    files_seen: Annotated[
        str,
        About(
            "size in bytes and time of last change in ns, of the CT and of its mask, when they were last compared with"
            " the row: files of another size or time are read again; empty in tables of earlier versions"
        ),
    ] = ""

    def __post_init__(self) -> None:
        check_domains(self)
        refuse_unsafe_name(self.case, "case")
        if self.status != "failed" and not self.mask:
            raise TumorgenError(f"case {self.case!r} has no mask; give it one, or set its status to failed")

    @property
    def is_excluded(self) -> bool:
        """Whether somebody has marked the scan `failed`, although it has a mask that is not empty."""
        return self.status == "failed" and bool(self.mask) and "empty" not in self.flags.split(";")


def read_scans(path: Path = SCANS) -> list[ScanRow]:
    """Read the table of scans; the paths of files that are found are absolute.

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
    blank = blank_columns(ScanRow)
    rows = rows_of(path, read_text(path), required_columns(ScanRow), unique="case", blank=blank)
    return [
        parse_row(ScanRow, {**row, "status": row["status"].lower(), **_find_files(row, path)}, where)
        for where, row in rows
    ]


def _find_files(row: Row, path: Path) -> Row:
    return {name: find_recorded(row[name], path) for name in ("image", "mask") if name in row}


def write_scans(rows: Iterable[ScanRow], path: Path = SCANS) -> None:
    """Write the table of scans, ordered by case; it appears whole or not at all.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    recorded = (replace(row, image=record_path(row.image, path), mask=record_path(row.mask, path)) for row in rows)
    write_records(path, ScanRow, sorted(recorded, key=lambda row: row.case))


def record_scans(rows: Iterable[ScanRow], path: Path = SCANS) -> None:
    """Put rows into the table, in the place of those of their cases (capitals apart), or of their series; others stay.

    A table that is not there yet is begun. It is on disk when this returns. Several processes may do so at once.

    Raises
    ------
    TumorgenError
        The table that is there cannot be read, or the folder cannot be written to.
    """
    new = {row.case.lower(): row for row in rows}
    series = {row.source for row in new.values() if row.source}
    with interruptions_held(), one_at_a_time(path):
        others = read_scans(path) if path.exists() else []
        stay = (other for other in others if other.case.lower() not in new and other.source not in series)
        write_scans([*stay, *new.values()], path)


def forget_scans(cases: Iterable[str], path: Path = SCANS) -> None:
    """Take rows out of the table before their files are made anew: a row never vouches for another's files.

    Raises
    ------
    TumorgenError
        The table cannot be read, or the folder cannot be written to.
    """
    gone = {case.lower() for case in cases}
    if not gone:
        return
    with interruptions_held(), one_at_a_time(path):
        write_scans([row for row in read_scans(path) if row.case.lower() not in gone], path)
