"""Reading and writing volumes: round trips, hostile files, and a file that is opened once."""

from __future__ import annotations

import gzip
import struct
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from limits import files_of_at_most
from nifti_files import PLACE

from tumorgen.errors import TumorgenError
from tumorgen.imaging import itk, nifti, reading
from tumorgen.imaging.claims import refuse_excess
from tumorgen.imaging.files import EXTENSIONS
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.mask_labels import read_mask
from tumorgen.imaging.nifti import DTYPES
from tumorgen.imaging.reading import read_ct, read_volume, write_volume

ARRAY = np.random.default_rng(0).integers(-1000, 1500, PLACE.shape).astype(np.int16)


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("dtype", ["int16", "float32", "uint8"])
def test_volumes_round_trip(tmp_path, extension, dtype):
    volume = Volume(np.abs(ARRAY % 200).astype(dtype), PLACE)
    path = tmp_path / f"a{extension}"
    if extension == ".mhd":  # two files that belong together: written by others, read by us
        sitk.WriteImage(to_image(volume), str(path))
    else:
        write_volume(volume, path)
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
    back = read_volume(path)
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.array.dtype == volume.array.dtype
    assert PLACE.difference(back.geometry) == ""
    np.testing.assert_allclose(back.geometry.origin_mm, PLACE.origin_mm, atol=1e-3)  # float32 headers


@pytest.mark.parametrize("ending", [".mhd", ".MHA", ".nhdr", ".hdr", ".png", ".xyz", ""])
def test_a_format_of_two_files_or_of_none_is_not_written(tmp_path, ending):
    """Of a .mhd, the file with the voxels was lost and nothing said."""
    with pytest.raises(
        TumorgenError, match=r"a\S*: volumes are written as \.nii\.gz, .*\.mha, which are one file each"
    ):
        write_volume(Volume(ARRAY, PLACE), tmp_path / f"a{ending}")
    assert not list(tmp_path.iterdir())


def test_masks_are_written_as_bytes(tmp_path):
    mask = ARRAY > 0
    write_volume(Volume(mask, PLACE), tmp_path / "m.nii.gz")
    assert read_volume(tmp_path / "m.nii.gz").array.dtype == np.uint8
    back = read_mask(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(back.array, mask)


@pytest.mark.parametrize("values", [(-1000, 400), (-301, 50)])
def test_a_ct_is_taken(tmp_path, values):
    volume = Volume(np.resize(np.array(values, np.int16), PLACE.shape), PLACE)
    write_volume(volume, tmp_path / "ct.nii.gz")
    np.testing.assert_array_equal(read_ct(tmp_path / "ct.nii.gz").array, volume.array)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((24, 1400), "no air in it"),
        ((-160, 240), "no air in it .was it clipped. .* -1000 throughout"),
        ((-1.5, 3), "no air in it .offset by 1024"),
        ((-1000, 40), "no tissue in it"),
        ((0, 1), "no air"),
    ],
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
    elif kind == "one column":
        sitk.WriteImage(sitk.GetImageFromArray(ARRAY[..., :1]), str(path))
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
        ("folder", "is not a regular file, but a folder"),
        ("empty", "not a readable volume"),
        ("text", r"not a readable volume \(it is damaged, or not compressed with gzip\)"),
        ("2D", "a 3D volume is needed"),
        ("one slice", r"bad\.nii\.gz: has a single slice; at least two are needed$"),
        ("one column", r"has \(1, \d+, \d+\) voxels \(x, y, z\); at least two are needed along each axis$"),
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


@pytest.mark.parametrize("extension", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_volume_that_the_system_takes_in_part_is_not_there(tmp_path, extension, capfd):
    """ITK itself does not notice it, of NIfTI nowhere and of NRRD at the end."""
    path = tmp_path / f"a{extension}"
    write_volume(Volume(ARRAY, PLACE), path)
    size = path.stat().st_size
    path.write_bytes(b"before")
    for most in (0, 100, size // 2, size - 9, size - 1):
        with files_of_at_most(most), pytest.raises(TumorgenError) as error:
            write_volume(Volume(ARRAY, PLACE), path)
        assert str(error.value).startswith(f"{path}: cannot be written (")
        assert [*tmp_path.iterdir()] == [path]
        assert path.read_bytes() == b"before"
    assert capfd.readouterr().err == ""
    with files_of_at_most(size):
        write_volume(Volume(ARRAY, PLACE), path)
    np.testing.assert_array_equal(read_volume(path).array, ARRAY)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64"])
@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd", ".mha"])
def test_what_no_scan_would_be_is_written_all_the_same(tmp_path, extension, dtype):
    """NaN, and voxels larger than a CT's: whether a file is whole does not depend on what it holds."""
    array = ARRAY.astype(dtype)
    if dtype == "float32":
        array[0, 0, 0] = np.nan
    write_volume(Volume(array, replace(PLACE, spacing_mm=(500.0, 1.0, 0.001))), tmp_path / f"a{extension}")
    back = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"a{extension}")))
    np.testing.assert_array_equal(back[1:], array[1:])


