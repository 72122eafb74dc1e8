"""Five regions of a liver, a fifth of its volume each, along the patient's axes, however the scan was acquired.

The uppermost fifth is the `dome`, the lowermost the `tip`. What lies between them is cut into three parts of the same
volume: `right` and `left`, as the patient has them, and `middle`. The regions share no voxel and make up the liver.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import edt
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import shape_of
from ..method import Scan, count_clear
from ..wording import plural

REGIONS = ("dome", "tip", "right", "left", "middle")
# A place is drawn from the fiftieth of those that will do that lies deepest, where tumours are mostly whole; and where
# none is clear of vessels, from the tenth with the most clearance, as `method.placement` does.
DEEPEST, BEST = 50, 10


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """A scan's regions, measured once.

    Attributes
    ----------
    scan
        The scan.
    members
        Region: of each of the scan's candidates, whether it lies there.
    depth_mm
        Distance of each candidate to the liver's surface, or to the scan's end.
    """

    scan: Scan
    members: Mapping[str, NDArray[np.bool_]]
    depth_mm: NDArray[np.float32]

    @staticmethod
    def of(scan: Scan) -> Regions:
        """Measure a scan's regions."""
        spacing = scan.geometry.spacing_mm
        depth = edt.edt(scan.inside[scan.roi].astype(bool), anisotropy=spacing, black_border=True, parallel=1)
        return Regions(scan, split_into_regions(_lps_mm(scan)), depth.ravel()[scan.candidates])


def split_into_regions(points_mm: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Share points (3, n), LPS mm, out among the regions: for each, a mask (n). A boundary may run through a slice."""
    count = points_mm.shape[1]
    upwards = np.argsort(points_mm[2], kind="stable")
    tip, between, dome = np.split(upwards, [count // 5, count - count // 5])
    leftwards = between[np.argsort(points_mm[0][between], kind="stable")]
    right, middle, left = np.split(leftwards, [between.size // 3, between.size - between.size // 3])
    members = {}
    for name, picks in zip(REGIONS, (dome, tip, right, left, middle), strict=True):
        members[name] = np.zeros(count, bool)
        members[name][picks] = True
    return members


def _lps_mm(scan: Scan) -> NDArray[np.float64]:
    """Positions (3, n) of the candidates, LPS mm, without the image's origin, which changes no order."""
    indices = np.unravel_index(scan.candidates, shape_of(scan.roi))
    z, y, x = (i * s for i, s in zip(indices, scan.geometry.spacing_mm, strict=True))
    points: NDArray[np.float64] = np.reshape(scan.geometry.direction, (3, 3)) @ np.stack([x, y, z])
    return points


def find_site(regions: Regions, region: str | None, radius_mm: float, rng: Generator, *, avoid: bool) -> int:
    """Draw the candidate of a scan that a tumour of radius r is centred on, in a region or (None) in the whole liver.

    With `avoid` it has no vessel within r; if there is no such place, it is one of the tenth with the most clearance.
    Of these places one is drawn from the fiftieth that lies deepest, so that the liver's edge cuts as little of the
    tumour as possible.

    Raises
    ------
    TumorgenError
        The region has no voxel, as some have where the liver has fewer than five.
    """
    scan = regions.scan
    inside = np.arange(scan.candidates.size) if region is None else np.flatnonzero(regions.members[region])
    if not inside.size:
        voxels = plural(scan.candidates.size, "voxel")
        raise TumorgenError(f"region {region} has no voxel: the whole liver mask has {voxels}; leave out this scan")
    picks = inside  # by falling clearance, as the candidates are
    if avoid:
        clear = int(np.searchsorted(inside, count_clear(scan, radius_mm)))
        picks = inside[: clear or max(1, inside.size // BEST)]
    depth = regions.depth_mm[picks]
    rank = depth.size - max(1, depth.size // DEEPEST)
    return int(rng.choice(picks[depth >= np.partition(depth, rank)[rank]]))


def is_clear(scan: Scan, candidate: int, radius_mm: float) -> bool:
    """Whether no vessel voxel lies within r of a candidate."""
    return candidate < count_clear(scan, radius_mm)
