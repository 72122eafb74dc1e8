"""DICOM: which CT series lie in a folder, whether their slices make a volume, and that volume.

What a header says of a patient is never looked at: only the attributes of `_ATTRIBUTES` are, and no text in them but
known words is ever said. What would put a voxel in a wrong place is refused, not mended: missing slices, gantry tilt,
mixed spacing. Files are strangers' (`tumorgen.headers`): headers are read from their first bytes alone, plain voxels
without any library; only compressed ones reach ITK's GDCM, after their size has been looked at.

DICOM PS3.3: C.7.6.2 image plane, C.8.2.1 CT image, C.11.1 modality LUT. Points are (x, y, z) in LPS mm, as everywhere.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from .decompress import decompressed
from .errors import TumorgenError, printable
from .headers import EXTENSIONS, extension_of, limit_bytes, refuse_irregular
from .volume import LONGEST_CASE, Geometry, Volume, safe_name, volumes_in, write_volume

LEAST_SLICES = 10  # fewer are a localizer, a bolus track or a biopsy; a liver of 15 cm has 15 slices of 10 mm
OFF_GRID_MM = 0.1  # of a slice from where a regular series has it: positions are often rounded to 0.1 mm
ALIKE = 1e-4  # of direction cosines, and of spacings in mm, among the slices of a series
AXIAL = np.cos(np.radians(30))  # of a slice's normal along the body: what is farther off is a reformat

FLAGS = {
    "copied_slices": "files of the series are there twice",
    "damaged_beside": "damaged DICOM files lie in its folder",
    "derived": "not an original, but made of other images",
    "lossy": "its voxels were compressed with loss",
    "no_uid": "its UID was taken out, so that all of its folder is taken for it",
}

_CT, _ENHANCED = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"  # and those that begin so
_DIRECTORY = "1.2.840.10008.1.3.10"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PLAIN = {"1.2.840.10008.1.2": "<u2", "1.2.840.10008.1.2.1": "<u2", "1.2.840.10008.1.2.2": ">u2"}
_PACKED = {  # JPEG, lossless JPEG, JPEG-LS, JPEG 2000, run lengths: what GDCM reads
    *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91)),
    "1.2.840.10008.1.2.5",
}
_MODALITIES = {"MR", "PT", "NM", "US", "CR", "DX", "MG", "XA", "RF", "OT", "SC"} | {  # words that may be said
    *("SEG", "SR", "PR", "KO", "REG", "DOC", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTIMAGE"),
}
_ATTRIBUTES = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "ImageType", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "SamplesPerPixel"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PhotometricInterpretation"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "LossyImageCompression"),
)
_STARTS = (1 << 16, 1 << 24)  # bytes before the voxels that are read; the second if the first do not do
_PIXELS = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF  # the length of what is compressed
_LARGEST_SIDE = 4096  # pixels of a slice
_LARGEST_STORED = 1e4, 1e6  # of slope and intercept; within them HU of 16 bits fit into 32

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Slice:
    """A CT slice's header, as far as it is used; `problem` is why it cannot be, and the rest then counts for nothing.

    Attributes
    ----------
    path, offset
        The file, and where in it the voxels begin.
    series, instance
        UIDs; for comparison alone, never to be said or written. Where the first was taken out: the folder.
    shape
        Rows and columns.
    spacing_mm
        (y, x).
    position_mm, along_mm
        Of the first voxel; along the series' normal.
    orientation
        Direction cosines of x, then of y.
    slope, intercept
        From stored values to HU.
    stored
        numpy's type of plain voxels as stored; empty where they are compressed.
    bits, signed
        Of stored values.
    flags
        Words of `FLAGS`.
    """

    path: Path
    series: str
    instance: str
    problem: str = ""
    offset: int = 0
    shape: tuple[int, int] = (0, 0)
    spacing_mm: tuple[float, float] = (0.0, 0.0)
    position_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    orientation: tuple[float, ...] = ()
    slope: float = 1.0
    intercept: float = 0.0
    stored: str = ""
    bits: int = 16
    signed: bool = False
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Series:
    """A CT series that is a case.

    Attributes
    ----------
    case
        Name of the case.
    folder
        The deepest folder that has all of its slices.
    key
        16 digits of the SHA-256 of its UID (or folder): the same series has the same one wherever it lies.
    slices
        In the order of the volume.
    copies
        Files that are there once more: the slice, and the copy.
    geometry
        Where its voxels are; None if there is a problem.
    flags
        Word of `FLAGS` -> the sentence.
    problem
        Why it cannot be read; empty if it can.
    """

    case: str
    folder: Path
    key: str
    slices: tuple[Slice, ...]
    copies: tuple[tuple[Slice, Slice], ...] = ()
    geometry: Geometry | None = None
    flags: Mapping[str, str] | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a folder: volumes and CT series, by case name, and in a line each what was skipped and why."""

    volumes: Mapping[str, Path]
    series: Mapping[str, Series]
    skipped: tuple[str, ...] = ()

    def refuse_nothing(self, source: Path) -> None:
        """Refuse to go on where there is no scan.

        Raises
        ------
        TumorgenError
            There is none.
        """
        if not self.volumes and not self.series:
            raise TumorgenError(
                f"{source}: no volumes in it ({', '.join(EXTENSIONS)}),"
                " and no DICOM series of axial CT slices in it or below"
            )


