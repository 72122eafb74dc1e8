"""One scan's liver: its mask, found or read, and the row that says what it looks like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ..imaging import (
    ASSUMED,
    Volume,
    fingerprint_ct,
    read_ct,
    read_mask,
    refuse_misfit,
    says_place,
    stamp_of_volume,
    write_volume,
)
from ..method import digest_voxels
from ..tables import ScanRow, join_stamps, stamps_of
from .cleaning import clean_mask
from .findings import Findings, Mask, check_liver
from .seen import digest_of_mask
from .unlisted import note_unlisted

Segment = Callable[[Volume], Mask]


def mask_scan(case: str, image: Path, mask_file: Path, segment: Segment, trust: str = "") -> ScanRow:
    """Find the liver in one scan, write its mask, which is the last step, and say what it looks like.

    The mask is noted as one that no row lists (`unlisted`). `trust` says which of two places holds, `sform` or `qform`,
    where those in the scan's header contradict each other.

    Raises
    ------
    TumorgenError
        The scan is no CT that can be read, or the mask cannot be written.
    """
    seen = stamp_of_volume(image)
    ct = read_ct(image, trust)
    cleaned = clean_mask(segment(ct), ct.geometry.spacing_mm)
    findings = check_liver(cleaned.mask, ct, cleaned.dropped, cleaned.cut_ml)
    row = _row_of(ct, cleaned.mask, findings, case=case, image=image, mask_file=mask_file, trust=trust)
    note_unlisted(mask_file, cleaned.mask)
    write_volume(Volume(cleaned.mask, ct.geometry), mask_file)
    return replace(row, files_seen=join_stamps(seen, stamp_of_volume(mask_file)))


def list_mask(case: str, image: Path, mask_file: Path, trust: str = "") -> ScanRow:
    """Say what the liver looks like in a mask that is there; `trust` is that of `mask_scan`.

    Raises
    ------
    TumorgenError
        The scan is no CT that can be read, or the file is no mask (`read_mask`), or it does not fit the scan.
    """
    seen = stamps_of(image, mask_file)
    ct, mask = read_ct(image, trust), read_mask(mask_file, trust=trust)
    refuse_misfit(mask_file, mask.geometry, image, ct.geometry, "resample it, or delete it and run liver-mask again")
    findings = check_liver(mask.array, ct)
    row = _row_of(ct, mask.array, findings, case=case, image=image, mask_file=mask_file, trust=trust)
    return replace(row, files_seen=seen)


def _row_of(
    ct: Volume, mask: Mask, findings: Findings, *, case: str, image: Path, mask_file: Path, trust: str
) -> ScanRow:
    """The row of a scan, with what was found in it."""
    flags = {**findings.flags, **({} if says_place(image) else {"no_place": ASSUMED})}
    shape, spacing = ct.geometry.shape, ct.geometry.spacing_mm
    return ScanRow(
        case=case,
        image=str(image),
        mask=str(mask_file),
        shape_z=shape[0],
        shape_y=shape[1],
        shape_x=shape[2],
        spacing_z_mm=spacing[0],
        spacing_y_mm=spacing[1],
        spacing_x_mm=spacing[2],
        liver_ml=round(findings.liver_ml, 1),
        hu_mean=_rounded(findings.hu_mean),
        hu_sd=_rounded(findings.hu_sd),
        status="failed" if "empty" in flags else "check" if flags else "ok",
        flags=";".join(flags),
        reason="; ".join(flags.values()),
        trusted_form=trust,
        source_fingerprint=fingerprint_ct(ct.array),
        mask_fingerprint=digest_of_mask(mask),
        source_mask_sha256=digest_voxels(mask, ct.geometry),
    )


def add_flags(row: ScanRow, more: Mapping[str, str] | None) -> ScanRow:
    """A row that says what is doubtful about its series, too."""
    if not more:
        return row
    flags = ";".join([row.flags, *more] if row.flags else more)
    reason = "; ".join([row.reason, *more.values()] if row.reason else more.values())
    return replace(row, status="check", flags=flags, reason=reason)


def keep_verdict(row: ScanRow, was: ScanRow) -> ScanRow:
    """A row of a corrected mask, with what somebody has judged of the row before it.

    That shows where its status is not what its flags make it: `ok` holds for these flags, not for others, and `check`
    was for a reason that no mask mends.
    """
    if was.status == "ok" and was.flags and set(row.flags.split(";")) <= {"", *was.flags.split(";")}:
        return replace(row, status=was.status)
    if was.status == "check" and not (was.flags or row.flags):
        return replace(row, status=was.status, reason=was.reason)
    return row


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
