"""A healthy scan made ready for tumours: HU statistics, vessels (Eq. 1 and 2) and the clearance to them.

A scan is prepared once. Plans are then drawn for it and rendered into it. Arrays are (z, y, x).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import (
    MASK,
    Box,
    Boxed,
    Geometry,
    Index,
    LabelChoice,
    Volume,
    bounding_box,
    case_name,
    grow,
    read_ct,
    read_mask,
    refuse_misfit,
    shape_of,
)
from ..labels import LIVER
from .bulk import median_and_robust_sd
from .compiled import gaussian_filter
from .distances import distance_inside
from .plausibility import refuse_air, refuse_no_liver
from .settings import Vessels
from .sites import Sites
from .tissue import Tissue

OUTLIER_SD = 3.0  # parenchyma: voxels within 3 robust standard deviations of the median
FILTER_TRUNCATE = 4.0
MEASURED_LATER = ("by_clearance", "tissue", "sites")  # of a scan, when it is first asked for


@dataclass(frozen=True, eq=False)
class Scan:
    """A CT with its liver and what the method measures in it.

    What only some tumours need is measured when it is first asked for, and kept.

    Attributes
    ----------
    case
        Name of the scan; seeds and sample names derive from it.
    geometry
        Geometry of the CT.
    hu
        The CT, (z, y, x), HU, in the file's own data type: an array, or an object that gives boxes of one.
    inside
        Liver mask l of the same shape, boolean or 0 and 1: an array, or an object that gives boxes of one. It has 2
        where a tumour is really there.
    image_sha256, mask_sha256
        Digests of voxels and geometry, which pin a plan to its scan.
    roi
        The liver's bounding box plus the filters' support.
    vessels
        Boolean vessel mask v (Eq. 2), of the shape of `roi`.
    mu_p_hu, sigma_p_hu
        Mean and standard deviation of the parenchyma.
    sigma_a
        Width of the filter of Eq. 1, in mm (see `smoothing_sigma`).
    real_tumor_voxels
        Voxels of tumours that are really there: part of the liver's body, but no place for others, and no parenchyma.
    liver_ml
        Volume of the liver, such tumours included; None where nobody has counted its voxels.
    """

    case: str
    geometry: Geometry
    hu: Boxed
    inside: Boxed
    image_sha256: str
    mask_sha256: str
    roi: Box
    vessels: NDArray[np.bool_]
    mu_p_hu: float
    sigma_p_hu: float
    sigma_a: float
    real_tumor_voxels: int = 0
    liver_ml: float | None = None

    @cached_property
    def by_clearance(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Candidates and their clearance (`sort_by_clearance`)."""
        return sort_by_clearance(self.healthy_roi(), self.vessels, self.geometry.spacing_mm)

    @property
    def candidates(self) -> NDArray[np.int32]:
        """Flat indices into `roi` of the liver's voxels, by falling clearance."""
        return self.by_clearance[0]

    @property
    def clearance_mm(self) -> NDArray[np.float32]:
        """Distance of each candidate to the nearest vessel voxel, float32; infinite where there is no vessel."""
        return self.by_clearance[1]

    @cached_property
    def tissue(self) -> Tissue:
        """The liver taken apart into parenchyma and what is foreign in it."""
        hu = np.asarray(self.hu[self.roi])
        return Tissue.of(hu, self.healthy_roi(), (self.mu_p_hu, self.sigma_p_hu), self.geometry.spacing_mm)

    @cached_property
    def sites(self) -> Sites:
        """Where tumours may lie in the parenchyma, by depth below the liver's surface."""
        return Sites.of(np.asarray(self.inside[self.roi]) > 0, self.tissue.parenchyma, self.geometry.spacing_mm)

    def healthy_roi(self) -> NDArray[np.bool_]:
        """The liver in `roi`, without tumours that are really there."""
        inside = np.asarray(self.inside[self.roi])
        return inside == LIVER if self.real_tumor_voxels else inside.view(bool)

    def with_voxels(self, hu: Boxed, inside: Boxed) -> Scan:
        """The same scan, its voxels held by other objects; what has been measured is kept."""
        known = {name: value for name, value in self.__dict__.items() if name in MEASURED_LATER}
        return replace(self, hu=hu, inside=inside).knowing(**known)

    def knowing(self, **measured: Any) -> Scan:
        """The same scan, with something of `MEASURED_LATER` that has been measured before."""
        informed = replace(self)
        informed.__dict__.update(measured)
        return informed

    @property
    def image(self) -> Volume:
        """The whole CT."""
        return Volume(np.asarray(self.hu), self.geometry)

    @property
    def liver(self) -> NDArray[np.bool_]:
        """The whole liver mask, boolean; tumours that are really there are part of it."""
        return np.asarray(self.inside) > 0 if self.real_tumor_voxels else self.label.view(bool)

    @property
    def label(self) -> NDArray[np.uint8]:
        """The whole label before anything is drawn, uint8: 0, 1 (liver) and 2 (a tumour that is really there)."""
        return np.asarray(self.inside).view(np.uint8)

    def voxel(self, candidate: int) -> Index:
        """Voxel index (z, y, x) in the whole image of the n-th candidate."""
        inside = np.unravel_index(int(self.candidates[candidate]), shape_of(self.roi))
        z, y, x = (int(i) + s.start for i, s in zip(inside, self.roi, strict=True))
        return z, y, x


