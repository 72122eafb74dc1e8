"""Shape and place of a lesion, and how much of a liver is tumour: measured on the label map alone.

Arrays are (z, y, x), axial slices lie along the first axis, and so does the first spacing. The liver is all that has a
label, its holes filled; its surface is where it ends, which may be the end of the scan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from ..fields import About
from ..imaging import Box, Triple, bounding_box
from ..labels import BACKGROUND, TUMOR
from ..method import outside_with_margin
from .lesions import FoundLesions, Lesion

_SQUARE = 1e-3  # pixels whose sides differ by less, as a share, are square

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LesionShape:
    """Size, place and shape of a lesion. In plane: in the axial slice where its area is largest."""

    radius_mm: Annotated[float, About("radius of the circle of its largest axial area", "mm", 0, 1000)]
    volume_ml: Annotated[float, About("volume", "ml", 0, 10000)]
    edge_share: Annotated[float, About("part of its outlines in axial slices that is the liver's outline", "", 0, 1)]
    depth_mm: Annotated[float, About("distance of its centre from the liver's surface", "mm", 0, 1000)]
    depth: Annotated[float, About("that distance over its radius", "", 0, 1000)]
    solidity: Annotated[float, About("its area over that of its convex hull, in plane", "", 0, 1)]
    circularity: Annotated[float, About("4 pi area over squared perimeter, in plane", "", 0, 4)]
    axis_ratio: Annotated[float, About("least over greatest axis of the ellipse of its moments, in plane", "", 0, 1)]
    elongation: Annotated[float, About("least over greatest axis of the ellipsoid of its moments", "", 0, 1)]
    z_extent: Annotated[float, About("its extent along z over the diameter of that circle", "", 0, 1000)]


@dataclass(frozen=True, slots=True)
class TumorBurden:
    """How many lesions a scan has, and how much of its liver is tumour."""

    lesions: Annotated[int, About("lesions that are large enough to be measured", "", 0, 100000)]
    too_small: Annotated[int, About("components of the label that are too small for that", "", 0, 1000000)]
    liver_ml: Annotated[float, About("volume of the liver, its tumours included", "ml", 0, 10000)]
    tumor_ml: Annotated[float, About("volume of all tumours", "ml", 0, 10000)]
    real: Annotated[
        int, About("real lesions beside synthetic ones, as the manifest has it: left out of all others", "", 0, 100000)
    ] = 0

    @property
    def tumor_share(self) -> float:
        """Part of the liver that is tumour; nan without a liver."""
        return self.tumor_ml / self.liver_ml if self.liver_ml else math.nan


def measure_burden(labels: NDArray[Any], spacing_mm: Triple, found: FoundLesions) -> TumorBurden:
    """Count the lesions of a label map, and measure the volumes of liver and tumours."""
    voxel_ml = math.prod(spacing_mm) / 1000
    liver, tumor = (int(np.count_nonzero(mask)) * voxel_ml for mask in (labels != BACKGROUND, labels == TUMOR))
    return TumorBurden(len(found.lesions), found.too_small, liver, tumor, found.real)


def measure_shapes(labels: NDArray[Any], spacing_mm: Triple, lesions: Sequence[Lesion]) -> tuple[LesionShape, ...]:
    """Measure lesions of a label map, each by itself, in their order.

    The centre is the mean of the voxels. A place's distance from the liver's surface is that to the middle of the
    nearest voxel outside, as in a distance transform; of a centre outside the liver it is 0.
    """
    if not lesions:
        return ()
    window = bounding_box(labels != BACKGROUND)
    outside = outside_with_margin(labels[window] != BACKGROUND)
    depths = _depths(outside, window, [lesion.center for lesion in lesions], spacing_mm)
    return tuple(
        _measure(lesion, outside[_around(lesion, window)], depth_mm, spacing_mm)
        for lesion, depth_mm in zip(lesions, depths, strict=True)
    )


def _around(lesion: Lesion, window: Box) -> Box:
    """A lesion's box with a margin of a voxel, in what `outside_with_margin` makes of a window of the label map."""
    z, y, x = (slice(b.start - w.start, b.stop - w.start + 2) for b, w in zip(lesion.box, window, strict=True))
    return z, y, x


