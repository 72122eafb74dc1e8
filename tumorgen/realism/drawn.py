"""The tumours of a sample that were drawn, told by its manifest from those that were in its scan before.

A drawn tumour labels no voxel farther from its centre than it may change (`method.changed_mm`), and is placed so that
what it may change holds no voxel of a tumour that is really there. So a voxel of the label is a drawn one's if it lies
within that of some centre. How many lie beyond all of them is in the manifest, too, which proves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import Geometry, Volume
from ..labels import LIVER, TUMOR
from ..method import Tumor, changed_mm
from ..tables import read_manifest
from .lesions import FoundLesions, find_lesions


@dataclass(frozen=True, slots=True)
class DrawnTumors:
    """The tumours that were drawn into a scan which has real ones, and how many voxels of the label are real ones'."""

    tumors: tuple[Tumor, ...]
    real_voxels: int


def read_drawn(manifest: Path) -> dict[str, DrawnTumors]:
    """Read what was drawn in the samples of a manifest whose scans have real tumours, by sample.

    Raises
    ------
    TumorgenError
        A table cannot be read (`tables.read_manifest`).
    """
    return {
        record.plan.sample: DrawnTumors(record.plan.tumors, record.files.real_tumor_voxels)
        for record in read_manifest(manifest)
        if record.files and record.files.real_tumor_voxels
    }


def find_drawn(labels: Volume, drawn: DrawnTumors | None, label_file: Path) -> tuple[FoundLesions, NDArray[Any]]:
    """Find the lesions of a label map that were drawn; all of them where nothing says that some were not.

    Returns
    -------
    found
        The lesions; those that are really there are counted.
    labels
        The label map, in which those are liver.

    Raises
    ------
    TumorgenError
        They cannot be told: the label has another number of voxels of real tumours than the manifest says, or one that
        was drawn touches one of them, as rows edited by hand may have it.
    """
    spacing_mm = labels.geometry.spacing_mm
    every = find_lesions(labels.array, spacing_mm)
    if drawn is None:
        return every, labels.array
    is_real = (labels.array == TUMOR) & ~_near(drawn.tumors, labels.geometry)
    voxels = int(np.count_nonzero(is_real))
    if voxels != drawn.real_voxels:
        raise TumorgenError(
            f"{label_file}: has {voxels} voxels of real tumours where no synthetic one reaches, and"
            f" {drawn.real_voxels} by its manifest: which tumours are real cannot be told"
        )
    own = np.where(is_real, np.uint8(LIVER), labels.array)
    found, real = find_lesions(own, spacing_mm), find_lesions(np.where(is_real, np.uint8(TUMOR), 0), spacing_mm)
    if found.components + real.components != every.components:
        raise TumorgenError(f"{label_file}: a synthetic tumour touches a real one: both are one lesion")
    return replace(found, real=len(real.lesions)), own


def _near(tumors: Sequence[Tumor], geometry: Geometry) -> NDArray[np.bool_]:
    """Voxels (z, y, x) that some tumour may have changed."""
    near = np.zeros(geometry.shape, bool)
    for tumor in tumors:
        reach_mm, center = changed_mm(tumor), geometry.to_index(tumor.center_mm)
        box, squares = [], []
        for at, spacing, length in zip(center, geometry.spacing_mm, geometry.shape, strict=True):
            first, end = _inside(at - reach_mm / spacing, length), _inside(at + reach_mm / spacing + 1, length)
            box.append(slice(first, end))
            squares.append(np.square((np.arange(first, end) - at) * spacing))
        z, y, x = squares
        near[tuple(box)] |= z[:, None, None] + y[:, None] + x <= reach_mm**2
    return near


def _inside(index: float, length: int) -> int:
    """A voxel's number along an axis, or the end of it that is nearest."""
    return int(min(max(index, 0), length))
