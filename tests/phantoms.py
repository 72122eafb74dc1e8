"""A ball of liver with noise, at any spacing: the phantom whose statistics, vessel and distances are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.scan import Scan, prepare_scan
from tumorgen.method.settings import Vessels

LIVER_HU, NOISE_SD, LIVER_RADIUS_MM = 100.0, 15.0, 60.0


def ball_volume(
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    *,
    size_mm: float = 140.0,
    noise_sd: float = NOISE_SD,
    vessel_radius_mm: float = 0.0,
    dtype: str = "int16",
    geometry: Geometry | None = None,
    seed: int = 0,
) -> tuple[Volume, np.ndarray]:
    """A ball of liver of 60 mm radius in air, with CT-like noise; along x a straight vessel of +60 HU if asked for."""
    shape = tuple(round(size_mm / s) for s in spacing_mm)
    noise = ndimage.gaussian_filter(
        np.random.default_rng(seed).standard_normal(shape), [0.7 if s < 2 else 0.3 for s in spacing_mm]
    )
    z, y, x = np.meshgrid(*[(np.arange(n) - n // 2) * s for n, s in zip(shape, spacing_mm, strict=True)], indexing="ij")
    distance = np.sqrt(z**2 + y**2 + x**2)
    liver = distance <= LIVER_RADIUS_MM
    hu = np.where(distance <= LIVER_RADIUS_MM + 5, LIVER_HU, -1000.0) + noise * noise_sd / noise.std()
    if vessel_radius_mm:
        hu[liver & (np.hypot(z, y) <= vessel_radius_mm)] += 60
    if np.dtype(dtype).kind in "iu":
        hu = np.rint(hu)
    geometry = geometry or Geometry(shape, spacing_mm, (-70.0, -60.0, 30.0))
    return Volume(hu.astype(dtype), geometry), liver


def ball_scan(spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0), case: str = "ball", **options: object) -> Scan:
    """The ball, prepared."""
    volume, liver = ball_volume(spacing_mm, **options)
    return prepare_scan(volume, liver, Vessels(), case)


def write_balls(
    root: Path, count: int, name: str, spacing_mm: tuple[float, float, float] = (4.0, 4.0, 4.0), **options: object
) -> Path:
    """Write balls of seeds 0, 1, ... as scans: `images/NAME_0.nii.gz`, ..., and their masks in `masks/`."""
    for number in range(count):
        volume, liver = ball_volume(spacing_mm, seed=number, **options)
        write_volume(volume, root / "images" / f"{name}_{number}.nii.gz")
        write_volume(Volume(liver, volume.geometry), root / "masks" / f"{name}_{number}.nii.gz")
    return root
