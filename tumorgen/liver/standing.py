"""Which scans and masks stay as they are, because they are done or because somebody has seen to them by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..dicom import Series
from ..errors import TumorgenError, printable
from ..imaging import AS_ITK, GEOMETRY_TOLERANCE_MM, Geometry, read_volume, resolved
from ..tables import ScanRow
from ..wording import few, plural
from .seen import CORRECTED, compare_files
from .unlisted import is_noted_as_unlisted

STRIPS = "overview"  # folder of a picture of each liver, in that of the masks that liver-mask has made
ELSEWHERE, EXCLUDED, DRAWN = "elsewhere", "excluded", "drawn"  # besides `DONE` and `CORRECTED`
UNDONE, UNREAD, UNMADE = "undone", "unread", "unmade"  # of scans that are done again, or were to be
UNLISTED = "unlisted"  # of scans that get a row for the mask that is there
_NOTES = {
    ELSEWHERE: (
        "masks that {table} names outside {output} are kept: {names}; to have those in {output} instead, delete their"
        " rows; --overwrite makes these again"
    ),
    EXCLUDED: "scans that {table} marks failed, though they have a mask, are left out: {names}",
    DRAWN: (
        "masks of scans that failed are in {output} and are kept: {names}; to use one, name it in {table} and set"
        " status to ok; to have it made again, delete it"
    ),
    UNDONE: "scans that hands have seen to (another mask, or marked failed) are done again, for --overwrite: {names}",
    UNLISTED: (
        "masks in {output} that {table} did not list are kept, and it lists them now: {names}; --overwrite makes others"
    ),
    CORRECTED: "{rows} of {table} made anew, for masks in {output} that have been changed: {names}",
    UNREAD: "scans whose image or mask cannot be used keep their mask and their row in {table}: {names}",
    UNMADE: "scans that failed keep their row in {table}, which names a mask outside {output}: {names}",
}


@dataclass(frozen=True, slots=True)
class ScanTask:
    """A scan to do: image and mask as absolute paths, the series that the image is made of, if it is, and its place."""

    case: str
    image: Path
    mask: Path
    series: Series | None = None
    trust: str = ""

    @property
    def key(self) -> str:
        """What tells its series from others."""
        return self.series.key if self.series else ""

    @property
    def study(self) -> str:
        """What tells the study of its series from others."""
        return self.series.study if self.series else ""

    @property
    def is_broken(self) -> bool:
        """Whether it is a series of which no image can be made."""
        return bool(self.series and self.series.problem)

    @property
    def names(self) -> tuple[str, ...]:
        """What a reason may name that is this scan's own."""
        return (str(self.image), *([str(self.series.folder)] if self.series else []))

    def without_folders(self, reason: str) -> str:
        """A reason that names this scan's files and not their folders, as the table of scans has it.

        A series goes by its case: the name of its folder may be its UID.
        """
        if self.series:
            folder = " ".join(printable(str(self.series.folder)).split()) + ": "
            if reason.startswith(folder):
                reason = f"{self.case}: {reason.removeprefix(folder)}"
        for file in sorted((str(self.image), str(self.mask)), key=len, reverse=True):
            reason = reason.replace(file, Path(file).name)
        return reason


def hand_work_of(row: ScanRow, task: ScanTask) -> str:
    """What somebody has done to a scan or its row; empty where nothing shows.

    Either its mask is `elsewhere`, where liver-mask has not made one; or it is `excluded`, failed with a mask; or it
    failed, and somebody has `drawn` a mask where there was none.
    """
    if not _is_same_scan(row, task):
        return ""
    is_here = is_same_file(row.mask, task.mask)
    if row.status == "failed":
        failed_here = is_here or not row.mask
        return EXCLUDED if row.is_excluded else DRAWN if failed_here and _is_of_hands(task.mask) else ""
    if is_here:
        return ""
    return ELSEWHERE if Path(row.mask).is_file() and not _is_of_another_output(row) else ""


