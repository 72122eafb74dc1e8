"""Liver masks: from what a network calls liver to one mask per scan, checked, with a row in the table of scans.

What looks wrong is flagged and kept: whether a scan is worth having is for its owner to say. Which network it is does
not matter here; `tumorgen.liver.network` makes one of an nnU-Net model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..dicom import Series, convert_series
from ..errors import Failure, TumorgenError, as_unwritable
from ..imaging import Volume, refuse_unwritable, resolved
from ..parallel import Case, Start, map_cases, no_progress, refuse_to_go_on
from ..tables import (
    SCANS,
    ScanRow,
    Source,
    describe_copies,
    forget_scans,
    given_path,
    marks_of_scan,
    read_scans,
    record_scans,
)
from .findings import Mask
from .recording import recording
from .rows import Segment, add_flags, keep_verdict, list_mask, mask_scan
from .seen import CORRECTED
from .standing import (
    UNLISTED,
    UNMADE,
    UNREAD,
    ScanTask,
    describe_standing,
    find_standing,
    is_same_file,
    is_unlisted,
)
from .unlisted import forget_unlisted

IMAGES = "images"  # folder, in that of the masks, of what DICOM series become


@dataclass(frozen=True, slots=True)
class MaskReport:
    """What became of the scans: their rows, how many of their masks were made now, notes, and what failed.

    `failed` are the cases of those failures that the table lists now.
    """

    rows: tuple[ScanRow, ...]
    made: int
    notes: tuple[str, ...]
    failures: tuple[Failure, ...]
    failed: tuple[str, ...]

    def having(self, status: str) -> list[ScanRow]:
        """Rows of a status."""
        return [row for row in self.rows if row.status == status]


def mask_scans(
    images: Mapping[str, Path],
    output: Path,
    load: Callable[[], Segment],
    *,
    series: Mapping[str, Series] | None = None,
    table: Path = SCANS,
    trust: str = "",
    overwrite: bool = False,
    start: Start = no_progress,
) -> MaskReport:
    """Write `output/<case>.nii.gz` for each scan, and its row into the table soon (`recording`).

    A DICOM series becomes an image first, `output/images/<case>.nii.gz`, which is what later steps read. Scans whose
    row and files are there are left alone. A mask that is there and that no row lists is somebody's, unless a run that
    was killed has left it: it gets a row, and so does one that was changed since its row was made. A scan that cannot
    be done costs no other: its row says why, and no earlier mask stays beside it. One that cannot even be read, or
    that somebody's mask does not fit, keeps what it has.

    Parameters
    ----------
    images
        Case name -> file of the CT.
    output
        Folder of the masks.
    load
        Makes what finds the liver; called once, and only where there is something to do.
    series
        Case name -> DICOM series; no case is an image, too.
    table
        The table of scans; rows of other cases stay in it.
    trust
        `sform` or `qform`: which of two places holds where those in a scan's header contradict each other.
    overwrite
        Do all of them again.
    start
        Called with the number of scans to do; what it returns is called with 1 after each.

    Raises
    ------
    TumorgenError
        `output` is where the images are, it or the table's folder cannot be written to, the table cannot be read, or
        `load` fails.
    """
    refuse_same_folder(images.values(), output)
    output = given_path(output)
    scans = _tasks(images, series or {}, output, trust)
    known = {row.case.lower(): row for row in read_scans(table)} if table.exists() else {}
    there = {scan.case: known[scan.case.lower()] for scan in scans if scan.case.lower() in known}
    standing, rows = find_standing(scans, there, overwrite=overwrite)
    _record_seen(there, rows, table)
    todo = [scan for scan in scans if scan.case not in rows]
    kept = [s.case for s in todo if standing.get(s.case) == CORRECTED]
    kept += [s.case for s in todo if not overwrite and is_unlisted(there.get(s.case), s)]
    failures: list[Failure] = []
    failed: list[str] = []
    if todo:
        refuse_unwritable(output, "choose another OUT")
        refuse_unwritable(table.parent, "choose another --scans, or start in another folder")
        segment = load() if any(scan.case not in kept and not scan.is_broken for scan in todo) else _find_nothing
        earlier = _Earlier({s.case: there[s.case] for s in todo if s.case in there}, frozenset(kept), table)
        done, failures = _do(todo, segment, earlier, start)
        rows |= done
        failed = [s.case for s in todo if rows[s.case].status == "failed" and not earlier.keeps(s)]
        kept = [case for case in kept if rows[case].status != "failed"]
        standing = dict.fromkeys(kept, UNLISTED) | standing | earlier.standing(todo)
    replaced = [scan for scan in todo if standing.get(scan.case) not in (UNREAD, UNMADE)]
    notes = [note for scan in replaced for note in _replacement_notes(scan, known, table)]
    notes += [*describe_standing(standing, table, output), *_copy_notes(known, rows)]
    made = len(todo) - len(failures) - len(kept)
    return MaskReport(tuple(rows[s.case] for s in scans), made, tuple(notes), tuple(failures), tuple(failed))


def _record_seen(there: Mapping[str, ScanRow], rows: Mapping[str, ScanRow], table: Path) -> None:
    """Note in the table how files were seen that had to be read; where that cannot be, they are read again."""
    seen = [row for case, row in rows.items() if row != there[case]]
    if seen:
        with suppress(TumorgenError):
            record_scans(seen, table)


def _tasks(images: Mapping[str, Path], series: Mapping[str, Series], output: Path, trust: str) -> list[ScanTask]:
    """The scans by case; the image of a series lies in the folder of the masks."""
    files = {case: given_path(path) for case, path in images.items()}
    files |= {case: output / IMAGES / f"{case}.nii.gz" for case in series}
    return [
        ScanTask(c, files[c], output / f"{c}.nii.gz", series.get(c), "" if c in series else trust)
        for c in sorted(files)
    ]


@dataclass(frozen=True, slots=True)
class _Earlier:
    """What there is of scans that are to be done: rows of the table, by case, as long as they hold; masks that stay."""

    rows: dict[str, ScanRow]
    kept: frozenset[str]  # cases whose masks no row lists, or that were corrected: they stay
    table: Path

    def give_up(self, scan: ScanTask) -> None:
        """Remove a scan's mask, and take the row that vouches for it out of the table: nothing earlier passes for new.

        Each is taken out as its turn comes: an interruption costs no scan that was not begun its row. A row that names
        another mask stays until a new one takes its place.

        Raises
        ------
        TumorgenError
            The table or the mask cannot be written.
        """
        row = self.rows.get(scan.case)
        if row is not None and (not row.mask or is_same_file(row.mask, scan.mask)):
            forget_scans([scan.case], self.table)
            del self.rows[scan.case]
        with as_unwritable(scan.mask):
            scan.mask.unlink(missing_ok=True)

    def refuse_replaced(self, scan: ScanTask, fingerprint: str) -> None:
        """Refuse the kept mask of an image that is not the one which its row, that of another mask, was made for.

        Raises
        ------
        TumorgenError
            As `Source.refuse_other_scan` has it.
        """
        row = self.rows.get(scan.case)
        known = row.source_fingerprint if row is not None and is_same_file(row.image, scan.image) else ""
        Source(scan.case, scan.image, scan.mask, fingerprint=known).refuse_other_scan(fingerprint)

    def corrected(self, scan: ScanTask) -> ScanRow | None:
        """The row of a scan whose mask was corrected; none of other scans."""
        row = self.rows.get(scan.case)
        return row if row is not None and scan.case in self.kept and is_same_file(row.mask, scan.mask) else None

    def standing(self, scans: Iterable[ScanTask]) -> dict[str, str]:
        """Of scans that have been done: those that failed and whose rows still hold."""
        held = [scan for scan in scans if self.holds(scan)]
        return {s.case: UNREAD if is_same_file(self.rows[s.case].mask, s.mask) else UNMADE for s in held}

    def keeps(self, scan: ScanTask) -> bool:
        """Whether a scan that failed keeps what it has: its mask, or its row."""
        return scan.case in self.kept or self.holds(scan)

    def holds(self, scan: ScanTask) -> bool:
        """Whether the scan has a row that was not given up, and that stands for a mask that is there."""
        row = self.rows.get(scan.case)
        return row is not None and (row.status != "failed" or row.is_excluded) and Path(row.mask).is_file()


def _do(
    todo: Sequence[ScanTask], segment: Segment, earlier: _Earlier, start: Start
) -> tuple[dict[str, ScanRow], list[Failure]]:
    """Find the livers of scans, and put their rows into the table; what would befall all others ends it.

    Rows that hold, of scans that failed, are left among the earlier ones. A scan whose kept mask does not fit it
    gets none: the mask would pass for one that was drawn where the model failed.
    """
    rows: dict[str, ScanRow] = {}
    failures = []
    cases = [Case(scan, scan.case, about=scan.names) for scan in todo]
    work = partial(_find_liver, segment=segment, earlier=earlier)
    with recording(earlier.table, lambda row: forget_unlisted(Path(row.mask)) if row.mask else None) as record:
        for scan, result in zip(todo, map_cases(work, cases, 1, start=start, threads=None), strict=True):
            refuse_to_go_on(result)
            rows[scan.case], failure = _row_and_failure(scan, result)
            failures += [failure] if failure else []
            if not isinstance(result, Failure) or not earlier.keeps(scan):
                earlier.rows.pop(scan.case, None)
                record(rows[scan.case])
    return rows, failures


def _replacement_notes(scan: ScanTask, known: Mapping[str, ScanRow], table: Path) -> list[str]:
    """What a scan's row takes away from the table of scans, in words."""
    row, key = known.get(scan.case.lower()), scan.key
    called = [other.case for name, other in known.items() if key and other.source == key and name != scan.case.lower()]
    notes = [f"case {scan.case} was called {other} in {table}; the files of {other} can be deleted" for other in called]
    same_image = row is not None and is_same_file(row.image, scan.image)
    if row is not None and (row.source != key or not (key or same_image)):
        another = "" if same_image else f" ({row.image})"
        notes.append(f"case {scan.case} was another scan in {table}{another}; its row is replaced")
    return notes


