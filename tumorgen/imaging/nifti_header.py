"""The header of a NIfTI file, field by field (nifti.nimh.nih.gov: nifti1.h, nifti2.h), without opening its voxels.

Own code, though nibabel would do: every process of a run reads a header or two, and importing nibabel, which imports
pydicom where it is installed, costs each of them 20 MB.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import TumorgenError

LONGEST = 544  # bytes: the longer of the two headers, and the flags of extensions
DTYPES = {  # data type code -> numpy
    **{2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1"},
    **{512: "u2", 768: "u4", 1024: "i8", 1280: "u8"},
}


def _layout(size: int, fields: Mapping[str, tuple[str, int]]) -> np.dtype[np.void]:
    formats, offsets = zip(*fields.values(), strict=True)
    return np.dtype({"names": list(fields), "formats": formats, "offsets": offsets, "itemsize": size})


_END_OF_LINES = (b"\r\n\x1a\n", bytes(4))  # what NIfTI-2 has behind its magic, and what some leave out
_PLACE = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
NIFTI_1 = _layout(
    348,
    {
        **{"sizeof_hdr": ("<i4", 0), "dim": ("<8i2", 40), "datatype": ("<i2", 70), "bitpix": ("<i2", 72)},
        **{"pixdim": ("<8f4", 76), "vox_offset": ("<f4", 108), "scl_slope": ("<f4", 112), "scl_inter": ("<f4", 116)},
        **{"qform_code": ("<i2", 252), "sform_code": ("<i2", 254)},
        **{name: ("<f4", 256 + 4 * k) for k, name in enumerate(_PLACE)},
        **{f"srow_{axis}": ("<4f4", 280 + 16 * k) for k, axis in enumerate("xyz")},
        "magic": ("S4", 344),
    },
)
NIFTI_2 = _layout(
    540,
    {
        **{"sizeof_hdr": ("<i4", 0), "magic": ("S4", 4), "eol_check": ("4i1", 8)},
        **{"datatype": ("<i2", 12), "bitpix": ("<i2", 14), "dim": ("<8i8", 16), "pixdim": ("<8f8", 104)},
        **{"vox_offset": ("<i8", 168), "scl_slope": ("<f8", 176), "scl_inter": ("<f8", 184)},
        **{"qform_code": ("<i4", 344), "sform_code": ("<i4", 348)},
        **{name: ("<f8", 352 + 8 * k) for k, name in enumerate(_PLACE)},
        **{f"srow_{axis}": ("<4f8", 400 + 32 * k) for k, axis in enumerate("xyz")},
    },
)


def parse(start: bytes) -> np.ndarray:
    """The header at the start of a file, in the byte order that its first field tells, as a record of no dimensions.

    Raises
    ------
    TumorgenError
        It is none, or its voxels are in a file of their own.
    """
    for layout, magic in ((NIFTI_1, b"n+1"), (NIFTI_2, b"n+2")):
        size = layout.itemsize
        for stored, first in ((layout, "<i4"), (layout.newbyteorder(">"), ">i4")):
            if len(start) >= size and start[:4] == np.array(size, first).tobytes():
                header: np.ndarray = np.frombuffer(start[:size], stored, count=1).reshape(())
                if not bytes(header["magic"]).startswith(magic):
                    raise TumorgenError("its voxels are in a file of their own")
                if layout is NIFTI_2 and header["eol_check"].tobytes() not in _END_OF_LINES:
                    raise TumorgenError("a transfer has changed its bytes as if they were lines of text")
                return header
    raise TumorgenError("no header of NIfTI")


def voxel_type(header: np.ndarray) -> np.dtype[np.generic]:
    """How the voxels are stored, byte order included, of a header whose data type is one of `DTYPES`."""
    return np.dtype(DTYPES[int(header["datatype"])]).newbyteorder(header.dtype["sizeof_hdr"].byteorder)


def is_scaled(header: np.ndarray) -> bool:
    """Whether the voxels are to be multiplied or shifted; a slope of zero means that they are not."""
    return float(header["scl_slope"]) != 0 and (float(header["scl_slope"]), float(header["scl_inter"])) != (1, 0)
