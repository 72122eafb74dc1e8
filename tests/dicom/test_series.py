"""DICOM: which files make a case, that every voxel is where it was, what is refused, and that no patient gets out.

Series are made by pydicom (`dicom_files`); 16 slices of 16 x 16 whose HU and places are known.
"""

import locale
import os
import re
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from dicom_files import CT, ROOT, SECRETS, header, phantom, save, write_series
from hypothesis import given
from hypothesis import strategies as st
from nnunet_runs import threshold_model
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from tumorgen.cli import main
from tumorgen.dicom import series as dicom
from tumorgen.dicom import slices as dicom_slices
from tumorgen.dicom.series import LEAST_SLICES, SERIES_FLAGS, convert_series, find_scans, read_series
from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.reading import read_ct, read_volume, write_volume
from tumorgen.liver.masks import mask_scans
from tumorgen.tables.entries import read_entries
from tumorgen.tables.scans import read_scans

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def only(folder: Path) -> dicom.Series:
    """The one case of a folder."""
    (series,) = find_scans(folder).series.values()
    return series


def problem(folder: Path) -> str:
    """Why the one case of a folder is refused; it is, when it is read, too."""
    series = only(folder)
    with pytest.raises(TumorgenError) as raised:
        read_series(series)
    assert str(raised.value) == f"{series.folder}: {series.problem}"
    return series.problem


def steps(*heights: float) -> list[tuple[float, float, float]]:
    return [(-20.0, -30.0, height) for height in heights]


# ---- every voxel where it was


def test_a_series_is_its_voxels_in_their_places(tmp_path):
    write_series(tmp_path / "patient")
    volume = read_series(only(tmp_path))
    np.testing.assert_array_equal(volume.array, phantom())
    assert volume.array.dtype == np.int16
    assert volume.geometry.shape == (16, 16, 16)
    assert volume.geometry.spacing_mm == (5.0, 2.5, 3.5)
    assert volume.geometry.origin_mm == (-20.0, -30.0, 40.0)
    assert volume.geometry.direction == IDENTITY


@pytest.mark.parametrize(
    ("orientation", "normal"),
    [
        ((1, 0, 0, 0, 1, 0), (0, 0, 1)),  # head first, on the back
        ((-1, 0, 0, 0, 1, 0), (0, 0, -1)),  # feet first, on the back
        ((-1, 0, 0, 0, -1, 0), (0, 0, 1)),  # head first, on the belly
        ((1, 0, 0, 0, -1, 0), (0, 0, -1)),  # feet first, on the belly
        ((0.8, 0.6, 0, -0.6, 0.8, 0), (0, 0, 1)),  # rolled to a side
        ((1, 0, 0, 0, 0.96, 0.28), (0, -0.28, 0.96)),  # oblique: slices along their normal
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_however_the_patient_lay_and_slices_were_numbered(tmp_path, orientation, normal, order):
    """Every stored voxel is at the point that its own slice's header gives it (PS3.3 C.7.6.2.1.1)."""
    places = [np.array([-20.0, -30.0, 40.0]) + order * 5 * k * np.array(normal) for k in range(16)]
    write_series(tmp_path / "a", positions=places, ImageOrientationPatient=list(orientation))
    volume = read_series(only(tmp_path))
    for k, j, i in ((0, 0, 0), (2, 2, 3), (15, 15, 15), (7, 3, 11)):
        point = places[k] + 3.5 * i * np.array(orientation[:3]) + 2.5 * j * np.array(orientation[3:])
        index = volume.geometry.to_index(tuple(point))
        np.testing.assert_allclose(index, np.round(index), atol=1e-6)
        z, y, x = np.round(index).astype(int)
        assert volume.array[z, y, x] == phantom()[k, j, i]
    assert np.linalg.det(np.reshape(volume.geometry.direction, (3, 3))) == pytest.approx(1)


def test_a_real_series_is_what_itk_reads(data):
    folder = data / "example_dicom" / "series"
    if not folder.is_dir():
        pytest.skip(f"no real DICOM series at {folder}")
    series = only(folder)
    assert (len(series.slices), series.flags.keys()) == (20, {"no_uid"})
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(one.path) for one in series.slices])
    image = reader.Execute()
    volume = read_series(series)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(volume.geometry.origin_mm, image.GetOrigin())
    np.testing.assert_allclose(volume.geometry.spacing_mm, image.GetSpacing()[::-1], atol=1e-6)


def test_itk_reads_the_same(tmp_path):
    paths = write_series(tmp_path / "a", positions=steps(*(100.0 - 2.5 * k for k in range(16))))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in reversed(paths)])
    image = reader.Execute()
    volume = read_series(only(tmp_path))
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(volume.geometry.origin_mm, image.GetOrigin())
    np.testing.assert_allclose(volume.geometry.spacing_mm, image.GetSpacing()[::-1])
    np.testing.assert_allclose(volume.geometry.direction, image.GetDirection())


