"""Every parameter of the method, with the paper's values as defaults, and their TOML form.

Table 1 and the size table of Hu et al. (CVPR 2023), the clinical ranges of its section 3.2. Lengths in mm, intensities
in HU. A range is a pair (low, high) that is drawn from uniformly.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from ..errors import TumorgenError

Range = tuple[float, float]
Count = tuple[int, int]
T = TypeVar("T")

PATTERNS = ("classes", "single", "multifocal", "satellite")
MIX = "mix"
MOST = 10**18  # of a whole number; the domains are narrower, but not all of them are asked as floats


@dataclass(frozen=True, slots=True)
class Vessels:
    """Finding and avoiding vessels (Eq. 1 and 2)."""

    avoid: bool = True
    offset_hu: float = 15.0  # b, Table 1
    sigma_a_base: float = 0.5  # sigma_a = 0.5 + 0.025 sigma_p, Table 1
    sigma_a_per_hu: float = 0.025


@dataclass(frozen=True, slots=True)
class Intensity:
    """Mean intensity mu_t of a tumour: `paper` (Table 1) or one of the clinical models of section 3.2."""

    model: str = "paper"
    lowest_hu: float = 30.0  # mu_t ~ U(30, mu_p - 10), Table 1
    least_contrast_hu: float = 10.0
    fallback_contrast_hu: float = 40.0  # where mu_p - 10 <= 30 the interval is empty: contrast 10 to 40 HU then


@dataclass(frozen=True, slots=True)
class Texture:
    """Grain of the tumour (Eq. 3)."""

    eta: Range = (1.1, 1.5)  # Table 1
    sigma_b_mm: float = 0.6  # Table 1


@dataclass(frozen=True, slots=True)
class Shape:
    """Ellipsoid and its elastic deformation."""

    elastic: bool = True
    half_axes: Range = (0.75, 1.25)  # of r
    deform_points: int = 5  # control points per axis, over 4 r


@dataclass(frozen=True, slots=True)
class Edge:
    """Blur of the tumour's edge, t' -> t''."""

    blur: bool = True
    sigma_c_mm: Range = (0.6, 1.2)  # Table 1


@dataclass(frozen=True, slots=True)
class MassEffect:
    """Local scaling warp (Eq. 5)."""

    enabled: bool = True
    strength_percent: float = 30.0  # I, Table 1
    reach: float = 1.3  # gamma_max = 1.3 r


@dataclass(frozen=True, slots=True)
class Capsule:
    """Bright rim (Eq. 6 to 8)."""

    enabled: bool = True
    least_radius_mm: float = 0.0  # tumours below it get none; the paper draws it on all
    low: float = 0.4  # lb, Table 1
    high: float = 0.7  # ub, Table 1
    added_hu: float = 120.0  # d, Table 1
    sigma_d_mm: float = 0.8  # Table 1


@dataclass(frozen=True, slots=True)
class Size:
    """A size class: radius r, tumours per sample, strength sigma_e of the deformation."""

    radius_mm: float
    count: Count
    sigma_e_mm: Range


@dataclass(frozen=True, slots=True)
class Multifocal:
    """Pattern `multifocal`: several tumours of one class, spread over the liver."""

    count: Count = (2, 5)


@dataclass(frozen=True, slots=True)
class Satellite:
    """Pattern `satellite`: one irregular tumour with a cluster of small ones around it (section 3.2)."""

    count: Count = (3, 8)
    radius: Range = (0.1, 0.3)  # of the large one's r
    distance: Range = (1.1, 1.8)  # centre to centre, of the large one's r
    sigma_e_factor: float = 1.25
    deform_points: int = 7


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
INTENSITIES = ("paper", *CONTRASTS)

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

    pattern: str = "classes"
    sizes: tuple[str, ...] = (*SIZES, MIX)
    vessels: Vessels = field(default_factory=Vessels)
    intensity: Intensity = field(default_factory=Intensity)
    texture: Texture = field(default_factory=Texture)
    shape: Shape = field(default_factory=Shape)
    edge: Edge = field(default_factory=Edge)
    mass_effect: MassEffect = field(default_factory=MassEffect)
    capsule: Capsule = field(default_factory=Capsule)
    multifocal: Multifocal = field(default_factory=Multifocal)
    satellite: Satellite = field(default_factory=Satellite)
    classes: Mapping[str, Size] = field(default_factory=lambda: dict(SIZES))
    mix: Mapping[str, Count] = field(default_factory=lambda: dict(MIX_COUNTS))

    def __post_init__(self) -> None:
        _check(self)


def _check(s: Settings) -> None:
    """Refuse what no tumour can be drawn from."""
    _member("pattern", s.pattern, PATTERNS)
    _member("intensity.model", s.intensity.model, INTENSITIES)
    _check_classes(s)
    for points in (s.shape.deform_points, s.satellite.deform_points):
        if not (3 <= points <= 15 and points % 2):
            raise TumorgenError(f"deform_points is {points}; an odd number from 3 to 15 is needed")
    for name, (low, high) in _DOMAINS.items():
        section, key = name.split(".")
        value = getattr(getattr(s, section), key)
        _range(name, value if isinstance(value, tuple) else (value, value), low, high)
    _range("capsule.low to capsule.high", (s.capsule.low, s.capsule.high), low=0, high=1)
    contrasts = s.intensity.least_contrast_hu, s.intensity.fallback_contrast_hu
    _range("intensity contrast", contrasts, low=0)


_DOMAINS: Mapping[str, tuple[float, float]] = types.MappingProxyType(
    {
        "vessels.offset_hu": (-1000, 1000),
        "vessels.sigma_a_base": (0, 10),
        "vessels.sigma_a_per_hu": (0, 1),
        "intensity.lowest_hu": (-1000, 1000),
        "texture.eta": (1, 10),
        "texture.sigma_b_mm": (0, 20),
        "shape.half_axes": (0.1, 5),
        "edge.sigma_c_mm": (0, 20),
        "mass_effect.strength_percent": (0, 99),
        "mass_effect.reach": (0.1, 5),
        "capsule.least_radius_mm": (0, 1000),
        "capsule.added_hu": (-1000, 1000),
        "capsule.sigma_d_mm": (0, 20),
        "multifocal.count": (1, 1000),
        "satellite.count": (0, 1000),
        "satellite.radius": (0.01, 1),
        "satellite.distance": (0, 1000),
        "satellite.sigma_e_factor": (0, 5),
    }
)


def _check_classes(s: Settings) -> None:
    """Refuse size classes that are not there, or whose tumours could not be drawn."""
    if not s.sizes:
        raise TumorgenError("sizes is empty; give at least one size class")
    for name in s.sizes:
        _member("size class", name, (*s.classes, MIX))
    if len(set(s.sizes)) != len(s.sizes):
        raise TumorgenError(f"sizes names a class twice: {', '.join(s.sizes)}")
    for name, count in s.mix.items():
        _member("mix", name, tuple(s.classes))
        _range(f"mix.{name}", count, low=0)
    if MIX in s.sizes and sum(high for _, high in s.mix.values()) == 0:
        raise TumorgenError("mix: all its counts are zero")
    smallest = s.satellite.radius[0] if s.pattern == "satellite" else 1.0
    for name, size in s.classes.items():
        if name == MIX:
            raise TumorgenError("classes.mix: 'mix' names the mixture of the classes; call the class something else")
        _range(f"classes.{name}.radius_mm", (0.5, size.radius_mm), high=100)
        _range(f"classes.{name}.count", size.count, low=1)
        _range(f"classes.{name}.sigma_e_mm", size.sigma_e_mm, low=0, high=20)
        half_axes = s.shape.half_axes[0] * size.radius_mm * smallest, s.shape.half_axes[1] * size.radius_mm
        _range(f"half-axes in mm (shape.half_axes) of classes.{name}", half_axes, low=0.001, high=200)


def _member(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise TumorgenError(f"unknown {name} {value!r}; choose from {', '.join(choices)}")


def _range(name: str, pair: tuple[float, float], low: float = -math.inf, high: float = 1000.0) -> None:
    if not (all(map(math.isfinite, pair)) and low <= pair[0] <= pair[1] <= high):
        raise TumorgenError(f"{name} is {pair[0]:g} to {pair[1]:g}; an interval within {low:g} to {high:g} is needed")


def load_settings(path: Path) -> Settings:
    """Read settings from a TOML file; what it does not name keeps its default.

    Raises
    ------
    TumorgenError
        No such file, not TOML, an unknown key, a value of the wrong type or outside its domain.
    """
    return load_toml(Settings, path)


def load_toml(kind: type[T], path: Path) -> T:
    """Read a dataclass of such values from a TOML file, as `load_settings` does.

    Raises
    ------
    TumorgenError
        As `load_settings`.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TumorgenError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # of a number with thousands of digits too
        raise TumorgenError(f"{path}: not a TOML file ({error})") from error
    try:
        return typing.cast(T, _build(kind, data, ""))
    except TumorgenError as error:
        raise TumorgenError(f"{path}: {error}") from error


