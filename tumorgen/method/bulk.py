"""The bulk of a sample of voxels, which a few outliers do not move."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def median_and_robust_sd(values: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Median and standard deviation of the bulk of a sample: 1.4826 times the median absolute deviation."""
    median = np.median(values)
    return float(median), float(1.4826 * np.median(np.abs(values - median)))
