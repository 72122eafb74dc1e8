"""Every parameter of the method, with the paper's values as defaults, and their TOML form.

Table 1 and the size table of Hu et al. (CVPR 2023), the clinical ranges of its section 3.2. Lengths in mm, intensities
in HU. A range is a pair (low, high) that is drawn from uniformly.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from ..errors import TumorgenError
from ..fields import About, check_choice, check_domains, check_value, load_toml

Range = tuple[float, float]
Count = tuple[int, int]
Quantiles = tuple[float, ...]

PATTERNS = ("classes", "single", "multifocal", "satellite")
MIX, REAL = "mix", "real"  # size classes that are no rows of the size table
TABLE_1 = "Table 1"


@dataclass(frozen=True, slots=True)
class Contrast:
    """A triangular distribution of mu_t - mu_p in HU whose range and mean are the published ones."""

    low_hu: float
    mean_hu: float
    high_hu: float

    @property
    def mode_hu(self) -> float:
        """The mode that gives the mean: a triangular distribution's mean is (low + mode + high) / 3."""
        return 3 * self.mean_hu - self.low_hu - self.high_hu


# Hepatocellular carcinoma against parenchyma, section 3.2 of the paper: mean and range.
CONTRASTS: Mapping[str, Contrast] = types.MappingProxyType(
    {"portal": Contrast(-98, -11, 61), "arterial": Contrast(-44, 26, 146)}
)
FITTED = "fitted"  # drawn from `real.bins`
PAPER, SCAN, PUBLISHED = "paper", "scan", "published"
TEXTURES = (PAPER, SCAN, PUBLISHED)
INTENSITIES = (PAPER, *CONTRASTS, FITTED, PUBLISHED)
VESSELS, PARENCHYMA, MIDDLE = "vessels", "parenchyma", "middle"
PLACES = (VESSELS, PARENCHYMA, MIDDLE)

# What a setting has in common with the column of the value that is used or drawn.
VESSEL_OFFSET = About(
    "how much brighter than the liver's mean vessels are", "HU", -1000, 1000, symbol="b", source="Eq. 2, Table 1"
)
SIGMA_A_BASE = About("constant term of sigma_a = 0.5 + 0.025 sigma_p", "mm", 0, 10, source=TABLE_1)
SIGMA_A_PER_HU = About("factor of sigma_p in sigma_a", "mm/HU", 0, 1, source=TABLE_1)
HALF_AXIS = About("half-axis of the ellipsoid", "mm", 0.001, 200)
DEFORM_POINTS = About("control points per axis, over 4 r; odd, the middle one stays in place", low=3, high=15, odd=True)
ETA = About("coarseness of the noise grid", "voxels", 1, 10, symbol="eta", source="Eq. 3, Table 1")
SIGMA_B = About("blur of the texture", "mm", 0, 20, symbol="sigma_b", source="Eq. 3, Table 1")
SIGMA_C = About("blur of the edge, t' to t''; 0: hard edge", "mm", 0, 20, symbol="sigma_c", source=TABLE_1)
STRENGTH = About("strength of the mass effect; 0: none", "%", 0, 99, symbol="I", source="Eq. 5, Table 1")
BONE = About(
    "HU above which what lies outside the liver is bone; the mass effect pushes neither bone nor what is next to it; 0:"
    " it pushes everything",
    "HU",
    0,
    4000,
)
CAPSULE_LOW = About("value of t'' at which the capsule begins", "", 0, 1, symbol="lb", source="Eq. 6, Table 1")
CAPSULE_HIGH = About("value of t'' at which the capsule ends", "", 0, 1, symbol="ub", source="Eq. 6, Table 1")
CAPSULE_ADDED = About("what the capsule adds; 0: no capsule", "HU", -1000, 1000, symbol="d", source="Eq. 8, Table 1")
SIGMA_D = About("blur of the capsule", "mm", 0, 20, symbol="sigma_d", source="Eq. 7, Table 1")


CLUMP = About("blur (sigma) of the noise that the chance of a coin is made of", "mm", 0, 20)
LEAST_CHANCE = About("least chance of a coin", "", 0, 1)
CHANCE_SPAN = About("greatest chance of a coin above the least", "", 0, 1)
TEXTURE_LEVEL = About("mean of the texture of coins, in [0, 1], where the blurred coins are above 0.12", "", 0, 1)


@dataclass(frozen=True, slots=True)
class Vessels:
    """Finding and avoiding vessels (Eq. 1 and 2)."""

    avoid: Annotated[bool, About("whether tumours are placed clear of vessels")] = True
    offset_hu: Annotated[float, VESSEL_OFFSET] = 15.0
    sigma_a_base: Annotated[float, SIGMA_A_BASE] = 0.5
    sigma_a_per_hu: Annotated[float, SIGMA_A_PER_HU] = 0.025