def find_standing(
    scans: Iterable[ScanTask], rows: Mapping[str, ScanRow], *, overwrite: bool
) -> tuple[dict[str, str], dict[str, ScanRow]]:
    """How scans stand of which there are rows (case -> standing), and the rows of those that are left as they are.

    With `overwrite` none is left, and scans stand as `undone` whose work of hands that costs.
    """
    listed = [scan for scan in scans if scan.case in rows]
    if overwrite:
        return {scan.case: UNDONE for scan in listed if hand_work_of(rows[scan.case], scan)}, {}
    found = {scan.case: _standing_of(rows[scan.case], scan) for scan in listed}
    standing = {case: why for case, (why, _) in found.items() if why}
    studies = {scan.case: scan.study for scan in listed}
    stay = {case: found[case][1] for case, why in standing.items() if why != CORRECTED}
    return standing, {case: replace(row, study=studies[case] or row.study) for case, row in stay.items()}


def _standing_of(row: ScanRow, task: ScanTask) -> tuple[str, ScanRow]:
    """How a scan stands by its row, and the row as it is once its files have been seen (`compare_files`).

    It is left for the work of hands, or `done`; it gets a new row where its mask was `corrected`; empty: it is to be
    done.
    """
    by_hand = hand_work_of(row, task)
    if by_hand or row.status == "failed" or not is_same_file(row.mask, task.mask) or not _is_same_scan(row, task):
        return by_hand, row
    if not task.mask.is_file() or (task.trust and row.trusted_form not in ("", task.trust)):
        return "", row
    return compare_files(row, task.image, task.mask, is_made=task.series is not None)


def is_unlisted(row: ScanRow | None, task: ScanTask) -> bool:
    """Whether a scan that is to be done has a mask of somebody's: its row, if there is one, names no such file."""
    return (row is None or not is_same_file(row.mask, task.mask)) and _is_of_hands(task.mask)


def describe_standing(standing: Mapping[str, str], table: Path, output: Path) -> Iterator[str]:
    """Say of scans (case -> standing) what is worth knowing but that they are done, a sentence for each kind."""
    for kind, note in _NOTES.items():
        cases = [case for case, found in standing.items() if found == kind]
        if cases:
            yield note.format(names=few(cases), rows=plural(len(cases), "row"), table=table, output=output)


def is_same_file(recorded: str, path: Path) -> bool:
    """Whether a path of a row leads to a file, by whatever links; what is no path is no file."""
    try:
        return recorded == str(path) or resolved(Path(recorded)) == resolved(path)
    except ValueError:  # a NUL or half of a surrogate in it
        return False


def _is_same_scan(row: ScanRow, task: ScanTask) -> bool:
    """Whether a row is of the scan that is there now, as far as files' names and headers of a series tell."""
    if row.source != task.key or not is_same_file(row.image, task.image):
        return False
    if task.series is None or row.status == "failed":
        return True
    geometry = task.series.geometry
    return geometry is not None and task.image.is_file() and _has_geometry(row, geometry)


def _is_of_another_output(row: ScanRow) -> bool:
    """Whether liver-mask itself has made the mask, in the folder of an earlier run: it has drawn a picture of it."""
    mask = Path(row.mask)
    return mask.name == f"{row.case}.nii.gz" and (mask.parent / STRIPS / f"{row.case}.png").is_file()


def _has_geometry(row: ScanRow, geometry: Geometry) -> bool:
    """Whether a series has the voxels that it had: slices may have come since."""
    spacing = (row.spacing_z_mm, row.spacing_y_mm, row.spacing_x_mm)
    return (row.shape_z, row.shape_y, row.shape_x) == geometry.shape and all(
        was is not None and abs(was - now) <= GEOMETRY_TOLERANCE_MM
        for was, now in zip(spacing, geometry.spacing_mm, strict=True)
    )


def _is_of_hands(mask: Path) -> bool:
    """Whether there is a mask that is neither empty nor what a run that was cut off has left.

    What cannot be read is kept, too: liver-mask's own masks appear whole.
    """
    if not mask.is_file():
        return False
    try:
        array = read_volume(mask, AS_ITK).array
    except TumorgenError:
        return True
    return bool((array > 0).any()) and not is_noted_as_unlisted(mask, array)
