"""Synthetic lesions matched to real ones: by radius, within their scans, each once; and folds that share no patient."""

from __future__ import annotations

import numpy as np
import pytest
from lesion_tables import lesions

from tumorgen.realism.matching import (
    CALIPER,
    MATCHES,
    arrange_contest,
    deal_lesions,
    deal_patients,
    match_lesions,
)


def test_pairs_have_like_radii_and_one_scan_and_no_synthetic_lesion_twice():
    real, synthetic = lesions(0), lesions(1, 400)
    pairing = match_lesions(real, synthetic)
    assert pairing.within_scans
    first, second = real.iloc[pairing.real], synthetic.iloc[pairing.synthetic]
    assert (first["host"].to_numpy() == second["host"].to_numpy()).all()
    ratio = first["radius_mm"].to_numpy() / second["radius_mm"].to_numpy()
    assert np.maximum(ratio, 1 / ratio).max() <= CALIPER
    assert len(set(pairing.synthetic)) == len(pairing.synthetic)
    assert np.bincount(pairing.real).max() == MATCHES


def test_the_nearest_radius_is_taken():
    real, synthetic = lesions(0, 1), lesions(1, 3, 1)
    real = real.assign(radius_mm=10.0, patient="a", host="a")
    synthetic = synthetic.assign(radius_mm=[9.0, 10.1, 20.0], patient="a", host="a")
    assert match_lesions(real, synthetic).synthetic.tolist() == [0, 1]
    assert arrange_contest(real, synthetic).unmatched == 0


def test_without_shared_scans_lesions_match_by_radius_alone():
    pairing = match_lesions(lesions(0), lesions(1, 400, name="q"))
    assert not pairing.within_scans
    assert len(set(pairing.real)) == 80


def test_patients_whose_scans_are_others_in_either_set_match_by_radius_alone():
    """One scan has no tumour and is a host; another of the same patient has the real ones."""
    real, synthetic = lesions(0), lesions(1, 400)
    other = arrange_contest(real, synthetic.assign(host="earlier " + synthetic["host"]))
    assert not other.within_scans
    assert other.unmatched == 0
    assert {*other.patients} == {*real["patient"]}
    one = synthetic["host"].where(synthetic["host"] == real["host"].iloc[0], "earlier " + synthetic["host"])
    assert not match_lesions(real, synthetic.assign(host=one)).within_scans


def test_weights_of_both_sides_are_the_same_patient_by_patient():
    contest = arrange_contest(lesions(0), lesions(1, 200))
    assert contest.unmatched == 80 - contest.real_count > 0
    for patient in set(contest.patients):
        of = contest.patients == patient
        sums = [contest.weights[of & (contest.is_synthetic == which)].sum() for which in (False, True)]
        assert sums[0] == pytest.approx(sums[1])


def test_nothing_matches_where_the_radii_are_others():
    real, synthetic = lesions(0), lesions(1)
    contest = arrange_contest(real, synthetic.assign(radius_mm=synthetic["radius_mm"] + 100))
    assert contest.real_count == 0
    assert contest.unmatched == 80


def test_each_shared_patient_is_a_fold():
    contest = arrange_contest(lesions(0), lesions(1, 400))
    folds = deal_patients(contest)
    assert len(set(zip(folds, contest.patients, strict=True))) == len(set(folds)) == 8


def test_other_patients_are_dealt_out_so_that_each_fold_has_both_kinds():
    contest = arrange_contest(lesions(0, patients=7), lesions(1, 400, patients=3, name="q"))
    folds = deal_patients(contest)
    assert set(folds) == {0, 1, 2}
    assert all({*contest.is_synthetic[folds == fold]} == {False, True} for fold in range(3))
    assert len(set(zip(folds, contest.patients, strict=True))) == 10


@pytest.mark.parametrize(("real", "synthetic"), [("AB", "ACD"), ("AB", "AC"), ("ABCD", "AE"), ("ABC", "ABDEF")])
def test_patients_of_one_set_alone_are_dealt_out_after_those_of_both(real, synthetic):
    sets = []
    for seed, names in enumerate((real, synthetic)):
        who = [names[number % len(names)] for number in range(100)]
        sets.append(lesions(seed, 100).assign(patient=who, host=[name if name in "AB" else "A" for name in who]))
    contest = arrange_contest(*sets)
    folds = deal_patients(contest)
    assert len(set(folds)) == min(len(real), len(synthetic))
    assert all({*contest.is_synthetic[folds == fold]} == {False, True} for fold in set(folds))


def test_one_patient_cannot_be_left_out():
    assert not deal_patients(arrange_contest(lesions(0, patients=1), lesions(1, patients=1))).any()


def test_lesions_are_dealt_out_with_those_that_match_them():
    contest = arrange_contest(lesions(0), lesions(1, 400))
    folds = deal_lesions(contest, np.random.default_rng(0))
    assert set(folds) == set(range(5))
    assert all(len(set(folds[contest.pairs == pair])) == 1 for pair in range(contest.real_count))
