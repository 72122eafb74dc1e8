"""What a tumour adds to the scan's own noise: contrast, a smooth heterogeneity, and a darker middle.

The scan keeps its noise; f' = f + t'' (contrast + heterogeneity). Arrays are (z, y, x).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..imaging import Triple
from .operators import ONE, Floats, Operator, apply_separable
from .plan import Tumor, rounded
from .shape import Grid
from .texture import upscaling, white_noise

CORE_MM = 2.0  # how far inside the outline the core begins, in plane, or half a radius where that is less
_LEAST_MEAN = 0.1  # of t'' over the core: what is smaller than the scan resolves fades, as it does in a scanner
_TOUCH_MM = 1e-3  # a voxel just as deep as the core counts, up to the rounding of float32 distances
_NO_WIDTH = 1e-6  # mm


def added_hu(tumor: Tumor, grid: Grid, occupied: NDArray[np.bool_], alpha: Floats, mu_p: float) -> Floats:
    """What a tumour adds where t'' is 1, in HU.

    The mean of what is added over the core, t'' included, is mu_t - mu_p, whatever the blur, the heterogeneity and the
    darker middle: that is the contrast which is measured in the core of a rendered tumour.

    Parameters
    ----------
    tumor
        The tumour.
    grid
        Voxels that are asked for.
    occupied, alpha
        Shape t' and soft edge t'' on these voxels.
    mu_p
        Mean of the parenchyma, HU.
    """
    added = _variation_hu(tumor, grid)
    core = core_of(occupied, tumor.radius_mm, grid.spacing_mm)
    if not core.any():
        core = alpha >= alpha.max(initial=0)  # a speck that fills half of no voxel
    weight = alpha[core].astype(np.float64)
    contrast = tumor.mu_t_hu - mu_p
    missing = contrast * weight.size - float(np.dot(weight, added[core]))
    added += np.float32(rounded(missing / max(float(weight.sum()), _LEAST_MEAN * weight.size)))
    return added


def core_of(occupied: NDArray[np.bool_], radius_mm: float, spacing_mm: Triple) -> NDArray[np.bool_]:
    """The core of a shape: what lies deeper than 2 mm, or r / 2 if that is less, below its outline in plane.

    Only slices that hold at least half of its largest area count; where nothing is as deep, all of the shape in them.
    Around the array there is none of it.
    """
    areas = np.count_nonzero(occupied, axis=(1, 2))
    counted = occupied & (2 * areas >= areas.max(initial=0))[:, None, None]
    _, y, x = spacing_mm
    # A voxel's centre lies half a voxel from where the next one begins, and distances are to the centre of that one.
    core = _eroded(counted, min(CORE_MM, radius_mm / 2) + min(y, x) / 2 - _TOUCH_MM, (y, x))
    return core if core.any() else counted


def _eroded(mask: NDArray[np.bool_], depth_mm: float, spacing_mm: tuple[float, float]) -> NDArray[np.bool_]:
    """Voxels around which, in plane, all within a distance lie in a mask too.

    An erosion by a disc, row by row of it: for so short distances that is quicker than to measure them.
    """
    y, x = spacing_mm
    up = math.ceil(depth_mm / y) - 1
    widths = [math.ceil(math.sqrt(depth_mm**2 - (row * y) ** 2) / x) - 1 for row in range(up + 1)]
    size_z, size_y, size_x = mask.shape
    padded = np.zeros((size_z, size_y + 2 * up, size_x + 2 * widths[0]), bool)
    padded[:, up : up + size_y, widths[0] : widths[0] + size_x] = mask
    eroded = mask.copy()
    narrow, width = padded[:, :, widths[0] : widths[0] + size_x].copy(), 0  # eroded along rows by so much
    for row in range(up, -1, -1):
        for step in range(width + 1, widths[row] + 1):
            narrow &= padded[:, :, widths[0] - step : widths[0] - step + size_x]
            narrow &= padded[:, :, widths[0] + step : widths[0] + step + size_x]
        width = widths[row]
        eroded &= narrow[:, up - row : up - row + size_y]
        eroded &= narrow[:, up + row : up + row + size_y]
    return eroded


def _variation_hu(tumor: Tumor, grid: Grid) -> Floats:
    """Heterogeneity and the darker middle, HU, on all voxels of the grid."""
    varied = np.zeros(grid.shape, np.float32)
    if tumor.heterogeneity_hu:
        varied += smooth_noise(tumor.texture_seed, tumor.grain_mm, grid) * np.float32(tumor.heterogeneity_hu)
    if tumor.necrosis_hu:
        varied += _middle(tumor, grid) * np.float32(tumor.necrosis_hu)
    return varied


def smooth_noise(seed: int, grain_mm: float, grid: Grid) -> Floats:
    """A smooth field of mean 0 and SD 1 whose grain has a width in mm, the same whatever the scan's edge cuts off."""
    voxels = [range(-below, size - below) for below, size in zip(grid.below, grid.shape, strict=True)]
    filters = [_grain_filter(v, grain_mm / s) for v, s in zip(voxels, grid.spacing_mm, strict=True)]
    return apply_separable([f for f, _ in filters], white_noise(seed, [nodes for _, nodes in filters]))


def _grain_filter(voxels: range, grain: float) -> tuple[Operator, range]:
    """Operator from nodes a grain apart, and not closer than voxels, that makes noise of this width (voxels).

    A Gaussian leaves 0.7 % of what is as fine as nodes of its own width can be.
    """
    return upscaling(voxels, max(1.0, round(grain, 2)), grain)


def _middle(tumor: Tumor, grid: Grid) -> Floats:
    """A Gaussian hill of height 1 around the centre, as wide as the necrosis extends."""
    in_plane = math.sqrt(tumor.half_axis_y_mm * tumor.half_axis_x_mm)
    widths = [tumor.necrosis_extent * half for half in (tumor.half_axis_z_mm, in_plane, in_plane)]
    z, y, x = (_hill(axis, width) for axis, width in zip(grid.axes(fine=False), widths, strict=True))
    return z[:, None, None] * y[:, None] * x


def _hill(axis: Floats, width_mm: float) -> Floats:
    """A Gaussian along an axis, in whole 2^-24ths, so that it is the same on every machine."""
    width = max(width_mm, _NO_WIDTH)
    heights = [round(math.exp(-0.5 * (float(a) / width) ** 2) * ONE) / ONE for a in axis]
    return np.array(heights, np.float32)
