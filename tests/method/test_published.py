"""Recipe `published`: its draws lie where they are described, and change nothing of other recipes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from phantoms import ball_scan

from tumorgen.method.recipes import load_recipe
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant, mu_range
from tumorgen.method.scan import Scan
from tumorgen.method.settings import Settings

RECIPE = load_recipe("published")
OWN = ("texture_model", "grain_mm", "clump_mm", "least_chance", "chance_span", "texture_level")


@pytest.fixture(scope="module")
def liver() -> Scan:
    return ball_scan((2.5, 2.5, 2.5), noise_sd=5.0)


def drawn(scan: Scan, settings: Settings, count: int = 30):
    return [tumor for variant in range(count) for tumor in draw_variant(scan, settings, 5, variant).tumors]


def test_every_number_is_drawn_from_its_range(liver):
    tumors = drawn(liver, RECIPE)
    assert len(tumors) > 60
    numbers = {name: np.array([getattr(tumor, name) for tumor in tumors]) for name in OWN[1:]}
    for name, (low, high) in {
        "clump_mm": (3, 15),
        "least_chance": (0.04, 0.06),
        "chance_span": (0.19, 0.21),
        "texture_level": (0.50, 0.55),
        "grain_mm": (3, 8),
    }.items():
        assert (numbers[name].min() >= low, numbers[name].max() <= high) == (True, True), name
        assert np.ptp(numbers[name]) > 0.8 * (high - low), name
    assert (numbers["grain_mm"] < 5).mean() == pytest.approx(0.7, abs=0.15)
    drops = (liver.mu_p_hu - np.array([tumor.mu_t_hu for tumor in tumors])) / numbers["texture_level"]
    assert (drops.min() > 64.9, drops.max() < 145.1, np.ptp(drops) > 60) == (True, True, True)
    assert {tumor.deform_points for tumor in tumors} == {3}
    assert all(1 <= tumor.sigma_c_mm <= 2 for tumor in tumors)
    assert all(tumor.mass_effect_percent == tumor.capsule_hu == 0 for tumor in tumors)


def test_the_manifest_says_what_mu_t_was_drawn_from(liver):
    bounds = mu_range(RECIPE, 100.0)
    assert (bounds.low_hu, bounds.high_hu) == pytest.approx((100 - 145 * 0.55, 100 - 65 * 0.50))
    plan = draw_variant(liver, RECIPE, 0, 0)
    assert all(plan.mu_t_low_hu <= tumor.mu_t_hu <= plan.mu_t_high_hu for tumor in plan.tumors)


def test_a_texture_model_changes_nothing_else(liver):
    plain = replace(RECIPE, texture=replace(RECIPE.texture, model="paper"))
    pairs = list(zip(drawn(liver, RECIPE, 3), drawn(liver, plain, 3), strict=True))
    assert pairs
    for own, paper in pairs:
        assert replace(own, **{name: getattr(paper, name) for name in OWN}) == paper


def test_the_texture_takes_any_other_intensity(liver):
    portal = replace(RECIPE, intensity=replace(RECIPE.intensity, model="portal"))
    tumor = drawn(liver, portal, 1)[0]
    assert tumor.texture_model == "published"
    assert liver.mu_p_hu - 98 <= tumor.mu_t_hu <= liver.mu_p_hu + 61


def test_tumours_come_out_as_dark_as_they_are_drawn(liver):
    """A tumour's own mean departs from that of an endless texture; over many it does not."""
    plans = [draw_variant(liver, replace(RECIPE, sizes=("small",)), 5, variant) for variant in range(8)]
    ratios = [
        outcome.contrast_hu / (tumor.mu_t_hu - plan.mu_p_hu)
        for plan in plans
        for tumor, outcome in zip(plan.tumors, render(liver, plan).outcomes, strict=True)
    ]
    # The edge's blur takes a quarter of the contrast of tumours of 8 mm, and the mean is 2 % below the level.
    assert np.mean(ratios) == pytest.approx(0.8, abs=0.1)
    assert np.std(ratios) < 0.2
