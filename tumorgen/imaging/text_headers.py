"""Headers of NRRD and MetaImage files, which are text: what they claim of their voxels.

ITK reads these files. What it crashes over, or would follow to other files, is refused here, before it sees them.

NRRD: teem.sourceforge.net/nrrd/format.html. MetaImage: itk.org/Wiki/MetaIO.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from ..errors import TumorgenError
from .claims import SLACK, Claim, damaged, first_bytes, too_long, truncated
from .files import refuse_irregular

LONGEST_HEADER = 1 << 20  # bytes: headers with all DICOM tags have some ten thousand
_STEP = 1 << 20  # bytes
_META_TYPES = {
    **{"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4},
    **{"LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8},
}
_NRRD_TYPES = {  # bytes -> names
    1: r"(un)?signed char|uchar|u?int8(_t)?",
    2: r"((un)?signed )?short( int)?|ushort|u?int16(_t)?",
    4: r"((un)?signed )?int|uint|u?int32(_t)?|float",
    8: r"((un)?signed )?long long( int)?|u?longlong|u?int64(_t)?|double",
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
_META_NAMES = {  # of what says where voxels lie and how they are stored
    name.lower(): name
    for name in (
        *("ObjectType", "NDims", "DimSize", "ElementSpacing", "ElementSize", "DistanceUnits", "AnatomicalOrientation"),
        *("Offset", "Origin", "Position", "ImagePosition", "CenterOfRotation"),
        *("TransformMatrix", "Rotation", "Orientation", "ElementType", "ElementNumberOfChannels", "ElementNBits"),
        *("BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData", "CompressedDataSize"),
        *("HeaderSize", "HeaderSizePerSlice", "ElementDataFile"),
    )
}


def nrrd_claim(file: BinaryIO, path: Path) -> Claim:
    """What an open NRRD file claims of its voxels.

    Raises
    ------
    TumorgenError
        Its header is damaged, is not of a scalar volume, does not say how large voxels are in mm, or names a file
        elsewhere.
    """
    start = first_bytes(file, LONGEST_HEADER, path)
    end = re.search(rb"\r?\n\r?\n" if len(start) == LONGEST_HEADER else rb"\r?\n\r?\n|\Z", start)
    lines, length = _header_lines(start, end, path)
    if not lines or not re.fullmatch(r"NRRD000[1-5]", lines[0].strip()):
        raise TumorgenError(f"{path}: not a readable volume (it has no NRRD header)")
    fields = _fields(lines[1:], ":", path)
    fields = {re.sub(r"[ _-]", "", name): value for name, value in fields.items()}
    _check_grammar(fields, _NRRD_GRAMMAR, path, others=False)
    for name in ("lineskip", "byteskip"):
        if fields.get(name, "0") != "0":
            raise TumorgenError(f"{path}: its header skips part of its data ({name}); write it anew without")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise TumorgenError(f"{path}: its encoding {encoding[:40]!r} is not read; write it as raw or gzip")
    kind = " ".join(fields.get("type", "").lower().split())
    bytes_each = next((size for size, names in _NRRD_TYPES.items() if re.fullmatch(names, kind)), None)
    if bytes_each is None:
        raise TumorgenError(f"{path}: its type {fields.get('type', '')[:40]!r} is no number; a scalar volume is needed")
    size = _sizes(fields.get("sizes", ""), fields.get("dimension", ""), path)
    _check_lengths(fields, path)
    data = _beside(path, fields["datafile"]) if "datafile" in fields else path
    return Claim(size, bytes_each, data, length if data == path else 0, encoding != "raw")


def meta_claim(file: BinaryIO, path: Path) -> Claim:
    """What an open MetaImage file claims of its voxels.

    Raises
    ------
    TumorgenError
        Its header is damaged, is not of a scalar volume, does not say how large voxels are, or names a file elsewhere.
    """
    start = first_bytes(file, LONGEST_HEADER, path)
    end = re.search(rb"(?im)^[ \t]*ElementDataFile[ \t]*[=:][^\n]*\n?", start)
    lines, length = _header_lines(start, end, path)
    _check_capitals(lines, path)
    fields = _fields(lines, "=", path)
    if "elementdatafile" not in fields:  # it stands there with a colon, as in "ElementDataFile: LOCAL"
        raise TumorgenError(f"{path}: not a readable volume (its header does not say where its voxels are)")
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
    if not {"elementspacing", "elementsize"} & set(fields):
        raise _without_spacing(path, "ElementSpacing")
    _refuse_other_unit(fields.get("distanceunits", ""), path)
    local = fields["elementdatafile"].upper() == "LOCAL"
    data = path if local else _beside(path, fields["elementdatafile"])
    compressed = fields.get("compresseddata", "false").lower() in ("true", "1")
    packed_bytes = _meta_packed_bytes(fields, path, data, compressed=compressed)
    return Claim(size, bytes_each, data, length if local else 0, compressed, packed_bytes)


def check_stream(claim: Claim, file: BinaryIO, path: Path) -> None:
    """Unpack the voxels in an open data file to their end and drop them: ITK does not compare the checksum.

    Of voxels that are stored plainly, only their number is compared, of which ITK reads as many as the header says.

    Raises
    ------
    TumorgenError
        The stream is cut off or damaged, or there is not as much of it as the header says.
    """
    if not claim.compressed:
        if os.fstat(file.fileno()).st_size - claim.offset > claim.bytes + SLACK:
            raise too_long(path)
        return
    unpacker, length = zlib.decompressobj(47), 0  # 47: gzip as in NRRD, or zlib as in MetaImage
    try:
        file.seek(claim.offset)
        packed = file.read(_STEP)
        while packed and not unpacker.eof and length <= claim.bytes:
            length += len(unpacker.decompress(packed, _STEP))
            packed = unpacker.unconsumed_tail or file.read(_STEP)
    except (OSError, zlib.error) as error:
        raise damaged(path, error) from error
    if length > claim.bytes:
        raise too_long(path)
    packed_bytes = file.tell() - claim.offset - len(packed) - len(unpacker.unused_data)
    if claim.packed_bytes and packed_bytes > claim.packed_bytes:
        raise TumorgenError(f"{path}: its header says {claim.packed_bytes} compressed bytes; there are more")
    if length < claim.bytes or not unpacker.eof:
        raise truncated(path, claim.bytes)


def _header_lines(start: bytes, end: re.Match[bytes] | None, path: Path) -> tuple[list[str], int]:
    """Lines of a text header, and where it ends."""
    if end is None:
        raise TumorgenError(f"{path}: not a readable volume (its header has no end)")
    return start[: end.end()].decode("utf-8", "replace").splitlines(), end.end()


def _meta_packed_bytes(fields: Mapping[str, str], path: Path, data: Path, *, compressed: bool) -> int:
    """Bytes that the header says of the stream; 0 where it says nothing, as for voxels that are stored plainly.

    Raises
    ------
    TumorgenError
        The header would make ITK skip part of the data, take memory for a stream that is not there, or read none: of a
        stream of which it does not know the length it makes a volume of what was in memory before (seen with 2.5.7).
    """
    if fields.get("headersize", "0") not in ("0", "-1"):
        raise TumorgenError(f"{path}: its header skips part of its data (HeaderSize); write it anew without")
    packed = fields.get("compresseddatasize", "0")
    if not packed.isascii() or not packed.isdigit() or len(packed) > 18 or int(packed) > data.stat().st_size:
        raise TumorgenError(f"{path}: is truncated: its header says {packed[:20]} compressed bytes; copy it again")
    if compressed and int(packed) == 0:
        raise TumorgenError(f"{path}: its header does not say how long its data is (CompressedDataSize); write it anew")
    return int(packed)


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


def _check_capitals(lines: Sequence[str], path: Path) -> None:
    """Refuse a key of MetaImage's in other capitals: ITK passes it over, and takes 1 mm, place 0, or no compression."""
    for line in lines:
        key = re.match(r"\s*(\w+)\s*[=:]", line)
        name = _META_NAMES.get(key[1].lower()) if key else None
        if key and name and key[1] != name:
            raise TumorgenError(f"{path}: its header says {key[1]}, which ITK does not know; write it as {name}")