@pytest.mark.parametrize(
    ("slope", "intercept", "signed", "dtype"),
    [
        (1, -1024, 0, np.int16),
        (1, 0, 1, np.int16),
        (2, -2048, 0, np.int16),
        (0.5, -1000.25, 0, np.float32),
        (1000, 0, 1, np.int32),
    ],
)
def test_stored_values_become_hu(tmp_path, slope, intercept, signed, dtype):
    stored = np.arange(16 * 16 * 16).reshape(16, 16, 16) % 4000 - 2000 * signed
    for k, one in enumerate(stored):
        ds = header(phantom()[k], "1", k, (0, 0, 5 * k), RescaleSlope=slope, RescaleIntercept=intercept)
        ds.PixelRepresentation = signed
        ds.PixelData = (one & 0xFFF).astype("<u2").tobytes()  # 12 bits, two's complement
        save(ds, tmp_path / "a" / f"{k}.dcm")
    volume = read_series(only(tmp_path))
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, stored * slope + intercept)


def test_each_slice_has_its_own_slope(tmp_path):
    for k, one in enumerate(phantom()):
        ds = header(one, "1", k, (0, 0, 5 * k), RescaleIntercept=-1024 - k)
        save(ds, tmp_path / "a" / f"{k}.dcm")
    np.testing.assert_array_equal(read_series(only(tmp_path)).array, phantom() - np.arange(16)[:, None, None])


def test_bits_above_those_that_are_stored_do_not_count(tmp_path):
    for k, one in enumerate(phantom()):
        ds = header(one, "1", k, (0, 0, 5 * k))
        ds.PixelData = ((one.astype(np.int32) + 1024) | 0x8000).astype("<u2").tobytes()  # an old overlay
        save(ds, tmp_path / "a" / f"{k}.dcm")
    np.testing.assert_array_equal(read_series(only(tmp_path)).array, phantom())


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_byte_orders(tmp_path, syntax):
    for k, one in enumerate(phantom()):
        ds = header(one, "1", k, (0, 0, 5 * k))
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        save(ds, tmp_path / "a" / f"{k}.dcm")
    np.testing.assert_array_equal(read_series(only(tmp_path)).array, phantom())


COMPRESSORS = {"JPEG2000": "1.2.840.10008.1.2.4.90", "JPEGLS": "1.2.840.10008.1.2.4.80", "JPEG": ""}


def compressed(folder: Path, compressor: str) -> list[Path]:
    """A series that GDCM has compressed without loss, with the headers of the plain one."""
    folder.mkdir(parents=True)
    plain = write_series(folder.parent / "plain")
    paths = []
    for path in plain:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.LoadPrivateTagsOn()
        image = reader.Execute()
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetUseCompression(True)
        writer.SetCompressor(compressor)
        writer.SetFileName(str(folder / path.name))
        before = locale.setlocale(locale.LC_ALL)
        writer.Execute(image)
        locale.setlocale(locale.LC_ALL, before)  # GDCM, when it writes, sets that of the whole process to C
        paths.append(folder / path.name)
    for path in plain:
        path.unlink()
    return paths


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_compressed_voxels_are_those_that_were_compressed(tmp_path, compressor):
    paths = compressed(tmp_path / "in" / "a", compressor)
    written = pydicom.dcmread(paths[0])
    if not written.file_meta.TransferSyntaxUID.is_compressed:
        pytest.skip(f"this GDCM does not write {compressor}")
    volume = read_series(only(tmp_path / "in"))
    np.testing.assert_array_equal(volume.array, phantom())


def test_run_lengths(tmp_path):
    for k, one in enumerate(phantom()):
        ds = header(one, "1", k, (0, 0, 5 * k))
        ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        save(ds, tmp_path / "a" / f"{k}.dcm")
    np.testing.assert_array_equal(read_series(only(tmp_path)).array, phantom())


def test_a_stream_of_another_size_than_the_header_says_is_refused(tmp_path):
    paths = compressed(tmp_path / "in" / "a", "JPEG2000")
    content = bytearray(paths[3].read_bytes())
    at = content.index(b"\xff\x4f\xff\x51")
    content[at + 8 : at + 12] = (60_000).to_bytes(4, "big")
    paths[3].write_bytes(content)
    assert "1 of 16 slices with a compressed stream of another size or damaged" in problem(tmp_path / "in")


def test_a_compressed_slice_that_is_cut_off_is_refused(tmp_path):
    """A decoder would make an image of the half that is there."""
    paths = compressed(tmp_path / "in" / "a", "JPEG2000")
    paths[3].write_bytes(paths[3].read_bytes()[:-30])
    assert problem(tmp_path / "in").startswith("1 of 16 slices with their end cut off")


def test_a_stream_that_crashes_its_decoder_costs_its_own_series_alone(tmp_path, monkeypatch):
    compressed(tmp_path / "in" / "a", "JPEG2000")
    write_series(tmp_path / "in" / "b", "2")
    found = find_scans(tmp_path / "in").series
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(TumorgenError, match=r"a: .*compressed"):
        read_series(found["a"])
    np.testing.assert_array_equal(read_series(found["b"]).array, phantom())


