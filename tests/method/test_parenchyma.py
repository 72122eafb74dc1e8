"""Places in parenchyma: in what is liver by mask and HU, as deep as asked for, hardly cut off by the liver's edge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import scan_of
from phantoms import LIVER_RADIUS_MM, ball_scan, ball_volume
from scipy import ndimage, stats

from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.labels import TUMOR
from tumorgen.method.footprint import Footprint
from tumorgen.method.parenchyma import is_level
from tumorgen.method.plan import Plan, Tumor
from tumorgen.method.real import quantile
from tumorgen.method.recipes import load_recipe
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_plan, draw_variant
from tumorgen.method.scan import Scan, prepare_scan, smoothing_sigma
from tumorgen.method.settings import MassEffect, Places, Satellite, Settings, Vessels
from tumorgen.method.sites import OTHER

REAL = load_recipe("lifelike").real
CLIPPED = 0.15
IN_PARENCHYMA = Settings(
    places=Places(model="parenchyma", most_clipped=CLIPPED), mass_effect=MassEffect(enabled=False), real=REAL
)


def settings(**changes: object) -> Settings:
    """Places in parenchyma, and tumours that push nothing."""
    return replace(IN_PARENCHYMA, **changes)


def drawn(scan: Scan, count: int, **changes: object) -> list[Plan]:
    return [draw_variant(scan, settings(**changes), 3, variant) for variant in range(count)]


def voxel_of(scan: Scan, tumor: Tumor) -> tuple[int, ...]:
    return tuple(round(i) for i in scan.geometry.to_index(tumor.center_mm))


def distance_from_middle(scan: Scan, tumor: Tumor) -> float:
    """Distance in mm of a tumour's centre from that of a ball of liver."""
    index = np.array(scan.geometry.to_index(tumor.center_mm))
    return float(np.linalg.norm((index - [n // 2 for n in scan.geometry.shape]) * scan.geometry.spacing_mm))


@pytest.fixture(scope="module", params=[(2.0, 2.0, 2.0), (5.0, 1.5, 1.5)], ids=["2 mm", "5 mm slices"])
def scan(request) -> Scan:
    """A ball of liver with one vessel along x."""
    return ball_scan(request.param, noise_sd=8.0, vessel_radius_mm=6.0)


def with_parenchyma(scan: Scan, parenchyma: np.ndarray) -> Scan:
    """A scan whose parenchyma is given by hand, over its region."""
    return replace(scan).knowing(tissue=replace(scan.tissue, parenchyma=parenchyma))


@pytest.fixture(scope="module")
def veined() -> Scan:
    """A liver that is full of vessels: bars on a lattice, more than half of any large tumour."""
    scan = ball_scan((2.0, 2.0, 2.0), noise_sd=5.0)
    near = [np.arange(n) % 7 < 4 for n in scan.tissue.parenchyma.shape]
    z, y, x = np.meshgrid(*near, indexing="ij")
    return with_parenchyma(scan, scan.tissue.parenchyma & ~((z & y) | (y & x) | (x & z)))


@pytest.fixture(scope="module")
def leaking() -> tuple[Scan, np.ndarray]:
    """A liver whose mask leaks into a ball of fat and into one of blood; and their voxels."""
    volume, liver = ball_volume((2.0, 2.0, 2.0), noise_sd=8.0)
    z, y, x = np.meshgrid(*[(np.arange(n) - n // 2) * 2.0 for n in liver.shape], indexing="ij")
    fat, blood = ((z**2 + y**2 + (x - side) ** 2 <= 22**2) & liver for side in (-40, 40))
    hu = np.where(fat, -100, np.where(blood, 210, volume.array))
    hu[fat | blood] += np.random.default_rng(0).normal(0, 8, (fat | blood).sum()).astype(int)
    return prepare_scan(Volume(hu.astype(np.int16), volume.geometry), liver, Vessels(), "leaking"), fat | blood


def test_no_centre_lies_where_the_mask_leaks(leaking):
    scan, leak = leaking
    assert 0.05 < (leak & scan.liver).sum() / scan.liver.sum() < 0.3
    far = ndimage.distance_transform_edt(~leak, sampling=scan.geometry.spacing_mm)
    seen = [far[voxel_of(scan, t)] for plan in drawn(scan, 8, sizes=("tiny", "small", "medium")) for t in plan.tumors]
    assert len(seen) >= 30
    assert min(seen) > 1.0
    old = [t for n in range(8) for t in draw_variant(scan, Settings(sizes=("tiny",)), 3, n).tumors]
    assert any(far[voxel_of(scan, t)] == 0 for t in old)  # where the distance to vessels alone puts them


def test_no_centre_lies_where_any_smoothed_scan_is_off_the_parenchyma(scan, leaking):
    for one in (scan, leaking[0]):
        hu = one.image.array.astype(np.float64)
        spacing = np.array(one.geometry.spacing_mm)
        smooth = [
            ndimage.gaussian_filter(hu, sigmas)
            for sigmas in (smoothing_sigma(one.sigma_a, one.geometry), 1 / spacing, 2 / spacing, 3 / spacing)
        ]
        for plan in drawn(one, 6, sizes=("tiny", "mix")):
            for tumor in plan.tumors:
                off = [abs(s[voxel_of(one, tumor)] - one.mu_p_hu) for s in smooth]
                assert max(off) <= 2 * one.sigma_p_hu + 0.1


def test_level_is_what_is_within_two_sd_by_every_filter(leaking):
    scan, leak = leaking
    middle = tuple(n // 2 for n in scan.geometry.shape)
    assert is_level(scan, middle)
    assert not is_level(scan, tuple(np.argwhere(leak)[100]))
    edge = (middle[0] + round((LIVER_RADIUS_MM + 4) / 2), middle[1], middle[2])  # 1 mm from the air
    assert not is_level(scan, edge)


def test_a_scan_that_ends_beside_the_liver_is_mirrored_there():
    """As scipy smooths it by default, at each voxel of a scan that is shorter than the widest filter is wide."""
    volume, liver = ball_volume((2.0, 2.0, 2.0), noise_sd=8.0)
    middle = volume.geometry.shape[0] // 2
    thin = np.ascontiguousarray(volume.array[middle - 4 : middle + 4])
    thin[0] -= np.linspace(0, 160, thin.shape[2]).astype(thin.dtype)  # fat in the first slice, more and more of it
    geometry = replace(volume.geometry, shape=thin.shape)
    scan = prepare_scan(Volume(thin, geometry), liver[middle - 4 : middle + 4], Vessels(), "thin")
    hu = thin.astype(np.float64)
    widths = (smoothing_sigma(scan.sigma_a, geometry), (0.5,) * 3, (1.0,) * 3, (1.5,) * 3)
    worst = np.max([np.abs(ndimage.gaussian_filter(hu, sigmas) - scan.mu_p_hu) for sigmas in widths], axis=0)
    judged = {True: 0, False: 0}
    for voxel in map(tuple, np.argwhere(scan.liver)[::7]):
        if abs(worst[voxel] - 2 * scan.sigma_p_hu) > 0.5:  # the filters differ a little where they are cut off
            assert is_level(scan, voxel) == (worst[voxel] <= 2 * scan.sigma_p_hu)
            judged[is_level(scan, voxel)] += 1
    assert min(judged.values()) > 100


def test_centres_are_sites(scan):
    for plan in drawn(scan, 5):
        for tumor in plan.tumors:
            voxel = voxel_of(scan, tumor)
            np.testing.assert_allclose(scan.geometry.to_index(tumor.center_mm), voxel, atol=1e-3)
            assert scan.tissue.parenchyma[tuple(i - s.start for i, s in zip(voxel, scan.roi, strict=True))]


@pytest.mark.parametrize("name", ["tiny", "small", "medium", "large", "real"])
def test_the_livers_edge_cuts_off_no_more_than_is_allowed(scan, name):
    shares = []
    for plan in drawn(scan, 6, sizes=(name,)):
        assert plan.tumors
        shares += [outcome.clipped_fraction for outcome in render(scan, plan).outcomes]
    assert max(shares) <= CLIPPED
    old = [draw_variant(scan, Settings(sizes=(name,)), 3, variant) for variant in range(4)]
    if name in ("medium", "large"):
        assert max(o.clipped_fraction for plan in old for o in render(scan, plan).outcomes) > 0.3


def test_no_more_is_cut_off_where_nothing_may_be(scan):
    whole = Places(model="parenchyma", most_clipped=0.0)
    for plan in drawn(scan, 4, sizes=("small",), places=whole):
        assert all(outcome.clipped_fraction == 0 for outcome in render(scan, plan).outcomes)


def test_depths_follow_the_table():
    scan = ball_scan((1.5, 1.5, 1.5), noise_sd=5.0, size_mm=150.0)
    table = (1.5, 2.0, 4.0, 9.0, 12.0)  # of radii, so that nothing is ever in the way
    bins = (replace(REAL.bins[0], below_mm=200.0, depth=table),)
    asked = settings(pattern="single", sizes=("tiny",), real=replace(REAL, bins=bins))
    depths = [
        (LIVER_RADIUS_MM - distance_from_middle(scan, draw_variant(scan, asked, 1, n).tumors[0])) / 4.0
        for n in range(300)
    ]
    expected = [quantile(table, p) for p in (np.arange(2000) + 0.5) / 2000]
    # Sites lie within 0.5 mm, an eighth of the radius, of what is drawn; a voxel's depth is that of its middle.
    assert stats.ks_2samp(depths, expected).pvalue > 0.01
    uniform = 15 * (1 - np.cbrt(np.random.default_rng(0).random(2000)))
    assert stats.ks_2samp(depths, uniform).pvalue < 1e-4


def test_the_depth_drawn_does_not_depend_on_the_scan():
    asked = settings(pattern="single", sizes=("tiny",))
    first, second = (ball_scan((2.0, 2.0, 2.0), "same", noise_sd=5.0, seed=seed) for seed in (0, 1))
    for variant in range(12):
        one, other = (draw_variant(scan, asked, 5, variant).tumors[0] for scan in (first, second))
        apart = abs(distance_from_middle(first, one) - distance_from_middle(second, other))
        assert apart <= 2 * 0.5 + 1.0  # both lie within 0.5 mm of it; a voxel's depth is that of its middle


def test_a_depth_that_the_liver_does_not_have_is_its_deepest():
    scan = ball_scan((2.0, 2.0, 2.0), noise_sd=5.0)
    bins = (replace(REAL.bins[0], below_mm=200.0, depth=(90.0, 100.0)),)
    for plan in drawn(scan, 5, pattern="single", sizes=("tiny",), real=replace(REAL, bins=bins)):
        assert distance_from_middle(scan, plan.tumors[0]) <= 3.0


@pytest.mark.parametrize(("depth", "along"), [(0.7, True), (2.0, False)])
def test_tumours_near_the_surface_lie_along_it(depth, along):
    """Discs with the axis z: near the surface of a ball most lie at its poles, and deep inside anywhere."""
    scan = ball_scan((2.0, 2.0, 2.0), noise_sd=5.0)
    flat = replace(
        REAL.bins[0],
        below_mm=200.0,
        depth=(depth,) * 2,
        elongation=(0.5,) * 2,
        axis_ratio=(1.0,) * 2,
        irregularity=(0.0,) * 2,
    )
    discs = {"real": replace(REAL, bins=(flat,)), "shape": replace(IN_PARENCHYMA.shape, model="fitted")}
    tumors = [plan.tumors[0] for plan in drawn(scan, 60, pattern="single", sizes=("small",), **discs)]
    towards_pole = [
        abs(voxel_of(scan, tumor)[0] - scan.geometry.shape[0] // 2) * 2.0 / distance_from_middle(scan, tumor)
        for tumor in tumors
    ]
    if along:
        assert np.mean(towards_pole) > 0.75
    else:  # the height on a ball is uniform
        assert stats.kstest(towards_pole, "uniform").pvalue > 0.01


@pytest.mark.parametrize(("name", "most"), [("small", 0.2), ("medium", 0.35)])
def test_what_lies_under_a_tumour_is_parenchyma_for_the_most_part(scan, name, most):
    for plan in drawn(scan, 6, sizes=(name,)):
        assert "vessels_unavoidable" not in plan.notes
        for tumor in plan.tumors:
            center = np.array([voxel_of(scan, tumor)]) - [s.start for s in scan.roi]
            _, other = Footprint.of(tumor, scan.geometry.spacing_mm).shares(scan.sites.kinds, center, 1.0)
            assert other[0] <= most


def test_a_large_tumour_in_a_liver_full_of_vessels_is_placed_and_it_is_said(veined):
    assert (veined.sites.kinds == OTHER).sum() > 0.4 * veined.liver.sum()
    for plan in drawn(veined, 4, pattern="single", sizes=("large",)):
        assert len(plan.tumors) == 1
        assert plan.notes.split() == ["vessels_unavoidable"]
        assert render(veined, plan).outcomes[0].clipped_fraction <= CLIPPED


def test_of_such_places_one_with_few_vessels_is_taken(veined):
    strict = Places(model="parenchyma", most_foreign=(0.0, 0.0))
    sites, rng = veined.sites, np.random.default_rng(0)
    for plan in drawn(veined, 4, pattern="single", sizes=("small",), places=strict):
        tumor = plan.tumors[0]
        footprint = Footprint.of(tumor, veined.geometry.spacing_mm)
        centers = sites.indices(rng.integers(sites.voxels.size, size=300))
        _, anywhere = footprint.shares(sites.kinds, centers, 1.0)
        center = np.array([voxel_of(veined, tumor)]) - [s.start for s in veined.roi]
        _, here = footprint.shares(sites.kinds, center, 1.0)
        assert here[0] <= np.quantile(anywhere, 0.3)
        assert plan.notes == ("vessels_unavoidable" if here[0] else "")


def test_vessels_are_not_asked_for_when_they_need_not_be_avoided(veined):
    for plan in drawn(veined, 3, pattern="single", sizes=("large",), vessels=Vessels(avoid=False)):
        assert len(plan.tumors) == 1
        assert plan.notes == ""


def test_a_liver_without_room_gets_fewer_and_it_is_said():
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*[np.arange(-24, 24)] * 3, indexing="ij")
    for radius, most in ((22, 1), (8, 0)):
        liver = z**2 + y**2 + x**2 <= radius**2
        scan = scan_of(rng.normal(100, 8, liver.shape).astype(np.float32), liver=liver)
        for plan in drawn(scan, 4, sizes=("medium",)):
            assert len(plan.tumors) <= most < plan.tumors_requested
            assert "fewer_placed" in plan.notes.split()


def test_a_liver_without_parenchyma_gets_none_and_it_is_said():
    scan = ball_scan((4.0, 4.0, 4.0))
    plan = drawn(with_parenchyma(scan, np.zeros_like(scan.tissue.parenchyma)), 1, sizes=("tiny",))[0]
    assert (plan.tumors, plan.notes) == ((), "fewer_placed")


@pytest.mark.parametrize("gap_mm", [3.0, 12.0])
def test_tumours_keep_a_gap(scan, gap_mm):
    apart = Places(model="parenchyma", gap_mm=gap_mm)
    gaps = []
    for plan in drawn(scan, 5, sizes=("tiny", "mix"), places=apart):
        label = render(scan, plan).apply(scan)[1] == TUMOR
        pieces, count = ndimage.label(label, np.ones((3, 3, 3)))
        assert count == len(plan.tumors)
        for piece in range(1, count + 1):
            far = ndimage.distance_transform_edt(pieces != piece, sampling=scan.geometry.spacing_mm)
            others = (pieces > 0) & (pieces != piece)
            gaps += [far[others].min()] if others.any() else []
    assert len(gaps) > 20
    assert min(gaps) >= gap_mm  # from voxel to voxel: a shape ends half a voxel beyond their middles
    assert min(gaps) <= gap_mm + 8  # the test has something to find


def test_all_centres_lie_in_the_region(scan):
    z, y, x = (
        slice(n // 2, n // 2 + round(24 / s))
        for n, s in zip(scan.geometry.shape, scan.geometry.spacing_mm, strict=True)
    )
    region = (z, y, x)
    seen = 0
    for seed in range(6):
        plan = draw_plan(scan, settings(), np.random.default_rng(seed), "small", region=region)
        for tumor in plan.tumors:
            assert all(r.start <= i < r.stop for i, r in zip(voxel_of(scan, tumor), region, strict=True))
            seen += 1
    assert seen >= 6


def test_satellites_keep_their_ring(scan):
    near = Satellite(count=(4, 4), distance=(1.1, 1.8))
    for plan in drawn(scan, 5, pattern="satellite", sizes=("medium",), satellite=near):
        main, *others = plan.tumors
        assert len(others) == 4
        for other in others:
            distance = np.linalg.norm(np.subtract(main.center_mm, other.center_mm)) / main.radius_mm
            assert 1.1 - 1e-3 <= distance <= 1.8 + 1e-3
        assert all(outcome.clipped_fraction <= CLIPPED for outcome in render(scan, plan).outcomes)


def test_the_same_seed_draws_the_same(scan):
    again = prepare_scan(scan.image, scan.liver, Vessels(), scan.case)
    for first, second in zip(drawn(scan, 3), drawn(again, 3), strict=True):
        assert first == second


def test_a_switch_moves_no_tumour(scan):
    """Tumours are placed as if every step were on, so that an ablation differs in its step alone."""
    on, off = (draw_variant(scan, settings(mass_effect=MassEffect(enabled=enabled)), 2, 0) for enabled in (True, False))
    assert [t.center_mm for t in on.tumors] == [t.center_mm for t in off.tumors]


def test_voxels_need_not_be_an_array(scan):
    """Generation keeps the voxels compressed and reads boxes of them."""

    class Boxes:
        shape = scan.geometry.shape

        def __getitem__(self, box):
            return scan.image.array[box]

    lent = scan.with_voxels(Boxes(), scan.inside)
    assert draw_variant(lent, settings(), 3, 0) == draw_variant(scan, settings(), 3, 0)


def test_a_turned_scan_has_its_tumours_at_the_same_voxels():
    volume, liver = ball_volume((2.0, 2.0, 2.0), noise_sd=5.0)
    turned = Geometry(volume.geometry.shape, volume.geometry.spacing_mm, (5.0, 6.0, 7.0), (0, 1, 0, 1, 0, 0, 0, 0, -1))
    scans = [prepare_scan(Volume(volume.array, g), liver, Vessels(), "ball") for g in (volume.geometry, turned)]
    first, second = ([voxel_of(s, t) for t in draw_variant(s, settings(), 3, 1).tumors] for s in scans)
    assert first == second
