"""Sampling: a scan, settings and a seed become a plan. Only here do random numbers decide what a tumour is.

Every draw is made whether its step is switched on or not, tumours are placed as if every step were on, and what is
drawn does not depend on where it is put: two runs with one seed that differ in one switch differ in that step alone, as
an ablation needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.random import Generator

from ..errors import TumorgenError
from ..imaging import Box
from ..seeds import stable_rng
from .placement import place_tumors
from .plan import Plan, Tumor, draw_uniform, rounded, sample_name
from .plausibility import doubt_liver
from .published import fit_to_published
from .real import SampleTraits, draw_count, draw_real_sizes, draws_faint, fit_to_real
from .scan import Scan
from .settings import CONTRASTS, FITTED, MIDDLE, MIX, PUBLISHED, REAL, Count, Satellite, Settings, Size

_ETA_DECIMALS = 2  # few enough etas that rendering keeps the filters of all
_SEED_BITS = 32  # spreadsheets round integers of more than 15 digits


@dataclass(frozen=True, slots=True)
class MuRange:
    """What mu_t is drawn from: uniform on [low, high], or triangular where a mode is given; HU."""

    low_hu: float
    high_hu: float
    mode_hu: float | None = None
    lowered: bool = False

    def draw(self, rng: Generator) -> float:
        """One mu_t."""
        if self.mode_hu is None:
            return float(rng.uniform(self.low_hu, self.high_hu))
        return float(rng.triangular(self.low_hu, self.mode_hu, self.high_hu))


def mu_range(settings: Settings, mu_p: float) -> MuRange:
    """Distribution of mu_t for a parenchyma of mean mu_p.

    Table 1's is U(30, mu_p - 10). Where that is empty (no contrast medium, fatty liver) its lower end is lowered so
    that the contrast stays 10 to 40 HU.
    """
    model = settings.intensity
    if model.model == FITTED:
        tables = [each.contrast_hu for each in settings.real.bins]
        return MuRange(mu_p + min(table[0] for table in tables), mu_p + max(table[-1] for table in tables))
    if model.model == PUBLISHED:
        drops = [drop * level for drop, level in zip(settings.published.drop_hu, settings.published.level, strict=True)]
        return MuRange(mu_p - drops[1], mu_p - drops[0])
    if model.model in CONTRASTS:
        contrast = CONTRASTS[model.model]
        return MuRange(mu_p + contrast.low_hu, mu_p + contrast.high_hu, mu_p + contrast.mode_hu)
    high = mu_p - model.least_contrast_hu
    if high > model.lowest_hu:
        return MuRange(model.lowest_hu, high)
    return MuRange(mu_p - model.fallback_contrast_hu, high, lowered=True)


def variant_class(settings: Settings, variant: int) -> str:
    """Size class of a variant: the classes are shared out in turn."""
    return settings.sizes[variant % len(settings.sizes)]


def draw_variant(scan: Scan, settings: Settings, seed: int, variant: int) -> Plan:
    """Draw the plan of a variant of a scan: the one that `tumorgen synth` draws with this seed.

    `synth` then leaves out tumours that no voxel is labelled with (`render_labelled`).

    Parameters
    ----------
    scan
        The scan; its `case` takes part in the seed.
    settings
        What is drawn. The variants take turns in its size classes.
    seed, variant
        Seed of the run and number of the variant, from 0.

    Raises
    ------
    TumorgenError
        `seed` or `variant` is negative.
    """
    if seed < 0 or variant < 0:
        raise TumorgenError(f"seed {seed} and variant {variant} must not be negative")
    plan = draw_plan(scan, settings, stable_rng(seed, scan.case, variant), variant_class(settings, variant))
    return replace(plan, seed=seed, variant=variant, sample=sample_name(scan.case, variant))


def draw_plan(
    scan: Scan, settings: Settings, rng: Generator, size_class: str = "small", *, region: Box | None = None
) -> Plan:
    """Draw a plan for a scan.

    Parameters
    ----------
    scan
        The scan.
    settings
        What is drawn.
    rng
        Generator that everything is drawn from: the same state gives the same plan.
    size_class
        One of the settings' size classes, `mix` or `real`.
    region
        Box (z, y, x) that all centres lie in, but for satellites: those lie around their main tumour.

    Returns
    -------
    Plan
        Without a seed, as variant 0.

    Raises
    ------
    TumorgenError
        The size class is unknown.
    """
    known = (*settings.classes, MIX, REAL)
    if size_class not in known:
        raise TumorgenError(f"unknown size class {size_class!r}; choose from {', '.join(known)}")
    draws, places = rng.spawn(2)
    mu = mu_range(settings, scan.mu_p_hu)
    drafts = draw_drafts(settings, size_class, (scan.mu_p_hu, scan.sigma_p_hu), draws)
    tumors, notes = place_tumors(scan, settings, drafts, places, region)
    if mu.lowered:
        notes.add("mu_t_lowered")
    if draws_faint(settings, [draft.radius_mm for draft in drafts], scan.sigma_p_hu):
        notes.add("faint_drawn")
    tumors = [apply_switches(tumor, settings) for tumor in tumors]
    plan = plan_for(scan, settings, mu, size_class, tumors, requested=len(drafts), notes=notes)
    return replace(plan, vessels_avoided=plan.vessels_avoided and settings.places.model != MIDDLE)


def draw_drafts(settings: Settings, size_class: str, parenchyma_hu: tuple[float, float], rng: Generator) -> list[Tumor]:
    """Draw the tumours of a sample without places, as if every step were on; `parenchyma_hu` is mu_p and sigma_p."""
    mu_p, sigma_p = parenchyma_hu
    drafts = _draw_pattern(settings, size_class, mu_range(settings, mu_p), sigma_p, rng)
    if PUBLISHED in (settings.intensity.model, settings.texture.model):
        drafts = [fit_to_published(tumor, settings, mu_p, rng) for tumor in drafts]
    if settings.draws_from_bins:
        traits = SampleTraits.draw(rng)
        drafts = [fit_to_real(tumor, settings, parenchyma_hu, traits, rng) for tumor in drafts]
    if settings.pattern == "satellite":
        drafts[0] = _irregular(drafts[0], settings.satellite)
    return drafts


def plan_for(
    scan: Scan,
    settings: Settings,
    mu: MuRange,
    size_class: str,
    tumors: Sequence[Tumor],
    *,
    requested: int,
    notes: Iterable[str],
) -> Plan:
    """Plan of tumours that were drawn for a scan, of which it notes what is odd; without a seed, as variant 0."""
    shape, spacing = scan.geometry.shape, scan.geometry.spacing_mm
    return Plan(
        sample=sample_name(scan.case, 0),
        case=scan.case,
        variant=0,
        pattern=settings.pattern,
        size_class=size_class,
        seed=0,
        source_image_sha256=scan.image_sha256,
        source_mask_sha256=scan.mask_sha256,
        shape_z=shape[0],
        shape_y=shape[1],
        shape_x=shape[2],
        spacing_z_mm=spacing[0],
        spacing_y_mm=spacing[1],
        spacing_x_mm=spacing[2],
        mu_p_hu=rounded(scan.mu_p_hu),
        sigma_p_hu=rounded(scan.sigma_p_hu),
        sigma_a=rounded(scan.sigma_a),
        mu_t_low_hu=rounded(mu.low_hu),
        mu_t_high_hu=rounded(mu.high_hu),
        vessels_avoided=settings.vessels.avoid,
        vessel_offset_hu=settings.vessels.offset_hu,
        sigma_a_base=settings.vessels.sigma_a_base,
        sigma_a_per_hu=settings.vessels.sigma_a_per_hu,
        tumors_requested=requested,
        notes=" ".join(sorted({*notes, *_find_odd(scan)})),
        tumors=tuple(tumors),
    )


def _find_odd(scan: Scan) -> Iterator[str]:
    """What is odd about a scan, in the words of a plan's notes."""
    if not scan.geometry.is_axial:
        yield "not_axial"
    if scan.liver_ml is not None:
        yield from doubt_liver(scan.liver_ml, scan.mu_p_hu)


