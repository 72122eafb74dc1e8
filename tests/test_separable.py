"""Small operators, one for each axis, against scipy's own splines and interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tumorgen.separable import apply_separable, as_operator, cubic_weights, endless_cubic_weights, trilinear


def test_cubic_weights_are_scipys_spline():
    values = np.random.default_rng(0).normal(size=9)
    positions = np.linspace(-1, 9, 83)
    expected = ndimage.map_coordinates(values, [np.clip(positions, 0, 8)], order=3, mode="mirror")
    np.testing.assert_allclose(cubic_weights(positions, 9) @ values, expected, atol=1e-10)


def test_endless_cubic_weights_are_scipys_spline_far_from_its_ends():
    values = np.random.default_rng(0).normal(size=121)
    positions = np.linspace(-7.3, 11.9, 40)
    weights, first = endless_cubic_weights(positions)
    ours = weights @ values[60 + first :][: weights.shape[1]]
    expected = ndimage.map_coordinates(values, [positions + 60], order=3, mode="mirror")
    np.testing.assert_allclose(ours, expected, atol=5e-4)  # a spline forgets within eight nodes, but for 5e-5


def test_endless_cubic_weights_of_a_position_do_not_depend_on_the_others():
    positions = np.linspace(-7.3, 11.9, 40)
    weights, first = endless_cubic_weights(positions)
    for number, position in enumerate(positions):
        alone, start = endless_cubic_weights(np.array([position]))
        np.testing.assert_array_equal(weights[number, start - first :][: alone.size], alone[0])
        assert np.count_nonzero(weights[number]) == np.count_nonzero(alone)


def test_operators_are_applied_to_each_axis():
    rng = np.random.default_rng(1)
    matrices = [rng.normal(size=shape).astype(np.float32) for shape in ((5, 3), (4, 6), (7, 2))]
    values = rng.normal(size=(2, 3, 6, 2)).astype(np.float32)
    expected = np.einsum("ai,bj,ck,nijk->nabc", *matrices, values)
    operators = [as_operator(m) for m in matrices]
    np.testing.assert_allclose(apply_separable(operators, values), expected, atol=1e-4)
    np.testing.assert_array_equal(apply_separable(operators, values[0]), apply_separable(operators, values)[0])


@given(st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 2**32 - 1))
def test_trilinear_interpolation_is_scipys(shape, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape).astype(np.float32)
    index = rng.uniform(-2, 7, (3, 50)).astype(np.float32)
    index[:, :10] = np.rint(index[:, :10])  # on voxels, on the last ones and beyond
    expected = ndimage.map_coordinates(values, index, order=1, mode="nearest")
    np.testing.assert_allclose(trilinear(values, index), expected, atol=1e-5)


@pytest.mark.parametrize("n", [0, 1])
def test_trilinear_interpolation_of_nothing(n):
    assert trilinear(np.zeros((n, n, n), np.float32), np.zeros((3, 0), np.float32)).shape == (0,)
