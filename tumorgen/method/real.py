"""Tumours as real ones are: sizes, numbers and properties drawn from tables of quantiles (`settings.Real`).

A sample's tumours share part of what is drawn: one patient's metastases look alike. Contrast and edge of a tumour are
those of a rank that is partly the sample's, through a Gaussian copula, so that over all samples each keeps the
distribution of its table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from .plan import Tumor, draw_uniform, rounded
from .settings import FITTED, SCAN, Bin, Quantiles, Real, Settings, Size, Texture

_LEAST_RADIUS_MM = 0.5  # of a size
_HARDLY_ANY = 0.05
_GRAIN_DECIMALS = 1  # few enough grains that rendering keeps the filters of all


@dataclass(frozen=True, slots=True)
class SampleTraits:
    """What the tumours of a sample have in common, as standard normal deviates."""

    contrast: float
    edge: float

    @classmethod
    def draw(cls, rng: Generator) -> SampleTraits:
        """Draw a sample's traits."""
        contrast, edge = rng.standard_normal(2)
        return cls(float(contrast), float(edge))


def quantile(table: Quantiles, probability: float) -> float:
    """The value at a probability in [0, 1] of a table of quantiles at equal steps, linear between them."""
    return float(np.interp(probability * (len(table) - 1), np.arange(len(table)), table))


def draw_from(table: Quantiles, rng: Generator) -> float:
    """Draw from a table of quantiles."""
    return quantile(table, float(rng.random()))


def draw_sharing(table: Quantiles, shared: float, trait: float, rng: Generator, *, below: float = math.inf) -> float:
    """Draw from a table of quantiles, where a part of the variance of the rank is the sample's trait.

    Only what lies below a limit is drawn, unless hardly any of the table does.
    """
    deviate = math.sqrt(shared) * trait + math.sqrt(1 - shared) * float(rng.standard_normal())
    part = _part_below(table, below)
    return quantile(table, 0.5 * math.erfc(-deviate / math.sqrt(2)) * (part if part > _HARDLY_ANY else 1.0))


def _part_below(table: Quantiles, limit: float) -> float:
    """The part of a table's distribution that lies below a limit."""
    if limit >= table[-1]:
        return 1.0
    return float(np.interp(limit, table, np.linspace(0, 1, len(table)))) if limit > table[0] else 0.0


def draw_count(real: Real, rng: Generator) -> int:
    """Draw the number of tumours in a sample."""
    return max(1, round(draw_from(real.count, rng)))


def draw_real_sizes(real: Real, number: int, rng: Generator) -> list[Size]:
    """Draw the sizes of some tumours; their elastic deformation is Table 1's of a like size, unless it is fitted."""
    radii = [max(draw_from(real.radius_mm, rng), _LEAST_RADIUS_MM) for _ in range(number)]
    return [Size(r, (1, 1), (r / 8, r / 4)) for r in radii]


def fit_to_real(
    tumor: Tumor, settings: Settings, parenchyma_hu: tuple[float, float], traits: SampleTraits, rng: Generator
) -> Tumor:
    """Give a tumour without a place the properties of real ones of its size, where the settings ask for them.

    `parenchyma_hu` is mu_p and sigma_p of the scan. Every draw is made whichever of these properties the settings ask
    for, so that two runs that ask for any, and differ in a model, differ in that alone.
    """
    found = settings.real.bin_of(tumor.radius_mm)
    mu_p, sigma_p = parenchyma_hu
    faintest = _faintest_hu(settings.real, sigma_p)
    contrast = draw_sharing(found.contrast_hu, settings.real.shared, traits.contrast, rng, below=faintest)
    sigma_c = draw_sharing(found.sigma_c_mm, settings.real.shared, traits.edge, rng)
    mu_t = rounded(mu_p + contrast) if settings.intensity.model == FITTED else tumor.mu_t_hu
    shape = _draw_shape(tumor.radius_mm, found, rng)
    inside = _draw_inside(tumor.radius_mm, settings.texture, found, mu_t - mu_p, rng)
    return replace(
        tumor,
        mu_t_hu=mu_t,
        sigma_c_mm=rounded(sigma_c) if settings.edge.model == FITTED else tumor.sigma_c_mm,
        **(shape if settings.shape.model == FITTED else {}),
        **(inside if settings.texture.model == SCAN else {}),
    )


def draws_faint(settings: Settings, radii_mm: Sequence[float], sigma_p: float) -> bool:
    """Whether tumours too faint to be seen are drawn: hardly any dark one of a size would be visible in the noise."""
    if settings.intensity.model != FITTED:
        return False
    faintest = _faintest_hu(settings.real, sigma_p)
    tables = [settings.real.bin_of(radius).contrast_hu for radius in radii_mm]
    return any(table[0] < 0 and _part_below(table, faintest) <= _HARDLY_ANY for table in tables)


def _faintest_hu(real: Real, sigma_p: float) -> float:
    """The highest contrast that is visible in noise of sigma_p, HU."""
    return -real.least_visible * sigma_p


def _draw_shape(radius_mm: float, found: Bin, rng: Generator) -> dict[str, Any]:
    """A tumour's half-axes, their turn and its own deformation, by the names of its columns."""
    ratio = draw_from(found.axis_ratio, rng)
    return {
        "half_axis_z_mm": rounded(radius_mm * draw_from(found.elongation, rng)),
        "half_axis_y_mm": rounded(radius_mm * math.sqrt(ratio)),
        "half_axis_x_mm": rounded(radius_mm / math.sqrt(ratio)),
        "sigma_e_mm": rounded(radius_mm * draw_from(found.irregularity, rng)),
        "turn_deg": rounded(rng.uniform(0, 180)),
    }


def _draw_inside(radius_mm: float, texture: Texture, found: Bin, contrast_hu: float, rng: Generator) -> dict[str, Any]:
    """The scan's noise, a smooth field on it and, in a large tumour, a darker middle, by the names of its columns."""
    heterogeneity, grain = draw_from(found.heterogeneity, rng), draw_from(found.grain_mm, rng)
    necrosis, extent = draw_uniform(texture.necrosis, rng), draw_uniform(texture.necrosis_extent, rng)
    darker = necrosis > 0 and radius_mm >= texture.necrosis_above_mm
    return {
        "texture_model": SCAN,
        "heterogeneity_hu": rounded(abs(contrast_hu) * heterogeneity),
        "grain_mm": round(grain, _GRAIN_DECIMALS),
        "necrosis_hu": -rounded(abs(contrast_hu) * necrosis) if darker else 0.0,
        "necrosis_extent": rounded(extent) if darker else 0.0,
    }
