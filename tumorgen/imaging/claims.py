"""What the header of an image file asks for, looked at before any library sees the file.

A header is a stranger's word for how much memory to take and which other files to open. So it is read here from the
file's first bytes alone, and refused where it asks for more than the file can hold, for more than the limit, or for a
file elsewhere. What passes is read by ITK, and checked again.

NIfTI-1: nifti.nimh.nih.gov/nifti-1. NRRD: teem.sourceforge.net/nrrd/format.html. MetaImage: itk.org/Wiki/MetaIO.
"""

from __future__ import annotations

import math
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import TumorgenError
from . import nifti_header
from .files import EXTENSIONS, extension_of, refuse_irregular

LIMIT = "TUMORGEN_MAX_GIB"
LIMIT_GIB = 4.0  # of voxels: 2,000 slices of 512 x 512 as float64; a clinical CT has a tenth
DEFLATE = 1040  # no deflate stream is longer than 1032 times its file (zlib's technical notes)
TEXT_HEADER = 1 << 20  # bytes of NRRD and MetaImage headers: those with all DICOM tags have some ten thousand
NIFTI_EXTENSIONS = 1 << 26  # bytes between NIfTI's header and its voxels
NIFTI_SLACK = 4096  # bytes that may follow NIfTI's voxels: padding to whole blocks
READERS = {".nii.gz": "NiftiImageIO", ".nii": "NiftiImageIO", ".nrrd": "NrrdImageIO"}

