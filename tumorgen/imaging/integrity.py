"""Reading NIfTI files whole. ITK does not ask whether they are: it fills up a truncated one with zeros, without a word.

It also turns NaN and infinite voxels of NIfTI files into zeros, that is, into water in the middle of a lung. Both were
seen with SimpleITK 2.5; of compressed NRRD and MetaImage files it compares no checksum.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from isal import igzip, igzip_lib
from numpy.typing import NDArray

from ..errors import TumorgenError
from .claims import NIFTI_SLACK, Claim, nifti
from .nifti_header import is_scaled, voxel_type

_STEP = 1 << 20  # bytes; gzip readers make a copy of what they are asked for
_BLOCK = 1 << 24  # voxels looked at together


def read_nifti(path: Path) -> NDArray[Any] | None:
    """Read all voxels (z, y, x) of a 3D NIfTI file (.nii, .nii.gz), to the end, checksum included.

    None where the header scales the voxels: the file is whole then, and ITK knows how to scale. The caller has made
    sure that the header is sane (`headers.refuse_hostile`), so that no hostile one costs memory.

    Raises
    ------
    TumorgenError
        No NIfTI file, fewer or many more bytes than its header says, a checksum that is not the data's, or voxels that
        are NaN or infinite.
    """
    header = nifti(path)
    voxels = np.empty([int(n) for n in header["dim"][3:0:-1]], voxel_type(header))
    opener = igzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            _fill(voxels, file, path, int(header["vox_offset"]))
    except (OSError, EOFError, zlib.error, igzip_lib.IsalError) as error:  # type: ignore[misc]
        raise TumorgenError(f"{path}: is damaged or cut off ({error}); copy it again") from error
    refuse_non_finite(voxels, path)
    return None if is_scaled(header) else voxels.astype(voxels.dtype.newbyteorder("="), copy=False)


def _fill(voxels: NDArray[Any], file: BinaryIO, path: Path, offset: int) -> None:
    """Read the voxels and what follows; at the end of the stream gzip compares its own checksum."""
    wanted = voxels.reshape(-1).view(np.uint8).data
    done = 0 if len(file.read(offset)) == offset else -1
    while 0 <= done < len(wanted):
        step = file.readinto(wanted[done : done + _STEP])  # type: ignore[attr-defined]
        if not step:
            break
        done += step
    if done < len(wanted):
        raise TumorgenError(f"{path}: is truncated: its header says {len(wanted)} bytes of voxels; copy it again")
    if len(file.read(NIFTI_SLACK + 1)) > NIFTI_SLACK:
        raise TumorgenError(f"{path}: goes on long after its last voxel; its header does not fit it")


def check_stream(claim: Claim, path: Path) -> None:
    """Unpack the voxels of a NRRD or MetaImage file to their end and drop them: ITK does not ask for the checksum.

    Raises
    ------
    TumorgenError
        The stream is cut off or damaged, or is not as long as the header says.
    """
    if not claim.compressed:
        return
    unpacker, length = zlib.decompressobj(47), 0  # 47: gzip as in NRRD, or zlib as in MetaImage
    try:
        with claim.data.open("rb") as file:
            file.seek(claim.offset)
            packed = file.read(_STEP)
            while packed and not unpacker.eof and length <= claim.bytes:
                length += len(unpacker.decompress(packed, _STEP))
                packed = unpacker.unconsumed_tail or file.read(_STEP)
    except (OSError, zlib.error) as error:
        raise TumorgenError(f"{path}: is damaged or cut off ({error}); copy it again") from error
    if length > claim.bytes:
        raise TumorgenError(f"{path}: goes on long after its last voxel; its header does not fit it")
    if length < claim.bytes or not unpacker.eof:
        raise TumorgenError(f"{path}: is truncated: its header says {claim.bytes} bytes of voxels; copy it again")


def refuse_non_finite(voxels: NDArray[Any], path: Path) -> None:
    """Refuse NaN and infinite voxels.

    Raises
    ------
    TumorgenError
        There is one.
    """
    if voxels.dtype.kind not in "fc":
        return
    flat = voxels.reshape(-1)
    if not all(np.isfinite(flat[i : i + _BLOCK]).all() for i in range(0, flat.size, _BLOCK)):
        raise TumorgenError(f"{path}: holds NaN or infinite voxels; replace them first (e.g. by -1024)")
