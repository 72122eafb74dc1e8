"""Quantiles, shares and intervals in which patients count, not scans."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tumorgen.realism.weighting import Weighted, interval_of, weigh_patients


def quantiles(sample: Weighted, shares: tuple[float, ...]) -> np.ndarray:
    return sample.quantiles(shares, sample.weights[None])[0]


def share(sample: Weighted, low: float, high: float) -> float:
    return sample.shares(np.array([low]), np.array([high]), sample.weights[None])[0]


def test_equal_weights_give_the_usual_median_and_quantiles_between_the_values():
    sample = Weighted.of([5.0, 1.0, 4.0, 2.0, 3.0], np.ones(5), list("abcde"))
    np.testing.assert_allclose(quantiles(sample, (0.1, 0.5, 0.9)), (1, 3, 5))  # each stands in the middle of its fifth
    np.testing.assert_allclose(quantiles(sample, (0.0, 0.2, 1.0)), (1, 1.5, 5))


def test_a_patient_who_was_scanned_twice_weighs_as_one():
    weights = weigh_patients(["a", "a", "b"])
    assert weights == {"a": 0.5, "b": 1.0}
    twice = Weighted.of([1.0, 1.0, 2.0], [0.5, 0.5, 1.0], ["a", "a", "b"])
    once = Weighted.of([1.0, 2.0], [1.0, 1.0], ["a", "b"])
    assert share(twice, 1, 1) == share(once, 1, 1) == 0.5
    assert twice.patient_count == 2


def test_nan_is_left_out_with_its_patient():
    sample = Weighted.of([math.nan, 3.0], [1.0, 1.0], ["a", "b"])
    assert (sample.count, sample.patient_count) == (1, 1)
    assert quantiles(sample, (0.05, 0.95)).tolist() == [3, 3]


def test_nothing_has_no_quantiles_and_no_share():
    nothing = Weighted.of([], [], [])
    assert np.isnan(quantiles(nothing, (0.5,))).all()
    assert math.isnan(share(nothing, 0, 1))
    assert nothing.resample(np.random.default_rng(0), 7).shape == (8, 0)
    assert math.isnan(share(Weighted.of([1.0], [1.0], ["a"]), math.nan, math.nan))


def test_resampling_draws_whole_patients():
    sample = Weighted.of([1.0, 2.0, 3.0, 4.0], np.ones(4), ["a", "a", "b", "b"])
    drawn = sample.resample(np.random.default_rng(0), 200)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 2] == drawn[:, 3]).all()
    assert (drawn.sum(1) == 4).all()
    assert set(drawn[:, 0]) == {0, 1, 2}


def test_one_patient_has_no_interval():
    assert all(map(math.isnan, interval_of(np.array([1.0, 2.0]), 1)))
    assert interval_of(np.arange(101.0), 2) == pytest.approx((2.5, 97.5))


def test_what_has_no_weight_is_not_there():
    rng = np.random.default_rng(0)
    sample = Weighted.of(rng.normal(size=12), np.ones(12), list("aabbccddeeff"))
    drawn = sample.resample(rng, 50)
    assert (drawn == 0).any(1).mean() > 0.8
    found = sample.quantiles((0.05, 0.5, 0.95), drawn)
    for weights, row in zip(drawn, found, strict=True):
        there = weights > 0
        middles = (np.cumsum(weights[there]) - weights[there] / 2) / weights.sum()
        np.testing.assert_allclose(row, np.interp((0.05, 0.5, 0.95), middles, sample.ordered[there]))