def load_scan(
    image: Path,
    mask: Path,
    vessels: Vessels | None = None,
    case: str = "",
    labels: LabelChoice = MASK,
    trust: str = "",
) -> Scan:
    """Read a CT and its liver mask, and measure them (`prepare_scan`).

    Parameters
    ----------
    image, mask
        Files of the CT in HU and of its liver, on one grid.
    vessels
        How vessels are found; the paper's way by default.
    case
        Name of the scan, for seeds and sample names; by default that of the file.
    labels
        What the labels of the mask are; by default it has a single one, the liver.
    trust
        `sform` or `qform`: which of two places holds where those in a file's header contradict each other.

    Raises
    ------
    TumorgenError
        Either file cannot be used, or they do not lie on the same grid.
    """
    ct, liver = read_ct(image, trust), read_mask(mask, labels, trust)
    refuse_misfit(mask, liver.geometry, image, ct.geometry)
    try:
        return prepare_scan(ct, liver.array, vessels or Vessels(), case or case_name(image))
    except TumorgenError as error:
        raise TumorgenError(f"{image}: {error}") from error


def prepare_scan(image: Volume, liver: NDArray[Any], vessels: Vessels, case: str) -> Scan:
    """Measure a CT and its liver: statistics and vessels (Eq. 1 and 2, Table 1).

    Parameters
    ----------
    image
        CT in HU, of any real data type.
    liver
        Liver mask of the image's shape, boolean; or 0, 1 and 2 as uint8, where 2 is a tumour that is really there.
    vessels
        How vessels are found.
    case
        Name of the scan, for seeds and sample names.

    Raises
    ------
    TumorgenError
        The liver is empty, of another shape than the image, or of values that no liver has in HU.
    """
    healthy = liver if liver.dtype == bool else liver == LIVER
    if liver.shape != image.array.shape or not healthy.any():
        raise TumorgenError(f"the liver mask, of shape {liver.shape}, is empty or has another shape than the image")
    liver_box = bounding_box(liver)
    liver_hu = image.array[liver_box][healthy[liver_box]]
    mean_hu, first_sd = estimate_liver_hu(liver_hu)
    refuse_no_liver(mean_hu, first_sd)
    refuse_air(liver_hu)

    # Table 1's sigma_a needs sigma_p, which needs the vessels, which need sigma_a: a robust estimate over the whole
    # liver breaks the circle.
    sigma_a = vessels.sigma_a_base + vessels.sigma_a_per_hu * first_sd
    sigmas = smoothing_sigma(sigma_a, image.geometry)
    roi = grow(liver_box, [int(m) for m in np.ceil(FILTER_TRUNCATE * sigmas)], image.geometry.shape)
    inside = healthy[roi]
    found = find_vessels(image.array[roi], inside, sigmas, mean_hu + vessels.offset_hu)
    rest = inside & ~found
    mu_p, sigma_p = measure_parenchyma(image.array[roi][rest if rest.any() else inside])
    refuse_no_liver(mu_p, sigma_p)
    voxels = int(np.count_nonzero(liver))
    return Scan(
        case=case,
        geometry=image.geometry,
        hu=image.array,
        inside=liver,
        image_sha256=digest_voxels(image.array, image.geometry),
        mask_sha256=digest_voxels(liver, image.geometry),
        roi=roi,
        vessels=found,
        mu_p_hu=mu_p,
        sigma_p_hu=sigma_p,
        sigma_a=sigma_a,
        real_tumor_voxels=voxels - int(np.count_nonzero(healthy)),
        liver_ml=voxels * image.geometry.voxel_volume_mm3 / 1000,
    )


