"""nnU-Net's fingerprint of a dataset, from headers, healthy scans and the boxes that tumours change.

It is what nnU-Net's own extractor computes, number by number: the same voxels are drawn with the same generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import TumorgenError
from .worker import Traits

DRAWS = 10e7  # voxels of the foreground of all samples together (`num_foreground_voxels_for_intensitystats`)
_PERCENTILES = {"percentile_00_5": 0.5, "median": 50.0, "percentile_99_5": 99.5}


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
    found = np.percentile(drawn, np.array(list(_PERCENTILES.values())))  # of short integers in half the time
    floats = drawn.astype(np.float32, copy=False)
    statistics = {
        "mean": float(np.mean(floats)),
        "std": float(np.std(floats)),
        "min": float(np.min(drawn)),
        "max": float(np.max(drawn)),
        **{name: float(value) for name, value in zip(_PERCENTILES, found, strict=True)},
    }
    return {
        "spacings": [list(trait.spacing_mm) for trait in ordered],
        "shapes_after_crop": [list(trait.shape) for trait in ordered],
        "foreground_intensity_properties_per_channel": {"0": statistics},
        "median_relative_size_after_cropping": float(np.median([trait.relative_size for trait in ordered])),
    }
