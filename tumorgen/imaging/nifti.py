"""NIfTI files: one parser of their header (nifti.nimh.nih.gov: nifti1.h), and their voxels, read whole.

ITK does not ask whether a file is whole: it fills up a truncated one with zeros, without a word. It also turns NaN and
infinite voxels into zeros, that is, into water in the middle of a lung (both seen with SimpleITK 2.5). So a file is
opened once, its header checked, and its voxels read from the same open file; ITK never sees it.

Most CTs lie along the patient's axes and have the header that ITK writes for them. It is known here byte for byte, so
that a process that meets no other need not load SimpleITK, which takes 90 MB and a tenth of a second. What any other
header means, ITK is asked (`imaging.itk`).

Own code, though nibabel would do: every process of a run reads a header or two, and importing nibabel, which imports
pydicom where it is installed, costs each of them 20 MB.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from isal import igzip, igzip_lib
from numpy.typing import NDArray

from ..errors import TumorgenError
from .claims import SLACK, Claim, damaged, first_bytes, refuse_excess, too_long, truncated
from .files import extension_of, open_regular
from .geometry import Geometry, Volume
from .itk import geometry_of_nifti, nifti_header_of
from .places import (
    AS_ITK,
    QFORM,
    SFORM,
    TRUSTS,
    affine_of,
    choose_form,
    describe_contradiction,
    mm_of,
    said_forms,
)

_NIFTI_2_BYTES = 540  # of its header, with which it begins
HEADER_BYTES = 352  # with the four behind it that say whether extensions follow
LONGEST_EXTENSIONS = 1 << 26  # bytes between the header and the voxels
DTYPES = {  # data type code -> numpy
    **{2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1"},
    **{512: "u2", 768: "u4", 1024: "i8", 1280: "u8"},
}
DIRECTION = (1.0, -0.0, -0.0, -0.0, 1.0, -0.0, 0.0, 0.0, 1.0)  # along the axes, as ITK reads it, signs of zeros too

_CODES = {kind: code for code, kind in DTYPES.items()}
_NOT_SCALAR = {32: "complex", 1792: "complex", 2048: "complex", 128: "RGB", 2304: "RGBA", 1: "single bits"}
_GZIP = b"\x1f\x8b"
_PACKED = 1 << 16  # bytes of a gzip file that hold the header
_STEP = 1 << 20  # bytes; gzip readers make a copy of what they are asked for
_BLOCK = 1 << 24  # voxels looked at together
NOT_FINITE = "holds NaN or infinite voxels; replace them first (e.g. by -1024)"
_SPACING_MM, _ORIGIN_MM = (0.01, 100.0), 1e5  # beyond these, ITK's own word is wanted
# The whole header in the order of the standard, name:type.
_FIELDS = """
    sizeof_hdr:<i4 data_type:S10 db_name:S18 extents:<i4 session_error:<i2 regular:S1 dim_info:u1
    dim:<8i2 intent_p1:<f4 intent_p2:<f4 intent_p3:<f4 intent_code:<i2 datatype:<i2 bitpix:<i2 slice_start:<i2
    pixdim:<8f4 vox_offset:<f4 scl_slope:<f4 scl_inter:<f4 slice_end:<i2 slice_code:u1 xyzt_units:u1
    cal_max:<f4 cal_min:<f4 slice_duration:<f4 toffset:<f4 glmax:<i4 glmin:<i4 descrip:S80 aux_file:S24
    qform_code:<i2 sform_code:<i2 quatern_b:<f4 quatern_c:<f4 quatern_d:<f4 qoffset_x:<f4 qoffset_y:<f4 qoffset_z:<f4
    srow_x:<4f4 srow_y:<4f4 srow_z:<4f4 intent_name:S16 magic:S4
