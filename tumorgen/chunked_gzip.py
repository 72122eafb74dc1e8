"""NIfTI files that share most of their voxels, written for the price of what differs.

A volume is deflated once, in independent chunks of 64 KiB. A variant of it deflates again only the chunks that its
changed boxes touch; all chunks together are one ordinary gzip member, as any reader expects it. Nothing of a variant
depends on the one written before it.

    source = ChunkedVolume.from_volume(volume)
    sha256 = source.write(Path("variant.nii.gz"), [(box, voxels)])

Each chunk ends with a full flush (RFC 1951), so it neither refers to what is before it nor ends within a byte. The
CRC-32 of a variant follows from that of the source, because CRC is linear over GF(2).
"""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import SimpleITK as sitk
from isal import isal_zlib
from numpy.typing import NDArray

from .boxes import Box, paste
from .volume import Volume, to_image, whole_file

CHUNK = 1 << 16  # bytes
LEVEL = 2  # isal's 0 to 3: 2 is within 4 % of zlib's size at 20 times its speed
_RAW = -15  # raw deflate, 32 KiB window
_GZIP_HEADER = bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])  # no name, no time: same voxels, same bytes
_LAST_BLOCK = b"\x03\x00"  # an empty final block
_DIMENSIONS = slice(42, 48)  # dim[1..3] in a NIfTI-1 header
_POLYNOMIAL = 0xEDB88320  # of CRC-32, reflected
_MOST_BUFFERS = 1024  # IOV_MAX on every system of interest

