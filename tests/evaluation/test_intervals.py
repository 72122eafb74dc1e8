"""Intervals and the test: published examples, and that patients count, not variants of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorgen.evaluation.intervals import ConfidenceInterval, mean_interval, proportion_interval, signed_rank


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def names(count: int) -> list[str]:
    return [f"p{i}" for i in range(count)]


def limits(interval: ConfidenceInterval) -> tuple[float, float]:
    return interval.low, interval.high


# proportions


@pytest.mark.parametrize(
    ("hits", "trials", "expected"),
    [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_is_that_of_newcombe_1998(hits, trials, expected):
    """Statistics in Medicine 17, 857-872, table I, method 3, one trial a patient."""
    found = proportion_interval([i < hits for i in range(trials)], names(trials))
    assert limits(found) == pytest.approx(expected, abs=5e-5)
    assert (found.value, found.count) == (hits / trials, trials)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(2, 25))
def test_variants_of_a_patient_that_are_alike_tell_nothing_new(hits, variants):
    once = proportion_interval(hits, names(len(hits)))
    often = proportion_interval(np.repeat(hits, variants), np.repeat(names(len(hits)), variants))
    assert limits(often) == pytest.approx(limits(once), abs=1e-9)
    assert often.count == len(hits) * variants


def test_design_effect_by_hand():
    """Found are 4 of 4, 3 of 4, 1 of 4 and 0 of 4 lesions of four patients: p = 1/2.

    v = 4/3 (2^2 + 1 + 1 + 2^2) / 16^2 = 5 / 96; a binomial's is 1/4 / 16 = 1/64; d = 10/3, so 16 lesions are worth 4.8.
    """
    hits = [*[1] * 4, *[1, 1, 1, 0], *[1, 0, 0, 0], *[0] * 4]
    found = proportion_interval(hits, np.repeat(names(4), 4))
    n, z = 4.8, 1.959964
    half = z * math.sqrt(0.25 / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert limits(found) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-6)


def test_lesions_that_spread_evenly_over_patients_are_independent():
    hits = [1, 0] * 20
    assert limits(proportion_interval(hits, np.repeat(names(20), 2))) == limits(proportion_interval(hits, names(40)))


def test_a_single_patient_is_worth_one_trial():
    assert limits(proportion_interval([1] * 50, ["p"] * 50)) == limits(proportion_interval([1], ["p"]))


def test_clustered_intervals_hold_what_they_promise():
    """Of 95 % intervals about 95 % hold the truth; those that take lesions for independent far fewer.

    400 studies of 40 patients with 8 lesions, patients' sensitivities from Beta(2, 1): truth 2/3.
    """
    generator = np.random.default_rng(5)
    patients = np.repeat(names(40), 8)
    held = naive = 0
    for _ in range(400):
        hits = generator.random(320) < np.repeat(generator.beta(2, 1, 40), 8)
        low, high = limits(proportion_interval(hits, patients))
        held += low <= 2 / 3 <= high
        low, high = limits(proportion_interval(hits, names(320)))
        naive += low <= 2 / 3 <= high
    assert 0.92 <= held / 400 <= 0.98  # 3 standard errors of 1.1 % around 95 %
    assert naive / 400 < 0.85


def test_no_trials():
    found = proportion_interval([], [])
    assert found.count == 0
    assert all(math.isnan(x) for x in (found.value, found.low, found.high))


# means


def test_bootstrap_of_many_is_the_normal_interval():
    values = np.random.default_rng(3).normal(10, 2, 400)
    found = mean_interval(values, names(400), rng())
    half = 1.96 * values.std(ddof=1) / 20
    assert limits(found) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert (found.value, found.count) == (pytest.approx(values.mean()), 400)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 64), min_size=2, max_size=12), st.integers(2, 10))
def test_patients_are_resampled_not_variants(numbers, variants):
    """Copies of each patient's value change nothing; were cases resampled, the interval would shrink.

    Values are multiples of 1/64, whose sums are exact: means that are equal must not come to differ in the last bit.
    """
    values = [number / 64 for number in numbers]
    once = mean_interval(values, names(len(values)), rng())
    often = mean_interval(np.repeat(values, variants), np.repeat(names(len(values)), variants), rng())
    assert limits(often) == limits(once)
    assert often.count == variants * len(values)


def test_resampling_cases_would_have_been_wrong():
    values = np.repeat([0.9, 0.5, 0.7, 0.2, 0.8], 20)
    low, high = limits(mean_interval(values, np.repeat(names(5), 20), rng()))
    wrong_low, wrong_high = limits(mean_interval(values, names(100), rng()))
    assert high - low > 3 * (wrong_high - wrong_low)


def test_a_mean_is_over_cases_not_over_patients():
    found = mean_interval([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"], rng())
    assert (found.value, found.count) == (0.75, 4)


def test_totals_over_counts():
    """1 of 2 and 3 of 4 lesions; the case without lesion says nothing."""
    found = mean_interval([1.0, 3.0, 0.0], names(3), rng(), [2, 4, 0])
    assert (found.value, found.count) == (4 / 6, 6)


def test_undefined_values_are_left_out():
    with_gaps = mean_interval([0.2, math.nan, 0.8, 0.5], names(4), rng())
    assert with_gaps == mean_interval([0.2, 0.8, 0.5], ["p0", "p2", "p3"], rng())
    assert mean_interval([math.nan], ["p"], rng()).count == 0


def test_patients_that_are_all_alike_leave_no_doubt():
    assert mean_interval([0.5] * 6, names(6), rng()) == ConfidenceInterval(0.5, 0.5, 0.5, 6)


def test_of_a_single_patient_nothing_is_known_of_others():
    found = mean_interval([0.5, 0.7], ["p", "p"], rng())
    assert (found.value, found.count) == (0.6, 2)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@settings(max_examples=60)
@given(st.lists(st.sampled_from([0.0, 1e-9, 0.1, 1.0, 1000.0]), min_size=2, max_size=60))
def test_limits_are_numbers_around_the_mean(values):
    """Whatever the skew: an outlier among zeros is what false positives look like."""
    found = mean_interval(values, names(len(values)), rng())
    assert found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high


def test_same_seed_same_interval():
    values = list(np.random.default_rng(1).random(20))
    assert mean_interval(values, names(20), rng()) == mean_interval(values, names(20), rng())
    assert mean_interval(values, names(20), rng()) != mean_interval(values, names(20), np.random.default_rng(1))


# Wilcoxon


def test_signed_rank_is_that_of_hollander_and_wolfe():
    """Nonparametric Statistical Methods (1973), example 3.1: Hamilton depression scale factor of nine patients.

    T+ = 5 (of 45), one-sided p = 0.0195.
    """
    first = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    second = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    p_value, n = signed_rank(np.subtract(first, second), names(9))
    assert (p_value, n) == (pytest.approx(2 * 0.01953, abs=2e-5), 9)


def test_signed_rank_of_darwins_maize():
    """Fifteen pairs (Darwin 1876, Fisher 1935): T = 24, p = 0.0413."""
    differences = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]
    assert signed_rank(differences, names(15)) == (pytest.approx(0.0413, abs=5e-5), 15)


def test_signed_rank_knows_of_patients():
    differences = [0.1, 0.2, 0.3, -0.05, 0.15, 0.25]
    once = signed_rank(differences, names(6))
    assert signed_rank(np.repeat(differences, 25), np.repeat(names(6), 25)) == once
    assert signed_rank(np.repeat(differences, 25), names(150))[0] < 1e-6 < once[0]


def test_patients_without_a_difference_leave_the_p_value_exact():
    """Five patients that all differ one way, whoever else does not: 2 / 2^5, by hand."""
    assert signed_rank([1.0] * 5 + [0.0] * 28, names(33)) == (0.0625, 33)
    assert signed_rank([0.1, 0.2, 0.3, 0.4, 0.5] + [0.0] * 28, names(33)) == (0.0625, 33)


def test_differences_that_rounding_alone_tells_apart_are_equal():
    """The first patient's sum to 0, the others are 0.2: 5.6e-17, 0.2 and 0.20000000000000007 in floating point."""
    assert signed_rank([0.1, 0.2, -0.3, 0.6 - 0.4, 0.8 - 0.6], ["a", "a", "a", "b", "c"]) == (0.5, 3)


@pytest.mark.parametrize(("differences", "expected"), [([0.0, 0.0], (1.0, 2)), ([0.5], (1.0, 1))])
def test_signed_rank_of_next_to_nothing(differences, expected):
    assert signed_rank(differences, names(len(differences))) == expected


def test_signed_rank_of_nothing():
    p_value, n = signed_rank([math.nan], ["p"])
    assert math.isnan(p_value)
    assert n == 0
