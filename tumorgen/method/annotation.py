"""The label as an annotator draws it: a little inside the tumour's edge, by an unsteady hand.

The half-contrast surface is moved inwards, and departs from there by a smooth noise. Arrays are (z, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .compiled import ndtr
from .contrast import smooth_noise
from .operators import Floats
from .plan import Tumor
from .shape import Grid

GRAIN_MM = 1.8  # width (sigma) of the grain of the hand's departures
_RESOLVED = 0.5  # fine parts: the least width of a blur that tells depths in them
_HAND = 0x9E3779B97F4A7C15  # parts the hand's noise from the shape's, which has the same seed


def is_annotated(tumor: Tumor) -> bool:
    """Whether the label is an annotator's and not the exact one."""
    return bool(tumor.label_inset_mm or tumor.label_jitter_mm)


def label_width_mm(tumor: Tumor, grid: Grid, edge_mm: Sequence[float]) -> float:
    """Width of the blur that the label is read from: the edge's in plane, or more where that is too narrow.

    A blur tells depths up to about twice its width, and no more than the grid resolves; of a hard edge it tells none.
    """
    resolved = _RESOLVED * max(grid.fine_spacing_mm)
    return max(*edge_mm[1:], tumor.label_inset_mm / 2 + tumor.label_jitter_mm, resolved)


def annotated(soft: Floats, width_mm: float, tumor: Tumor, grid: Grid) -> NDArray[np.bool_]:
    """Parts of voxels that an annotator labels; the hand is as steady within a voxel.

    Parameters
    ----------
    soft
        The shape blurred, in [0, 1], on the grid's fine parts.
    width_mm
        Width (sigma) of that blur, the same along all axes.
    tumor
        Says how far inside the label ends, and how unsteady it is.
    grid
        The voxels.
    """
    depth_mm = np.full(grid.shape, tumor.label_inset_mm)
    if tumor.label_jitter_mm:
        depth_mm += tumor.label_jitter_mm * smooth_noise(tumor.shape_seed ^ _HAND, GRAIN_MM, grid)
    # Across an even edge the blurred shape is Phi of the depth.
    least = ndtr(depth_mm / width_mm)
    for axis, parts in enumerate(grid.fine):
        least = least.repeat(parts, axis)
    labelled: NDArray[np.bool_] = soft >= least
    return labelled
