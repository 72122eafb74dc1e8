"""Volumes: voxels with their place in space, and the only code that reads or writes image files.

SimpleITK is imported only where a file needs it (`plain_nifti`). Arrays are (z, y, x). Spacing is (z, y, x) in mm.
Origin, direction and points are ITK's: (x, y, z) in mm, LPS (3D Slicer shows RAS: negate x and y).
"""

from __future__ import annotations

import math
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from .claims import EXTENSIONS, Claim, extension_of, reader_of, refuse_hostile, refuse_irregular, refuse_undecodable
from .integrity import check_stream, read_nifti, refuse_non_finite
from .plain_nifti import DIRECTION, read_plain

if TYPE_CHECKING:
    import SimpleITK as sitk

GEOMETRY_TOLERANCE_MM = 1e-3  # headers store spacing and origin as float32: 1e-3 mm is far above their rounding
FARTHEST_MM = 1e6  # of an origin, from the scanner's centre; a header's float32 would not resolve voxels beyond
AIR_BELOW_HU = -300.0  # a CT shows air around or in the body at about -1000 HU; fat, the next darkest, at -100
TISSUE_ABOVE_HU = 50.0

LONGEST_CASE = 180  # characters; with what samples add, and a suffix, within the 255 that file systems take
LONGEST_SAMPLE = 220
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")

Index = tuple[int, int, int]
Triple = tuple[float, float, float]
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)  # direction of a scan along the patient's axes


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where voxels are: shape and spacing (z, y, x); origin (x, y, z) and direction (row-major 3 x 3) as in ITK."""

    shape: Index
    spacing_mm: Triple
    origin_mm: Triple = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm3."""
        return math.prod(self.spacing_mm)

    def to_mm(self, index: Triple) -> Triple:
        """Physical point (x, y, z), LPS mm, of a continuous voxel index (z, y, x)."""
        scaled = [i * s for i, s in zip(index[::-1], self.spacing_mm[::-1], strict=True)]
        x, y, z = np.reshape(self.direction, (3, 3)) @ scaled + self.origin_mm
        return float(x), float(y), float(z)

    def to_index(self, point_mm: Triple) -> Triple:
        """Continuous voxel index (z, y, x) of a physical point (x, y, z) in LPS mm."""
        return _index_of(self, point_mm)

    def difference(self, other: Geometry) -> str:
        """Why two volumes do not lie on the same voxel grid, in words; empty where they do.

        Corners are compared in mm, so that a tiny difference in direction counts for what it moves.
        """
        if self.shape != other.shape:
            return f"shape {self.shape} against {other.shape} (z, y, x)"
        if not np.allclose(self.spacing_mm, other.spacing_mm, rtol=0, atol=GEOMETRY_TOLERANCE_MM):
            return f"spacing {self.spacing_mm} against {other.spacing_mm} mm (z, y, x)"
        last = np.subtract(self.shape, 1)
        corners = [tuple(last * np.array(pick)) for pick in np.ndindex(2, 2, 2)]
        apart = max(float(np.linalg.norm(np.subtract(self.to_mm(c), other.to_mm(c)))) for c in corners)
        if apart > 100 * GEOMETRY_TOLERANCE_MM:
            return f"corners lie up to {apart:.2f} mm apart (origin or direction differs)"
        return ""


@lru_cache(maxsize=64)
def _index_of(geometry: Geometry, point_mm: Triple) -> Triple:
    """Where a point lies; every step of a tumour's rendering asks for its centre."""
    offset = np.subtract(point_mm, geometry.origin_mm)
    if geometry.direction != IDENTITY:
        offset = np.linalg.solve(np.reshape(geometry.direction, (3, 3)), offset)
    x, y, z = (offset / geometry.spacing_mm[::-1]).tolist()
    return z, y, x


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """An array (z, y, x) and its geometry."""

    array: NDArray[Any]
    geometry: Geometry


def case_name(path: Path) -> str:
    """Name of the case in a file's name: no folder, no extension, no nnU-Net channel suffix (`_0000`)."""
    name = path.name[: len(path.name) - len(extension_of(path))]
    return safe_name(re.sub(r"_0000$", "", name))


def safe_name(name: str, longest: int = LONGEST_CASE) -> str:
    """A case name that is safe as a file name everywhere: letters, digits, `.`, `_`, `-`; never empty, no dot first.

    A letter with an accent is the same in both of Unicode's forms (macOS writes the other one); a name that Windows
    keeps for a device (`con`, `nul`, `com1`) gets `case-` in front.
    """
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", unicodedata.normalize("NFC", name)).strip(".-_")
    cleaned = cleaned[:longest].rstrip(".-_") or "case"
    return f"case-{cleaned}"[:longest].rstrip(".-_") if _DEVICES.match(cleaned) else cleaned