def test_streams_that_are_broken_inside_end_in_a_line(tmp_path):
    """Some of these make GDCM crash (Huffman tables), others ask for gigabytes (tiles)."""
    paths = compressed(tmp_path / "in" / "a", "JPEG")
    sound, rng = paths[3].read_bytes(), np.random.default_rng(1)
    begin = sound.index(b"\xe0\x7f\x10\x00") + 40
    for _ in range(4):
        broken = bytearray(sound)
        broken[begin + int(rng.integers(60))] ^= int(rng.integers(1, 256))
        paths[3].write_bytes(broken)
        for series in find_scans(tmp_path / "in").series.values():
            with suppress(TumorgenError):
                assert read_series(series).geometry.shape == (16, 16, 16)


def test_what_is_written_is_what_was_read_and_the_same_bytes_each_time(tmp_path):
    write_series(tmp_path / "a")
    convert_series(only(tmp_path), tmp_path / "out" / "1.nii.gz")
    convert_series(only(tmp_path), tmp_path / "out" / "2.nii.gz")
    assert (tmp_path / "out" / "1.nii.gz").read_bytes() == (tmp_path / "out" / "2.nii.gz").read_bytes()
    written, read = read_ct(tmp_path / "out" / "1.nii.gz"), read_series(only(tmp_path))
    np.testing.assert_array_equal(written.array, read.array)
    assert not written.geometry.difference(read.geometry)


# ---- which files make a case


def test_one_folder_a_series_and_names_do_not_matter(tmp_path):
    write_series(tmp_path / "one", "1", suffix="")
    write_series(tmp_path / "deep" / "er" / "two", "2", suffix=".IMA")
    found = find_scans(tmp_path)
    assert {case: one.folder for case, one in found.series.items()} == {
        "one": tmp_path / "one",
        "two": tmp_path / "deep" / "er" / "two",
    }
    assert not found.skipped


def test_several_in_one_folder_are_told_apart_by_a_short_hash(tmp_path):
    write_series(tmp_path / "mixed", "1", prefix="A")
    write_series(tmp_path / "mixed", "2", prefix="B", hu=phantom(12))
    found = find_scans(tmp_path).series
    assert all(re.fullmatch(r"mixed-[0-9a-f]{8}", case) for case in found)
    assert sorted(len(one.slices) for one in found.values()) == [12, 16]
    np.testing.assert_array_equal(
        read_series(next(one for one in found.values() if len(one.slices) == 12)).array, phantom(12)
    )
    before = set(found)
    write_series(tmp_path / "mixed", "3", prefix="C")
    assert before < set(find_scans(tmp_path).series)  # what comes later changes no name


def test_series_of_one_folder_name_and_volumes_of_it_have_names_of_their_own(tmp_path):
    write_series(tmp_path / "p1" / "CT", "1")
    write_series(tmp_path / "p2" / "ct", "2")
    write_series(tmp_path / "scan", "3")
    (tmp_path / "Scan.nii.gz").touch()
    found = find_scans(tmp_path)
    names = [*found.series, *found.volumes]
    assert len({name.lower() for name in names}) == 4
    assert sum(bool(re.fullmatch(r"(?i)(ct|scan)-[0-9a-f]{8}", case)) for case in found.series) == 3


def test_it_is_told_which_folder_has_which_of_these_names_but_no_uid(tmp_path):
    write_series(tmp_path / "p1" / "CT", "1")
    write_series(tmp_path / "p2" / "CT", "2")
    write_series(tmp_path / "p3" / f"{ROOT}3", "3")
    write_series(tmp_path / "p4" / "plain", "4")
    found = find_scans(tmp_path)
    assert {folder: case.rpartition("-")[0] for case, folder in found.numbered.items()} == {
        "p1/CT": "CT",
        "p2/CT": "CT",
        "p3/UID": "series",
    }
    assert found.numbered.keys() | {"plain"} == found.series.keys()


def test_series_of_one_study_share_what_stands_for_it(tmp_path):
    write_series(tmp_path / "a", "1")
    write_series(tmp_path / "b", "2")
    write_series(tmp_path / "c", "3", StudyInstanceUID=f"{ROOT}10")
    write_series(tmp_path / "d", "4", StudyInstanceUID=None)
    write_series(tmp_path / "e", "5", StudyInstanceUID="")
    save(header(phantom()[0], "6", 99, (-20, -30, 120), StudyInstanceUID=f"{ROOT}11"), tmp_path / "f" / "more.dcm")
    write_series(tmp_path / "f", "6")
    studies = {case: one.study for case, one in find_scans(tmp_path).series.items()}
    assert re.fullmatch(r"[0-9a-f]{16}", studies["a"])
    assert studies["b"] == studies["a"]
    assert studies["c"] not in ("", studies["a"])
    assert [studies[case] for case in "def"] == ["", "", ""]


def test_a_series_in_several_folders_is_one(tmp_path):
    paths = write_series(tmp_path / "exam" / "DIR0")
    (tmp_path / "exam" / "DIR1").mkdir()
    for path in paths[8:]:
        path.rename(tmp_path / "exam" / "DIR1" / path.name)
    series = only(tmp_path)
    assert (series.case, series.folder) == ("exam", tmp_path / "exam")
    np.testing.assert_array_equal(read_series(series).array, phantom())


