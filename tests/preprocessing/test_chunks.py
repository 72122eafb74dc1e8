"""Blosc2 files of variants: read by nnU-Net's own class, and equal to what they are to hold."""

from __future__ import annotations

from pathlib import Path

import blosc2
import numpy as np
import pytest
from limits import files_of_at_most
from scipy import ndimage

from tumorgen.errors import TumorgenError
from tumorgen.preprocessing import chunks
from tumorgen.preprocessing.chunks import ChunkedArray

PATCHES = {"3d": ((40, 50, 61), (24, 32, 32)), "2d": ((12, 50, 61), (50, 61))}
TUMORS = [
    (slice(3, 12), slice(8, 20), slice(30, 61)),
    (slice(8, 12), slice(15, 50), slice(25, 40)),
    (slice(0, 1), slice(0, 1), slice(0, 1)),
]


@pytest.fixture(params=list(PATCHES), scope="module")
def case(request, tmp_path_factory):
    """A case as nnU-Net writes it: its image, its labels, and the path of its files without their ends."""
    from tumorgen.preprocessing.nnunet import save_whole

    shape, patch = PATCHES[request.param]
    image = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(shape), 1).astype(np.float32)
    labels = (image > 0).astype(np.int8)
    target = tmp_path_factory.mktemp("case") / "healthy"
    save_whole(image, labels, {"spacing": [1, 1, 1]}, target, patch)
    return image, labels, target


def read_back(path: Path) -> np.ndarray:
    return blosc2.open(str(path), mode="r", mmap_mode="r")[:][0]  # as nnU-Net opens it


def laid_on(voxels: np.ndarray, value) -> tuple[np.ndarray, list]:
    changed = voxels.copy()
    for box in TUMORS:
        changed[box] = value if np.isscalar(value) else value[box]
    return changed, [(box, changed[box].copy()) for box in TUMORS]


def test_a_variant_holds_what_was_laid_over_the_healthy_case(case, tmp_path):
    image, labels, target = case
    for end, voxels, value in ((".b2nd", image, np.flip(image).copy()), ("_seg.b2nd", labels.astype(np.int16), 2)):
        healthy = ChunkedArray.read(target.with_name(target.name + end))
        expected, laid = laid_on(voxels, value)
        healthy.write(tmp_path / f"case{end}", healthy.lay(voxels, laid))
        found = read_back(tmp_path / f"case{end}")
        assert found.dtype == expected.dtype
        assert (found == expected).all()


def test_nothing_laid_over_it_is_the_healthy_case(case, tmp_path):
    image, _, target = case
    healthy = ChunkedArray.read(target.with_name(f"{target.name}.b2nd"))
    healthy.write(tmp_path / "case.b2nd", [])
    assert (read_back(tmp_path / "case.b2nd") == image).all()
    sizes = [path.stat().st_size for path in (tmp_path / "case.b2nd", target.with_name(f"{target.name}.b2nd"))]
    assert sizes[0] <= 1.01 * sizes[1] + 100


def test_only_blocks_that_change_are_compressed_again(case, tmp_path, monkeypatch):
    image, _, target = case
    healthy = ChunkedArray.read(target.with_name(f"{target.name}.b2nd"))
    packed = []
    compress = blosc2.compress2
    monkeypatch.setattr(
        chunks.blosc2, "compress2", lambda data, **how: packed.append(len(data)) or compress(data, **how)
    )
    _, laid = laid_on(image, np.flip(image).copy())
    healthy.write(tmp_path / "case.b2nd", healthy.lay(image, laid[-1:]))
    assert packed == [int(np.prod(healthy.block)) * 4]


def test_blocks_that_stay_the_same_are_no_cells_that_change(case):
    image, _, target = case
    healthy = ChunkedArray.read(target.with_name(f"{target.name}.b2nd"))
    _, laid = laid_on(image, np.flip(image).copy())
    same = [(box, image[box]) for box, _ in laid]
    assert healthy.lay(image, same) == []
    cells = healthy.lay(image, [*same, laid[-1]])
    assert len(cells) == 1
    assert (cells[0][1] != image[cells[0][0]]).sum() == 1


