"""NIfTI files that share most of their voxels, written for the price of what differs.

A volume is deflated once, in independent chunks of 32 KiB. A variant of it deflates again only the chunks that its
changed boxes touch; all chunks together are one ordinary gzip member, as any reader expects it. Nothing of a variant
depends on the one written before it.

    source = ChunkedVolume.from_volume(volume)
    sha256 = source.write(Path("variant.nii.gz"), [(box, voxels)])

Each chunk ends with a full flush (RFC 1951), so it neither refers to what is before it nor ends within a byte. The
CRC-32 of the whole follows from those of the chunks.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from .boxes import Box, shape_of, whole_box
from .files import whole_file
from .geometry import Index, Volume
from .nifti import nifti_header

CHUNK = 1 << 15  # bytes, deflate's window; twice as many make files 1 % smaller, and a third more to deflate again
DEFLATE_LEVEL = 2  # of isal's 0 to 3; at 3 the bytes depend on the processor (docs/writer.md)
_RAW = -15  # raw deflate, 32 KiB window
_GZIP_HEADER = bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])  # no name, no time: same voxels, same bytes
_LAST_BLOCK = b"\x03\x00"  # an empty final block
_MOST_BUFFERS = 64  # in one call; systems take 1024, but more at once gains nothing
_HASHED = 32  # chunks from one state of the hash that is kept to the next

Voxels = NDArray[Any]
BoxVoxels = tuple[Box, Voxels]


@dataclass(frozen=True, slots=True, eq=False)
class ChunkedVolume:
    """A volume, deflated once, of which variants are written.

    It may be pickled. The voxels are held by reference: do not change them afterwards. Those that are not held
    (`keep_planes`) are inflated again where they are asked for.

    Attributes
    ----------
    header
        What precedes the voxels in the file: SimpleITK's own.
    voxels
        Planes that are held: array (z, y, x), little-endian, C-contiguous.
    chunks
        Header and voxels, deflated in chunks.
    checksums
        CRC-32 of each chunk's content.
    chunk_bytes
        Bytes of header and voxels in each chunk but the last.
    shape
        Of the whole volume, (z, y, x).
    first
        Number of the first plane that is held.
    checksum
        CRC-32 of header and voxels. It is linear: that of a variant follows from the chunks that differ.
    hashed
        SHA-256 of the file that nothing is laid over, after every 32 chunks: what a variant has in common with it, up
        to its first changed chunk, need not be hashed again.
    """

    header: bytes
    voxels: Voxels
    chunks: tuple[bytes, ...]
    checksums: tuple[int, ...]
    chunk_bytes: int
    shape: Index
    first: int = 0
    checksum: int = -1
    hashed: tuple[Any, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.hashed:
            return  # made of another, with the same chunks
        whole, left = 0, self.size
        for part in self.checksums:
            length = min(left, self.chunk_bytes)
            whole, left = isal_zlib.crc32_combine(whole, part, length), left - length
        object.__setattr__(self, "checksum", whole)
        states = [hashlib.sha256(_GZIP_HEADER)]
        for start in range(0, len(self.chunks) - _HASHED, _HASHED):
            state = states[-1].copy()
            for chunk in self.chunks[start : start + _HASHED]:
                state.update(chunk)
            states.append(state)
        object.__setattr__(self, "hashed", tuple(states))

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """States of a hash cannot be pickled; they are made anew."""
        held = self.header, self.voxels, self.chunks, self.checksums, self.chunk_bytes, self.shape, self.first
        return ChunkedVolume, held

    @classmethod
    def from_volume(cls, volume: Volume, chunk_bytes: int = CHUNK) -> ChunkedVolume:
        """Deflate a volume.

        Its array is referenced where it is little-endian and C-contiguous, else copied; boolean becomes uint8.

        Raises
        ------
        TumorgenError
            NIfTI-1 as SimpleITK writes it has no such voxel type, size or geometry.
        """
        array = volume.array.view(np.uint8) if volume.array.dtype == bool else volume.array
        voxels = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        header = nifti_header(volume.geometry, voxels)
        chunks, checksums = [], []
        whole = voxels.reshape(-1).view(np.uint8)
        for start in range(0, len(header) + voxels.nbytes, chunk_bytes):
            begin, end = max(0, start - len(header)), max(0, start + chunk_bytes - len(header))
            content = header[start : start + chunk_bytes] + whole[begin:end].tobytes()
            chunks.append(_deflate(content))
            checksums.append(isal_zlib.crc32(content))
        z, y, x = voxels.shape
        return cls(header, voxels, tuple(chunks), tuple(checksums), chunk_bytes, (z, y, x))

    def keep_planes(self, planes: slice) -> ChunkedVolume:
        """The same volume, with nothing but these planes held as voxels, in an array of their own.

        What is read and written stays the same; outside these planes it takes longer.
        """
        voxels = self[planes, slice(0, self.shape[1]), slice(0, self.shape[2])]
        return replace(self, voxels=voxels, first=planes.start)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels."""
        return self.voxels.dtype

    def __getitem__(self, box: Box) -> Voxels:
        """Voxels of a box (z, y, x) of the volume, in an array of their own; its slices may have steps."""
        z, y, x = box
        height = self.shape[1]
        if self.first <= z.start and z.stop <= self.first + len(self.voxels):
            return self.voxels[z.start - self.first : z.stop - self.first : z.step, y, x].copy()
        voxels = np.empty([len(range(s.start, s.stop, s.step or 1)) for s in box], self.dtype)
        for plane, number in zip(voxels, range(z.start, z.stop, z.step or 1), strict=True):
            plane[:] = self._read_rows(number * height + y.start, number * height + y.stop)[:: y.step, x]
        return voxels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Voxels:
        """All voxels."""
        return self[whole_box(self.shape)].astype(dtype or self.dtype, copy=False)

    @property
    def size(self) -> int:
        """Bytes of header and voxels, not compressed."""
        return len(self.header) + math.prod(self.shape) * self.voxels.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes held in memory: the voxels, which may be shared, and the compressed chunks."""
        return len(self.header) + self.voxels.nbytes + sum(map(len, self.chunks))

    def write(
        self,
        path: Path,
        blocks: Iterable[BoxVoxels] = (),
        *,
        durable: bool = True,
        parents: bool = True,
        partials: Path | None = None,
    ) -> str:
        """Write the volume with blocks laid over it, as `.nii.gz`; the file appears whole or not at all.

        Equal arguments write equal bytes, whatever was written before. Memory: the touched chunks, compressed.

        Parameters
        ----------
        path
            The file.
        blocks
            Boxes (z, y, x) within the volume and their voxels, of the volume's type. A later one covers an earlier one.
        durable
            Whether the file is on disk, not only in the system's memory, when this returns.
        parents
            Whether its folder is made where it is missing.
        partials
            A folder on the same disk for what is not yet whole (`whole_file`).

        Returns
        -------
        str
            SHA-256 of the file, in hex.

        Raises
        ------
        TumorgenError
            The file cannot be written.
        ValueError
            A block lies outside the volume, differs in shape from its box, or has a type that the volume's cannot hold.
        """
        buffers, digest = self._variant(blocks)
        with (
            whole_file(path, durable=durable, parents=parents, partials=partials) as partial,
            partial.open("wb") as file,
        ):
            _write_all(file, buffers)
        return digest

    def digest(self, blocks: Iterable[BoxVoxels] = ()) -> str:
        """SHA-256, in hex, of the file that `write` would write; nothing is written.

        Raises
        ------
        ValueError
            As `write` says of the blocks.
        """
        return self._variant(blocks)[1]

    def _variant(self, blocks: Iterable[BoxVoxels]) -> tuple[list[bytes], str]:
        """What is written of the volume with blocks laid over it, and its SHA-256."""
        changed = self._deflate_changed(list(blocks))
        known = min(changed, default=len(self.chunks) - 1) // _HASHED
        buffers = self._file_buffers(changed)
        sha256 = self.hashed[known].copy()
        for buffer in buffers[1 + known * _HASHED :]:
            sha256.update(buffer)
        return buffers, str(sha256.hexdigest())

    def touched(self, box: Box) -> NDArray[np.intp]:
        """Numbers of the chunks that hold a voxel of a box, in order.

        A row of the box along x is a run of bytes, from one chunk to the same, the next or, where rows are long, a
        later one. Rows that begin in a chunk less those that end before it are the rows that are in it.
        """
        _, height, width = self.shape
        z, y, x = box
        if not all(shape_of(box)):
            return np.empty(0, np.intp)
        rows = np.add.outer(np.arange(z.start, z.stop) * height, np.arange(y.start, y.stop)).ravel()
        first = len(self.header) + (rows * width + x.start) * self.voxels.itemsize
        last = first + (x.stop - x.start) * self.voxels.itemsize - 1
        begin = np.bincount(first // self.chunk_bytes, minlength=len(self.chunks) + 1)
        end = np.bincount(last // self.chunk_bytes + 1, minlength=len(self.chunks) + 1)
        return np.flatnonzero(np.cumsum(begin - end))

    def _deflate_changed(self, blocks: Sequence[BoxVoxels]) -> dict[int, tuple[bytes, int]]:
        """By number, the chunks that blocks change: deflated again, and the CRC-32 of their content."""
        laid = defaultdict[int, set[int]](set)
        for number, block in enumerate(blocks):
            self._check_block(block)
            for chunk in self.touched(block[0]).tolist():
                laid[chunk].add(number)
        changed = {}
        for run in _split_runs(sorted(laid)):
            over = sorted(set().union(*(laid[chunk] for chunk in run)))
            for chunk, content in self._changed_contents(run, [blocks[number] for number in over]):
                changed[chunk] = _deflate(content), isal_zlib.crc32(content)
        return changed

    def _changed_contents(self, run: range, blocks: Sequence[BoxVoxels]) -> Iterator[tuple[int, bytes]]:
        """Chunks of a run, by number, that are not what they were once blocks are laid over the voxels in order."""
        _, height, width = self.shape
        size, row_bytes, ahead = self.chunk_bytes, width * self.voxels.itemsize, len(self.header)
        first = max(0, run.start * size - ahead) // row_bytes
        rows = self._read_rows(first, -(-(min(run.stop * size, self.size) - ahead) // row_bytes))
        changed = rows.copy()
        _lay_blocks(changed, first, height, blocks)
        before, after = (some.reshape(-1).view(np.uint8) for some in (rows, changed))
        ahead += first * row_bytes
        for chunk in run:
            piece = slice(max(0, chunk * size - ahead), min((chunk + 1) * size, self.size) - ahead)
            content = after[piece].tobytes()
            if content != before[piece].tobytes():
                yield chunk, self.header[chunk * size : (chunk + 1) * size] + content

    def _read_rows(self, first: int, last: int) -> Voxels:
        """Rows (row, x) of the volume, counted through its planes: of the planes that are held, or inflated."""
        _, height, width = self.shape
        held = self.first * height
        if held <= first and last <= held + len(self.voxels) * height:
            return self.voxels.reshape(-1, width)[first - held : last - held]
        row_bytes = width * self.voxels.itemsize
        begin, end = (len(self.header) + row * row_bytes for row in (first, last))
        chunks = range(begin // self.chunk_bytes, -(-end // self.chunk_bytes))
        content = b"".join(_inflate(chunk) for chunk in self.chunks[chunks.start : chunks.stop])
        offset = begin - chunks.start * self.chunk_bytes
        return np.frombuffer(content, self.dtype, (last - first) * width, offset).reshape(-1, width)

    def _file_buffers(self, changed: Mapping[int, tuple[bytes, int]]) -> list[bytes]:
        """The file of a variant (RFC 1952): header, chunk by chunk, end."""
        buffers = [_GZIP_HEADER, *self.chunks, _LAST_BLOCK]
        whole = self.checksum
        for number, (chunk, checksum) in changed.items():
            buffers[1 + number] = chunk
            behind = max(0, self.size - (number + 1) * self.chunk_bytes)
            whole ^= isal_zlib.crc32_combine(self.checksums[number] ^ checksum, 0, behind)
        return [*buffers, struct.pack("<II", whole, self.size & 0xFFFFFFFF)]

    def _check_block(self, block: BoxVoxels) -> None:
        """Refuse what would be cut, stretched or rounded without a word."""
        box, voxels = block
        if not all(0 <= s.start <= s.stop <= n for s, n in zip(box, self.shape, strict=True)):
            raise ValueError(f"box {box} is not within a volume of shape {self.shape}")
        if voxels.shape != shape_of(box):
            raise ValueError(f"block of shape {voxels.shape} for a box of shape {shape_of(box)}")
        if not np.can_cast(voxels.dtype, self.voxels.dtype):
            raise ValueError(f"block of {voxels.dtype} for a volume of {self.voxels.dtype}")


def _lay_blocks(rows: Voxels, first: int, height: int, blocks: Sequence[BoxVoxels]) -> None:
    """Lay blocks over some rows (row, x) of a volume, counted from `first` through its planes of a height."""
    last = first + len(rows)
    for (of_z, of_y, of_x), block in blocks:
        for z in range(max(of_z.start, first // height), min(of_z.stop, -(-last // height))):
            start, stop = max(of_y.start, first - z * height), min(of_y.stop, last - z * height)
            if start < stop:
                begin = z * height - first
                laid = block[z - of_z.start, start - of_y.start : stop - of_y.start]
                rows[begin + start : begin + stop, of_x] = laid


def _split_runs(numbers: Sequence[int]) -> Iterator[range]:
    """Rising numbers as runs without a gap."""
    edges = [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]
    for a, b in pairwise([0, *edges, len(numbers)]):
        if a < b:
            yield range(numbers[a], numbers[b - 1] + 1)


def _deflate(content: bytes | memoryview) -> bytes:
    """Deflate a chunk by itself, ended so that another can follow."""
    compressor = isal_zlib.compressobj(DEFLATE_LEVEL, isal_zlib.DEFLATED, _RAW)
    compressed: bytes = compressor.compress(content) + compressor.flush(isal_zlib.Z_FULL_FLUSH)
    return compressed


def _inflate(chunk: bytes) -> bytes:
    """What was deflated."""
    content: bytes = isal_zlib.decompressobj(_RAW).decompress(chunk)
    return content


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
