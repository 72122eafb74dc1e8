"""A tumour by itself, without the tissue around it: shape, soft edge, capsule and texture (Eq. 3, 6, 7).

Arrays are (z, y, x).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import EMPTY, Box, Geometry, Index, Triple, bounding_box, label_components, overlap, part_of, whole_box
from .annotation import annotated, is_annotated, label_width_mm
from .coins import coins_hu
from .contrast import added_hu
from .interpolation import trilinear
from .mass_effect import pulled_index
from .operators import Floats, blur_into_zeros
from .plan import Tumor
from .settings import PUBLISHED, SCAN
from .shape import Axes, Grid, extent_mm, grid_around, level, squared_distance
from .texture import texture_hu

MOST_POINTS = 2**27  # of a tumour's fine grid, some GB: a cube of 35 cm at 0.7 mm; no row may ask for more
MOST_WEIGHTS = 2**19  # of a blur along one axis: 1000 voxels and a sigma of 65 voxels
VOXEL_SIGMA = 0.45  # voxels: a Gaussian as wide as a voxel at half its height has 0.425, and a sampled one loses some
TRUNCATE = 3.0  # standard deviations at which a blur is cut off


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A tumour by itself, on the voxels of the scan that it may cover.

    Attributes
    ----------
    box
        These voxels, as a box of the scan; the arrays have its shape.
    label
        Voxels that are labelled tumour: shape t', those of which at least half is tumour, or an annotator's.
    alpha
        Soft edge t'', in [0, 1].
    rim
        Blurred edge e', in [0, 1].
    texture
        Texture T'' in HU or, of a texture model that adds to the scan, what it adds; zero where alpha is zero.
    voxels
        Number of labelled voxels, including those beyond the scan's edge.
    """

    box: Box
    label: NDArray[np.bool_]
    alpha: Floats
    rim: Floats
    texture: Floats
    voxels: int

    @classmethod
    def of(cls, tumor: Tumor, geometry: Geometry, mu_p: float) -> Body:
        """Shape, edge and texture of a tumour (Eq. 3, 6, 7); what it adds is relative to mu_p, HU.

        Raises
        ------
        TumorgenError
            The centre lies outside the image, or the tumour is too large to be rendered.
        """
        bare = tumor_grid(tumor, geometry)
        shape, inside, grid = widened_for_blurs(*deformed_shape(tumor, bare), tumor, bare)
        soft, within = soft_edge(shape, inside, tumor, grid)
        rim = capsule_rim(soft, within, tumor, grid)
        occupied, alpha = grid.mostly(shape), grid.voxel_mean(soft)
        if tumor.texture_model == SCAN:
            hu = added_in_box(occupied, alpha, grid.holding(within), tumor, grid, mu_p)
        else:
            hu = texture_in_box(soft, within, tumor, grid, mu_p)
        label = annotators_label(shape, inside, soft, tumor, grid) if is_annotated(tumor) else occupied
        box, seen = clip_to_image(grid, geometry.shape)
        return cls(box, label[seen], alpha[seen], grid.voxel_mean(rim)[seen], hu[seen], int(np.count_nonzero(label)))


def tumor_grid(tumor: Tumor, geometry: Geometry) -> Grid:
    """The voxels that a tumour may occupy: its shape, swollen by the mass effect.

    Raises
    ------
    TumorgenError
        The centre lies outside the image, or the tumour is too large to be rendered.
    """
    center = geometry.to_index(tumor.center_mm)
    if not all(-0.5 <= c <= n - 0.5 for c, n in zip(center, geometry.shape, strict=True)):
        raise TumorgenError(f"centre {tumor.center_mm} mm (x, y, z, LPS) lies outside the scan")
    low, high, _ = extent_mm(tumor)
    gamma_max = tumor.gamma_max_mm if tumor.mass_effect_percent else 0.0
    swell = 1 / (1 - tumor.mass_effect_percent / 100)

    def reach(edge: float) -> float:
        return min(max(edge, gamma_max), edge * swell)

    # A shape that deformation has pulled off its centre: the box begins or ends there.
    lows = [-reach(max(0.0, -edge)) for edge in low]
    highs = [reach(max(0.0, edge)) for edge in high]
    grid = grid_around(center, (lows[0], lows[1], lows[2]), (highs[0], highs[1], highs[2]), geometry.spacing_mm)
    _refuse_oversize(grid)
    return grid


