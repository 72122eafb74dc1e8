"""How well two masks agree: Dice similarity coefficient and normalised surface distance.

The surface is that of DeepMind's `surface-distance` (Nikolov et al., arXiv 1809.04430): its elements lie where eight
voxels meet that are not all alike, each with the area that marching cubes give it, in mm2. The areas are that
library's. Its distances are not used: they fail on numpy 2 where a mask is empty, they call functions that scipy is
about to remove, and their two distance transforms in float64 take four times as long on a liver. To know whether an
element lies within a tolerance it is enough to search that far.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from surface_distance import lookup_tables

from ..errors import TumorgenError
from ..imaging import Triple, bounding_box, shape_of

TOLERANCE_MM = 2.0
_ROUNDING = 1e-6  # of the tolerance: what lies at it counts as within, also where a header's float32 rounds the spacing

Mask = NDArray[np.bool_]


def dsc(reference: Mask, prediction: Mask) -> float:
    """Dice similarity coefficient of two masks (z, y, x): 2 |A and B| / (|A| + |B|).

    nan where both are empty, since there is nothing to agree on; 0 where one is.
    """
    total = int(np.count_nonzero(reference)) + int(np.count_nonzero(prediction))
    return 2 * int(np.count_nonzero(reference & prediction)) / total if total else math.nan


def nsd(reference: Mask, prediction: Mask, spacing_mm: Triple, tolerance_mm: float = TOLERANCE_MM) -> float:
    """Normalised surface distance: the share of both surfaces' area that lies within a tolerance of the other.

    Masks and spacing are (z, y, x). nan where both masks are empty, 0 where one is. A mask that reaches the edge of the
    image has a surface there, as in the library.

    Raises
    ------
    TumorgenError
        The tolerance is negative or not finite.
    """
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise TumorgenError(f"a tolerance of {tolerance_mm:g} mm is not a distance; give 0 or more")
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
    """Which of the eight voxels around each corner lie in a mask, one bit each; flat, of the mask's shape + 1."""
    padded = np.pad(mask.view(np.uint8), 1)
    depth, height, width = (n + 1 for n in mask.shape)
    codes = np.zeros((depth, height, width), np.uint8)
    for bit, (z, y, x) in zip(range(7, -1, -1), product((0, 1), repeat=3), strict=True):  # the library's order
        codes |= padded[z : z + depth, y : y + height, x : x + width] << np.uint8(bit)
    return codes.reshape(-1)


def _is_surface(codes: NDArray[np.uint8]) -> Mask:
    """Corners whose voxels lie neither all inside nor all outside: codes but 0 and 255, neighbours modulo 256."""
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