def test_what_is_not_what_was_compressed_is_compressed_with_its_chunk(case, tmp_path, monkeypatch):
    """Each block is decompressed and compared before it takes another's place."""
    image, _, target = case
    healthy = ChunkedArray.read(target.with_name(f"{target.name}.b2nd"))
    expected, laid = laid_on(image, np.flip(image).copy())
    compress, blocks = blosc2.compress2, []

    def compress_wrongly_at_first(content, **how):
        blocks.append(len(content))
        return compress(content if len(blocks) % 2 == 0 else np.zeros_like(content), **how)

    monkeypatch.setattr(chunks.blosc2, "compress2", compress_wrongly_at_first)
    healthy.write(tmp_path / "case.b2nd", healthy.lay(image, laid))
    assert (read_back(tmp_path / "case.b2nd") == expected).all()


def test_what_is_never_what_was_compressed_is_not_written(case, tmp_path, monkeypatch):
    image, _, target = case
    healthy = ChunkedArray.read(target.with_name(f"{target.name}.b2nd"))
    _, laid = laid_on(image, np.flip(image).copy())
    compress = blosc2.compress2
    monkeypatch.setattr(chunks.blosc2, "compress2", lambda content, **how: compress(np.zeros_like(content), **how))
    with pytest.raises(TumorgenError, match="does not give back what it was given"):
        healthy.write(tmp_path / "case.b2nd", healthy.lay(image, laid))
    assert not [*tmp_path.iterdir()]


def test_blocks_that_threads_put_in_any_order_are_put_in_order(case):
    _, _, target = case
    chunk = ChunkedArray.read(target.with_name(f"{target.name}.b2nd")).chunks[0]
    blocks = chunks._blocks_of(chunk)
    starts, at = [0] * len(blocks), chunks._HEADER + 4 * len(blocks)
    for number in reversed(range(len(blocks))):
        starts[number], at = at, at + len(blocks[number])
    table = np.array(starts, "<i4").tobytes()
    mixed = b"".join([chunk[: chunks._HEADER], table, *reversed(blocks)])
    assert (mixed != chunk) == (len(blocks) > 1)
    assert blosc2.decompress2(mixed) == blosc2.decompress2(chunk)
    assert chunks._ordered(mixed) == chunk


def test_blocks_that_cannot_be_put_in_as_they_are_have_their_chunk_compressed_whole(case, tmp_path, monkeypatch):
    """A chunk of one value throughout has no blocks, for one."""
    image, _, target = case
    healthy = ChunkedArray.read(target.with_name(f"{target.name}.b2nd"))
    whole = tuple(slice(0, n) for n in image.shape)
    healthy.write(tmp_path / "flat.b2nd", healthy.lay(image, [(whole, np.zeros_like(image))]))
    assert not read_back(tmp_path / "flat.b2nd").any()
    expected, laid = laid_on(image, np.flip(image).copy())
    monkeypatch.setattr(chunks, "_splice", lambda *_: None)
    healthy.write(tmp_path / "case.b2nd", healthy.lay(image, laid))
    assert (read_back(tmp_path / "case.b2nd") == expected).all()


def test_a_case_that_cannot_be_written_is_not_there_and_the_line_names_it(case, tmp_path):
    """blosc2 says nothing of the disk."""
    from tumorgen.preprocessing.nnunet import save_whole

    image, labels, target = case
    healthy = ChunkedArray.read(target.with_name(f"{target.name}.b2nd"))
    for most in (0, 5000):
        with files_of_at_most(most):
            with pytest.raises(TumorgenError, match=r"a\.b2nd: cannot be written \(File too large\)"):
                healthy.write(tmp_path / "a.b2nd", [])
            assert not [*tmp_path.iterdir()]
            with pytest.raises(TumorgenError, match=r"whole: cannot be written \(File too large\)"):
                save_whole(image, labels, {}, tmp_path / "whole", PATCHES["3d"][1])
        for path in tmp_path.iterdir():
            path.unlink()
