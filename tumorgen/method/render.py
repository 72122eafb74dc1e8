"""Rendering: a scan and a plan become the changed boxes of image and label (Eq. 3 to 8). No random state, no files.

Tumours are rendered in the order of the plan, each on what the ones before it left. Arrays are (z, y, x).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging.boxes import EMPTY, Box, box_of, hull, overlap, part_of, window
from ..imaging.geometry import Geometry, Index, Triple
from ..labels import TUMOR
from .mass_effect import Pull, pulled_index
from .operators import Floats, spread, trilinear
from .patch import Block, Outcome, Patch
from .plan import Plan, Tumor
from .scan import Scan
from .shape import Axes, Grid, extent_mm, grid_around, level, squared_distance
from .texture import texture

MOST_POINTS = 2**27  # of a tumour's fine grid, some GB: a cube of 35 cm at 0.7 mm; no row may ask for more
MOST_WEIGHTS = 2**19  # of a blur along one axis: 1000 voxels and a sigma of 65 voxels
_TRUNCATE = 3.0


def render(scan: Scan, plan: Plan) -> Patch:
    """Render a plan into its scan.

    Raises
    ------
    TumorgenError
        The plan belongs to another scan, or a tumour's centre lies outside it.
    """
    plan.check_fits(scan.geometry, scan.image_sha256, scan.mask_sha256)
    blocks: list[Block] = []
    outcomes = []
    for number, tumor in enumerate(plan.tumors):
        try:
            block, outcome = _render_tumor(scan, blocks, tumor, plan)
        except TumorgenError as error:
            raise TumorgenError(f"{plan.sample}, tumour {number}: {error}") from error
        blocks.append(block)
        outcomes.append(outcome)
    return Patch(tuple(blocks), tuple(outcomes))


def _render_tumor(scan: Scan, blocks: Sequence[Block], tumor: Tumor, plan: Plan) -> tuple[Block, Outcome]:
    """Render one tumour on the scan and the blocks before it."""
    body, pull = Body.of(tumor, scan.geometry), Pull.of(tumor, scan.geometry)
    box = hull(hull(body.box, pull.box), _center_box(tumor, scan.geometry))
    here, around = window(box, body.box), window(box, pull.box)
    before, label_before = _current(scan, blocks, box)

    label = label_before.copy()
    label[around] = pull.nearest(label_before[around])
    liver = label[here] > 0
    alpha, rim = body.alpha * liver, body.rim * liver
    tissue = before.astype(np.float32)
    visible = np.ones(tissue.shape, bool)
    visible[here] = alpha < 1
    pull.move(tissue[around], plan.sigma_p_hu, visible[around])
    tissue[here] = blend(tissue[here], alpha, body.texture)  # Eq. 4
    tissue[here] += np.float32(tumor.capsule_hu) * rim  # Eq. 8, with the blurred edge e'
    image = to_type(tissue, before.dtype)
    if not _survives_float32(before.dtype):
        changed = np.zeros(tissue.shape, bool)
        changed[around] = pull.moving
        changed[here] |= (alpha > 0) | (rim > 0)
        image = np.where(changed, image, before)

    occupied = np.zeros(tissue.shape, bool)
    occupied[here] = body.occupied & liver
    label[occupied] = TUMOR
    touched = (image != before) | (label != label_before) | occupied
    block, occupied = trimmed(Block(box, image, label), touched, occupied)
    return block, _measure(scan, tumor, block, occupied, body.voxels, plan.mu_p_hu)


def _survives_float32(dtype: np.dtype[Any]) -> bool:
    """Whether every voxel that nothing is done to comes back from float32 as it was, bit for bit: not so a -0.0."""
    return dtype.kind in "iu" and dtype.itemsize <= 2


def _center_box(tumor: Tumor, geometry: Geometry) -> Box:
    """The voxel that the centre lies in, so that no block is empty."""
    index = [
        min(max(round(c), 0), n - 1) for c, n in zip(geometry.to_index(tumor.center_mm), geometry.shape, strict=True)
    ]
    z, y, x = (slice(i, i + 1) for i in index)
    return z, y, x


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A tumour by itself, whatever it lies in, on the voxels of the scan that it may cover.

    Attributes
    ----------
    box
        These voxels.
    occupied
        Shape t': voxels of which at least half is tumour.
    alpha
        Soft edge t'', in [0, 1].
    rim
        Blurred edge e', in [0, 1].
    texture
        Texture T'', HU; zero in places where alpha is.
    voxels
        Number of voxels of t', those beyond the scan's edge included.
    """

    box: Box
    occupied: NDArray[np.bool_]
    alpha: Floats
    rim: Floats
    texture: Floats
    voxels: int

    @classmethod
    def of(cls, tumor: Tumor, geometry: Geometry) -> Body:
        """Shape, edge and texture of a tumour (Eq. 3, 6, 7).

        Raises
        ------
        TumorgenError
            The centre lies outside the image.
        """
        bare = tumor_grid(tumor, geometry)
        shape, within, grid = with_blurs(*deformed_shape(tumor, bare), tumor, bare)
        soft, within = soft_edge(shape, within, tumor, grid)
        rim = capsule_rim(soft, within, tumor, grid)
        occupied, hu = grid.mostly(shape), texture_under(soft, within, tumor, grid)
        box, inside = clip(grid, geometry.shape)
        return cls(
            box,
            occupied[inside],
            grid.voxel_mean(soft)[inside],
            grid.voxel_mean(rim)[inside],
            hu[inside],
            int(np.count_nonzero(occupied)),
        )


