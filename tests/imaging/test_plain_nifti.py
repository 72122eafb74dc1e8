"""tumorgen.imaging.plain_nifti: it says what SimpleITK says, or nothing."""

from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.plain_nifti import DIRECTION, SIZE, Plain, read_plain, unpack
from tumorgen.imaging.reading import read_volume

lengths = st.tuples(*[st.floats(0.0101, 99.9)] * 3)
places = st.tuples(*[st.floats(-9e4, 9e4).map(lambda mm: round(mm, 4))] * 3)
types = st.sampled_from([np.uint8, np.int16, np.int32, np.float32, np.uint16])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("plain") / "volume.nii"


def written_by_itk(path, shape, spacing, origin, direction, dtype):
    sitk.WriteImage(to_image(Volume(np.zeros(shape, dtype), Geometry(shape, spacing, origin, direction))), str(path))
    return path.read_bytes()[:SIZE]


@settings(deadline=None, max_examples=200)
@given(st.tuples(*[st.integers(2, 9)] * 3), lengths, places, types)
def test_headers_are_those_that_itk_writes_and_mean_what_itk_reads(path, shape, spacing, origin, dtype):
    header = written_by_itk(path, shape, spacing, origin, DIRECTION, dtype)
    assert Plain(shape, spacing, origin, np.dtype(dtype)).pack() == header
    plain = unpack(header)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    itk = reader.GetSize()[::-1], reader.GetSpacing()[::-1], reader.GetOrigin(), reader.GetDirection()
    assert repr(itk) == repr((plain.shape, plain.spacing_mm, plain.origin_mm, DIRECTION))  # signs of zeros too
    assert plain.dtype == dtype


def test_a_header_that_differs_in_any_byte_is_left_to_itk_or_is_plain_itself(path):
    header = written_by_itk(path, (3, 4, 5), (1.5, 0.75, 0.75), (10.0, -20.0, 30.0), DIRECTION, np.int16)
    for place, bit in product(range(SIZE), range(8)):
        other = bytearray(header)
        other[place] ^= 1 << bit
        plain = unpack(bytes(other))
        assert plain is None or plain.pack() == other


@pytest.mark.parametrize(
    "turn", [(-1.0, 0, 0, 0, 1, 0, 0, 0, 1), (0, 1, 0, 1, 0, 0, 0, 0, 1), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)]
)
def test_turned_and_mirrored_volumes_are_left_to_itk(path, turn):
    written_by_itk(path, (3, 4, 5), (1.5, 0.75, 0.75), (10.0, -20.0, 30.0), turn, np.int16)
    assert read_plain(path) is None
    assert np.allclose(read_volume(path).geometry.direction, turn, atol=1e-6)


@pytest.mark.parametrize(
    "change", [{"shape": (1, 4, 5)}, {"spacing_mm": (0.0, 1.0, 1.0)}, {"origin_mm": (np.nan, 0.0, 0.0)}]
)
def test_numbers_that_no_scanner_makes_are_left_to_itk(change):
    sane = {"shape": (3, 4, 5), "spacing_mm": (1.0, 1.0, 1.0), "origin_mm": (0.0, 0.0, 0.0), "dtype": np.dtype("<i2")}
    assert Plain(**sane).pack()
    assert Plain(**(sane | change)).pack() is None
