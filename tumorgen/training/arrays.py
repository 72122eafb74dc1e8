"""Tumours for arrays: the engine of `synth` for whoever trains with a framework of their own.

Arrays and a spacing in, arrays out; no files. `prepare_arrays` measures a case once; drawing and rendering then cost
what the tumours cost. Arrays and spacings are (z, y, x), HU and mm.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..imaging.boxes import Box, paste
from ..imaging.geometry import Geometry, Triple, Volume
from ..method.patch import Block
from ..method.placement import reach_mm
from ..method.plan import Plan, Tumor
from ..method.rendering import render
from ..method.sampling import draw_plan
from ..method.scan import Scan, prepare_scan
from ..method.settings import Settings, Vessels

_CORE = 0.6  # of the half-axes: neither deformation nor the liver's edge often takes that much of a tumour away
_BLUR_REACH = 3.0  # standard deviations; where `render` truncates its blurs


def prepare_arrays(
    image: NDArray[Any], label: NDArray[Any], spacing_mm: Triple, vessels: Vessels | None = None, case: str = "case"
) -> Scan:
    """Measure a case once: HU statistics, vessels, clearance. Keep what this returns as long as the case is used.

    Parameters
    ----------
    image
        CT (z, y, x) in HU, of any real data type.
    label
        Of the same shape, above zero in the liver.
    spacing_mm
        Size of a voxel (z, y, x).
    vessels
        How vessels are found; a `Settings` has it as `vessels`.
    case
        A name; only `draw_variant` makes use of it.

    Raises
    ------
    TumorgenError
        The liver is empty, of another shape than the image, or of values that are not HU.
    """
    shape = (int(image.shape[0]), int(image.shape[1]), int(image.shape[2]))
    spacing = (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2]))
    return prepare_scan(Volume(image, Geometry(shape, spacing)), np.asarray(label) > 0, vessels or Vessels(), case)


def draw(scan: Scan, settings: Settings, rng: Generator, region: Box | None = None) -> Plan:
    """Draw tumours of one of the settings' size classes, anywhere in the liver or with their centres in a region."""
    size_class = settings.sizes[int(rng.integers(len(settings.sizes)))]
    return draw_plan(scan, settings, rng, size_class, region=region)


def add_tumors(
    image: NDArray[Any], label: NDArray[Any], spacing_mm: Triple, rng: Generator, settings: Settings | None = None
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Put tumours into a whole healthy case, in one go: image of its data type; label 0, 1 liver, 2 tumour.

    Raises
    ------
    TumorgenError
        As `prepare_arrays`.
    """
    settings = settings or Settings()
    scan = prepare_arrays(image, label, spacing_mm, settings.vessels)
    return render(scan, draw(scan, settings, rng)).apply(scan)


def patch_with_tumors(
    scan: Scan, box: Box, rng: Generator, settings: Settings | None = None
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Cut a box out of a prepared case, with tumours whose centres lie in it; without liver there is none.

    Returns
    -------
    image, label
        New arrays of the box's shape: HU in the case's data type; 0, 1 liver, 2 tumour.
    """
    image, label = scan.hu[box].copy(), scan.inside[box].astype(np.uint8)
    if not label.any():
        return image, label
    for block in render_box(scan, draw(scan, settings or Settings(), rng, box), box):
        paste(image, box, block.image, block.box)
        paste(label, box, block.label, block.box)
    return image, label


def render_box(scan: Scan, plan: Plan, box: Box) -> tuple[Block, ...]:
    """Render only what a box needs of a plan: blocks to lay over it in this order, most of them larger than it."""
    return render(scan, touching(plan, scan.geometry, box)).blocks


def touching(plan: Plan, geometry: Geometry, box: Box) -> Plan:
    """The plan without tumours that leave a box as it is; what a tumour lies on stays with it."""
    spacing = np.array(geometry.spacing_mm)
    centers = [np.array(geometry.to_index(tumor.center_mm)) * spacing for tumor in plan.tumors]
    reaches = [_reach_mm(tumor) for tumor in plan.tumors]
    low = np.array([s.start - 1.5 for s in box]) * spacing  # a voxel counts with all of its extent
    high = np.array([s.stop + 0.5 for s in box]) * spacing
    wanted = [bool(np.all((c + r >= low) & (c - r <= high))) for c, r in zip(centers, reaches, strict=True)]
    for later in reversed(range(len(wanted))):
        for earlier in range(later if wanted[later] else 0):
            apart = float(np.linalg.norm(centers[later] - centers[earlier]))
            wanted[earlier] |= apart < reaches[later] + reaches[earlier]
    return replace(plan, tumors=tuple(tumor for tumor, keep in zip(plan.tumors, wanted, strict=True) if keep))


def _reach_mm(tumor: Tumor) -> float:
    """How far from its centre a tumour may change a voxel: its anatomy, the blur of its edge and of its capsule."""
    return reach_mm(tumor) + _BLUR_REACH * (tumor.sigma_c_mm + (tumor.sigma_d_mm if tumor.capsule_hu else 0.0))


def tumor_voxels(plan: Plan, geometry: Geometry, rng: Generator, count: int = 64) -> NDArray[np.int64]:
    """Voxels (count, 3) to look for a plan's tumours at, without rendering them; none where it has none.

    They lie in the core of the ellipsoids, in proportion to their volumes, so a large tumour gets more of them.
    Deformation and the liver's edge are not asked for: a few lie just outside a tumour.
    """
    if not plan.tumors:
        return np.empty((0, 3), np.int64)
    axes = np.array([tumor.half_axes_mm for tumor in plan.tumors])
    centers = np.array([geometry.to_index(tumor.center_mm) for tumor in plan.tumors])
    volumes = np.prod(axes, axis=1)
    picks = rng.choice(len(volumes), size=count, p=volumes / volumes.sum())
    directions = rng.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    offsets_mm = directions * np.cbrt(rng.random((count, 1))) * _CORE * axes[picks]
    voxels = np.rint(centers[picks] + offsets_mm / geometry.spacing_mm).astype(np.int64)
    inside: NDArray[np.int64] = np.clip(voxels, 0, np.array(geometry.shape) - 1)
    return inside
