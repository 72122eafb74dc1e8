"""What the header of an image file claims, and what may be claimed.

A header is a stranger's word for how much memory to take and which other files to open. So it is read from the file's
first bytes alone, before any library sees the file, and refused where it asks for more than the file can hold, for more
than the limit, or for a file elsewhere.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import TumorgenError
from .files import EXTENSIONS, extension_of, is_dicom

LIMIT = "TUMORGEN_MAX_GIB"
LIMIT_GIB = 4.0  # of voxels: 2,000 slices of 512 x 512 as float64; a clinical CT has a tenth
SLACK = 4096  # bytes that may follow the voxels: padding to whole blocks
DEFLATE = 1040  # no deflate stream is longer than 1032 times its file (zlib's technical notes)


_NIFTI, _NRRD, _META = "a NIfTI file that is not compressed", "a NRRD file", "a MetaImage file"
_GZIPPED = "compressed with gzip"
_NAMED = {  # NIfTI's reader says more of the two
    **dict.fromkeys((".nii.gz", ".nii"), (_NIFTI, _GZIPPED)),
    **{".nrrd": (_NRRD,), ".mha": (_META,), ".mhd": (_META,)},
}
_OTHERS = {  # what files of other kinds begin with
    b"\x5c\x01\0\0": _NIFTI,
    b"\0\0\x01\x5c": _NIFTI,
    b"\x1f\x8b": _GZIPPED,
    b"NRRD": _NRRD,
    b"ObjectType": _META,
    b"PK\x03\x04": "a zip archive",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"<": "a web page",
    b"version https://git-lfs": "a pointer of Git LFS (git lfs pull fetches the file)",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a header says of its voxels.

    Attributes
    ----------
    size
        Voxels along (x, y, z).
    voxel_bytes
        Bytes of a voxel, as stored.
    data
        The file that has them: the header's own, or one beside it.
    offset
        Bytes before them in that file, where they are stored plainly; a lower bound where they are compressed.
    compressed
        Whether that file is, or they are, a deflate stream.
    packed_bytes
        Bytes of that stream; 0 where the header does not say.
    scaled_bytes
        Bytes of a voxel once it is multiplied and shifted; 0 where it is not.
    """

    size: tuple[int, ...]
    voxel_bytes: int
    data: Path
    offset: int
    compressed: bool
    packed_bytes: int = 0
    scaled_bytes: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of all voxels, as stored."""
        return math.prod(self.size) * self.voxel_bytes

    @property
    def needed_bytes(self) -> int:
        """Bytes of the array that they become."""
        return math.prod(self.size) * max(self.voxel_bytes, self.scaled_bytes)


def refuse_excess(claim: Claim, file: BinaryIO, path: Path) -> None:
    """Refuse a header that asks for more than its open data file can hold or the limit allows.

    Raises
    ------
    TumorgenError
        The header asks for too much, or its volume is not 3D.
    """
    _refuse_size(claim.size, path)
    limit = limit_bytes()
    if (needed := claim.needed_bytes) > limit:
        scaled = " once they are scaled" if needed > claim.bytes else ""
        raise TumorgenError(
            f"{path}: its header says {claim.size} voxels (x, y, z), {needed / 2**30:,.1f} GiB{scaled}; no CT is that"
            f" large (where one is, set {LIMIT}, now {limit / 2**30:g})"
        )
    there = os.fstat(file.fileno()).st_size
    if claim.bytes > (there * DEFLATE if claim.compressed else there - claim.offset):
        raise TumorgenError(
            f"{path}: is truncated: its header says {claim.bytes} bytes of voxels, which {there} bytes cannot hold;"
            " copy it again"
        )


def damaged(path: Path, error: Exception) -> TumorgenError:
    """The error of a file whose compressed stream breaks."""
    return TumorgenError(f"{path}: is damaged or cut off ({error}); copy it again")


def truncated(path: Path, count: int) -> TumorgenError:
    """The error of a file that ends before the bytes of voxels that its header says."""
    return TumorgenError(f"{path}: is truncated: its header says {count} bytes of voxels; copy it again")


def too_long(path: Path) -> TumorgenError:
    """The error of a file that holds more after its voxels than its header leaves room for."""
    return TumorgenError(f"{path}: goes on long after its last voxel; its header does not fit it")


def _refuse_size(size: tuple[int, ...], path: Path) -> None:
    """Refuse what is no volume by its numbers of voxels (x, y, z).

    Raises
    ------
    TumorgenError
        It is not 3D, or has fewer than two voxels along an axis.
    """
    if len(size) != 3:
        axes, advice = ("(x, y, z, ...)", ": write one of its volumes as 3D") if len(size) > 3 else ("(x, y, z)", "")
        raise TumorgenError(f"{path}: is {len(size)}D of size {size} {axes}; a 3D volume is needed{advice}")
    if size[2] == 1:
        raise TumorgenError(f"{path}: has a single slice; at least two are needed")
    if min(size) < 2:
        raise TumorgenError(f"{path}: has {size} voxels (x, y, z); at least two are needed along each axis")


def limit_bytes() -> int:
    """Bytes of voxels that a file may have: the environment's `TUMORGEN_MAX_GIB`, in GiB.

    Raises
    ------
    TumorgenError
        The variable is not a number above zero.
    """
    text = os.environ.get(LIMIT, str(LIMIT_GIB))
    try:
        gib = float(text)
    except ValueError:
        gib = math.nan
    if not 0 < gib < 2**30:
        raise TumorgenError(f"{LIMIT} is {text!r}; a number of GiB above zero is needed")
    return int(gib * 2**30)


def format_of(file: BinaryIO, path: Path) -> str:
    """The extension of an open image file, in small letters.

    Raises
    ------
    TumorgenError
        The file is DICOM, or its format is not read.
    """
    start = first_bytes(file, 132, path)
    if is_dicom(start):
        raise TumorgenError(f"{path}: is a DICOM file; give `tumorgen liver-mask` the folder of its series")
    extension = extension_of(path)
    if not extension:
        raise TumorgenError(f"{path}: is of no format that is read; give one of {', '.join(EXTENSIONS)}")
    what = next((what for begins, what in _OTHERS.items() if start.startswith(begins)), "")
    if what and what not in _NAMED[extension]:
        raise TumorgenError(f"{path}: is {what}, and not what its name says; rename it, unpack it or fetch it again")
    return extension


def first_bytes(file: BinaryIO, count: int, path: Path) -> bytes:
    """The first bytes of an open file; fewer where it is shorter.

    Raises
    ------
    TumorgenError
        The file cannot be read.
    """
    try:
        file.seek(0)
        return file.read(count)
    except OSError as error:
        raise TumorgenError(f"{path}: not a readable volume ({error.strerror})") from error
