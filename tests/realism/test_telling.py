"""Telling sets apart: alike ones it cannot, others it can, and it names what they differ by."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from lesion_tables import lesions

from tumorgen.realism import telling
from tumorgen.realism.comparing import APPEARANCE
from tumorgen.realism.matching import Contest, arrange_contest, without_unknown
from tumorgen.realism.telling import FORESTS, Verdict, judge_by_forest, weighted_auc

LOOKS, PLACES, _ = FORESTS


@pytest.fixture(autouse=True)
def small_forests(monkeypatch):
    """Forests that are grown in no time, and tell as much of what is told here."""
    monkeypatch.setattr(telling, "TREES", 40)


def judge(classifier: str, real: pd.DataFrame, synthetic: pd.DataFrame, seed: int = 0) -> Verdict:
    return judge_by_forest(classifier, real, synthetic, arrange_contest(real, synthetic), seed=seed)


def test_two_halves_of_one_set_are_not_told_apart():
    for classifier in FORESTS:
        verdict = judge(classifier, lesions(0, 120), lesions(1, 300))
        assert verdict.auc.value == pytest.approx(0.5, abs=0.12)  # of 120 and 250 lesions its SD is about 0.03
        assert verdict.auc.low < 0.55
        assert verdict.auc_by_lesion == pytest.approx(0.5, abs=0.12)
        assert verdict.note == ""


def test_bright_rims_are_told_apart_and_named_first():
    verdict = judge(LOOKS, lesions(0), lesions(1, 300, rim_hu=3.0))
    assert verdict.auc.value > 0.9
    assert verdict.auc.low > 0.85
    first = verdict.giveaways[0]
    assert (first.statistic, first.classifier) == ("rim_hu", LOOKS)
    assert first.alone > 0.9
    assert first.importance > 0.2
    assert first.synthetic_median - first.real_median == pytest.approx(3, abs=0.5)
    assert sorted(each.statistic for each in verdict.giveaways) == sorted(APPEARANCE)


def test_of_several_that_say_the_same_each_is_named():
    real, synthetic = lesions(0), lesions(1, 300, rim_hu=3.0)
    same = synthetic.assign(outside_hu=synthetic["rim_hu"], rim_over_contrast=synthetic["rim_hu"])
    alike = real.assign(outside_hu=real["rim_hu"], rim_over_contrast=real["rim_hu"])
    verdict = judge(LOOKS, alike, same)
    assert {each.statistic for each in verdict.giveaways[:3]} == {"rim_hu", "outside_hu", "rim_over_contrast"}


def test_lower_values_have_an_auc_below_a_half_alone():
    verdict = judge(PLACES, lesions(0), lesions(1, 300, depth=-2.0))
    assert verdict.giveaways[0].statistic == "depth"
    assert verdict.giveaways[0].alone < 0.2


def test_medians_weigh_as_the_auc_does():
    """Nine real lesions of 3 mm get four matches each, eleven of 10 mm one: most matches are small, none differs."""
    radii = np.repeat([3.0, 10.0], [9, 11]), np.repeat([3.0, 10.0], [36, 11])
    real, synthetic = (
        lesions(0, len(each), name=name).assign(radius_mm=each, depth=each)
        for name, each in zip("pq", radii, strict=True)
    )
    (depth,) = (each for each in judge(PLACES, real, synthetic).giveaways if each.statistic == "depth")
    assert (depth.alone, depth.real_median, depth.synthetic_median) == (pytest.approx(0.5), 10, 10)


def test_what_is_missing_gives_nothing_away():
    real, synthetic = lesions(0, 120), lesions(1, 300)
    verdict = judge(LOOKS, real, synthetic.assign(lag1=math.nan))
    assert verdict.auc.value == pytest.approx(0.5, abs=0.12)
    (lag1,) = (each for each in verdict.giveaways if each.statistic == "lag1")
    assert math.isnan(lag1.synthetic_median)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_lesions_that_could_not_be_measured_do_not_make_sets_look_alike(share):
    """A clipped lesion has a place and a shape, and no look: what is filled in would be the other lesions' looks."""
    shifted = lesions(1, 300, **dict.fromkeys(APPEARANCE, 3.0))
    real = lesions(0, 80)
    unmeasured = np.arange(len(real)) < share * len(real)
    real.loc[unmeasured, [*APPEARANCE]] = math.nan
    verdict = judge(LOOKS, real, shifted)
    assert verdict.auc.value > 0.97
    assert verdict.auc.count == np.count_nonzero(~unmeasured)
    assert (verdict.unknown_real, verdict.unknown_synthetic) == (np.count_nonzero(unmeasured), 0)
    places = judge(PLACES, real, shifted)
    assert (places.auc.count, places.unknown_real) == (80, 0)


