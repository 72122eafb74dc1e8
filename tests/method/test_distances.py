"""Distances inside a mask: those of its voxels to the nearest one outside, to the bits that edt gives of booleans."""

from __future__ import annotations

import edt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tumorgen.method.distances import distance_inside

SPACINGS = st.tuples(*[st.sampled_from([0.7, 1.0, 3.27])] * 3)


@given(st.tuples(*[st.integers(1, 12)] * 3), SPACINGS, st.floats(0.0, 1.0), st.booleans(), st.integers(0, 2**32 - 1))
def test_of_bytes_and_of_booleans_is_the_same_distance(shape, spacing_mm, density, edge_ends_it, seed):
    mask = np.random.default_rng(seed).random(shape) < density
    found = distance_inside(mask, spacing_mm, edge_ends_it=edge_ends_it)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, edt.edt(mask, anisotropy=spacing_mm, black_border=edge_ends_it, parallel=1))


@pytest.mark.parametrize("edge_ends_it", [False, True])
def test_it_is_the_euclidean_distance_in_mm(edge_ends_it):
    spacing_mm = (5.0, 0.8, 0.7)
    mask = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((9, 40, 30)), 2) > -0.1
    exact = ndimage.distance_transform_edt(np.pad(mask, int(edge_ends_it)), sampling=spacing_mm)
    inner = tuple(slice(int(edge_ends_it), int(edge_ends_it) + n) for n in mask.shape)
    found = distance_inside(mask.transpose(2, 1, 0).copy().T, spacing_mm, edge_ends_it=edge_ends_it)  # any layout
    np.testing.assert_allclose(found, exact[inner], rtol=1e-5)
