"""The fingerprint of a CT: the same for every file of it, so that two names for one scan are found out."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOWEST_HU, HIGHEST_HU = -1024, 3071  # what twelve bits hold; programs cut padding and metal off at different values


def fingerprint_ct(hu: NDArray[Any]) -> str:
    """SHA-256 of what a CT's voxels (z, y, x) say in HU, whatever file they come from.

    It does not depend on the data type, on where the scan lies and how large its voxels are, nor on which axis runs
    where: hashed are the sums of the planes along each axis, from whichever end gives the lower numbers. A change of
    1 HU in a single voxel changes three of these sums. Values are rounded to float32, then to whole HU from -1024 to
    3071, which joins copies whose rescaling has left fractions. A resampled, cropped or smoothed copy is another CT.
    """
    profiles = sorted(min(profile, profile[::-1]) for profile in _plane_sums(hu))
    return hashlib.sha256(repr(sorted(profiles, key=len)).encode()).hexdigest()


def _plane_sums(hu: NDArray[Any]) -> tuple[list[int], list[int], list[int]]:
    """Sums of the planes along z, y and x: exact, since float64 holds whole numbers up to 2^53."""
    depth, height, width = hu.shape
    along_z, along_y, along_x = np.zeros(depth), np.zeros(height), np.zeros(width)
    for number in range(depth):  # a plane at a time: a second array as large as the scan would cost more than the sums
        plane = np.clip(np.rint(hu[number].astype(np.float32)), LOWEST_HU, HIGHEST_HU).astype(np.float64)
        rows = plane @ np.ones(width)
        along_z[number] = rows.sum()
        along_y += rows
        along_x += np.ones(height) @ plane
    z, y, x = (sums.astype(np.int64).tolist() for sums in (along_z, along_y, along_x))
    return z, y, x