"""
NIFTI_1 = np.dtype([(name, kind) for name, _, kind in (field.partition(":") for field in _FIELDS.split())])


def read_nifti(file: BinaryIO, path: Path, trust: str = "") -> Volume:
    """Read an open NIfTI file (.nii, .nii.gz) to its end, checksum included.

    Scaled voxels are scaled as ITK does it: whole numbers become float32. Of a slope of zero readers make different
    things where there is an intercept, too, and such a file is refused. `trust` says which of two places holds where
    the header contradicts itself (`imaging.places`).

    Raises
    ------
    TumorgenError
        The header is damaged, is not that of a scalar 3D volume, asks for too much, contradicts itself about where
        voxels lie, or has a geometry that no scanner makes; the file has fewer or many more bytes than its header says;
        the checksum does not match; voxels are NaN or infinite.
    """
    start, header = _open_header(file, path)
    claim = _claim(header, path, compressed=_is_packed(path))
    form = _check_place(header, path, trust)
    refuse_excess(claim, file, path)
    geometry = plain_geometry(start) or geometry_of_nifti(_bare_header(header, start, form), claim, path)
    return Volume(_read_voxels(header, claim, file, path), geometry)


def refuse_torn_nifti(file: BinaryIO, path: Path) -> None:
    """Read an open NIfTI file to its end, checksum included, and keep nothing of it.

    Raises
    ------
    TumorgenError
        Its end is missing, or it is damaged.
    """
    claim = _claim(_open_header(file, path)[1], path, compressed=_is_packed(path))
    length = 0
    with _unpacking(file, path, packed=claim.compressed) as stream:
        while step := len(stream.read(_STEP)):
            length += step
    if length < claim.offset + claim.bytes:
        raise truncated(path, claim.bytes)


def says_place(path: Path) -> bool:
    """Whether a file says where its voxels lie; so does what is no NIfTI file, or cannot be read as one."""
    if extension_of(path) not in (".nii", ".nii.gz"):
        return True
    try:
        with open_regular(path) as file:
            return bool(said_forms(_open_header(file, path)[1]))
    except TumorgenError:  # reading it says so
        return True


def describe_two_places(path: Path) -> str:
    """How the two places in a file's header contradict each other, in words; empty where they do not (`says_place`)."""
    if extension_of(path) not in (".nii", ".nii.gz"):
        return ""
    try:
        with open_regular(path) as file:
            header = _open_header(file, path)[1]
        _check_place(header, path, AS_ITK)
    except TumorgenError:  # reading it says so
        return ""
    return describe_contradiction(header)


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _open_header(file: BinaryIO, path: Path) -> tuple[bytes, np.ndarray]:
    """The first bytes of an open file, unpacked, and the header in them.

    Raises
    ------
    TumorgenError
        There is no header of NIfTI-1.
    """
    raw = first_bytes(file, _PACKED if _is_packed(path) else HEADER_BYTES, path)
    if _is_packed(path) == (raw[:2] != _GZIP) and raw:
        _refuse_misnamed(raw, path)
    start = _unpacked_start(raw, path) if _is_packed(path) else raw
    if start[:2] == _GZIP:
        raise TumorgenError(f"{path}: is compressed with gzip twice; unpack it once")
    try:
        return start, parse_header(start)
    except TumorgenError as error:
        raise TumorgenError(f"{path}: not a readable volume ({error})") from None


def _refuse_misnamed(raw: bytes, path: Path) -> None:
    """Refuse a file that is sound but for its name, which says whether it is compressed.

    Raises
    ------
    TumorgenError
        It is not compressed and is called so, or the reverse.
    """
    if raw[:2] == _GZIP:
        raise TumorgenError(f"{path}: is compressed with gzip, but not called so; rename it to {path.name}.gz")
    try:
        parse_header(raw)
    except TumorgenError:
        return
    plain = path.name[: -len(".gz")]
    raise TumorgenError(f"{path}: is not compressed, but called so; rename it to {plain}, or compress it with gzip")


def parse_header(start: bytes) -> np.ndarray:
    """The header at the start of a file, in the byte order that its first field shows, as a record of no dimensions.

    Raises
    ------
    TumorgenError
        There is no header of NIfTI-1, or its voxels are in a file of their own.
    """
    size = start[:4]
    if size in (_NIFTI_2_BYTES.to_bytes(4, "little"), _NIFTI_2_BYTES.to_bytes(4, "big")):
        raise TumorgenError("NIfTI-2, which is not read; convert it to NIfTI-1")
    is_little = size == NIFTI_1.itemsize.to_bytes(4, "little")
    if len(start) < NIFTI_1.itemsize or not (is_little or size == NIFTI_1.itemsize.to_bytes(4, "big")):
        raise TumorgenError("it has no NIfTI header")
    header: np.ndarray = np.frombuffer(start, NIFTI_1.newbyteorder("<" if is_little else ">"), count=1).reshape(())
    if not bytes(header["magic"]).startswith(b"n+1"):
        raise TumorgenError("its voxels are in a file of their own")
    return header


