"""Reading and writing volumes: NIfTI, NRRD and MetaImage.

SimpleITK is imported only where a file needs it (`plain_nifti`).
"""

from __future__ import annotations

from pathlib import Path

from ..errors import TumorgenError
from .claims import Claim, reader_of, refuse_hostile
from .files import refuse_undecodable, whole_file
from .geometry import Geometry, Volume
from .integrity import check_stream, read_nifti, refuse_non_finite
from .itk import open_image, reason_of, to_image
from .plain_nifti import DIRECTION, read_plain

AIR_BELOW_HU = -300.0  # a CT shows air around or in the body at about -1000 HU; fat, the next darkest, at -100
TISSUE_ABOVE_HU = 50.0


def read_volume(path: Path) -> Volume:
    """Read a 3D scalar volume: NIfTI, NRRD or MetaImage, as its extension says.

    Raises
    ------
    TumorgenError
        Missing, unreadable or truncated file; not 3D; not scalar; larger than the limit (`imaging.claims`); geometry
        that no scanner makes; a header that names files elsewhere.
    """
    claim = refuse_hostile(path)
    plain = read_plain(path)
    if plain:
        array = read_nifti(path)
        if array is not None:
            return Volume(array, Geometry(plain.shape, plain.spacing_mm, plain.origin_mm, DIRECTION))
    return _read_with_itk(path, claim)


def _read_with_itk(path: Path, claim: Claim) -> Volume:
    """Read any volume; SimpleITK says what its header means."""
    import SimpleITK as sitk

    reader = open_image(path)
    if reader.GetSize() != claim.size:
        raise TumorgenError(f"{path}: not a readable volume (its size is {claim.size}, or {reader.GetSize()})")
    geometry = Geometry(reader.GetSize()[::-1], reader.GetSpacing()[::-1], reader.GetOrigin(), reader.GetDirection())
    array = None
    if reader_of(path) == "NiftiImageIO":
        array = read_nifti(path)
    else:
        check_stream(claim, path)
    if array is None:
        try:
            array = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError as error:
            raise TumorgenError(f"{path}: cannot be read ({reason_of(error)}); is the file truncated?") from error
        refuse_non_finite(array, path)
    return Volume(array, geometry)


def read_ct(path: Path) -> Volume:
    """Read a CT in HU, of the file's own data type.

    Raises
    ------
    TumorgenError
        As `read_volume`, and where the values cannot be a CT's in HU: no air, or no range.
    """
    volume = read_volume(path)
    low, high = float(volume.array.min()), float(volume.array.max())
    if low > AIR_BELOW_HU:
        raise TumorgenError(
            f"{path}: not a CT in HU: its lowest value is {low:g}, so there is no air in it"
            " (offset by 1024, windowed or normalised?)"
        )
    if high < TISSUE_ABOVE_HU:
        raise TumorgenError(f"{path}: not a CT in HU: its highest value is {high:g}, so there is no tissue in it")
    return volume


def read_mask(path: Path, label: int | None = None) -> Volume:
    """Read a mask as a boolean volume: voxels equal to `label`, or above zero where it is None.

    Raises
    ------
    TumorgenError
        As `read_volume`, and where nothing is in the mask.
    """
    volume = read_volume(path)
    mask = volume.array > 0 if label is None else volume.array == label
    if not mask.any():
        raise TumorgenError(f"{path}: the mask is empty; check the output of liver-mask")
    return Volume(mask, volume.geometry)


def write_volume(volume: Volume, path: Path) -> None:
    """Write a volume, compressed; the file appears whole or not at all. Boolean arrays become uint8 0/1."""
    import SimpleITK as sitk

    refuse_undecodable(path)
    with whole_file(path) as partial:
        try:
            sitk.WriteImage(to_image(volume), str(partial), useCompression=True)
        except RuntimeError as error:
            raise TumorgenError(f"{path}: cannot be written ({reason_of(error)})") from error
