"""Tumours in a box of a prepared scan: drawing them, rendering only what the box needs, and where to look for them.

Arrays, boxes and spacings are (z, y, x).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..imaging import Box, Geometry
from ..method import Block, Plan, Scan, Settings, changed_mm, draw_plan, render_labelled

_CORE = 0.6  # of the half-axes: neither deformation nor the liver's edge often takes that much of a tumour away


def draw_any_class(scan: Scan, settings: Settings, rng: Generator, region: Box | None = None) -> Plan:
    """Draw a plan of one of the settings' size classes, anywhere in the liver or with all centres in a region."""
    size_class = settings.sizes[int(rng.integers(len(settings.sizes)))]
    return draw_plan(scan, settings, rng, size_class, region=region)


def render_box(scan: Scan, plan: Plan, box: Box) -> tuple[Block, ...]:
    """Render only what a box needs of a plan: blocks to lay over it in this order, most of them larger than it."""
    return render_labelled(scan, keep_touching(plan, scan.geometry, box))[1].blocks


def keep_touching(plan: Plan, geometry: Geometry, box: Box) -> Plan:
    """The plan with only those tumours that change a box, and the earlier tumours that these lie on."""
    spacing = np.array(geometry.spacing_mm)
    centers = [np.array(geometry.to_index(tumor.center_mm)) * spacing for tumor in plan.tumors]
    reaches = [changed_mm(tumor) for tumor in plan.tumors]
    low = np.array([s.start - 1.5 for s in box]) * spacing  # a voxel counts with all of its extent
    high = np.array([s.stop + 0.5 for s in box]) * spacing
    wanted = [bool(np.all((c + r >= low) & (c - r <= high))) for c, r in zip(centers, reaches, strict=True)]
    for later in reversed(range(len(wanted))):
        for earlier in range(later if wanted[later] else 0):
            apart = float(np.linalg.norm(centers[later] - centers[earlier]))
            wanted[earlier] |= apart < reaches[later] + reaches[earlier]
    return replace(plan, tumors=tuple(tumor for tumor, keep in zip(plan.tumors, wanted, strict=True) if keep))


def draw_tumor_voxels(plan: Plan, geometry: Geometry, rng: Generator, count: int = 64) -> NDArray[np.int64]:
    """Draw voxels (count, 3), indices z, y, x, that most likely are tumour, without rendering; none for an empty plan.

    They lie in the core of the ellipsoids, in proportion to their volumes, so a large tumour gets more of them.
    Deformation and the liver's edge are ignored: a few voxels lie just outside a tumour.
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
    _, y, x = offsets_mm.T
    turns = np.deg2rad([tumor.turn_deg for tumor in plan.tumors])[picks]
    offsets_mm[:, 1], offsets_mm[:, 2] = np.cos(turns) * y + np.sin(turns) * x, np.cos(turns) * x - np.sin(turns) * y
    voxels = np.rint(centers[picks] + offsets_mm / geometry.spacing_mm).astype(np.int64)
    inside: NDArray[np.int64] = np.clip(voxels, 0, np.array(geometry.shape) - 1)
    return inside
