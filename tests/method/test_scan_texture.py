"""Tumours on the scan's own noise: what they add comes out as drawn, the noise stays, and no trace of anything else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import THICK, at, ball, distance_mm, offsets_mm, plan_of, scan_of
from plain_renderer import render_plainly
from scipy import ndimage
from scipy.optimize import brentq
from scipy.stats import norm

from tumorgen.method.body import Body
from tumorgen.method.plan import Plan, Tumor
from tumorgen.method.rendering import cut_to_liver, render
from tumorgen.method.scan import Scan

FINE = (1.0, 1.0, 1.0)
BOTH = pytest.mark.parametrize("spacing", [FINE, THICK], ids=["1 mm", "5 mm slices"])
PARENCHYMA, TUMOUR = 100.0, 50.0


def lesion(radius_mm: float, **changes: object) -> Tumor:
    """A ball of 50 HU on the scan's noise, its edge 0.9 mm wide."""
    return ball(radius_mm, **{"mu_t_hu": TUMOUR, "sigma_c_mm": 0.9, "texture_model": "scan", **changes})


def uneven(radius_mm: float, **changes: object) -> Tumor:
    """The same, turned, deformed, with heterogeneity and a darker middle."""
    half = (0.9 * radius_mm, 0.8 * radius_mm, 1.2 * radius_mm)
    inside = {"heterogeneity_hu": 9.0, "grain_mm": 3.0, "necrosis_hu": -15.0, "necrosis_extent": 0.4}
    return lesion(
        radius_mm, half_axes=half, sigma_e_mm=radius_mm / 10, turn_deg=40.0, shape_seed=5, **{**inside, **changes}
    )