def _copy_notes(known: Mapping[str, ScanRow], rows: Mapping[str, ScanRow]) -> Iterator[str]:
    """Which scans of the table are one CT, in words; rows of series that have another name now are in it no more."""
    named, names = {row.source for row in rows.values() if row.source}, {case.lower() for case in rows}
    others = {row.case: row for name, row in known.items() if row.source not in named and name not in names}
    listed = others | dict(rows)
    return describe_copies({case: marks_of_scan(case, "", row.source_fingerprint) for case, row in listed.items()})


def _find_nothing(ct: Volume) -> Mask:
    """What finds the liver where no scan can be read: never called."""
    return np.zeros(ct.array.shape, dtype=bool)


def refuse_same_folder(images: Iterable[Path], output: Path) -> None:
    """Refuse to write masks where the images are: they may have the same names, and nnU-Net would take them for cases.

    Raises
    ------
    TumorgenError
        `output` is the folder of an image.
    """
    if resolved(output) in {folder for path in images for folder in (resolved(path.parent), resolved(path).parent)}:
        raise TumorgenError(f"{output}: holds the images; masks need a folder of their own")


def _find_liver(scan: ScanTask, segment: Segment, earlier: _Earlier) -> ScanRow:
    """Make the image of a scan, if it is a series, and its mask; the earlier one goes once the scan has been read."""

    def find(ct: Volume) -> Mask:
        earlier.give_up(scan)
        return segment(ct)

    if scan.series is not None:
        convert_series(scan.series, scan.image)
    was = earlier.corrected(scan)
    if scan.case in earlier.kept:
        trust = scan.trust or (was.trusted_form if was else "")
        row = list_mask(scan.case, scan.image, scan.mask, trust)
        earlier.refuse_replaced(scan, row.source_fingerprint)
    else:
        row = mask_scan(scan.case, scan.image, scan.mask, find, scan.trust)
    row = replace(row, source=scan.key, study=scan.study)
    if row.status == "failed":
        return row
    row = add_flags(row, scan.series.flags if scan.series else None)
    return keep_verdict(row, was) if was else row


def _row_and_failure(scan: ScanTask, result: ScanRow | Failure) -> tuple[ScanRow, Failure | None]:
    """The row of a scan that was done or could not be, and why there is no liver."""
    if isinstance(result, Failure):
        reason = scan.without_folders(result.reason)
        return ScanRow(case=scan.case, image=str(scan.image), status="failed", reason=reason, source=scan.key), result
    if result.status == "failed":
        return result, Failure(scan.case, f"{scan.image}: {result.reason}", about=scan.names)
    return result, None
