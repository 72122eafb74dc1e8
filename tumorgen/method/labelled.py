"""Tumours have voxels: one that no voxel would be labelled with is left out, since its image would change all the same.

A voxel is labelled where at least half of it is tumour. On thick slices a small tumour fills half of none.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..imaging import Triple
from .patch import Patch
from .plan import Plan
from .rendering import render
from .scan import Scan
from .shape import grid_around


def render_labelled(scan: Scan, plan: Plan) -> tuple[Plan, Patch]:
    """Render a plan that was just drawn, without those of its tumours that label no voxel (`render`).

    Returns
    -------
    plan
        The plan without them; `tumors_without_voxel` counts them.
    patch
        What it changes in its scan.

    Raises
    ------
    TumorgenError
        As `render`.
    """
    patch = render(scan, plan)
    while not all(outcome.has_voxels for outcome in patch.outcomes):
        pairs = zip(plan.tumors, patch.outcomes, strict=True)
        tumors = tuple(tumor for tumor, outcome in pairs if outcome.has_voxels)
        without = plan.tumors_without_voxel + len(plan.tumors) - len(tumors)
        plan = replace(plan, tumors=tumors, tumors_without_voxel=without)
        patch = render(scan, plan)
    return plan, patch


def least_radius_mm(spacing_mm: Triple) -> float:
    """Radius of the smallest ball that a scan can label, in mm, rounded up to 0.1: centred on a voxel, it fills half.

    Voxels are looked at in parts, as rendering does; in one whose edges are short a ball of any radius has its centre.
    A tumour is no ball: some that are smaller are labelled, and some that are larger are not.
    """
    here = (0.0, 0.0, 0.0)
    grid = grid_around(here, here, here, spacing_mm)
    z, y, x = (np.arange(k) * s - (k - 1) * s / 2 for k, s in zip(grid.fine, grid.fine_spacing_mm, strict=True))
    distance = np.sort(np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2), axis=None)
    return math.ceil(float(distance[(distance.size - 1) // 2]) * 10 - 1e-6) / 10
