"""The outline of a liver, moved to where the scan itself says that the liver ends.

A network that works at 4 mm knows where the liver is, and its outline is a few millimetres off. The scan knows better:
fat, lung and bone beside the liver have other HU. What lies near the outline is decided anew from both, the distance
from the network's outline and how much likelier a voxel's HU is in the liver than around it.
"""

from __future__ import annotations

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..imaging import Box, Triple, Volume, bounding_box, grow, largest_component
from .cleaning import fill_holes

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

CORE_MM = 4.0  # what lies as deep as this is liver without doubt
AROUND_MM = (3.0, 12.0)  # from the outline, of what tells how the surroundings look
TRUST_MM = 2.5  # away from the outline a voxel is e times likelier to be what the network says
MOST_LIKELY = 2.0  # logarithm of what a voxel's HU count for at most: vessels and tumours are liver, too
REACH_MM = TRUST_MM * MOST_LIKELY  # what lies farther from the outline stays what it is
NOISE_MM = 0.8  # standard deviation of the filter that HU pass before they are compared
PATCH_MM = 1.5  # standard deviation of the filter over what neighbouring voxels speak for
_RANGE_HU = (-200.0, 400.0)
_BIN_HU = 5.0


def fit_outline(mask: Mask, ct: Volume) -> Mask:
    """Move the outline of a coarse mask to where the scan's HU change.

    Parameters
    ----------
    mask
        The liver (z, y, x). Of several pieces the largest is fitted, the others stay.
    ct
        The scan in HU, on the same grid.

    Returns
    -------
    Mask
        The mask without holes, its outline moved by at most `REACH_MM`; the mask itself where nothing of it is as deep
        as `CORE_MM`.
    """
    if not mask.any():
        return mask
    spacing = ct.geometry.spacing_mm
    margin = [int(np.ceil(AROUND_MM[1] / mm)) for mm in spacing]
    box = grow(bounding_box(mask), margin, ct.geometry.shape)
    largest = largest_component(mask[box])
    depth_mm = signed_depth_mm(fill_holes(largest), spacing)
    if depth_mm.max() <= CORE_MM:
        return mask
    fitted = mask.copy()
    fitted[box] &= ~largest
    fitted[box] |= _decide(depth_mm, ct, box)
    return fitted


def signed_depth_mm(mask: Mask, spacing_mm: Triple) -> Floats:
    """Distance in mm from the outline of a mask (z, y, x): above 0 inside, below 0 outside."""
    depth: Floats = edt.edt(mask.astype(np.uint8) + np.uint8(1), anisotropy=spacing_mm, parallel=1)
    np.negative(depth, out=depth, where=~mask)
    return depth


def _decide(depth_mm: Floats, ct: Volume, box: Box) -> Mask:
    """Liver or not, in a box of the scan."""
    spacing = ct.geometry.spacing_mm
    bins = _bins(_smoothed(np.clip(ct.array[box], *_RANGE_HU).astype(np.float32), NOISE_MM, spacing))
    speaks_for = _smoothed(_likelihood(bins, depth_mm)[bins], PATCH_MM, spacing)
    speaks_for += depth_mm / np.float32(TRUST_MM)
    liver: Mask = speaks_for > 0
    return liver


def _likelihood(bins: NDArray[np.uint8], depth_mm: Floats) -> Floats:
    """How much likelier a bin of HU is in the liver's core than around the liver: logarithm of the ratio."""
    nearest, farthest = AROUND_MM
    inside = _density(bins[depth_mm > CORE_MM])
    outside = _density(bins[(depth_mm < -nearest) & (depth_mm > -farthest)])
    return np.clip(np.log(inside / outside), -MOST_LIKELY, MOST_LIKELY).astype(np.float32)


def _smoothed(values: Floats, sigma_mm: float, spacing_mm: Triple) -> Floats:
    smooth: Floats = ndimage.gaussian_filter(values, [sigma_mm / mm for mm in spacing_mm], truncate=3)
    return smooth


def _bins(hu: Floats) -> NDArray[np.uint8]:
    return ((hu - np.float32(_RANGE_HU[0])) / np.float32(_BIN_HU)).astype(np.uint8)


def _density(bins: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How often each bin of HU occurs, smoothed; none is impossible."""
    low, high = _RANGE_HU
    count = np.bincount(bins, minlength=int((high - low) / _BIN_HU) + 1).astype(np.float64)
    smooth: NDArray[np.float64] = ndimage.gaussian_filter1d(count, 2)
    smooth += 1e-3 * smooth.mean() + 1e-9
    smooth /= smooth.sum()
    return smooth
