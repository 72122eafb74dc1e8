"""Label maps of 0 (background), 1 (liver) and 2 (tumour), as they are trained on and scored. Arrays are (z, y, x)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..labels import BACKGROUND, LIVER, TUMOR
from .geometry import Volume
from .mask_labels import find_renumbering, round_labels

_BLOCK = 1 << 24  # voxels that are looked at together
_NAMED = 5  # unknown labels that a message names


def as_label_map(volume: Volume, path: Path) -> Volume:
    """The labels of a file as uint8; what floating point has left a little off is whole again.

    Parameters
    ----------
    volume
        Values (z, y, x) of any real type.
    path
        Its file, for the names of its labels.

    Raises
    ------
    TumorgenError
        There are other labels than 0, 1 (liver) and 2 (tumour), by number or by name.
    """
    if other := find_renumbering(path):
        raise TumorgenError(f"{path}: {other}")
    labels = round_labels(volume.array)
    if unknown := _find_unknown(labels):
        named = ", ".join(f"{value:g}" for value in unknown[:_NAMED]) + (", ..." if len(unknown) > _NAMED else "")
        raise TumorgenError(f"{path}: holds the labels {named}; only 0, {LIVER} (liver) and {TUMOR} (tumour) are known")
    return Volume(np.ascontiguousarray(labels, np.uint8), volume.geometry)


def _find_unknown(array: NDArray[Any]) -> list[float]:
    """Values that are no labels, sorted: all of them, or more than a message names; in blocks, to save memory."""
    found: set[float] = set()
    flat = array.reshape(-1)
    if array.dtype == np.uint8 and flat.max() <= TUMOR:
        return []
    for first in range(0, flat.size, _BLOCK):
        block = flat[first : first + _BLOCK]
        found |= set(np.unique(block[~np.isin(block, (BACKGROUND, LIVER, TUMOR))])[: _NAMED + 1].tolist())
        if len(found) > _NAMED:
            break
    return sorted(found)
