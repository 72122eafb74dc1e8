"""Phantoms: abdominal CTs drawn from nothing but a random generator, with the truth about liver and vessels.

The anatomy is implicit (`anatomy`), so it is drawn in mm and only then sampled: one seed shows the same patient at any
spacing. Voxels are painted slab by slab, organ over organ, each by the share of the voxel that it fills.
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, uniform_filter1d

from ..errors import TumorgenError
from ..imaging import Geometry, Index, Triple, Volume
from .anatomy import Anatomy, draw_body
from .solids import Array, Coordinates, coordinates_of
from .tissues import TISSUES, Phase

DEFAULT_SHAPE: Index = (96, 224, 256)
DEFAULT_SPACING_MM: Triple = (2.5, 1.5, 1.5)
NOISE_HU = (12.0, 18.0)  # standard deviation in the liver: routine dose, soft-tissue kernel
GRAIN_VOXELS = 0.72  # in-plane blur of the noise; with the high-pass below, neighbours correlate by 0.55
MOTTLE_VOXELS, MOTTLE_SHARE = 5, 0.3  # CT noise has little power at low frequencies: part of a local mean is taken off
SLICE_BLUR_MM = 0.85  # standard deviation of the slice profile: slices correlate by 0.4 at 1.5 mm, not at all at 5
SLAB = 8  # slices painted at a time


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A CT (int16 HU), its liver and the vessels in the liver (bool); all of one geometry."""

    image: Volume
    liver: Volume
    vessels: Volume


def draw_phantom(
    rng: np.random.Generator,
    *,
    shape: Index = DEFAULT_SHAPE,
    spacing_mm: Triple = DEFAULT_SPACING_MM,
    phase: Phase = "portal",
) -> Phantom:
    """Draw an abdominal CT of a patient with a healthy liver.

    Parameters
    ----------
    rng
        Draws the patient and the noise. The patient depends neither on shape, spacing nor phase.
    shape, spacing_mm
        Voxels and their size in mm, (z, y, x). The whole liver needs about 220 x 270 x 300 mm; a smaller field of
        view cuts it.
    phase
        Contrast: `portal` (70 s), `arterial` (late, 35 s) or `none`.

    Returns
    -------
    Phantom
        Image, liver and vessels with identity direction (LPS); the origin of space lies in the volume's middle.

    Raises
    ------
    TumorgenError
        A shape or spacing that no volume can have, or no liver in the field of view.
    """
    geometry = _geometry(shape, spacing_mm)
    body_rng, noise_rng = rng.spawn(2)
    hu, liver, vessels = _paint(draw_body(body_rng, phase), geometry)
    if not liver.any():
        raise TumorgenError(f"phantom: no liver within {_extent(geometry)} mm (z, y, x); take more or larger voxels")
    _add_noise(noise_rng, hu, spacing_mm)
    liver = cc3d.largest_k(liver, k=1, connectivity=6) > 0
    image = np.clip(np.rint(hu), -1024, 3071).astype(np.int16)
    return Phantom(Volume(image, geometry), Volume(liver, geometry), Volume(vessels & liver, geometry))


def _geometry(shape: Index, spacing_mm: Triple) -> Geometry:
    if min(shape) < 4:
        raise TumorgenError(f"phantom: shape {shape} (z, y, x) is too small; take 4 voxels or more along each axis")
    if not all(0.05 <= spacing <= 50 for spacing in spacing_mm):
        raise TumorgenError(f"phantom: spacing {spacing_mm} mm (z, y, x) is not a CT's; take 0.05 to 50 mm")
    z, y, x = (-(n - 1) / 2 * s for n, s in zip(shape, spacing_mm, strict=True))
    return Geometry(shape, spacing_mm, (x, y, z))


def _extent(geometry: Geometry) -> str:
    return " x ".join(f"{n * s:g}" for n, s in zip(geometry.shape, geometry.spacing_mm, strict=True))