def _refuse_oversize(grid: Grid, sigma_mm: float = 0.0) -> None:
    """Refuse a grid too large to be rendered with blurs of a width: a row may ask for anything."""
    points = math.prod(grid.shape) * math.prod(grid.fine)
    weights = max(n * k * 8 * sigma_mm / s for n, k, s in zip(grid.shape, grid.fine, grid.fine_spacing_mm, strict=True))
    excess = max(points / MOST_POINTS, weights / MOST_WEIGHTS)
    if excess > 1:
        size = " x ".join(f"{n * s:.0f}" for n, s in zip(grid.shape, grid.spacing_mm, strict=True))
        raise TumorgenError(
            f"it reaches over {size} mm (z, y, x), {excess:.1f} times what is rendered; lower its"
            " half-axes, sigma_e_mm, gamma_max_mm or blurs"
        )


def deformed_shape(tumor: Tumor, grid: Grid) -> tuple[NDArray[np.bool_], Box]:
    """Deformed shape t' as the mass effect has moved it, in its box of the fine grid, and this box.

    The implicit function is read where Eq. 5 pulls from. It is interpolated only near the surface, where that can make
    a difference.
    """
    axes = grid.axes(fine=True)
    q = level(tumor, axes)
    inside = q <= 1
    if not (tumor.mass_effect_percent and tumor.gamma_max_mm):
        return largest_piece(inside)
    doubtful = np.flatnonzero(near_surface(tumor, axes, q))
    source = pulled_index(tumor, axes, np.unravel_index(doubtful, q.shape), grid.fine_spacing_mm)
    inside.reshape(-1)[doubtful] = trilinear(q, source) <= 1
    return largest_piece(inside)


def occupied_voxels(tumor: Tumor, geometry: Geometry) -> NDArray[np.bool_]:
    """Voxels of which at least half is tumour, on a grid around it that may reach beyond the scan.

    Raises
    ------
    TumorgenError
        The centre lies outside the image, or the tumour is too large to be rendered.
    """
    grid = tumor_grid(tumor, geometry)
    shape, box = deformed_shape(tumor, grid)
    whole = np.zeros([n * k for n, k in zip(grid.shape, grid.fine, strict=True)], bool)
    whole[box] = shape
    return grid.mostly(whole)


def near_surface(tumor: Tumor, axes: Axes, q: Floats) -> NDArray[np.bool_]:
    """Points of the fine grid that are so near the surface q = 1 that the mass effect might move them across it."""
    gamma: Floats = np.sqrt(squared_distance(axes))
    moved = 1 - gamma / np.float32(tumor.gamma_max_mm)  # becomes gamma - gamma'
    np.maximum(moved, 0, out=moved)
    moved *= moved
    moved *= gamma
    # q rises by 1 / a per mm in an ellipsoid, and by several times that where strong deformation folds it.
    moved *= np.float32(tumor.mass_effect_percent / 100 * 4 / min(tumor.half_axes_mm))
    return np.abs(q - 1) < moved


def largest_piece(shape: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Box]:
    """Largest connected part of a shape, and its box: strong deformation tears bits off, but a row is one tumour."""
    box = bounding_box(shape)
    shape = np.ascontiguousarray(shape[box])
    parts = label_components(shape)
    if parts.max(initial=0) < 2:
        return shape, box
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    inner = bounding_box(largest)
    return largest[inner], part_of(box, inner)