def _draw_pattern(settings: Settings, size_class: str, mu: MuRange, sigma_p: float, rng: Generator) -> list[Tumor]:
    """Draw the tumours of a sample, without places; the largest first, so that they find room."""

    def draw_sizes(name: str, sizes: Sequence[Size]) -> list[Tumor]:
        return [draw_tumor(settings, name, size, mu, sigma_p, rng) for size in sizes]

    def draw(name: str, count: Count = (1, 1)) -> list[Tumor]:
        number = int(rng.integers(count[0], count[1] + 1))
        sizes = draw_real_sizes(settings.real, number, rng) if name == REAL else [settings.classes[name]] * number
        return draw_sizes(name, sizes)

    if settings.pattern == "classes" and size_class == REAL:
        number = draw_count(settings.real, rng)
        drafts = draw_sizes(REAL, draw_real_sizes(settings.real, number, rng))
        return sorted(drafts, key=lambda tumor: -tumor.radius_mm)
    if settings.pattern == "classes":
        counts = settings.mix if size_class == MIX else {size_class: settings.classes[size_class].count}
        drafts = [tumor for name, count in counts.items() for tumor in draw(name, count)]
        return sorted(drafts, key=lambda tumor: -tumor.radius_mm)
    name = _one_class(settings, size_class, rng)
    if settings.pattern == "single":
        return draw(name)
    if settings.pattern == "multifocal":
        return draw(name, settings.multifocal.count)
    return _draw_satellites(settings, draw(name)[0], draw(name, settings.satellite.count), rng)


