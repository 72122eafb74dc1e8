"""Blosc2 files that share most of their voxels, written for the price of what differs.

nnU-Net keeps cases in Blosc2 arrays (`.b2nd`): chunks of up to 6 MB, each of blocks of up to 128 KB that are compressed
one by one. A variant takes over the chunks of the healthy case as they are. In a chunk that it changes, only the blocks
that it changes are compressed again, all of them together, with the parameters that nnU-Net has chosen for the healthy
case; the others are copied, compressed as they are. The chunk is then decompressed and compared before it is written.

The layout of a chunk is Blosc2's (github.com/Blosc/c-blosc2: README_CHUNK_FORMAT.rst): 32 bytes of header, the place of
each block, and the blocks.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import Box, Index, overlap, whole_file
from .cases import Laid

_HEADER = 32  # bytes
_CBYTES = slice(12, 16)  # where the header says how long the chunk is
_FLAGS, _FLAGS_2 = 2, 31
_COPIED = 0x02  # flag: not compressed
_SPECIAL = 0x71  # flags: a dictionary, or one value throughout


@dataclass(frozen=True, slots=True, eq=False)
class ChunkedArray:
    """A case's image or label map (1, z, y, x) as nnU-Net's writer has compressed it.

    Attributes
    ----------
    shape, chunk, block
        Voxels (z, y, x) of the whole, of a chunk and of a block.
    dtype
        Of the voxels.
    parameters
        Blosc2's parameters of compression.
    chunks
        The chunks, compressed.
    """

    shape: Index
    chunk: Index
    block: Index
    dtype: np.dtype[Any]
    parameters: Any
    chunks: tuple[bytes, ...]

    @classmethod
    def read(cls, path: Path) -> ChunkedArray:
        """Read a file that nnU-Net's writer has written.

        Raises
        ------
        TumorgenError
            It cannot be read.
        """
        try:
            array = blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
            shape, chunk, block = (
                tuple(int(n) for n in some[1:]) for some in (array.shape, array.chunks, array.blocks)
            )
            parameters = array.cparams
            parameters.nthreads = 1
            chunks = tuple(_ordered(array.schunk.get_chunk(number)) for number in range(array.schunk.nchunks))
        except (RuntimeError, OSError, ValueError, AttributeError) as error:
            raise TumorgenError(f"{path}: cannot be read ({error})") from error
        return cls(shape, chunk, block, array.dtype, parameters, chunks)  # type: ignore[arg-type]

    @property
    def nbytes(self) -> int:
        """Bytes of all chunks."""
        return sum(map(len, self.chunks))

    def write(self, path: Path, laid: Sequence[Laid]) -> None:
        """Write the array with boxes (z, y, x) laid over it; the file appears whole or not at all.

        Where boxes overlap, they hold the same.

        Raises
        ------
        TumorgenError
            The file cannot be written.
        """
        changed = {number: self._changed(number, mine) for number, mine in self._touched(laid).items()}
        with whole_file(path, durable=False, parents=False) as partial:
            array = blosc2.empty(
                (1, *self.shape),
                dtype=self.dtype,
                chunks=(1, *self.chunk),
                blocks=(1, *self.block),
                cparams=self.parameters,
                urlpath=str(partial),
                mode="w",
            )
            for number, chunk in enumerate(self.chunks):
                array.schunk.update_chunk(number, changed.get(number, chunk))

    def _touched(self, laid: Iterable[Laid]) -> dict[int, list[Laid]]:
        """By number of the chunk, the boxes that lie in it."""
        grid = [-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True)]
        found: dict[int, list[Laid]] = {}
        for box, values in laid:
            for index in _cells(box, self.chunk):
                number = int(np.ravel_multi_index(index, grid))
                found.setdefault(number, []).append((box, values))
        return found

    def _changed(self, number: int, laid: Sequence[Laid]) -> bytes:
        """A chunk with boxes laid over it, compressed."""
        grid = [-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True)]
        start = [int(i) * c for i, c in zip(np.unravel_index(number, grid), self.chunk, strict=True)]
        blocks = [-(-c // b) for c, b in zip(self.chunk, self.block, strict=True)]
        plain = np.frombuffer(blosc2.decompress2(self.chunks[number]), self.dtype)
        content = plain.reshape(-1, *self.block).copy()
        touched = set()
        for box, values in laid:
            here = _within(box, start, self.chunk)
            for index in _cells(here, self.block):
                place = int(np.ravel_multi_index(index, blocks))
                corner = [s + int(i) * b for s, i, b in zip(start, index, self.block, strict=True)]
                cell = _box_at(corner, _clipped(start, self.chunk, corner, self.block))
                windows = overlap(cell, box)
                if windows:
                    content[place][windows[0]] = values[windows[1]]
                    touched.add(place)
        return self._compress(number, content, sorted(touched))

    def _compress(self, number: int, content: NDArray[Any], touched: Sequence[int]) -> bytes:
        """A chunk of blocks, of which some are not those of the healthy case."""
        wanted = content.tobytes()
        spliced = _splice(self.chunks[number], self._packed(content[list(touched)].tobytes()), touched)
        if spliced is not None and blosc2.decompress2(spliced) == wanted:
            return spliced
        return self._packed(wanted)

    def _packed(self, content: bytes) -> bytes:
        blocksize = math.prod(self.block) * self.dtype.itemsize
        parameters = self.parameters
        packed: bytes = blosc2.compress2(
            content,
            typesize=self.dtype.itemsize,
            codec=parameters.codec,
            clevel=parameters.clevel,
            filters=parameters.filters,
            filters_meta=parameters.filters_meta,
            splitmode=parameters.splitmode,
            blocksize=blocksize,
            nthreads=1,
        )
        return packed


def _ordered(chunk: bytes) -> bytes:
    """The same chunk, its blocks in order: nnU-Net's writer lets threads put them where they like, anew each time."""
    return _splice(chunk, chunk, ()) or chunk