def voxel_type(header: np.ndarray) -> np.dtype[np.generic]:
    """How the voxels are stored, byte order included, of a header whose data type is one of `DTYPES`."""
    return np.dtype(DTYPES[int(header["datatype"])]).newbyteorder(header.dtype["sizeof_hdr"].byteorder)


def is_scaled(header: np.ndarray) -> bool:
    """Whether the voxels are to be multiplied or shifted; a slope of zero means that they are not."""
    return float(header["scl_slope"]) != 0 and (float(header["scl_slope"]), float(header["scl_inter"])) != (1, 0)


def plain_header(geometry: Geometry, dtype: np.dtype[Any]) -> bytes | None:
    """The 352 bytes that ITK writes before voxels of a type (little-endian) that lie along the axes.

    None where ITK must write them: a volume that is turned, another type, or numbers that no scanner makes.
    """
    low, high = _SPACING_MM
    code = _CODES.get(dtype.str[1:])
    (nz, ny, nx), (sz, sy, sx), (ox, oy, oz) = geometry.shape, geometry.spacing_mm, geometry.origin_mm
    if code is None or geometry.direction != DIRECTION or not all(1 < n <= 32767 for n in geometry.shape):
        return None
    if not all(low < s < high for s in geometry.spacing_mm) or not all(abs(o) < _ORIGIN_MM for o in geometry.origin_mm):
        return None
    header = np.zeros((), NIFTI_1)
    fields = {
        **{"sizeof_hdr": NIFTI_1.itemsize, "regular": b"r", "magic": b"n+1"},
        **{"dim": (3, nx, ny, nz, 1, 1, 1, 1), "datatype": code, "bitpix": 8 * dtype.itemsize},
        **{"pixdim": (1, sx, sy, sz, 0, 0, 0, 0), "xyzt_units": 0x0A},  # mm and s
        **{"vox_offset": HEADER_BYTES, "scl_slope": 1},
        **{"qform_code": 1, "sform_code": 1, "quatern_d": 1},  # both forms of the orientation, "scanner"
        **{"qoffset_x": -(ox + 0.0), "qoffset_y": -(oy + 0.0), "qoffset_z": oz + 0.0},  # ITK knows no origin of -0.0
        **{"srow_x": (-sx, 0, 0, -(ox + 0.0)), "srow_y": (0, -sy, 0, -(oy + 0.0)), "srow_z": (0, 0, sz, oz + 0.0)},
    }
    for name, value in fields.items():
        header[name] = value
    return header.tobytes() + bytes(4)  # no extensions


def plain_geometry(start: bytes) -> Geometry | None:
    """Geometry in the first bytes of a file; None where they are not bit for bit those of `plain_header`."""
    header = parse_header(start)
    nx, ny, nz = (int(n) for n in header["dim"][1:4])
    sx, sy, sz = (float(s) for s in header["pixdim"][1:4])
    x, y, z = (float(header[f"qoffset_{axis}"]) for axis in "xyz")
    geometry = Geometry((nz, ny, nx), (sz, sy, sx), (-x, -y, z), DIRECTION)
    kind = DTYPES.get(int(header["datatype"]))
    return geometry if kind and plain_header(geometry, np.dtype(kind)) == start else None


def nifti_header(geometry: Geometry, voxels: NDArray[Any]) -> bytes:
    """What ITK writes before some voxels (z, y, x), little-endian: the NIfTI-1 header and four bytes.

    Raises
    ------
    TumorgenError
        NIfTI-1 as ITK writes it has no such voxel type, size or geometry; no folder for temporary files.
    """
    if max(voxels.shape) > np.iinfo(np.int16).max:
        raise TumorgenError(f"volume of shape {voxels.shape} (z, y, x): NIfTI-1 has at most 32767 voxels along an axis")
    plain = plain_header(geometry, voxels.dtype)
    if plain:
        return plain
    header = bytearray(nifti_header_of(geometry, voxels.dtype))
    np.frombuffer(header, NIFTI_1, 1)["dim"][0, 1:4] = voxels.shape[::-1]
    return bytes(header)


