"""Connected components of masks (z, y, x): voxels that touch, be it at a corner.

The library makes room for one component in each 2 x 2 x 2 voxels, rounded down: an array of odd sizes holds more, and
three stray voxels in a row would end the process in its words. So it is given even sizes.
"""

from __future__ import annotations

from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def label_components(mask: Mask) -> NDArray[Any]:
    """Number the components of a mask from 1, in the order of their first voxel."""
    numbers: NDArray[Any] = cc3d.connected_components(_with_room(mask), connectivity=26)
    return numbers[_part(mask)]


def largest_component(mask: Mask) -> Mask:
    """The largest component of a mask; an empty one has none."""
    largest = cc3d.largest_k(_with_room(mask), k=1, connectivity=26, binary_image=True)
    return np.asarray(largest[_part(mask)], dtype=bool)


def without_specks(mask: Mask, least: int) -> Mask:
    """A mask without its components of fewer voxels than `least`."""
    kept = cc3d.dust(_with_room(mask), threshold=least, connectivity=26)
    return np.asarray(kept[_part(mask)], dtype=bool)


def _with_room(mask: Mask) -> Mask:
    even = np.zeros([n + n % 2 for n in mask.shape], bool)
    even[_part(mask)] = mask
    return even


def _part(mask: Mask) -> tuple[slice, ...]:
    return tuple(slice(n) for n in mask.shape)
