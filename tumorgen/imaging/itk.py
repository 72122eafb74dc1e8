"""What ITK is asked for: images to write, and what a header says of a volume's place in space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import TumorgenError
from .claims import reader_of
from .geometry import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

FARTHEST_MM = 1e6  # of an origin, from the scanner's centre; a header's float32 would not resolve voxels beyond


def to_image(volume: Volume) -> sitk.Image:
    """The SimpleITK image of a volume; its voxels are copied."""
    import SimpleITK as sitk

    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(volume.geometry.spacing_mm[::-1])
    image.SetOrigin(volume.geometry.origin_mm)
    image.SetDirection(volume.geometry.direction)
    return image


def open_image(path: Path) -> sitk.ImageFileReader:
    """A reader whose geometry has been checked."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO(reader_of(path))
    try:
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise TumorgenError(f"{path}: not a readable volume ({reason_of(error)})") from error
    if reader.GetNumberOfComponents() != 1:
        raise TumorgenError(f"{path}: has {reader.GetNumberOfComponents()} values per voxel; a scalar volume is needed")
    if reader.GetDimension() != 3:
        raise TumorgenError(f"{path}: is {reader.GetDimension()}D; a 3D volume is needed")
    spacing = np.array(reader.GetSpacing())
    if not (np.isfinite(spacing).all() and (spacing > 0.01).all() and (spacing < 100).all()):
        raise TumorgenError(f"{path}: spacing {reader.GetSpacing()} mm (x, y, z) is not a CT's; repair the header")
    if not (np.abs(reader.GetOrigin()) < FARTHEST_MM).all():
        raise TumorgenError(f"{path}: its origin is {reader.GetOrigin()} mm (x, y, z); repair the header")
    direction = np.reshape(reader.GetDirection(), (3, 3))
    if not np.allclose(direction @ direction.T, np.eye(3), atol=1e-3):
        raise TumorgenError(f"{path}: its direction is not orthonormal, which nnU-Net refuses; resample it first")
    return reader


def reason_of(error: RuntimeError) -> str:
    """The last line of an ITK error, which is the one that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][-160:] if lines else "unknown reason"
