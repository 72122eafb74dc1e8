"""Scans that samples are made of: pairs of a CT and a liver mask, from folders, the table of scans or a manifest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import Failure, TumorgenError
from ..fields import refuse_twins
from ..imaging import AS_ITK, EVERYTHING, MASK, LabelChoice, find_images, find_masks, read_mask, refuse_other_name
from ..method import Scan, Vessels, digest_voxels, load_scan
from ..wording import few
from .manifest import Record
from .scan_paths import given_path
from .scans import ScanRow


@dataclass(frozen=True, slots=True)
class Source:
    """A scan's files, what the labels of its mask are, and which place of two is trusted (`imaging.places`).

    `fingerprint` is that of the scan for which the mask was made, and `mask_sha256` the checksum of the liver that a
    row was drawn with, or that the table of scans lists, where these are known; `seen` says how the files were when it
    listed them (`stamps_of`), and `study` of which DICOM study the scan is.
    """

    case: str
    image: Path
    mask: Path
    labels: LabelChoice = MASK
    trust: str = ""
    fingerprint: str = ""
    mask_sha256: str = ""
    seen: str = ""
    study: str = ""

    @property
    def trusted_form(self) -> str:
        """The place that is trusted as tables record it."""
        return "" if self.trust == AS_ITK else self.trust

    def refuse_other_scan(self, fingerprint: str) -> None:
        """Refuse an image that is not the scan for which the mask was made: another file has its name now.

        Raises
        ------
        TumorgenError
            The fingerprint of the image (`fingerprint_ct`) is another one.
        """
        if self.fingerprint not in ("", fingerprint):
            raise TumorgenError(
                f"{self.image}: is another scan than the one that {self.mask} was made for; delete that mask and run"
                " liver-mask again"
            )

    def load(self, vessels: Vessels) -> Scan:
        """Read and prepare the scan.

        Raises
        ------
        TumorgenError
            As `load_scan` has it.
        """
        scan = load_scan(self.image, self.mask, vessels, self.case, self.labels, self.trust)
        if not self.labels.unchecked or self.mask_sha256 in ("", scan.mask_sha256):
            return scan
        old = replace(self.labels, traces=True)  # of which reading the row is, its checksum alone knows
        if digest_voxels(read_mask(self.mask, old, self.trust).array, scan.geometry) != self.mask_sha256:
            return scan
        return load_scan(self.image, self.mask, vessels, self.case, old, self.trust)


@dataclass(frozen=True, slots=True)
class Reading:
    """How the files of recorded scans are read, where it is not as they were.

    Attributes
    ----------
    liver
        Labels of the masks that are liver; none: as recorded.
    trust
        `sform` or `qform`: the place that is taken where a header has two; empty: as recorded.
    """

    liver: tuple[str, ...] = ()
    trust: str = ""


def refuse_same_case(sources: Collection[Source], there: Iterable[str] = ()) -> None:
    """Refuse two scans whose samples would have the same names, capitals apart: a manifest may not hold these.

    `there` are cases that the dataset has already; of these a scan may have the very name.

    Raises
    ------
    TumorgenError
        It says which case it is.
    """
    refuse_twins("case", (source.case.lower() for source in sources), "rename one of the scans")
    known = {case.lower(): case for case in there}
    for source in sources:
        other = known.get(source.case.lower(), source.case)
        if other != source.case:
            raise TumorgenError(
                f"case {source.case!r} is in the dataset as {other!r}: names must differ in more than capitals; rename"
                " the scan"
            )


def match_sources(
    images: Path, masks: Path, labels: LabelChoice = MASK, trust: str = ""
) -> tuple[list[Source], list[Failure]]:
    """Scans of two folders (or files), matched by case name (`find_masks`); images without a mask are failures.

    Raises
    ------
    TumorgenError
        A folder cannot be used, or no image has a mask.
    """
    image_files, mask_files = _find_files(images, masks)
    sources = [
        Source(case, given_path(path), given_path(mask_files[case]), labels, trust)
        for case, path in image_files.items()
        if case in mask_files
    ]
    if not sources:
        raise TumorgenError(
            f"{masks}: no mask has the case name of an image in {images} ({', '.join(image_files)[:80]})"
        )
    missing = [
        Failure(case, f"{path}: no mask of that name in {masks}", about=(str(path),))
        for case, path in image_files.items()
        if case not in mask_files
    ]
    return sources, missing


def _find_files(images: Path, masks: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and masks by case name; a single image has a single mask, whatever that is called.

    Raises
    ------
    TumorgenError
        A folder cannot be used, or an image and a mask have one case name and other names.
    """
    image_files = find_images(images)
    if images.is_file():
        return image_files, find_masks(masks, next(iter(image_files)))
    mask_files = find_masks(masks)
    for case in image_files.keys() & mask_files.keys():
        refuse_other_name(case, image_files[case], mask_files[case])
    return image_files, mask_files


