"""Tumours as real ones: tables of quantiles, what a sample shares, sizes and numbers."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from phantoms import ball_scan
from scipy import stats

from tumorgen.errors import TumorgenError
from tumorgen.fields import dump_toml, from_plain
from tumorgen.method.real import draw_count, draw_from, draw_real_sizes, draw_sharing, draws_faint, quantile
from tumorgen.method.recipes import RECIPES, load_recipe
from tumorgen.method.sampling import draw_drafts, draw_plan
from tumorgen.method.settings import REAL, Real, Settings, override

TABLE = (0.0, 1.0, 3.0, 10.0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_table_holds_quantiles_at_equal_steps_of_probability():
    assert [quantile(TABLE, p) for p in (0, 1 / 3, 0.5, 2 / 3, 1)] == pytest.approx([0, 1, 2, 3, 10])


def test_draws_follow_the_table(rng):
    drawn = [draw_from(TABLE, rng) for _ in range(4000)]
    assert stats.kstest(drawn, lambda x: np.interp(x, TABLE, [0, 1 / 3, 2 / 3, 1])).pvalue > 0.01


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_what_is_shared_leaves_the_distribution_as_it_is_and_correlates_a_sample(shared, rng):
    traits = rng.standard_normal(3000)
    pairs = np.array([[draw_sharing(TABLE, shared, t, rng) for _ in range(2)] for t in traits])
    assert stats.kstest(pairs[:, 0], lambda x: np.interp(x, TABLE, [0, 1 / 3, 2 / 3, 1])).pvalue > 0.01
    ranks = stats.spearmanr(pairs[:, 0], pairs[:, 1]).statistic
    assert ranks == pytest.approx(6 / np.pi * np.arcsin(shared / 2), abs=0.06)  # of a Gaussian copula


def test_what_is_too_faint_to_be_seen_is_not_drawn_unless_hardly_any_would_be_left(rng):
    drawn = [draw_sharing(TABLE, 0.3, 0.0, rng, below=1.5) for _ in range(500)]
    assert 1.2 < max(drawn) <= 1.5
    assert max(draw_sharing(TABLE, 0.0, 0.0, rng, below=0.01) for _ in range(500)) > 5


def test_numbers_and_sizes_come_from_their_tables(rng):
    real = Real(radius_mm=(3.0, 5.0), count=(2.0, 4.0))
    assert {draw_count(real, rng) for _ in range(200)} == {2, 3, 4}
    assert all(3 <= size.radius_mm <= 5 for size in draw_real_sizes(real, 50, rng))


def test_size_real_draws_numbers_and_sizes_whatever_the_recipe(rng):
    scan = ball_scan((3.0, 3.0, 3.0))
    settings = replace(Settings(), sizes=(REAL,), real=Real(radius_mm=(3.0, 5.0), count=(2.0, 2.0)))
    plan = draw_plan(scan, settings, rng, REAL)
    assert plan.tumors_requested == 2
    assert {tumor.size_class for tumor in plan.tumors} == {REAL}
    assert all(3 <= tumor.radius_mm <= 5 for tumor in plan.tumors)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_complete(name):
    text = files("tumorgen.recipes").joinpath(f"{name}.toml").read_text()
    assert tomllib.loads(text) == tomllib.loads(dump_toml(load_recipe(name)))


def test_turing_is_table_1_with_all_steps_and_paper_lacks_capsule_and_mass_effect():
    turing, paper = load_recipe("turing"), load_recipe("paper")
    assert turing == replace(Settings(), mass_effect=replace(Settings().mass_effect, bone_hu=180.0))
    assert (paper.mass_effect.enabled, paper.capsule.enabled) == (False, False)
    assert replace(paper, mass_effect=turing.mass_effect, capsule=turing.capsule) == turing


def test_an_unknown_recipe_is_refused():
    with pytest.raises(TumorgenError, match="unknown recipe 'other'; choose from lifelike, paper"):
        load_recipe("other")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intensity": {"model": "fitted"}}, r"intensity\.model draws from the tables of real\.bins"),
        ({"real": {"count": []}}, r"real\.count is empty"),
        ({"real": {"radius_mm": [5.0, 3.0]}}, r"real\.radius_mm: 3 comes after 5; quantiles must not fall"),
        ({"classes": {"real": {"radius_mm": 3, "count": [1, 1], "sigma_e_mm": [0, 0]}}}, "a meaning of its own"),
    ],
)
def test_settings_that_cannot_be_drawn_from_are_refused(change, message):
    with pytest.raises(TumorgenError, match=message):
        from_plain(Settings, change)


@pytest.mark.parametrize("intensity", ["fitted", "arterial"])
def test_the_middle_of_a_bright_tumour_is_darker_too(intensity):
    settings = override(load_recipe(), intensity=intensity, sizes="large")
    seeds = range(30)
    drawn = [draw_drafts(settings, "large", (100.0, 12.0), np.random.default_rng(seed))[0] for seed in seeds]
    assert all(tumor.necrosis_hu < 0 for tumor in drawn)
    assert any(tumor.mu_t_hu > 100 for tumor in drawn) == (intensity == "arterial")
    parts = [abs(tumor.necrosis_hu / (tumor.mu_t_hu - 100)) for tumor in drawn]
    assert max(parts) <= settings.texture.necrosis[1] + 1e-3


@pytest.mark.parametrize(("sigma_p", "notes"), [(12.0, ""), (120.0, "faint_drawn")])
def test_a_scan_in_which_hardly_any_tumour_is_visible_gets_faint_ones_and_that_is_noted(sigma_p, notes):
    scan = replace(ball_scan((4.0, 4.0, 4.0)), sigma_p_hu=sigma_p)
    settings = override(load_recipe(), sizes="small")
    plans = [draw_plan(scan, settings, np.random.default_rng(seed)) for seed in range(4)]
    assert {plan.notes for plan in plans} == {notes}
    faintest = max(tumor.mu_t_hu - scan.mu_p_hu for plan in plans for tumor in plan.tumors)
    assert (faintest > -settings.real.least_visible * sigma_p) == bool(notes)


def test_a_table_of_bright_tumours_has_none_that_is_too_faint():
    settings = load_recipe()
    bright = tuple(replace(each, contrast_hu=(20.0, 40.0)) for each in settings.real.bins)
    assert not draws_faint(replace(settings, real=replace(settings.real, bins=bright)), [8.0], 120.0)
