"""Five regions: a fifth each, by the patient's axes, whatever way the scan is stored."""

from __future__ import annotations

import numpy as np
import pytest
from phantoms import ball_scan, ball_volume

from tumorgen.benchmark.regions import BEST, DEEPEST, REGIONS, Regions, find_site, is_clear, split_into_regions
from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.method.placement import count_clear
from tumorgen.method.scan import Scan, prepare_scan
from tumorgen.method.settings import Vessels

SPACING = (5.0, 2.5, 2.5)
# Rows of a direction matrix: x, y, z of the image in space.
UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
TURNED = {
    "feet first": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "RAS": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0),
    "sagittal": (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
}


def stored(direction: tuple[float, ...], vessel_radius_mm: float = 0.0) -> Scan:
    """The ball, off the middle of space, stored along other axes."""
    shape = tuple(round(140 / s) for s in SPACING)
    volume, liver = ball_volume(
        SPACING, vessel_radius_mm=vessel_radius_mm, geometry=Geometry(shape, SPACING, (-300.0, 40.0, 900.0), direction)
    )
    return prepare_scan(volume, liver, Vessels(), "ball")


def points(scan: Scan) -> np.ndarray:
    """Where the candidates are, (n, 3), LPS mm."""
    return np.array([scan.geometry.to_mm(scan.voxel(n)) for n in range(scan.candidates.size)])


@pytest.fixture(scope="module", params=[UPRIGHT, *TURNED.values()], ids=["upright", *TURNED])
def regions(request) -> Regions:
    return Regions.of(stored(request.param))


def test_every_voxel_is_in_one_region_and_each_has_a_fifth(regions):
    members = np.array([regions.members[name] for name in REGIONS])
    assert np.all(members.sum(axis=0) == 1)
    assert np.ptp(members.sum(axis=1)) <= 5  # five parts of a whole number
    assert members.shape[1] == np.count_nonzero(regions.scan.liver)


def test_regions_lie_where_their_names_say(regions):
    where = points(regions.scan)
    middle = where.mean(axis=0)
    mean = {name: where[regions.members[name]].mean(axis=0) - middle for name in REGIONS}
    # LPS: x to the patient's left, z upwards. A cap of a fifth of a ball of 60 mm has its centroid 37.7 mm out:
    # 3 (2 - x)^2 / 4 (3 - x) of the radius for its height x = 0.574, where x^2 (3 - x) / 4 = 1 / 5. Slices are 5 mm.
    assert mean["dome"][2] == pytest.approx(37.7, abs=2.5)
    assert mean["tip"][2] == pytest.approx(-37.7, abs=2.5)
    assert mean["left"][0] > 25
    assert mean["right"][0] < -25
    assert np.linalg.norm(mean["middle"]) < 2.5


def test_the_dome_is_above_all_others(regions):
    z = points(regions.scan)[:, 2]
    assert z[regions.members["dome"]].min() >= z[~regions.members["dome"]].max()
    assert z[regions.members["tip"]].max() <= z[~regions.members["tip"]].min()


@pytest.mark.parametrize("count", [5, 6, 9, 23])
def test_the_smallest_liver_has_them_all(count):
    """Flat in every direction: all points are one point."""
    members = split_into_regions(np.zeros((3, count)))
    assert all(members[name].any() for name in REGIONS)
    assert sum(members.values()).tolist() == [1] * count


def test_depth_is_the_distance_to_the_surface(regions):
    center = points(regions.scan).mean(axis=0)
    distance = np.linalg.norm(points(regions.scan) - center, axis=1)
    # To the nearest voxel outside: within the longest step between voxels of 60 mm less the distance from the centre.
    assert np.abs(regions.depth_mm - (60 - distance)).max() < np.linalg.norm(SPACING)


@pytest.mark.parametrize("region", [None, *REGIONS])
def test_a_site_is_in_its_region_clear_and_deep(region):
    regions = Regions.of(stored(UPRIGHT, vessel_radius_mm=4.0))
    scan, rng = regions.scan, np.random.default_rng(0)
    sites = [find_site(regions, region, 12.0, rng, avoid=True) for _ in range(20)]
    inside = regions.members[region] if region else np.ones(scan.candidates.size, bool)
    clear = np.flatnonzero(inside[: count_clear(scan, 12.0)])
    least = np.sort(regions.depth_mm[clear])[-max(1, clear.size // DEEPEST)]
    for site in sites:
        assert inside[site]
        assert is_clear(scan, site, 12.0)
        assert regions.depth_mm[site] >= least
    assert len(set(sites)) > 1


def test_where_no_place_is_clear_it_is_of_the_clearest():
    regions = Regions.of(stored(UPRIGHT, vessel_radius_mm=4.0))
    site = find_site(regions, "dome", 80.0, np.random.default_rng(0), avoid=True)
    inside = np.flatnonzero(regions.members["dome"])
    assert site in inside[: inside.size // BEST]
    assert not is_clear(regions.scan, site, 80.0)


def test_vessels_that_are_not_avoided_are_no_matter():
    regions = Regions.of(stored(UPRIGHT, vessel_radius_mm=4.0))
    sites = {find_site(regions, None, 30.0, np.random.default_rng(n), avoid=False) for n in range(10)}
    assert any(not is_clear(regions.scan, site, 30.0) for site in sites)


def test_a_scan_that_ends_in_the_liver_ends_the_liver_there():
    """A tumour is cut by the scan's end as by the liver's edge."""
    hu = np.random.default_rng(0).normal(100, 10, (20, 30, 30)).astype(np.float32)
    scan = prepare_scan(Volume(hu, Geometry(hu.shape, (2.0, 2.0, 2.0))), np.ones(hu.shape, bool), Vessels(), "cut")
    assert Regions.of(scan).depth_mm.max() == pytest.approx(20, abs=1)  # half of 20 slices of 2 mm


def test_one_scan_has_the_same_regions_every_time():
    first, second = (Regions.of(ball_scan((5.0, 4.0, 4.0))) for _ in range(2))
    assert all(np.array_equal(first.members[name], second.members[name]) for name in REGIONS)


def test_a_liver_of_fewer_voxels_than_regions_is_refused_where_a_region_is_empty():
    volume, _ = ball_volume((20.0, 20.0, 20.0))
    liver = np.zeros(volume.array.shape, bool)
    liver[2:4, 3, 3:5] = True
    tiny = Regions.of(prepare_scan(volume, liver, Vessels(), "tiny"))
    with pytest.raises(TumorgenError, match="region dome has no voxel: the whole liver mask has 4 voxels"):
        find_site(tiny, "dome", 8.0, np.random.default_rng(0), avoid=True)
    assert 0 <= find_site(tiny, None, 8.0, np.random.default_rng(0), avoid=True) < 4