def find_scans(source: Path) -> Found:
    """Volumes in a folder (or one file), and CT series in it and below.

    Slices of a series are found together wherever below the folder they lie. A case is called as the folder of its
    series; where that name would not be the only one, eight digits of its key are added; a UID in it is left out.
    Folders that are links are not entered, and DICOMDIR files not read.

    Raises
    ------
    TumorgenError
        As `volumes_in`; or two series have a name in common.
    """
    volumes = volumes_in(source)
    if not source.is_dir():
        return Found(volumes, {})
    skipped: Counter[tuple[Path, str]] = Counter()
    slices = list(_slices(source, skipped))
    groups: dict[str, list[Slice]] = {}
    for one in slices:
        groups.setdefault(one.series, []).append(one)
    series = []
    for group in groups.values():
        series += _series(group, skipped)
    damaged = Counter({folder: count for (folder, reason), count in skipped.items() if reason == _DAMAGED})
    series = [_with_damage(one, damaged) for one in series]
    named = _named(series, volumes)
    lines = [f"{_shown(folder, source)}: {_files(count)}, {reason}" for (folder, reason), count in skipped.items()]
    return Found(volumes, {one.case: one for one in named}, tuple(sorted(lines)))


def read_series(series: Series) -> Volume:
    """Read a series in HU: int16 or int32 where slope and intercept are whole numbers, else float32.

    Raises
    ------
    TumorgenError
        It has a problem, a slice cannot be read, or a copy is none; no value of a header is in the message.
    """
    if series.problem or series.geometry is None:
        raise TumorgenError(f"{series.folder}: {series.problem}")
    try:
        return Volume(_voxels(series), series.geometry)
    except TumorgenError as error:
        raise TumorgenError(f"{series.folder}: {error}") from None
    except Exception as error:  # GDCM's and the system's messages may hold what is in the header
        raise TumorgenError(f"{series.folder}: a slice cannot be read ({type(error).__name__})") from None


def convert(series: Series, path: Path) -> None:
    """Write a series as an image: voxels and geometry, and nothing else of its headers.

    Raises
    ------
    TumorgenError
        As `read_series`, or it cannot be written.
    """
    write_volume(read_series(series), path)


# ---- files


class _DeflatedError(Exception):
    pass


_UID = re.compile(r"[0-9]+(\.[0-9]+){5,}")  # in the name of a folder, which many archives call so
_NO_UID = "folder "  # begins what stands for the UID of a series that has none
_DAMAGED = "damaged or cut off, so not known to which series they belong"