@dataclass(frozen=True, slots=True)
class Intensity:
    """Mean intensity mu_t of a tumour: Table 1's, a clinical model of section 3.2, or that of real lesions."""

    model: Annotated[
        str,
        About(
            "how bright tumours are: `paper` follows Table 1, `portal` and `arterial` section 3.2, `fitted` the tables"
            " of real.bins, `published` the section `published`",
            choices=INTENSITIES,
        ),
    ] = "paper"
    lowest_hu: Annotated[float, About("lower end of mu_t ~ U(30, mu_p - 10)", "HU", -1000, 1000, source=TABLE_1)] = 30.0
    least_contrast_hu: Annotated[
        float, About("how far below mu_p the upper end of mu_t lies", "HU", 0, 1000, source=TABLE_1)
    ] = 10.0
    fallback_contrast_hu: Annotated[
        float, About("largest contrast where that interval is empty, mu_p - 10 <= 30; the least stays", "HU", 0, 1000)
    ] = 40.0


@dataclass(frozen=True, slots=True)
class Texture:
    """What a tumour consists of: the paper's noise (Eq. 3), or the scan's own noise and a smooth field."""

    model: Annotated[
        str,
        About(
            "what a tumour consists of: `paper` puts noise of its own in the place of the scan's (Eq. 3), `scan` adds"
            " contrast and a smooth heterogeneity to the scan, whose noise stays, `published` takes a smooth texture of"
            " blurred coins off it",
            choices=TEXTURES,
        ),
    ] = PAPER
    necrosis: Annotated[
        Range, About("how much darker the middle is, as a fraction of the contrast; model `scan`", low=0, high=1)
    ] = (0.0, 0.0)
    necrosis_above_mm: Annotated[float, About("radius above which tumours have such a middle", "mm", 0, 1000)] = 0.0
    necrosis_extent: Annotated[
        Range,
        About("width (sigma) of that middle, as a fraction of the half-axes: it grows with the tumour", "", 0.05, 5),
    ] = (0.4, 0.7)
    eta: Annotated[Range, ETA] = (1.1, 1.5)
    sigma_b_mm: Annotated[float, SIGMA_B] = 0.6


@dataclass(frozen=True, slots=True)
class Published:
    """The authors' released code, as it is described: its texture of tossed coins, one for each voxel of 1 mm."""

    drop_hu: Annotated[
        Range, About("what is taken off the scan where the texture is 1; intensity `published`", "HU", 0, 1000)
    ] = (65.0, 145.0)
    level: Annotated[Range, replace(TEXTURE_LEVEL, low=0.01)] = (0.50, 0.55)
    clump_mm: Annotated[Range, replace(CLUMP, low=2)] = (3.0, 15.0)
    least_chance: Annotated[Range, LEAST_CHANCE] = (0.04, 0.06)
    chance_span: Annotated[Range, CHANCE_SPAN] = (0.19, 0.21)
    blur_mm: Annotated[Range, About("blur (sigma) of the coins", "mm", 2, 20)] = (3.0, 5.0)
    wide_blur_mm: Annotated[Range, About("the same of the part that has a wide one", "mm", 2, 20)] = (5.0, 8.0)
    wide_share: Annotated[float, About("part of the tumours whose coins have a wide blur", "", 0, 1)] = 0.3


@dataclass(frozen=True, slots=True)
class Shape:
    """Ellipsoid and its elastic deformation."""

    model: Annotated[
        str,
        About(
            "`paper`: half-axes and sigma_e of the size table; `fitted`: the tables of real.bins",
            choices=(PAPER, FITTED),
        ),
    ] = PAPER
    elastic: Annotated[bool, About("whether the ellipsoid is deformed")] = True
    half_axes: Annotated[Range, About("half-axes of the ellipsoid, as fractions of r", low=0.1, high=5)] = (0.75, 1.25)
    deform_points: Annotated[int, DEFORM_POINTS] = 5


@dataclass(frozen=True, slots=True)
class Edge:
    """Blur of the tumour's edge, t' -> t''."""

    model: Annotated[
        str, About("`paper`: sigma_c of sigma_c_mm; `fitted`: of the tables of real.bins", choices=(PAPER, FITTED))
    ] = PAPER
    blur: Annotated[bool, About("whether the edge is blurred")] = True
    sigma_c_mm: Annotated[Range, SIGMA_C] = (0.6, 1.2)