def dump_settings(settings: Settings) -> str:
    """TOML text of the full settings; `load_settings` gives them back unchanged."""
    return dump_toml(settings)


def dump_toml(value: Any) -> str:
    """TOML text of a dataclass; `load_toml` gives it back unchanged."""
    return tomli_w.dumps(_plain(value))


def to_dict(settings: Settings) -> dict[str, Any]:
    """Nested plain dictionary, in the order of the fields."""
    return typing.cast(dict[str, Any], _plain(settings))


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def from_dict(data: Mapping[str, Any]) -> Settings:
    """Settings from a nested dictionary such as TOML gives.

    Raises
    ------
    TumorgenError
        An unknown key, a value of the wrong type or outside its domain.
    """
    settings: Settings = _build(Settings, data, "")
    return settings


def _build(kind: Any, value: Any, name: str) -> Any:
    """Turn a TOML value into a field's type; `name` is the dotted key, for the message."""
    if is_dataclass(kind):
        return _build_section(kind, value, name)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return _build_tuple(arguments, value, name)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise TumorgenError(f"{name}: a table is needed, not {value!r}")
        merged = _with_default_classes(value) if name == "classes" else value
        return {key: _build(arguments[1], item, f"{name}.{key}") for key, item in merged.items()}
    if type(value) is int and abs(value) > MOST:
        raise TumorgenError(f"{name}: a number of {len(str(value))} digits is out of any range")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise TumorgenError(f"{name}: {repr(value)[:80]} is not of type {kind.__name__}")
    return value


