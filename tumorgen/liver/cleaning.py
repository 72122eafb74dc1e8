"""From what a network calls liver to one liver: the largest piece, without holes or what hangs on by a neck."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

from ..imaging import Triple, bounding_box, grow, largest_component
from ..method import distance_inside, outside_with_margin

Mask = NDArray[np.bool_]

NECK_MM = 5.0  # radius of the ball that must fit through whatever joins two parts of a liver
LEAST_PART_ML = 1.0  # of the centres of such balls in a part; a smaller one is a bump


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A liver, and what was taken away: other pieces as a fraction of the largest, and ml that hung on by a neck."""

    mask: Mask
    dropped: float = 0.0
    cut_ml: float = 0.0


def fill_holes(mask: Mask) -> Mask:
    """Fill what a mask (z, y, x) encloses in three dimensions.

    Not slice by slice: within a slice the liver also encloses what is not liver, such as the caval vein behind the
    caudate lobe or the gallbladder in its fossa, and no tumour may land there.
    """
    return ~outside_with_margin(mask)[1:-1, 1:-1, 1:-1]


def cut_necks(mask: Mask, spacing_mm: Triple) -> Mask:
    """Cut off what hangs on a liver by a neck through which no ball of `NECK_MM` fits: heart, spleen, stomach.

    A part that is thin itself, such as the tip of a lobe, has no room for such a ball and stays. docs/liver-model.md
    says how many livers that experts outlined have such a part.

    Parameters
    ----------
    mask
        The liver (z, y, x), in one piece.
    spacing_mm
        Spacing (z, y, x).
    """
    roomy = distance_inside(mask, spacing_mm) > NECK_MM
    numbers = cc3d.connected_components(roomy, connectivity=6)
    voxels = np.bincount(numbers.ravel())
    voxels[0] = 0
    least = LEAST_PART_ML * 1000 / float(np.prod(spacing_mm))
    parts = [number for number in np.flatnonzero(voxels >= least) if number != voxels.argmax()]
    if not parts:
        return mask
    to_liver = distance_inside(numbers != voxels.argmax(), spacing_mm)
    to_part = distance_inside(~np.isin(numbers, parts), spacing_mm)
    return largest_component(mask & (to_liver <= to_part))


def clean_mask(found: Mask, spacing_mm: Triple) -> Cleaned:
    """The largest piece of what a network found (z, y, x), without holes and without what hangs on by a neck.

    Pieces that touch at a corner are one, as in nnU-Net's own clean-up. Holes first: around a tumour that the network
    has left out the liver may be a shell, which is no neck.
    """
    if not found.any():
        return Cleaned(found)
    box = grow(bounding_box(found), (1, 1, 1), found.shape)
    largest = largest_component(found[box])
    dropped = np.count_nonzero(found[box]) / np.count_nonzero(largest) - 1
    whole = fill_holes(largest)
    mask = np.zeros_like(found)
    mask[box] = cut_necks(whole, spacing_mm)
    cut_ml = float((np.count_nonzero(whole) - np.count_nonzero(mask[box])) * np.prod(spacing_mm) / 1000)
    return Cleaned(mask, dropped, cut_ml)