def find_vessels(
    hu: NDArray[Any], liver: NDArray[np.bool_], sigmas: NDArray[np.float64], threshold_hu: float
) -> NDArray[np.bool_]:
    """Vessels v: liver voxels of the smoothed scan (Eq. 1; widths in voxels) that are above a threshold (Eq. 2)."""
    smooth = gaussian_filter(hu.astype(np.float32), sigmas.tolist(), FILTER_TRUNCATE)
    found: NDArray[np.bool_] = liver & (smooth > threshold_hu)
    return found


def smoothing_sigma(sigma_a: float, geometry: Geometry) -> NDArray[np.float64]:
    """Width of Eq. 1's filter in voxels (z, y, x): sigma_a mm, but along no axis less than sigma_a voxels.

    The filter is there to keep noise, which lives from voxel to voxel, below b. The paper means voxels; in mm alone it
    would not smooth a scan with thick slices at all, and a tenth of such a liver would pass for vessels.
    """
    return np.maximum(sigma_a / np.array(geometry.spacing_mm), sigma_a)


def estimate_liver_hu(hu: NDArray[Any]) -> tuple[float, float]:
    """Mean of the bulk and robust standard deviation in HU of voxels of liver, its vessels among them."""
    values, (median, sd) = hu.astype(np.float64), median_and_robust_sd(_exactly(hu))
    return float(without_outliers(values, median, sd).mean()), sd


def measure_parenchyma(hu: NDArray[Any]) -> tuple[float, float]:
    """Return mu_p and sigma_p in HU of voxels of liver without vessels.

    Voxels beyond three robust standard deviations are left out: a mask that spills into fat or lung by one voxel
    raises the plain standard deviation by a third, measured on real scans.
    """
    kept = without_outliers(hu.astype(np.float64), *median_and_robust_sd(_exactly(hu)))
    return float(kept.mean()), float(kept.std())


def _exactly(hu: NDArray[Any]) -> NDArray[Any]:
    """HU as they are where they are whole numbers, else as float64: what is computed of them does not depend on it."""
    return hu if hu.dtype.kind in "iu" else hu.astype(np.float64)


def without_outliers(hu: NDArray[np.float64], median: float, sd: float) -> NDArray[np.float64]:
    """Values within three robust standard deviations of their median."""
    return hu[np.abs(hu - median) <= OUTLIER_SD * sd]


def sort_by_clearance(
    liver: NDArray[np.bool_], vessels: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Liver voxels by falling distance (mm) to the nearest vessel voxel, so that every admissible set is a prefix.

    Ties keep the order of the voxels, so that the order is the same everywhere.
    """
    voxels = np.flatnonzero(liver).astype(np.int32)
    if vessels.any():
        box = bounding_box(liver)  # vessels are liver: what is around it plays no part
        distance = distance_inside(~vessels[box], spacing_mm)[liver[box]]
    else:
        distance = np.full(voxels.size, np.inf, np.float32)
    order = _order_by_falling(distance)
    return voxels[order], distance[order]


def _order_by_falling(distance: NDArray[np.float32]) -> NDArray[np.intp]:
    """Order of falling distances, equal ones as they come: a stable sort's, in a third of its time.

    The bits of floats that are not negative rise with them; with its place behind its bits, no number comes twice.
    """
    keys = (~distance.view(np.uint32)).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(distance.size, dtype=np.uint64)
    keys.sort()
    return (keys & np.uint64(2**32 - 1)).astype(np.intp)


def digest_voxels(array: NDArray[Any], geometry: Geometry) -> str:
    """SHA-256 of voxels, their type and their geometry: a scan's identity, however its file is compressed."""
    numbers = [float(n) for n in (*geometry.spacing_mm, *geometry.origin_mm, *geometry.direction)]
    place = ([int(n) for n in array.shape], array.dtype.str.lstrip("<>|="), numbers)
    sha = hashlib.sha256(repr(place).encode())
    little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
    sha.update(np.ascontiguousarray(little_endian).view(np.uint8).data)
    return sha.hexdigest()
