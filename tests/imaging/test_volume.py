"""Volumes: places in space with oblique directions, hostile files, names, and files that appear whole or not at all."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tumorgen.errors import TumorgenError
from tumorgen.imaging.boxes import bounding_box, grow, overlap, paste, shape_of
from tumorgen.imaging.files import EXTENSIONS, case_name, find_volumes, safe_name, whole_file
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.reading import read_ct, read_mask, read_volume, write_volume

OBLIQUE = tuple(Rotation.from_euler("zyx", (25, -10, 5), degrees=True).as_matrix().ravel().tolist())
PLACE = Geometry((4, 5, 6), (2.5, 0.8, 0.7), (-120.0, 33.5, 900.25), OBLIQUE)
ARRAY = np.random.default_rng(0).integers(-1000, 1500, PLACE.shape).astype(np.int16)
COORDINATES = st.tuples(*[st.floats(-50, 300)] * 3)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@st.composite
def geometries(draw) -> Geometry:
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    direction = Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
    if draw(st.booleans()):
        direction = direction @ np.diag([1.0, 1.0, -1.0])  # left-handed, as files with flipped slices have it
    spacing, origin = draw(st.tuples(*[st.floats(0.3, 8)] * 3)), draw(st.tuples(*[st.floats(-2000, 2000)] * 3))
    return Geometry((5, 6, 7), spacing, origin, tuple(direction.ravel().tolist()))


@limits(deadline=None)
@given(geometries(), COORDINATES)
def test_index_and_point_are_inverse(geometry, index):
    # 2 m away, float64 knows a point to 1e-12 m; divided by the smallest spacing it is still far below 1e-6 voxels.
    np.testing.assert_allclose(geometry.to_index(geometry.to_mm(index)), index, atol=1e-6)


@limits(deadline=None)
@given(geometries(), COORDINATES)
def test_points_are_itks(geometry, index):
    image = to_image(Volume(np.zeros(geometry.shape, np.uint8), geometry))
    expected = image.TransformContinuousIndexToPhysicalPoint(index[::-1])
    np.testing.assert_allclose(geometry.to_mm(index), expected, atol=1e-6)


def test_axes_are_z_y_x_and_points_x_y_z():
    geometry = Geometry((10, 20, 30), (5.0, 2.0, 1.0), (100.0, 200.0, 300.0))
    assert geometry.to_mm((1, 2, 3)) == (103.0, 204.0, 305.0)
    assert geometry.to_index((103.0, 204.0, 305.0)) == (1.0, 2.0, 3.0)
    assert geometry.voxel_volume_mm3 == 10.0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"shape": (4, 5, 7)}, "shape (4, 5, 6) against (4, 5, 7)"),
        ({"spacing_mm": (2.5, 0.8, 0.71)}, "spacing"),
        ({"spacing_mm": (2.5, 0.8, 0.70005)}, ""),  # what float32 headers leave
        ({"origin_mm": (-120.0, 33.5, 900.75)}, "corners lie up to 0.50 mm apart"),
        ({"origin_mm": (-120.0, 33.5, 900.26)}, ""),
        ({"direction": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}, "corners lie up to"),
    ],
)
def test_difference(changed, said):
    found = PLACE.difference(replace(PLACE, **changed))
    assert said in found
    assert bool(found) == bool(said)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("dtype", ["int16", "float32", "uint8"])
def test_volumes_round_trip(tmp_path, extension, dtype):
    volume = Volume(np.abs(ARRAY % 200).astype(dtype), PLACE)
    path = tmp_path / f"a{extension}"
    if extension == ".mhd":  # two files that belong together: written by others, read by us
        sitk.WriteImage(to_image(volume), str(path))
    else:
        write_volume(volume, path)
        assert names(tmp_path) == [path.name]
    back = read_volume(path)
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.array.dtype == volume.array.dtype
    assert PLACE.difference(back.geometry) == ""
    np.testing.assert_allclose(back.geometry.origin_mm, PLACE.origin_mm, atol=1e-3)  # float32 headers


def test_masks_are_written_as_bytes(tmp_path):
    mask = ARRAY > 0
    write_volume(Volume(mask, PLACE), tmp_path / "m.nii.gz")
    assert read_volume(tmp_path / "m.nii.gz").array.dtype == np.uint8
    back = read_mask(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(back.array, mask)


def test_one_label_of_many(tmp_path):
    labels = (ARRAY % 4).astype(np.uint8)
    write_volume(Volume(labels, PLACE), tmp_path / "l.nii.gz")
    np.testing.assert_array_equal(read_mask(tmp_path / "l.nii.gz", 3).array, labels == 3)
    np.testing.assert_array_equal(read_mask(tmp_path / "l.nii.gz").array, labels > 0)
    with pytest.raises(TumorgenError, match="mask is empty"):
        read_mask(tmp_path / "l.nii.gz", 9)


@pytest.mark.parametrize("values", [(-1000, 400), (-301, 50)])
def test_a_ct_is_taken(tmp_path, values):
    volume = Volume(np.resize(np.array(values, np.int16), PLACE.shape), PLACE)
    write_volume(volume, tmp_path / "ct.nii.gz")
    np.testing.assert_array_equal(read_ct(tmp_path / "ct.nii.gz").array, volume.array)


@pytest.mark.parametrize(
    ("values", "message"),
    [((24, 1400), "no air in it"), ((-160, 240), "no air in it"), ((-1000, 40), "no tissue in it"), ((0, 1), "no air")],
)
def test_what_is_no_ct_is_refused(tmp_path, values, message):
    write_volume(Volume(np.resize(np.array(values, np.int16), PLACE.shape), PLACE), tmp_path / "mr.nii.gz")
    with pytest.raises(TumorgenError, match=rf"mr\.nii\.gz: not a CT in HU: .*{message}"):
        read_ct(tmp_path / "mr.nii.gz")


def hostile(kind: str, folder: Path) -> Path:
    """A file that is not a volume that can be used."""
    path = folder / "bad.nii.gz"
    if kind == "2D":
        sitk.WriteImage(sitk.GetImageFromArray(ARRAY[0]), str(path))
    elif kind == "one slice":
        sitk.WriteImage(sitk.GetImageFromArray(ARRAY[:1]), str(path))
    elif kind == "4D":
        sitk.WriteImage(sitk.GetImageFromArray(np.stack([ARRAY] * 3), isVector=False), str(path))
    elif kind == "vector":
        sitk.WriteImage(sitk.GetImageFromArray(np.stack([ARRAY] * 3, axis=-1), isVector=True), str(path))
    elif kind in ("nan", "infinite"):
        spoiled = ARRAY.astype(np.float32)
        spoiled[1, 2, 3] = np.nan if kind == "nan" else np.inf
        sitk.WriteImage(sitk.GetImageFromArray(spoiled), str(path))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("hello")
    elif kind == "folder":
        path.mkdir()
    elif kind != "absent":
        write_volume(
            Volume(np.random.default_rng(0).integers(-1000, 1000, (9, 30, 30)).astype(np.int16), PLACE_30), path
        )
        content = bytearray(gzip.decompress(path.read_bytes()))
        if kind == "truncated":
            path.write_bytes(path.read_bytes()[:5000])
            return path
        if kind == "huge":
            content[42:48] = struct.pack("<3h", 32000, 32000, 32000)
        elif kind == "short":
            content = content[: len(content) // 2]
        elif kind == "spacing":
            content[80:84] = struct.pack("<f", 5000.0)
        path.write_bytes(gzip.compress(bytes(content)))
    return path


PLACE_30 = Geometry((9, 30, 30), (2.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", "no such file"),
        ("folder", "is no regular file, but a folder"),
        ("empty", "not a readable volume"),
        ("text", "not a readable volume"),
        ("2D", "a 3D volume is needed"),
        ("one slice", "a 3D volume is needed"),
        ("4D", "is 4D of size .* a 3D volume is needed"),
        ("vector", "has 3 values per voxel"),
        ("nan", "holds NaN or infinite voxels"),
        ("infinite", "holds NaN or infinite voxels"),
        ("truncated", r"cut off|truncated"),
        ("short", r"cut off|truncated"),
        ("huge", "no CT is that large"),
        ("spacing", r"its affine says spacing .* its pixdim \(5000.0"),
    ],
)
def test_a_hostile_file_gets_one_line(tmp_path, kind, message):
    path = hostile(kind, tmp_path)
    with pytest.raises(TumorgenError, match=message) as error:
        read_volume(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_sheared_direction_is_refused(tmp_path):
    path = tmp_path / "sheared.mha"
    write_volume(Volume(ARRAY, replace(PLACE, direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))), path)
    text = path.read_bytes().replace(b"TransformMatrix = 1 0 0 0 1 0 0 0 1", b"TransformMatrix = 1 0 0 .2 1 0 0 0 1")
    path.write_bytes(text)
    with pytest.raises(TumorgenError, match=r"not orthonormal|not a readable volume"):
        read_volume(path)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("liver_07_0000.nii.gz", "liver_07"),
        ("liver_07.nii", "liver_07"),
        ("001.NII.GZ", "001"),
        ("a.b.nrrd", "a.b"),
        ("Herr Müller (2).mha", "Herr-M-ller-2"),
        ("_0000.nii.gz", "case"),
        ("...mhd", "case"),
        ("a_0000_0000.mha", "a_0000"),
        ("ct_0001.nii.gz", "ct_0001"),
    ],
)
def test_case_names(name, case):
    assert case_name(Path("/some/folder") / name) == case


@given(st.text(max_size=40))
def test_safe_names_are_safe(text):
    name = safe_name(text)
    assert name
    assert name == Path(name).name
    assert not name.startswith(".")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert safe_name(name) == name


def test_volumes_of_a_folder(tmp_path):
    for name in ("b_0000.nii.gz", "a.mha", "notes.txt", ".hidden.nii.gz", "c.raw"):
        (tmp_path / name).write_text("")
    assert find_volumes(tmp_path) == {"a": tmp_path / "a.mha", "b": tmp_path / "b_0000.nii.gz"}
    assert find_volumes(tmp_path / "a.mha") == {"a": tmp_path / "a.mha"}
    (tmp_path / "a.nii").write_text("")
    with pytest.raises(TumorgenError, match=r"a\.nii: case 'a' is also a\.mha"):
        find_volumes(tmp_path)


def test_nothing_to_find(tmp_path):
    with pytest.raises(TumorgenError, match="no volumes in it"):
        find_volumes(tmp_path)
    with pytest.raises(TumorgenError, match="no such file or folder"):
        find_volumes(tmp_path / "none")


# --- whole files -----------------------------------------------------------------------------------------------------


def test_a_file_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "out.csv"
    with whole_file(path) as partial:
        partial.write_text("one")
        assert not path.exists()
        assert partial.name == path.name
        listed = [p.name for p in path.parent.iterdir()]
        assert all(name.startswith(".") for name in listed)
    assert path.read_text() == "one"
    assert names(path.parent) == ["out.csv"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail():
        with whole_file(path) as partial:
            partial.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out.csv"]


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TumorgenError, match="cannot be written"), whole_file(tmp_path / "file" / "out.csv") as partial:
        partial.write_text("x")
    with pytest.raises(TumorgenError, match=r"out\.xyz: cannot be written"):
        write_volume(Volume(ARRAY, PLACE), tmp_path / "out.xyz")
    assert names(tmp_path) == ["file"]


# --- boxes -----------------------------------------------------------------------------------------------------------


def test_boxes():
    mask = np.zeros((6, 7, 8), bool)
    mask[2:4, 1:6, 3] = True
    box = bounding_box(mask)
    assert box == (slice(2, 4), slice(1, 6), slice(3, 4))
    assert shape_of(box) == (2, 5, 1)
    assert grow(box, (3, 1, 2), mask.shape) == (slice(0, 6), slice(0, 7), slice(1, 6))


BOXES = st.tuples(*[st.tuples(st.integers(0, 7), st.integers(1, 5)).map(lambda p: slice(p[0], p[0] + p[1]))] * 3)


@given(BOXES, BOXES)
def test_overlap_and_paste_are_those_of_the_image(first, second):
    one, other = np.zeros((12, 12, 12), bool), np.zeros((12, 12, 12), int)
    one[first] = True
    other[second] = np.arange(np.prod(shape_of(second))).reshape(shape_of(second)) + 1
    shared = one & (other > 0)
    windows = overlap(first, second)
    assert (windows is not None) == shared.any()
    if windows:
        assert shape_of(windows[0]) == shape_of(windows[1])
    target = np.zeros(shape_of(first), int)
    paste(target, first, other[second], second)
    np.testing.assert_array_equal(target, np.where(shared, other, 0)[first])