def _unpacked_start(raw: bytes, path: Path) -> bytes:
    """The first bytes of what a gzip file packs; of a bomb no more than a header."""
    try:
        return zlib.decompressobj(31).decompress(raw, HEADER_BYTES)
    except zlib.error as error:
        raise TumorgenError(f"{path}: not a readable volume (it is damaged, or not compressed with gzip)") from error


def _bare_header(header: np.ndarray, start: bytes, form: str) -> bytes:
    """A header as a file that has nothing else: what ITK is asked about where voxels lie, by the form that is named."""
    bare = bytearray(start[: header.dtype.itemsize] + bytes(4))
    fields = np.frombuffer(bare, header.dtype, 1)
    fields["vox_offset"] = len(bare)
    for other in TRUSTS if form else ():
        fields[f"{other}_code"] *= other == form
    return bytes(bare)


def _claim(header: np.ndarray, path: Path, *, compressed: bool) -> Claim:
    """What a header says of its voxels, checked as far as the header alone goes."""
    rank, code = int(header["dim"][0]), int(header["datatype"])
    size = tuple(int(n) for n in header["dim"][1 : max(rank, 0) + 1])
    if code not in DTYPES:
        what = _NOT_SCALAR.get(code)
        reason = f"{what}, more than a number per voxel" if what else f"its data type {code} is unknown"
        raise TumorgenError(f"{path}: {reason}; a scalar volume is needed")
    if rank == 5 and size[3:4] == (1,) and size[4] != 1:
        raise TumorgenError(f"{path}: has {size[4]} values per voxel; a scalar volume is needed")
    each = voxel_type(header).itemsize
    if int(header["bitpix"]) != 8 * each:
        raise TumorgenError(
            f"{path}: its header is damaged: data type {code} has {8 * each} bits, and it says {int(header['bitpix'])}"
        )
    _check_numbers(header, path)
    scaled_bytes = _scaled_type(voxel_type(header)).itemsize if is_scaled(header) else 0
    return Claim(size, each, path, int(header["vox_offset"]), compressed, scaled_bytes=scaled_bytes)


def _check_numbers(header: np.ndarray, path: Path) -> None:
    """Refuse impossible numbers: where the voxels begin, their spacing and scale."""
    offset = float(header["vox_offset"])
    least = int(header["sizeof_hdr"]) + 4
    if not least <= offset <= LONGEST_EXTENSIONS or offset != int(offset):
        raise TumorgenError(f"{path}: its header is damaged: the voxels begin at byte {offset:g}")
    (low, high), spacing = _SPACING_MM, tuple(float(s) for s in header["pixdim"][1:4])
    if not all(0 < s < math.inf for s in spacing):
        raise TumorgenError(f"{path}: spacing {spacing} mm (x, y, z) is not a CT's; repair the header")
    if mm_of(header) != 1 and not all(low < mm_of(header) * s < high for s in spacing):
        raise TumorgenError(
            f"{path}: its header says that lengths are in {'metres' if mm_of(header) > 1 else 'micrometres'}, and"
            f" spacing {spacing} (x, y, z) is not a CT's then; set xyzt_units to 2 (mm)"
        )
    for name in ("scl_slope", "scl_inter"):
        if not math.isfinite(float(header[name])):
            raise TumorgenError(f"{path}: its header is damaged: {name} is {float(header[name])}")
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 and inter != 0:  # not scaled, says the standard; ITK shifts them, and so does nnU-Net, which uses it
        raise TumorgenError(
            f"{path}: its header has scl_slope 0 and scl_inter {inter:g}, by which ITK shifts the voxels and other"
            " readers do not; set scl_slope to 1 or scl_inter to 0, whichever gives HU"
        )


