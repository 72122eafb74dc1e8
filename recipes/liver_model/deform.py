"""Random affine and elastic deformation of label maps, directly onto the grid of the scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from tumorgen.imaging.geometry import Index, Triple

from .labels import LabelMap
from .waves import Floats, waves

SCALES = (0.8, 1.25)  # of each axis: patients, and atlases whose true size is not known
DEGREES = 9.0
SHEAR = 0.08
ELASTIC_MM = (1.0, 5.0)  # standard deviation of the displacement; bumps are `BUMP_MM` apart, so that nothing folds
BUMP_MM = 75.0


@dataclass(frozen=True, slots=True)
class Deformation:
    """A map from points of the deformed image to points of the original, both in mm from their middles.

    Attributes
    ----------
    matrix
        3 x 3, (z, y, x): original = matrix @ deformed.
    elastic_mm
        Standard deviation of the elastic part.
    """

    matrix: NDArray[np.float64]
    elastic_mm: float

    @property
    def growth(self) -> float:
        """Factor by which volumes grow."""
        return float(1 / np.linalg.det(self.matrix))


def draw_deformation(rng: Generator) -> Deformation:
    """Draw scales, small rotations and shears, and the strength of the elastic part."""
    overall = rng.uniform(0.88, 1.14)
    scale = np.clip(overall * rng.uniform(0.9, 1.1, 3), *SCALES)
    shear = np.eye(3)
    shear[~np.eye(3, dtype=bool)] = rng.normal(0, SHEAR / 2, 6).clip(-SHEAR, SHEAR)
    forward = _rotation(np.deg2rad(rng.uniform(-DEGREES, DEGREES, 3))) @ shear @ np.diag(scale)
    return Deformation(np.asarray(np.linalg.inv(forward), np.float64), float(rng.uniform(*ELASTIC_MM)))


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = (other for other in range(3) if other != axis)
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        result = result @ turn
    return result


def grid_around(shape: Index, spacing_in_mm: Triple, deformation: Deformation, spacing_mm: Triple) -> Index:
    """Voxels (z, y, x) of a grid that holds a whole image after its scaling; rotation and bending are ignored."""
    forward = np.abs(np.linalg.inv(deformation.matrix).diagonal())
    z, y, x = (
        max(2, int(np.ceil(n * s * f / wanted)))
        for n, s, f, wanted in zip(shape, spacing_in_mm, forward, spacing_mm, strict=True)
    )
    return z, y, x


def places(
    shape_in: Index, spacing_in_mm: Triple, deformation: Deformation, shape: Index, spacing_mm: Triple, rng: Generator
) -> list[Floats]:
    """Where each voxel of a grid lies in an image, as continuous indices; both have the same middle.

    Above and below an image its last slices are repeated, so that a turned image has no corners of air in the patient.

    Parameters
    ----------
    shape_in, spacing_in_mm
        The image (z, y, x).
    deformation
        The deformation of the image.
    shape, spacing_mm
        The grid (z, y, x).
    rng
        Draws the elastic field.
    """
    points = [((np.arange(n) - (n - 1) / 2) * s).astype(np.float32) for n, s in zip(shape, spacing_mm, strict=True)]
    z, y, x = np.meshgrid(*points, indexing="ij", sparse=True)
    reach = [BUMP_MM / s for s in spacing_mm]
    index: list[Floats] = []
    for row, n, spacing in zip(deformation.matrix.astype(np.float32), shape_in, spacing_in_mm, strict=True):
        place = row[0] * z + row[1] * y + row[2] * x
        if deformation.elastic_mm:
            place += np.float32(deformation.elastic_mm) * waves(rng, shape, reach)
        place *= np.float32(1 / spacing)
        place += np.float32((n - 1) / 2)
        index.append(place)
    np.clip(index[0], 0, shape_in[0] - 1, out=index[0])
    return index


def deform_labels(tissues: LabelMap, index: list[Floats]) -> LabelMap:
    """Labels at continuous indices: the nearest ones, air outside."""
    return np.asarray(map_coordinates(tissues, index, order=0, mode="constant", cval=0), np.uint8)


def deform_image(values: NDArray[Any], index: list[Floats], outside: float) -> Floats:
    """An image at continuous indices, linear between voxels."""
    return np.asarray(map_coordinates(values.astype(np.float32), index, order=1, mode="constant", cval=outside))
