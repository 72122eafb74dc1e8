"""Whether the files of a row are those that it was made for: told by their sizes and times, else by their voxels.

Times tell no more than that a file may have changed: archives bring old ones, and copying makes all files new. So files
whose size or time is another one are read, and the row says then how they were seen.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import AS_ITK, Volume, fingerprint_ct, read_ct, read_volume
from ..method import digest_voxels
from ..tables import ScanRow, stamps_of

DONE, CORRECTED = "done", "corrected"
_ROUNDING_ML = 0.1  # of volumes in the table, and of spacings in headers


def digest_of_mask(mask: NDArray[np.bool_]) -> str:
    """SHA-256 of which voxels (z, y, x) a mask has."""
    return hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()


def compare_files(row: ScanRow, image: Path, mask: Path, *, is_made: bool = False) -> tuple[str, ScanRow]:
    """How a row stands to the files that it names, and the row as it is once they have been seen.

    It is `done` where they are those that it was made for, and `corrected` where there is another mask, also one that
    cannot be read. It is empty where a mask is to be made: the image is another scan, or there is no liver in the mask.
    An image that `is_made` of a series is not compared.
    """
    known_image, _, known_mask = row.files_seen.partition(" ")
    now = stamps_of(image, mask)
    image_now, _, mask_now = now.partition(" ")
    if (known_image, known_mask) == (image_now, mask_now):
        return DONE, row
    digest = row.mask_fingerprint
    if known_mask != mask_now:
        try:
            there = read_volume(mask, row.trusted_form or AS_ITK)
        except TumorgenError:
            return CORRECTED, row
        if not (there.array > 0).any():
            return "", row
        digest = digest_of_mask(there.array > 0)
        if _is_other_mask(row, there, digest):
            return CORRECTED, row
    is_known = is_made or known_image == image_now or (not known_image and not _is_suspect(row, image, mask))
    sha256 = row.source_mask_sha256 if known_image == image_now else ""  # it has the image's geometry in it
    if not is_known:
        sha256 = _digest_in(row, image, mask)
        if not sha256:
            return "", row
    return DONE, replace(row, mask_fingerprint=digest, source_mask_sha256=sha256, files_seen=now)


def _is_other_mask(row: ScanRow, mask: Volume, digest: str) -> bool:
    """Whether a mask is another than the row's; rows of earlier versions say no more of theirs than its volume."""
    if row.mask_fingerprint:
        return digest != row.mask_fingerprint
    ml = float((mask.array > 0).sum()) * mask.geometry.voxel_volume_mm3 / 1000
    return row.liver_ml is not None and abs(ml - row.liver_ml) > _ROUNDING_ML


def _is_suspect(row: ScanRow, image: Path, mask: Path) -> bool:
    """Whether an image of which a row of an earlier version does not say how it was seen has to be read."""
    if row.source_fingerprint:
        return True
    try:
        return image.stat().st_mtime_ns > mask.stat().st_mtime_ns
    except OSError:  # what reads it says so
        return True


def _digest_in(row: ScanRow, image: Path, mask: Path) -> str:
    """The mask's `source_mask_sha256`; empty where the image is not the scan for which it was made.

    That is told by the image's voxels, or else by its grid.
    """
    place = row.trusted_form or AS_ITK
    try:
        ct, there = read_ct(image, place), read_volume(mask, place)
    except TumorgenError:
        return ""
    is_other = ct.geometry.difference(there.geometry) or row.source_fingerprint not in ("", fingerprint_ct(ct.array))
    return "" if is_other else digest_voxels(there.array > 0, ct.geometry)
