"""The outline of a coarse mask goes where the scan says that the liver ends; on a ball of known radius."""

import numpy as np
import pytest
from scipy import ndimage

from tumorgen.evaluation.overlap import dsc
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.liver.outline import REACH_MM, fit_outline, signed_depth_mm

RADIUS_MM = 35.0


def ball(spacing=(2.5, 1.0, 1.0), around_hu: float = -90.0, noise_hu: float = 12.0) -> tuple[Volume, np.ndarray]:
    """A liver of 110 HU in fat or whatever is around it, with noise and a blurred edge."""
    shape = tuple(round(110 / s) for s in spacing)
    away = distance_mm(shape, spacing)
    liver = away < RADIUS_MM
    hu = ndimage.gaussian_filter(np.where(liver, 110.0, around_hu), [0.7 / s for s in spacing])
    hu += np.random.default_rng(0).normal(0, noise_hu, shape)
    return Volume(np.rint(hu).astype(np.int16), Geometry(shape, spacing)), liver


def distance_mm(shape, spacing, middle=(55.0, 55.0, 55.0)) -> np.ndarray:
    z, y, x = (np.arange(n) * s - m for n, s, m in zip(shape, spacing, middle, strict=True))
    return np.sqrt((z**2)[:, None, None] + (y**2)[None, :, None] + x**2)


def coarse(ct: Volume, grown_mm: float, moved_mm: float = 0.0) -> np.ndarray:
    """The ball as a network might give it: too large or too small, and beside its place."""
    middle = (55.0, 55.0 + moved_mm, 55.0)
    return distance_mm(ct.geometry.shape, ct.geometry.spacing_mm, middle) < RADIUS_MM + grown_mm


@pytest.mark.parametrize("spacing", [(2.5, 1.0, 1.0), (5.0, 0.8, 0.8), (1.0, 1.0, 1.0), (3.0, 3.0, 3.0)])
@pytest.mark.parametrize(("grown_mm", "moved_mm"), [(3.0, 0.0), (-3.0, 0.0), (0.0, 3.0)])
def test_the_outline_goes_to_where_the_liver_ends(spacing, grown_mm, moved_mm):
    """Half of an error of 3 mm, which is large for a network of 4 mm, goes at least."""
    ct, liver = ball(spacing)
    given = coarse(ct, grown_mm, moved_mm)
    assert 1 - dsc(liver, fit_outline(given, ct)) < 0.55 * (1 - dsc(liver, given))


def test_a_good_outline_stays_good():
    ct, liver = ball()
    assert dsc(liver, fit_outline(liver, ct)) > 0.985


def test_where_the_scan_says_nothing_the_network_is_believed():
    """A neighbour that is as dense as the liver, and noise."""
    ct, _ = ball(around_hu=110.0)
    given = coarse(ct, 3.0)
    assert dsc(given, fit_outline(given, ct)) > 0.995


def test_no_outline_moves_farther_than_it_may():
    """A liver that ends long before the mask does: what is deep in the mask, or far from it, stays as it was."""
    ct, _ = ball()
    given = coarse(ct, 12.0)
    depth = signed_depth_mm(given, ct.geometry.spacing_mm)
    moved = np.abs(depth[fit_outline(given, ct) != given])
    assert 2 < moved.max() <= REACH_MM


def test_a_dark_tumour_inside_stays_liver():
    ct, _ = ball()
    tumor = distance_mm(ct.geometry.shape, ct.geometry.spacing_mm, (55.0, 70.0, 55.0)) < 10
    ct.array[tumor] = 40
    assert fit_outline(coarse(ct, -1.0), ct)[tumor].all()


def test_other_pieces_and_what_is_given_stay():
    ct, _ = ball()
    given = coarse(ct, 2.0)
    given[:2, :4, :4] = True
    before = given.copy()
    fitted = fit_outline(given, ct)
    np.testing.assert_array_equal(given, before)
    assert fitted[:2, :4, :4].all()


@pytest.mark.parametrize("radius_mm", [0.0, 3.0])
def test_what_has_no_core_stays(radius_mm):
    ct, _ = ball()
    given = distance_mm(ct.geometry.shape, ct.geometry.spacing_mm) < radius_mm
    np.testing.assert_array_equal(fit_outline(given, ct), given)


def test_a_tumour_that_the_network_left_out_inside_is_liver_and_says_nothing_of_what_is_around():
    ct, liver = ball()
    tumor = distance_mm(ct.geometry.shape, ct.geometry.spacing_mm, (55.0, 68.0, 55.0)) < 15
    ct.array[tumor] = 60
    found = coarse(ct, 1.0) & ~tumor
    fitted = fit_outline(found, ct)
    assert fitted[tumor].all()
    assert dsc(liver, fitted) > 0.97


def test_beside_the_scans_edge_a_liver_does_not_end():
    """A dark tumour where the scan cuts the liver lies as deep in it as the liver goes on in the plane."""
    ct, _ = ball()
    tumor = distance_mm(ct.geometry.shape, ct.geometry.spacing_mm) < 12
    ct.array[tumor] = 40
    half = Volume(ct.array[22:], Geometry(ct.array[22:].shape, ct.geometry.spacing_mm))
    assert fit_outline(coarse(ct, 1.0)[22:], half)[tumor[22:]].all()


def test_depth_is_positive_inside_and_negative_outside():
    mask = np.zeros((5, 9, 9), bool)
    mask[:, 2:7, 2:7] = True
    depth = signed_depth_mm(mask, (3.0, 1.0, 2.0))
    assert (depth[2, 4, 4], depth[2, 2, 4], depth[2, 1, 4], depth[2, 4, 0]) == (3.0, 1.0, -1.0, -4.0)
