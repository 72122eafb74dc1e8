"""The header that ITK writes for volumes along the axes, known without it: the same that ITK says, or nothing."""

import struct
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.nifti import DIRECTION, DTYPES, plain_geometry, plain_header
from tumorgen.imaging.reading import read_volume

SIZE = 352  # bytes: the header, and four that announce no extension
lengths = st.tuples(*[st.floats(0.0101, 99.9)] * 3)
places = st.tuples(*[st.floats(-9e4, 9e4).map(lambda mm: round(mm, 4))] * 3)
types = st.sampled_from([np.dtype(kind) for kind in DTYPES.values()])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("plain") / "volume.nii"


def written_by_itk(path, shape, spacing, origin, direction, dtype):
    sitk.WriteImage(to_image(Volume(np.zeros(shape, dtype), Geometry(shape, spacing, origin, direction))), str(path))
    return path.read_bytes()[:SIZE]


@settings(max_examples=200)
@given(st.tuples(*[st.integers(2, 9)] * 3), lengths, places, types)
def test_headers_are_those_that_itk_writes_and_mean_what_itk_reads(path, shape, spacing, origin, dtype):
    header = written_by_itk(path, shape, spacing, origin, DIRECTION, dtype)
    assert plain_header(Geometry(shape, spacing, origin), dtype) == header
    plain = plain_geometry(header)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    itk = reader.GetSize()[::-1], reader.GetSpacing()[::-1], reader.GetOrigin(), reader.GetDirection()
    assert repr(itk) == repr((plain.shape, plain.spacing_mm, plain.origin_mm, plain.direction))  # signs of zeros too


def test_a_header_that_differs_in_any_byte_is_left_to_itk_or_is_plain_itself(path):
    header = written_by_itk(path, (3, 4, 5), (1.5, 0.75, 0.75), (10.0, -20.0, 30.0), DIRECTION, np.int16)
    for place, bit in product(range(SIZE), range(8)):
        other = bytearray(header)
        other[place] ^= 1 << bit
        try:
            plain = plain_geometry(bytes(other))
        except TumorgenError:  # no header of NIfTI any more
            continue
        (code,) = struct.unpack_from("<h", other, 70)
        assert plain is None or plain_header(plain, np.dtype(DTYPES[code])) == other


@pytest.mark.parametrize(
    "turn", [(-1.0, 0, 0, 0, 1, 0, 0, 0, 1), (0, 1, 0, 1, 0, 0, 0, 0, 1), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)]
)
def test_turned_and_mirrored_volumes_are_left_to_itk(path, turn):
    written_by_itk(path, (3, 4, 5), (1.5, 0.75, 0.75), (10.0, -20.0, 30.0), turn, np.int16)
    assert plain_geometry(path.read_bytes()[:SIZE]) is None
    assert np.allclose(read_volume(path).geometry.direction, turn, atol=1e-6)


@pytest.mark.parametrize(
    "change", [{"shape": (1, 4, 5)}, {"spacing_mm": (0.0, 1.0, 1.0)}, {"origin_mm": (np.nan, 0.0, 0.0)}]
)
def test_numbers_that_no_scanner_makes_are_left_to_itk(change):
    sane = Geometry((3, 4, 5), (1.0, 1.0, 1.0))
    assert plain_header(sane, np.dtype("<i2"))
    assert plain_header(replace(sane, **change), np.dtype("<i2")) is None
