"""Phantoms: abdominal CTs drawn from nothing but a random generator, with the truth about liver and vessels.

The anatomy is implicit (`anatomy`), so it is drawn in mm and only then sampled: one seed shows the same patient at any
spacing. Voxels are painted slab by slab, organ over organ, each by the share of the voxel that it fills.
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, uniform_filter1d
from tqdm import tqdm

from .. import __version__
from ..errors import TumorgenError
from ..imaging.volume import Geometry, Index, Triple, Volume, whole_file, write_volume
from .anatomy import TISSUES, Body, Phase, draw_body
from .solids import Array, Grid, make_grid

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


def phantom(
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


@dataclass(frozen=True, slots=True)
class PhantomRecord:
    """One row of `phantoms.csv`: what a phantom was drawn from, and the liver that came out."""

    case: str
    seed: int
    index: int
    phase: str
    shape: str
    spacing_mm: str
    version: str
    liver_ml: float = 0.0
    liver_mean_hu: float = 0.0

    @property
    def recipe(self) -> tuple[str, ...]:
        """What decides the voxels, as text."""
        return tuple(str(getattr(self, field.name)) for field in fields(self) if not field.name.startswith("liver_"))


def write_phantoms(
    output: Path,
    count: int = 1,
    seed: int = 0,
    *,
    shape: Index = DEFAULT_SHAPE,
    spacing_mm: Triple = DEFAULT_SPACING_MM,
    phase: Phase = "portal",
) -> list[PhantomRecord]:
    """Write `output/images/phantom_000.nii.gz` and so on, `output/masks/` with the same names, and `phantoms.csv`.

    Phantom k depends on the seed and on k, not on `count`. A phantom whose row and files are there is kept, so an
    interrupted run goes on where it was; one drawn from another seed, size or phase is written anew.

    Returns
    -------
    list of PhantomRecord
        The phantoms asked for, in order.

    Raises
    ------
    TumorgenError
        As `phantom`, and where the folder cannot be written to or its `phantoms.csv` is of another kind.
    """
    table = output / "phantoms.csv"
    records = _read_records(table)
    names = [f"phantom_{index:03d}" for index in range(count)]
    for index, case in enumerate(tqdm(names, desc="phantoms", unit="scan", disable=None)):
        paths = output / "images" / f"{case}.nii.gz", output / "masks" / f"{case}.nii.gz"
        size = " ".join(map(str, shape)), " ".join(f"{spacing:g}" for spacing in spacing_mm)
        wanted = PhantomRecord(case, seed, index, phase, *size, __version__)
        made = records.get(case)
        if made and made.recipe == wanted.recipe and all(path.is_file() for path in paths):
            continue
        rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
        drawn = phantom(rng, shape=shape, spacing_mm=spacing_mm, phase=phase)
        write_volume(drawn.image, paths[0])
        write_volume(drawn.liver, paths[1])
        records[case] = _measured(wanted, drawn)
        _write_records(table, records)
    return [records[case] for case in names]


def _measured(record: PhantomRecord, drawn: Phantom) -> PhantomRecord:
    """The record with the liver's volume and mean."""
    liver = drawn.liver.array
    volume_ml = int(liver.sum()) * drawn.liver.geometry.voxel_volume_mm3 / 1000
    mean_hu = float(drawn.image.array[liver].mean())
    return replace(record, liver_ml=round(volume_ml, 1), liver_mean_hu=round(mean_hu, 1))


def _read_records(table: Path) -> dict[str, PhantomRecord]:
    """The phantoms that a folder's table lists, by case; none where there is no table."""
    if not table.is_file():
        return {}
    kinds = {"seed": int, "index": int, "liver_ml": float, "liver_mean_hu": float}
    try:
        with table.open(newline="") as lines:
            rows = [
                PhantomRecord(**{name: kinds.get(name, str)(text) for name, text in row.items()})
                for row in csv.DictReader(lines)
            ]
    except (TypeError, ValueError, UnicodeDecodeError) as error:
        raise TumorgenError(f"{table}: not a table of phantoms; move it away or choose another folder") from error
    return {row.case: row for row in rows}


def _write_records(table: Path, records: dict[str, PhantomRecord]) -> None:
    """Write the table, sorted by case."""
    with whole_file(table) as partial, partial.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, [field.name for field in fields(PhantomRecord)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(records[case]) for case in sorted(records))


def _geometry(shape: Index, spacing_mm: Triple) -> Geometry:
    if min(shape) < 4:
        raise TumorgenError(f"phantom: shape {shape} (z, y, x) is too small; take 4 voxels or more along each axis")
    if not all(0.05 <= spacing <= 50 for spacing in spacing_mm):
        raise TumorgenError(f"phantom: spacing {spacing_mm} mm (z, y, x) is not a CT's; take 0.05 to 50 mm")
    z, y, x = (-(n - 1) / 2 * s for n, s in zip(shape, spacing_mm, strict=True))
    return Geometry(shape, spacing_mm, (x, y, z))


def _extent(geometry: Geometry) -> str:
    return " x ".join(f"{n * s:g}" for n, s in zip(geometry.shape, geometry.spacing_mm, strict=True))


def _paint(body: Body, geometry: Geometry) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """HU without noise, liver and vessels: each organ over those before it, by the share of each voxel it fills."""
    grid = make_grid(geometry, body.stretch)
    hu = np.full(geometry.shape, TISSUES["air"].none, np.float32)
    liver, vessels = np.zeros(geometry.shape, bool), np.zeros(geometry.shape, bool)
    slabs = max(geometry.shape[0] // SLAB, 1)
    for rows in np.array_split(np.arange(geometry.shape[0]), slabs):
        slab = slice(int(rows[0]), int(rows[-1]) + 1)
        part = Grid(grid.x, grid.y, grid.z[slab])
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
