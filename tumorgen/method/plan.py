"""Plans: plain numbers from which a sample is rendered, and nothing else. They are the manifest.

Lengths in mm, intensities in HU. Everything that rendering uses is in a `Tumor`, so that a changed default never alters
what an old row renders to. A step that is switched off has strength zero in the row: sigma_e, sigma_c, I or d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Annotated

from numpy.random import Generator

from ..errors import TumorgenError
from ..fields import FINITE, About, check_domains
from ..imaging import LONGEST_SAMPLE, Geometry, Index, Triple, refuse_unsafe_name
from . import settings

_MOST = 2**31  # of what is counted: more than any scan or run has
_SEED = (0, 2**64 - 1)

_DECIMALS = 4  # of what is drawn
SPACING_MM = (0.01, 100)  # of scans: nothing finer or coarser is one


def size_along(axis: str, low: float | None = None, high: float | None = None) -> About:
    """Size of a scan along an image axis."""
    return About(f"size of the scan along {axis}", "voxels", low, high)


def spacing_along(axis: str, low: float | None = None, high: float | None = None) -> About:
    """Spacing of a scan along an image axis."""
    return About(f"spacing of the scan along {axis}", "mm", low, high)


def _center_along(axis: str) -> About:
    return About(
        f"{axis} of the centre in space, LPS (3D Slicer shows RAS: negate x and y); rendering reads this", "mm", *FINITE
    )


def _half_axis_along(axis: str) -> About:
    return replace(
        settings.HALF_AXIS, meaning=f"half-axis of the ellipsoid along the image's {axis}, U(0.75 r, 1.25 r)"
    )


def _published(about: About) -> About:
    return replace(about, meaning=f"{about.meaning}; texture model `published`")


# Domains are wide enough for any tumour, and narrow enough that no row can ask for terabytes.
@dataclass(frozen=True, slots=True)
class Tumor:
    """One tumour, as drawn: all that rendering uses of it."""

    size_class: Annotated[
        str, About("row of the size table that it was drawn from, or `real`; of a benchmark, the dimension")
    ]
    center_x_mm: Annotated[float, _center_along("x")]
    center_y_mm: Annotated[float, _center_along("y")]
    center_z_mm: Annotated[float, _center_along("z")]
    radius_mm: Annotated[
        float,
        About(
            "radius, of the size class or as real lesions have it. How large the tumour is, the half-axes decide: edit"
            " these to change it. Rendering takes from r how far apart the control points of the displacement are"
            " (nothing where sigma_e is 0) and, of texture model `scan`, how deep the core begins (`mu_t_hu`)",
            "mm",
            0.001,
            100,
            symbol="r",
        ),
    ]
    half_axis_z_mm: Annotated[float, _half_axis_along("z")]
    half_axis_y_mm: Annotated[float, _half_axis_along("y")]
    half_axis_x_mm: Annotated[float, _half_axis_along("x")]
    sigma_e_mm: Annotated[
        float,
        About("SD of the elastic displacement at its control points; 0: ellipsoid", "mm", 0, 100, symbol="sigma_e"),
    ]
    deform_points: Annotated[int, settings.DEFORM_POINTS]
    shape_seed: Annotated[int, About("seed of the displacement", "", *_SEED)]
    mu_t_hu: Annotated[
        float,
        About(
            "mean of the texture; of texture model `scan` the mean of the image over the tumour's core (2 mm or r / 2"
            " inside the outline in plane, the lesser of both) where the parenchyma under it has mean mu_p; of"
            " `published` mu_p plus what an endless texture adds in the mean where its blurred coins are above 0.12: a"
            " tumour's own mean differs by about a tenth of that",
            "HU",
            -1000,
            4000,
            symbol="mu_t",
        ),
    ]
    sigma_t_hu: Annotated[float, About("standard deviation of the texture: sigma_p", "HU", 0, 1000)]
    eta: Annotated[float, settings.ETA]
    sigma_b_mm: Annotated[float, settings.SIGMA_B]
    texture_seed: Annotated[int, About("seed of the noise", "", *_SEED)]
    sigma_c_mm: Annotated[float, settings.SIGMA_C]
    mass_effect_percent: Annotated[float, settings.STRENGTH]
    gamma_max_mm: Annotated[float, About("reach of the mass effect", "mm", 0, 500, symbol="gamma_max", source="Eq. 5")]
    capsule_low: Annotated[float, settings.CAPSULE_LOW]
    capsule_high: Annotated[float, settings.CAPSULE_HIGH]
    capsule_hu: Annotated[float, settings.CAPSULE_ADDED]
    sigma_d_mm: Annotated[float, settings.SIGMA_D]
    turn_deg: Annotated[
        float, About("turn of the ellipsoid in plane, from the image's x towards its y", "degrees", -360, 360)
    ] = 0.0
    texture_model: Annotated[
        str,
        About(
            "`paper`: noise in the place of the scan's (Eq. 3); `scan`: contrast and a smooth field on the scan's;"
            " `published`: a smooth texture of blurred coins on the scan's",
            choices=settings.TEXTURES,
        ),
    ] = settings.PAPER
    heterogeneity_hu: Annotated[float, About("SD of the smooth field inside; texture model `scan`", "HU", 0, 1000)] = (
        0.0
    )
    grain_mm: Annotated[
        float,
        About("width (sigma) of the grain of that field; of texture model `published` the coins' blur", "mm", 0, 50),
    ] = 0.0
    necrosis_hu: Annotated[
        float, About("what is added in the middle; below zero it is darker; texture model `scan`", "HU", -1000, 1000)
    ] = 0.0
    necrosis_extent: Annotated[
        float, About("width (sigma) of the middle that is darker, as a fraction of the half-axes", "", 0, 5)
    ] = 0.0
    label_inset_mm: Annotated[
        float,
        About(
            "how far inside the tumour's edge its label ends, as annotators draw it; 0: the exact label", "mm", 0, 20
        ),
    ] = 0.0
    label_jitter_mm: Annotated[
        float,
        About("SD of the label's departure from there, as annotators' hands have; 0: the exact label", "mm", 0, 20),
    ] = 0.0
    bone_hu: Annotated[float, settings.BONE] = 0.0
    clump_mm: Annotated[float, _published(settings.CLUMP)] = 0.0
    least_chance: Annotated[float, _published(settings.LEAST_CHANCE)] = 0.0
    chance_span: Annotated[float, _published(settings.CHANCE_SPAN)] = 0.0
    texture_level: Annotated[float, _published(settings.TEXTURE_LEVEL)] = 0.0

    def __post_init__(self) -> None:
        check_domains(self)

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
    """One sample: the scan it belongs to, how it was drawn, and its tumours in the order in which they are rendered."""

    sample: Annotated[str, About("name of the sample, `<case>_v<variant>`; its files are named after it")]
    case: Annotated[str, About("name of the scan")]
    variant: Annotated[int, About("number of the sample among those of its scan, from 0", "", 0, _MOST)]
    pattern: Annotated[
        str, About(", ".join(f"`{one}`" for one in settings.PATTERNS[:-1]) + f" or `{settings.PATTERNS[-1]}`")
    ]
    size_class: Annotated[
        str, About("size class of the sample: a row of the size table, `mix` or `real`; of a benchmark, the dimension")
    ]
    seed: Annotated[int, About("seed of the run; with case and variant it decides every draw", "", *_SEED)]
    source_image_sha256: Annotated[
        str, About("SHA-256 of the healthy scan's voxels and geometry; another image is refused")
    ]
    source_mask_sha256: Annotated[
        str, About("SHA-256 of the liver mask's voxels and geometry; another mask is refused")
    ]
    shape_z: Annotated[int, size_along("z", 2, _MOST)]
    shape_y: Annotated[int, size_along("y", 2, _MOST)]
    shape_x: Annotated[int, size_along("x", 2, _MOST)]
    spacing_z_mm: Annotated[float, spacing_along("z", *SPACING_MM)]
    spacing_y_mm: Annotated[float, spacing_along("y", *SPACING_MM)]
    spacing_x_mm: Annotated[float, spacing_along("x", *SPACING_MM)]
    mu_p_hu: Annotated[float, About("mean of the parenchyma", "HU", -1000, 4000, symbol="mu_p")]
    sigma_p_hu: Annotated[
        float, About("SD of the parenchyma; the noise that the mass effect keeps", "HU", 0, 1000, symbol="sigma_p")
    ]
    sigma_a: Annotated[
        float,
        About(
            "width of the filter that finds vessels; along no axis less than as many voxels",
            "mm",
            0,
            100,
            symbol="sigma_a",
            source="Eq. 1",
        ),
    ]
    mu_t_low_hu: Annotated[float, About("lower end of what mu_t was drawn from", "HU", -2000, 5000)]
    mu_t_high_hu: Annotated[float, About("upper end of what mu_t was drawn from", "HU", -2000, 5000)]
    vessels_avoided: Annotated[bool, About("whether locations were drawn clear of vessels")]
    vessel_offset_hu: Annotated[float, settings.VESSEL_OFFSET]
    sigma_a_base: Annotated[float, settings.SIGMA_A_BASE]
    sigma_a_per_hu: Annotated[float, settings.SIGMA_A_PER_HU]
    tumors_requested: Annotated[
        int, About("number of tumours drawn; fewer are placed where the liver has no room", "", 0, _MOST)
    ]
    notes: Annotated[
        str,
        About(
            "what departed from the settings, in words separated by spaces: `mu_t_lowered` (Table 1's interval was"
            " empty), `vessels_unavoidable` (no place clear of vessels; of places in parenchyma: none with as little"
            " else under a tumour as the settings ask for), `fewer_placed` (no room for every tumour, or none for the"
            " main tumour of satellites), `faint_drawn` (so noisy a scan that hardly any tumour would be visible, and"
            " also fainter ones are drawn than `least_visible` says), `not_axial` (the scan is not stored in axial"
            " slices, and tumours are drawn as if it were), `volume_low`, `volume_high`, `hu_low`, `hu_high` (the liver"
            " is hardly one: of less than 500 or more than 4000 ml, or of a mean below 0 or above 200 HU)"
        ),
    ] = ""
    tumors_without_voxel: Annotated[
        int,
        About(
            "number of tumours that were placed and left out again, since not half of any voxel would have been tumour:"
            " too small for these slices",
            "",
            0,
            _MOST,
        ),
    ] = 0
    tumors: tuple[Tumor, ...] = field(kw_only=True)

    def __post_init__(self) -> None:
        refuse_unsafe_name(self.case, "case")
        refuse_unsafe_name(self.sample, "sample", LONGEST_SAMPLE)
        check_domains(self)

    @property
    def shape(self) -> Index:
        """Voxels (z, y, x) of the scan."""
        return self.shape_z, self.shape_y, self.shape_x

    @property
    def spacing_mm(self) -> Triple:
        """Spacing (z, y, x) of the scan in mm."""
        return self.spacing_z_mm, self.spacing_y_mm, self.spacing_x_mm

    def check_fits(self, geometry: Geometry, image_sha256: str, mask_sha256: str) -> None:
        """Refuse another scan than the one the plan was drawn for.

        Raises
        ------
        TumorgenError
            Shape, spacing, voxels or mask differ.
        """
        shape, spacing = self.shape, self.spacing_mm
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


def draw_uniform(bounds: settings.Range, rng: Generator) -> float:
    """Draw a number from a range."""
    return float(rng.uniform(*bounds))
