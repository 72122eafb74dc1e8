"""Weights of cubic splines, against scipy's own."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tumorgen.method.splines import cubic_weights, endless_cubic_weights


def test_cubic_weights_are_scipys_spline():
    values = np.random.default_rng(0).normal(size=9)
    positions = np.linspace(-1, 9, 83)
    expected = ndimage.map_coordinates(values, [np.clip(positions, 0, 8)], order=3, mode="mirror")
    np.testing.assert_allclose(cubic_weights(positions, 9) @ values, expected, atol=1e-10)


def test_endless_cubic_weights_are_scipys_spline_far_from_its_ends():
    rng = np.random.default_rng(0)
    values, starts, shares = rng.normal(size=121), np.linspace(-7.3, 8.1, 40), rng.normal(size=(40, 6))
    weights, first = endless_cubic_weights(starts, 0.7, shares)
    ours = [w @ values[60 + f :][: w.size] for w, f in zip(weights, first, strict=True)]
    positions = 60 + starts[:, None] + 0.7 * np.arange(6)
    expected = (shares * ndimage.map_coordinates(values, [positions], order=3, mode="mirror")).sum(axis=1)
    np.testing.assert_allclose(ours, expected, atol=1e-3)  # a spline forgets within eight nodes, but for 5e-5


def test_endless_cubic_weights_of_a_sum_do_not_depend_on_the_others():
    starts, shares = np.linspace(-7.3, 11.9, 40), np.random.default_rng(0).normal(size=(40, 6))
    weights, first = endless_cubic_weights(starts, 0.7, shares)
    for number in range(40):
        alone, its_first = endless_cubic_weights(starts[[number]], 0.7, shares[[number]])
        np.testing.assert_array_equal(weights[[number]], alone)
        assert its_first == first[number]
