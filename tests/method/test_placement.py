"""Places: clear of vessels, apart from one another, each as likely; and what happens where there is no room."""

from __future__ import annotations

import numpy as np
import pytest
from examples import ball, plans, scan_of
from scipy import stats

from tumorgen.method.placement import count_clear, draw_candidate, reach_mm
from tumorgen.method.recipes import load_recipe
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan
from tumorgen.method.settings import Settings, Vessels, override

# The published table, written out: r, tumours, sigma_e.

RADII = {"tiny": 4.0, "small": 8.0, "medium": 16.0}  # of the published table


def vessel_points(scan: Scan) -> np.ndarray:
    """Centres (n, 3) of the vessel voxels in space."""
    z, y, x = np.nonzero(scan.vessels)
    shifted = zip(z + scan.roi[0].start, y + scan.roi[1].start, x + scan.roi[2].start, strict=True)
    return np.array([scan.geometry.to_mm(tuple(map(float, v))) for v in shifted])


@pytest.mark.parametrize("name", ["tiny", "small", "medium"])
def test_no_vessel_voxel_within_r(tube, name):
    assert 0 < count_clear(tube, RADII[name]) < tube.candidates.size  # the test has something to find
    vessels = vessel_points(tube)
    seen = 0
    for plan in plans(tube, 6, sizes=(name,)):
        assert plan.notes in ("", "fewer_placed")
        for tumor in plan.tumors:
            nearest = np.sqrt(((vessels - tumor.center_mm) ** 2).sum(axis=1).min())
            # Centres are rounded to 1e-4 mm.
            assert nearest > tumor.radius_mm - 1e-3
            seen += 1
    assert seen >= 8


def test_centres_are_liver_voxels(tube):
    for plan in plans(tube, 5):
        for tumor in plan.tumors:
            index = tube.geometry.to_index(tumor.center_mm)
            voxel = tuple(round(i) for i in index)
            np.testing.assert_allclose(index, voxel, atol=1e-3)
            assert tube.liver[voxel]


def test_every_admissible_place_is_as_likely(tube):
    count = count_clear(tube, 16.0)
    rng = np.random.default_rng(0)
    drawn = [draw_candidate(tube, 16.0, lambda p: np.ones(len(p), bool), rng) for _ in range(20_000)]
    assert all(clear for _, clear in drawn)
    bins = np.bincount([pick * 20 // count for pick, _ in drawn], minlength=20)
    assert bins.size == 20
    expected = np.bincount(np.arange(count) * 20 // count, minlength=20) / count * 20_000
    assert stats.chisquare(bins, expected).pvalue > 1e-4


def test_a_small_admissible_set_is_found_and_used_up(tube):
    # Only three candidates are allowed: the first look at some of them hardly ever hits, the second must.
    allowed = np.random.default_rng(1).choice(count_clear(tube, 8.0), 3, replace=False)
    indices = [tube.voxel(int(pick)) for pick in allowed]
    points = np.array([[i * s for i, s in zip(v, tube.geometry.spacing_mm, strict=True)] for v in indices])

    def keep(positions: np.ndarray) -> np.ndarray:
        return (np.abs(positions[:, None] - points).max(axis=2) < 1e-6).any(axis=1)

    rng = np.random.default_rng(2)
    drawn = [draw_candidate(tube, 8.0, keep, rng) for _ in range(35)]
    assert all(clear for _, clear in drawn)
    assert {pick for pick, _ in drawn} == {int(a) for a in allowed}  # (2/3)^35 that one is missing


def test_no_allowed_place_is_said(tube):
    rng = np.random.default_rng(0)
    assert draw_candidate(tube, 8.0, lambda p: np.zeros(len(p), bool), rng) == (None, False)
    assert draw_candidate(tube, None, lambda p: np.zeros(len(p), bool), rng)[0] is None


def test_where_no_place_is_clear_the_tumour_is_placed_and_it_is_said(red):
    for plan in plans(red, 4, sizes=("tiny", "large")):
        assert "vessels_unavoidable" in plan.notes.split()
        assert plan.tumors
        outcomes = render(red, plan).outcomes
        assert all(outcome.vessel_overlap > 0.9 for outcome in outcomes)
        first = outcomes[0]
        assert first.volume_mm3 > 0


def test_where_no_place_is_clear_the_clearest_tenth_is_used(tube):
    scan = tube
    radius = float(scan.clearance_mm[0]) + 1.0
    assert count_clear(scan, radius) == 0
    rng = np.random.default_rng(3)
    drawn = [draw_candidate(scan, radius, lambda p: np.ones(len(p), bool), rng) for _ in range(300)]
    assert not any(clear for _, clear in drawn)
    picks = [pick for pick, _ in drawn]
    assert max(picks) < scan.candidates.size / 10
    assert len(set(picks)) > 100  # never the same one voxel


def test_vessels_are_not_asked_for_when_they_need_not_be_avoided(red):
    for plan in plans(red, 3, sizes=("tiny",), vessels=Vessels(avoid=False)):
        assert "vessels_unavoidable" not in plan.notes
        assert not plan.vessels_avoided
        assert render(red, plan).outcomes[0].vessel_overlap > 0  # recorded all the same


def test_a_liver_without_room_gets_fewer_and_it_is_said():
    liver = np.zeros((20, 20, 20), bool)
    liver[8:12, 8:12, 8:12] = True
    scan = scan_of(np.full(liver.shape, 100.0), liver=liver)
    for plan in plans(scan, 4, sizes=("small",)):
        assert len(plan.tumors) == 1 < plan.tumors_requested
        assert "fewer_placed" in plan.notes.split()


@pytest.mark.parametrize("pattern", ["classes", "multifocal"])
def test_tumours_of_one_sample_do_not_run_into_each_other(any_scan, pattern):
    for variant, name in enumerate(("tiny", "small", "medium", "mix")):
        plan = draw_variant(any_scan, Settings(pattern=pattern, sizes=(name,)), 5, variant)
        patch = render(any_scan, plan)
        label = patch.apply(any_scan)[1]
        volume = (label == 2).sum() * any_scan.geometry.voxel_volume_mm3
        # No voxel belongs to two, and none was moved by another's mass effect: the volumes add up.
        assert sum(o.volume_mm3 for o in patch.outcomes) == pytest.approx(volume, rel=1e-6)
        for i, one in enumerate(plan.tumors):
            for other in plan.tumors[:i]:
                apart = np.linalg.norm(np.subtract(one.center_mm, other.center_mm))
                assert apart >= reach_mm(one) + reach_mm(other) - 1e-3


def test_reach_of_a_tumour():
    assert reach_mm(ball(8.0, half_axes=(6.0, 9.0, 8.0))) == 9.0
    assert reach_mm(ball(8.0, half_axes=(6.0, 9.0, 8.0), mass_effect_percent=30.0)) == 10.4
    assert reach_mm(ball(8.0, half_axes=(6.0, 12.0, 8.0), mass_effect_percent=30.0)) == 12.0


def test_a_main_tumour_without_room_has_no_satellites():
    """They lie around it: where there is none, the first of them would be taken for it."""
    liver = np.zeros((24, 24, 24), bool)
    liver[2:22, 2:22, 2:22] = True  # 20 mm, for a main tumour of 32 and satellites of 2 to 5 mm
    scan = scan_of(np.full(liver.shape, 100.0), liver=liver)
    settings = override(load_recipe(), pattern="satellite", sizes="medium")
    for seed in range(3):
        plan = draw_variant(scan, settings, seed, 0)
        assert plan.tumors_requested > 1
        assert (plan.tumors, plan.notes) == ((), "fewer_placed volume_low")
