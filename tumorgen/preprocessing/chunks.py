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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import Box, Index, as_not_written, overlap, whole_file
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
        changed = {number: self._changed(number, mine) for number, mine in self._by_chunk(laid).items()}
        with whole_file(path, durable=False, parents=False) as partial, as_not_written(path, partial):
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

    def cells(self, box: Box) -> Iterator[Box]:
        """The boxes of the blocks that a box lies in; blocks end with their chunk, and with the array."""
        return (cell for _, _, cell in self._blocks(box))

    def _blocks(self, box: Box) -> Iterator[tuple[int, int, Box]]:
        """The blocks that a box lies in: number of the chunk, place in it, and box."""
        chunks = [-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True)]
        blocks = [-(-c // b) for c, b in zip(self.chunk, self.block, strict=True)]
        for chunk in _cells(box, self.chunk):
            start = [i * c for i, c in zip(chunk, self.chunk, strict=True)]
            ends = [min(a + c, n) for a, c, n in zip(start, self.chunk, self.shape, strict=True)]
            here = [slice(max(0, s.start - a), min(s.stop, e) - a) for s, a, e in zip(box, start, ends, strict=True)]
            for block in _cells(here, self.block):
                corner = [a + i * b for a, i, b in zip(start, block, self.block, strict=True)]
                z, y, x = (slice(a, min(a + b, e)) for a, b, e in zip(corner, self.block, ends, strict=True))
                yield int(np.ravel_multi_index(chunk, chunks)), int(np.ravel_multi_index(block, blocks)), (z, y, x)

    def _by_chunk(self, laid: Iterable[Laid]) -> dict[int, list[tuple[int, Box, NDArray[Any]]]]:
        """By number of the chunk: places of blocks, boxes in these, and what is laid there."""
        found: dict[int, list[tuple[int, Box, NDArray[Any]]]] = {}
        for box, values in laid:
            for number, place, cell in self._blocks(box):
                windows = overlap(cell, box)
                if windows:
                    found.setdefault(number, []).append((place, windows[0], values[windows[1]]))
        return found

    def _changed(self, number: int, laid: Sequence[tuple[int, Box, NDArray[Any]]]) -> bytes:
        """A chunk with boxes laid over some of its blocks, compressed."""
        plain = np.frombuffer(blosc2.decompress2(self.chunks[number]), self.dtype)
        content = plain.reshape(-1, *self.block).copy()
        touched = set()
        for place, box, values in laid:
            if (content[place][box] != values).any():
                content[place][box] = values
                touched.add(place)
        return self._compress(number, content, sorted(touched)) if touched else self.chunks[number]

    def _compress(self, number: int, content: NDArray[Any], touched: Sequence[int]) -> bytes:
        """A chunk of blocks, of which some are not those of the healthy case."""
        spliced = _splice(self.chunks[number], self._packed(content[list(touched)]), touched)
        if spliced is not None and np.array_equal(_bytes_of(blosc2.decompress2(spliced)), _bytes_of(content)):
            return spliced
        return self._packed(content)

    def _packed(self, content: NDArray[Any]) -> bytes:
        blocksize = math.prod(self.block) * self.dtype.itemsize
        parameters = self.parameters
        packed: bytes = blosc2.compress2(
            _bytes_of(content),
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


def _bytes_of(content: Any) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)


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
    stops = ends[np.searchsorted(ends, starts, side="right")]
    return [chunk[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]


def _cells(box: Sequence[slice], size: Index) -> Iterable[tuple[int, ...]]:
    """Indices of the cells of a grid that a box lies in."""
    return product(*(range(s.start // n, -(-s.stop // n)) for s, n in zip(box, size, strict=True)))