def sources_of_scans(
    rows: Iterable[ScanRow], labels: LabelChoice = MASK, trust: str = "", *, skip_check: bool = False
) -> tuple[list[Source], list[Failure]]:
    """Scans of the table that liver-mask wrote; those without a mask are failures, those marked failed are left out.

    The place that is trusted is the given one, else that of the row. With `skip_check`, scans that are marked `check`
    are neither.

    Raises
    ------
    TumorgenError
        No scan is left, or none is where its row says.
    """
    sources, failures, skipped = [], [], 0
    for row in rows:
        if row.status == "failed":
            failures.append(_why_not(row))
        elif skip_check and row.status == "check":
            skipped += 1
        else:
            place, fingerprint = trust or row.trusted_form, row.source_fingerprint
            is_listed = labels == MASK and place == row.trusted_form  # its checksum is of this reading of the files
            sha256, seen = (row.source_mask_sha256, row.files_seen) if is_listed else ("", "")
            files = Path(row.image), Path(row.mask)
            sources.append(Source(row.case, *files, labels, place, fingerprint, sha256, seen, row.study))
    if not sources:
        raise TumorgenError(_why_none(failures, skipped))
    _refuse_all_missing(sources)
    return sources, failures


def _why_none(failures: Sequence[Failure], skipped: int) -> str:
    """Why no scan of a table is left, and what to do; `skipped` are those marked check."""
    marked = sum(failure.left_out for failure in failures)
    if skipped and not failures:
        return "--skip-check leaves out every scan; look at them, and correct their masks or the table"
    if skipped:
        counts = {"marked failed": marked, "failed in liver-mask": len(failures) - marked}
        others = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return (
            f"no scan is left: {skipped} marked check and left out (--skip-check), {others}; look at them, and correct"
            " their masks or the table"
        )
    if marked:
        return "the table marks failed every scan that has a mask; set status to ok of those to use"
    return "no scan has a liver mask; run `tumorgen liver-mask in/ out/`, or give --images and --masks"


def _why_not(row: ScanRow) -> Failure:
    """Why no sample is of a scan: liver-mask failed, or somebody has marked it so, which leaves it out on purpose."""
    if row.is_excluded:
        return Failure(row.case, "marked failed in the table of scans, though it has a mask", left_out=True)
    remedy = "to leave it out for good, delete its row from the table of scans"
    reason = f"liver-mask failed: {row.reason}; no samples of it; {remedy}"
    return Failure(row.case, reason, about=(row.image, Path(row.image).name))


def _refuse_all_missing(sources: Collection[Source]) -> None:
    """Refuse scans none of which is where a table says: they were moved, or the table was."""
    if sources and all(_is_missing(source.image) for source in sources):
        shown = few([str(source.image) for source in sources])
        raise TumorgenError(
            f"no scan is where the table says ({shown}); say where they are now with --images and --masks"
        )


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):  # no permission, a NUL or half of a surrogate in it: reading it says so
        return False
    return False


def find_sources(
    records: Sequence[Record], images: Path | None, masks: Path | None, reading: Reading | None = None
) -> dict[str, Source]:
    """The scan of each case: from two folders where they are given, else as the manifest says.

    What labels of a mask are liver, and which place is trusted, is as `reading` says, else as the manifest does: of a
    table of version 0.1.0, whichever place ITK takes.

    Raises
    ------
    TumorgenError
        Only one folder is given, a case has no scan, or no scan is where the records say.
    """
    if (images is None) != (masks is None):
        raise TumorgenError("--images and --masks go together")
    reading = reading or Reading()
    image_files, mask_files = _find_files(images, masks) if images and masks else ({}, {})
    sources = {}
    for record in records:
        case, known = record.plan.case, record.files or record.sources
        labels = known.labels if known else EVERYTHING
        labels = LabelChoice(reading.liver, labels.real_tumors) if reading.liver else labels
        place = reading.trust or (known and known.trusted_form) or AS_ITK
        if images and masks:
            if case not in image_files or case not in mask_files:
                raise TumorgenError(f"case {case!r}: no image in {images}, or no mask in {masks}, has that name")
            files = given_path(image_files[case]), given_path(mask_files[case])
        elif known:
            files = Path(known.source_image), Path(known.source_mask)
        else:
            raise TumorgenError(f"{record.plan.sample}: its row names no scan; give --images and --masks")
        sources[case] = Source(case, *files, labels, place, mask_sha256=record.plan.source_mask_sha256)
    _refuse_all_missing(sources.values())
    return sources
