"""How well two masks agree: Dice similarity coefficient and normalised surface distance.

The surface is that of DeepMind's `surface-distance` (Nikolov et al., arXiv 1809.04430): its elements lie where eight
voxels meet that are not all alike, each with the area that marching cubes give it, in mm2. The areas are that
library's. Its distances are not used: they fail on numpy 2 where a mask is empty, call what scipy is about to remove,
and cost two distance transforms in float64, four times the time on a liver; to know whether an element lies within a
tolerance it is enough to look that far.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from surface_distance import lookup_tables

from ..errors import TumorgenError
from ..imaging.boxes import bounding_box, shape_of
from ..imaging.geometry import Triple

TOLERANCE_MM = 2.0
_ROUNDING = 1e-6  # of the tolerance: headers store spacing as float32, and what lies at the tolerance is within it

Mask = NDArray[np.bool_]


def dsc(reference: Mask, prediction: Mask) -> float:
    """Dice similarity coefficient of two masks (z, y, x): 2 |A and B| / (|A| + |B|).

    nan where both are empty, for there is nothing to agree on; 0 where one is.
    """
    total = int(np.count_nonzero(reference)) + int(np.count_nonzero(prediction))
    return 2 * int(np.count_nonzero(reference & prediction)) / total if total else math.nan


def nsd(reference: Mask, prediction: Mask, spacing_mm: Triple, tolerance_mm: float = TOLERANCE_MM) -> float:
    """Normalised surface distance: the share of both surfaces' area that lies within a tolerance of the other.

    Masks are (z, y, x), as is the spacing. nan where both are empty, 0 where one is. A mask ends at the edge of the
    image with a surface, as in the library.

    Raises
    ------
    TumorgenError
        The tolerance is no length.
    """
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise TumorgenError(f"a tolerance of {tolerance_mm:g} mm is no length; give 0 or more")
    filled = bool(reference.any()), bool(prediction.any())
    if not all(filled):
        return 0.0 if any(filled) else math.nan
    box = bounding_box(reference | prediction)
    shape = shape_of(box)
    areas = lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm)
    codes = _codes(reference[box]), _codes(prediction[box])
    near = total = 0.0
    for mine, other in (codes, codes[::-1]):
        elements = np.flatnonzero(_is_surface(mine))
        area = areas[mine[elements]]
        close = _is_surface(other[elements])  # on the other surface
        close[~close] = _within(elements[~close], np.flatnonzero(_is_surface(other)), shape, spacing_mm, tolerance_mm)
        near += float(area[close].sum())
        total += float(area.sum())
    return near / total


def _codes(mask: Mask) -> NDArray[np.uint8]:
    """Which of the eight voxels around each corner are in a mask, a bit for each; flat, of the mask's shape + 1."""
    padded = np.pad(mask.view(np.uint8), 1)
    depth, height, width = (n + 1 for n in mask.shape)
    codes = np.zeros((depth, height, width), np.uint8)
    for bit, (z, y, x) in zip(range(7, -1, -1), product((0, 1), repeat=3), strict=True):  # the library's order
        codes |= padded[z : z + depth, y : y + height, x : x + width] << np.uint8(bit)
    return codes.reshape(-1)


def _is_surface(codes: NDArray[np.uint8]) -> Mask:
    """Corners whose voxels are neither all in nor all out: codes 0 and 255 are next to each other, modulo 256."""
    return codes + np.uint8(1) > 1


def _within(
    elements: NDArray[np.intp],
    others: NDArray[np.intp],
    shape: tuple[int, int, int],
    spacing_mm: Triple,
    tolerance_mm: float,
) -> Mask:
    """Which elements of one surface have one of the other within a tolerance; both are flat indices of corners."""
    z, y, x = shape
    corners = z + 1, y + 1, x + 1
    points, targets = (np.stack(np.unravel_index(flat, corners), -1) * spacing_mm for flat in (elements, others))
    tree = cKDTree(targets, compact_nodes=False, balanced_tree=False)
    distance, _ = tree.query(points, distance_upper_bound=tolerance_mm * (1 + _ROUNDING))
    return np.isfinite(distance)
