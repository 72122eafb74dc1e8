"""Footprints: what lies under a tumour is what rendering says lies under it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import at, ball, plan_of
from phantoms import ball_scan

from tumorgen.method.footprint import Footprint
from tumorgen.method.rendering import render
from tumorgen.method.scan import Scan
from tumorgen.method.sites import OTHER, OUTSIDE, PARENCHYMA, Sites


@pytest.fixture(scope="module", params=[(1.0, 1.0, 1.0), (5.0, 0.9, 0.8)], ids=["1 mm", "5 mm slices"])
def scan(request) -> Scan:
    return ball_scan(request.param, noise_sd=5.0)


def outside(scan: Scan, footprint: Footprint, voxel: tuple[int, ...], most: float = 1.0) -> float:
    center = np.array([voxel]) - [s.start for s in scan.roi]
    shares = footprint.shares(scan.sites.kinds, center, most)
    return float(shares[0][0])


def near_surface(scan: Scan, radius_mm: float, count: int) -> list[tuple[int, ...]]:
    """Voxels of the liver less than a radius below its surface, in all directions."""
    sites = scan.sites
    numbers = sites.around(0.5 * radius_mm, 0.5 * radius_mm)
    picks = np.random.default_rng(4).choice(np.array(numbers), count, replace=False)
    return [tuple(v) for v in (sites.indices(picks) + [s.start for s in scan.roi]).tolist()]


@pytest.mark.parametrize("radius", [3.0, 5.0])
def test_of_a_small_tumour_the_part_outside_is_exactly_what_rendering_clips(scan, radius):
    tumor = ball(radius, half_axes=(0.9 * radius, 1.2 * radius, radius), sigma_e_mm=0.15 * radius)
    footprint = Footprint.of(tumor, scan.geometry.spacing_mm)
    assert footprint.doubt == 0
    for voxel in near_surface(scan, radius, 12):
        clipped = render(scan, plan_of(scan, at(scan, tumor, voxel))).outcomes[0].clipped_fraction
        assert outside(scan, footprint, voxel) == pytest.approx(clipped, abs=1e-4)  # which is rounded


@pytest.mark.parametrize("radius", [14.0, 28.0])
def test_of_a_large_tumour_it_is_not_below_that(scan, radius):
    tumor = ball(radius, half_axes=(0.9 * radius, 1.2 * radius, radius), sigma_e_mm=0.12 * radius)
    footprint = Footprint.of(tumor, scan.geometry.spacing_mm)
    assert len(footprint.offsets) < 5000
    for voxel in near_surface(scan, radius, 8):
        clipped = render(scan, plan_of(scan, at(scan, tumor, voxel))).outcomes[0].clipped_fraction
        assert clipped - 0.005 <= outside(scan, footprint, voxel) <= clipped + 0.025


def test_what_is_no_parenchyma_is_counted_over_the_whole_tumour():
    liver = np.ones((40, 40, 40), bool)
    liver[:16] = False
    parenchyma = liver & (np.arange(40) < 24)  # x from 24 on is something else
    sites = Sites.of(liver, parenchyma, (1.0, 1.0, 1.0))
    footprint = Footprint.of(ball(6.0), (1.0, 1.0, 1.0))
    z, y, x = np.meshgrid(*[np.arange(40) - c for c in (18, 20, 21)], indexing="ij")
    inside = z**2 + y**2 + x**2 <= 36
    gone, other = footprint.shares(sites.kinds, np.array([[18, 20, 21], [30, 20, 8]]), 1.0)
    assert gone.tolist() == pytest.approx([(inside & ~liver).sum() / inside.sum(), 0.0])
    assert other.tolist() == pytest.approx([(inside & liver & ~parenchyma).sum() / inside.sum(), 0.0])


def test_beyond_the_region_there_is_no_liver():
    kinds = np.full((12, 12, 12), PARENCHYMA, np.uint8)
    kinds[[0, -1]] = kinds[:, [0, -1]] = kinds[:, :, [0, -1]] = OUTSIDE
    gone, other = Footprint.of(ball(4.0), (1.0, 1.0, 1.0)).shares(kinds, np.array([[0, 0, 0], [5, 5, 5]]), 1.0)
    assert 0.6 < gone[0] < 0.85  # seven eighths of a ball, and less for its middle planes
    assert gone[1] == other[0] == other[1] == 0


def test_hopeless_places_are_told_by_a_rough_look(scan):
    footprint = Footprint.of(ball(20.0), scan.geometry.spacing_mm)
    sites = scan.sites
    centers = sites.indices(np.random.default_rng(0).integers(sites.voxels.size, size=200))
    exact, _ = footprint.shares(sites.kinds, centers, 1.0)
    rough, _ = footprint.shares(sites.kinds, centers, 0.15)
    assert ((exact <= 0.15) == (rough <= 0.15)).all()
    assert 0 < (exact <= 0.15).sum() < 200
    near = exact <= 0.15
    np.testing.assert_array_equal(exact[near], rough[near])


def test_a_tumour_smaller_than_a_voxel_lies_on_the_voxel_of_its_centre():
    footprint = Footprint.of(ball(0.3), (5.0, 2.0, 2.0))
    assert footprint.offsets.tolist() == [[0, 0, 0]]
    kinds = np.zeros((3, 3, 3), np.uint8)
    kinds[1, 1, 1] = OTHER
    gone, other = footprint.shares(kinds, np.array([[0, 0, 0]]), 0.0)
    assert (gone[0], other[0]) == (0.0, 1.0)


def test_a_footprint_does_not_depend_on_what_is_switched_off(scan):
    tumor = ball(6.0)
    pushing = replace(tumor, mass_effect_percent=30.0, capsule_hu=100.0, sigma_c_mm=1.0)
    first, second = (Footprint.of(t, scan.geometry.spacing_mm) for t in (tumor, pushing))
    np.testing.assert_array_equal(first.offsets, second.offsets)