def write_edited(path: Path, edited: tuple[bytes, bytes]) -> None:
    """Write voxels of 16 bits as they are, and other words into the header."""
    array = np.ones((20, 20, 20), np.int16)
    sitk.WriteImage(to_image(Volume(array, Geometry(array.shape, (1.0, 1.0, 1.0)))), str(path))
    content = path.read_bytes()
    assert content.count(edited[0]) == 1
    path.write_bytes(content.replace(*edited))


@pytest.mark.parametrize(
    ("extension", "edited"),
    [
        (".mhd", (b"MET_SHORT", b"MET_UCHAR")),
        (".mha", (b"MET_SHORT", b"MET_UCHAR")),
        (".mha", (b"DimSize = 20 20 20", b"DimSize = 20 20 10")),
        (".nrrd", (b"type: short", b"type: uint8")),
        (".nrrd", (b"sizes: 20 20 20", b"sizes: 20 20 10")),
        (".nhdr", (b"type: short", b"type: uint8")),
    ],
)
def test_voxels_that_go_on_long_after_the_last_one_that_the_header_says_are_refused(tmp_path, extension, edited):
    """As 8-bit voxels, each of 16 bits would be two."""
    path = tmp_path / f"mask{extension}"
    write_edited(path, edited)
    if extension == ".nhdr":
        path = path.rename(tmp_path / "mask.nrrd")
    with pytest.raises(TumorgenError, match=rf"{path.name}: goes on long after its last voxel; its header does not"):
        read_volume(path)


def test_a_few_bytes_behind_the_voxels_are_padding(tmp_path):
    path = tmp_path / "scan.mhd"
    sitk.WriteImage(to_image(Volume(ARRAY, PLACE)), str(path))
    with (tmp_path / "scan.raw").open("ab") as file:
        file.write(bytes(512))
    np.testing.assert_array_equal(read_volume(path).array, ARRAY)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("CompressedDataSiz", "does not say how long its data is"),
        ("CompressedDataSize = 0\nComment", "does not say how long its data is"),
        ("CompressedDataSize = 100\nComment", "says 100 compressed bytes; there are more"),
        ("CompressedDataSize = 999999\nComment", "says 999999 compressed bytes"),
    ],
)
def test_a_stream_whose_length_is_not_known_to_itk_is_refused(tmp_path, said, message):
    # ITK fills the volume with what was in memory before, and says so on its standard error only
    path = tmp_path / "scan.mha"
    write_volume(Volume(ARRAY, PLACE), path)
    content = path.read_bytes()
    assert b"CompressedDataSize" in content
    path.write_bytes(content.replace(b"CompressedDataSize", said.encode(), 1))
    with pytest.raises(TumorgenError, match=rf"scan\.mha: its header .*{message}|is truncated: its header {message}"):
        read_volume(path)


DIRECTIONS = b"space directions: (2,0,0) (0,3,0) (0,0,4)"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (DIRECTIONS + b'\nspace units: "mm" "mm" "millimeter"', ""),
        (b"spacings: 2 3 4", ""),
        (b'spacings: 2 3 4\nunits: "mm" "" "mm"', ""),
        (b"", "does not say how large its voxels are; give it space directions, or spacings"),
        (b"spacings: NaN NaN NaN", "does not say how large"),
        (b"spacings: 2 3 nan", "does not say how large"),
        (b"spacings: 2 0 4", "does not say how large"),
        (b"spacings: 2 -3 4", "does not say how large"),
        (DIRECTIONS + b'\nspace units: "cm" "cm" "cm"', "says lengths in 'cm'; write it anew in mm"),
        (b'spacings: 2 3 4\nunits: "m" "m" "m"', "says lengths in 'm'; write it anew in mm"),
    ],
)
def test_voxels_of_nrrd_have_a_size_in_mm(tmp_path, lines, message):
    """Where there is none ITK takes 1 mm, and whatever the unit is, it is read as mm."""
    path = tmp_path / "a.nrrd"
    write_volume(Volume(ARRAY, Geometry(ARRAY.shape, (4.0, 3.0, 2.0))), path)
    header, _, voxels = path.read_bytes().partition(b"\n\n")
    assert DIRECTIONS in header
    placed = DIRECTIONS in lines
    kept = [row for row in header.split(b"\n") if row != DIRECTIONS and (placed or not row.startswith(b"space"))]
    path.write_bytes(b"\n".join([*kept, lines or b"# none"]) + b"\n\n" + voxels)
    if not message:
        assert read_volume(path).geometry.spacing_mm == (4.0, 3.0, 2.0)
        return
    with pytest.raises(TumorgenError, match=rf"a\.nrrd: its header {message}"):
        read_volume(path)


