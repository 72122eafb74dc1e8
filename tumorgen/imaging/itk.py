"""What ITK is asked for: images to write, files that it reads, and what a header says of a volume's place in space.

SimpleITK is imported in the functions that need it, here and elsewhere: runs over plain NIfTI files do without it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TumorgenError, as_unwritable, reason_of
from ..interruptions import interruptions_held
from .claims import Claim
from .files import scratch_folder
from .geometry import Geometry, Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

_STDERR = 2  # its descriptor, whatever Python's own stream is
_one_at_a_time = threading.RLock()
FARTHEST_MM = 1e6  # of an origin, from the scanner's centre; a header's float32 would not resolve voxels beyond


def to_image(volume: Volume) -> sitk.Image:
    """The SimpleITK image of a volume; its voxels are copied. Boolean arrays become uint8 0/1."""
    import SimpleITK as sitk

    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(volume.geometry.spacing_mm[::-1])
    image.SetOrigin(volume.geometry.origin_mm)
    image.SetDirection(volume.geometry.direction)
    return image


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK's own warnings off the terminal: what is wrong with a file is said by what reads it, in one line."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Keep what ITK's readers of text headers print by themselves off the terminal; MetaIO does not ask whether it may.

    One thread at a time, since standard error is the whole process's.
    """
    with _one_at_a_time, interruptions_held():  # what ends the program is to be heard
        kept = _copy_of_stderr()
        try:
            if kept is not None:
                _send_stderr(os.open(os.devnull, os.O_WRONLY))
            yield
        finally:
            if kept is not None:
                _send_stderr(kept)


def _copy_of_stderr() -> int | None:
    """A descriptor of what standard error goes to; None where there is no such thing."""
    with suppress(OSError):
        return os.dup(_STDERR)
    return None


def _send_stderr(descriptor: int) -> None:
    """Let standard error go to what a descriptor goes to, which is closed."""
    if sys.stderr is not None:
        sys.stderr.flush()
    os.dup2(descriptor, _STDERR)
    os.close(descriptor)


def open_image(file: Path, reader_name: str, path: Path) -> sitk.ImageFileReader:
    """A reader of an image file that has read its header; the geometry has been checked.

    Parameters
    ----------
    file
        What ITK reads.
    reader_name
        ITK's reader: left to itself, ITK asks all of its readers what the bytes are.
    path
        The name that errors give.

    Raises
    ------
    TumorgenError
        ITK cannot read the header, it is not of a scalar 3D volume, or no scanner makes such a geometry.
    """
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO(reader_name)
    try:
        with quiet_itk():
            reader.SetFileName(str(file))
            reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise TumorgenError(
                f"{path}: its axes are not at right angles (a tilted gantry?), which nnU-Net refuses; resample it first"
            ) from error
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


def geometry_of(reader: sitk.ImageFileReader, claim: Claim, path: Path) -> Geometry:
    """The geometry in the header that a reader has read.

    Raises
    ------
    TumorgenError
        ITK takes another size from it than the one that was checked.
    """
    if reader.GetSize() != claim.size:
        raise TumorgenError(f"{path}: not a readable volume (its size is {claim.size}, or {reader.GetSize()})")
    return Geometry(reader.GetSize()[::-1], reader.GetSpacing()[::-1], reader.GetOrigin(), reader.GetDirection())


def orientation_of(geometry: Geometry) -> str:
    """Where the axes x, y and z of an image run to, as three letters: LPS is to the left, the back and the head."""
    import SimpleITK as sitk

    return str(sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(geometry.direction))


def geometry_of_nifti(header: bytes, claim: Claim, path: Path) -> Geometry:
    """What ITK takes from a NIfTI header that has been checked; it gets the header alone.

    Raises
    ------
    TumorgenError
        ITK cannot read the header, no scanner makes such a geometry, or there is no folder for temporary files.
    """
    with _temporary_nifti() as file:
        file.write_bytes(header)
        return geometry_of(open_image(file, "NiftiImageIO", path), claim, path)


def nifti_header_of(geometry: Geometry, dtype: np.dtype[Any]) -> bytes:
    """What ITK writes before voxels of a type and geometry, but for their number: it writes two along each axis.

    Raises
    ------
    TumorgenError
        ITK writes no such type or geometry, or there is no folder for temporary files.
    """
    import SimpleITK as sitk

    corner = np.zeros((2, 2, 2), dtype)
    with _temporary_nifti() as file:
        try:
            with quiet_itk():
                sitk.WriteImage(to_image(Volume(corner, geometry)), str(file))
        except (RuntimeError, TypeError) as error:
            raise TumorgenError(f"volume of {dtype}: cannot be written as NIfTI ({reason_of(error)})") from error
        content = file.read_bytes()
    return content[: len(content) - corner.nbytes]


@contextmanager
def _temporary_nifti() -> Iterator[Path]:
    with scratch_folder() as folder, as_unwritable(folder):
        yield folder / "header.nii"
