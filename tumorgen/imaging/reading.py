"""Reading and writing volumes: NIfTI, NRRD and MetaImage.

A file is opened once: what its header claims is checked, and the voxels are read, on the same open file. Only NRRD and
MetaImage files, once they have been checked, are opened again by ITK, which reads them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from ..errors import TumorgenError, reason_of
from .claims import Claim, format_of, refuse_excess
from .files import as_not_written, extension_of, open_regular, refuse_undecodable, whole_file
from .geometry import Geometry, Volume
from .itk import geometry_of, open_image, orientation_of, quiet_itk, silent_stderr, to_image
from .nifti import NOT_FINITE, read_nifti, refuse_non_finite, refuse_torn_nifti, says_place
from .text_headers import check_stream, meta_claim, nrrd_claim

AIR_BELOW_HU = -300.0  # a CT shows air around or in the body at about -1000 HU; fat, the next darkest, at -100
TISSUE_ABOVE_HU = 50.0
RESAMPLE = "resample it to the grid of the image, or let liver-mask make one"
WRITTEN = (".nii.gz", ".nii", ".nrrd", ".mha")  # formats of one file; ITK asks for small letters
_BLOCK_BYTES = 1 << 20  # hashed at a time

_TEXT_FORMATS: dict[str, tuple[Callable[[BinaryIO, Path], Claim], str]] = {  # how each is checked; ITK's reader of it
    ".nrrd": (nrrd_claim, "NrrdImageIO"),
    ".mha": (meta_claim, "MetaImageIO"),
    ".mhd": (meta_claim, "MetaImageIO"),
}


def read_volume(path: Path, trust: str = "") -> Volume:
    """Read a 3D scalar volume: NIfTI, NRRD or MetaImage, as its extension says.

    Parameters
    ----------
    path
        The file.
    trust
        `sform` or `qform`: which of two places holds where those of a NIfTI header contradict each other. `itk`:
        whichever ITK takes.

    Raises
    ------
    TumorgenError
        Missing, unreadable or truncated file; not 3D; not scalar; larger than the limit (`imaging.claims`); geometry
        that no scanner makes; two places, and no `trust`; a header that names files elsewhere; NaN or infinite voxels.
    """
    with open_regular(path) as file:
        extension = format_of(file, path)
        if extension in _TEXT_FORMATS:
            return _read_with_itk(file, path, extension)
        return read_nifti(file, path, trust)


def files_of_volume(path: Path) -> tuple[Path, ...]:
    """The file of a volume, and that of its voxels where the first does no more than describe them (.mhd).

    Raises
    ------
    TumorgenError
        The file is missing or cannot be read, or such a description is none.
    """
    if extension_of(path) not in _TEXT_FORMATS:
        return (path,)
    with open_regular(path) as file:
        data = _TEXT_FORMATS[format_of(file, path)][0](file, path).data
    return (path,) if data == path else (path, data)


def stamp_of_volume(path: Path) -> str:
    """Size in bytes and time in ns of a volume's file, or files: what it is known by without being read.

    Its time alone would not do: what is restored or copied may be older than what it replaces. Empty where a file is
    missing or cannot be read.
    """
    try:
        states = [file.stat() for file in files_of_volume(path)]
    except (OSError, ValueError, TumorgenError):  # the second of which is a NUL in the path
        return ""
    return "+".join(f"{state.st_size}@{state.st_mtime_ns}" for state in states)


def digest_files(path: Path) -> str:
    """SHA-256, in hex, of a volume's file; of one whose voxels are in another file, of both, one after the other.

    Raises
    ------
    TumorgenError
        As `files_of_volume` has it.
    """
    digest = hashlib.sha256()
    for each in files_of_volume(path):
        with open_regular(each) as file:
            for block in iter(partial(file.read, _BLOCK_BYTES), b""):
                digest.update(block)
    return digest.hexdigest()


def _read_with_itk(file: BinaryIO, path: Path, extension: str) -> Volume:
    """Read an open NRRD or MetaImage file: its claims are checked, then ITK reads it by its name."""
    import SimpleITK as sitk

    claim_of, reader_name = _TEXT_FORMATS[extension]
    claim = claim_of(file, path)
    with _open_data(claim, file, path) as data:
        refuse_excess(claim, data, path)
        with silent_stderr():
            reader = open_image(path, reader_name, path)
        geometry = geometry_of(reader, claim, path)
        check_stream(claim, data, path)
    try:
        with silent_stderr():
            array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise TumorgenError(f"{path}: cannot be read ({reason_of(error)}); is the file truncated?") from error
    refuse_non_finite(array, path)
    return Volume(array, geometry)


def _open_data(claim: Claim, file: BinaryIO, path: Path) -> AbstractContextManager[BinaryIO]:
    """The file that has the voxels: the open one, or another that is opened for as long as the block lasts."""
    return nullcontext(file) if claim.data == path else open_regular(claim.data)


def read_ct(path: Path, trust: str = "") -> Volume:
    """Read a CT in HU, of the file's own data type; `trust` is that of `read_volume`.

    Raises
    ------
    TumorgenError
        The file is not a volume that can be read (`read_volume`), or its values cannot be those of a CT in HU: there is
        no air, or no tissue.
    """
    volume = read_volume(path, trust)
    refuse_no_ct(volume.array, str(path))
    return volume


def refuse_no_ct(array: NDArray[Any], where: str) -> None:
    """Refuse voxels that cannot be those of a CT in HU; `where` says what they are of, for messages.

    Raises
    ------
    TumorgenError
        There is no air, or no tissue, or a voxel is NaN or infinite.
    """
    low, high = float(array.min()), float(array.max())  # NaN where a voxel is
    if not (math.isfinite(low) and math.isfinite(high)):
        raise TumorgenError(f"{where}: {NOT_FINITE}")
    if low > AIR_BELOW_HU:
        clipped = "was it clipped? take it as it was, or set its lowest value to -1000 throughout"
        why = clipped if low < 0 and high > TISSUE_ABOVE_HU else "offset by 1024, windowed or normalised?"
        raise TumorgenError(f"{where}: not a CT in HU: its lowest value is {low:g}, so there is no air in it ({why})")
    refuse_no_tissue(high, where)


def refuse_no_tissue(highest_hu: float, where: str) -> None:
    """Refuse a CT by its highest value in HU; `where` says what that is of, for messages.

    Raises
    ------
    TumorgenError
        Nothing in it is as bright as tissue.
    """
    if highest_hu < TISSUE_ABOVE_HU:
        raise TumorgenError(
            f"{where}: not a CT in HU: its highest value is {highest_hu:g}, so there is no tissue in it"
        )


def refuse_misfit(mask: Path, lies: Geometry, image: Path, grid: Geometry, remedy: str = RESAMPLE) -> None:
    """Refuse a mask that does not lie on the grid of its image; `remedy` says what to do then.

    Raises
    ------
    TumorgenError
        It says by how much, and which of both does not say where it lies; or that its axes alone are turned.
    """
    difference = grid.difference(lies)
    if not difference:
        return
    if grid.is_turned(lies):
        theirs, its = (orientation_of(each) for each in (grid, lies))
        raise TumorgenError(
            f"{mask}: has the voxels of {image}, but along other axes ({its} against {theirs}): turn it, as"
            f' SimpleITK.DICOMOrient(mask, "{theirs}") does; nothing needs to be resampled'
        )
    lost = " and ".join(path.name for path in (image, mask) if not says_place(path))
    why = f" ({lost}: no place in the header, so one was assumed)" if lost else ""
    raise TumorgenError(f"{mask}: does not fit {image}: {difference}{why}; {remedy}")


def write_volume(volume: Volume, path: Path) -> None:
    """Write a volume, compressed; the file appears whole or not at all. Boolean arrays become uint8 0/1.

    Raises
    ------
    TumorgenError
        The file cannot be written, its name is not UTF-8, or its ending is of a format whose voxels lie in another file
        (.mhd), or of none that is read.
    """
    import SimpleITK as sitk

    refuse_undecodable(path)
    if not path.name.endswith(WRITTEN):
        raise TumorgenError(
            f"{path}: volumes are written as {', '.join(WRITTEN)}, which are one file each; choose one of these endings"
        )
    with whole_file(path) as partial, as_not_written(path, partial), quiet_itk(), silent_stderr():
        sitk.WriteImage(to_image(volume), str(partial), useCompression=True)
        _refuse_torn(partial)


def _refuse_torn(path: Path) -> None:
    """Read a file that ITK has just written to its end: ITK does not notice where the system takes no more of it.

    Raises
    ------
    RuntimeError
        A part of it is missing; it is what ITK should have raised.
    """
    extension = extension_of(path)
    try:
        with open_regular(path) as file:
            if extension in _TEXT_FORMATS:
                claim = _TEXT_FORMATS[extension][0](file, path)
                with _open_data(claim, file, path) as data:
                    check_stream(claim, data, path)
            else:
                refuse_torn_nifti(file, path)
    except TumorgenError as error:
        raise RuntimeError("a part of it was not written") from error
