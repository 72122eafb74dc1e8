"""The NIfTI-1 header that ITK writes for a volume along the patient's axes: written and read without SimpleITK.

Most CTs have it, once a program built on ITK has written them, and a process that meets no other need not load
SimpleITK, which takes 90 MB and a tenth of a second. It is one form, byte for byte: where a header differs anywhere,
these functions know nothing of it, and SimpleITK is asked. Tests compare both with it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from isal import igzip, igzip_lib

SIZE = 352  # bytes: the header and four that announce no extension
_SIZES, _TYPES, _SPACING, _OFFSET = 40, 70, 76, 268  # where in it they are
_FORM = "<i34xsx8h14x2h2x8f3f3xs128x2h6f12f16x4s4x"
_CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "u2": 512}
_SPACING_MM, _ORIGIN_MM = (0.01, 100.0), 1e5  # beyond these, ITK's own word is wanted
DIRECTION = (1.0, -0.0, -0.0, -0.0, 1.0, -0.0, 0.0, 0.0, 1.0)  # as ITK reads it, signs of zeros included

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Plain:
    """What such a header says: shape and spacing (z, y, x), mm; origin (x, y, z), mm, LPS; type of the voxels."""

    shape: tuple[int, int, int]
    spacing_mm: Triple
    origin_mm: Triple
    dtype: np.dtype[np.generic]

    def pack(self) -> bytes | None:
        """The header; None where ITK must write it: another type, or numbers that no scanner makes."""
        low, high = _SPACING_MM
        code = _CODES.get(self.dtype.str[1:])
        if code is None or not all(1 < n <= np.iinfo(np.int16).max for n in self.shape):
            return None
        if not all(low < s < high for s in self.spacing_mm) or not all(abs(o) < _ORIGIN_MM for o in self.origin_mm):
            return None
        depth, height, width = self.shape
        (sz, sy, sx), (ox, oy, oz) = self.spacing_mm, (o + 0.0 for o in self.origin_mm)  # ITK knows no origin of -0.0
        return struct.pack(
            _FORM,
            *(SIZE - 4, b"r"),
            *(3, width, height, depth, 1, 1, 1, 1),
            *(code, 8 * self.dtype.itemsize),
            *(1, sx, sy, sz, 0, 0, 0, 0),
            *(SIZE, 1, 0),  # where the voxels begin; no scaling
            b"\x0a",  # mm and s
            *(1, 1),  # both forms of the orientation, "scanner"
            *(0, 0, 1, -ox, -oy, oz),
            *(-sx, 0, 0, -ox),
            *(0, -sy, 0, -oy),
            *(0, 0, sz, oz),
            b"n+1\0",
        )


def unpack(header: bytes) -> Plain | None:
    """Read a header of 352 bytes; None where it is not, to the last bit, one that ITK writes along the axes."""
    if len(header) != SIZE:
        return None
    width, height, depth = struct.unpack_from("<3h", header, _SIZES + 2)
    (code,) = struct.unpack_from("<h", header, _TYPES)
    sx, sy, sz = struct.unpack_from("<3f", header, _SPACING + 4)
    ox, oy, oz = struct.unpack_from("<3f", header, _OFFSET)
    kinds = [kind for kind, number in _CODES.items() if number == code]
    if not kinds:
        return None
    plain = Plain((depth, height, width), (sz, sy, sx), (-ox, -oy, oz), np.dtype("<" + kinds[0]))
    return plain if plain.pack() == header else None


def read_plain(path: Path) -> Plain | None:
    """Read the header of a file, .nii or .nii.gz; None as in `unpack`, and where it cannot be read at all."""
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        return None
    try:
        with (igzip.open if name.endswith(".gz") else open)(path, "rb") as file:
            return unpack(file.read(SIZE))
    except (OSError, EOFError, zlib.error, igzip_lib.IsalError):  # type: ignore[misc]
        return None
