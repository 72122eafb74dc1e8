"""Plans: plain numbers from which a sample is rendered, and nothing else. They are the manifest.

Lengths in mm, intensities in HU. Everything that rendering uses is in a `Tumor`, so that a changed default never alters
what an old row renders to. A step that is switched off has strength zero in the row: sigma_e, sigma_c, I or d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache

from ..errors import TumorgenError
from ..imaging.files import LONGEST_SAMPLE, refuse_unsafe_name
from ..imaging.geometry import Geometry, Triple

_DECIMALS = 4  # of what is drawn


@dataclass(frozen=True, slots=True)
class Tumor:
    """One tumour, as drawn.

    Attributes
    ----------
    size_class
        Row of the size table it was drawn from; of a benchmark, the dimension.
    center_x_mm, center_y_mm, center_z_mm
        Centre in space, LPS as in ITK; this is what rendering uses.
    radius_mm
        r of the size class.
    half_axis_z_mm, half_axis_y_mm, half_axis_x_mm
        Half-axes of the ellipsoid, along the image's axes.
    sigma_e_mm
        Standard deviation of the elastic displacement at its control points; 0 is an ellipsoid.
    deform_points
        Control points per axis, over 4 r; the middle one stays in place.
    shape_seed, texture_seed
        Seeds of the displacement and of the noise.
    mu_t_hu, sigma_t_hu
        Mean and standard deviation of the texture (mu_t; sigma_p of the parenchyma).
    eta
        Coarseness of the noise grid, in voxels (Eq. 3).
    sigma_b_mm
        Blur of the texture (Eq. 3).
    sigma_c_mm
        Blur of the edge, t' -> t''; 0 is a hard edge.
    mass_effect_percent
        I of Eq. 5; 0 is none.
    gamma_max_mm
        Reach of the mass effect (Eq. 5).
    capsule_low, capsule_high
        lb and ub: the capsule lies where t'' is between them (Eq. 6).
    capsule_hu
        d, what the capsule adds (Eq. 8); 0 is none.
    sigma_d_mm
        Blur of the capsule (Eq. 7).
    """

    size_class: str
    center_x_mm: float
    center_y_mm: float
    center_z_mm: float
    radius_mm: float
    half_axis_z_mm: float
    half_axis_y_mm: float
    half_axis_x_mm: float
    sigma_e_mm: float
    deform_points: int
    shape_seed: int
    mu_t_hu: float
    sigma_t_hu: float
    eta: float
    sigma_b_mm: float
    texture_seed: int
    sigma_c_mm: float
    mass_effect_percent: float
    gamma_max_mm: float
    capsule_low: float
    capsule_high: float
    capsule_hu: float
    sigma_d_mm: float

    def __post_init__(self) -> None:
        _check(self)

    @property
    def center_mm(self) -> Triple:
        """Centre (x, y, z), LPS mm."""
        return self.center_x_mm, self.center_y_mm, self.center_z_mm

    @property
    def half_axes_mm(self) -> Triple:
        """Half-axes (z, y, x) in mm."""
        return self.half_axis_z_mm, self.half_axis_y_mm, self.half_axis_x_mm


@dataclass(frozen=True, slots=True)
class Plan:
    """One sample: the scan it belongs to, how it was drawn, and its tumours in the order in which they are rendered.

    Attributes
    ----------
    sample
        Name of the sample, `<case>_v<variant>`; its files are named after it.
    case, variant
        The scan and the number of the variant; with `seed` they decide every draw.
    pattern, size_class
        Pattern and size class of the sample; of a benchmark, the dimension.
    seed
        Seed of the run.
    source_image_sha256, source_mask_sha256
        The scan the plan is pinned to (`method.scan.digest_voxels`).
    mu_p_hu, sigma_p_hu, sigma_a
        What was measured in the scan when the plan was drawn. sigma_p also is the noise that the mass effect keeps.
    mu_t_low_hu, mu_t_high_hu
        The interval that mu_t was drawn from.
    vessels_avoided
        Whether locations were drawn clear of vessels.
    vessel_offset_hu, sigma_a_base, sigma_a_per_hu
        How vessels were found (Eq. 2, Table 1); what a tumour covers of them is measured with the same.
    tumors_requested
        Number drawn; the number placed is smaller where the liver has no room.
    notes
        What departed from the settings, in words separated by spaces: `mu_t_lowered`, `vessels_unavoidable`,
        `fewer_placed`.
    tumors
        The tumours.
    """

    sample: str
    case: str
    variant: int
    pattern: str
    size_class: str
    seed: int
    source_image_sha256: str
    source_mask_sha256: str
    shape_z: int
    shape_y: int
    shape_x: int
    spacing_z_mm: float
    spacing_y_mm: float
    spacing_x_mm: float
    mu_p_hu: float
    sigma_p_hu: float
    sigma_a: float
    mu_t_low_hu: float
    mu_t_high_hu: float
    vessels_avoided: bool
    vessel_offset_hu: float
    sigma_a_base: float
    sigma_a_per_hu: float
    tumors_requested: int
    notes: str
    tumors: tuple[Tumor, ...]

    def __post_init__(self) -> None:
        refuse_unsafe_name(self.case, "case")
        refuse_unsafe_name(self.sample, "sample", LONGEST_SAMPLE)
        _check_domains(self)

    def check_fits(self, geometry: Geometry, image_sha256: str, mask_sha256: str) -> None:
        """Refuse another scan than the one the plan was drawn for.

        Raises
        ------
        TumorgenError
            Shape, spacing, voxels or mask differ.
        """
        shape = (self.shape_z, self.shape_y, self.shape_x)
        spacing = (self.spacing_z_mm, self.spacing_y_mm, self.spacing_x_mm)
        if shape != geometry.shape or not all(
            math.isclose(a, b, rel_tol=1e-6) for a, b in zip(spacing, geometry.spacing_mm, strict=True)
        ):
            raise TumorgenError(
                f"{self.sample}: planned for shape {shape} and spacing {spacing} (z, y, x),"
                f" but the scan has {geometry.shape} and {geometry.spacing_mm}: another image"
            )
        if self.source_image_sha256 != image_sha256:
            raise TumorgenError(f"{self.sample}: planned for another image: its voxels or geometry differ (SHA-256)")
        if self.source_mask_sha256 != mask_sha256:
            raise TumorgenError(f"{self.sample}: planned with another liver mask (SHA-256 differs)")


def sample_name(case: str, variant: int) -> str:
    """Name of a sample and of its files; nnU-Net forbids names that end in `_seg`, and these end in a number."""
    return f"{case}_v{variant:04d}"


def rounded(value: float) -> float:
    """A drawn number as it is written and rendered: 0.1 um, and few enough digits to survive a spreadsheet."""
    return round(float(value), _DECIMALS)


# Field: lowest and highest value. Wide enough for any tumour, narrow enough that no row can ask for terabytes.
DOMAINS: dict[str, tuple[float, float]] = {
    "radius_mm": (0.001, 100),
    "half_axis_z_mm": (0.001, 200),
    "half_axis_y_mm": (0.001, 200),
    "half_axis_x_mm": (0.001, 200),
    "sigma_e_mm": (0, 100),
    "deform_points": (3, 15),
    "shape_seed": (0, 2**64 - 1),
    "texture_seed": (0, 2**64 - 1),
    "mu_t_hu": (-1000, 4000),
    "sigma_t_hu": (0, 1000),
    "eta": (1, 10),
    "sigma_b_mm": (0, 20),
    "sigma_c_mm": (0, 20),
    "mass_effect_percent": (0, 99),
    "gamma_max_mm": (0, 500),
    "capsule_low": (0, 1),
    "capsule_high": (0, 1),
    "capsule_hu": (-1000, 1000),
    "sigma_d_mm": (0, 20),
    "variant": (0, 2**31),
    "seed": (0, 2**64 - 1),
    "shape_z": (2, 2**31),
    "shape_y": (2, 2**31),
    "shape_x": (2, 2**31),
    "spacing_z_mm": (0.01, 100),
    "spacing_y_mm": (0.01, 100),
    "spacing_x_mm": (0.01, 100),
    "mu_p_hu": (-1000, 4000),
    "sigma_p_hu": (0, 1000),
    "sigma_a": (0, 100),
    "mu_t_low_hu": (-2000, 5000),
    "mu_t_high_hu": (-2000, 5000),
    "vessel_offset_hu": (-1000, 1000),
    "sigma_a_base": (0, 10),
    "sigma_a_per_hu": (0, 1),
    "tumors_requested": (0, 2**31),
}


def _check_domains(row: Tumor | Plan) -> None:
    """Refuse numbers outside their domain, NaN among them."""
    kind: type = type(row)
    for name, low, high in _domains(kind):
        value = getattr(row, name)
        if not low <= value <= high:
            raise TumorgenError(f"{name} is {value}; a value from {low:g} to {high:g} is needed")


@lru_cache(maxsize=8)
def _domains(kind: type) -> tuple[tuple[str, float, float], ...]:
    """Those of the fields of a row's type that have one."""
    return tuple((field.name, *DOMAINS[field.name]) for field in fields(kind) if field.name in DOMAINS)


def _check(tumor: Tumor) -> None:
    """Refuse a row that nothing can be rendered from."""
    _check_domains(tumor)
    if not all(map(math.isfinite, tumor.center_mm)):
        raise TumorgenError(f"centre {tumor.center_mm} is not a point")
    if tumor.deform_points % 2 == 0:
        raise TumorgenError(f"deform_points is {tumor.deform_points}; an odd number is needed")