def test_of_sets_without_a_look_there_is_no_auc():
    real = lesions(0, 80)
    verdict = judge(LOOKS, real.assign(**dict.fromkeys(APPEARANCE, math.nan)), lesions(1, 300))
    assert not verdict.auc.defined
    assert not verdict.conclusive
    assert verdict.unknown_real == 80
    assert verdict.note == "no real lesion is left that it could learn from"
    assert verdict.giveaways == ()


def test_a_real_lesion_whose_matches_are_unknown_goes_with_them_and_the_others_share_its_weight():
    real, synthetic = lesions(0, 12, 4), lesions(1, 60, 4)
    contest = arrange_contest(real, synthetic)
    first = contest.pairs == 0
    known = ~(first & contest.is_synthetic)
    matches = np.flatnonzero((contest.pairs == 1) & contest.is_synthetic)
    known[matches[0]] = False
    left = without_unknown(contest, known)
    assert left.real_count == contest.real_count - 1
    assert (left.unknown_real, left.unknown_synthetic) == (0, np.count_nonzero(~known))
    assert left.rows.tolist() == contest.rows[known & ~first].tolist()
    sums = [left.weights[left.is_synthetic == which].sum() for which in (False, True)]
    assert sums == pytest.approx([left.real_count] * 2)
    of_pair = left.weights[left.is_synthetic & (left.pairs == 0)]
    assert len(of_pair) == len(matches) - 1
    assert of_pair.sum() == pytest.approx(left.weights[0])


def test_bins_with_enough_real_lesions_have_an_auc_of_their_own():
    real = lesions(0, 80)
    verdict = judge(LOOKS, real, lesions(1, 400, rim_hu=3.0))
    assert [*verdict.by_radius] == ["<5", "5-10", "10-20"]
    assert all(each.value > 0.85 for each in verdict.by_radius.values())
    assert sum(each.count for each in verdict.by_radius.values()) == verdict.auc.count
    assert [*verdict.by_lesion_and_radius] == ["<5", "5-10", "10-20"]
    assert all(value > 0.85 for value in verdict.by_lesion_and_radius.values())


def test_one_patient_only_has_no_auc_over_patients_and_says_so():
    verdict = judge(LOOKS, lesions(0, patients=1), lesions(1, patients=1))
    assert math.isnan(verdict.auc.value)
    assert verdict.note == "one patient only, so that nobody can be left out"
    assert math.isfinite(verdict.auc_by_lesion)


def test_one_patient_in_one_of_the_sets_is_named():
    verdict = judge(PLACES, lesions(0, patients=3), lesions(1, patients=1))
    assert verdict.note == "synthetic lesions of one patient only, so that nobody can be left out"


def test_one_lesion_cannot_be_left_out():
    verdict = judge(LOOKS, lesions(0, 1), lesions(1, 100))
    assert verdict.note == "one real lesion only, so that none can be left out"
    assert math.isnan(verdict.auc.value)
    assert math.isnan(verdict.auc_by_lesion)
    assert all(math.isnan(each.importance) and each.worth >= 0 for each in verdict.giveaways)


def test_a_patient_with_most_of_the_lesions_is_mentioned():
    real = lesions(0, 40, patients=2)
    real.loc[:29, ["patient", "host"]] = "p0"
    verdict = judge(LOOKS, real, lesions(1, 400, patients=2))
    assert verdict.note.startswith("88 % of the real lesions are of one of 2 patients")


def test_auc_is_the_chance_that_a_synthetic_lesion_scores_higher():
    contest = Contest(
        rows=np.arange(4),
        is_synthetic=np.array([False, False, True, True]),
        patients=np.array(["a", "b", "a", "b"]),
        pairs=np.array([0, 1, 0, 1]),
        weights=np.array([1.0, 3.0, 1.0, 1.0]),
        within_scans=True,
        unmatched=0,
    )
    assert weighted_auc(np.array([1.0, 2.0, 2.0, 3.0]), contest) == pytest.approx((1 + 1 + 3 * 0.5 + 3) / 8)
    assert weighted_auc(np.array([math.nan, 2.0, 2.0, 3.0]), contest) == pytest.approx(0.75)
    assert math.isnan(weighted_auc(np.full(4, math.nan), contest))


def test_verdict_depends_on_the_seed_alone():
    sets = lesions(0, 40), lesions(1, 100)
    first, again, other = (judge(PLACES, *sets, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.auc != other.auc
