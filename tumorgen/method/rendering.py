"""Rendering: a scan and a plan become the changed boxes of image and label (Eq. 3 to 8). No random state, no files.

Tumours are rendered in the order of the plan, each on what the ones before it left. Arrays are (z, y, x).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import Box, Geometry, bounding_box, grow, hull, overlap, part_of, paste, window
from ..labels import TUMOR
from .body import Body, in_one_piece
from .clearing import clear_foreign
from .mass_effect import Pull
from .operators import Floats, blur_mirrored
from .patch import Block, Outcome, Patch
from .plan import Plan, Tumor
from .scan import Scan
from .settings import PAPER, PUBLISHED, SCAN
from .walls import freedom_beside_bone

SURFACE_MM = 1.5  # width (sigma) of the blur that smooths the liver's edge under a tumour
_SURFACE_REACH_MM = 3.0  # of that blur; shares below a quarter and above three count as none and all
_STEEPER = 2.0  # than that blur leaves it is the edge of what is liver: about as steep as scanners show it


def render(scan: Scan, plan: Plan) -> Patch:
    """Render a plan into its scan: a pure function, which leaves the scan as it is.

    Parameters
    ----------
    scan
        The scan that the plan was drawn for.
    plan
        What is rendered; tumours later in the plan lie on earlier ones.

    Returns
    -------
    Patch
        The changed boxes of image and label, and what came out of each tumour.

    Raises
    ------
    TumorgenError
        The plan belongs to another scan, or a tumour's centre lies outside it, or a tumour is too large to be rendered.
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
    """Render one tumour on what the blocks before it have left of the scan."""
    body, pull = Body.of(tumor, scan.geometry, plan.mu_p_hu), _pull_of(scan, tumor)
    box = hull(hull(body.box, pull.box), _center_box(tumor, scan.geometry))
    here, around = window(box, body.box), window(box, pull.box)
    surroundings = grow(box, _surface_radii(scan.geometry), scan.geometry.shape)
    blocks = [block for block in blocks if overlap(surroundings, block.box)]
    before, label_before = _current_hu(scan, blocks, box), _current_label(scan, blocks, box)

    label = label_before.copy()
    label[around] = pull.moved_label(label_before[around])
    liver = liver_under(scan, blocks, tumor, body.box, label[here])
    inside = steepened(liver)
    alpha, rim = body.alpha * inside, body.rim * inside
    tissue = before.astype(np.float32)
    visible = np.ones(tissue.shape, bool)
    if tumor.texture_model != PUBLISHED:
        visible[here] = alpha < 1
    pull.move_hu(tissue[around], plan.sigma_p_hu, visible[around])
    if tumor.texture_model == SCAN:
        make_way(scan, body.box, tissue[here], alpha, liver, disturbed=bool(blocks) or bool(pull.moving.any()))
    if tumor.texture_model == PAPER:
        tissue[here] = blend(tissue[here], alpha, body.texture)  # Eq. 4
    else:
        tissue[here] += alpha * body.texture
    tissue[here] += np.float32(tumor.capsule_hu) * rim  # Eq. 8, with the blurred edge e'
    image = cast_to_type(tissue, before.dtype)
    if not _survives_float32(before.dtype):
        changed = np.zeros(tissue.shape, bool)
        changed[around] = pull.moving
        changed[here] |= (alpha > 0) | (rim > 0)
        image = np.where(changed, image, before)

    occupied = np.zeros(tissue.shape, bool)
    occupied[here] = cut_to_liver(body.label, liver, tumor)
    label[occupied] = TUMOR
    touched = (image != before) | (label != label_before) | occupied
    block, occupied = trim_block(Block(box, image, label), touched, occupied)
    return block, _measure_outcome(scan, tumor, block, occupied, body.voxels, plan.mu_p_hu)


def count_tumor_voxels(scan: Scan, patch: Patch) -> int:
    """Voxels that are tumour in a sample's label and are none in its scan; one that two tumours share counts once."""
    blocks, more = patch.blocks, 0
    for number, block in enumerate(blocks):
        before = _current_label(scan, blocks[:number], block.box)
        more += int(np.count_nonzero(block.label == TUMOR)) - int(np.count_nonzero(before == TUMOR))
    return more


def _pull_of(scan: Scan, tumor: Tumor) -> Pull:
    """Pull map of a tumour's mass effect in its scan, whose bones stay where they are if the row says so."""
    pull = Pull.of(tumor, scan.geometry)
    if not (tumor.bone_hu and pull.moving.any()):
        return pull
    return pull.held_by(freedom_beside_bone(scan, pull.box, tumor.bone_hu))


