"""Values at continuous indices, against scipy's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tumorgen.method.interpolation import nearest_values, trilinear


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


@given(st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 2**32 - 1))
def test_the_nearest_voxels_are_scipys(shape, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 3, shape).astype(np.uint8)
    index = rng.uniform(-2, 7, (3, 50)).astype(np.float32)
    expected = ndimage.map_coordinates(values, index, order=0, mode="nearest")
    np.testing.assert_array_equal(nearest_values(values, index), expected)