@dataclass(frozen=True, slots=True)
class Annotation:
    """How the label departs from the tumour, as an annotator's does; zeros give the exact label."""

    inset_mm: Annotated[float, About("how far inside the tumour's edge the label ends", "mm", 0, 20)] = 0.0
    jitter_mm: Annotated[float, About("SD of the label's departure from there", "mm", 0, 20)] = 0.0


@dataclass(frozen=True, slots=True)
class MassEffect:
    """Local scaling warp (Eq. 5)."""

    enabled: Annotated[bool, About("whether tumours push what is around them")] = True
    strength_percent: Annotated[float, STRENGTH] = 30.0
    reach: Annotated[float, About("gamma_max as a fraction of r", low=0.1, high=5, source="Eq. 5")] = 1.3
    bone_hu: Annotated[float, BONE] = 0.0


@dataclass(frozen=True, slots=True)
class Capsule:
    """Bright rim (Eq. 6 to 8)."""

    enabled: Annotated[bool, About("whether tumours have a capsule")] = True
    least_radius_mm: Annotated[
        float, About("tumours below this radius get no capsule; the paper draws it on all", "mm", 0, 1000)
    ] = 0.0
    low: Annotated[float, CAPSULE_LOW] = 0.4
    high: Annotated[float, CAPSULE_HIGH] = 0.7
    added_hu: Annotated[float, CAPSULE_ADDED] = 120.0
    sigma_d_mm: Annotated[float, SIGMA_D] = 0.8


@dataclass(frozen=True, slots=True)
class Size:
    """A size class: a row of the paper's size table."""

    radius_mm: Annotated[float, About("radius", "mm", 0.5, 100, symbol="r", source="size table")]
    count: Annotated[Count, About("number of tumours in a sample", "", 1, 1000, source="size table")]
    sigma_e_mm: Annotated[
        Range, About("strength of the elastic deformation", "mm", 0, 20, symbol="sigma_e", source="size table")
    ]


@dataclass(frozen=True, slots=True)
class Places:
    """Where tumours lie: clear of vessels (Eq. 1 and 2), or where real ones do, in parenchyma."""

    model: Annotated[
        str,
        About(
            "`vessels`: anywhere in the liver with no vessel within r; `parenchyma`: where what is around the centre is"
            " parenchyma, as deep below the liver's surface as the tables of real.bins say; `middle`: in the middle"
            " slices of the liver, away from its edge",
            choices=PLACES,
        ),
    ] = VESSELS
    most_clipped: Annotated[
        float, About("largest part of a tumour that the liver's edge may cut off; model `parenchyma`", "", 0, 1)
    ] = 0.15
    most_foreign: Annotated[
        Range,
        About(
            "largest part of a tumour under which may lie vessel or fat, below 10 mm and from there on; model"
            " `parenchyma`",
            "",
            0,
            1,
        ),
    ] = (0.2, 0.35)
    gap_mm: Annotated[float, About("least distance between two tumours; model `parenchyma`", "mm", 0, 100)] = 3.0
    slices: Annotated[
        Range, About("from where to where of the liver's slices, as parts of their number; model `middle`", "", 0, 1)
    ] = (0.3, 0.7)
    inside_mm: Annotated[float, About("least depth below the liver's edge; model `middle`", "mm", 0, 100)] = 5.0


def _table(meaning: str, unit: str, low: float, high: float, symbol: str = "") -> About:
    return About(f"{meaning}: quantiles", unit, low, high, ascending=True, symbol=symbol)


@dataclass(frozen=True, slots=True)
class Bin:
    """What real lesions of a range of radii are like.

    Every table holds quantiles at equal steps of probability, from the least value to the greatest.
    """

    below_mm: Annotated[
        float, About("radii of the bin lie below it and not below that of the bin before", "mm", 0.5, 1000)
    ]
    contrast_hu: Annotated[Quantiles, _table("mean of the core above that of the parenchyma", "HU", -1000, 1000)]
    sigma_c_mm: Annotated[Quantiles, _table("blur of the edge", "mm", 0, 20, "sigma_c")]
    heterogeneity: Annotated[Quantiles, _table("SD of the smooth field inside, over the contrast", "", 0, 2)]
    grain_mm: Annotated[Quantiles, _table("width (sigma) of that field's grain", "mm", 0.1, 50)]
    axis_ratio: Annotated[Quantiles, _table("lesser over greater half-axis in plane", "", 0.1, 1)]
    elongation: Annotated[Quantiles, _table("half-axis along z over the radius in plane", "", 0.1, 5)]
    irregularity: Annotated[Quantiles, _table("strength of the elastic deformation, sigma_e over r", "", 0, 1)]
    depth: Annotated[Quantiles, _table("depth of the centre below the liver's surface, over r", "", 0, 100)]