def _slices(source: Path, skipped: Counter[tuple[Path, str]]) -> Iterator[Slice]:
    """CT slices below a folder; what else is DICOM is counted, by folder and reason."""

    def closed(error: OSError) -> None:
        skipped[Path(str(error.filename)), "a folder that cannot be read"] += 1

    for name, folders, files in os.walk(source, onerror=closed):
        folder = Path(name)
        for linked in sorted(one for one in folders if (folder / one).is_symlink()):
            skipped[folder / linked, "a link to a folder, which is not followed"] += 1
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for file in sorted(files):
            path = folder / file
            if file.startswith(".") or extension_of(path):
                continue
            found = _look(path)
            if isinstance(found, Slice):
                yield found
            elif found:
                skipped[folder, found] += 1


def _look(path: Path) -> Slice | str:
    """A CT slice, or why the file is none; empty where it is no DICOM at all."""
    named = path.suffix.lower() in (".dcm", ".dicom", ".ima")
    try:
        refuse_irregular(path)
        with path.open("rb") as file:
            start = file.read(_STARTS[0])
            if start[128:132] != b"DICM":
                return _DAMAGED if named else ""
            with _silent():
                header, pixels = _header(start)
                if pixels is None and len(start) == _STARTS[0]:
                    header, pixels = _header(start + file.read(_STARTS[1] - _STARTS[0]))
                return _classify(path, header, pixels)
    except _DeflatedError:
        return "deflated DICOM, which is not read"
    except TumorgenError:
        return _DAMAGED if named else ""
    except Exception:  # pydicom raises anything over what is damaged, and says what is in it
        return _DAMAGED


def _header(start: bytes) -> tuple[pydicom.Dataset, tuple[int, int] | None]:
    """Attributes in a file's first bytes; where its voxels begin and how long they are, if that is among them."""
    if _DEFLATED in start:
        raise _DeflatedError  # pydicom would inflate all of it, however much that is
    file = BytesIO(start)
    pixels: list[tuple[int, int]] = []

    def stop(tag: int, _vr: str | None, length: int) -> bool:
        if tag == _PIXELS:
            pixels.append((file.tell(), length))
        return tag >= _PIXELS

    tags: list[BaseTag | int] = [Tag(name) for name in _ATTRIBUTES]
    header = read_partial(file, stop, specific_tags=tags)
    return header, pixels[0] if pixels else None


