"""Scans of discs: livers with tumours whose contrast, edge, rim and noise are known, as files of a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage, special

from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.reading import write_volume

LIVER_HU = 100.0


def disc_scan(
    seed: int,
    *,
    lesions: int = 8,
    contrast_hu: float = -45.0,
    sigma_mm: float = 1.2,
    rim_hu: float = 0.0,
    noise_sd: float = 12.0,
    scan_seed: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A liver with cylinders of radii from 3.5 to 7 mm in places of a grid, 1 mm voxels, ringed if asked for.

    What is drawn depends on the seed; the scan's own noise on `scan_seed`, so that sets can share their hosts.
    """
    rng = np.random.default_rng([seed, 1])
    shape = (10, 140, 210)
    noise = ndimage.gaussian_filter(
        np.random.default_rng(seed if scan_seed is None else scan_seed).standard_normal(shape), (0, 0.8, 0.8)
    )
    hu = np.full(shape, -900.0)
    labels = np.zeros(shape, np.uint8)
    labels[:, 8:-8, 8:-8] = 1
    hu[labels == 1] = LIVER_HU
    for place in rng.permutation(12)[:lesions]:
        y, x = 30 + 40 * (place // 4), 30 + 50 * (place % 4)
        radius, contrast = rng.uniform(3.5, 7), contrast_hu * rng.uniform(0.8, 1.2)
        distance = np.hypot(np.arange(shape[1])[:, None] - y, np.arange(shape[2]) - x) - radius
        hu += contrast * special.ndtr(-distance / sigma_mm) + rim_hu * np.exp(-((distance - 1) ** 2) / 2)
        labels[2:8, distance <= 0] = 2
    return hu + noise * noise_sd / noise.std(), labels


def write_scan(folder: Path, case: str, hu: np.ndarray, labels: np.ndarray | None, spacing_mm=(2.5, 1.0, 1.0)) -> None:
    """Write a scan into the folders `images` and `labels` of a set; without labels, its image alone."""
    geometry = Geometry(hu.shape, spacing_mm)
    write_volume(Volume(np.rint(hu).astype(np.int16), geometry), folder / "images" / f"{case}.nii.gz")
    if labels is not None:
        write_volume(Volume(labels, geometry), folder / "labels" / f"{case}.nii.gz")


def write_discs(folder: Path, count: int, first_seed: int = 0, **options: object) -> Path:
    """Write a set of scans `p0`, `p1`, ..., the hosts being the same whatever the first seed."""
    for number in range(count):
        hu, labels = disc_scan(first_seed + number, scan_seed=number, **options)
        write_scan(folder, f"p{number}", hu, labels)
    return folder