def _sizes(text: str, rank: str, path: Path) -> tuple[int, ...]:
    words = text.split()
    is_sound = 0 < len(words) <= 16 and all(re.fullmatch(r"[0-9]{1,18}", word) for word in words)
    if not is_sound or rank != str(len(words)):
        raise TumorgenError(f"{path}: its header is damaged: {rank[:20]!r} dimensions, sizes {text[:60]!r}")
    return tuple(map(int, words))


def _check_lengths(fields: Mapping[str, str], path: Path) -> None:
    """Refuse a NRRD header without the size of voxels, which ITK then takes for 1 mm, or in units, which it ignores."""
    spacings = fields.get("spacings", "").split()
    if "spacedirections" not in fields and not (
        spacings and all(re.fullmatch(_REAL, word) and float(word) > 0 for word in spacings)
    ):
        raise _without_spacing(path, "space directions, or spacings above zero")
    for name in ("spaceunits", "units"):
        for quoted, word in re.findall(r'"([^"]*)"|([^\s"]+)', fields.get(name, "")):
            _refuse_other_unit(quoted or word, path)


def _refuse_other_unit(unit: str, path: Path) -> None:
    """Refuse lengths that are not in mm, for which ITK takes them whatever the header says; it may say nothing."""
    if not re.fullmatch(r"(?i)\s*(mm|milli ?met(er|re)s?|\?*)\s*", unit):
        raise TumorgenError(f"{path}: its header says lengths in {unit[:40]!r}; write it anew in mm")


def _without_spacing(path: Path, needed: str) -> TumorgenError:
    return TumorgenError(f"{path}: its header does not say how large its voxels are; give it {needed}")


def _beside(path: Path, name: str) -> Path:
    """The data file that a header names, which must lie beside it: a header that names another may be after your files.

    Raises
    ------
    TumorgenError
        The name is a path, a list or a pattern of files, or the file is not a regular one.
    """
    if not re.fullmatch(r"[^/\\%:\x00]+", name) or name in (".", "..") or name.upper().startswith("LIST"):
        raise TumorgenError(f"{path}: names its data {name[:80]!r}; only one file beside the header is read")
    data = path.parent / name
    try:
        refuse_irregular(data)
    except TumorgenError as error:
        raise TumorgenError(f"{path}: its data: {error}") from error
    return data
