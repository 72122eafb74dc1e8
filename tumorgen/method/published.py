"""Tumours as the authors' released code is described to draw them: texture and darkness (`settings.Published`).

Written from the description in docs/method.md alone.
"""

from __future__ import annotations

from dataclasses import replace

from numpy.random import Generator

from .plan import Tumor, draw_uniform, rounded
from .settings import PUBLISHED, Settings

_BLUR_DECIMALS = 1  # few enough widths that rendering keeps the filters of all


def fit_to_published(tumor: Tumor, settings: Settings, mu_p: float, rng: Generator) -> Tumor:
    """Give a tumour without a place the texture and the mean of the released code, where the settings ask for them.

    Every draw is made whichever of the two the settings ask for, so that two runs that ask for either, and differ in a
    model, differ in that alone.
    """
    drawn = settings.published
    drop, level = draw_uniform(drawn.drop_hu, rng), draw_uniform(drawn.level, rng)
    clump, least, span = (draw_uniform(each, rng) for each in (drawn.clump_mm, drawn.least_chance, drawn.chance_span))
    blur, wide = draw_uniform(drawn.blur_mm, rng), draw_uniform(drawn.wide_blur_mm, rng)
    blur = wide if rng.random() < drawn.wide_share else blur
    if settings.intensity.model == PUBLISHED:
        tumor = replace(tumor, mu_t_hu=rounded(mu_p - drop * level))
    if settings.texture.model != PUBLISHED:
        return tumor
    return replace(
        tumor,
        texture_model=PUBLISHED,
        grain_mm=round(blur, _BLUR_DECIMALS),
        clump_mm=round(clump, _BLUR_DECIMALS),
        least_chance=rounded(least),
        chance_span=rounded(span),
        texture_level=rounded(level),
    )