def like_ct(shape: tuple[int, ...], spacing, seed: int, sd: float = 12.0) -> np.ndarray:
    """Noise correlated over some voxels in plane, and less from slice to slice."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    noise = ndimage.gaussian_filter(noise, [0.6 if spacing[0] < 2 else 0.0, 0.9, 0.9], mode="wrap")
    return (sd * noise / noise.std()).astype(np.float32)


def size_of(mm, spacing) -> tuple[int, ...]:
    lengths = mm if isinstance(mm, tuple) else (mm,) * 3
    return tuple(round(a / s) for a, s in zip(lengths, spacing, strict=True))


def noisy(mm, spacing=FINE, seed: int = 0, added: np.ndarray | float = 0.0) -> Scan:
    """A liver of 100 HU that fills the scan, with noise."""
    shape = size_of(mm, spacing)
    return scan_of(np.float32(PARENCHYMA) + like_ct(shape, spacing, seed) + np.float32(added), spacing)


def quiet(mm, spacing=FINE) -> Scan:
    return scan_of(np.full(size_of(mm, spacing), PARENCHYMA, np.float32), spacing)


def with_mu_p(scan: Scan, *tumors: Tumor) -> Plan:
    """A plan whose mu_p is what the liver was made with."""
    return plan_of(scan, *tumors, mu_p_hu=PARENCHYMA)


def rendered(scan: Scan, *tumors: Tumor) -> tuple[np.ndarray, np.ndarray]:
    return render(scan, with_mu_p(scan, *tumors)).apply(scan)


def core_of(label: np.ndarray, radius_mm: float, spacing) -> np.ndarray:
    """The core as the comparison with real tumours measures it: 2 mm or r / 2 inside the outline, slice by slice."""
    areas = (label == 2).sum(axis=(1, 2))
    core = np.zeros(label.shape, bool)
    for plane in np.flatnonzero(2 * areas >= areas.max()):
        depth = ndimage.distance_transform_edt(label[plane] == 2, spacing[1:]) - spacing[1] / 2
        core[plane] = depth >= min(2.0, radius_mm / 2) - 1e-3
    return core if core.any() else label == 2


# --- the drawn contrast is what comes out -----------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("sigma_c", [0.4, 0.9, 2.5])
@pytest.mark.parametrize("radius", [3.0, 5.0, 8.0, 16.0, 30.0])
def test_the_contrast_of_the_core_is_the_drawn_one(radius, sigma_c, spacing):
    scan = noisy(2.6 * radius + 16, spacing)
    middle = [n / 2 for n in scan.geometry.shape]
    tumor = at(scan, uneven(radius, sigma_c_mm=sigma_c), (middle[0] + 0.3, middle[1] - 0.4, middle[2]))
    image, label = rendered(scan, tumor)
    core = core_of(label, radius, spacing)
    kept = core & ~ndimage.binary_dilation(scan.tissue.foreign, iterations=2)
    change = image - scan.image.array
    # Noise that passes for something foreign is replaced: what it had there does not count.
    assert change[kept].mean() == pytest.approx(TUMOUR - PARENCHYMA, abs=0.5)
    assert change[core].mean() == pytest.approx(TUMOUR - PARENCHYMA, abs=2.0)


@pytest.mark.parametrize("changes", [{}, {"heterogeneity_hu": 25.0}, {"necrosis_hu": -40.0, "sigma_c_mm": 0.0}])
def test_without_noise_it_is_so_exactly(changes):
    scan = quiet(44.0)
    image, label = rendered(scan, at(scan, uneven(8.0, **changes)))
    # Float32, and four decimals of what is added.
    assert image[core_of(label, 8.0, FINE)].mean() == pytest.approx(TUMOUR, abs=1e-2)


def test_a_later_tumour_takes_the_place_of_an_earlier_one():
    scan = quiet(50.0)
    first, second = at(scan, lesion(9.0), (25.0, 25.0, 20.0)), at(scan, lesion(9.0, mu_t_hu=70.0), (25.0, 25.0, 30.0))
    change = rendered(scan, first, second)[0] - PARENCHYMA
    assert change[distance_mm(scan, second) < 5].mean() == pytest.approx(-30, abs=0.5)
    both = (distance_mm(scan, first) < 9) & (distance_mm(scan, second) < 6)
    assert change[both].mean() == pytest.approx(-30, abs=0.5)


def test_heterogeneity_has_its_strength_and_the_middle_is_darker():
    scan = quiet(72.0)
    _, y, x = offsets_mm(scan, at(scan, lesion(24.0)))
    values = rendered(scan, at(scan, lesion(24.0, heterogeneity_hu=8.0, grain_mm=1.5)))[0]
    inside = distance_mm(scan, at(scan, lesion(24.0))) < 20
    # 20 mm hold some hundred grains.
    assert values[inside].std() == pytest.approx(8, rel=0.1)
    dark = rendered(scan, at(scan, lesion(24.0, necrosis_hu=-20.0, necrosis_extent=0.3)))[0]
    far = inside & (np.hypot(y, x) > 18)
    assert dark[36, 36, 36] - dark[far].mean() == pytest.approx(-20, abs=1)


# --- the noise stays --------------------------------------------------------------------------------------------------


@BOTH
def test_two_scans_that_differ_in_noise_alone_keep_their_noise(spacing):
    first, second = noisy(50.0, spacing, 1), noisy(50.0, spacing, 2)
    row = at(first, uneven(12.0))
    images = [rendered(scan, row)[0] for scan in (first, second)]
    clear = ~ndimage.binary_dilation(first.tissue.foreign | second.tissue.foreign, iterations=2)
    assert clear.mean() > 0.9
    noise = first.image.array - second.image.array
    np.testing.assert_allclose((images[0] - images[1])[clear], noise[clear], atol=1e-3)


def autocorrelation(values: np.ndarray, where: np.ndarray) -> float:
    """At one voxel in plane, over pairs that both lie there."""
    pairs = [
        np.stack([values[a][where[a] & where[b]], values[b][where[a] & where[b]]])
        for a, b in [(np.s_[:, 1:], np.s_[:, :-1]), (np.s_[:, :, 1:], np.s_[:, :, :-1])]
    ]
    return float(np.mean([np.corrcoef(pair)[0, 1] for pair in pairs]))


def tube(shape, spacing, radius_mm: float) -> np.ndarray:
    """A vessel along x through the middle, sharpened by nothing: the scan's point spread of 0.7 mm blurs it."""
    z, y = (np.abs(np.arange(n) - n // 2) * s for n, s in zip(shape[:2], spacing[:2], strict=True))
    inside = (np.hypot(z[:, None], y) <= radius_mm).astype(np.float32)
    blurred = ndimage.gaussian_filter(inside, [0.7 / s for s in spacing[:2]])
    return np.broadcast_to(blurred[:, :, None], shape)


@BOTH
@pytest.mark.parametrize("vessel_hu", [60.0, -90.0], ids=["vessel", "fat"])
def test_what_lay_under_a_tumour_leaves_no_trace(vessel_hu, spacing):
    found = []
    for seed in range(6):
        shape = size_of((40.0, 56.0, 56.0), spacing)
        vessel = tube(shape, spacing, 3.0)
        scan = noisy((40.0, 56.0, 56.0), spacing, seed, vessel_hu * vessel)
        tumor = at(scan, lesion(14.0))
        image = rendered(scan, tumor)[0]
        core = distance_mm(scan, tumor) < 11
        there, elsewhere = core & (vessel > 0.1), core & (vessel < 0.02)
        rows = [[image[w].mean(), image[w].std(), autocorrelation(image, w)] for w in (there, elsewhere)]
        found.append(np.subtract(*rows))
    mean, sd, lag = np.mean(found, axis=0)
    # From seed to seed they spread by 1.8 HU, 1.4 HU and 0.04 at 5 mm: limits near three standard errors.
    assert abs(mean) < 2.0
    assert abs(sd) < 1.6
    assert abs(lag) < 0.06


@BOTH
def test_the_noise_in_a_tumour_is_that_of_the_parenchyma(spacing):
    scan = noisy((44.0, 64.0, 64.0), spacing, 3)
    tumor = at(scan, lesion(16.0))
    image = rendered(scan, tumor)[0]
    inside, ring = distance_mm(scan, tumor) < 13, distance_mm(scan, tumor) > 20
    assert image[inside].std() == pytest.approx(image[ring].std(), rel=0.05)
    assert autocorrelation(image, inside) == pytest.approx(autocorrelation(image, ring), abs=0.03)


# --- shape and edge ---------------------------------------------------------------------------------------------------


def profile(scan: Scan, tumor: Tumor) -> np.ndarray:
    """Mean HU by distance from the axis along z, in steps of 2 mm, over the slices within half a radius."""
    image = rendered(scan, tumor)[0]
    z, y, x = offsets_mm(scan, tumor)
    near = np.abs(z) <= tumor.radius_mm / 2
    rings = np.hypot(y, x)[near] // 2
    return np.array([image[near][rings == n].mean() for n in range(round(tumor.radius_mm / 2) + 3)])


@pytest.mark.parametrize("radius", [8.0, 14.0])
def test_the_same_tumour_in_mm_at_1_mm_and_at_5_mm_slices(radius):
    volumes, profiles = [], []
    for spacing in (FINE, THICK):
        scan = quiet(2 * radius + 20, spacing)
        tumor = at(scan, lesion(radius, half_axes=(radius, 0.9 * radius, 1.1 * radius), sigma_c_mm=1.2))
        (outcome,) = render(scan, with_mu_p(scan, tumor)).outcomes
        volumes.append(outcome.volume_mm3)
        profiles.append(profile(scan, tumor))
    # A radius of 8 mm is three slices and a bit: their number is rounded.
    assert volumes[1] == pytest.approx(volumes[0], rel=0.06 if radius < 10 else 0.03)
    np.testing.assert_allclose(profiles[1], profiles[0], atol=6.0 if radius < 10 else 4.0)


def spread_mm(along: np.ndarray, spacing: float) -> float:
    """Standard deviation (mm) of the slope of an edge: what it is blurred with. Differences add a box of a voxel."""
    slope = -np.diff(along)
    place = np.arange(slope.size) * spacing
    middle = (slope * place).sum() / slope.sum()
    return float(np.sqrt((slope * (place - middle) ** 2).sum() / slope.sum() - spacing**2 / 12))


@pytest.mark.parametrize("spacing", [FINE, THICK, (3.0, 0.7, 0.7), (1.0, 2.5, 2.5)])
def test_no_edge_is_sharper_than_the_scans_voxels(spacing):
    scan = quiet(52.0, spacing)
    middle = tuple(n // 2 for n in scan.geometry.shape)
    spreads = []
    for off in (-0.4, -0.2, 0.0, 0.2, 0.4):
        tumor = at(scan, lesion(16.0, sigma_c_mm=0.1), tuple(m + off for m in middle))
        body = Body.of(tumor, scan.geometry, PARENCHYMA)
        z, y, x = (m - b.start for m, b in zip(middle, body.box, strict=True))
        along = body.alpha[z:, y, x], body.alpha[z, y:, x], body.alpha[z, y, x:]
        spreads.append([spread_mm(np.append(a, [0, 0]), s) for a, s in zip(along, spacing, strict=True)])
    # A point is as wide as a voxel at half its height, wherever between voxels it lies on average.
    assert (np.mean(spreads, axis=0) >= 0.97 * np.array(spacing) / 2.355).all()


@BOTH
def test_a_tumour_moved_by_a_whole_voxel_is_the_same_moved(spacing):
    scan = quiet(50.0, spacing)
    index = [n // 2 - 0.3 for n in scan.geometry.shape]
    image, label = rendered(scan, at(scan, uneven(10.0), tuple(index)))
    moved, moved_label = rendered(scan, at(scan, uneven(10.0), tuple(i + 1 for i in index)))
    np.testing.assert_array_equal(moved_label[1:, 1:, 1:], label[:-1, :-1, :-1])
    np.testing.assert_allclose(moved[1:, 1:, 1:], image[:-1, :-1, :-1], atol=1e-3)


def test_rendering_twice_gives_the_same_bits_and_touches_only_its_boxes():
    scan = noisy(50.0, THICK, added=60 * tube(size_of(50.0, THICK), THICK, 3.0))
    plan = with_mu_p(scan, at(scan, uneven(10.0)), at(scan, uneven(4.0), (5.0, 12.0, 12.0)))
    patch = render(scan, plan)
    image, label = patch.apply(scan)
    again = render(replace(scan), plan).apply(scan)  # whose tissue has not been measured yet
    np.testing.assert_array_equal(again[0], image)
    np.testing.assert_array_equal(again[1], label)
    outside = np.ones(image.shape, bool)
    for block in patch.blocks:
        outside[block.box] = False
    np.testing.assert_array_equal(image[outside], scan.image.array[outside])
    # Boxes fit: no further than the edge's blur ends.
    assert all(n * s < 2 * 10 * 1.4 + 12 for n, s in zip(patch.blocks[0].label.shape, THICK, strict=True))


# --- at the liver's edge ----------------------------------------------------------------------------------------------


def slope_mm(shape) -> np.ndarray:
    """Depth (mm) inside a liver that ends in a plane at a slant, at 1 mm."""
    z, y, x = np.indices(shape).astype(float)
    return (24 - x) + 0.35 * (y - 24) + 0.25 * (z - 24)


def test_the_edge_of_the_liver_leaves_no_staircase():
    shape = (48, 48, 48)
    blocks = slope_mm((48, 48, 48))[1::3, 1::3, 1::3] > 0  # a mask drawn on voxels of 3 mm
    mask = blocks.repeat(3, 0).repeat(3, 1).repeat(3, 2)
    scan = scan_of(np.full(shape, PARENCHYMA, np.float32), FINE, mask)
    image, label = rendered(scan, at(scan, lesion(12.0, sigma_c_mm=0.9), (24.0, 24.0, 20.0)))
    middle = np.s_[18:30, 18:30, 16:]
    plane = slope_mm(shape)[18:30, 18:30, 24]

    def roughness(inside: np.ndarray) -> float:
        """How far (mm) the end of what is inside, along x, departs from a plane."""
        return float((inside.sum(axis=2) - plane).std())

    stairs = roughness(mask[middle])
    assert stairs > 0.8
    # Voxels of 1 mm have a roughness of 0.29 of their own.
    assert roughness(label[middle] == 2) < 0.65 * stairs
    assert roughness((PARENCHYMA - image[middle]) / (PARENCHYMA - TUMOUR)) < 0.5 * stairs


@pytest.mark.parametrize("outside_hu", [-90.0, 30.0, 180.0])
@pytest.mark.parametrize("off_mm", [-0.5, 0.0, 0.5])
def test_no_bright_or_dark_line_lies_along_the_edge_of_the_liver(outside_hu, off_mm):
    """The mask may be off by half a voxel. The scanner's point spread is 0.7 mm."""
    shape, x = (40, 40, 48), np.arange(48)
    share = norm.cdf((23.5 - off_mm - x) / 0.7)
    hu = np.broadcast_to(outside_hu + (PARENCHYMA - outside_hu) * share, shape).astype(np.float32)
    scan = scan_of(hu, FINE, np.broadcast_to(x < 23.5, shape))
    image, _ = rendered(scan, at(scan, lesion(12.0), (20.0, 20.0, 17.0)))
    line = image[18:23, 18:23, 14:34].mean(axis=(0, 1))
    limit = 7 if off_mm else 2  # HU; a mask that is off shows, but by less than noise
    assert min(TUMOUR, outside_hu) - limit <= line.min()
    assert line.max() <= max(TUMOUR, outside_hu) + limit


# --- the label as an annotator draws it -------------------------------------------------------------------------------


def depth_of_half(radius: float, inset: float, sigma: float) -> float:
    """Radius at which a ball, blurred, is as high as an even edge is `inset` inside: from the closed form."""

    def blurred(rho: float) -> float:
        a, b = (radius - rho) / sigma, (radius + rho) / sigma
        return norm.cdf(a) + norm.cdf(b) - 1 + sigma / rho * (norm.pdf(b) - norm.pdf(a))

    return brentq(lambda rho: blurred(rho) - norm.cdf(inset / sigma), 0.1, radius + 3)


@pytest.mark.parametrize("spacing", [(0.8, 0.8, 0.8), (4.5, 0.7, 0.7)], ids=["thin slices", "thick slices"])
@pytest.mark.parametrize(("inset", "sigma_c"), [(0.3, 0.9), (1.0, 0.9), (1.0, 0.0)])
def test_a_label_ends_inside(inset, sigma_c, spacing):
    scan = quiet(34.0, spacing)
    middle = tuple(n / 2 - 0.3 for n in scan.geometry.shape)
    tumor = at(scan, lesion(11.0, label_inset_mm=inset, sigma_c_mm=sigma_c), middle)
    image, label = rendered(scan, tumor)
    np.testing.assert_array_equal(image, rendered(scan, replace(tumor, label_inset_mm=0.0))[0])
    volume = (label == 2).sum() * scan.geometry.voxel_volume_mm3
    radius = (volume * 3 / (4 * np.pi)) ** (1 / 3)
    fine = spacing[0] / (1 if spacing[0] < 1.6 else 3)
    expected = depth_of_half(11.0, inset, max(sigma_c, inset / 2, fine / 2))
    # A tenth of a voxel in plane; slices of 4.5 mm are all or nothing.
    assert radius == pytest.approx(expected, abs=0.08 if spacing[0] < 1 else 0.15)
    assert expected == pytest.approx(11.0 - inset, abs=0.15)


def test_the_hand_departs_as_far_as_is_asked():
    scan = quiet(46.0, (0.8, 0.8, 0.8))
    tumor = at(scan, lesion(16.0, sigma_c_mm=1.0, label_jitter_mm=0.5))
    label = rendered(scan, tumor)[1] == 2
    assert ndimage.label(label, np.ones((3, 3, 3)))[1] == 1
    depth = 16 - distance_mm(scan, tumor)
    steps = np.arange(-3, 3.01, 0.1)
    share = [label[(depth >= a) & (depth < a + 0.1)].mean() for a in steps]
    # The share that is labelled rises over the depth as the distribution of where the label ends.
    rise = np.diff(share)
    middle = (rise * steps[1:]).sum()
    assert middle == pytest.approx(0.06, abs=0.08)  # sigma_c^2 / r: a blurred ball is lower at its surface
    assert np.sqrt((rise * (steps[1:] - middle) ** 2).sum()) == pytest.approx(0.5, abs=0.06)


def test_what_the_label_cuts_off_in_bits_is_no_part_of_it():
    scan = quiet(40.0)
    tumor = at(scan, lesion(8.0, half_axes=(8.0, 3.0, 12.0), label_jitter_mm=2.0, label_inset_mm=1.0))
    patch = render(scan, with_mu_p(scan, tumor))
    label = patch.apply(scan)[1] == 2
    assert ndimage.label(label, np.ones((3, 3, 3)))[1] == 1
    assert patch.outcomes[0].clipped_fraction == 0


@pytest.mark.parametrize("seed", [3, 36, 52])
def test_nor_are_bits_that_the_livers_edge_cuts_off(seed):
    """Shapes and hands of which the edge cuts bits off."""
    liver = np.zeros((10, 18, 18), bool)
    liver[:, 7:] = True
    scan = scan_of(np.full(liver.shape, PARENCHYMA, np.float32), (4.0, 3.0, 3.0), liver)
    tumor = at(scan, lesion(14.0, label_jitter_mm=3.0, label_inset_mm=1.0, shape_seed=seed), (5, 9, 9))
    plan = with_mu_p(scan, tumor)
    label = render(scan, plan).apply(scan)[1]
    assert ndimage.label(label == 2, np.ones((3, 3, 3)))[1] == 1
    np.testing.assert_array_equal(label, render_plainly(scan, plan)[1])


@pytest.mark.parametrize(("jitter_mm", "left"), [(0.5, [0, 0, 0, 1, 1, 1]), (0.0, [1, 1, 0, 1, 1, 1])])
def test_a_label_without_jitter_stays_as_the_liver_cuts_it(jitter_mm, left):
    """So that rows which have none render to the bits that they had."""
    liver = np.array([[[1.0, 0.6, 0.4, 0.5, 1.0, 1.0]]])
    tumor = lesion(5.0, label_jitter_mm=jitter_mm, label_inset_mm=0.5)
    assert cut_to_liver(liver > 0, liver, tumor).astype(int).tolist() == [[left]]
    assert not cut_to_liver(liver > 0, 0 * liver, tumor).any()