@pytest.mark.parametrize("uid", [None, ""])
def test_a_series_whose_uids_were_taken_out_is_its_folder(tmp_path, uid):
    """As TotalSegmentator's example is."""
    for name in "ab":
        write_series(tmp_path / name, SeriesInstanceUID=uid, SOPInstanceUID="")
    found = find_scans(tmp_path).series
    assert list(found) == ["a", "b"]
    assert found["a"].key != found["b"].key
    assert list(found["a"].flags) == ["no_uid"]
    np.testing.assert_array_equal(read_series(found["a"]).array, phantom())


@pytest.mark.parametrize("changes", [{}, {"SeriesInstanceUID": "", "FrameOfReferenceUID": None}])
def test_slices_of_two_studies_are_no_volume(tmp_path, changes):
    """Of two patients, one above the other: anonymisers empty UIDs, or give all files the same."""
    for name, study, first in (("a", "10", 40), ("b", "11", 120)):
        positions = [(-20.0, -30.0, first + 5.0 * k) for k in range(16)]
        write_series(tmp_path / "in", prefix=name, positions=positions, StudyInstanceUID=f"{ROOT}{study}", **changes)
    assert problem(tmp_path / "in").startswith("its slices are of 2 studies")


def test_a_folder_that_is_called_as_a_uid_gives_a_hash(tmp_path):
    write_series(tmp_path / f"{ROOT}1")
    write_series(tmp_path / f"CT.{ROOT}2", "2")
    names = sorted(find_scans(tmp_path).series)
    assert len(names) == 2
    assert re.fullmatch(r"CT\.series-[0-9a-f]{8} series-[0-9a-f]{8}", " ".join(names))


def test_names_are_safe_as_files(tmp_path):
    write_series(tmp_path / "Ärzte & Söhne", "1")
    write_series(tmp_path / "con", "2")
    assert sorted(find_scans(tmp_path).series) == ["case-con", "rzte-S-hne"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, "MR, not CT"),
        ({"Modality": "PT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128"}, "PT, not CT"),
        ({"Modality": "SEG", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "SEG, not CT"),
        ({"Modality": "SR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11"}, "SR, not CT"),
        ({"Modality": "RTSTRUCT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3"}, "RTSTRUCT, not CT"),
        ({"Modality": "DOE"}, "of another modality, not CT"),
        ({"Modality": None}, "of another modality, not CT"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"}, "enhanced CT"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66"}, "of CT, but no slices"),
        ({"ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]}, "not axial"),
        ({"ImagePositionPatient": None}, "without position, orientation or spacing"),
        ({"PixelSpacing": None}, "without position, orientation or spacing"),
    ],
)
def test_what_is_no_axial_ct_is_skipped_and_listed_in_a_line(tmp_path, changes, reason):
    write_series(tmp_path / "ct", "1")
    write_series(tmp_path / "other", "2", **changes)
    found = find_scans(tmp_path)
    assert list(found.series) == ["ct"]
    (line,) = found.skipped
    assert line.startswith(f"other: 16 files, {reason}")
    assert "DOE" not in line


def test_series_of_few_slices_are_skipped(tmp_path):
    write_series(tmp_path / "few", "1", hu=phantom()[: LEAST_SLICES - 1])
    write_series(tmp_path / "enough", "2", hu=phantom()[:LEAST_SLICES])
    found = find_scans(tmp_path)
    assert list(found.series) == ["enough"]
    assert found.skipped == ("few: 9 files, a CT series of fewer than 10 axial slices",)


def test_localizers_and_reformats_in_a_series_are_no_slices_of_it(tmp_path):
    write_series(tmp_path / "ct", "1")
    kinds = ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]})
    for number, changes in enumerate(kinds):
        save(header(phantom()[0], "1", 90 + number, (0, 0, 0), **changes), tmp_path / "ct" / f"x{number}.dcm")
    np.testing.assert_array_equal(read_series(only(tmp_path)).array, phantom())
    assert find_scans(tmp_path).skipped == ("ct: 1 file, localizer", "ct: 1 file, not axial")


def test_what_is_no_dicom_is_not_looked_at(tmp_path):
    write_series(tmp_path / "ct")
    (tmp_path / "ct" / "README.txt").write_text("hello")
    (tmp_path / "ct" / "report2.txt").touch()
    (tmp_path / "ct" / "empty").touch()
    (tmp_path / "ct" / "preamble").write_bytes(bytes(132))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "IM0001").touch()
    save(header(phantom()[0], "7", 0, (0, 0, 0)), tmp_path / "ct" / ".hidden.dcm")
    directory = header(phantom()[0], "8", 0, (0, 0, 0), SOPClassUID="1.2.840.10008.1.3.10")
    save(directory, tmp_path / "DICOMDIR")
    found = find_scans(tmp_path)
    assert list(found.series) == ["ct"]
    assert not found.skipped
    assert not found.volumes


