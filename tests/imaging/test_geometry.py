"""Places in space, with oblique and left-handed directions: points are ITK's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nifti_files import PLACE
from scipy.spatial.transform import Rotation

from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.itk import to_image

COORDINATES = st.tuples(*[st.floats(-50, 300)] * 3)


@st.composite
def geometries(draw) -> Geometry:
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    direction = Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
    if draw(st.booleans()):
        direction = direction @ np.diag([1.0, 1.0, -1.0])  # left-handed, as files with flipped slices have it
    spacing, origin = draw(st.tuples(*[st.floats(0.3, 8)] * 3)), draw(st.tuples(*[st.floats(-2000, 2000)] * 3))
    return Geometry((5, 6, 7), spacing, origin, tuple(direction.ravel().tolist()))


@given(geometries(), COORDINATES)
def test_index_and_point_are_inverse(geometry, index):
    # 2 m away, float64 knows a point to 1e-12 m; divided by the smallest spacing it is still far below 1e-6 voxels.
    np.testing.assert_allclose(geometry.to_index(geometry.to_mm(index)), index, atol=1e-6)


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


@pytest.mark.parametrize(("degrees", "axial"), [(0, True), (40, True), (50, False), (90, False), (180, True)])
def test_slices_are_axial_up_to_45_degrees(degrees, axial):
    """Turned around the patient's left to right; and the same upside down."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    for sign in (1, -1):
        direction = (1.0, 0.0, 0.0, 0.0, c, -s * sign, 0.0, s, c * sign)
        assert Geometry((4, 4, 4), (1.0, 1.0, 1.0), direction=direction).is_axial == axial