SPACING = "ElementSpacing = 2 3 4\n"


@pytest.mark.parametrize(
    ("said", "instead", "message"),
    [
        (SPACING, "ElementSize = 2 3 4\n", ""),
        (SPACING, "", "does not say how large its voxels are; give it ElementSpacing"),
        (SPACING, "elementspacing = 2 3 4\n", "says elementspacing, .* write it as ElementSpacing"),
        (SPACING, "ELEMENTSIZE=2 3 4\n", "says ELEMENTSIZE, which ITK does not know; write it as ElementSize"),
        (SPACING, "  elementSpacing : 2 3 4\n", "says elementSpacing, .* write it as ElementSpacing"),
        ("Offset", "offset", "says offset, .* write it as Offset"),
        ("Offset", "POSITION", "says POSITION, .* write it as Position"),
        ("Offset", "origin", "says origin, .* write it as Origin"),
        ("Offset", "imageposition", "says imageposition, .* write it as ImagePosition"),
        ("TransformMatrix", "Transformmatrix", "says Transformmatrix, .* write it as TransformMatrix"),
        ("TransformMatrix", "rotation", "says rotation, .* write it as Rotation"),
        ("TransformMatrix", "ORIENTATION", "says ORIENTATION, .* write it as Orientation"),
        ("CompressedData =", "compresseddata =", "says compresseddata, .* write it as CompressedData"),
        ("CompressedDataSize", "compresseddatasize", "says compresseddatasize, .* write it as CompressedDataSize"),
        ("BinaryDataByteOrderMSB", "binarydatabyteordermsb", "says .* write it as BinaryDataByteOrderMSB"),
        ("ElementDataFile", "elementdatafile", "says elementdatafile, .* write it as ElementDataFile"),
        ("NDims = 3\n", "NDims = 3\ncomment = of a user\n", ""),
        ("NDims = 3\n", "NDims = 3\nDistanceUnits = mm\n", ""),
        ("NDims = 3\n", "NDims = 3\nDistanceUnits = ?\n", ""),
        ("NDims = 3\n", "NDims = 3\nDistanceUnits = cm\n", "says lengths in 'cm'; write it anew in mm"),
        ("NDims = 3\n", "NDims = 3\nDistanceUnits = um\n", "says lengths in 'um'; write it anew in mm"),
    ],
)
def test_voxels_of_metaimage_have_a_size_and_a_place(tmp_path, said, instead, message):
    """ITK passes over what it does not know, other capitals of its own keys too, and takes 1 mm, or place 0.

    Whatever the unit is, it is read as mm.
    """
    path = tmp_path / "a.mha"
    geometry = Geometry(ARRAY.shape, (4.0, 3.0, 2.0), origin_mm=(9.0, 8.0, 7.0))
    write_volume(Volume(ARRAY, geometry), path)
    content = path.read_bytes()
    assert content.count(said.encode()) == 1
    path.write_bytes(content.replace(said.encode(), instead.encode()))
    if not message:
        assert read_volume(path).geometry == geometry
        return
    with pytest.raises(TumorgenError, match=rf"a\.mha: its header {message}"):
        read_volume(path)


# --- a file is opened once -------------------------------------------------------------------------------------------

OPENED: list[str] = []
sys.addaudithook(lambda event, given: OPENED.append(str(given[0])) if event == "open" else None)


def on_its_way_in(path: Path, monkeypatch) -> tuple[Volume, int, list[tuple[Path, int]]]:
    """A volume that is read, how often its file was opened by Python, and the files that ITK got, with their sizes."""
    given, original = [], itk.open_image

    def open_image(file, *others):
        given.append((file, file.stat().st_size))
        return original(file, *others)

    for module in (itk, reading):
        monkeypatch.setattr(module, "open_image", open_image)
    OPENED.clear()
    volume = read_volume(path)
    return volume, OPENED.count(str(path)), given