def _one_class(settings: Settings, size_class: str, rng: Generator) -> str:
    """The class that all tumours are drawn from: the size class or, for `mix`, one of those that it mixes."""
    names = [name for name, (_, high) in settings.mix.items() if high] or [size_class]
    pick = int(rng.integers(len(names)))
    return names[pick] if size_class == MIX else size_class


def _draw_satellites(settings: Settings, main: Tumor, others: list[Tumor], rng: Generator) -> list[Tumor]:
    """The main tumour, and the others of its class scaled down to its satellites (section 3.2)."""
    fractions = [draw_uniform(settings.satellite.radius, rng) * main.radius_mm for _ in others]
    return [main, *(_scaled(tumor, r / tumor.radius_mm) for tumor, r in zip(others, fractions, strict=True))]


def _irregular(main: Tumor, pattern: Satellite) -> Tumor:
    """A main tumour that satellites lie around: more irregular than others of its size (section 3.2)."""
    sigma_e = rounded(main.sigma_e_mm * pattern.sigma_e_factor)
    return replace(main, sigma_e_mm=sigma_e, deform_points=pattern.deform_points)


def _scaled(tumor: Tumor, factor: float) -> Tumor:
    """A tumour with every length of its shape multiplied by a factor."""
    names = ("radius_mm", "half_axis_z_mm", "half_axis_y_mm", "half_axis_x_mm", "sigma_e_mm", "gamma_max_mm")
    scaled: dict[str, Any] = {name: max(rounded(getattr(tumor, name) * factor), 0.0) for name in names}
    return replace(tumor, **scaled)


def draw_tumor(settings: Settings, name: str, size: Size, mu: MuRange, sigma_p: float, rng: Generator) -> Tumor:
    """Draw a tumour without a place (Table 1, size table), with the same numbers of `rng` whichever steps are on."""
    r = size.radius_mm
    half_axes = rng.uniform(*settings.shape.half_axes, size=3) * r
    sigma_e, sigma_c = draw_uniform(size.sigma_e_mm, rng), draw_uniform(settings.edge.sigma_c_mm, rng)
    eta = draw_uniform(settings.texture.eta, rng)
    shape_seed, texture_seed = (int(s) for s in rng.integers(2**_SEED_BITS, size=2))
    mass, capsule = settings.mass_effect, settings.capsule
    return Tumor(
        size_class=name,
        center_x_mm=0.0,
        center_y_mm=0.0,
        center_z_mm=0.0,
        radius_mm=rounded(r),
        half_axis_z_mm=rounded(half_axes[0]),
        half_axis_y_mm=rounded(half_axes[1]),
        half_axis_x_mm=rounded(half_axes[2]),
        sigma_e_mm=rounded(sigma_e),
        deform_points=settings.shape.deform_points,
        shape_seed=shape_seed,
        mu_t_hu=rounded(mu.draw(rng)),
        sigma_t_hu=rounded(sigma_p),
        eta=min(max(round(eta, _ETA_DECIMALS), settings.texture.eta[0]), settings.texture.eta[1]),
        sigma_b_mm=settings.texture.sigma_b_mm,
        texture_seed=texture_seed,
        sigma_c_mm=rounded(sigma_c),
        mass_effect_percent=mass.strength_percent,
        gamma_max_mm=rounded(mass.reach * r),
        capsule_low=capsule.low,
        capsule_high=capsule.high,
        capsule_hu=capsule.added_hu,
        sigma_d_mm=capsule.sigma_d_mm,
        label_inset_mm=settings.annotation.inset_mm,
        label_jitter_mm=settings.annotation.jitter_mm,
        bone_hu=mass.bone_hu,
    )


def apply_switches(tumor: Tumor, settings: Settings) -> Tumor:
    """Set the strength to zero of each step that is switched off, and of the capsule of a tumour too small for one.

    The capsule lies on the blurred edge (Eq. 6): without the blur there is no edge for it to lie on. What counts is the
    tumour's final radius: satellites are scaled down after they were drawn.
    """
    capsule = settings.capsule
    large_enough = tumor.radius_mm >= rounded(capsule.least_radius_mm)
    has_capsule = capsule.enabled and settings.edge.blur and large_enough
    return replace(
        tumor,
        sigma_e_mm=tumor.sigma_e_mm if settings.shape.elastic else 0.0,
        sigma_c_mm=tumor.sigma_c_mm if settings.edge.blur else 0.0,
        mass_effect_percent=tumor.mass_effect_percent if settings.mass_effect.enabled else 0.0,
        capsule_hu=tumor.capsule_hu if has_capsule else 0.0,
    )
