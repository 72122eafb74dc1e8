"""Sets of scans for studies: balls of liver with a tumour, whose files tell the real ones by their looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from phantoms import ball_volume

from tumorgen.imaging.geometry import Geometry, Triple, Volume
from tumorgen.imaging.reading import write_volume

TUMOR_MM = (10.0, -15.0, 20.0)  # (z, y, x) from the middle of the ball


def write_scan(
    folder: Path, case: str, spacing_mm: Triple, *, seed: int = 0, tumor: bool = True, dtype: str = "int16"
) -> None:
    """Write a scan, 40 HU darker within 9 mm of a point, and its labels: `images` and `labels`."""
    volume, liver = ball_volume(spacing_mm, size_mm=150.0, seed=seed, dtype=dtype)
    where = np.meshgrid(
        *[(np.arange(n) - n // 2) * s for n, s in zip(volume.array.shape, spacing_mm, strict=True)], indexing="ij"
    )
    ball = np.sqrt(sum((w - at) ** 2 for w, at in zip(where, TUMOR_MM, strict=True))) < 9
    labels = liver.astype(np.uint8)
    hu = volume.array.copy()
    if tumor:
        labels[ball] = 2
        hu[ball] -= 40
    origin = (-70.0 + 10 * seed, 33.0, 900.0)
    geometry = Geometry(volume.geometry.shape, spacing_mm, origin)
    write_volume(Volume(hu, geometry), folder / "images" / f"{case}_0000.nii.gz")
    write_volume(Volume(labels, geometry), folder / "labels" / f"{case}.nii.gz")


def write_sets(root: Path, real: int, synthetic: int) -> tuple[Path, Path]:
    """Two sets that differ in spacing, data type and names."""
    for n in range(real):
        write_scan(root / "annotated", f"liver_{n}", (5.0, 3.0, 3.0), seed=n, dtype="float32")
    for n in range(synthetic):
        write_scan(root / "made", f"scan_{n}", (4.0, 2.5, 2.5), seed=100 + n)
    return root / "annotated", root / "made"
