"""The statistics of the fingerprint are numpy's, to the last bit, in less time and memory."""

from __future__ import annotations

import numpy as np
import pytest

from tumorgen.preprocessing.fingerprint import limits_and_percentiles, mean_and_std

PERCENTILES = [0.5, 50.0, 99.5]


@pytest.mark.parametrize("count", [1, 2, 7, 129, 1000, 131_073, 600_001])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_statistics_are_those_of_numpy(count, dtype):
    values = np.random.default_rng(count).normal(103, 30, count).round(0 if dtype == np.int16 else 2).astype(dtype)
    floats = values.astype(np.float32)  # what nnU-Net has
    exact = int(np.__version__.split(".")[0]) >= 2  # numpy 1 adds up many values in another order
    assert mean_and_std(values) == pytest.approx(
        (float(np.mean(floats)), float(np.std(floats))), rel=0 if exact else 2e-7
    )
    low, high, percentiles = limits_and_percentiles(values, PERCENTILES)
    assert (low, high) == (float(floats.min()), float(floats.max()))
    assert percentiles == np.percentile(floats, np.array(PERCENTILES)).tolist()