_PACKED = 1 << 16  # bytes of a gzip file that hold NIfTI's header
_NIFTI_NOT_SCALAR = {32: "complex", 1792: "complex", 2048: "complex", 128: "RGB", 2304: "RGBA", 1: "single bits"}
_META_TYPES = {
    **{"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4},
    **{"LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8},
}
_NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int"), 8),
    **dict.fromkeys(("int64", "int64_t", "ulonglong", "unsigned long long", "unsigned long long int"), 8),
    **dict.fromkeys(("uint64", "uint64_t", "double"), 8),
    "float": 4,
}


# What fields of text headers may hold, as far as anything is read of them.
_REAL = r"[+-]?(?:\d{1,25}\.?\d{0,25}|\.\d{1,25})(?:[eE][+-]?\d{1,3})?"
_VECTOR = rf"\(\s*{_REAL}\s*,\s*{_REAL}\s*,\s*{_REAL}\s*\)"
_SHORT = r"[^\x00]{0,1000}"
_REALS_3 = rf"{_REAL}(?:\s+{_REAL}){{2}}"
_REALS_9 = rf"{_REAL}(?:\s+{_REAL}){{8}}"
_WORDS_3 = r"[\w?.+-]{1,40}(?:\s+[\w?.+-]{1,40}){2}"
_QUOTED_3 = r"(?:\"[^\"\\]{0,40}\"\s*|[\w?%/^*.+-]{1,40}\s*){3}"
_NRRD_GRAMMAR = {
    **dict.fromkeys(("spacedirections", "measurementframe"), rf"{_VECTOR}(?:\s*{_VECTOR}){{2}}"),
    **dict.fromkeys(("spacings", "thicknesses", "axismins", "axismaxs", "kinds", "centers", "centerings"), _WORDS_3),
    **dict.fromkeys(("units", "labels", "spaceunits"), _QUOTED_3),
    "spaceorigin": _VECTOR,
    "space": r"[A-Za-z0-9-]{1,40}",
    "spacedimension": "3",
}
_NRRD_SHORT = {"type", "dimension", "sizes", "encoding", "endian", "datafile", "lineskip", "byteskip", "content"} | {
    *("number", "min", "max", "oldmin", "oldmax", "blocksize", "sampleunits"),
}
_META_GRAMMAR = {
    **dict.fromkeys(("offset", "origin", "position", "centerofrotation", "elementspacing", "elementsize"), _REALS_3),
    **dict.fromkeys(("transformmatrix", "rotation", "orientation"), _REALS_9),
    "anatomicalorientation": r"[A-Za-z?]{1,10}",
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
    """

    size: tuple[int, ...]
    voxel_bytes: int
    data: Path
    offset: int
    compressed: bool

    @property
    def bytes(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.size) * self.voxel_bytes


def reader_of(path: Path) -> str:
    """ITK's reader of a file, by its extension: left to itself, ITK asks all of its readers what the bytes are."""
    return READERS.get(extension_of(path), "MetaImageIO")


def refuse_hostile(path: Path) -> Claim:
    """Look at a file and its header before anything is allocated or opened on its behalf; return what it claims.

    Raises
    ------
    TumorgenError
        No regular file that can be read, of no format that is read, a header that is damaged, asks for more than the
        file can hold or the limit allows, or names a file elsewhere; not 3D, not scalar.
    """
    refuse_irregular(path)
    start = _start(path, 132)
    if start[128:132] == b"DICM":
        raise TumorgenError(f"{path}: is a DICOM file; give `tumorgen liver-mask` the folder of its series")
    extension = extension_of(path)
    if not extension:
        raise TumorgenError(f"{path}: of no format that is read; there are {', '.join(EXTENSIONS)}")
    claim = _CLAIMS[extension](path)
    if len(claim.size) != 3 or min(claim.size) < 2:
        raise TumorgenError(f"{path}: is {len(claim.size)}D of size {claim.size} (x, y, z); a 3D volume is needed")
    limit = limit_bytes()
    if claim.bytes > limit:
        raise TumorgenError(
            f"{path}: its header says {claim.size} voxels (x, y, z), {claim.bytes / 2**30:,.1f} GiB; no CT is that"
            f" large (where one is, set {LIMIT}, now {limit / 2**30:g})"
        )
    there = claim.data.stat().st_size
    if claim.bytes > (there * DEFLATE if claim.compressed else there - claim.offset):
        raise TumorgenError(
            f"{path}: is truncated: its header says {claim.bytes} bytes of voxels, which {there} bytes cannot hold;"
            " copy it again"
        )
    return claim


def limit_bytes() -> int:
    """Bytes of voxels that a file may have: the environment's `TUMORGEN_MAX_GIB`, in GiB.

    Raises
    ------
    TumorgenError
        It is no number above zero.
    """
    text = os.environ.get(LIMIT, str(LIMIT_GIB))
    try:
        gib = float(text)
    except ValueError:
        gib = math.nan
    if not 0 < gib < 2**30:
        raise TumorgenError(f"{LIMIT} is {text!r}; a number of GiB above zero is needed")
    return int(gib * 2**30)


def _start(path: Path, count: int, *, unpack: bool = False) -> bytes:
    """The first bytes of a file, or of the stream that it packs; fewer where it is shorter."""
    try:
        with path.open("rb") as file:
            start = file.read(_PACKED if unpack else count)
        return zlib.decompressobj(31).decompress(start, count) if unpack else start
    except (OSError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise TumorgenError(f"{path}: not a readable volume ({reason})") from error


# --- NIfTI -----------------------------------------------------------------------------------------------------------


def nifti(path: Path) -> np.ndarray:
    """The header of a NIfTI file, not checked but for its kind.

    Raises
    ------
    TumorgenError
        It has none.
    """
    start = _start(path, nifti_header.LONGEST, unpack=extension_of(path) == ".nii.gz")
    try:
        return nifti_header.parse(start)
    except TumorgenError as error:
        raise TumorgenError(f"{path}: not a readable volume ({error})") from None


def _nifti(path: Path) -> Claim:
    header = nifti(path)
    rank, code = int(header["dim"][0]), int(header["datatype"])
    size = tuple(int(n) for n in header["dim"][1 : max(rank, 0) + 1])
    if code not in nifti_header.DTYPES:
        what = _NIFTI_NOT_SCALAR.get(code)
        reason = f"{what}, more than a number per voxel" if what else f"its data type {code} is unknown"
        raise TumorgenError(f"{path}: {reason}; a scalar volume is needed")
    if rank == 5 and size[3:4] == (1,):
        raise TumorgenError(f"{path}: has {size[4]} values per voxel; a scalar volume is needed")
    each = nifti_header.voxel_type(header).itemsize
    if int(header["bitpix"]) != 8 * each:
        raise TumorgenError(
            f"{path}: its header is damaged: data type {code} has {8 * each} bits, and it says {int(header['bitpix'])}"
        )
    _check_nifti_numbers(header, path)
    return Claim(size, each, path, int(header["vox_offset"]), extension_of(path) == ".nii.gz")


def _check_nifti_numbers(header: np.ndarray, path: Path) -> None:
    offset = float(header["vox_offset"])
    least = int(header["sizeof_hdr"]) + 4
    if not least <= offset <= NIFTI_EXTENSIONS or offset != int(offset):
        raise TumorgenError(f"{path}: its header is damaged: the voxels begin at byte {offset:g}")
    spacing = tuple(float(s) for s in header["pixdim"][1:4])
    if not all(0 < s < math.inf for s in spacing):
        raise TumorgenError(f"{path}: spacing {spacing} mm (x, y, z) is not a CT's; repair the header")
    for name in ("scl_slope", "scl_inter"):
        if not math.isfinite(float(header[name])):
            raise TumorgenError(f"{path}: its header is damaged: {name} is {float(header[name])}")
    forms = [header[f"srow_{axis}"][:4] for axis in "xyz"] if int(header["sform_code"]) > 0 else []
    quaternion = [header[f"quatern_{axis}"] for axis in "bcd"] + [header[f"qoffset_{axis}"] for axis in "xyz"]
    if not np.isfinite(forms).all() or (int(header["qform_code"]) > 0 and not np.isfinite(quaternion).all()):
        raise TumorgenError(f"{path}: its place in space holds NaN or infinite numbers; repair the header")
    if forms:
        _check_sform(np.array(forms, np.float64)[:, :3], spacing, path)
    elif int(header["qform_code"]) > 0 and sum(float(part) ** 2 for part in quaternion[:3]) > 1 + 1e-6:
        raise TumorgenError(f"{path}: its quaternion is no rotation; repair the header")


def _check_sform(matrix: np.ndarray, spacing: tuple[float, ...], path: Path) -> None:
    """Refuse an affine that is flat, or that contradicts the spacing: readers would not agree where a voxel is."""
    lengths = np.linalg.norm(matrix, axis=0)
    if not (lengths > 0).all() or abs(np.linalg.det(matrix / lengths)) < 0.9:
        raise TumorgenError(f"{path}: its direction is not orthonormal, which nnU-Net refuses; resample it first")
    if not np.allclose(lengths, spacing, rtol=0.01, atol=1e-3):
        says = tuple(round(float(length), 4) for length in lengths)
        raise TumorgenError(f"{path}: its affine says spacing {says} mm (x, y, z), its pixdim {spacing}; repair one")


# --- NRRD and MetaImage ----------------------------------------------------------------------------------------------


def _text_header(path: Path, end: Callable[[bytes], int]) -> tuple[list[str], int]:
    """Lines of a text header, and where it ends."""
    start = _start(path, TEXT_HEADER)
    length = end(start)
    if length < 0:
        raise TumorgenError(f"{path}: not a readable volume (its header has no end)")
    return start[:length].decode("utf-8", "replace").splitlines(), length


def _nrrd(path: Path) -> Claim:
    def end(start: bytes) -> int:
        found = re.search(rb"\r?\n\r?\n", start)
        return found.end() if found else len(start) if len(start) < TEXT_HEADER else -1

    lines, length = _text_header(path, end)
    if not lines or not re.fullmatch(r"NRRD000[1-5]", lines[0].strip()):
        raise TumorgenError(f"{path}: not a readable volume (no header of NRRD)")
    fields = _fields(lines[1:], ":", path)
    fields = {re.sub(r"[ _-]", "", name): value for name, value in fields.items()}
    _check_grammar(fields, _NRRD_GRAMMAR, path, others=False)
    for name in ("lineskip", "byteskip"):
        if fields.get(name, "0") != "0":
            raise TumorgenError(f"{path}: its header skips part of its data ({name}); write it anew without")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise TumorgenError(f"{path}: its encoding {encoding[:40]!r} is not read; write it as raw or gzip")
    bytes_each = _NRRD_TYPES.get(" ".join(fields.get("type", "").lower().split()))
    if bytes_each is None:
        raise TumorgenError(f"{path}: its type {fields.get('type', '')[:40]!r} is no number; a scalar volume is needed")
    size = _sizes(fields.get("sizes", ""), fields.get("dimension", ""), path)
    data = _beside(path, fields["datafile"]) if "datafile" in fields else path
    return Claim(size, bytes_each, data, length if data == path else 0, encoding != "raw")


def _meta(path: Path) -> Claim:
    def end(start: bytes) -> int:
        found = re.search(rb"(?im)^[ \t]*ElementDataFile[ \t]*[=:][^\n]*\n?", start)
        return found.end() if found else -1

    lines, length = _text_header(path, end)
    fields = _fields(lines, "=", path)
    _check_grammar(fields, _META_GRAMMAR, path, others=True)
    if fields.get("objecttype", "image").lower() != "image":
        raise TumorgenError(f"{path}: holds a {fields['objecttype'][:40]!r}, not an image")
    if fields.get("binarydata", "true").lower() not in ("true", "1"):
        raise TumorgenError(f"{path}: its voxels are text; write it as binary")
    if fields.get("elementnumberofchannels", "1") != "1":
        channels = fields["elementnumberofchannels"][:20]
        raise TumorgenError(f"{path}: has {channels} values per voxel; a scalar volume is needed")
    bytes_each = _META_TYPES.get(fields.get("elementtype", "").upper().removeprefix("MET_"))
    if bytes_each is None:
        kind = fields.get("elementtype", "")[:40]
        raise TumorgenError(f"{path}: its type {kind!r} is no number; a scalar volume is needed")
    size = _sizes(fields.get("dimsize", ""), fields.get("ndims", ""), path)
    local = fields["elementdatafile"].upper() == "LOCAL"
    data = path if local else _beside(path, fields["elementdatafile"])
    packed = fields.get("compresseddata", "false").lower() in ("true", "1")
    _check_meta_sizes(fields, path, data)
    return Claim(size, bytes_each, data, length if local else 0, packed)


def _check_meta_sizes(fields: Mapping[str, str], path: Path, data: Path) -> None:
    """Refuse what would make ITK skip part of the data, or take memory for a stream that is not there."""
    if fields.get("headersize", "0") not in ("0", "-1"):
        raise TumorgenError(f"{path}: its header skips part of its data (HeaderSize); write it anew without")
    packed = fields.get("compresseddatasize", "0")
    if not packed.isascii() or not packed.isdigit() or len(packed) > 18 or int(packed) > data.stat().st_size:
        raise TumorgenError(f"{path}: is truncated: its header says {packed[:20]} compressed bytes; copy it again")


def _fields(lines: Sequence[str], separator: str, path: Path) -> dict[str, str]:
    """Fields of a text header by name in small letters; none is there twice: readers differ in which they take."""
    fields: dict[str, str] = {}
    for line in lines:
        name, found, value = line.partition(separator)
        name = name.strip().lower()
        if line.startswith("#") or not found or (separator == ":" and value.startswith("=")):
            continue  # a comment, or a key of NRRD's that is the user's own
        if name in fields:
            raise TumorgenError(f"{path}: its header says {name[:40]!r} twice")
        fields[name] = value.strip()
    return fields


def _check_grammar(fields: Mapping[str, str], grammar: Mapping[str, str], path: Path, *, others: bool) -> None:
    """Refuse values that are not what their field takes: ITK's readers crash over some of them (seen with 2.5.7)."""
    for name, value in fields.items():
        form = grammar.get(name, _SHORT if others or name in _NRRD_SHORT else "")
        if not form:
            raise TumorgenError(f"{path}: its header is damaged: it has no field {name[:40]!r}")
        if not re.fullmatch(form, value):
            raise TumorgenError(f"{path}: its header is damaged: {name} is {value[:80]!r}; repair it")


def _sizes(text: str, rank: str, path: Path) -> tuple[int, ...]:
    words = text.split()
    if not words or len(words) > 16 or rank != str(len(words)):
        raise TumorgenError(f"{path}: its header is damaged: {rank[:20]!r} dimensions of sizes {text[:60]!r}")
    if not all(re.fullmatch(r"[0-9]{1,18}", word) for word in words):
        raise TumorgenError(f"{path}: its header is damaged: sizes {text[:60]!r}")
    return tuple(map(int, words))


def _beside(path: Path, name: str) -> Path:
    """The data file of a header, which must lie beside it: a header that names another may be after your files.

    Raises
    ------
    TumorgenError
        It is a path, a list or a pattern of files, or no regular file.
    """
    if not re.fullmatch(r"[^/\\%:\x00]+", name) or name in (".", "..") or name.upper().startswith("LIST"):
        raise TumorgenError(f"{path}: names its data {name[:80]!r}; only one file beside the header is read")
    data = path.parent / name
    try:
        refuse_irregular(data)
    except TumorgenError as error:
        raise TumorgenError(f"{path}: its data: {error}") from error
    return data


_CLAIMS: Mapping[str, Callable[[Path], Claim]] = {
    ".nii.gz": _nifti,
    ".nii": _nifti,
    ".nrrd": _nrrd,
    ".mha": _meta,
    ".mhd": _meta,
}