def _classify(path: Path, header: Any, pixels: tuple[int, int] | None) -> Slice | str:
    about = header.file_meta
    kind = str(header.get("SOPClassUID") or about.get("MediaStorageSOPClassUID", ""))  # some empty the first
    if kind == _DIRECTORY:
        return ""
    modality = str(header.get("Modality", ""))
    if modality in _MODALITIES:
        return f"{modality}, not CT"
    if modality != "CT":
        return _DAMAGED if pixels is None else "of another modality, not CT"
    if kind.startswith(_SECONDARY):
        return "secondary capture"
    if kind == _ENHANCED:
        return "enhanced CT (all slices in a file), which is not read; convert it first (dcm2niix)"
    if kind != _CT:
        return "of CT, but no slices"
    if pixels is None:
        return _DAMAGED
    words = [str(word).upper() for word in header.get("ImageType", None) or ()]
    if "LOCALIZER" in words:
        return "localizer"
    if not all(header.get(name) for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")):
        return "without position, orientation or spacing"
    series = str(header.get("SeriesInstanceUID") or "") or f"{_NO_UID}{path.parent.resolve()}"
    bare = Slice(path, series, str(header.get("SOPInstanceUID", "")))
    try:
        one = _filled(bare, header, pixels[0], words)
    except Exception:  # what conversion of a damaged value raises
        return replace(bare, problem="a header that is damaged")
    return replace(one, problem=_fault(one, header, pixels[1]))


def _filled(bare: Slice, header: Any, offset: int, words: Sequence[str]) -> Slice:
    """A slice with the values of its header.

    Raises
    ------
    Exception
        One is of another kind than it should be.
    """
    spacing = tuple(float(value) for value in header.PixelSpacing)
    x, y, z = (float(value) for value in header.ImagePositionPatient)
    flags = {"derived"} if words[:1] == ["DERIVED"] else set()
    flags |= {"lossy"} if str(header.get("LossyImageCompression", "")) == "01" else set()
    return replace(
        bare,
        offset=offset,
        shape=(int(header.Rows), int(header.Columns)),
        spacing_mm=(spacing[0], spacing[1]),
        position_mm=(x, y, z),
        orientation=tuple(float(value) for value in header.ImageOrientationPatient),
        slope=float(header.RescaleSlope) if "RescaleSlope" in header else np.nan,
        intercept=float(header.RescaleIntercept) if "RescaleIntercept" in header else np.nan,
        stored=_PLAIN.get(str(header.file_meta.get("TransferSyntaxUID", "")), ""),
        bits=int(header.BitsStored),
        signed=bool(int(header.PixelRepresentation)),
        flags=frozenset(flags),
    )


def _fault(one: Slice, header: Any, length: int) -> str:
    """Why a slice cannot be read, or would be read wrongly; empty if it can."""
    rows, columns = one.shape
    size = 2 * rows * columns
    there = one.path.stat().st_size
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    cosines = np.array(one.orientation)
    numbers = [*one.position_mm, *one.spacing_mm, *cosines]
    faults = {
        "a header that is damaged": len(cosines) != 6 or not np.isfinite(numbers).all(),
        "a size that no CT has": not (2 <= rows <= _LARGEST_SIDE and 2 <= columns <= _LARGEST_SIDE),
        "a spacing that no CT has": not all(0.01 < spacing < 100 for spacing in one.spacing_mm),
        "a position that no CT has": not all(abs(value) < 1e6 for value in one.position_mm),
        "several frames": int(header.get("NumberOfFrames", None) or 1) != 1,
        "colours": int(header.get("SamplesPerPixel", 1)) != 1
        or str(header.get("PhotometricInterpretation", "")) != "MONOCHROME2",
        "voxels not of 16 bits": int(header.BitsAllocated) != 16
        or not 8 <= one.bits <= 16
        or int(header.get("HighBit", one.bits - 1)) != one.bits - 1,
        "no rescaling to HU": not _is_rescaled(one, header),
        "a compression that is not read": not one.stored and syntax not in _PACKED,
        "voxels of a wrong length": length == _UNDEFINED if one.stored else length != _UNDEFINED,
    }
    found = [fault for fault, is_so in faults.items() if is_so]
    if found:
        return found[0]
    if not np.allclose([cosines[:3] @ cosines[:3], cosines[3:] @ cosines[3:]], 1, atol=10 * ALIKE) or (
        abs(cosines[:3] @ cosines[3:]) > ALIKE
    ):
        return "directions that are not orthonormal"
    if one.stored and length < size:
        return "voxels of a wrong length"
    if one.stored and one.offset + size > there:
        return "their end cut off"
    if one.stored and length > size + 1:
        return "voxels of a wrong length"
    if not one.stored:
        return _packed_fault(one, syntax)
    return ""


def _is_rescaled(one: Slice, header: Any) -> bool:
    """Whether stored values become HU by slope and intercept (PS3.3 C.11.1)."""
    kind = str(header.get("RescaleType", "") or "").strip()
    slope, intercept = abs(one.slope), abs(one.intercept)
    return (
        kind in ("", "HU", "US")
        and "ModalityLUTSequence" not in header
        and 1e-4 <= slope <= _LARGEST_STORED[0]
        and intercept <= _LARGEST_STORED[1]
    )


def _packed_fault(one: Slice, syntax: str) -> str:
    """Why a compressed slice would not be whole, or take more memory than its header says; empty if it is sound."""
    most = 2 * one.shape[0] * one.shape[1] + _STARTS[1]
    if one.path.stat().st_size > 2 * most:
        return "voxels of a wrong length"
    with one.path.open("rb") as file:
        file.seek(one.offset)
        items = _items(file.read(most))
    if items is None:  # JPEG 2000 decoders make an image of half a stream, too
        return "their end cut off"
    if syntax == "1.2.840.10008.1.2.5":
        return ""  # run lengths have no size of their own
    return "" if _stream_shape(b"".join(items[1:])) == one.shape else "a compressed stream of another size or damaged"


def _items(data: bytes) -> list[bytes] | None:
    """The items that compressed voxels are in (PS3.5 A.4), the table of offsets first; None if their end is missing."""
    items = []
    at = 0
    while data[at : at + 4] == b"\xfe\xff\x00\xe0":
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        items.append(data[at + 8 : at + 8 + length])
        at += 8 + length
    return items if data[at : at + 4] == b"\xfe\xff\xdd\xe0" else None


def _stream_shape(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns in a JPEG or JPEG 2000 stream; None where they are not told, or it has colours.

    SIZ: ISO 15444-1 A.5.1; SOF: ISO 10918-1 B.2.2, and of JPEG-LS ISO 14495-1 C.2.2.
    """
    if stream[:4] == b"\xff\x4f\xff\x51":
        x1, y1, x0, y0 = (int.from_bytes(stream[at : at + 4], "big") for at in (8, 12, 16, 20))
        return (y1 - y0, x1 - x0) if stream[40:42] == b"\0\1" else None
    at = 2
    while stream[:2] == b"\xff\xd8" and at + 9 < len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            rows, columns = (int.from_bytes(stream[at + k : at + k + 2], "big") for k in (5, 7))
            return (rows, columns) if stream[at + 9] == 1 else None
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


@contextmanager
def _silent() -> Iterator[None]:
    """Keep pydicom's warnings from everybody: they say what is in a header."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


# ---- series


def _series(slices: Sequence[Slice], skipped: Counter[tuple[Path, str]]) -> list[Series]:
    """The case that slices of a series are; none where they are too few or not axial."""
    is_axial = [bool(one.problem) or abs(_normal(one)[2]) >= AXIAL for one in slices]
    across = [one for one, axial in zip(slices, is_axial, strict=True) if not axial]
    rest = [one for one, axial in zip(slices, is_axial, strict=True) if axial]
    reason = "not axial"
    if rest and len(rest) < LEAST_SLICES:
        across, reason = [*across, *rest], f"a CT series of fewer than {LEAST_SLICES} axial slices"
    for one in across:
        skipped[one.path.parent, reason] += 1
    if len(rest) < LEAST_SLICES:
        return []
    key = hashlib.sha256(rest[0].series.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    folder = Path(os.path.commonpath([one.path.parent for one in rest]))
    return [_checked(Series("", folder, key, tuple(rest)))]


def _checked(series: Series) -> Series:
    """A series whose slices are in order, with its geometry, or with its problem."""
    problem = _slices_problem(series.slices)
    if problem:
        return replace(series, problem=problem)
    first = series.slices[0]
    normal = _normal(first)
    along = [float(np.dot(one.position_mm, normal)) for one in series.slices]
    ordered = [series.slices[i] for i in np.argsort(along, kind="stable")]
    kept, copies = _without_copies(ordered)
    if len(kept) < LEAST_SLICES:
        return replace(series, problem=f"fewer than {LEAST_SLICES} of its slices lie apart")
    problem = _grid_problem(np.array([one.position_mm for one in kept]), normal)
    flags = {
        "copied_slices": f"{_slices_text(len(copies))} of the series there twice, with the same voxels"
        if copies
        else "",
        "derived": "the series is not an original, but derived of other images" * _any_has(kept, "derived"),
        "lossy": "the series was compressed with loss" * _any_has(kept, "lossy"),
        "no_uid": "the series has no UID, so all of its folder was taken for it" * first.series.startswith(_NO_UID),
    }
    return replace(
        series,
        slices=tuple(kept),
        copies=tuple(copies),
        geometry=None if problem else _geometry(kept, normal),
        flags={flag: why for flag, why in flags.items() if why},
        problem=problem,
    )


def _any_has(slices: Iterable[Slice], flag: str) -> bool:
    return any(flag in one.flags for one in slices)


def _slices_problem(slices: Sequence[Slice]) -> str:
    """Why slices cannot be of one volume, as far as each has to be like the others."""
    faults = Counter(one.problem for one in slices if one.problem)
    if faults:
        fault, count = faults.most_common(1)[0]
        return f"{count} of {_slices_text(len(slices))} with {fault}; export the series again"
    first = slices[0]
    shapes = {one.shape for one in slices}
    if len(shapes) > 1:
        sizes = " and ".join(f"{rows} x {columns}" for rows, columns in sorted(shapes)[:3])
        return f"its slices are of different sizes ({sizes}); split it into series"
    if not all(np.allclose(one.orientation, first.orientation, rtol=0, atol=ALIKE) for one in slices):
        return "its slices lie in different directions; split it into series"
    if not all(np.allclose(one.spacing_mm, first.spacing_mm, rtol=0, atol=ALIKE) for one in slices):
        return "its slices have pixels of different sizes; split it into series"
    size = 4 * len(slices) * first.shape[0] * first.shape[1]
    if size > limit_bytes() or len(slices) > np.iinfo(np.int16).max:
        return f"{_slices_text(len(slices))} of {first.shape[0]} x {first.shape[1]} voxels are more than the limit"
    return ""


def _without_copies(ordered: Sequence[Slice]) -> tuple[list[Slice], list[tuple[Slice, Slice]]]:
    """Slices in order without those that are another one's copy, by instance and place; and the copies."""
    kept: list[Slice] = []
    copies = []
    known: dict[str, Slice] = {}
    for one in ordered:
        twin = known.get(one.instance) if one.instance else None
        if twin is not None and twin.position_mm == one.position_mm:
            copies.append((twin, one))
            continue
        known[one.instance] = one
        kept.append(one)
    return kept, copies


def _grid_problem(positions: Array, normal: Array) -> str:
    """Why slices at positions (n, 3) in mm, in order along their normal, are no grid; empty if they are one."""
    along = positions @ normal
    steps = np.diff(along)
    same = int(np.count_nonzero(steps < 1e-3))
    if same:
        return (
            f"{_slices_text(same)} at the place of another one, with other voxels (several phases or reconstructions"
            " in one series?); split it into series"
        )
    problem = _spacing_problem(steps)
    return problem or _shift_problem(positions, along, normal)


def _spacing_problem(steps: Array) -> str:
    """Missing slices, or a spacing that changes; empty where steps are regular up to rounding."""
    count = len(steps)
    regular = np.arange(count + 1) * steps.mean()
    typical = float(np.median(steps))
    if np.abs(np.cumsum([0.0, *steps]) - regular).max() <= min(OFF_GRID_MM, typical / 4):
        return ""
    times = steps / typical
    whole = np.maximum(np.round(times), 1)
    gaps = np.flatnonzero(whole > 1)
    if gaps.size and np.abs(times - whole).max() <= 0.1 and not any(b - a == 1 for a, b in pairwise(gaps)):
        missing = int((whole - 1).sum())
        places = "1 place" if gaps.size == 1 else f"{gaps.size} places"
        return f"{_slices_text(missing)} missing, at {places} ({typical:.4g} mm apart elsewhere); export it again"
    return (
        f"its slices are unevenly spaced, {steps.min():.4g} to {steps.max():.4g} mm;"
        " split it into series, or resample it first (dcm2niix)"
    )


def _shift_problem(positions: Array, along: Array, normal: Array) -> str:
    """Gantry tilt: slices that do not lie behind each other, as a grid's do; empty where they do."""
    shift = positions - np.outer(along, normal)
    shift -= shift[0]
    if np.linalg.norm(shift, axis=1).max() <= OFF_GRID_MM:
        return ""
    share = (along - along[0]) / (along[-1] - along[0])
    if np.linalg.norm(shift - np.outer(share, shift[-1]), axis=1).max() <= OFF_GRID_MM:
        angle = np.degrees(np.arctan2(np.linalg.norm(shift[-1]), along[-1] - along[0]))
        return f"its gantry was tilted by {angle:.1f} degrees, so its voxels are no grid; resample it first (dcm2niix)"
    return f"its slices are shifted against each other by up to {np.linalg.norm(shift, axis=1).max():.1f} mm"


def _normal(one: Slice) -> Array:
    """Unit vector (x, y, z) across a slice; x, y and it are right-handed."""
    across = np.cross(one.orientation[:3], one.orientation[3:])
    return np.asarray(across / np.linalg.norm(across))


def _geometry(slices: Sequence[Slice], normal: Array) -> Geometry:
    first, last = slices[0], slices[-1]
    x = np.array(first.orientation[:3]) / np.linalg.norm(first.orientation[:3])
    y = np.cross(normal, x)
    step = float(np.dot(np.subtract(last.position_mm, first.position_mm), normal)) / (len(slices) - 1)
    direction = tuple(float(value) for value in np.column_stack([x, y, normal]).ravel() + 0.0)  # no -0
    shape = (len(slices), *first.shape)
    return Geometry(shape, (step, *first.spacing_mm), first.position_mm, direction)


def _with_damage(series: Series, damaged: Mapping[Path, int]) -> Series:
    count = sum(damaged.get(folder, 0) for folder in {one.path.parent for one in series.slices})
    if not count:
        return series
    reason = f"{_files(count)} beside the series cannot be read, and may be slices of it"
    return replace(series, flags={**(series.flags or {}), "damaged_beside": reason})


def _named(series: Sequence[Series], volumes: Mapping[str, Path]) -> list[Series]:
    """Series with case names, of which none is another's or a volume's, in capitals or not."""
    plain = [_UID.sub("series", one.folder.absolute().name) or "case" for one in series]
    plain = [safe_name(name) for name in plain]
    taken = Counter([*(name.lower() for name in plain), *(case.lower() for case in volumes)])
    named = []
    for one, name in zip(series, plain, strict=True):
        alone = taken[name.lower()] == 1 and not _UID.search(one.folder.absolute().name)
        named.append(replace(one, case=name if alone else f"{safe_name(name, LONGEST_CASE - 9)}-{one.key[:8]}"))
    final = Counter([*(one.case.lower() for one in named), *(case.lower() for case in volumes)])
    twice = [one for one in named if final[one.case.lower()] > 1]
    if twice:
        raise TumorgenError(f"{twice[0].folder}: two scans would be case {twice[0].case!r}; rename a folder or a file")
    return sorted(named, key=lambda one: one.case)


def _shown(folder: Path, source: Path) -> str:
    return printable(str(folder if folder == source else folder.relative_to(source)))


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _slices_text(count: int) -> str:
    return "1 slice" if count == 1 else f"{count} slices"


# ---- voxels


def _voxels(series: Series) -> Array:
    """HU (z, y, x)."""
    slices = series.slices
    whole = all(one.slope.is_integer() and one.intercept.is_integer() for one in slices)
    hu = np.empty((len(slices), *slices[0].shape), np.int32 if whole else np.float32)
    files = [*slices, *(copy for _, copy in series.copies)]
    unpacked = decompressed([one.path for one in files if not one.stored], slices[0].shape)
    with closing(unpacked):  # type: ignore[type-var]  # a generator has a close
        for into, one in zip(hu, slices, strict=True):
            into[:] = _hu(one) if one.stored else next(unpacked)
        for original, copy in series.copies:
            again = _hu(copy) if copy.stored else next(unpacked)
            if not np.array_equal(hu[slices.index(original)], again.astype(hu.dtype)):
                raise TumorgenError(
                    "two files say that they are the same slice, and have other voxels; export it again"
                )
    small = np.iinfo(np.int16)
    return hu.astype(np.int16) if whole and hu.min() >= small.min and hu.max() <= small.max else hu


def _hu(one: Slice) -> Array:
    """HU (y, x) of a slice: stored values times slope, plus intercept (PS3.3 C.11.1); whole numbers stay exact."""
    with one.path.open("rb") as file:
        file.seek(one.offset)
        data = file.read(2 * one.shape[0] * one.shape[1])
    stored = np.frombuffer(data, one.stored).astype(np.uint16) << (16 - one.bits)  # the bits above may be an overlay's
    values = (stored.view(np.int16) if one.signed else stored) >> (16 - one.bits)
    return (values.astype(np.float64) * one.slope + one.intercept).reshape(one.shape)
