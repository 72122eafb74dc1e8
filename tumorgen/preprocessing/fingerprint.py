"""nnU-Net's fingerprint of a dataset, from headers, healthy scans and the boxes that tumours change.

It is what nnU-Net's own extractor computes, number by number: the same voxels are drawn with the same generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from .traits import Traits

FINGERPRINT = "dataset_fingerprint.json"
DRAWS = 10e7  # voxels of the foreground of all samples together (`num_foreground_voxels_for_intensitystats`)
_AT_ONCE = 1 << 17  # values that are summed or counted together
_PERCENTILES = {"percentile_00_5": 0.5, "median": 50.0, "percentile_99_5": 99.5}


def draws_of(samples: int) -> int:
    """How many intensities nnU-Net draws from each of so many samples."""
    return int(DRAWS // samples)


def fingerprint_of(traits: Sequence[Traits]) -> dict[str, Any]:
    """The fingerprint of samples, in nnU-Net's order: that of their names.

    Raises
    ------
    TumorgenError
        No sample has a voxel of the foreground.
    """
    ordered = sorted(traits, key=lambda trait: trait.sample)
    drawn = np.concatenate([trait.intensities for trait in ordered])
    if not drawn.size:
        raise TumorgenError("no sample has a voxel that is liver or tumour; nnU-Net cannot plan for it")
    mean, std = mean_and_std(drawn)
    low, high, percentiles = limits_and_percentiles(drawn, list(_PERCENTILES.values()))
    statistics = {
        "mean": mean,
        "std": std,
        "min": low,
        "max": high,
        **dict(zip(_PERCENTILES, percentiles, strict=True)),
    }
    return {
        "spacings": [list(trait.spacing_mm) for trait in ordered],
        "shapes_after_crop": [list(trait.shape) for trait in ordered],
        "foreground_intensity_properties_per_channel": {"0": statistics},
        "median_relative_size_after_cropping": float(np.median([trait.relative_size for trait in ordered])),
    }


def mean_and_std(values: NDArray[Any]) -> tuple[float, float]:
    """Mean and standard deviation, to the last bit those of numpy's float32 sums, which nnU-Net asks for."""
    mean = np.float32(float(_sum(values, lambda some: some)) / values.size)
    variance = np.float32(float(_sum(values, lambda some: np.square(some - mean))) / values.size)
    return float(mean), float(np.sqrt(variance))


def _sum(values: NDArray[Any], term: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> np.float32:
    """The sum of a term over values as numpy sums in pairs: by halves, to a multiple of 8; each fits the cache."""
    if values.size <= _AT_ONCE:
        return np.float32(np.add.reduce(term(values.astype(np.float32))))
    half = values.size // 2
    half -= half % 8
    return np.float32(_sum(values[:half], term) + _sum(values[half:], term))


def limits_and_percentiles(values: NDArray[Any], wanted: Sequence[float]) -> tuple[float, float, list[float]]:
    """Smallest, largest and percentiles; of short integers from how often each is there, to the same last bit."""
    low, high = values.min(), values.max()
    if values.dtype.itemsize > 2:
        return float(low), float(high), np.percentile(values, np.array(wanted)).tolist()
    counts = np.zeros(int(high) - int(low) + 1, np.intp)
    for start in range(0, values.size, _AT_ONCE):
        counts += np.bincount(values[start : start + _AT_ONCE].astype(np.intp) - int(low), minlength=counts.size)
    below = np.cumsum(counts)
    ranks = (values.size - 1) * np.true_divide(wanted, 100)
    lower, upper = (
        int(low) + np.searchsorted(below, np.minimum(np.floor(ranks) + more, values.size - 1), side="right")
        for more in (0, 1)
    )
    return float(low), float(high), _between(lower, upper, ranks - np.floor(ranks)).tolist()


def _between(lower: NDArray[np.intp], upper: NDArray[np.intp], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between two values, from the nearer of them, as numpy reckons it."""
    apart = upper - lower
    return np.where(share < 0.5, lower + apart * share, upper - apart * (1 - share))