def _paint(body: Anatomy, geometry: Geometry) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """HU without noise, liver and vessels: each organ over those before it, by the share of each voxel it fills."""
    at = coordinates_of(geometry, body.stretch)
    hu = np.full(geometry.shape, TISSUES["air"].none, np.float32)
    liver, vessels = np.zeros(geometry.shape, bool), np.zeros(geometry.shape, bool)
    slabs = max(geometry.shape[0] // SLAB, 1)
    for rows in np.array_split(np.arange(geometry.shape[0]), slabs):
        slab = slice(int(rows[0]), int(rows[-1]) + 1)
        part = Coordinates(at.x, at.y, at.z[slab])
        shares = {"liver": np.zeros(part.shape, np.float32), "vessel": np.zeros(part.shape, np.float32)}
        for organ in body.organs:
            if (painted := organ.paint(part)) is None:
                continue
            box, share = painted
            if organ.part == "vessel":
                share = share * shares["liver"][box]
            for name, covered in shares.items():
                if not (organ.part == "vessel" and name == "liver"):
                    covered[box] += share * ((organ.part == name) - covered[box])
            here = hu[slab][box]
            here += share * (np.float32(body.hu[organ.tissue]) - here)
        liver[slab], vessels[slab] = shares["liver"] >= 0.5, shares["vessel"] >= 0.5
    return hu, liver, vessels


def _add_noise(rng: np.random.Generator, hu: Array, spacing_mm: Triple) -> None:
    """Add a CT's noise in place: strongest along the body's axis, weaker in air."""
    noise = correlated_noise(rng, hu.shape, spacing_mm)
    _, ny, nx = hu.shape
    y = (np.arange(ny, dtype=np.float32) - ny / 2) * np.float32(spacing_mm[1])
    x = (np.arange(nx, dtype=np.float32) - nx / 2) * np.float32(spacing_mm[2])
    radius_square = (y[:, None] ** 2 + x**2) / np.float32(110**2)
    deviation = np.float32(rng.uniform(*NOISE_HU)) * (np.float32(0.78) + np.float32(0.3) * np.exp(-radius_square / 2))
    for slice_hu, slice_noise in zip(hu, noise, strict=True):
        slice_noise *= deviation * (np.float32(0.5) + np.clip((slice_hu + 1000) / 1800, 0, np.float32(0.5)))
        slice_hu += slice_noise


def correlated_noise(rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: Triple) -> Array:
    """Noise of mean 0 and standard deviation 1, band-limited in plane, blurred by the slice profile along z.

    In plane the correlation belongs to the voxel, as a reconstruction matches its kernel to its pixels; along z it
    belongs to the slice thickness in mm. The standard deviation is exact by the filters' gain, not by an estimate.
    """
    noise = rng.standard_normal(shape, dtype=np.float32)
    through, grain = _taps(SLICE_BLUR_MM / spacing_mm[0]), _taps(GRAIN_VOXELS)
    correlate1d(noise, through, axis=0, output=noise, mode="wrap")
    for slice_noise in noise:
        slice_noise[...] = _in_plane(slice_noise, grain)
    impulse = np.zeros((25, 25), np.float32)
    impulse[12, 12] = 1
    gain = np.sqrt((through**2).sum() * (_in_plane(impulse, grain) ** 2).sum())
    noise /= np.float32(gain)
    return noise


def _in_plane(plane: Array, grain: NDArray[np.float64]) -> Array:
    """The band-pass of a reconstruction kernel: a slight blur, less part of the local mean."""
    for axis in (0, 1):
        plane = correlate1d(plane, grain, axis=axis, mode="wrap")
    mean = plane
    for axis in (0, 1):
        mean = uniform_filter1d(mean, MOTTLE_VOXELS, axis=axis, mode="wrap")
    result: Array = plane - np.float32(MOTTLE_SHARE) * mean
    return result


def _taps(sigma: float) -> NDArray[np.float64]:
    """A sampled Gaussian of sum 1."""
    reach = max(int(np.ceil(4 * sigma)), 1)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    return np.asarray(taps / taps.sum())
