"""The table of scans, `manifests/scans.csv`: what `liver-mask` found in each, and what `synth` reads.

Its columns are the fields of `ScanRow`, and those that somebody has added.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from ..errors import TumorgenError
from ..fields import FINITE, About, blank_columns, check_domains, columns, required_columns
from ..imaging import refuse_unsafe_name, stamp_of_volume
from ..interruptions import interruptions_held
from ..method import size_along, spacing_along
from .codec import Row, cells_of, columns_in, parse_row, read_text, rows_of, write_table
from .scan_paths import PATH_RULE, find_recorded, record_path
from .turns import one_at_a_time

SCANS = Path("manifests") / "scans.csv"
STATUSES = ("ok", "check", "failed")
UNSEEN = "-"  # stamp of a file that is not there or cannot be read


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
    study: Annotated[
        str,
        About(
            "of a DICOM series, the same of the UID of its study: scans of one study are one patient's; empty if it"
            " says none, for other scans, and in tables of earlier versions"
        ),
    ] = ""
    trusted_form: TrustedForm = ""
    source_fingerprint: Fingerprint = ""
    mask_fingerprint: Annotated[
        str, About("SHA-256 of the voxels of the mask that the row is about; empty in tables of earlier versions")
    ] = ""
    source_mask_sha256: Annotated[
        str,
        About(
            "SHA-256 of the voxels of that mask and the scan's geometry, as `manifest.csv` has it of a mask without"
            " `--label`: by it and `source_fingerprint` a run knows whether samples that are there are of this scan;"
            " empty where liver-mask has not read both since another file came, and in tables of earlier versions"
        ),
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


def stamps_of(image: Path, mask: Path) -> str:
    """Stamps of a CT and its mask (`stamp_of_volume`) as the table of scans has them."""
    return join_stamps(stamp_of_volume(image), stamp_of_volume(mask))


def join_stamps(image: str, mask: str) -> str:
    """What the table of scans has of two stamps."""
    return f"{image or UNSEEN} {mask or UNSEEN}"


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
    text = read_text(path)
    blank = (*blank_columns(ScanRow), *_added_columns(path, text))
    rows = rows_of(path, text, required_columns(ScanRow), unique="case", blank=blank)
    return [
        parse_row(ScanRow, {**row, "status": row["status"].lower(), **_find_files(row, path)}, where)
        for where, row in rows
    ]


def _added_columns(path: Path, text: str) -> list[str]:
    """Columns that are not ours, in the order of the table."""
    return [name for name in columns_in(path, text) if name not in columns(ScanRow)]


def _find_files(row: Row, path: Path) -> Row:
    return {name: find_recorded(row[name], path) for name in ("image", "mask") if name in row}


@dataclass(frozen=True, slots=True)
class Added:
    """Columns that somebody has added to the table, in their order, and their cells in the row of each case."""

    columns: tuple[str, ...] = ()
    cells: dict[str, Row] = field(default_factory=dict)


NOTHING_ADDED = Added()


def read_added(path: Path) -> Added:
    """Read the columns of a table of scans that are none of `ScanRow`; one without a name is nobody's.

    Raises
    ------
    TumorgenError
        The table cannot be read.
    """
    text = read_text(path)
    names = tuple(filter(None, _added_columns(path, text)))
    if not names:
        return NOTHING_ADDED
    rows = rows_of(path, text, ("case",), only=("case", *names), blank=columns_in(path, text))
    return Added(names, {row.pop("case").lower(): row for _, row in rows})


def write_scans(rows: Iterable[ScanRow], path: Path = SCANS, added: Added = NOTHING_ADDED) -> None:
    """Write the table of scans, ordered by case, and what somebody has added; it appears whole or not at all.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    recorded = (replace(row, image=record_path(row.image, path), mask=record_path(row.mask, path)) for row in rows)
    ordered = sorted(recorded, key=lambda row: row.case)
    cells = ({**cells_of(ScanRow, row), **added.cells.get(row.case.lower(), {})} for row in ordered)
    write_table(path, (*columns(ScanRow), *added.columns), cells)


def record_scans(rows: Iterable[ScanRow], path: Path = SCANS) -> None:
    """Put rows into the table, in the place of those of their cases (capitals apart), or of their series; others stay.

    A table that is not there yet is begun; columns that somebody has added stay. It is on disk when this returns.
    Several processes may do so at once.

    Raises
    ------
    TumorgenError
        The table that is there cannot be read, or the folder cannot be written to.
    """
    new = {row.case.lower(): row for row in rows}
    series = {row.source for row in new.values() if row.source}
    with interruptions_held(), one_at_a_time(path):
        others, added = (read_scans(path), read_added(path)) if path.exists() else ([], NOTHING_ADDED)
        stay = (other for other in others if other.case.lower() not in new and other.source not in series)
        write_scans([*stay, *new.values()], path, added)


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
        stay = [row for row in read_scans(path) if row.case.lower() not in gone]
        write_scans(stay, path, read_added(path))