@pytest.mark.parametrize("there", [True, False])
def test_volumes_in_folders_below_are_not_read_and_counted_in_a_line(tmp_path, there):
    for name in ("b", "c"):
        write_volume(Volume(phantom(), Geometry(phantom().shape, (5.0, 2.5, 3.5))), tmp_path / name / f"{name}.nii.gz")
    if there:
        (tmp_path / "b" / "b.nii.gz").rename(tmp_path / "b.nii.gz")
    found = find_scans(tmp_path)
    assert list(found.volumes) == ["b"] * there
    (line,) = found.skipped
    assert line.startswith(f"{tmp_path}: {'1 file' if there else '2 files'}, volumes in folders below")


def test_links_to_folders_are_not_followed_and_pipes_not_opened(tmp_path):
    write_series(tmp_path / "elsewhere" / "ct")
    write_series(tmp_path / "in" / "own", "2")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "nothing.dcm").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "in" / "pipe")
    found = find_scans(tmp_path / "in")
    assert list(found.series) == ["own"]
    assert sum("a link to a folder, which is not followed" in line for line in found.skipped) == 2
    assert sum("damaged" in line for line in found.skipped) == 1


# ---- what would be in a wrong place is refused


def test_a_missing_slice_is_refused(tmp_path):
    write_series(tmp_path / "a")[6].unlink()
    assert problem(tmp_path).startswith("1 slice missing, at 1 place (5 mm apart elsewhere)")


def test_several_missing_slices_are_counted(tmp_path):
    paths = write_series(tmp_path / "a", hu=phantom(40))
    for number in (6, 7, 20):
        paths[number].unlink()
    assert problem(tmp_path).startswith("3 slices missing, at 2 places")


def test_mixed_spacing_is_refused(tmp_path):
    write_series(tmp_path / "a", positions=steps(*range(0, 40, 5), *range(40, 56, 2)))
    assert problem(tmp_path).startswith("its slices are unevenly spaced, 2 to 5 mm")


def test_halves_of_double_spacing_are_mixed_and_not_missing(tmp_path):
    write_series(tmp_path / "a", positions=steps(*range(0, 45, 5), *range(50, 120, 10)))
    assert problem(tmp_path).startswith("its slices are unevenly spaced, 5 to 10 mm")


@pytest.mark.parametrize("digits", [1, 2, 6])
def test_rounded_positions_are_regular(tmp_path, digits):
    write_series(tmp_path / "a", positions=steps(*(round(-31.2 + 1.25 * k, digits) for k in range(16))))
    volume = read_series(only(tmp_path))
    assert volume.geometry.spacing_mm[0] == pytest.approx(1.25, abs=0.01)


def test_gantry_tilt_is_refused(tmp_path):
    """Slices are turned by 12 degrees, the table moves along z: each lies beside the normal of the one before."""
    angle = np.radians(12)
    write_series(tmp_path / "a", ImageOrientationPatient=[1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))])
    assert problem(tmp_path).startswith("its gantry was tilted by 12.0 degrees")


def test_slices_that_are_shifted_are_refused(tmp_path):
    places = [(-20.0 + 4 * (k % 2), -30.0, 5.0 * k) for k in range(16)]
    write_series(tmp_path / "a", positions=places)
    assert problem(tmp_path) == "its slices are shifted against each other by up to 4.0 mm"


def test_two_slices_at_a_place_are_refused(tmp_path):
    write_series(tmp_path / "a", prefix="A")
    for number in range(16):
        ds = header(phantom()[number] + 1, "1", 100 + number, (-20, -30, 40 + 5 * number))
        save(ds, tmp_path / "a" / f"B{number}.dcm")
    with pytest.raises(TumorgenError, match="16 slices at the place of another one, with other voxels"):
        read_series(only(tmp_path))


def test_files_that_are_there_twice_are_read_once_and_flagged(tmp_path):
    for path in write_series(tmp_path / "a")[:3]:
        path.with_name(f"copy of {path.name}").write_bytes(path.read_bytes())
    series = only(tmp_path)
    np.testing.assert_array_equal(read_series(series).array, phantom())
    assert series.flags == {"copied_slices": "3 slices of the series there twice, with the same voxels"}


