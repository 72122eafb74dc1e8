"""The median and the robust standard deviation: of whole numbers, which are counted, the same as of any others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorgen.method.bulk import median_and_robust_sd


@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1), st.booleans())
def test_whole_numbers_are_counted_to_the_same_bits(hu, near):
    """Whether there are many of a kind, or hardly two alike."""
    values = np.array(hu, np.int16) // (2**12 if near else 1)
    assert median_and_robust_sd(values.astype(np.int16)) == median_and_robust_sd(values.astype(np.float64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("size", [1, 2, 1000, 1001])
def test_medians_are_numpys(size, dtype):
    values = np.random.default_rng(size).normal(60, 20, size).astype(dtype)
    median = np.median(values)
    assert median_and_robust_sd(values) == (float(median), float(1.4826 * np.median(np.abs(values - median))))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_it_is_the_median_and_what_deviates_from_it_whatever_the_type(dtype):
    assert median_and_robust_sd(np.array([1, 2, 4, 7], dtype)) == (3.0, pytest.approx(1.4826 * 1.5))
