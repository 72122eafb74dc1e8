"""What nnU-Net draws from a case at random: intensities for the fingerprint, and places of each label.

Same generators, seeds and numbers as nnU-Net's, so that equal cases give equal draws; but only what is drawn is looked
up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging import bounding_box

_SEED = 1234  # of nnU-Net's generators
_AT_ONCE = 1 << 17  # are drawn together: they fit the processor's cache
_LEAST, _SHARE = 10000, 0.01  # of a label's voxels nnU-Net draws this many, or this share of them if that is more


def draw_intensities(hu: NDArray[Any], label: NDArray[Any], count: int) -> NDArray[Any]:
    """Intensities of voxels of the foreground, drawn with replacement (`collect_foreground_intensities`).

    Image and labels may be cut down to a box that holds the whole foreground. Short integers stay what they are.
    """
    foreground = hu[label > 0]
    if foreground.dtype.itemsize > 2:
        foreground = foreground.astype(np.float32)
    if not foreground.size:
        return foreground
    rng, drawn = np.random.RandomState(_SEED), np.empty(count, foreground.dtype)  # nnU-Net's
    for start in range(0, count, _AT_ONCE):
        part = drawn[start : start + _AT_ONCE]
        foreground.take(rng.randint(0, foreground.size, size=part.size), out=part, mode="clip")
    return drawn


def draw_places(labels: NDArray[Any], classes: Sequence[int]) -> dict[int, Any]:
    """Places (channel 0, z, y, x) of voxels of each label, drawn without replacement (`_sample_foreground_locations`).

    Parameters
    ----------
    labels
        The resampled label map, (z, y, x).
    classes
        Labels above 0, in nnU-Net's order.
    """
    rng = np.random.RandomState(_SEED)  # nnU-Net's
    places: dict[int, Any] = {}
    box = bounding_box(labels > 0)
    inside, first = np.ascontiguousarray(labels[box]), [s.start for s in box]
    flat = inside.reshape(-1)
    for value in classes:
        found = np.flatnonzero(flat == value)
        if not found.size:
            places[value] = []
            continue
        count = max(min(_LEAST, found.size), math.ceil(found.size * _SHARE))
        drawn = found[rng.choice(found.size, count, replace=False)]
        indices = np.unravel_index(drawn, inside.shape)
        places[value] = np.stack([np.zeros_like(drawn), *map(np.add, indices, first)], axis=1)
    return places