def texture_under(soft: Floats, within: Box, tumor: Tumor, grid: Grid) -> Floats:
    """Texture T'' (Eq. 3) in the voxels of the box of t'' on the fine grid; zero in the others."""
    laid = np.zeros(grid.shape, np.float32)
    if soft[within].any():
        box = grid.holding(within)
        laid[box] = texture(tumor, grid.part(box))
    return laid


def trimmed(block: Block, touched: NDArray[np.bool_], here: NDArray[np.bool_]) -> tuple[Block, NDArray[np.bool_]]:
    """A block and a mask in it, without the margins that the tumour did not touch."""
    window = box_of(touched)
    return Block(part_of(block.box, window), block.image[window], block.label[window]), here[window]


def tumor_grid(tumor: Tumor, geometry: Geometry) -> Grid:
    """The voxels that a tumour may occupy: its shape, swollen by the mass effect.

    Raises
    ------
    TumorgenError
        The centre lies outside the image, or the tumour reaches further than any liver.
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
    return _bounded(
        grid_around(center, (lows[0], lows[1], lows[2]), (highs[0], highs[1], highs[2]), geometry.spacing_mm)
    )


def _bounded(grid: Grid, sigma_mm: float = 0.0) -> Grid:
    """The grid, if it can be rendered with blurs of a width: a row may ask for anything."""
    points = math.prod(grid.shape) * math.prod(grid.fine)
    weights = max(n * k * 8 * sigma_mm / s for n, k, s in zip(grid.shape, grid.fine, grid.fine_spacing_mm, strict=True))
    excess = max(points / MOST_POINTS, weights / MOST_WEIGHTS)
    if excess > 1:
        size = " x ".join(f"{n * s:.0f}" for n, s in zip(grid.shape, grid.spacing_mm, strict=True))
        raise TumorgenError(
            f"it reaches over {size} mm (z, y, x), {excess:.1f} times what is rendered; lower its"
            " half-axes, sigma_e_mm, gamma_max_mm or blurs"
        )
    return grid


def with_blurs(shape: NDArray[np.bool_], box: Box, tumor: Tumor, grid: Grid) -> tuple[NDArray[np.bool_], Box, Grid]:
    """A box of a grid's fine parts on no more voxels than it and its blurs cover, its box there, and these voxels."""
    blurs = tumor.sigma_c_mm, tumor.sigma_d_mm if tumor.capsule_hu else 0.0
    margins = [sum(each) for each in zip(*(radii(sigma, grid.fine_spacing_mm) for sigma in blurs), strict=True)]
    voxels = grid.holding(box, margins)
    part = _bounded(grid.part(voxels), max(*blurs, tumor.sigma_b_mm))
    widened = np.zeros([n * k for n, k in zip(part.shape, part.fine, strict=True)], bool)
    k, j, i = (
        slice(b.start - w.start * n, b.stop - w.start * n) for b, w, n in zip(box, voxels, grid.fine, strict=True)
    )
    widened[k, j, i] = shape
    return widened, (k, j, i), part


def clip(grid: Grid, shape: Index) -> tuple[Box, Box]:
    """The part of a grid inside an image: as a box of the image, and as a window of the grid; or nothing."""
    starts = [max(0, a) for a in grid.start]
    stops = [min(n, a + m) for n, a, m in zip(shape, grid.start, grid.shape, strict=True)]
    if any(a >= b for a, b in zip(starts, stops, strict=True)):
        return EMPTY, EMPTY
    z, y, x = (slice(a, b) for a, b in zip(starts, stops, strict=True))
    k, j, i = (slice(a - o, b - o) for a, b, o in zip(starts, stops, grid.start, strict=True))
    return (z, y, x), (k, j, i)


