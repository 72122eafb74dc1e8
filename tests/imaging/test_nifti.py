"""Headers of NIfTI, read by own code: held against nibabel's, field by field and file by file."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorgen.errors import TumorgenError
from tumorgen.imaging.nifti import DTYPES, NIFTI_1, is_scaled, parse_header, voxel_type
from tumorgen.imaging.reading import read_volume


def test_every_field_lies_where_nibabel_has_it():
    layout = nib.Nifti1Header.template_dtype
    assert NIFTI_1.itemsize == layout.itemsize
    for name in NIFTI_1.names:
        (kind, place), (other, there) = NIFTI_1.fields[name][:2], layout.fields[name][:2]
        assert (name, place, kind.newbyteorder("=")) == (name, there, other.newbyteorder("="))


@pytest.mark.parametrize("code", DTYPES)
def test_data_types_are_nibabels(code):
    assert np.dtype(DTYPES[code]) == nib.nifti1.data_type_codes.dtype[code]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("code", DTYPES)
def test_files_of_every_type_and_byte_order_are_read_as_nibabel_reads_them(tmp_path, code, order):
    stored = np.dtype(DTYPES[code]).newbyteorder(order)
    values = np.random.default_rng(code).integers(0, 100, (5, 4, 3)).astype(stored)
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(stored)
    path = tmp_path / "scan.nii"
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 3.0, 4.0, 1.0]), header), path)
    read = read_volume(path).array
    assert read.shape == (3, 4, 5)
    assert read.dtype == np.dtype(DTYPES[code])
    np.testing.assert_array_equal(read.transpose(), np.asarray(nib.load(path).dataobj))
    parsed = parse_header(path.read_bytes())
    assert voxel_type(parsed) == nib.load(path).get_data_dtype()


@given(st.floats(-4, 4, width=32), st.floats(-4, 4, width=32))
def test_what_counts_as_scaled_is_what_nibabel_scales(slope, inter):
    header = nib.Nifti1Header()
    header["scl_slope"], header["scl_inter"] = slope, inter
    asked = header.get_slope_inter()
    assert is_scaled(parse_header(header.binaryblock[:344] + b"n+1\x00")) == (asked not in ((None, None), (1, 0)))


def test_a_pair_of_files_and_other_bytes_are_refused():
    pair = nib.Nifti1Pair(np.zeros((2, 2, 2), np.int16), np.eye(4)).header.binaryblock
    for start, reason in (
        (pair[:344] + b"ni1\x00", "file of their own"),
        (b"\x00" * 600, "no NIfTI header"),
        (b"", "no NIfTI header"),
    ):
        with pytest.raises(TumorgenError, match=reason):
            parse_header(start)


@pytest.mark.parametrize("order", "<>")
def test_nifti_2_is_refused_by_its_name(tmp_path, order):
    image = nib.Nifti2Image(np.zeros((4, 4, 4), np.int16), np.eye(4), nib.Nifti2Header(endianness=order))
    image.to_filename(tmp_path / "scan.nii")
    with pytest.raises(TumorgenError, match=r"scan\.nii: not a readable volume \(NIfTI-2, which is not read"):
        read_volume(tmp_path / "scan.nii")


def test_a_quaternion_that_is_no_rotation_is_refused(tmp_path):
    made = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), None)
    made.header["qform_code"], made.header["sform_code"] = 1, 0
    made.header["quatern_b"], made.header["quatern_c"] = 1, 1
    path = tmp_path / "scan.nii"
    nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_filename(path)
    whole = bytearray(path.read_bytes())
    for name in ("qform_code", "sform_code", "quatern_b", "quatern_c"):
        kind, place = NIFTI_1.fields[name][:2]
        whole[place : place + kind.itemsize] = np.array(made.header[name], kind).tobytes()
    path.write_bytes(whole)
    with pytest.raises(TumorgenError, match="no rotation"):
        read_volume(path)
