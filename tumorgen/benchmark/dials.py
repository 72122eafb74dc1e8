"""The controllable robustness benchmark (section 5.5): one tumour, of which one thing at a time is dialled.

Five dimensions of five levels each, and a control without tumour. The tumours of one dimension share place, proportions
and the seeds of shape and texture, so that they differ in what is dialled and in nothing else. Each dimension has draws
of its own, so that a default that is a level of several dimensions is several tumours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated

from numpy.random import Generator

from ..errors import TumorgenError
from ..fields import About, check_domains
from ..method import (
    MuRange,
    Plan,
    Scan,
    Settings,
    Size,
    Tumor,
    apply_switches,
    draw_tumor,
    move_to_candidate,
    plan_for,
    sample_name,
)
from ..seeds import stable_rng
from ..tables import Dial
from .regions import REGIONS, Regions, find_site, is_clear

Levels = tuple[float, ...]

CONTROL = Dial("control", "healthy")
LOCATION = "location"


@dataclass(frozen=True, slots=True)
class Default:
    """The tumour of which one thing at a time is dialled: a `medium` one, each draw at its middle."""

    radius_mm: Annotated[float, About("r of class `medium`", "mm", 0.5, 100)] = 16.0
    sigma_e_mm: Annotated[float, About("strength of the deformation: the middle of its U(3, 6)", "mm", 0, 100)] = 4.5
    contrast_hu: Annotated[
        float, About("mu_t - mu_p: the middle of U(30, mu_p - 10) for a parenchyma of 100 HU", "HU", -1000, 1000)
    ] = -40.0
    eta: Annotated[
        float, About("coarseness of the noise grid: the middle of U(1.1, 1.5)", "voxels", 1, 10, source="Table 1")
    ] = 1.3

    def __post_init__(self) -> None:
        check_domains(self)

    def dialled(self, dimension: str, level: float) -> Default:
        """The tumour with one thing changed. Size scales it all: sigma_e keeps its ratio to r, as in the size table."""
        if dimension == "size":
            return replace(self, radius_mm=level, sigma_e_mm=round(self.sigma_e_mm * level / self.radius_mm, 4))
        return replace(self, **{DIALS[dimension]: level})


# Dimension: what of the default it dials; location is no number.
DIALS = {"size": "radius_mm", "shape": "sigma_e_mm", "intensity": "contrast_hu", "texture": "eta"}
DIMENSIONS = (LOCATION, *DIALS)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The default tumour and the levels of each dimension; one without levels is left out.

    Raises
    ------
    TumorgenError
        A level outside its domain, an unknown region, a level that is there twice, or no levels at all.
    """

    default: Default = field(default_factory=Default)
    location: Annotated[tuple[str, ...], About("regions of the liver", choices=REGIONS)] = REGIONS
    size: Annotated[Levels, About("r: the size table's, and LiTS's 2 and 44", "mm")] = (2.0, 8.0, 16.0, 32.0, 44.0)
    shape: Annotated[Levels, About("sigma_e: an ellipsoid to twice the default", "mm")] = (0.0, 2.25, 4.5, 6.75, 9.0)
    intensity: Annotated[
        Levels,
        About("mu_t - mu_p: from darker to brighter than the parenchyma; at 0 only capsule and texture tell", "HU"),
    ] = (-80.0, -40.0, 0.0, 40.0, 80.0)
    texture: Annotated[
        Levels, About("eta: from noise as fine as the voxels to three times the highest of Table 1", "voxels")
    ] = (1.0, 1.3, 2.0, 3.0, 4.5)

    def __post_init__(self) -> None:
        check_domains(self)
        for dimension in DIALS:
            for level in getattr(self, dimension):
                try:
                    self.default.dialled(dimension, level)
                except TumorgenError as error:
                    raise TumorgenError(f"{dimension}: {error}") from error
        if not any(getattr(self, dimension) for dimension in DIMENSIONS):
            raise TumorgenError("a benchmark needs at least one level of one dimension")

    def dials(self) -> tuple[Dial, ...]:
        """What is dialled in each variant; the first is the control."""
        levels = ((name, level) for name in DIMENSIONS for level in getattr(self, name))
        return CONTROL, *(Dial(name, level if isinstance(level, str) else _text(level)) for name, level in levels)


