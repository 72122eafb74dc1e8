"""Whether a NIfTI file is whole. ITK does not ask: it reads a truncated one without a word, zeros for what is missing.

It also turns NaN and infinite voxels of NIfTI files into zeros, that is, into water in the middle of a lung. Both were
seen with SimpleITK 2.5; NRRD and MetaImage files are checked by ITK itself.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.filebasedimages import ImageFileError

from .errors import TumorgenError

_BLOCK = 1 << 20  # bytes; a multiple of every voxel's size
_SLACK = 1 << 20  # bytes that may follow the voxels


def check_nifti(path: Path) -> None:
    """Read a NIfTI file (.nii, .nii.gz) once from end to end, in bounded memory.

    Raises
    ------
    TumorgenError
        No NIfTI file, fewer or many more bytes than its header says, a checksum that is not the data's, or voxels that
        are NaN or infinite.
    """
    try:
        voxels = nib.load(path).dataobj  # a proxy: nothing is read but the header
        offset, dtype = int(voxels.offset), voxels.dtype
        size = int(np.prod(voxels.shape, dtype=object)) * dtype.itemsize
    except (ImageFileError, OSError, EOFError, ValueError, TypeError, OverflowError, zlib.error) as error:
        raise TumorgenError(f"{path}: not a readable volume ({error})") from error
    opener = igzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            _check_voxels(file, path, offset, size, dtype)
    except (OSError, EOFError, zlib.error, igzip.BadGzipFile) as error:
        raise TumorgenError(f"{path}: is damaged or cut off ({error}); copy it again") from error


def _check_voxels(file: BinaryIO, path: Path, offset: int, size: int, dtype: np.dtype[np.generic]) -> None:
    """Go through the voxels and what follows; at the end of the stream gzip compares its own checksum."""
    left = size if len(file.read(offset)) == offset else -1
    while left > 0:
        block = file.read(min(_BLOCK, left))
        if not block:
            break
        whole = len(block) - len(block) % dtype.itemsize
        if dtype.kind in "fc" and not np.isfinite(np.frombuffer(block[:whole], dtype)).all():
            raise TumorgenError(f"{path}: holds NaN or infinite voxels; replace them first (e.g. by -1024)")
        left -= len(block)
    if left:
        raise TumorgenError(
            f"{path}: is truncated: its header says {size} bytes of voxels, there are fewer; copy it again"
        )
    if len(file.read(_SLACK)) == _SLACK:
        raise TumorgenError(f"{path}: goes on long after its last voxel; its header does not fit it")