def in_one_piece(label: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Largest connected part of a label, as a mask of the same shape."""
    whole = np.zeros_like(label)
    piece, box = largest_piece(label)
    whole[box] = piece
    return whole


def widened_for_blurs(
    shape: NDArray[np.bool_], box: Box, tumor: Tumor, grid: Grid
) -> tuple[NDArray[np.bool_], Box, Grid]:
    """Put a shape on a grid of only those voxels that it and its blurs cover.

    Parameters
    ----------
    shape, box
        The shape in a box of the grid's fine parts.
    tumor
        Says how far the blurs reach.
    grid
        The grid; blurs may reach beyond it.

    Returns
    -------
    shape, box, grid
        The shape on the whole of the new grid's fine parts, its box there, and the new grid.

    Raises
    ------
    TumorgenError
        The tumour is too large to be rendered.
    """
    rim = 3 * [tumor.sigma_d_mm if tumor.capsule_hu else 0.0]
    edge = edge_widths_mm(tumor, grid)
    label = 3 * [label_width_mm(tumor, grid, edge) if is_annotated(tumor) else 0.0]
    reach = [blur_radii(sigmas, grid.fine_spacing_mm) for sigmas in (edge, rim, label)]
    margins = [max(e + r, each) for e, r, each in zip(*reach, strict=True)]
    voxels = grid.holding(box, margins)
    part = grid.part(voxels)
    _refuse_oversize(part, max(*edge, *label, *rim, tumor.sigma_b_mm))
    widened = np.zeros([n * k for n, k in zip(part.shape, part.fine, strict=True)], bool)
    k, j, i = (
        slice(b.start - w.start * n, b.stop - w.start * n) for b, w, n in zip(box, voxels, grid.fine, strict=True)
    )
    widened[k, j, i] = shape
    return widened, (k, j, i), part


def soft_edge(shape: NDArray[np.bool_], within: Box, tumor: Tumor, grid: Grid) -> tuple[Floats, Box]:
    """Soft edge t'' in [0, 1] on the fine grid, the shape blurred with sigma_c, and the box outside which it is 0."""
    soft = shape.astype(np.float32)
    return soft, blur_box(soft, within, edge_widths_mm(tumor, grid), grid.fine_spacing_mm)


def edge_widths_mm(tumor: Tumor, grid: Grid) -> list[float]:
    """Width of the edge's blur along (z, y, x): sigma_c; on the scan's own noise no less than its point spread.

    A scan resolves no more than its voxels: a point is at least as wide as one (full width at half maximum). The shape
    lies on fine parts that are all or nothing, which no scanner shows; the mean over a voxel's parts does a part.
    """
    if tumor.texture_model != SCAN or not tumor.sigma_c_mm:
        return 3 * [tumor.sigma_c_mm]
    least = [
        spacing * math.sqrt(VOXEL_SIGMA**2 - 1 / 12 + 1 / (6 * parts**2))
        for spacing, parts in zip(grid.spacing_mm, grid.fine, strict=True)
    ]
    return [max(tumor.sigma_c_mm, width) for width in least]


def capsule_rim(soft: Floats, within: Box, tumor: Tumor, grid: Grid) -> Floats:
    """Blurred edge e' on the fine grid: 1 where t'' lies in [lb, ub] (Eq. 6), blurred with sigma_d (Eq. 7).

    Where there is no t'' there is no edge, though lb be 0.
    """
    rim = np.zeros_like(soft)
    if tumor.capsule_hu:
        inside = soft[within]
        rim[within] = (inside >= tumor.capsule_low) & (inside <= tumor.capsule_high) & (inside > 0)
        blur_box(rim, within, 3 * [tumor.sigma_d_mm], grid.fine_spacing_mm)
    return rim


def blur_box(values: Floats, within: Box, sigmas_mm: Sequence[float], spacing_mm: Triple) -> Box:
    """Blur values that are zero outside a box, in place, with a Gaussian of these widths; return the box after it."""
    if not any(sigmas_mm):
        return within
    sigmas = [sigma / s for sigma, s in zip(sigmas_mm, spacing_mm, strict=True)]
    return blur_into_zeros(values, within, sigmas, blur_radii(sigmas_mm, spacing_mm))


def blur_radii(sigmas_mm: Sequence[float], spacing_mm: Triple) -> list[int]:
    """How far a blur of these widths in mm reaches along each axis, in voxels of this spacing."""
    return [int(TRUNCATE * sigma / s + 0.5) for sigma, s in zip(sigmas_mm, spacing_mm, strict=True)]


def texture_in_box(soft: Floats, within: Box, tumor: Tumor, grid: Grid, mu_p: float) -> Floats:
    """Texture T'' (Eq. 3), or what the texture of coins adds, in the voxels that hold the box of t''; else zero."""
    laid = np.zeros(grid.shape, np.float32)
    if soft[within].any():
        box = grid.holding(within)
        part = grid.part(box)
        laid[box] = coins_hu(tumor, part, mu_p) if tumor.texture_model == PUBLISHED else texture_hu(tumor, part)
    return laid


def added_in_box(occupied: NDArray[np.bool_], alpha: Floats, box: Box, tumor: Tumor, grid: Grid, mu_p: float) -> Floats:
    """What the tumour adds to the scan in a box of voxels, HU; zero in the others."""
    laid = np.zeros(grid.shape, np.float32)
    laid[box] = added_hu(tumor, grid.part(box), occupied[box], alpha[box], mu_p)
    return laid


def annotators_label(
    shape: NDArray[np.bool_], inside: Box, soft: Floats, tumor: Tumor, grid: Grid
) -> NDArray[np.bool_]:
    """Voxels that an annotator labels, in one piece, of a shape in a box of the fine grid and its t'' there."""
    edge = edge_widths_mm(tumor, grid)
    width = label_width_mm(tumor, grid, edge)
    if edge != 3 * [width]:
        soft = shape.astype(np.float32)
        blur_box(soft, inside, 3 * [width], grid.fine_spacing_mm)
    return in_one_piece(grid.mostly(annotated(soft, width, tumor, grid)))


def clip_to_image(grid: Grid, shape: Index) -> tuple[Box, Box]:
    """The part of a grid inside an image, as a box of the image and as one of the grid; or two empty boxes."""
    k, j, i = (slice(a, a + n) for a, n in zip(grid.start, grid.shape, strict=True))
    return overlap(whole_box(shape), (k, j, i)) or (EMPTY, EMPTY)
