"""Files written by chunks are the files that SimpleITK and gzip would have written, for the price of what differs."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import pickle
import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib
from limits import files_of_at_most
from nifti_files import by_simpleitk
from scipy.spatial.transform import Rotation

from tumorgen.errors import TumorgenError
from tumorgen.imaging import patched_gzip
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.nifti import nifti_header
from tumorgen.imaging.patched_gzip import CHUNK, ChunkedVolume

TYPES = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
ROTATION = tuple(Rotation.from_euler("xyz", [10, -20, 30], degrees=True).as_matrix().ravel())


def volume(shape=(9, 70, 80), dtype="int16", seed=0, **place) -> Volume:
    """Noise on a grid; by default of a bit more than three chunks."""
    place = {"spacing_mm": (1.5, 0.75, 0.75), "origin_mm": (-190.3, -180.7, 33.3)} | place
    voxels = np.random.default_rng(seed).normal(100, 15, shape).astype(dtype)
    return Volume(voxels, Geometry(shape, **place))


def box_of(*bounds: tuple[int, int]):
    return tuple(slice(*b) for b in bounds)


def block_of(source: Volume, box, seed=1):
    """A box and new voxels for it."""
    shape = tuple(s.stop - s.start for s in box)
    return box, np.random.default_rng(seed).integers(0, 100, shape).astype(source.array.dtype)


def laid_over(source: Volume, blocks) -> Volume:
    """The straightforward way: a whole copy, blocks pasted in order."""
    voxels = source.array.copy()
    for box, block in blocks:
        voxels[box] = block
    return Volume(voxels, source.geometry)


@st.composite
def volumes(draw, max_shape=(9, 12, 14)):
    shape = tuple(draw(st.integers(1, n)) for n in max_shape)
    spacing_mm = tuple(draw(st.floats(0.1, 9)) for _ in shape)
    origin_mm = tuple(draw(st.floats(-500, 500)) for _ in shape)
    angles = [draw(st.sampled_from([0, 0, 12.3, 90])) for _ in shape]
    flips = np.diag([draw(st.sampled_from([1.0, -1.0])) for _ in shape])
    direction = tuple((Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ flips).ravel())
    place = {"spacing_mm": spacing_mm, "origin_mm": origin_mm, "direction": direction}
    return volume(shape, draw(st.sampled_from(TYPES)), **place)


@st.composite
def boxes(draw, shape):
    """Boxes of a volume: a voxel, a row, nothing, everything and all between."""
    bounds = [sorted((draw(st.integers(0, n)), draw(st.integers(0, n)))) for n in shape]
    return box_of(*bounds)


@st.composite
def variants(draw):
    source = draw(volumes())
    found = draw(st.lists(boxes(source.array.shape), max_size=4))
    return source, [block_of(source, box, seed) for seed, box in enumerate(found)]


# What is written


@settings(max_examples=200)
@given(variants(), st.sampled_from([32, 100, 352, 1000, CHUNK]))
def test_content_is_what_simpleitk_would_have_written(variant, chunk_bytes):
    source, blocks = variant
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "variant.nii.gz"
        ChunkedVolume.from_volume(source, chunk_bytes).write(path, blocks)
        assert gzip.decompress(path.read_bytes()) == by_simpleitk(laid_over(source, blocks), path.parent)


@pytest.mark.parametrize(
    "bounds",
    [
        [],
        [((0, 1), (0, 1), (0, 1))],  # the first voxel, in the chunk of the header
        [((8, 9), (69, 70), (79, 80))],  # the last, in a chunk that is not full
        [((2, 3), (62, 63), (47, 49))],  # two voxels, one on either side of a chunk's end
        [((2, 3), (62, 63), (0, 48))],  # up to that end (of int16)
        [((2, 3), (62, 63), (48, 80))],  # from it on
        [((0, 9), (0, 70), (0, 80))],  # everything
        [((2, 6), (10, 60), (10, 60)), ((4, 8), (30, 70), (0, 40)), ((2, 3), (62, 63), (47, 49))],  # overlapping
    ],
    ids=["none", "first", "last", "astride", "before", "behind", "all", "overlapping"],
)
@pytest.mark.parametrize("dtype", ["int16", "float32", "uint8"])
def test_boxes_at_the_ends_of_chunks(tmp_path, bounds, dtype):
    source = volume(dtype=dtype)
    blocks = [block_of(source, box_of(*b), seed) for seed, b in enumerate(bounds)]
    ChunkedVolume.from_volume(source).write(tmp_path / "variant.nii.gz", blocks)
    content = gzip.decompress((tmp_path / "variant.nii.gz").read_bytes())
    assert content == by_simpleitk(laid_over(source, blocks), tmp_path)


def test_those_boxes_do_lie_at_the_end_of_a_chunk():
    source = ChunkedVolume.from_volume(volume(dtype="int16"))
    assert CHUNK == 352 + 2 * ((2 * 70 + 62) * 80 + 48)
    assert source.touched(box_of((2, 3), (62, 63), (47, 48))).tolist() == [0]
    assert source.touched(box_of((2, 3), (62, 63), (48, 49))).tolist() == [1]


@pytest.mark.parametrize("chunks", [1, 2, 3])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_volumes_that_end_where_a_chunk_does(tmp_path, chunks, beyond):
    source = volume((4, 5, 8), "uint8")  # with its header 512 bytes
    blocks = [block_of(source, box_of((3, 4), (4, 5), (7, 8)))]
    chunked = ChunkedVolume.from_volume(source, 512 // chunks + beyond)
    chunked.write(tmp_path / "variant.nii.gz", blocks)
    content = gzip.decompress((tmp_path / "variant.nii.gz").read_bytes())
    assert content == by_simpleitk(laid_over(source, blocks), tmp_path)


@pytest.mark.parametrize("direction", [ROTATION, (-1, 0, 0, 0, -1, 0, 0, 0, 1), (1, 0, 0, 0, 1, 0, 0, 0, -1)])
@pytest.mark.parametrize("dtype", TYPES)
def test_header_is_simpleitks_own(tmp_path, dtype, direction):
    source = volume((3, 300, 5), dtype, direction=tuple(map(float, direction)))
    header = nifti_header(source.geometry, source.array)
    assert header + source.array.tobytes() == by_simpleitk(source, tmp_path)


# What readers make of it


@pytest.fixture(params=[("int16", ROTATION), ("uint8", (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))], ids=["image", "label"])
def written(request, tmp_path):
    """A variant, and its file."""
    dtype, direction = request.param
    source = volume(dtype=dtype, direction=direction)
    blocks = [block_of(source, box_of((2, 7), (10, 60), (10, 60)))]
    ChunkedVolume.from_volume(source).write(tmp_path / "variant_0000.nii.gz", blocks)
    return laid_over(source, blocks), tmp_path / "variant_0000.nii.gz"


def test_simpleitk_reads_it_as_its_own(written, tmp_path):
    variant, path = written
    sitk.WriteImage(to_image(variant), str(tmp_path / "own.nii.gz"), useCompression=True)
    ours, own = sitk.ReadImage(str(path)), sitk.ReadImage(str(tmp_path / "own.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ours), variant.array)
    for what in ("GetPixelID", "GetSize", "GetSpacing", "GetOrigin", "GetDirection", "GetMetaDataKeys"):
        assert getattr(ours, what)() == getattr(own, what)()
    assert [ours.GetMetaData(k) for k in ours.GetMetaDataKeys()] == [own.GetMetaData(k) for k in own.GetMetaDataKeys()]


def test_nibabel_reads_it(written):
    variant, path = written
    image = nib.load(path)
    assert image.get_data_dtype() == variant.array.dtype
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj).T, variant.array)


def test_nnunets_own_reader_reads_it(written):
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    variant, path = written
    image, properties = SimpleITKIO().read_images([str(path)])
    np.testing.assert_array_equal(image[0], variant.array.astype(np.float32))
    np.testing.assert_allclose(properties["spacing"], variant.geometry.spacing_mm, rtol=1e-6)  # float32 in the header


@pytest.mark.skipif(shutil.which("gzip") is None, reason="no gzip here")
def test_gzip_finds_no_fault(written):
    assert subprocess.run(["gzip", "-tv", written[1]], capture_output=True, check=True, text=True).stderr.endswith(
        "OK\n"
    )


def test_is_one_member_with_neither_name_nor_time(written):
    data = written[1].read_bytes()
    inflate = zlib.decompressobj(wbits=31)  # one gzip member; it checks CRC-32 and length
    inflate.decompress(data)
    assert inflate.eof
    assert inflate.unused_data == b""
    assert data[:10] == b"\x1f\x8b\x08" + bytes(6) + b"\xff"


@pytest.mark.parametrize("z", [None, 0, 33, 34, 67, 99])
def test_hash_is_the_files_wherever_it_begins_to_differ(tmp_path, z):
    """The states of the hash that are kept, every 32 chunks, are here every 33 planes or so."""
    source = volume((100, 10, 10), "uint8")
    blocks = [] if z is None else [block_of(source, box_of((z, z + 1), (3, 4), (3, 4)))]
    chunked = ChunkedVolume.from_volume(source, 103)
    assert len(chunked.hashed) == 4
    for written in (chunked, pickle.loads(pickle.dumps(chunked))):
        sha256 = written.write(tmp_path / "a.nii.gz", blocks)
        assert sha256 == hashlib.sha256((tmp_path / "a.nii.gz").read_bytes()).hexdigest()


def test_beyond_4_gib_the_length_is_given_modulo_2_to_the_32(tmp_path):
    """5 GiB of zeros that are nowhere in memory: all chunks are the same, but for the last."""
    voxels = np.broadcast_to(np.uint8(0), (5, 32767, 32768))
    full, rest = bytes(CHUNK), bytes((352 + voxels.nbytes) % CHUNK)
    pieces = [full] * ((352 + voxels.nbytes) // CHUNK) + [rest]
    deflated = {piece: (patched_gzip._deflate(piece), zlib.crc32(piece)) for piece in (full, rest)}
    chunks, checksums = zip(*(deflated[piece] for piece in pieces), strict=True)
    source = ChunkedVolume(bytes(352), voxels, chunks, checksums, CHUNK, voxels.shape)
    assert source.size > 2**32
    source.write(tmp_path / "zeros.nii.gz")
    crc = 0
    for piece in pieces:
        crc = isal_zlib.crc32(piece, crc)
    assert (tmp_path / "zeros.nii.gz").read_bytes()[-8:] == struct.pack("<II", crc, source.size % 2**32)


@pytest.mark.parametrize("chunk_bytes", [32, 1000, CHUNK])
def test_checksum_is_that_of_header_and_voxels(chunk_bytes):
    source = volume()
    chunked = ChunkedVolume.from_volume(source, chunk_bytes)
    content = chunked.header + source.array.tobytes()
    assert chunked.checksum == zlib.crc32(content)
    by_chunk = [zlib.crc32(content[at : at + chunk_bytes]) for at in range(0, len(content), chunk_bytes)]
    assert list(chunked.checksums) == by_chunk


def test_each_chunk_inflates_by_itself(tmp_path):
    source = volume()
    chunks = ChunkedVolume.from_volume(source, 4096).chunks
    content = [zlib.decompressobj(wbits=-15).decompress(chunk) for chunk in chunks]
    assert {len(piece) for piece in content[:-1]} == {4096}
    assert b"".join(content) == by_simpleitk(source, tmp_path)


# What it costs


@settings(max_examples=200)
@given(st.data(), st.sampled_from([32, 100, 352, 1000]))
def test_touched_chunks_are_those_that_hold_a_voxel_of_the_box(data, chunk_bytes):
    source = data.draw(volumes())
    box = data.draw(boxes(source.array.shape))
    chunked = ChunkedVolume.from_volume(source, chunk_bytes)
    inside = np.zeros(source.array.shape, bool)
    inside[box] = True
    held = np.flatnonzero(np.repeat(inside.ravel(), source.array.itemsize)) + len(chunked.header)
    assert chunked.touched(box).tolist() == np.unique(held // chunk_bytes).tolist()


def test_only_touched_chunks_are_deflated_again(monkeypatch, tmp_path):
    source = volume((40, 70, 80))
    chunked = ChunkedVolume.from_volume(source)
    deflated = []
    monkeypatch.setattr(patched_gzip, "_deflate", lambda content: deflated.append(content) or b"")
    chunked.write(tmp_path / "same.nii.gz")
    assert len(deflated) == 0
    one = box_of((20, 21), (20, 21), (20, 21))
    chunked.write(tmp_path / "voxel.nii.gz", [block_of(source, one), block_of(source, one)])
    assert len(deflated) == 1
    whole = box_of((0, 40), (0, 70), (0, 80))
    chunked.write(tmp_path / "equal.nii.gz", [(whole, source.array)])
    back = box_of((20, 21), (20, 21), (20, 21))
    chunked.write(tmp_path / "back.nii.gz", [block_of(source, one), (back, source.array[back])])
    assert len(deflated) == 1


def test_voxels_are_shared_not_copied():
    source = volume()
    chunked = ChunkedVolume.from_volume(source)
    assert np.shares_memory(chunked.voxels, source.array)
    mask = Volume(source.array > 100, source.geometry)
    assert np.shares_memory(ChunkedVolume.from_volume(mask).voxels, mask.array)


def test_memory_is_stated():
    source = volume()
    chunked = ChunkedVolume.from_volume(source)
    assert chunked.nbytes == 352 + source.array.nbytes + sum(len(chunk) for chunk in chunked.chunks)


# What it does not depend on


def test_bits_do_not_depend_on_what_was_written_before(tmp_path):
    source = volume((20, 70, 80))
    first, second = (block_of(source, box_of((z, z + 4), (9, 40), (5, 60)), z) for z in (3, 5))
    used = ChunkedVolume.from_volume(source)
    used.write(tmp_path / "before.nii.gz", [first])
    fresh = ChunkedVolume.from_volume(source)
    assert used.write(tmp_path / "a.nii.gz", [second]) == fresh.write(tmp_path / "b.nii.gz", [second])
    assert used.write(tmp_path / "c.nii.gz") == fresh.write(tmp_path / "d.nii.gz")


def test_bits_do_not_depend_on_whether_a_voxel_came_with_a_block(tmp_path):
    source = volume((20, 70, 80))
    box, block = block_of(source, box_of((3, 9), (9, 40), (5, 60)))
    with_block = ChunkedVolume.from_volume(source).write(tmp_path / "a.nii.gz", [(box, block)])
    without = ChunkedVolume.from_volume(laid_over(source, [(box, block)])).write(tmp_path / "b.nii.gz")
    assert with_block == without


def test_source_and_blocks_stay_as_they_are(tmp_path):
    source = volume()
    box, block = block_of(source, box_of((2, 7), (10, 60), (10, 60)))
    before, new = source.array.copy(), block.copy()
    ChunkedVolume.from_volume(source).write(tmp_path / "a.nii.gz", [(box, block)])
    np.testing.assert_array_equal(source.array, before)
    np.testing.assert_array_equal(block, new)


def test_survives_pickling(tmp_path):
    source = volume()
    blocks = [block_of(source, box_of((2, 7), (10, 60), (10, 60)))]
    chunked = ChunkedVolume.from_volume(source)
    copy = pickle.loads(pickle.dumps(chunked))
    assert copy.write(tmp_path / "a.nii.gz", blocks) == chunked.write(tmp_path / "b.nii.gz", blocks)


def swapped(array):
    return array.astype(array.dtype.newbyteorder(">"))


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("layout", [np.asfortranarray, swapped, read_only, lambda a: np.repeat(a, 2, 2)[:, :, ::2]])
def test_bits_do_not_depend_on_the_layout_in_memory(tmp_path, layout):
    source = volume()
    box, block = block_of(source, box_of((2, 7), (10, 60), (10, 60)))
    other = Volume(layout(source.array), source.geometry)
    expected = ChunkedVolume.from_volume(source).write(tmp_path / "a.nii.gz", [(box, block)])
    assert ChunkedVolume.from_volume(other).write(tmp_path / "b.nii.gz", [(box, layout(block))]) == expected


def test_masks_are_written_as_zeros_and_ones(tmp_path):
    source = volume()
    mask = Volume(source.array > 100, source.geometry)
    box = box_of((2, 7), (10, 60), (10, 60))
    ChunkedVolume.from_volume(mask).write(tmp_path / "a.nii.gz", [(box, np.ones((5, 50, 50), bool))])
    image = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert image.GetPixelID() == sitk.sitkUInt8
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(image), laid_over(mask, [(box, np.ones((5, 50, 50), bool))]).array
    )


# Where the system writes less than it was asked to


def written_with(writev, monkeypatch, path, chunk_bytes=64) -> str:
    monkeypatch.setattr(os, "writev", writev)
    return ChunkedVolume.from_volume(volume(), chunk_bytes).write(path)


needs_writev = pytest.mark.skipif(not hasattr(os, "writev"), reason="no writev here")


@needs_writev
def test_short_writes_are_carried_on(monkeypatch, tmp_path):
    def short(descriptor, views):
        return os.write(descriptor, b"".join(views)[:3001])

    sha256 = written_with(short, monkeypatch, tmp_path / "a.nii.gz")
    assert sha256 == hashlib.sha256((tmp_path / "a.nii.gz").read_bytes()).hexdigest()


@needs_writev
def test_no_more_buffers_at_once_than_systems_take(monkeypatch, tmp_path):
    counts, writev = [], os.writev

    def counting(descriptor, views):
        counts.append(len(views))
        return writev(descriptor, views)

    written_with(counting, monkeypatch, tmp_path / "a.nii.gz")
    assert sum(counts) > 1500
    assert max(counts) <= 1024


def test_same_bytes_where_there_is_no_writev(monkeypatch, tmp_path):
    chunked = ChunkedVolume.from_volume(volume())
    expected = chunked.write(tmp_path / "a.nii.gz")
    monkeypatch.delattr(os, "writev", raising=False)
    chunked.write(tmp_path / "b.nii.gz")
    assert hashlib.sha256((tmp_path / "b.nii.gz").read_bytes()).hexdigest() == expected


# What goes wrong


def check_nothing_is_left(folder: Path, match: str) -> None:
    path = folder / "a.nii.gz"
    path.write_bytes(b"before")
    with pytest.raises(TumorgenError, match=match) as caught:
        ChunkedVolume.from_volume(volume()).write(path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"before"
    assert list(folder.iterdir()) == [path]


@needs_writev
def test_full_disk_leaves_what_was_there(monkeypatch, tmp_path):
    def full(descriptor, views):
        os.write(descriptor, views[0])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "writev", full)
    check_nothing_is_left(tmp_path, "No space left")


def test_write_that_the_system_cuts_off_leaves_what_was_there(tmp_path):
    with files_of_at_most(10_000):
        check_nothing_is_left(tmp_path, "File too large")


def test_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TumorgenError, match=re.escape(str(tmp_path / "file" / "a.nii.gz"))):
        ChunkedVolume.from_volume(volume()).write(tmp_path / "file" / "a.nii.gz")


@pytest.mark.parametrize(
    ("box", "block", "what"),
    [
        (box_of((0, 2), (0, 2), (0, 2)), np.zeros((2, 2, 2)), "block of float64"),
        (box_of((0, 2), (0, 2), (0, 2)), np.zeros((2, 2, 2), "int32"), "block of int32"),
        (box_of((0, 2), (0, 2), (0, 2)), np.zeros((1, 2, 2), "int16"), "block of shape"),
        (box_of((0, 2), (0, 2), (79, 81)), np.zeros((2, 2, 2), "int16"), "not within"),
        (box_of((8, 10), (0, 2), (0, 2)), np.zeros((2, 2, 2), "int16"), "not within"),
        (box_of((-1, 1), (0, 2), (0, 2)), np.zeros((2, 2, 2), "int16"), "not within"),
        (box_of((2, 0), (0, 2), (0, 2)), np.zeros((2, 2, 2), "int16"), "not within"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(tmp_path, box, block, what):
    with pytest.raises(ValueError, match=what):
        ChunkedVolume.from_volume(volume()).write(tmp_path / "a.nii.gz", [(box, block)])
    assert not list(tmp_path.iterdir())


def test_types_and_sizes_that_nifti_lacks_are_refused():
    with pytest.raises(TumorgenError, match="float16"):
        ChunkedVolume.from_volume(volume((3, 4, 5), "float16"))
    with pytest.raises(TumorgenError, match="32767"):
        ChunkedVolume.from_volume(volume((1, 1, 32768), "uint8"))
    with pytest.raises(TumorgenError, match="cannot be written"):
        ChunkedVolume.from_volume(volume((3, 4, 5), direction=(0.0,) * 9))


def test_no_room_for_temporary_files_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(TumorgenError, match=r"absent.*temporary files"):
        ChunkedVolume.from_volume(volume(direction=ROTATION))  # whose header SimpleITK is asked for


def test_example_in_the_documentation_runs(monkeypatch, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "writer.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), {})
    assert len(list(tmp_path.glob("variant_*.nii.gz"))) == 3


@pytest.mark.parametrize("planes", [slice(0, 0), slice(3, 7), slice(0, 12)])
def test_planes_that_are_not_held_are_inflated_again(tmp_path, planes):
    rng = np.random.default_rng(0)
    array = rng.integers(-1000, 1000, (12, 50, 60), dtype=np.int16)
    whole = ChunkedVolume.from_volume(Volume(array, Geometry(array.shape, (1.5, 0.75, 0.75))), 4096)
    part = whole.keep_planes(planes)
    assert part.hashed is whole.hashed  # nothing is hashed twice
    assert part.nbytes - sum(map(len, part.chunks)) == len(part.header) + array[planes].nbytes
    np.testing.assert_array_equal(np.asarray(part), array)
    for box in ((slice(2, 9), slice(5, 17), slice(8, 31)), (slice(4, 6), slice(0, 50), slice(0, 60))):
        np.testing.assert_array_equal(part[box], array[box])
        block = [(box, array[box] + np.int16(1))]
        assert part.write(tmp_path / "part.nii.gz", block) == whole.write(tmp_path / "whole.nii.gz", block)
    for box in ((slice(2, 9, 2), slice(5, 17, 3), slice(8, 31, 2)), (slice(4, 6, 2), slice(0, 50, 4), slice(0, 60))):
        np.testing.assert_array_equal(part[box], array[box])
