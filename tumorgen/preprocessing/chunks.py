"""Blosc2 files that share most of their voxels, written for the price of what differs.

nnU-Net keeps cases in Blosc2 arrays (`.b2nd`): chunks of up to 6 MB, each of blocks of up to 128 KB that are compressed
one by one. A variant takes over the chunks of the healthy case as they are. In a chunk that it changes, only the blocks
that it changes are compressed again, all of them together, with the parameters that nnU-Net has chosen for the healthy
case, decompressed and compared; the others are copied, compressed as they are.

The layout of a chunk is Blosc2's (github.com/Blosc/c-blosc2: README_CHUNK_FORMAT.rst): 32 bytes of header, the place of
each block, and the blocks.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import Box, Index, as_not_written, paste, whole_file
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

    def write(self, path: Path, cells: Sequence[Laid]) -> None:
        """Write the array with other voxels in some of its blocks; the file appears whole or not at all.

        Parameters
        ----------
        path
            The file.
        cells
            Boxes of blocks, as `cells` gives them, each once, and what is in them.

        Raises
        ------
        TumorgenError
            The file cannot be written, or Blosc2 does not give back what it was given.
        """
        changed = {number: self._changed(number, blocks) for number, blocks in self._by_chunk(cells).items()}
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
        for chunk in _cells(box, self.chunk):
            start = [i * c for i, c in zip(chunk, self.chunk, strict=True)]
            ends = [min(a + c, n) for a, c, n in zip(start, self.chunk, self.shape, strict=True)]
            here = [slice(max(0, s.start - a), min(s.stop, e) - a) for s, a, e in zip(box, start, ends, strict=True)]
            for block in _cells(here, self.block):
                corner = [a + i * b for a, i, b in zip(start, block, self.block, strict=True)]
                z, y, x = (slice(a, min(a + b, e)) for a, b, e in zip(corner, self.block, ends, strict=True))
                yield z, y, x

    def lay(self, before: NDArray[Any], laid: Iterable[Laid]) -> list[Laid]:
        """The cells that change where boxes are laid over the voxels that the array holds, and what is in them."""
        found: dict[Index, Laid] = {}
        for box, new in laid:
            for cell in self.cells(box):
                corner = cell[0].start, cell[1].start, cell[2].start
                _, voxels = found.setdefault(corner, (cell, before[cell].copy()))
                paste(voxels, cell, new, box)
        return [(cell, voxels) for cell, voxels in found.values() if (voxels != before[cell]).any()]

    def _by_chunk(self, cells: Iterable[Laid]) -> dict[int, dict[int, NDArray[Any]]]:
        """By number of the chunk: by place in it, what is in a cell."""
        chunks = [-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True)]
        blocks = [-(-c // b) for c, b in zip(self.chunk, self.block, strict=True)]
        found: dict[int, dict[int, NDArray[Any]]] = {}
        for cell, values in cells:
            chunk, inside = zip(*(divmod(s.start, c) for s, c in zip(cell, self.chunk, strict=True)), strict=True)
            block = [i // b for i, b in zip(inside, self.block, strict=True)]
            place = int(np.ravel_multi_index(block, blocks))
            found.setdefault(int(np.ravel_multi_index(chunk, chunks)), {})[place] = values
        return found

    def _changed(self, number: int, blocks: Mapping[int, NDArray[Any]]) -> bytes:
        """A chunk with other voxels in some of its blocks, compressed."""
        places = sorted(blocks)
        content = np.zeros((len(places), *self.block), self.dtype)  # beyond the end of chunk or array, too
        for block, place in zip(content, places, strict=True):
            z, y, x = blocks[place].shape
            block[:z, :y, :x] = blocks[place]
        packed = self._packed(content)
        if np.array_equal(_content_of(packed), _bytes_of(content)):
            spliced = _splice(self.chunks[number], packed, places)
            if spliced is not None:
                return spliced
        whole = _content_of(self.chunks[number]).view(self.dtype).reshape(-1, *self.block).copy()
        whole[places] = content
        packed = self._packed(whole)
        if not np.array_equal(_content_of(packed), _bytes_of(whole)):
            raise TumorgenError("Blosc2 does not give back what it was given; is the memory of this machine sound?")
        return packed

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


def _content_of(chunk: bytes) -> NDArray[np.uint8]:
    return _bytes_of(blosc2.decompress2(chunk, nthreads=1))


def _ordered(chunk: bytes) -> bytes:
    """The same chunk, its blocks in order: threads may have put them where they liked, other ones each time.

    Where blocks were in order it comes out as it is, and where not it is compared: that chunks are laid out as it is
    thought here is seen for each.
    """
    ordered = _splice(chunk, chunk, ())
    if ordered is None or not (ordered == chunk or np.array_equal(_content_of(ordered), _content_of(chunk))):
        return chunk
    return ordered


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
