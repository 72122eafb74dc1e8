"""What a case is shown as: one field of view, one grid and one scale of greys for all, whatever a scan came as.

Every case of a study has a file of the same length with the same header: the same shape, spacing, origin, direction and
data type, uncompressed, since a compressed file tells by its length how noisy a scan is. What is left is what a reader
is to judge, and what docs/turing.md says cannot be hidden: noise, and where a scan ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import LeftOutError
from ..figures import to_lps
from ..imaging import Box, Geometry, Triple, Volume, bounding_box, read_ct, refuse_misfit, to_image, whole_box
from ..labels import LIVER
from ..realism import DrawnTumors, find_drawn, read_labels

LOWEST_HU, HIGHEST_HU = -200, 400  # what is shown: the widest window of the page; metal and air are cut off alike
MARGIN_MM = 20.0  # around the largest liver
AIR_HU = -1024.0
_BOX_VARIANCE = 1 / 12  # of a box of width 1
_SUPPORT = 6  # voxels around what is resampled, for the spline and the blur


@dataclass(frozen=True, slots=True)
class Survey:
    """Where the liver and the tumour of a case lie. Points are (x, y, z), LPS mm.

    Attributes
    ----------
    geometry
        Of its voxels, axes closest to the patient's, axial slices along the first.
    liver_center_mm, liver_size_mm
        Middle of the box around the liver with its tumours, along the patient's axes; and its lengths (x, y, z).
    tumor_mm, tumor_radius_mm
        Centre of the largest tumour, and its radius in the axial plane.
    tumors
        How many tumours are large enough to be seen (`realism.find_lesions`).
    real_beside
        How many real ones are there besides, where these are the synthetic ones of a scan that has real ones.
    """

    geometry: Geometry
    liver_center_mm: Triple
    liver_size_mm: Triple
    tumor_mm: Triple
    tumor_radius_mm: float
    tumors: int
    real_beside: int = 0


@dataclass(frozen=True, slots=True)
class Field:
    """The grid that every case of a study is shown on: shape and spacing (z, y, x), around the middle of its liver."""

    shape: tuple[int, int, int]
    spacing_mm: Triple

    def geometry(self, center_mm: Triple = (0.0, 0.0, 0.0)) -> Geometry:
        """The grid around a point (x, y, z), along the patient's axes."""
        half = [(n - 1) / 2 * s for n, s in zip(self.shape[::-1], self.spacing_mm[::-1], strict=True)]
        x, y, z = (float(c - h) for c, h in zip(center_mm, half, strict=True))
        return Geometry(self.shape, self.spacing_mm, (x, y, z))


def survey_case(label_file: Path, trust: str = "", drawn: DrawnTumors | None = None) -> Survey:
    """Look at a case's labels (0 background, 1 liver, 2 tumour); `drawn` says which tumours are synthetic, if not all.

    Raises
    ------
    TumorgenError
        They cannot be read or hold other labels, or synthetic tumours cannot be told from real ones; or there is no
        tumour that can be seen, which leaves the case out.
    """
    labels = read_labels(label_file, trust)
    geometry = labels.geometry
    told, _ = find_drawn(labels, drawn, label_file)
    found = told.lesions
    if not found:
        raise LeftOutError(f"{label_file}: no tumour in it that is large enough to be seen")
    largest = max(found, key=lambda lesion: lesion.radius_mm)
    corners = np.array(list(_corners(geometry, bounding_box(labels.array >= LIVER))))
    low, high = corners.min(axis=0), corners.max(axis=0)
    return Survey(
        geometry,
        _triple((low + high) / 2),
        _triple(high - low),
        geometry.to_mm(largest.center),
        largest.radius_mm,
        len(found),
        told.real,
    )


def common_field(surveys: Iterable[Survey]) -> Field:
    """The field that holds the liver of each case, with the coarsest spacing of them along each axis.

    On a finer grid those of coarse voxels would look smoother than the others.
    """
    found = list(surveys)
    z, y, x = np.max([each.geometry.spacing_mm for each in found], axis=0)
    spacing = float(z), float(max(y, x)), float(max(y, x))
    size = np.max([each.liver_size_mm for each in found], axis=0)[::-1] + 2 * MARGIN_MM
    depth, height, width = (int(np.ceil(length / s)) for length, s in zip(size, spacing, strict=True))
    return Field((depth, height, width), spacing)