def test_a_copy_with_other_voxels_is_none(tmp_path):
    write_series(tmp_path / "a")
    save(header(phantom()[3] + 1, "1", 3, (-20, -30, 55)), tmp_path / "a" / "other.dcm")
    with pytest.raises(TumorgenError, match="say that they are the same slice, but their voxels differ"):
        read_series(only(tmp_path))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ImageOrientationPatient": [0.8, 0.6, 0, -0.6, 0.8, 0]}, "its slices lie in different directions"),
        ({"PixelSpacing": [2.5, 3.4]}, "its slices have pixels of different sizes"),
        ({"Rows": 8, "Columns": 32}, "its slices are of different sizes (8 x 32 and 16 x 16)"),
        ({"PixelSpacing": [0, 0]}, "1 of 17 slices with a spacing that no CT has"),
        ({"PixelSpacing": [2.5]}, "1 of 17 slices with a header that is damaged"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.1, 1, 0]}, "1 of 17 slices with directions that are not orthonormal"),
        ({"ImageOrientationPatient": [1, 0, 0]}, "1 of 17 slices with a header that is damaged"),
        ({"ImagePositionPatient": [0, 0, 1e9]}, "1 of 17 slices with a position that no CT has"),
        ({"Rows": 60000, "Columns": 60000}, "1 of 17 slices with a size that no CT has"),
        ({"Rows": 0}, "1 of 17 slices with a size that no CT has"),
        ({"Rows": 17}, "1 of 17 slices with voxels of a wrong length"),
        ({"Rows": 15}, "1 of 17 slices with voxels of a wrong length"),
        ({"NumberOfFrames": 2}, "1 of 17 slices with several frames"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "1 of 17 slices with voxels not of 16 bits"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "1 of 17 slices with inverted grey values (MONOCHROME1)"),
        ({"RescaleSlope": None}, "1 of 17 slices with no rescaling to HU"),
        ({"RescaleSlope": 0}, "1 of 17 slices with no rescaling to HU"),
        ({"RescaleType": "Z_EFF"}, "1 of 17 slices with no rescaling to HU"),
    ],
)
def test_one_slice_that_does_not_go_with_the_others_spoils_the_series(tmp_path, changes, reason):
    write_series(tmp_path / "a")
    save(header(phantom()[0], "1", 16, (-20, -30, 120), **changes), tmp_path / "a" / "odd.dcm")
    assert problem(tmp_path).startswith(reason)


def test_more_than_the_limit_is_refused(tmp_path, monkeypatch):
    write_series(tmp_path / "a")
    monkeypatch.setenv("TUMORGEN_MAX_GIB", "1e-5")
    assert problem(tmp_path) == "16 slices of 16 x 16 voxels are more than the limit"


def test_a_slice_that_is_cut_off_spoils_the_series(tmp_path):
    path = write_series(tmp_path / "a")[5]
    path.write_bytes(path.read_bytes()[:-100])
    assert problem(tmp_path).startswith("1 of 16 slices with their end cut off")


def test_a_header_that_is_cut_off_is_told_and_flagged(tmp_path):
    """Of which series it was is not known: an end that is missing leaves no gap."""
    path = write_series(tmp_path / "a")[15]
    path.write_bytes(path.read_bytes()[:400])
    (tmp_path / "a" / "no.dcm").write_text("junk")
    found = find_scans(tmp_path)
    assert found.skipped == ("a: 2 files, damaged or cut off, so not known to which series they belong",)
    assert only(tmp_path).flags == {
        "damaged_beside": "2 files beside the series cannot be read, and may be slices of it"
    }


@pytest.mark.parametrize("content", [b"", bytes(100), bytes(132), bytes(5000)])
@pytest.mark.parametrize("suffix", ["", ".img", ".7"])
def test_slices_that_lost_their_content_are_told_and_flagged_whatever_their_names(tmp_path, content, suffix):
    """An end that is missing leaves no gap, so a third of the liver may be gone without a word."""
    for path in write_series(tmp_path / "a", suffix=suffix)[-3:]:
        path.write_bytes(content)
    (tmp_path / "a" / "VERSION").touch()
    found = find_scans(tmp_path)
    assert found.skipped == ("a: 3 files, damaged or cut off, so not known to which series they belong",)
    assert list(only(tmp_path).flags) == ["damaged_beside"]