@dataclass(frozen=True, slots=True)
class Real:
    """Sizes, numbers and properties of real lesions: what `--sizes real` and the models `fitted` draw from."""

    radius_mm: Annotated[Quantiles, _table("radius in plane", "mm", 0.5, 100, "r")] = (3.0, 6.0, 30.0)
    count: Annotated[Quantiles, _table("number of tumours in a sample", "", 1, 1000)] = (1.0, 3.0, 20.0)
    shared: Annotated[
        float, About("part of the variance of contrast and edge that a sample's tumours have in common", "", 0, 1)
    ] = 0.0
    least_visible: Annotated[
        float,
        About(
            "how far below the parenchyma a tumour's mean is at least, over sigma_p: what is fainter than the noise"
            " nobody has annotated",
            "",
            0,
            10,
        ),
    ] = 0.0
    bins: Annotated[tuple[Bin, ...], About("properties by radius")] = ()

    def bin_of(self, radius_mm: float) -> Bin:
        """The bin of a radius; the last one for what is larger."""
        return next((each for each in self.bins if radius_mm < each.below_mm), self.bins[-1])


@dataclass(frozen=True, slots=True)
class Multifocal:
    """Pattern `multifocal`: several tumours of one class, spread over the liver."""

    count: Annotated[Count, About("number of tumours in a sample", "", 1, 1000)] = (2, 5)


@dataclass(frozen=True, slots=True)
class Satellite:
    """Pattern `satellite`: one irregular tumour with a cluster of small ones around it (section 3.2)."""

    count: Annotated[Count, About("number of small tumours", "", 0, 1000)] = (3, 8)
    radius: Annotated[Range, About("radius of the small ones, as a fraction of the large one's r", "", 0.01, 1)] = (
        0.1,
        0.3,
    )
    distance: Annotated[
        Range, About("distance from centre to centre, as a fraction of the large one's r", "", 0, 1000)
    ] = (1.1, 1.8)
    sigma_e_factor: Annotated[float, About("factor of the large one's sigma_e", "", 0, 5)] = 1.25
    deform_points: Annotated[int, DEFORM_POINTS] = 7