def place_field(survey: Survey, field: Field) -> Triple:
    """Middle (x, y, z) of the field in a case: that of its liver, moved by less than half a voxel, LPS mm.

    So voxels of the field lie on those of the scan where both are as large, and nothing is interpolated.
    """
    corner = survey.geometry.to_index(field.geometry(survey.liver_center_mm).origin_mm)
    z, y, x = (float(round(i)) for i in corner)
    origin, half = np.array(survey.geometry.to_mm((z, y, x))), np.array(field.geometry().origin_mm)
    return _triple(origin - half)


def blind_case(image_file: Path, label_file: Path, survey: Survey, field: Field, trust: str = "") -> Volume:
    """Bring a CT to the field around its liver: whole HU from -200 to 400 (int16), the same geometry for every case.

    A scan of finer voxels is first blurred to what the field's voxels average over, then interpolated by cubic splines.
    Beyond the scan's edges there is air.

    Raises
    ------
    TumorgenError
        The image cannot be read, is no CT in HU, or does not lie on the grid of its labels.
    """
    image = to_lps(read_ct(image_file, trust))
    refuse_misfit(label_file, survey.geometry, image_file, image.geometry, "resample it to the grid of the image")
    hu = resample_ct(image, field.geometry(place_field(survey, field)))
    shown = np.clip(np.rint(hu), LOWEST_HU, HIGHEST_HU).astype(np.int16)
    return Volume(shown, field.geometry())


def resample_ct(image: Volume, target: Geometry) -> NDArray[np.float32]:
    """A CT's HU on another grid, whose voxels are as large or larger; `image` has its axes closest to the patient's."""
    import SimpleITK as sitk
    from scipy import ndimage

    part = _part_for(image, target)
    hu = np.clip(part.array.astype(np.float32), AIR_HU, None)
    spacing = part.geometry.spacing_mm
    missing = [max(0.0, t**2 - s**2) * _BOX_VARIANCE for t, s in zip(target.spacing_mm, spacing, strict=True)]
    sigma = [m**0.5 / s for m, s in zip(missing, spacing, strict=True)]
    blurred = ndimage.gaussian_filter(hu, sigma, mode="nearest")
    filter_ = sitk.ResampleImageFilter()
    filter_.SetReferenceImage(to_image(Volume(np.zeros(target.shape, np.uint8), target)))
    filter_.SetInterpolator(sitk.sitkBSpline)
    filter_.SetDefaultPixelValue(AIR_HU)
    filter_.SetOutputPixelType(sitk.sitkFloat32)
    found: NDArray[np.float32] = sitk.GetArrayFromImage(filter_.Execute(to_image(Volume(blurred, part.geometry))))
    return found


def _part_for(image: Volume, target: Geometry) -> Volume:
    """The part of an image that a grid needs."""
    corners = np.array([image.geometry.to_index(point) for point in _corners(target, whole_box(target.shape))])
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    box = tuple(
        slice(max(0, int(a) - _SUPPORT), min(n, int(b) + _SUPPORT + 1))
        for a, b, n in zip(low, high, image.array.shape, strict=True)
    )
    array = image.array[box]
    z, y, x = array.shape
    first = box[0].start, box[1].start, box[2].start
    lies = image.geometry
    return Volume(array, Geometry((z, y, x), lies.spacing_mm, lies.to_mm(first), lies.direction))


def _corners(geometry: Geometry, box: Box) -> Iterable[Triple]:
    """The corners of a box of voxels, from centre to centre, as points (x, y, z)."""
    for z, y, x in itertools.product(*((s.start, s.stop - 1) for s in box)):
        yield geometry.to_mm((z, y, x))


def _triple(values: NDArray[np.float64]) -> Triple:
    x, y, z = (float(value) for value in values)
    return x, y, z