def _depths(outside: Mask, window: Box, centers: Sequence[Triple], spacing_mm: Triple) -> Floats:
    """Distance in mm of each centre, an index of the label map, to the nearest voxel outside; 0 for those outside."""
    from scipy.spatial import cKDTree

    surface = np.argwhere(_outermost(outside))
    places = np.array(centers) - [edge.start - 1 for edge in window]
    depths, _ = cKDTree(surface * spacing_mm).query(places * spacing_mm)
    z, y, x = np.rint(places).astype(int).T
    return np.where(outside[z, y, x], 0.0, depths)


def _outermost(outside: Mask) -> Mask:
    """Voxels outside whose face is a face of one inside; the nearest voxel outside is always one of them."""
    found = np.zeros_like(outside)
    for axis in range(3):
        first, second = (np.moveaxis(outside, axis, 0)[s] for s in (slice(None, -1), slice(1, None)))
        kept = np.moveaxis(found, axis, 0)
        kept[:-1] |= first & ~second
        kept[1:] |= second & ~first
    return found


def _measure(lesion: Lesion, outside: Mask, depth_mm: float, spacing_mm: Triple) -> LesionShape:
    """Measure a lesion; `outside` has a voxel more than its box on every side."""
    from skimage.measure import regionprops

    plane = lesion.mask[int(lesion.area_mm2.argmax())]
    (region,) = regionprops(_on_squares(plane, spacing_mm).astype(np.uint8))
    return LesionShape(
        radius_mm=lesion.radius_mm,
        volume_ml=lesion.voxels * math.prod(spacing_mm) / 1000,
        edge_share=_edge_share(lesion.mask, outside, spacing_mm),
        depth_mm=float(depth_mm),
        depth=float(depth_mm) / lesion.radius_mm,
        solidity=float(region.solidity),
        circularity=4 * math.pi * float(region.area) / float(region.perimeter_crofton) ** 2,
        axis_ratio=_axis_ratio(plane, spacing_mm[1:]),
        elongation=_axis_ratio(lesion.mask, spacing_mm),
        z_extent=len(lesion.area_mm2) * spacing_mm[0] / (2 * lesion.radius_mm),
    )


def _on_squares(plane: Mask, spacing_mm: Triple) -> Mask:
    """An axial slice of a mask on square pixels as fine as its finer side, since its perimeter is counted in pixels."""
    from scipy import ndimage

    finest = min(spacing_mm[1:])
    zoom = [spacing / finest for spacing in spacing_mm[1:]]
    if max(zoom) < 1 + _SQUARE:
        return plane
    squares: Mask = ndimage.zoom(plane, zoom, order=0, mode="grid-constant", grid_mode=True)
    return squares


def _edge_share(mask: Mask, outside: Mask, spacing_mm: Triple) -> float:
    """Length of the outlines of a mask in its axial slices where they are the liver's, over their whole length."""
    padded, outside = np.pad(mask, ((0, 0), (1, 1), (1, 1))), outside[1:-1]
    whole = edge = 0.0
    for axis, length_mm in ((1, spacing_mm[2]), (2, spacing_mm[1])):  # a face across y is as long as a pixel along x
        for step in (-1, 1):
            beside = np.roll(padded, step, axis)  # its margin is empty, so that nothing comes round
            whole += np.count_nonzero(beside & ~padded) * length_mm
            edge += np.count_nonzero(beside & outside) * length_mm
    return float(edge / whole)


def _axis_ratio(mask: Mask, spacing_mm: Sequence[float]) -> float:
    """Least over greatest axis of the ellipse or ellipsoid that has the moments of a mask; a voxel has its own."""
    places = np.argwhere(mask) * spacing_mm
    moments = np.cov(places, rowvar=False, bias=True) + np.diag(np.square(spacing_mm) / 12)
    squares = np.linalg.eigvalsh(moments)
    return math.sqrt(float(squares[0] / squares[-1]))