ALONG_THE_AXES = replace(PLACE, direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_a_nifti_file_along_the_axes_is_opened_once_and_itk_is_not_asked(tmp_path, monkeypatch, extension):
    path = tmp_path / f"scan{extension}"
    write_volume(Volume(ARRAY, ALONG_THE_AXES), path)
    volume, opened, given = on_its_way_in(path, monkeypatch)
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert (opened, given) == (1, [])


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_any_other_nifti_file_is_opened_once_and_itk_gets_its_header_alone(tmp_path, monkeypatch, extension):
    path = tmp_path / f"scan{extension}"
    write_volume(Volume(ARRAY, PLACE), path)
    volume, opened, given = on_its_way_in(path, monkeypatch)
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert opened == 1
    ((file, size),) = given
    assert (file.name, size) == ("header.nii", 352)
    assert not file.exists()


@pytest.mark.parametrize("extension", [".nrrd", ".mha"])
def test_other_formats_are_opened_once_before_itk_reads_them(tmp_path, monkeypatch, extension):
    path = tmp_path / f"scan{extension}"
    write_volume(Volume(ARRAY, PLACE), path)
    _, opened, given = on_its_way_in(path, monkeypatch)
    assert opened == 1
    assert [file for file, _ in given] == [path]


@pytest.mark.parametrize("place", [PLACE, ALONG_THE_AXES])
def test_what_was_checked_is_what_is_read_though_its_name_is_given_to_another_file(tmp_path, monkeypatch, place):
    path, other = tmp_path / "scan.nii.gz", tmp_path / "other.nii.gz"
    write_volume(Volume(ARRAY, place), path)
    write_volume(Volume(ARRAY + 1, replace(place, spacing_mm=(9.0, 9.0, 9.0))), other)

    def swap(*given):
        refuse_excess(*given)
        other.replace(path)

    monkeypatch.setattr(nifti, "refuse_excess", swap)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert place.difference(volume.geometry) == ""


# --- scaled voxels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DTYPES.values())
@pytest.mark.parametrize(("slope", "inter"), [(1.0, -1024.0), (0.1, 3.3), (-2.5e-3, 7.1), (3.0, 0.0)])
def test_scaled_voxels_are_those_that_itk_reads_bit_for_bit(tmp_path, kind, slope, inter):
    path = tmp_path / "scan.nii"
    bits = np.random.default_rng(0).bytes(8 * 9 * 10 * np.dtype(kind).itemsize)
    values = np.frombuffer(bits, kind).reshape(8, 9, 10)
    values = values if kind[0] != "f" else (ARRAY[:1, :1, :1] * np.linspace(-1, 1, 720).reshape(8, 9, 10)).astype(kind)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    content = bytearray(path.read_bytes())
    struct.pack_into("<2f", content, 112, slope, inter)
    path.write_bytes(content)
    read = read_volume(path).array
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read, expected)


def test_an_intercept_without_a_slope_is_refused_since_readers_differ(tmp_path):
    path = tmp_path / "scan.nii"
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(path))
    content = bytearray(path.read_bytes())
    struct.pack_into("<2f", content, 112, 0.0, -1024.0)
    path.write_bytes(content)
    by_itk, by_nibabel = sitk.GetArrayFromImage(sitk.ReadImage(str(path))), np.asarray(nib.load(path).dataobj).T
    np.testing.assert_array_equal(by_itk, by_nibabel - 1024.0)
    with pytest.raises(
        TumorgenError, match="scl_slope 0 and scl_inter -1024, by which ITK shifts the voxels and other"
    ):
        read_volume(path)


def test_a_scale_beyond_float32_is_refused(tmp_path):
    path = tmp_path / "scan.nii"
    write_volume(Volume(ARRAY, PLACE), path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<2f", content, 112, 3e38, 0.0)
    path.write_bytes(content)
    with pytest.raises(TumorgenError, match=r"scan\.nii: holds NaN or infinite voxels"):
        read_volume(path)


def test_the_limit_is_that_of_scaled_voxels(tmp_path, monkeypatch):
    """They become float32: four times the memory of a file of bytes."""
    path = tmp_path / "scan.nii.gz"
    write_volume(Volume(np.ones((32, 32, 32), np.uint8), Geometry((32, 32, 32), (1.0, 1.0, 1.0))), path)
    monkeypatch.setenv("TUMORGEN_MAX_GIB", str(2 * 32**3 / 2**30))
    assert read_volume(path).array.dtype == np.uint8
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<2f", content, 112, 2.0, 0.0)
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(TumorgenError, match="GiB once they are scaled; no CT is that large"):
        read_volume(path)


def test_a_metaimage_that_names_no_data_is_told_in_one_line(tmp_path):
    path = tmp_path / "a.mha"
    write_volume(Volume(ARRAY, PLACE), path)
    path.write_bytes(path.read_bytes().replace(b"ElementDataFile = LOCAL", b"ElementDataFile: LOCAL"))
    with pytest.raises(TumorgenError, match="its header does not say where its voxels are"):
        read_volume(path)
