"""Where a mask runs on beyond the liver, and into what: the volume farther than some mm from the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tumorgen.imaging.geometry import Triple
from tumorgen.liver.outline import signed_depth_mm

from .labels import LabelMap, Tissue

BEYOND_MM = 5.0  # nearer than that it is the outline that differs
NEIGHBOURS: Mapping[str, tuple[Tissue, ...]] = {
    "heart": (Tissue.HEART, Tissue.MYOCARDIUM, Tissue.PERICARDIUM),
    "stomach": (Tissue.STOMACH,),
    "spleen": (Tissue.SPLEEN,),
    "kidney": (Tissue.KIDNEY,),
    "chest wall": (Tissue.MUSCLE, Tissue.BONE, Tissue.MARROW, Tissue.CARTILAGE, Tissue.SUBCUTANEOUS_FAT),
}
LEAST_ML = 0.5  # of a neighbour that is worth naming


@dataclass(frozen=True, slots=True)
class Leaks:
    """Volume in ml beyond the liver, and how much of it lies in which neighbour, where organs are known."""

    ml: float
    into: Mapping[str, float] = field(default_factory=dict)

    @property
    def named(self) -> str:
        """The neighbours, most first."""
        worth = sorted(((ml, name) for name, ml in self.into.items() if ml >= LEAST_ML), reverse=True)
        return ", ".join(f"{name} {ml:.0f}" if ml >= 1 else f"{name} {ml:.1f}" for ml, name in worth)


def measure_leaks(
    found: NDArray[np.bool_], liver: NDArray[np.bool_], spacing_mm: Triple, tissues: LabelMap | None = None
) -> Leaks:
    """What of a mask (z, y, x) lies farther than `BEYOND_MM` from a liver; nothing where there is no liver in view.

    Parameters
    ----------
    found, liver
        The mask and the reference.
    spacing_mm
        Spacing (z, y, x).
    tissues
        Labels of `labels.Tissue` on the same grid.
    """
    if not liver.any():
        return Leaks(0.0)
    beyond = found & (signed_depth_mm(liver, spacing_mm) < -BEYOND_MM)
    ml = float(np.prod(spacing_mm)) / 1000
    if tissues is None:
        return Leaks(np.count_nonzero(beyond) * ml)
    counts = np.bincount(tissues[beyond], minlength=max(Tissue) + 1)
    into = {name: float(counts[list(parts)].sum()) * ml for name, parts in NEIGHBOURS.items()}
    return Leaks(float(counts.sum()) * ml, into)
