"""What a liver mask shows: its volume, its HU, and what is not plausible about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..dicom import SERIES_FLAGS
from ..imaging import Geometry, Volume, orientation_of
from ..method import DOUBTS, doubt_liver

DROPPED = 0.05  # of the liver; more than that in other pieces is no speckle, and one of them may be the liver
_AT_EDGE = "either the liver is cut off there, or the mask leaks into a neighbouring organ"

FLAGS = {
    "empty": "no liver in it",
    **DOUBTS,
    "cut_by_edge": "the mask reaches the scan's edge",
    "part_cut": "a part that hung on by a neck was cut off",
    "pieces_dropped": f"pieces of more than {DROPPED:.0%} of the liver were dropped",
    "no_place": "its header does not say where its voxels lie",
    **SERIES_FLAGS,
}
_SIDES = {  # the letter that an axis runs towards, as in LPS: (where its first voxel lies, where its last one does)
    "L": ("right", "left"),
    "R": ("left", "right"),
    "P": ("front", "back"),
    "A": ("back", "front"),
    "S": ("bottom", "top"),
    "I": ("top", "bottom"),
}

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Findings:
    """What a mask shows: volume, mean and standard deviation in HU (None of nothing), flags with a sentence each."""

    liver_ml: float
    hu_mean: float | None
    hu_sd: float | None
    flags: Mapping[str, str]


def touched_sides(mask: Mask, geometry: Geometry) -> list[str]:
    """Sides of the scan that a mask (z, y, x) reaches, as the patient has them: `top`, `left`, ..."""
    return [
        _SIDES[letter][end]
        for axis, letter in enumerate(orientation_of(geometry)[::-1])
        for end, index in enumerate((0, -1))
        if mask.take(index, axis=axis).any()
    ]


def check_liver(mask: Mask, ct: Volume, dropped: float = 0.0, cut_ml: float = 0.0) -> Findings:
    """Measure a liver and say what is not plausible about it.

    Parameters
    ----------
    mask
        The liver (z, y, x).
    ct
        The scan, in HU, on the same grid.
    dropped
        Volume of the pieces that were taken away, as a fraction of the liver's.
    cut_ml
        Volume of what hung on by a neck and was cut off.
    """
    if not mask.any():
        return Findings(0.0, None, None, {"empty": "the model finds no liver in it"})
    hu = ct.array[mask].astype(np.float64)
    ml, mean, sd = hu.size * ct.geometry.voxel_volume_mm3 / 1000, float(hu.mean()), float(hu.std())
    sides = touched_sides(mask, ct.geometry)
    reaches = f"the mask reaches the scan's edge ({', '.join(sides)})"
    wrong = {
        **doubt_liver(ml, mean),
        "cut_by_edge": f"{reaches}: {_AT_EDGE}" if sides else "",
        "part_cut": f"a part of {cut_ml:.0f} ml that hung on by a neck was cut off" if cut_ml > 0 else "",
        "pieces_dropped": f"other pieces of {dropped:.0%} of its volume were dropped" if dropped > DROPPED else "",
    }
    return Findings(ml, mean, sd, {flag: why for flag, why in wrong.items() if why})