@pytest.mark.parametrize(
    ("changes", "flag"),
    [({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "derived"), ({"LossyImageCompression": "01"}, "lossy")],
)
def test_what_is_doubtful_is_flagged(tmp_path, changes, flag):
    write_series(tmp_path / "a", **changes)
    assert list(only(tmp_path).flags) == [flag]
    assert flag in SERIES_FLAGS


# ---- hostile files


def test_a_deflated_file_is_not_inflated(tmp_path):
    write_series(tmp_path / "a")
    ds = header(phantom()[0], "2", 0, (0, 0, 0))
    ds.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    ds.PixelData = bytes(1 << 26)
    save(ds, tmp_path / "bomb.dcm")
    found = find_scans(tmp_path)
    assert [line for line in found.skipped if "deflated DICOM, which is not read" in line]
    assert list(found.series) == ["a"]


def test_a_header_of_gigabytes_is_not_read(tmp_path):
    write_series(tmp_path / "a")
    content = (tmp_path / "a" / "IM0000.dcm").read_bytes()
    at = content.index(b"\xe0\x7f\x10\x00")
    with (tmp_path / "huge.dcm").open("wb") as file:
        file.write(content[:at] + b"\x09\x01\x01\x10UN\x00\x00" + (0xFFFFFFF0).to_bytes(4, "little"))
        file.truncate(1 << 33)  # sparse
    assert (
        find_scans(tmp_path).skipped[0].endswith("1 file, damaged or cut off, so not known to which series they belong")
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    write_series(folder / "a")
    return folder


@given(data=st.data())
def test_mutated_files_end_in_a_line_that_says_nothing_of_them(tmp_path_factory, sound, data):
    path = sound / "a" / "IM0007.dcm"
    content = bytearray(path.read_bytes())
    try:
        mutated = bytearray(content)
        for _ in range(data.draw(st.integers(1, 8))):
            mutated[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.none() | st.integers(0, len(content)))
        path.write_bytes(mutated[:cut])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = find_scans(sound)
        said = list(found.skipped)
        for series in found.series.values():
            try:
                read_series(series)
            except TumorgenError as error:
                said.append(str(error))
        assert all(secret not in line and "\n" not in line for line in said for secret in (*SECRETS, ROOT))
    finally:
        path.write_bytes(content)


# ---- the command


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Brighter than 80 HU is liver."""
    return threshold_model(tmp_path_factory.mktemp("models") / "nnUNetTrainer__nnUNetPlans__3d_fullres")


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """A working directory with good series, bad ones and other things in `in/`."""
    monkeypatch.chdir(tmp_path)
    write_series(Path("in/good"), "1", hu=phantom(24, 40))
    write_series(Path("in/mixed"), "2", prefix="A", hu=phantom(24, 40))
    write_series(Path("in/mixed"), "3", prefix="B", hu=phantom(24, 40), Modality="MR")
    write_series(Path("in/mixed"), "4", prefix="C", hu=phantom(2), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_series(Path("in/gap"), "5")[6].unlink()
    torn = write_series(Path("in/torn"), "6")[2]
    torn.write_bytes(torn.read_bytes()[:300])
    return tmp_path


def command(*arguments: object):
    return CliRunner().invoke(main, ["liver-mask", *map(str, arguments)])


def everything(folder: Path) -> bytes:
    """All that files below a folder hold, unpacked where they are packed, and their names."""
    import gzip

    said = []
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        said += [str(path).encode(), content, gzip.decompress(content) if path.suffix == ".gz" else b""]
    return b"\n".join(said)


def test_the_command_makes_images_and_masks_and_lists_the_rest(work, model, capfd):
    result = command("in", "livers", "--model", model, "--device", "cpu")
    assert result.exit_code == 1, result.output
    rows = {row.case: row for row in read_scans(Path("manifests/scans.csv"))}
    assert {case: row.status for case, row in rows.items()} == {
        "gap": "failed",
        "good": "ok",
        "mixed": "ok",
        "torn": "failed",
    }
    assert rows["good"].image == str(work / "livers" / "images" / "good.nii.gz")
    np.testing.assert_array_equal(read_volume(Path("livers/images/good.nii.gz")).array, phantom(24, 40))
    mask = read_volume(Path("livers/good.nii.gz"))
    assert not mask.geometry.difference(read_volume(Path("livers/images/good.nii.gz")).geometry)
    assert mask.array.sum() > 0.9 * (phantom(24, 40) == 120).sum()
    assert "skipped: mixed: 24 files, MR, not CT\n" in result.stderr
    assert "skipped: mixed: 2 files, localizer\n" in result.stderr
    assert re.search(r"^failed: gap: in/gap: 1 slice missing, at 1 place", result.stderr, re.MULTILINE)
    assert result.stderr.count("a model file is code") == 1
    assert "\nlivers: 2 liver masks, 0 to check, 2 made in " in result.stdout


def test_no_patient_gets_out(work, model, capfd):
    """Into no file that is written, no name, no line that is printed, by whatever library."""
    before = set(work.rglob("*"))
    for options in ([], ["--overwrite"]):
        result = CliRunner().invoke(
            main, ["--debug", "liver-mask", "in", "livers", "--model", str(model), "--device", "cpu", *options]
        )
        printed = capfd.readouterr()
        said = (result.output + result.stderr + printed.out + printed.err).encode()
        new = b"\n".join(everything(path) for path in {p.parent for p in work.rglob("*") if p not in before} - {work})
        assert b"livers" in new
        for secret in (*SECRETS, *(part for name in SECRETS for part in name.split("^")), ROOT):
            assert secret.encode() not in said, secret
            assert secret.encode() not in new, secret


def test_images_say_nothing_but_voxels_and_geometry(work, model):
    import nibabel

    command("in", "livers", "--model", model, "--device", "cpu")
    loaded = nibabel.load(work / "livers" / "images" / "good.nii.gz")
    for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        if field in loaded.header:
            assert bytes(loaded.header[field]).strip(b"\0") == b"", field
    assert not loaded.header.extensions


def test_the_same_command_again_does_only_what_is_missing(work, model):
    arguments = ("in", "livers", "--model", model, "--device", "cpu")
    command(*arguments)
    stamps = {path: path.stat().st_mtime_ns for path in Path("livers").rglob("*.nii.gz")}
    write_series(Path("in/gap"), "5")  # what was missing is there
    again = command(*arguments)
    assert "1 made in" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    Path("livers/images/good.nii.gz").unlink()
    assert "1 made in" in command(*arguments).stdout
    assert Path("livers/images/good.nii.gz").is_file()


def test_a_series_that_has_grown_is_done_again(work, model):
    (row,) = one(work, model, "in/good")
    save(header(phantom(24, 40)[0], "1", 50, (-20, -30, 40 + 5 * 24)), Path("in/good/more.dcm"))
    (again,) = one(work, model, "in/good")
    assert (row.shape_z, again.shape_z) == (24, 25)


def test_another_series_of_the_same_name_is_not_taken_for_the_first(work, model):
    one(work, model, "in/good")
    write_series(Path("other/good"), "77", hu=phantom(24, 40, liver_hu=110))
    (row,) = one(work, model, "other/good")
    assert row.hu_mean == pytest.approx(110, abs=10)


def test_a_series_that_gets_another_name_is_in_the_table_once(work, model):
    """Else a patient might be on both sides of a split."""
    one(work, model, "in/good")
    write_series(Path("in/good"), "78", prefix="second", hu=phantom(24, 40))
    rows = one(work, model, "in/good")
    assert len(rows) == 2
    assert len({row.source for row in rows}) == 2
    assert all(re.fullmatch(r"good-[0-9a-f]{8}", row.case) for row in rows)


def one(work: Path, model: Path, source: str) -> list:
    result = command(source, "livers", "--model", model, "--device", "cpu")
    assert result.exit_code == 0, result.output
    return read_scans(work / "manifests" / "scans.csv")


def test_synth_goes_on_from_there(work, model):
    write_series(Path("big/case"), "1", hu=phantom(40, 60), PixelSpacing=[3.0, 3.0])
    assert command("big", "livers", "--model", model, "--device", "cpu").exit_code == 0
    result = CliRunner().invoke(main, ["synth", "--per-scan", "1", "--sizes", "tiny", "--jobs", "1", "--output", "raw"])
    assert result.exit_code == 0, result.output
    (image,) = Path("raw").rglob("imagesTr/*.nii.gz")
    assert not read_volume(image).geometry.difference(read_volume(Path("livers/images/case.nii.gz")).geometry)
    assert not any(secret.encode() in everything(Path("raw")) for secret in (*SECRETS, ROOT))


def test_scans_of_one_study_are_one_patients_unless_a_table_says_otherwise(work, model):
    for case, uid, study in (("a", "1", "9"), ("b", "2", "10"), ("c", "3", "9"), ("d", "4", "11")):
        hu = phantom(40, 60, liver_hu=110 + int(uid))
        write_series(Path("big") / case, uid, hu=hu, PixelSpacing=[3.0, 3.0], StudyInstanceUID=f"{ROOT}{study}")
    assert command("big", "livers", "--model", model, "--device", "cpu").exit_code == 0
    arguments = ["--per-scan", "1", "--sizes", "tiny", "--jobs", "1"]
    result = CliRunner().invoke(main, ["synth", *arguments, "--output", "raw"])
    assert result.exit_code == 0, result.output
    assert "note: 2 scans are of one DICOM study with others, and so of one patient: c with a\n" in result.stdout
    (manifest,) = Path("raw").rglob("manifest.csv")
    assert {entry.case: entry.patient for entry in read_entries(manifest)} == {"a": "a", "b": "", "c": "a", "d": ""}
    Path("patients.csv").write_text("case,patient\na,one\nb,one\nd,two\n")
    result = CliRunner().invoke(main, ["synth", *arguments, "--output", "other", "--patients", "patients.csv"])
    assert result.exit_code == 0, result.output
    (manifest,) = Path("other").rglob("manifest.csv")
    assert {entry.case: entry.patient for entry in read_entries(manifest)} == {"a": "a", "b": "a", "c": "a", "d": "d"}


@pytest.mark.parametrize("output", ["in", "in/good"])
def test_masks_do_not_go_among_the_series(work, model, output):
    source = "in" if output == "in" else "in/good"
    result = command(source, output, "--model", model, "--device", "cpu")
    assert result.exit_code == 2
    assert "masks need a folder of their own" in result.stderr


def test_a_folder_without_ct_is_said(work, model):
    write_series(Path("mr/a"), "9", Modality="MR")
    result = command("mr", "livers", "--model", model)
    assert result.exit_code == 2
    assert "skipped: a: 16 files, MR, not CT" in result.stderr
    assert "no volumes in it" in result.stderr
    assert "no DICOM series of axial CT slices" in result.stderr


def test_nothing_is_loaded_where_no_series_can_be_read(tmp_path):
    write_series(tmp_path / "in" / "gap", "5")[6].unlink()
    found = find_scans(tmp_path / "in")
    report = mask_scans(
        found.volumes, tmp_path / "out", lambda: 1 / 0, series=found.series, table=tmp_path / "scans.csv"
    )
    assert [row.status for row in report.rows] == ["failed"]


def test_attributes_that_are_read_are_none_of_the_patients():
    """Part 3, C.7.1: what describes a patient is of group 0010."""
    tags = [pydicom.datadict.tag_for_keyword(name) for name in dicom_slices._ATTRIBUTES]
    assert None not in tags
    assert not [tag for tag in tags if tag >> 16 == 0x0010]


def test_ct_is_what_the_standard_calls_it():
    assert pydicom.uid.UID(CT).name == "CT Image Storage"
    assert pydicom.uid.UID(dicom_slices._ENHANCED).name == "Enhanced CT Image Storage"
    assert all(pydicom.uid.UID(uid).is_transfer_syntax for uid in (*dicom_slices._PLAIN, *dicom_slices._PACKED))