def refuse_unsafe_name(name: str, what: str, longest: int = LONGEST_CASE) -> None:
    """Refuse a name of which a file would lie elsewhere, or have another name on another system.

    Raises
    ------
    TumorgenError
        It is not what `safe_name` makes of it.
    """
    safe = safe_name(name, longest)
    if name != safe:
        raise TumorgenError(f"{what} {name[:80]!r} is not safe as a file name; {safe[:80]!r} would be")


def resolved(path: Path) -> Path:
    """The absolute path that links lead to; of links in a loop, which `Path.resolve` raises over, as far as they do."""
    return Path(os.path.realpath(path))


def find_volumes(folder: Path) -> dict[str, Path]:
    """Case name -> path of every volume in a folder (or of one file), sorted by name.

    Raises
    ------
    TumorgenError
        As `volumes_in`, and where nothing is readable by its extension.
    """
    found = volumes_in(folder)
    if not found:
        dicom = " DICOM is read by `tumorgen liver-mask` alone." if any(map(_is_dicom, _listed(folder)[:100])) else ""
        raise TumorgenError(f"{folder}: no volumes in it; looked for {', '.join(EXTENSIONS)}.{dicom}".removesuffix("."))
    return found


def volumes_in(folder: Path) -> dict[str, Path]:
    """Case name -> path of the volumes in a folder (or of one file), sorted by name; there may be none.

    Raises
    ------
    TumorgenError
        Nothing there, or two files with one case name; names that differ in small and capital letters alone are one, as
        they are to Windows and macOS.
    """
    try:
        if folder.is_file():
            return {case_name(folder): folder}
        if not folder.is_dir():
            if folder.is_symlink() or folder.exists():
                refuse_irregular(folder)
            raise TumorgenError(f"{folder}: no such file or folder")
    except OSError as error:
        raise TumorgenError(f"{folder}: cannot be read ({error.strerror})") from error
    found: dict[str, Path] = {}
    twins: dict[str, Path] = {}
    for path in _listed(folder):
        if not extension_of(path) or path.name.startswith("."):
            continue
        case = case_name(path)
        twin = twins.setdefault(case.lower(), path)
        if twin is not path:
            raise TumorgenError(f"{path}: case {case!r} is also {twin.name}; rename one of them")
        found[case] = path
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise TumorgenError(f"{folder}: cannot be read ({error.strerror})") from error


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") if path.is_file() else nullcontext(BytesIO()) as file:
            return file.read(132)[128:] == b"DICM" or path.name.upper() == "DICOMDIR"
    except OSError:
        return False


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

    reader = _open(path)
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
            raise TumorgenError(f"{path}: cannot be read ({_reason(error)}); is the file truncated?") from error
        refuse_non_finite(array, path)
    return Volume(array, geometry)


def _open(path: Path) -> sitk.ImageFileReader:
    """A reader whose geometry has been checked."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO(reader_of(path))
    try:
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise TumorgenError(f"{path}: not a readable volume ({_reason(error)})") from error
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


def _reason(error: RuntimeError) -> str:
    """The last line of an ITK error, which is the one that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][-160:] if lines else "unknown reason"


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


def to_image(volume: Volume) -> sitk.Image:
    """The SimpleITK image of a volume; its voxels are copied."""
    import SimpleITK as sitk

    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(volume.geometry.spacing_mm[::-1])
    image.SetOrigin(volume.geometry.origin_mm)
    image.SetDirection(volume.geometry.direction)
    return image


def write_volume(volume: Volume, path: Path) -> None:
    """Write a volume, compressed; the file appears whole or not at all. Boolean arrays become uint8 0/1."""
    import SimpleITK as sitk

    refuse_undecodable(path)
    with whole_file(path) as partial:
        try:
            sitk.WriteImage(to_image(volume), str(partial), useCompression=True)
        except RuntimeError as error:
            raise TumorgenError(f"{path}: cannot be written ({_reason(error)})") from error


@contextmanager
def whole_file(path: Path, *, durable: bool = True, parents: bool = True) -> Iterator[Path]:
    """A path to write to; what is there at the end of the block appears under `path` at once, or not at all.

    The partial file lies in a hidden folder beside `path`, so that nothing that lists the folder takes it for a case.
    If `durable` it is on disk when this returns; else a power cut may take it within the next half minute. `parents`
    says whether a missing folder is made; not in a dataset that is begun, since one that vanishes stays away.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
            partial = Path(folder) / path.name
            yield partial
            if durable:
                to_disk(partial)
            partial.replace(path)
        if durable:
            to_disk(path.parent)
    except OSError as error:
        raise TumorgenError(f"{path}: cannot be written ({error.strerror or error})") from error


def to_disk(path: Path) -> None:
    """Have what a file or a folder holds survive a power cut (fsync)."""
    if os.name == "nt" and path.is_dir():
        return  # Windows syncs no folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