# The authors' published settings.
SIZES: Mapping[str, Size] = types.MappingProxyType(
    {
        "tiny": Size(4, (3, 10), (0.5, 1)),
        "small": Size(8, (3, 10), (1, 2)),
        "medium": Size(16, (2, 5), (3, 6)),
        "large": Size(32, (1, 3), (5, 10)),
    }
)
MIX_COUNTS: Mapping[str, Count] = types.MappingProxyType(
    {"tiny": (3, 10), "small": (5, 10), "medium": (2, 5), "large": (1, 3)}
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides what is drawn, the seed and the scan apart.

    Raises
    ------
    TumorgenError
        A value outside its domain, an unknown pattern, intensity model or size class.
    """

    pattern: Annotated[
        str,
        About(
            "how the tumours of a sample are laid out; `classes` has as many as the size class says", choices=PATTERNS
        ),
    ] = "classes"
    sizes: Annotated[
        tuple[str, ...],
        About(
            f"size classes that a scan's samples take turns in: {', '.join(f'`{name}`' for name in SIZES)};"
            f" `{MIX}` is a mixture of them, `{REAL}` draws sizes and numbers of real lesions"
        ),
    ] = (*SIZES, MIX)
    vessels: Vessels = field(default_factory=Vessels)
    intensity: Intensity = field(default_factory=Intensity)
    texture: Texture = field(default_factory=Texture)
    published: Published = field(default_factory=Published)
    shape: Shape = field(default_factory=Shape)
    edge: Edge = field(default_factory=Edge)
    annotation: Annotation = field(default_factory=Annotation)
    mass_effect: MassEffect = field(default_factory=MassEffect)
    capsule: Capsule = field(default_factory=Capsule)
    places: Places = field(default_factory=Places)
    real: Real = field(default_factory=Real)
    multifocal: Multifocal = field(default_factory=Multifocal)
    satellite: Satellite = field(default_factory=Satellite)
    classes: Annotated[Mapping[str, Size], About("the size table", source="size table")] = field(
        default_factory=lambda: dict(SIZES)
    )
    mix: Annotated[
        Mapping[str, Count],
        About(
            f"number of tumours of each size class in a sample of `{MIX}`, which has those alone that are named here;"
            " given at all, it is given whole",
            "",
            0,
            1000,
        ),
    ] = field(default_factory=lambda: dict(MIX_COUNTS))

    def __post_init__(self) -> None:
        check_domains(self)
        _check_ends(self)
        _check_classes(self)
        _check_bins(self)

    @property
    def draws_from_bins(self) -> bool:
        """Whether anything is drawn from the tables of `real.bins`."""
        return any(_needs_of_bins(self).values())


def _needs_of_bins(s: Settings) -> Mapping[str, bool]:
    """The models that draw from the tables of real lesions, and whether each is chosen."""
    return {
        "intensity.model": s.intensity.model == FITTED,
        "shape.model": s.shape.model == FITTED,
        "edge.model": s.edge.model == FITTED,
        "texture.model": s.texture.model == SCAN,
        "places.model": s.places.model == PARENCHYMA,
    }


def _check_ends(s: Settings) -> None:
    """Refuse an interval whose ends are two settings, and whose upper end is below its lower one."""
    ends = {
        "capsule.low to capsule.high": (s.capsule.low, s.capsule.high),
        "intensity contrast": (s.intensity.least_contrast_hu, s.intensity.fallback_contrast_hu),
    }
    for name, (low, high) in ends.items():
        if low > high:
            raise TumorgenError(f"{name} is {low:g} to {high:g}; the lower end must not be above the upper one")


def _check_classes(s: Settings) -> None:
    """Refuse size classes that are not there, or whose tumours could not be drawn."""
    for name in (MIX, REAL):
        if name in s.classes:
            raise TumorgenError(f"classes.{name}: {name!r} has a meaning of its own; call the class something else")
    if not s.sizes:
        raise TumorgenError("sizes is empty; give at least one size class")
    check_choice("size class", s.sizes, (*s.classes, MIX, REAL))
    check_choice("mix", s.mix, tuple(s.classes))
    if MIX in s.sizes and sum(high for _, high in s.mix.values()) == 0:
        raise TumorgenError("mix: all its counts are zero")
    smallest = s.satellite.radius[0] if s.pattern == "satellite" else 1.0
    for name, size in s.classes.items():
        half_axes = s.shape.half_axes[0] * size.radius_mm * smallest, s.shape.half_axes[1] * size.radius_mm
        check_value(f"half-axes in mm (shape.half_axes) of classes.{name}", half_axes, HALF_AXIS)


def _check_bins(s: Settings) -> None:
    """Refuse bins of radii that are not in order, and models that need bins where there are none."""
    limits = [each.below_mm for each in s.real.bins]
    if limits != sorted(set(limits)):
        raise TumorgenError("real.bins: below_mm must rise from bin to bin")
    for name, needed in _needs_of_bins(s).items():
        if needed and not limits:
            raise TumorgenError(
                f"{name} draws from the tables of real.bins, and there are none; `tumorgen fit` makes them"
            )


def load_settings(path: Path, base: Settings | None = None) -> Settings:
    """Read settings from a TOML file; what it does not name is that of `base`, by default the paper's.

    Raises
    ------
    TumorgenError
        No such file, not TOML, an unknown key, a value of the wrong type or outside its domain.
    """
    return load_toml(Settings, path, base)


STEPS: Mapping[str, tuple[str, str]] = types.MappingProxyType(
    {
        "vessels": ("vessels", "avoid"),
        "elastic": ("shape", "elastic"),
        "edge-blur": ("edge", "blur"),
        "mass-effect": ("mass_effect", "enabled"),
        "capsule": ("capsule", "enabled"),
    }
)


def override(
    settings: Settings,
    *,
    sizes: str | None = None,
    pattern: str | None = None,
    intensity: str | None = None,
    without: tuple[str, ...] = (),
) -> Settings:
    """Settings with what the command line says on top; `sizes` is a comma-separated list, `without` names steps.

    Pattern `satellite` has its main tumour of class `large` unless sizes are given: here, or in settings of other sizes
    than the paper's or those of real lesions.

    Raises
    ------
    TumorgenError
        An unknown pattern, intensity model or size class.
    """
    changed: dict[str, Any] = {}
    for step in without:
        section, switch = STEPS[step]
        changed[section] = dataclasses.replace(changed.get(section, getattr(settings, section)), **{switch: False})
    if pattern is not None:
        changed["pattern"] = pattern
        if pattern == "satellite" and settings.sizes in (Settings().sizes, (REAL,)):
            changed["sizes"] = ("large",)
    if sizes is not None:
        changed["sizes"] = tuple(name.strip() for name in sizes.split(",") if name.strip())
    if intensity is not None:
        changed["intensity"] = dataclasses.replace(settings.intensity, model=intensity)
    return dataclasses.replace(settings, **changed)
