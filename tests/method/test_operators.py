"""Small operators, one for each axis, against scipy's own splines and interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, sparse

from tumorgen.method.operators import Operator, apply_separable, as_operator, blur_into_zeros, blur_mirrored


def test_operators_are_applied_to_each_axis():
    rng = np.random.default_rng(1)
    matrices = [rng.normal(size=shape).astype(np.float32) for shape in ((5, 3), (4, 6), (7, 2))]
    values = rng.normal(size=(2, 3, 6, 2)).astype(np.float32)
    expected = np.einsum("ai,bj,ck,nijk->nabc", *matrices, values)
    operators = [as_operator(m) for m in matrices]
    np.testing.assert_allclose(apply_separable(operators, values), expected, atol=1e-4)
    np.testing.assert_array_equal(apply_separable(operators, values[0]), apply_separable(operators, values)[0])


@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2**32 - 1))
def test_a_product_is_that_of_scipys_sparse_matrices_bit_for_bit(sizes, seed):
    rows, width, vectors = sizes
    rng = np.random.default_rng(seed)
    kept = sparse.random_array((rows, width), density=0.6, rng=rng, dtype=np.float32).tocsr()
    right = rng.normal(size=(width, vectors)).astype(np.float32)
    # As several operators share their values: what is before the first row and after the last plays no part.
    values, columns = (np.concatenate([[7], a, [7]]).astype(a.dtype) for a in (kept.data, kept.indices))
    operator = Operator(values, columns.astype(np.int32), (kept.indptr + 1).astype(np.int32), width)
    assert operator.shape == kept.shape
    np.testing.assert_array_equal(operator @ right, kept @ right)
    np.testing.assert_array_equal(operator.checked() @ right, kept @ right)


SIGMAS = st.tuples(*[st.sampled_from([0.0, 0.3, 1.0, 2.6])] * 3)


@given(st.tuples(*[st.integers(1, 9)] * 3), SIGMAS)
def test_gaussian_is_scipys(shape, sigmas):
    values = np.random.default_rng(0).normal(100, 20, size=shape).astype(np.float32)
    radii = [int(3 * s + 0.5) for s in sigmas]
    expected = ndimage.gaussian_filter(values.astype(np.float64), sigmas, mode="reflect", radius=radii)
    # float32, weights in 2^-24ths
    np.testing.assert_allclose(blur_mirrored(values, sigmas, radii), expected, rtol=2e-6)


@given(st.tuples(*[st.integers(0, 6)] * 3), st.tuples(*[st.integers(1, 7)] * 3), SIGMAS)
def test_what_spreads_from_a_box_is_scipys_blur_of_the_whole(starts, sizes, sigmas):
    box = tuple(slice(a, a + n) for a, n in zip(starts, sizes, strict=True))
    values = np.zeros((14, 13, 15), np.float32)
    values[box] = np.random.default_rng(0).random(values[box].shape, np.float32)
    radii = [int(3 * s + 0.5) for s in sigmas]
    expected = ndimage.gaussian_filter(values.astype(np.float64), sigmas, mode="constant", radius=radii)
    from_all = values.copy()
    over = blur_into_zeros(values, box, sigmas, radii)
    np.testing.assert_allclose(values, expected, atol=1e-6)
    blur_into_zeros(from_all, tuple(slice(0, n) for n in values.shape), sigmas, radii)
    np.testing.assert_array_equal(values, from_all)  # bit for bit, however many of the zeros are in the box
    values[over] = 0
    assert not values.any()


@pytest.mark.parametrize("sigma", [0.02, 0.3, 0.77, 1.2, 5.0])
def test_a_blur_leaves_the_inside_of_a_mask_exactly_1(sigma):
    radius = int(3 * sigma + 0.5)
    size = 4 * radius + 7
    values = np.zeros((size,) * 3, np.float32)
    inside, deep = ((slice(n * radius, size - n * radius),) * 3 for n in (1, 2))
    values[inside] = 1
    blur_into_zeros(values, inside, [sigma] * 3, [radius] * 3)
    assert (values[deep] == 1).all()  # alpha is 1 there: nothing of the tissue shows
    assert values.max() == 1
    assert values.min() >= 0