def _check_place(header: np.ndarray, path: Path, trust: str) -> str:
    """Refuse impossible numbers of a place, and two places; return the form to read it by, empty where any will do."""
    said = said_forms(header)
    quaternion = [float(header[f"quatern_{axis}"]) for axis in "bcd"]
    numbers = {
        SFORM: [header[f"srow_{axis}"][:4] for axis in "xyz"],
        QFORM: [*quaternion, *(header[f"qoffset_{axis}"] for axis in "xyz")],
    }
    if not all(np.isfinite(np.asarray(numbers[form], np.float64)).all() for form in said):
        raise TumorgenError(f"{path}: its place in space holds NaN or infinite numbers; repair the header")
    if said == (QFORM,) and sum(part**2 for part in quaternion) > 1 + 1e-6:
        raise TumorgenError(f"{path}: its quaternion is no rotation; repair the header")
    if SFORM in said and (trust != QFORM or QFORM not in said):
        _check_sform(header, path)
    return choose_form(header, path, trust)


def _check_sform(header: np.ndarray, path: Path) -> None:
    """Refuse an affine that is flat, or that contradicts the spacing: readers would not agree where a voxel is."""
    spacing = tuple(float(s) for s in header["pixdim"][1:4])
    matrix = affine_of(header, SFORM)[:, :3]
    lengths = np.linalg.norm(matrix, axis=0)
    if not (lengths > 0).all() or abs(np.linalg.det(matrix / lengths)) < 0.9:
        raise TumorgenError(f"{path}: its direction is not orthonormal, which nnU-Net refuses; resample it first")
    if not np.allclose(lengths, spacing, rtol=0.01, atol=1e-3):
        says = tuple(round(float(length), 4) for length in lengths)
        other = ", or --trust qform" if QFORM in said_forms(header) else ""
        raise TumorgenError(
            f"{path}: its affine says spacing {says} mm (x, y, z), its pixdim {spacing}; repair one{other}"
        )


def _read_voxels(header: np.ndarray, claim: Claim, file: BinaryIO, path: Path) -> NDArray[Any]:
    """All voxels (z, y, x), multiplied and shifted where the header says so."""
    voxels = np.empty(claim.size[::-1], voxel_type(header))
    with _unpacking(file, path, packed=claim.compressed) as stream:
        _fill(voxels, stream, path, claim.offset)
    voxels = voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
    if is_scaled(header):
        voxels = _scaled(voxels, float(header["scl_slope"]), float(header["scl_inter"]))
    refuse_non_finite(voxels, path)
    return voxels


@contextmanager
def _unpacking(file: BinaryIO, path: Path, *, packed: bool) -> Iterator[Any]:
    """An open file from its start, unpacked; what goes wrong while it is read in the block is a `TumorgenError`."""
    try:
        file.seek(0)
        yield igzip.IGzipFile(fileobj=file, mode="rb") if packed else file  # type: ignore[no-untyped-call]
    except (OSError, EOFError, zlib.error, igzip_lib.IsalError) as error:  # type: ignore[misc]
        raise damaged(path, error) from error


def _scaled_type(stored: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float64 if stored.newbyteorder("=") == np.float64 else np.float32)


def _scaled(voxels: NDArray[Any], slope: float, inter: float) -> NDArray[Any]:
    """Voxels times slope plus intercept, rounded as ITK rounds them: to float32, but for float64."""
    scaled = voxels.astype(_scaled_type(voxels.dtype))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
        for plane in scaled:
            plane[:] = plane.astype(np.float64) * slope + inter
    return scaled


def _fill(voxels: NDArray[Any], file: Any, path: Path, offset: int) -> None:
    """Read the voxels and what follows; at the end of the stream gzip compares its own checksum."""
    wanted = voxels.reshape(-1).view(np.uint8).data
    done = 0 if len(file.read(offset)) == offset else -1
    while 0 <= done < len(wanted):
        step = file.readinto(wanted[done : done + _STEP])
        if not step:
            break
        done += step
    if done < len(wanted):
        raise truncated(path, len(wanted))
    if len(file.read(SLACK + 1)) > SLACK:
        raise too_long(path)


def refuse_non_finite(voxels: NDArray[Any], path: Path) -> None:
    """Refuse NaN and infinite voxels.

    Raises
    ------
    TumorgenError
        A voxel is NaN or infinite.
    """
    if voxels.dtype.kind not in "fc":
        return
    flat = voxels.reshape(-1)
    if not all(np.isfinite(flat[i : i + _BLOCK]).all() for i in range(0, flat.size, _BLOCK)):
        raise TumorgenError(f"{path}: {NOT_FINITE}")