def _current(scan: Scan, blocks: Sequence[Block], box: Box) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Copies of image and label in a box as the blocks before have left them."""
    image, label = scan.hu[box].copy(), scan.inside[box].astype(np.uint8)
    for block in blocks:
        if windows := overlap(box, block.box):
            image[windows[0]] = block.image[windows[1]]
            label[windows[0]] = block.label[windows[1]]
    return image, label


def deformed_shape(tumor: Tumor, grid: Grid) -> tuple[NDArray[np.bool_], Box]:
    """Deformed shape t', where the mass effect has moved it: what is in its box of the fine grid, and that box.

    The implicit function is read where Eq. 5 pulls from; that is interpolated only where it can make a difference, near
    the surface.
    """
    axes = grid.axes(fine=True)
    q = level(tumor, axes)
    inside = q <= 1
    if not (tumor.mass_effect_percent and tumor.gamma_max_mm):
        return one_piece(inside)
    doubtful = np.flatnonzero(near_surface(tumor, axes, q))
    source = pulled_index(tumor, axes, np.unravel_index(doubtful, q.shape), grid.fine_spacing_mm)
    inside.reshape(-1)[doubtful] = trilinear(q, source) <= 1
    return one_piece(inside)


def near_surface(tumor: Tumor, axes: Axes, q: Floats) -> NDArray[np.bool_]:
    """Points that the mass effect might move across the surface q = 1: it moves them as far as they are from it."""
    gamma: Floats = np.sqrt(squared_distance(axes))
    moved = 1 - gamma / np.float32(tumor.gamma_max_mm)  # becomes gamma - gamma'
    np.maximum(moved, 0, out=moved)
    moved *= moved
    moved *= gamma
    # q rises by 1 / a per mm in an ellipsoid, and by several times that where strong deformation folds it.
    moved *= np.float32(tumor.mass_effect_percent / 100 * 4 / min(tumor.half_axes_mm))
    return np.abs(q - 1) < moved


def one_piece(shape: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Box]:
    """Largest connected part of a shape, and its box: strong deformation tears bits off, and one row is one tumour."""
    box = box_of(shape)
    shape = np.ascontiguousarray(shape[box])
    parts, count = cc3d.connected_components(shape, connectivity=26, return_N=True)
    if count < 2:
        return shape, box
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    inner = box_of(largest)
    return largest[inner], part_of(box, inner)


def soft_edge(shape: NDArray[np.bool_], within: Box, tumor: Tumor, grid: Grid) -> tuple[Floats, Box]:
    """Blur of the shape with sigma_c, t'' in [0, 1], on the fine grid, and the box that it is in."""
    soft = shape.astype(np.float32)
    return soft, blur(soft, within, tumor.sigma_c_mm, grid.fine_spacing_mm)


def capsule_rim(soft: Floats, within: Box, tumor: Tumor, grid: Grid) -> Floats:
    """Blurred edge e' on the fine grid: 1 where t'' lies in [lb, ub] (Eq. 6), blurred with sigma_d (Eq. 7)."""
    rim = np.zeros_like(soft)
    if tumor.capsule_hu:
        rim[within] = (soft[within] >= tumor.capsule_low) & (soft[within] <= tumor.capsule_high)
        blur(rim, within, tumor.sigma_d_mm, grid.fine_spacing_mm)
    return rim


def blur(values: Floats, within: Box, sigma_mm: float, spacing_mm: Triple) -> Box:
    """Gaussian blur of a width in mm, in place, of values in a box; return the box after it. Zero changes nothing."""
    if not sigma_mm:
        return within
    return spread(values, within, [sigma_mm / s for s in spacing_mm], radii(sigma_mm, spacing_mm))


def radii(sigma_mm: float, spacing_mm: Triple) -> list[int]:
    """How far a blur of a width in mm reaches along each axis, in voxels of a spacing."""
    return [int(_TRUNCATE * sigma_mm / s + 0.5) for s in spacing_mm]


def blend(f: Floats, alpha: Floats, t: Floats) -> Floats:
    """Blend tissue f with texture T'' by t'': (1 - t'') f + t'' T'' (Eq. 4)."""
    return (1 - alpha) * f + alpha * t


def to_type(values: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values in the image's data type: integers are rounded and kept within their range."""
    if dtype.kind not in "iu":
        return values.astype(dtype)
    info, rounded = np.iinfo(dtype), np.rint(values)
    return rounded.clip(info.min, info.max, out=rounded).astype(dtype)


def _measure(scan: Scan, tumor: Tumor, block: Block, here: NDArray[np.bool_], unclipped: int, mu_p: float) -> Outcome:
    """Measure a rendered tumour in its block."""
    center = [round(c) for c in scan.geometry.to_index(tumor.center_mm)]
    count = int(np.count_nonzero(here))
    volume = count * scan.geometry.voxel_volume_mm3
    inside = block.image[here].astype(np.float64)
    mean = float(inside.sum()) / count if count else float("nan")
    inside -= mean
    inside *= inside
    windows = overlap(block.box, scan.roi)
    vessels = np.count_nonzero(here[windows[0]] & scan.vessels[windows[1]]) if windows else 0
    z, y, x = block.box
    return Outcome(
        center_z_voxel=center[0],
        center_y_voxel=center[1],
        center_x_voxel=center[2],
        volume_mm3=round(volume, 3),
        equivalent_radius_mm=round((3 * volume / (4 * np.pi)) ** (1 / 3), 4),
        mean_hu=round(mean, 3),
        sd_hu=round(math.sqrt(inside.sum() / count), 3) if count else float("nan"),
        contrast_hu=round(mean - mu_p, 3),
        vessel_overlap=round(int(vessels) / count, 4) if count else 0.0,
        clipped_fraction=round(1 - count / unclipped, 4) if unclipped else 0.0,
        box_z0=z.start,
        box_z1=z.stop,
        box_y0=y.start,
        box_y1=y.stop,
        box_x0=x.start,
        box_x1=x.stop,
    )