def _splice(chunk: bytes, packed: bytes, places: Sequence[int]) -> bytes | None:
    """A chunk in which some blocks are those of another; None where the two are not made alike."""
    alike = chunk[:4] == packed[:4] and chunk[8:12] == packed[8:12] and chunk[16:31] == packed[16:31]
    plain = all(not some[_FLAGS] & _COPIED and not some[_FLAGS_2] & _SPECIAL for some in (chunk, packed))
    if not (alike and plain):
        return None
    blocks = _blocks_of(chunk)
    for place, block in zip(places, _blocks_of(packed) if places else (), strict=True):
        blocks[place] = block
    first = _HEADER + 4 * len(blocks)
    starts = np.cumsum([first, *(len(block) for block in blocks)])
    header = bytearray(chunk[:_HEADER])
    header[_CBYTES] = struct.pack("<i", int(starts[-1]))
    return b"".join([bytes(header), starts[:-1].astype("<i4").tobytes(), *blocks])


def _blocks_of(chunk: bytes) -> list[bytes]:
    """The compressed blocks of a chunk, in the order of their contents; in the file they may lie in another."""
    nbytes, blocksize, cbytes = struct.unpack("<iii", chunk[4:16])
    starts = np.frombuffer(chunk, "<i4", -(-nbytes // blocksize), _HEADER)
    ends = np.append(np.sort(starts), cbytes)
    return [chunk[start : ends[np.searchsorted(ends, start, side="right")]] for start in starts]


def _cells(box: Box, size: Index) -> Iterable[tuple[int, ...]]:
    """Indices of the cells of a grid that a box lies in."""
    return product(*(range(s.start // n, -(-s.stop // n)) for s, n in zip(box, size, strict=True)))


def _within(box: Box, start: Sequence[int], size: Index) -> Box:
    """The part of a box in a cell, from the corner of the cell."""
    z, y, x = (slice(max(0, s.start - a), max(0, min(n, s.stop - a))) for s, a, n in zip(box, start, size, strict=True))
    return z, y, x


def _box_at(corner: Sequence[int], size: Sequence[int]) -> Box:
    z, y, x = (slice(a, a + n) for a, n in zip(corner, size, strict=True))
    return z, y, x


def _clipped(start: Sequence[int], chunk: Index, corner: Sequence[int], block: Index) -> list[int]:
    """Voxels of a block that are in its chunk: the blocks at its end are filled up."""
    return [min(b, s + c - k) for s, c, k, b in zip(start, chunk, corner, block, strict=True)]
