"""Tumours, plans and noise-free scans with known answers: what the tests of the equations start from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.method.plan import Plan, Tumor
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan, prepare_scan
from tumorgen.method.settings import Settings, Vessels
from tumorgen.method.shape import displacement

Triple = tuple[float, float, float]

# A ball of 8 mm with a hard edge: every step is off, and a test turns on what it looks at.
BALL = Tumor(
    size_class="small",
    center_x_mm=0.0,
    center_y_mm=0.0,
    center_z_mm=0.0,
    radius_mm=8.0,
    half_axis_z_mm=8.0,
    half_axis_y_mm=8.0,
    half_axis_x_mm=8.0,
    sigma_e_mm=0.0,
    deform_points=5,
    shape_seed=1,
    mu_t_hu=50.0,
    sigma_t_hu=15.0,
    eta=1.3,
    sigma_b_mm=0.6,
    texture_seed=2,
    sigma_c_mm=0.0,
    mass_effect_percent=0.0,
    gamma_max_mm=10.4,
    capsule_low=0.4,
    capsule_high=0.7,
    capsule_hu=0.0,
    sigma_d_mm=0.8,
)
# What makes of it one of texture model `published`.
COINS = {
    "texture_model": "published",
    "grain_mm": 4.0,
    "clump_mm": 9.0,
    "least_chance": 0.05,
    "chance_span": 0.2,
    "texture_level": 0.525,
}
THICK = (5.0, 0.8, 0.8)


def ball(radius_mm: float = 8.0, *, half_axes: Triple | None = None, **changes: object) -> Tumor:
    """A tumour of a radius, a ball unless half-axes (z, y, x) are given, with gamma_max = 1.3 r."""
    z, y, x = half_axes or (radius_mm,) * 3
    size = {"radius_mm": radius_mm, "half_axis_z_mm": z, "half_axis_y_mm": y, "half_axis_x_mm": x}
    return replace(BALL, **{**size, "gamma_max_mm": round(1.3 * radius_mm, 4), **changes})


def at(scan: Scan, tumor: Tumor, index: Triple | None = None) -> Tumor:
    """A tumour centred on a voxel index (z, y, x) of a scan, the middle voxel unless given."""
    x, y, z = scan.geometry.to_mm(index or tuple(float(n // 2) for n in scan.geometry.shape))
    return replace(tumor, center_x_mm=x, center_y_mm=y, center_z_mm=z)


def plan_of(scan: Scan, *tumors: Tumor, **changes: object) -> Plan:
    """A plan of given tumours for a scan."""
    plan = draw_variant(scan, Settings(sizes=("tiny",), pattern="single"), 0, 0)
    return replace(plan, tumors=tumors, tumors_requested=len(tumors), **changes)


def scan_of(
    hu: np.ndarray, spacing_mm: Triple = (1.0, 1.0, 1.0), liver: np.ndarray | None = None, **geometry: object
) -> Scan:
    """A scan of given voxels, all of them liver unless a mask is given."""
    mask = np.ones(hu.shape, bool) if liver is None else liver
    place = Geometry(hu.shape, spacing_mm, **{"origin_mm": (-30.0, 12.0, 400.0), **geometry})
    return prepare_scan(Volume(hu, place), mask, Vessels(), "example")


def flat_scan(shape: tuple[int, int, int], spacing_mm: Triple = (1.0, 1.0, 1.0), **options: object) -> Scan:
    """A noise-free liver of 100 HU that fills the scan (float32)."""
    return scan_of(np.full(shape, 100.0, np.float32), spacing_mm, **options)


def offsets_mm(scan: Scan, tumor: Tumor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offset of every voxel from a tumour's centre in mm, one array for each of z, y, x."""
    center = scan.geometry.to_index(tumor.center_mm)
    axes = [
        (np.arange(n) - c) * s for n, c, s in zip(scan.geometry.shape, center, scan.geometry.spacing_mm, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return z, y, x


def distance_mm(scan: Scan, tumor: Tumor) -> np.ndarray:
    """Distance gamma of every voxel from a tumour's centre in mm."""
    return np.sqrt(sum(offset**2 for offset in offsets_mm(scan, tumor)))


def literal_level(tumor: Tumor, points: np.ndarray) -> np.ndarray:
    """The slow reference: scipy interpolates the control grid at each point (3, n), mm from the centre."""
    middle = tumor.deform_points // 2
    step = 4 * tumor.radius_mm / (tumor.deform_points - 1)  # control points span 4 r
    nodes = np.clip(points / step + middle, 0, tumor.deform_points - 1)
    field = displacement(tumor)
    moved = [p + ndimage.map_coordinates(u, nodes, order=3, mode="mirror") for p, u in zip(points, field, strict=True)]
    return np.sqrt(sum((m / a) ** 2 for m, a in zip(moved, tumor.half_axes_mm, strict=True)))


def plans(scan: Scan, count: int, **settings: object) -> list[Plan]:
    return [draw_variant(scan, Settings(**settings), 7, variant) for variant in range(count)]


def literal_mask(scan: Scan, tumor: Tumor) -> np.ndarray:
    """Voxels whose centre lies in the ellipsoid."""
    z, y, x = offsets_mm(scan, tumor)
    a, b, c = tumor.half_axes_mm
    return (z / a) ** 2 + (y / b) ** 2 + (x / c) ** 2 <= 1


def gamma_prime(gamma: np.ndarray, gamma_max: float, percent: float = 30.0) -> np.ndarray:
    """Equation 5 as printed, and the identity beyond gamma_max."""
    pulled = (1 - (1 - gamma / gamma_max) ** 2 * percent / 100) * gamma
    return np.where(gamma < gamma_max, pulled, gamma)
