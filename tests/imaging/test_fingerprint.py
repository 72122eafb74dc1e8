"""The fingerprint of a CT: equal for every file of one scan, another for any other scan."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tumorgen.imaging import Geometry, Volume, fingerprint_ct, read_ct, write_volume

SHAPE = (6, 9, 7)
RNG = np.random.default_rng(4)
HU = np.clip(RNG.normal(0, 300, SHAPE), -1024, 3071).round().astype(np.int16)
HU[0, 0, 0], HU[-1, -1, -1] = -1000, 400  # air and tissue
SAME = fingerprint_ct(HU)
TURNED = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("kind", ["int16", "int32", "float32", "float64"])
def test_every_container_and_data_type_of_a_scan_gives_one(tmp_path, ending, kind):
    path = tmp_path / f"scan{ending}"
    write_volume(Volume(HU.astype(kind), Geometry(SHAPE, (5.0, 0.8, 0.8))), path)
    assert fingerprint_ct(read_ct(path).array) == SAME


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(SHAPE, (1.0, 1.0, 1.0)),
        Geometry(SHAPE, (2.5, 0.7, 0.7), (-120.0, 33.0, 900.0)),
        Geometry(SHAPE, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), TURNED),
    ],
)
def test_another_geometry_header_is_the_same_scan(tmp_path, geometry):
    write_volume(Volume(HU, geometry), tmp_path / "scan.nii.gz")
    assert fingerprint_ct(read_ct(tmp_path / "scan.nii.gz").array) == SAME


def test_the_same_voxels_from_any_corner_along_any_axis_are_the_same_scan():
    """As LPS, RAS and the other 46 ways to lay a scan's axes hold them."""
    for order, steps in product(permutations(range(3)), product((1, -1), repeat=3)):
        laid = HU.transpose(order)[tuple(slice(None, None, step) for step in steps)]
        assert fingerprint_ct(laid) == SAME
    cube = HU[:6, :6, :6]
    assert {fingerprint_ct(cube.transpose(order)) for order in permutations(range(3))} == {fingerprint_ct(cube)}


def test_big_endian_and_rescaled_values_are_the_same_scan():
    assert fingerprint_ct(HU.astype(">i2")) == SAME
    stored = (HU.astype(np.float32) + 1024) / np.float32(0.1)  # whole numbers only but for the rounding of a slope
    assert fingerprint_ct(stored * np.float32(0.1) - 1024) == SAME


def test_fractions_of_hu_are_the_same_in_float32_and_float64():
    """Rounded to whole HU at once, a value just below a half would fall to either side."""
    hu = np.array(HU + np.random.default_rng(1).random(SHAPE), np.float64)
    hu[2, 3, 4] = 101.5 - 1e-9
    assert fingerprint_ct(hu) == fingerprint_ct(hu.astype(np.float32)) != SAME


def test_padding_below_air_and_metal_above_twelve_bits_do_not_count():
    padded, cut = HU.astype(np.int32), HU.astype(np.int32)
    padded[:, 0, :], cut[:, 0, :] = -3024, -1024
    padded[3, 4, 5], cut[3, 4, 5] = 20000, 3071
    assert fingerprint_ct(padded) == fingerprint_ct(cut) != SAME


@given(st.integers(0, HU.size - 1), st.sampled_from([-1, 1, 50]))
def test_one_voxel_of_another_value_is_another_scan(at, change):
    other = HU.copy()
    value = other.flat[at]
    other.flat[at] = value + change if -1024 <= value + change <= 3071 else value - change
    assert fingerprint_ct(other) != SAME


@given(arrays(np.int16, SHAPE, elements=st.integers(-1024, 3071)))
def test_another_scan_has_another(other):
    assert (fingerprint_ct(other) == SAME) == np.array_equal(other, HU)


def test_the_sums_of_a_large_scan_are_exact():
    """Half a million voxels a plane, all as bright as can be: float32 would lose the last voxel."""
    hu = np.full((2, 2048, 2048), 3071, np.int16)
    other = hu.copy()
    other[1, 7, 9] -= 1
    assert fingerprint_ct(hu) != fingerprint_ct(other)