Word = np.uint32
Operator = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class ChunkedVolume:
    """A volume, deflated once, of which variants are written.

    It holds the voxels (by reference) and their compressed chunks: about 1.6 times the volume's own bytes for a CT.

    Attributes
    ----------
    header
        What precedes the voxels in the file: SimpleITK's own.
    voxels
        Array (z, y, x), little-endian, C-contiguous.
    chunks
        Deflated chunks of header and voxels.
    checksums
        CRC-32 of each chunk.
    checksum
        CRC-32 of the whole.
    """

    header: bytes
    voxels: NDArray[Any]
    chunks: tuple[bytes, ...]
    checksums: Operator
    checksum: int

    @classmethod
    def from_volume(cls, volume: Volume) -> ChunkedVolume:
        """Deflate a volume; boolean voxels become uint8."""
        array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
        voxels = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        header = nifti_header(volume)
        flat = voxels.reshape(-1).view(np.uint8)
        ends = range(CHUNK - len(header), flat.size + CHUNK, CHUNK)
        pieces = (flat[max(0, end - CHUNK) : end].tobytes() for end in ends if end - CHUNK < flat.size)
        chunks, checksums, checksum = [], [], 0
        for number, piece in enumerate(pieces):
            whole = header + piece if number == 0 else piece
            chunks.append(_deflate(whole))
            checksums.append(isal_zlib.crc32(whole))
            checksum = isal_zlib.crc32(whole, checksum)
        return cls(header, voxels, tuple(chunks), np.array(checksums, Word), checksum)

    @property
    def size(self) -> int:
        """Bytes of header and voxels."""
        return len(self.header) + self.voxels.nbytes

    def write(self, path: Path, blocks: Iterable[tuple[Box, NDArray[Any]]] = ()) -> str:
        """Write the volume with blocks laid over it, in order, as `.nii.gz`; return the file's SHA-256.

        The file appears whole or not at all.

        Raises
        ------
        TumorgenError
            The file cannot be written.
        """
        chunks, checksum = self._variant(list(blocks))
        trailer = struct.pack("<II", checksum, self.size & 0xFFFFFFFF)
        buffers = [_GZIP_HEADER, *chunks, _LAST_BLOCK, trailer]
        sha256 = hashlib.sha256()
        for buffer in buffers:
            sha256.update(buffer)
        with whole_file(path) as partial, partial.open("wb") as file:
            _write_all(file, buffers)
        return sha256.hexdigest()

    def _variant(self, blocks: Sequence[tuple[Box, NDArray[Any]]]) -> tuple[list[bytes], int]:
        """Deflated chunks of a variant, and the CRC-32 of the whole."""
        chunks, checksums = list(self.chunks), self.checksums.copy()
        touched = self.touched([box for box, _ in blocks])
        for planes, numbers in self._slabs(touched):
            slab = self.voxels[planes].copy()
            covers = (planes, slice(0, slab.shape[1]), slice(0, slab.shape[2]))
            for box, block in blocks:
                paste(slab, covers, block, box)
            for number in numbers:
                piece = self._piece(number, slab, planes.start)
                chunks[number], checksums[number] = _deflate(piece), isal_zlib.crc32(piece)
        return chunks, self.checksum ^ self._shifted(touched, (checksums ^ self.checksums)[touched])

    def touched(self, boxes: Iterable[Box]) -> NDArray[np.intp]:
        """Numbers of the chunks that hold a voxel of some boxes, in order."""
        _, height, width = self.voxels.shape
        counts = np.zeros(len(self.chunks) + 1, np.intp)
        for z, y, x in boxes:
            rows = np.arange(z.start, z.stop)[:, None] * height + np.arange(y.start, y.stop)
            starts = len(self.header) + (rows.ravel() * width + x.start) * self.voxels.itemsize
            np.add.at(counts, starts // CHUNK, 1)
            np.add.at(counts, (starts + (x.stop - x.start) * self.voxels.itemsize - 1) // CHUNK + 1, -1)
        return np.flatnonzero(np.cumsum(counts)[:-1])

    def _slabs(self, touched: NDArray[np.intp]) -> Iterator[tuple[slice, list[int]]]:
        """Touched chunks, and the planes that hold them, grouped where the planes overlap."""
        plane = self.voxels[0].nbytes
        planes, numbers = slice(0, 0), list[int]()
        for number in touched.tolist():
            start = max(0, number * CHUNK - len(self.header)) // plane
            stop = min(len(self.voxels), -(-((number + 1) * CHUNK - len(self.header)) // plane))
            if numbers and start > planes.stop:
                yield planes, numbers
                numbers = []
            planes = slice(planes.start if numbers else start, stop)
            numbers.append(number)
        if numbers:
            yield planes, numbers

    def _piece(self, number: int, slab: NDArray[Any], first: int) -> bytes:
        """Bytes of a chunk, given the planes from `first` on that hold it."""
        flat = slab.reshape(-1).view(np.uint8)
        begin = number * CHUNK - len(self.header) - first * self.voxels[0].nbytes
        voxels = flat[max(0, begin) : begin + CHUNK].tobytes()
        return self.header[number * CHUNK :] + voxels if number * CHUNK < len(self.header) else voxels

    def _shifted(self, numbers: NDArray[np.intp], differences: Operator) -> int:
        """What a change of the CRC-32 of some chunks changes in that of the whole.

        A difference goes through as many zero bytes as follow its chunk: whole chunks, and the last, shorter one.
        """
        last = len(self.chunks) - 1
        rest = self.size - last * CHUNK
        inner = numbers < last
        values = differences.copy()
        values[inner] = _apply(_zeros(rest), values[inner])
        following, operator = np.where(inner, last - 1 - numbers, 0), _zeros(CHUNK)
        while following.any():
            odd = following % 2 == 1
            values[odd] = _apply(operator, values[odd])
            following, operator = following // 2, _apply(operator, operator)
        return int(np.bitwise_xor.reduce(values, initial=0))


def nifti_header(volume: Volume) -> bytes:
    """What SimpleITK itself writes before the voxels of a volume: the NIfTI-1 header and four bytes.

    It writes a volume of two voxels a side with the same geometry; the size is all that differs.
    """
    corner = Volume(np.zeros((2, 2, 2), volume.array.dtype), replace(volume.geometry, shape=(2, 2, 2)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "header.nii"
        sitk.WriteImage(to_image(corner), str(path))
        content = path.read_bytes()
    header = bytearray(content[: len(content) - corner.array.nbytes])
    header[_DIMENSIONS] = struct.pack("<3h", *volume.array.shape[::-1])
    return bytes(header)


def _deflate(piece: bytes) -> bytes:
    """Deflate a chunk by itself, ended so that another can follow."""
    compressor = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, _RAW)
    compressed: bytes = compressor.compress(piece) + compressor.flush(isal_zlib.Z_FULL_FLUSH)
    return compressed


def _write_all(file: BinaryIO, buffers: Sequence[bytes]) -> None:
    """Write buffers one after another; where the system can, without copying them first."""
    if not hasattr(os, "writev"):
        file.writelines(buffers)
        return
    for start in range(0, len(buffers), _MOST_BUFFERS):
        views = [memoryview(buffer) for buffer in buffers[start : start + _MOST_BUFFERS]]
        while views:
            written = os.writev(file.fileno(), views)
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if views:
                views[0] = views[0][written:]


@cache
def _zeros(count: int) -> Operator:
    """How a CRC-32 changes when `count` zero bytes follow: a matrix over GF(2), a word for each of its 32 columns."""
    bit = np.array([_POLYNOMIAL, *(1 << i for i in range(31))], Word)
    result, power, bits = np.array([1 << i for i in range(32)], Word), bit, count * 8
    while bits:
        if bits & 1:
            result = _apply(power, result)
        power, bits = _apply(power, power), bits >> 1
    return result


def _apply(operator: Operator, values: Operator) -> Operator:
    """Multiply words by a matrix over GF(2)."""
    result = np.zeros_like(values)
    for i, column in enumerate(operator):
        result ^= np.where(values >> Word(i) & Word(1), column, Word(0))
    return result