def _text(level: float) -> str:
    """A level as short as reads back to the same number."""
    short = f"{level:g}"
    return short if float(short) == level else repr(level)


def with_levels(benchmark: Benchmark, given: Iterable[str]) -> Benchmark:
    """The benchmark with levels as the command line has them, `size=4,8,16`.

    Raises
    ------
    TumorgenError
        An unknown dimension or one that is given twice, a level that is not of its type or outside its domain.
    """
    changed: dict[str, tuple[str, ...] | tuple[float, ...]] = {}
    for text in given:
        dimension, equals, levels = text.partition("=")
        if dimension not in DIMENSIONS or not equals:
            raise TumorgenError(f"levels {text!r}: DIMENSION=LEVEL,LEVEL,... of {', '.join(DIMENSIONS)} is needed")
        if dimension in changed:
            raise TumorgenError(f"levels {text!r}: {dimension} is given twice; give all its levels at once, as 4,8")
        words = tuple(word.strip() for word in levels.split(",") if word.strip())
        try:
            changed[dimension] = words if dimension == LOCATION else tuple(float(word) for word in words)
        except ValueError:
            raise TumorgenError(f"levels {text!r}: numbers are needed") from None
    return dataclasses.replace(benchmark, **changed)  # type: ignore[arg-type]


def benchmark_sampler(benchmark: Benchmark, scan: Scan, settings: Settings, seed: int) -> Callable[[int], Plan]:
    """What draws the variants of a scan: variant v is of the v-th dial."""
    dials, regions = benchmark.dials(), Regions.of(scan)

    def draw(variant: int) -> Plan:
        plan = plan_dial(regions, settings, benchmark, dials[variant], seed)
        return replace(plan, variant=variant, sample=sample_name(scan.case, variant))

    return draw


def plan_dial(regions: Regions, settings: Settings, benchmark: Benchmark, dial: Dial, seed: int) -> Plan:
    """Plan of one dial: the default tumour, with one thing changed; none for the control.

    `vessels_unavoidable` is noted where vessels lie within r of the place, which was drawn for the default's r.

    Raises
    ------
    TumorgenError
        The settings do not allow such a tumour.
    """
    scan, tumor = regions.scan, benchmark.default
    if dial.dimension in DIALS:
        tumor = tumor.dialled(dial.dimension, float(dial.level))
    mu = MuRange(scan.mu_p_hu + tumor.contrast_hu, scan.mu_p_hu + tumor.contrast_hu)
    tumors: list[Tumor] = []
    notes: set[str] = set()
    if dial != CONTROL:
        region = dial.level if dial.dimension == LOCATION else None
        places = stable_rng(seed, scan.case, "place", dial.dimension, region or "")
        site = find_site(regions, region, benchmark.default.radius_mm, places, avoid=settings.vessels.avoid)
        draft = _draw(settings, tumor, dial.dimension, mu, scan.sigma_p_hu, stable_rng(seed, scan.case, dial.dimension))
        tumors.append(apply_switches(move_to_candidate(scan, draft, site), settings))
        if settings.vessels.avoid and not is_clear(scan, site, tumor.radius_mm):
            notes.add("vessels_unavoidable")
    single = replace(settings, pattern="single")
    plan = plan_for(scan, single, mu, dial.dimension, tumors, requested=len(tumors), notes=notes)
    return replace(plan, seed=seed)


def _draw(settings: Settings, default: Default, name: str, mu: MuRange, sigma_p: float, rng: Generator) -> Tumor:
    """The default tumour: what is drawn of it is its proportions and the seeds of its shape and texture."""
    fixed = replace(
        settings,
        texture=replace(settings.texture, eta=(default.eta, default.eta)),
        edge=replace(settings.edge, sigma_c_mm=(sum(settings.edge.sigma_c_mm) / 2,) * 2),
    )
    size = Size(default.radius_mm, (1, 1), (default.sigma_e_mm, default.sigma_e_mm))
    return draw_tumor(fixed, name, size, mu, sigma_p, rng)