def _center_box(tumor: Tumor, geometry: Geometry) -> Box:
    """The voxel that the centre lies in, so that no block is empty."""
    index = [
        min(max(round(c), 0), n - 1) for c, n in zip(geometry.to_index(tumor.center_mm), geometry.shape, strict=True)
    ]
    z, y, x = (slice(i, i + 1) for i in index)
    return z, y, x


def _current_hu(scan: Scan, blocks: Sequence[Block], box: Box) -> NDArray[Any]:
    """Copy of the image in a box, as the blocks before have left it."""
    image = scan.hu[box].copy()
    for block in blocks:
        paste(image, box, block.image, block.box)
    return image


def _current_label(scan: Scan, blocks: Sequence[Block], box: Box) -> NDArray[np.uint8]:
    """Copy of the label in a box, as the blocks before have left it."""
    label = scan.inside[box].astype(np.uint8)
    for block in blocks:
        paste(label, box, block.label, block.box)
    return label


def liver_under(scan: Scan, blocks: Sequence[Block], tumor: Tumor, box: Box, label: NDArray[np.uint8]) -> NDArray[Any]:
    """How much of each voxel under a tumour is liver: all or nothing or, on the scan's own noise, a smooth share.

    A mask's edge is a staircase, and neither the edge of a tumour nor that of its label is to follow that. Where the
    mass effect moves the liver's edge, it stays as sharp as it is.
    """
    whole: NDArray[np.bool_] = label > 0
    if tumor.texture_model != SCAN or tumor.mass_effect_percent:
        return whole
    spacing = scan.geometry.spacing_mm
    sigmas, radii = [SURFACE_MM / s for s in spacing], _surface_radii(scan.geometry)
    around = grow(box, radii, scan.geometry.shape)
    inside = _current_label(scan, blocks, around) > 0
    if inside.all():
        return whole
    return blur_mirrored(inside.astype(np.float32), sigmas, radii)[window(around, box)]


def _surface_radii(geometry: Geometry) -> list[int]:
    """How far the smoothing of the liver's edge reaches, in voxels (z, y, x)."""
    return [math.ceil(_SURFACE_REACH_MM / s) for s in geometry.spacing_mm]


def cut_to_liver(label: NDArray[np.bool_], liver: NDArray[Any], tumor: Tumor) -> NDArray[np.bool_]:
    """A tumour's label where the liver is; with jitter, the largest piece of what is left."""
    inside: NDArray[np.bool_] = label & (liver >= 0.5)
    return in_one_piece(inside) if tumor.label_jitter_mm and inside.any() else inside


def steepened(liver: NDArray[Any]) -> NDArray[Any]:
    """Shares of liver with a steeper edge in the same place, so that what is well outside does not change."""
    if liver.dtype == bool:
        return liver
    share: Floats = np.clip(np.float32(_STEEPER) * (liver - np.float32(0.5)) + np.float32(0.5), 0, 1)
    return share


def blend(f: Floats, alpha: Floats, t: Floats) -> Floats:
    """Blend tissue f with texture T'' by t'': (1 - t'') f + t'' T'' (Eq. 4)."""
    return (1 - alpha) * f + alpha * t


def make_way(scan: Scan, box: Box, tissue: Floats, alpha: Floats, liver: NDArray[Any], *, disturbed: bool) -> None:
    """Make tissue, in place, what a tumour is added to: the scan as far as t'' says, less what is foreign there.

    So what earlier tumours have added, and what the mass effect has moved, gives way, as in Eq. 4.

    Parameters
    ----------
    scan, box
        The scan, and the voxels that the other arrays cover.
    tissue
        What has become of the scan there, HU.
    alpha, liver
        t'' and the share of liver.
    disturbed
        Whether anything has become of it.
    """
    if disturbed:
        tissue += alpha * (scan.hu[box].astype(np.float32) - tissue)
    clear_foreign(scan, box, tissue, alpha, liver)


def cast_to_type(values: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values in the image's data type: integers are rounded and kept within their range."""
    if dtype.kind not in "iu":
        return values.astype(dtype)
    info, rounded = np.iinfo(dtype), np.rint(values)
    return rounded.clip(info.min, info.max, out=rounded).astype(dtype)


def _survives_float32(dtype: np.dtype[Any]) -> bool:
    """Whether unchanged voxels come back from float32 bit for bit; a float's -0.0, for one, does not."""
    return dtype.kind in "iu" and dtype.itemsize <= 2


def trim_block(block: Block, touched: NDArray[np.bool_], here: NDArray[np.bool_]) -> tuple[Block, NDArray[np.bool_]]:
    """Cut the margins that the tumour did not touch off a block and off a mask of its shape."""
    window = bounding_box(touched)
    return Block(part_of(block.box, window), block.image[window], block.label[window]), here[window]


def _measure_outcome(
    scan: Scan, tumor: Tumor, block: Block, here: NDArray[np.bool_], unclipped: int, mu_p: float
) -> Outcome:
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
