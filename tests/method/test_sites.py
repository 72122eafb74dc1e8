"""Sites: parenchyma by depth below the liver's surface, on masks whose distances are known."""

from __future__ import annotations

import numpy as np
import pytest
from phantoms import ball_scan
from scipy import ndimage

from tumorgen.method.sites import DEPTH_STEP_MM, OTHER, OUTSIDE, PARENCHYMA, Sites, depth_below_surface

SPACING = (3.0, 1.0, 1.5)


@pytest.fixture(scope="module")
def blob() -> np.ndarray:
    """A liver that no anatomy book shows, cut by the end of the scan."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((20, 40, 30)), 3)
    return ndimage.binary_fill_holes(noise > np.quantile(noise, 0.6))


def literal_depth(liver: np.ndarray) -> np.ndarray:
    """Scipy's distance to the nearest voxel that is no liver, of which there are enough around the scan."""
    depth = ndimage.distance_transform_edt(np.pad(liver, 1), sampling=SPACING)
    return depth[1:-1, 1:-1, 1:-1]


def test_depth_is_the_distance_to_the_nearest_voxel_outside_the_scans_end_included(blob):
    assert blob[:, :, 0].any()
    np.testing.assert_allclose(depth_below_surface(blob, SPACING), literal_depth(blob), rtol=1e-5)


def test_a_hole_in_the_liver_has_no_surface(blob):
    hole = tuple(np.argwhere(literal_depth(blob) > 4)[0])
    holed = blob.copy()
    holed[hole] = False
    np.testing.assert_array_equal(depth_below_surface(holed, SPACING), depth_below_surface(blob, SPACING))


def test_a_range_of_depths_is_a_range_of_voxels(blob):
    parenchyma = blob & (np.random.default_rng(1).random(blob.shape) < 0.7)
    sites = Sites.of(blob, parenchyma, SPACING)
    depth = literal_depth(blob).ravel()
    assert sorted(sites.voxels) == np.flatnonzero(parenchyma).tolist()
    for middle, width in ((2.05, 0.5), (4.05, 1.0), (1.05, 3.0), (6.05, 40.0)):
        numbers = sites.around(middle, width)
        found = set(sites.voxels[numbers.start : numbers.stop].tolist())
        within = np.abs(depth - middle) <= width + DEPTH_STEP_MM
        surely = np.abs(depth - middle) <= width - DEPTH_STEP_MM
        assert found <= set(np.flatnonzero(parenchyma.ravel() & within).tolist())
        assert found >= set(np.flatnonzero(parenchyma.ravel() & surely).tolist())
        assert found
        np.testing.assert_allclose(
            sites.depth_mm(np.array(numbers)), depth[sites.voxels[numbers.start : numbers.stop]], atol=DEPTH_STEP_MM
        )


def test_where_the_liver_is_not_so_deep_the_deepest_are_taken(blob):
    sites = Sites.of(blob, blob, SPACING)
    depth = literal_depth(blob).ravel()
    numbers = sites.around(1000.0, 1.0)
    assert len(numbers) > 0
    assert numbers.stop == sites.voxels.size
    assert depth[sites.voxels[numbers.start :]].min() >= depth.max() - 1.0 - 2 * DEPTH_STEP_MM


def test_voxels_of_one_depth_keep_their_order(blob):
    sites = Sites.of(blob, blob, SPACING)
    same = np.diff(sites.depth_mm(np.arange(sites.voxels.size))) == 0
    assert same.any()
    assert (np.diff(sites.voxels)[same] > 0).all()


def test_what_each_voxel_is(blob):
    parenchyma = blob & (np.random.default_rng(1).random(blob.shape) < 0.7)
    kinds = Sites.of(blob, parenchyma, SPACING).kinds
    inner = kinds[1:-1, 1:-1, 1:-1]
    np.testing.assert_array_equal(inner == PARENCHYMA, parenchyma)
    np.testing.assert_array_equal(inner == OTHER, blob & ~parenchyma)
    np.testing.assert_array_equal(inner == OUTSIDE, ~blob)
    assert (kinds == OUTSIDE).sum() == kinds.size - blob.sum()


def test_indices_lead_to_the_voxels(blob):
    sites = Sites.of(blob, blob, SPACING)
    numbers = np.array([0, 5, sites.voxels.size - 1])
    expected = np.stack(np.unravel_index(sites.voxels[numbers], blob.shape), axis=1)
    np.testing.assert_array_equal(sites.indices(numbers), expected)


def test_a_liver_without_parenchyma_has_no_sites(blob):
    sites = Sites.of(blob, np.zeros_like(blob), SPACING)
    assert sites.voxels.size == 0
    assert len(sites.around(3.0, 5.0)) == 0


def test_sites_of_a_scan_are_measured_once_and_kept():
    scan = ball_scan((3.0, 3.0, 3.0), vessel_radius_mm=6.0)
    assert scan.sites is scan.sites
    moved = scan.with_voxels(scan.hu, scan.inside)
    assert moved.sites is scan.sites
    assert (scan.sites.kinds == PARENCHYMA).sum() == scan.tissue.parenchyma.sum() == scan.sites.voxels.size
