"""Sampling: Table 1, the size table, the patterns, and draws that only identity decides."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from examples import flat_scan, plans
from phantoms import ball_scan, ball_volume
from scipy import stats

from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import IDENTITY, Geometry
from tumorgen.method.plan import sample_name
from tumorgen.method.recipes import RECIPES, load_recipe
from tumorgen.method.sampling import draw_drafts, draw_plan, draw_variant, mu_range, variant_class
from tumorgen.method.scan import prepare_scan
from tumorgen.method.settings import (
    Annotation,
    Capsule,
    Intensity,
    Satellite,
    Settings,
    Size,
    Texture,
    Vessels,
    override,
)

# The published table, written out: r, tumours, sigma_e.
TABLE = {
    "tiny": (4.0, (3, 10), (0.5, 1.0)),
    "small": (8.0, (3, 10), (1.0, 2.0)),
    "medium": (16.0, (2, 5), (3.0, 6.0)),
    "large": (32.0, (1, 3), (5.0, 10.0)),
}
MIXED = {"tiny": (3, 10), "small": (5, 10), "medium": (2, 5), "large": (1, 3)}


# --- what is drawn ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLE)
def test_the_size_table(quiet, name):
    radius, (least, most), sigma_e = TABLE[name]
    drawn = plans(quiet, 100, sizes=(name,))
    counts = Counter(plan.tumors_requested for plan in drawn)
    assert set(counts) == set(range(least, most + 1))  # (7/8)^100 that one of eight is missing
    tumors = [tumor for plan in drawn for tumor in plan.tumors]
    assert {t.radius_mm for t in tumors} == {radius}
    assert {t.size_class for t in tumors} == {name}
    assert {t.deform_points for t in tumors} == {5}
    strengths = np.array([t.sigma_e_mm for t in tumors])
    assert stats.kstest(strengths, stats.uniform(sigma_e[0], sigma_e[1] - sigma_e[0]).cdf).pvalue > 1e-4
    halves = np.array([t.half_axes_mm for t in tumors]) / radius
    for axis in range(3):
        assert stats.kstest(halves[:, axis], stats.uniform(0.75, 0.5).cdf).pvalue > 1e-4
    assert 0.75 <= halves.min() < 0.77
    assert 1.23 < halves.max() <= 1.25
    assert np.abs(np.corrcoef(halves.T) - np.eye(3)).max() < 0.35  # three draws, not one


def test_eta_has_two_decimals_but_for_the_ends_of_its_range(quiet):
    """Rendering keeps the filters of each eta: there must be few."""

    def etas(low: float, high: float) -> set[float]:
        drawn = plans(quiet, 40, sizes=("tiny",), texture=Texture(eta=(low, high)))
        return {t.eta for plan in drawn for t in plan.tumors}

    assert etas(1.375, 1.375) == {1.375}
    drawn = etas(1.1234, 1.1678)
    assert drawn <= {1.1234, 1.13, 1.14, 1.15, 1.16, 1.1678}
    assert len(drawn) == 6


def test_table_1(quiet):
    tumors = [t for plan in plans(quiet, 80, sizes=("tiny", "small")) for t in plan.tumors]
    for name, low, high in (("eta", 1.1, 1.5), ("sigma_c_mm", 0.6, 1.2), ("mu_t_hu", 30.0, quiet.mu_p_hu - 10)):
        values = np.array([getattr(t, name) for t in tumors])
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-4, name
    for tumor in tumors:
        assert tumor.sigma_b_mm == 0.6
        assert tumor.mass_effect_percent == 30.0
        assert tumor.gamma_max_mm == pytest.approx(1.3 * tumor.radius_mm, abs=1e-4)
        assert (tumor.capsule_low, tumor.capsule_high) == (0.4, 0.7)
        assert (tumor.capsule_hu, tumor.sigma_d_mm) == (120.0, 0.8)
        assert tumor.sigma_t_hu == pytest.approx(quiet.sigma_p_hu, abs=1e-4)
    assert len({t.shape_seed for t in tumors} | {t.texture_seed for t in tumors}) == 2 * len(tumors)


def test_mix_draws_every_class(quiet):
    drawn = plans(quiet, 25, sizes=("mix",))
    assert {plan.size_class for plan in drawn} == {"mix"}
    requested = [plan.tumors_requested for plan in drawn]
    assert min(requested) >= sum(low for low, _ in MIXED.values())
    assert max(requested) <= sum(high for _, high in MIXED.values())
    # What is requested is drawn class by class; all of it, where places are not asked for, is seen in the draws.
    roomy = Settings(
        sizes=("mix",),
        shape=replace(Settings().shape, half_axes=(0.1, 0.1)),
        mass_effect=replace(Settings().mass_effect, reach=0.1),
        classes={name: Size(r, count, (0.0, 0.0)) for name, (r, count, _) in TABLE.items()},
    )
    for variant in range(12):
        plan = draw_variant(quiet, roomy, 0, variant)
        counts = Counter(t.size_class for t in plan.tumors)
        assert len(plan.tumors) == plan.tumors_requested
        for name, (low, high) in MIXED.items():
            assert low <= counts[name] <= high
        assert [t.radius_mm for t in plan.tumors] == sorted((t.radius_mm for t in plan.tumors), reverse=True)


@pytest.mark.parametrize(
    ("mu_p", "interval", "lowered"),
    [
        (110.0, (30.0, 100.0), False),
        (55.0, (30.0, 45.0), False),
        (40.5, (30.0, 30.5), False),
        (40.0, (0.0, 30.0), True),
        (35.0, (-5.0, 25.0), True),
        (5.0, (-35.0, -5.0), True),
    ],
)
def test_interval_of_mu_t(mu_p, interval, lowered):
    found = mu_range(Settings(), mu_p)
    assert (found.low_hu, found.high_hu, found.lowered) == (*interval, lowered)
    rng = np.random.default_rng(0)
    drawn = np.array([found.draw(rng) for _ in range(2000)])
    assert stats.kstest(drawn, stats.uniform(interval[0], interval[1] - interval[0]).cdf).pvalue > 1e-4
    if lowered:  # contrast 10 to 40 HU
        assert ((mu_p - drawn >= 10) & (mu_p - drawn <= 40)).all()


def test_a_lowered_interval_is_noted_and_recorded():
    volume, liver = ball_volume((3.0, 3.0, 3.0))
    dark = prepare_scan(replace(volume, array=volume.array - 62), liver, Vessels(), "fatty")
    plan = draw_variant(dark, Settings(sizes=("tiny",)), 0, 0)
    assert plan.notes.split() == sorted(plan.notes.split())
    assert "mu_t_lowered" in plan.notes.split()
    assert plan.mu_t_low_hu == pytest.approx(dark.mu_p_hu - 40, abs=1e-4)
    assert plan.mu_t_high_hu == pytest.approx(dark.mu_p_hu - 10, abs=1e-4)
    assert all(plan.mu_t_low_hu <= t.mu_t_hu <= plan.mu_t_high_hu for t in plan.tumors)


@pytest.mark.parametrize(
    ("model", "low", "mean", "high"), [("portal", -98.0, -11.0, 61.0), ("arterial", -44.0, 26.0, 146.0)]
)
def test_clinical_contrasts(quiet, model, low, mean, high):
    settings = Settings(intensity=Intensity(model=model))
    found = mu_range(settings, 100.0)
    assert (found.low_hu, found.high_hu) == (100 + low, 100 + high)
    rng = np.random.default_rng(0)
    contrast = np.array([found.draw(rng) for _ in range(40_000)]) - 100
    assert low <= contrast.min() < low + 3
    assert high - 3 < contrast.max() <= high
    assert contrast.mean() == pytest.approx(mean, abs=0.8)  # four errors of 39 HU / sqrt(40 000)
    mode = 3 * mean - low - high
    triangle = stats.triang((mode - low) / (high - low), loc=low, scale=high - low)
    assert stats.kstest(contrast, triangle.cdf).pvalue > 1e-4
    plan = draw_variant(quiet, settings, 0, 0)
    assert all(plan.mu_t_low_hu <= t.mu_t_hu <= plan.mu_t_high_hu for t in plan.tumors)
    assert "mu_t_lowered" not in plan.notes


# --- patterns --------------------------------------------------------------------------------------------------------


def test_single_is_one(quiet):
    drawn = plans(quiet, 10, pattern="single")
    assert {plan.tumors_requested for plan in drawn} == {1}
    assert [plan.tumors[0].size_class for plan in drawn][:4] == list(TABLE)
    assert {len(plan.tumors) for plan in drawn} == {1}


def test_single_of_a_mix_is_of_any_class(quiet):
    drawn = plans(quiet, 60, pattern="single", sizes=("mix",))
    assert {plan.tumors[0].size_class for plan in drawn} == set(TABLE)
    assert {len(plan.tumors) for plan in drawn} == {1}


def test_multifocal_is_two_to_five_of_one_class(quiet):
    drawn = plans(quiet, 60, pattern="multifocal", sizes=("small", "tiny"))
    assert {plan.tumors_requested for plan in drawn} == {2, 3, 4, 5}
    for plan in drawn:
        assert {t.size_class for t in plan.tumors} == {plan.size_class}


def test_satellites_lie_around_the_main_tumour():
    scan = ball_scan((2.5, 2.5, 2.5), noise_sd=5.0)
    drawn = plans(scan, 40, pattern="satellite", sizes=("medium",))
    assert {plan.tumors_requested for plan in drawn} == set(range(1 + 3, 1 + 8 + 1))
    for plan in drawn:
        main, *others = plan.tumors
        assert main.radius_mm == 16.0
        assert main.deform_points == 7
        assert 1.25 * 3 - 1e-3 <= main.sigma_e_mm <= 1.25 * 6 + 1e-3
        for other in others:
            assert 0.1 * 16 - 1e-4 <= other.radius_mm <= 0.3 * 16 + 1e-4
            distance = np.linalg.norm(np.subtract(other.center_mm, main.center_mm))
            assert 1.1 * 16 - 1e-3 <= distance <= 1.8 * 16 + 1e-3
            assert other.deform_points == 5
            assert other.gamma_max_mm == pytest.approx(1.3 * other.radius_mm, abs=2e-4)
            assert all(0.75 - 1e-3 <= h / other.radius_mm <= 1.25 + 1e-3 for h in other.half_axes_mm)
            assert 3 / 16 - 1e-3 <= other.sigma_e_mm / other.radius_mm <= 6 / 16 + 1e-3


@pytest.mark.parametrize("size_class", ["large", "real"])
def test_satellites_of_fitted_shapes_are_scaled_to_their_main_tumour_and_that_is_irregular(size_class):
    """Satellites have 0.1 to 0.3 of the main radius, whatever `real` draws; the main one has a stronger sigma_e."""
    settings = override(load_recipe(), pattern="satellite", sizes=size_class)
    plain = replace(settings, satellite=replace(settings.satellite, sigma_e_factor=1.0))
    for seed in range(10):
        main, *others = draw_drafts(settings, size_class, (100.0, 12.0), np.random.default_rng(seed))
        assert others
        assert all(0.0999 <= tumor.radius_mm / main.radius_mm <= 0.3001 for tumor in others)
        regular, *same = draw_drafts(plain, size_class, (100.0, 12.0), np.random.default_rng(seed))
        assert main.sigma_e_mm == pytest.approx(1.25 * regular.sigma_e_mm, abs=1e-4)
        assert main.deform_points == 7
        assert others == same


def test_no_satellites_leave_the_main_tumour(quiet):
    (plan,) = plans(quiet, 1, pattern="satellite", sizes=("medium",), satellite=Satellite(count=(0, 0)))
    assert [t.deform_points for t in plan.tumors] == [7]


def test_satellites_below_the_least_radius_of_a_capsule_have_none(quiet):
    capsule = Capsule(least_radius_mm=10.0)  # a satellite of a medium tumour of 16 mm has 4.8 mm at most
    for plan in plans(quiet, 5, pattern="satellite", sizes=("medium",), capsule=capsule):
        main, *others = plan.tumors
        assert main.capsule_hu == capsule.added_hu
        assert len(others) >= 1
        assert {other.capsule_hu for other in others} == {0.0}


def test_a_tumour_of_the_least_radius_itself_has_a_capsule(quiet):
    for radius, added in ((8.00004, 20.0), (7.9998, 0.0)):  # the row has four decimals
        size = Size(radius, (1, 1), (1.0, 2.0))
        settings = {"sizes": ("own",), "classes": {"own": size}, "mix": {}}
        (plan,) = plans(quiet, 1, **settings, capsule=Capsule(least_radius_mm=8.00004, added_hu=20.0))
        assert plan.tumors[0].capsule_hu == added


# --- identity, ablation ----------------------------------------------------------------------------------------------

PLACES = {"center_x_mm", "center_y_mm", "center_z_mm"}
STEPS = {
    "vessels": PLACES,
    "elastic": {"sigma_e_mm"},
    "edge-blur": {"sigma_c_mm", "capsule_hu"},
    "mass-effect": {"mass_effect_percent"},
    "capsule": {"capsule_hu"},
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_off_leaves_every_other_draw(tube, step):
    for name in ("tiny", "medium", "mix"):
        on = Settings(sizes=(name,))
        off = override(on, without=(step,))
        drawn = [draw_plan(tube, s, np.random.default_rng(3), name) for s in (on, off)]
        assert drawn[0].tumors_requested == drawn[1].tumors_requested
        # Some may find no room in one of the two: the same tumours are those with the same seed.
        paired = {t.shape_seed: t for t in drawn[1].tumors}
        both = [(t, paired[t.shape_seed]) for t in drawn[0].tumors if t.shape_seed in paired]
        assert len(both) >= min(len(d.tumors) for d in drawn) - 2
        for one, other in both:
            differ = {n for n in one.__dataclass_fields__ if getattr(one, n) != getattr(other, n)}
            assert differ <= STEPS[step] | PLACES
        first, second = drawn[0].tumors[0], drawn[1].tumors[0]
        for switch in STEPS[step] - PLACES:
            assert getattr(second, switch) == 0 != getattr(first, switch)


@pytest.mark.parametrize("step", ["elastic", "edge-blur", "mass-effect", "capsule"])
def test_a_step_that_is_off_leaves_the_places(quiet, step):
    for name in ("small", "medium", "mix"):
        on = Settings(sizes=(name,))
        for seed in range(4):
            settings = (on, override(on, without=(step,)))
            with_it, without = (draw_plan(quiet, s, np.random.default_rng(seed), name) for s in settings)
            assert [t.center_mm for t in with_it.tumors] == [t.center_mm for t in without.tumors]


def test_a_plan_is_the_same_whatever_was_drawn_before(quiet):
    alone = draw_variant(quiet, Settings(), 9, 17)
    for variant in range(3):
        draw_variant(quiet, Settings(), 9, variant)
    assert draw_variant(quiet, Settings(), 9, 17) == alone
    assert alone.sample == "ball_v0017"
    assert (alone.seed, alone.variant, alone.case) == (9, 17, "ball")


def test_seed_case_and_variant_each_change_the_draws(quiet):
    settings = Settings(sizes=("small",))
    base = draw_variant(quiet, settings, 0, 0)
    others = [
        draw_variant(quiet, settings, 1, 0),
        draw_variant(quiet, settings, 0, 1),
        draw_variant(replace(quiet, case="other"), settings, 0, 0),
    ]
    drawn = [tuple(t.shape_seed for t in plan.tumors) for plan in (base, *others)]
    assert len(set(drawn)) == 4


def test_draws_do_not_depend_on_the_scan(quiet, tube):
    # The same identity in another liver: the same tumours, but for intensities and places.
    settings = Settings(sizes=("small",))
    one, other = (draw_plan(s, settings, np.random.default_rng(4), "small") for s in (quiet, tube))
    for a, b in zip(one.tumors, other.tumors, strict=False):
        assert (a.half_axes_mm, a.eta, a.shape_seed, a.texture_seed) == (
            b.half_axes_mm,
            b.eta,
            b.shape_seed,
            b.texture_seed,
        )


def test_a_known_plan():
    # Pins numpy's streams and the order of the draws: a change here makes every published seed draw something else.
    plan = draw_variant(flat_scan((40, 40, 40)), Settings(sizes=("tiny",)), 0, 0)
    known = {
        "half_axis_z_mm": 3.729,
        "half_axis_y_mm": 4.2967,
        "half_axis_x_mm": 3.6093,
        "sigma_e_mm": 0.6388,
        "sigma_c_mm": 0.7142,
        "eta": 1.15,
        "shape_seed": 3743232430,
        "texture_seed": 486069428,
        "mu_t_hu": 52.6642,
        "center_x_mm": -7.0,
        "center_y_mm": 34.0,
        "center_z_mm": 439.0,
    }
    assert plan.tumors_requested == 4
    assert {name: getattr(plan.tumors[0], name) for name in known} == known


def test_no_global_random_state(quiet):
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    draw_variant(quiet, Settings(), 0, 0)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_what_is_drawn_is_what_is_written(quiet):
    for plan in plans(quiet, 5):
        for tumor in plan.tumors:
            for name in tumor.__dataclass_fields__:
                value = getattr(tumor, name)
                assert type(value) in (int, float, str)
                if isinstance(value, float):
                    assert round(value, 4) == value


def test_variants_share_the_classes_evenly():
    settings = Settings(sizes=("tiny", "small", "large"))
    assert Counter(variant_class(settings, v) for v in range(20)) == {"tiny": 7, "small": 7, "large": 6}
    assert Counter(variant_class(Settings(), v) for v in range(20)) == dict.fromkeys((*TABLE, "mix"), 4)


def test_sample_names():
    assert sample_name("a", 3) == "a_v0003"
    assert sample_name("a", 12345) == "a_v12345"


def test_small_tumours_can_go_without_a_capsule(quiet):
    settings = Settings(sizes=("mix",), capsule=Capsule(least_radius_mm=16.0))
    plan = draw_variant(quiet, settings, 0, 0)
    assert {t.size_class: t.capsule_hu > 0 for t in plan.tumors} == {
        t.size_class: t.radius_mm >= 16 for t in plan.tumors
    }
    assert {t.capsule_hu for t in plan.tumors} == {0.0, 120.0}


def test_a_class_of_ones_own(quiet):
    settings = Settings(sizes=("huge",), classes={"huge": Size(20.0, (1, 1), (0.0, 0.0))}, mix={})
    (plan,) = [draw_variant(quiet, settings, 0, 0)]
    assert [(t.radius_mm, t.sigma_e_mm, t.size_class) for t in plan.tumors] == [(20.0, 0.0, "huge")]


def test_the_plan_is_pinned_to_its_scan(quiet):
    plan = draw_variant(quiet, Settings(), 0, 0)
    assert (plan.source_image_sha256, plan.source_mask_sha256) == (quiet.image_sha256, quiet.mask_sha256)
    assert (plan.shape_z, plan.shape_y, plan.shape_x) == quiet.geometry.shape
    assert (plan.spacing_z_mm, plan.spacing_y_mm, plan.spacing_x_mm) == quiet.geometry.spacing_mm
    assert plan.mu_p_hu == pytest.approx(quiet.mu_p_hu, abs=1e-4)


@pytest.mark.parametrize(("seed", "variant"), [(-1, 0), (0, -1)])
def test_negative_seeds_are_refused(quiet, seed, variant):
    with pytest.raises(TumorgenError, match="must not be negative"):
        draw_variant(quiet, Settings(), seed, variant)


def test_an_unknown_class_is_refused(quiet):
    with pytest.raises(TumorgenError, match="unknown size class 'huge'; choose from tiny"):
        draw_plan(quiet, Settings(), np.random.default_rng(0), "huge")


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_the_label_that_the_settings_ask_for(quiet, recipe):
    settings = override(load_recipe(recipe), sizes="tiny")
    drawn = draw_variant(quiet, replace(settings, annotation=Annotation(0.7, 0.2)), 0, 0)
    exact = draw_variant(quiet, settings, 0, 0)
    assert drawn.tumors
    assert {(t.label_inset_mm, t.label_jitter_mm) for t in drawn.tumors} == {(0.7, 0.2)}
    assert exact == replace(
        drawn, tumors=tuple(replace(t, label_inset_mm=0.0, label_jitter_mm=0.0) for t in drawn.tumors)
    )


SAGITTAL = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # the first axis of the array is the patient's left to right


@pytest.mark.parametrize(("direction", "notes"), [(IDENTITY, ""), (SAGITTAL, "not_axial")])
def test_a_scan_that_is_not_stored_in_axial_slices_is_noted(direction, notes):
    shape = (35, 35, 35)
    scan = ball_scan((4.0, 4.0, 4.0), geometry=Geometry(shape, (4.0, 4.0, 4.0), direction=direction))
    assert draw_variant(scan, Settings(sizes=("tiny",)), 0, 0).notes == notes
