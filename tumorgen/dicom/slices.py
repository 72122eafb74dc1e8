"""DICOM files: which of them are CT slices, what of their headers is used, and their voxels in HU.

Only the attributes of `_ATTRIBUTES` are ever looked at, and only for what `Slice` holds.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from ..imaging import extension_of, is_dicom, refuse_irregular
from .acquisitions import ATTRIBUTES, Taking, read_taking

ALIKE = 1e-4  # of direction cosines, and of spacings in mm, among the slices of a series

NO_UID = "folder "  # begins what stands for the UID of a series that has none
DAMAGED = "damaged or cut off, so not known to which series they belong"
_BELOW = "volumes in folders below, where only DICOM is looked for; give their folder as IN, or move them up"
_BLANK = "no content"

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
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality"),
    *("ImageType", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "SamplesPerPixel"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PhotometricInterpretation"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "LossyImageCompression"),
    *ATTRIBUTES,
)
_PREFIX = 132  # bytes before the first element of a file
_STARTS = (1 << 16, 1 << 24)  # bytes before the voxels that are read; the second if the first do not do
_PIXELS = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF  # the length of what is compressed
_LARGEST_SIDE = 4096  # pixels of a slice
_LARGEST_STORED = 1e4, 1e6  # of slope and intercept; within them HU of 16 bits fit into 32

_UNKNOWN = Taking()

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Slice:
    """What is used of the header of a CT slice. Where `problem` says why it cannot be used, the rest has no meaning.

    Attributes
    ----------
    path, offset
        The file, and where in it the voxels begin.
    series, instance, study
        UIDs, only to be compared, never to be shown or written. Where the first was taken out: the folder.
    shape
        Rows and columns.
    spacing_mm
        (y, x).
    position_mm
        Of the first voxel, (x, y, z).
    orientation
        Direction cosines of x, then of y.
    slope, intercept
        From stored values to HU.
    stored
        numpy's type of plain voxels as stored; empty where they are compressed.
    bits, signed
        Of stored values.
    flags
        Words of `dicom.series.SERIES_FLAGS`.
    taking
        How it was taken.
    """

    path: Path
    series: str
    instance: str
    study: str = ""
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
    taking: Taking = _UNKNOWN


class _DeflatedError(Exception):
    pass


def find_slices(source: Path, skipped: Counter[tuple[Path, str]], taken: Collection[Path] = ()) -> Iterator[Slice]:
    """CT slices below a folder, read from the first bytes of their files; links to folders are not followed.

    Parameters
    ----------
    source
        The folder.
    skipped
        Is added to: how many files of a folder were left out, by reason. Files that are not DICOM are not counted, but
        for volumes, which are read in the folder itself alone, and for what seems to have been a slice.
    taken
        Folders whose volumes are read, or lie beside one that is: they are not counted either.
    """

    def skip_folder(error: OSError) -> None:
        skipped[Path(str(error.filename)), "a folder that cannot be read"] += 1

    for name, folders, files in os.walk(source, onerror=skip_folder):
        folder = Path(name)
        for linked in sorted(one for one in folders if (folder / one).is_symlink() and folder / one not in taken):
            skipped[folder / linked, "a link to a folder, which is not followed"] += 1
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        shown = [folder / file for file in sorted(files) if not file.startswith(".")]
        if folder != source and not {folder, *folder.parents}.intersection(taken):
            skipped.update((source, _BELOW) for path in shown if extension_of(path))
        slices, blank = [], []
        for path in shown:
            found = "" if extension_of(path) else _read_slice(path)
            if isinstance(found, Slice):
                slices.append(path)
                yield found
            elif found == _BLANK:
                blank.append(path)
            elif found:
                skipped[folder, found] += 1
        skipped.update((folder, DAMAGED) for path in blank if _is_called_like(path, slices))


def _is_called_like(path: Path, slices: Sequence[Path]) -> bool:
    """Whether a file without content has the ending of slices beside it and a number in its name, unlike a README."""
    return any(map(str.isdigit, path.name)) and _ending(path) in set(map(_ending, slices))


def _ending(path: Path) -> str:
    """The suffix of a file; none where it is but a number, as in names that are a UID."""
    return "" if path.suffix[1:].isdigit() else path.suffix.lower()


def _read_slice(path: Path) -> Slice | str:
    """A CT slice, or why the file is not one; empty where it is not DICOM at all, `_BLANK` where it may have been."""
    named = path.suffix.lower() in (".dcm", ".dicom", ".ima")
    unreadable = DAMAGED if named else ""
    try:
        refuse_irregular(path)
        with path.open("rb") as file:
            start = file.read(_STARTS[0])
            if not is_dicom(start):
                return unreadable or (_BLANK if len(start) < _PREFIX or not any(start[:_PREFIX]) else "")
            unreadable = DAMAGED if named or start[128:132] == b"DICM" else ""  # other files may begin alike
            with _silent():
                header, pixels = _header(start)
                if pixels is None and len(start) == _STARTS[0]:
                    header, pixels = _header(start + file.read(_STARTS[1] - _STARTS[0]))
                found = _classify(path, header, pixels)
                return unreadable if found == DAMAGED else found
    except _DeflatedError:
        return "deflated DICOM, which is not read"
    except Exception:  # pydicom raises anything over what is damaged, and says what is in it
        return unreadable


def _header(start: bytes) -> tuple[pydicom.Dataset, tuple[int, int] | None]:
    """Attributes in a file's first bytes; where its voxels begin and how long they are, if they say so."""
    if _DEFLATED in start:
        raise _DeflatedError  # pydicom would inflate all of it, however much that is
    file = BytesIO(start)
    pixels: list[tuple[int, int]] = []

    def stop(tag: int, _vr: str | None, length: int) -> bool:
        if tag == _PIXELS:
            pixels.append((file.tell(), length))
        return tag >= _PIXELS

    tags: list[BaseTag | int] = [Tag(name) for name in _ATTRIBUTES]
    header = read_partial(file, stop, force=True, specific_tags=tags)
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
        return DAMAGED if pixels is None else "of another modality, not CT"
    if kind.startswith(_SECONDARY):
        return "secondary capture"
    if kind == _ENHANCED:
        return "enhanced CT (all slices in a file), which is not read; convert it first (dcm2niix)"
    if kind != _CT:
        return "of CT, but no slices"
    if pixels is None:
        return DAMAGED
    words = [str(word).upper() for word in header.get("ImageType", None) or ()]
    if "LOCALIZER" in words:
        return "localizer"
    if not all(header.get(name) for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")):
        return "without position, orientation or spacing"
    series = str(header.get("SeriesInstanceUID") or "") or f"{NO_UID}{path.parent.resolve()}"
    bare = Slice(path, series, str(header.get("SOPInstanceUID", "")), str(header.get("StudyInstanceUID") or ""))
    try:
        one = _fill_slice(bare, header, pixels[0], words)
    except Exception:  # what conversion of a damaged value raises
        return replace(bare, problem="a header that is damaged")
    return replace(one, problem=_find_fault(one, header, pixels[1]))


def _fill_slice(bare: Slice, header: Any, offset: int, words: Sequence[str]) -> Slice:
    """A slice with the values of its header.

    Raises
    ------
    Exception
        A value is not of its kind: pydicom raises anything.
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
        stored=_PLAIN.get(_syntax_of(header), ""),
        bits=int(header.BitsStored),
        signed=bool(int(header.PixelRepresentation)),
        flags=frozenset(flags),
        taking=read_taking(header),
    )


def _syntax_of(header: Any) -> str:
    """The transfer syntax; a data set alone, which says none, is plain and little-endian (`imaging.is_dicom`)."""
    is_alone = header.preamble is None and not header.file_meta
    return "1.2.840.10008.1.2" if is_alone else str(header.file_meta.get("TransferSyntaxUID", ""))


def _find_fault(one: Slice, header: Any, length: int) -> str:
    """Why a slice cannot be read, or would be read wrongly; empty if it can be read."""
    rows, columns = one.shape
    size = 2 * rows * columns
    there = one.path.stat().st_size
    syntax = _syntax_of(header)
    cosines = np.array(one.orientation)
    grey = str(header.get("PhotometricInterpretation", ""))
    numbers = [*one.position_mm, *one.spacing_mm, *cosines]
    faults = {
        "a header that is damaged": len(cosines) != 6 or not np.isfinite(numbers).all(),
        "a size that no CT has": not (2 <= rows <= _LARGEST_SIDE and 2 <= columns <= _LARGEST_SIDE),
        "a spacing that no CT has": not all(0.01 < spacing < 100 for spacing in one.spacing_mm),
        "a position that no CT has": not all(abs(value) < 1e6 for value in one.position_mm),
        "several frames": int(header.get("NumberOfFrames", None) or 1) != 1,
        "inverted grey values (MONOCHROME1), which are no HU": grey == "MONOCHROME1",
        "colours": int(header.get("SamplesPerPixel", 1)) != 1 or grey != "MONOCHROME2",
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
    if not one.stored:
        return _find_packed_fault(one, syntax)
    if size <= length and one.offset + size > there:
        return "their end cut off"
    return "" if size <= length <= size + 1 else "voxels of a wrong length"


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


def _find_packed_fault(one: Slice, syntax: str) -> str:
    """Why a compressed slice would not be whole, or take more memory than its header says; empty if it is sound."""
    most = 2 * one.shape[0] * one.shape[1] + _STARTS[1]
    if one.path.stat().st_size > 2 * most:
        return "voxels of a wrong length"
    with one.path.open("rb") as file:
        file.seek(one.offset)
        items = _split_items(file.read(most))
    if items is None:  # JPEG 2000 decoders make an image of half a stream, too
        return "their end cut off"
    if syntax == "1.2.840.10008.1.2.5":
        return ""  # run lengths have no size of their own
    return "" if _stream_shape(b"".join(items[1:])) == one.shape else "a compressed stream of another size or damaged"


def _split_items(data: bytes) -> list[bytes] | None:
    """The items that hold compressed voxels (PS3.5 A.4), the table of offsets first; None if their end is missing."""
    items = []
    at = 0
    while data[at : at + 4] == b"\xfe\xff\x00\xe0":
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        items.append(data[at + 8 : at + 8 + length])
        at += 8 + length
    return items if data[at : at + 4] == b"\xfe\xff\xdd\xe0" else None


def _stream_shape(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns in a JPEG or JPEG 2000 stream; None where it does not say, or has colours.

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
    """Silence pydicom's warnings: they say what is in a header."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def to_hu(one: Slice) -> Array:
    """HU (y, x) of a slice: stored values times slope, plus intercept (PS3.3 C.11.1); whole numbers stay exact."""
    with one.path.open("rb") as file:
        file.seek(one.offset)
        data = file.read(2 * one.shape[0] * one.shape[1])
    stored = np.frombuffer(data, one.stored).astype(np.uint16) << (16 - one.bits)  # the bits above may be an overlay's
    values = (stored.view(np.int16) if one.signed else stored) >> (16 - one.bits)
    return (values.astype(np.float64) * one.slope + one.intercept).reshape(one.shape)
