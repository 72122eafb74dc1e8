"""Walls: ribs, spine and the chest wall on them, which a growing tumour does not push.

Bone is what is bright outside the liver, in pieces larger than noise makes; every second millimetre is looked at.
What is next to it stays, too; from there on the mass effect fades in, so that nothing is torn. Arrays are (z, y, x).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..imaging import Box, without_specks
from .distances import distance_inside
from .operators import Floats, Operator, apply_separable, linear_shares
from .scan import Scan

STAYS_MM, FREE_MM = 2.0, 10.0  # from bone: up to where all stays, and from where on all moves as without it
LEAST_BONE_MM3 = 500.0  # the part of a rib near a tiny tumour is larger, a clump of bright noise is not
LOOK_MM = 2.0  # ribs are three times as thick
_STEPS = 64  # few enough that the last bits of a distance decide nothing


def freedom_beside_bone(scan: Scan, box: Box, bone_hu: float) -> Floats | None:
    """How freely the voxels of a box move beside bone: from 0, not at all, to 1.

    Parameters
    ----------
    scan
        The healthy scan.
    box
        Voxels of it.
    bone_hu
        What is brighter, outside the liver, is bone.

    Returns
    -------
    freedom
        Float32, of the box's shape: 0 up to 2 mm from bone, then rising evenly to 1 at 10 mm; None where all is free.
    """
    shape, spacing = scan.geometry.shape, scan.geometry.spacing_mm
    steps = [max(1, int(LOOK_MM / s)) for s in spacing]
    looks = [_looks(b, n, k, s) for b, n, k, s in zip(box, shape, steps, spacing, strict=True)]
    z, y, x = (slice(some[0], some[-1] + 1, k) for some, k in zip(looks, steps, strict=True))
    bright = (scan.hu[z, y, x] > bone_hu) & (scan.inside[z, y, x] == 0)
    least = math.ceil(LEAST_BONE_MM3 / scan.geometry.voxel_volume_mm3 / math.prod(steps))
    if np.count_nonzero(bright) < least:
        return None
    bone = without_specks(bright, least)
    if not bone.any():
        return None
    distance = distance_inside(~bone, [k * s for k, s in zip(steps, spacing, strict=True)])
    parts = np.rint((distance - STAYS_MM) * (_STEPS / (FREE_MM - STAYS_MM))).clip(0, _STEPS)
    between = [_between(b, some) for b, some in zip(box, looks, strict=True)]
    return apply_separable(between, (parts / _STEPS).astype(np.float32))


def _looks(voxels: slice, size: int, step: int, spacing_mm: float) -> range:
    """Every `step`-th voxel of an axis, as far around some as bone matters to them."""
    far = math.ceil(FREE_MM / spacing_mm)
    first, last = max(0, voxels.start - far) // step, min(size - 1, voxels.stop - 1 + far)
    return range(first * step, last + 1, step)


def _between(voxels: slice, looks: Sequence[int]) -> Operator:
    """Operator (voxels, looks) of linear interpolation; beyond the last look its value."""
    places = (np.arange(voxels.start, voxels.stop) - looks[0]) / (looks[1] - looks[0] if len(looks) > 1 else 1)
    columns, shares = linear_shares(places, len(looks))
    starts = np.arange(0, columns.size + 1, 2, dtype=np.int32)
    return Operator(shares.ravel(), columns.ravel(), starts, len(looks))