def _with_default_classes(given: Mapping[str, Any]) -> dict[str, Any]:
    """The size table with what is given on top, so that one value of one class can be changed alone."""
    table: dict[str, Any] = {name: _plain(size) for name, size in SIZES.items()}
    for name, value in given.items():
        table[name] = {**table.get(name, {}), **value} if isinstance(value, Mapping) else value
    return table


def _build_section(kind: Any, value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise TumorgenError(f"{name}: a table is needed, not {value!r}")
    hints = typing.get_type_hints(kind)
    for key in value:
        if key not in hints:
            raise TumorgenError(f"unknown setting {f'{name}.{key}'.strip('.')!r}; there are {', '.join(hints)}")
    given = {key: _build(hints[key], item, f"{name}.{key}".strip(".")) for key, item in value.items()}
    required = [f.name for f in fields(kind) if f.default is f.default_factory is dataclasses.MISSING]
    missing = [key for key in required if key not in given]
    if missing:
        raise TumorgenError(f"{name}: {', '.join(missing)} missing")
    return kind(**given)


def _build_tuple(arguments: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TumorgenError(f"{name}: a list is needed, not {value!r}")
    if arguments[-1] is Ellipsis:
        return tuple(_build(arguments[0], item, name) for item in value)
    if len(value) != len(arguments):
        raise TumorgenError(f"{name}: {len(arguments)} values are needed, not {len(value)}")
    return tuple(_build(kind, item, name) for kind, item in zip(arguments, value, strict=True))


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

    Pattern `satellite` has its main tumour of class `large` unless sizes are given.

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
        if pattern == "satellite" and settings.sizes == Settings().sizes:
            changed["sizes"] = ("large",)
    if sizes is not None:
        changed["sizes"] = tuple(name.strip() for name in sizes.split(",") if name.strip())
    if intensity is not None:
        changed["intensity"] = dataclasses.replace(settings.intensity, model=intensity)
    return dataclasses.replace(settings, **changed)
