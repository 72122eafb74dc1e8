"""Rendering: equations 4 to 8 against closed forms and literal computations, and what must stay untouched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from examples import THICK, at, ball, distance_mm, flat_scan, literal_level, offsets_mm, plan_of, scan_of
from phantoms import ball_scan, ball_volume
from scipy import ndimage

from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.method.body import Body
from tumorgen.method.mass_effect import pull_factor
from tumorgen.method.patch import Outcome
from tumorgen.method.plan import Plan, Tumor
from tumorgen.method.rendering import blend, cast_to_type, render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan, prepare_scan
from tumorgen.method.settings import Settings, Vessels
from tumorgen.tables.manifest import Files, Record, read_manifest, write_manifest

SHAPE = (41, 43, 45)


def literal_mask(scan: Scan, tumor: Tumor) -> np.ndarray:
    """Voxels whose centre lies in the ellipsoid."""
    z, y, x = offsets_mm(scan, tumor)
    a, b, c = tumor.half_axes_mm
    return (z / a) ** 2 + (y / b) ** 2 + (x / c) ** 2 <= 1


def literal_texture(scan: Scan, tumor: Tumor) -> np.ndarray:
    """T'' on the whole image; outside the tumour's box it is never asked for."""
    body = Body.of(tumor, scan.geometry)
    whole = np.zeros(scan.geometry.shape)
    whole[body.box] = body.texture
    return whole


# --- Eq. 4 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma_c", [0.6, 0.9, 1.2])
def test_blending_is_equation_4(sigma_c):
    rng = np.random.default_rng(0)
    scan = scan_of(rng.normal(100, 10, SHAPE))
    tumor = at(scan, ball(8.0, half_axes=(6.3, 8.0, 9.6), sigma_c_mm=sigma_c))
    image, label = render(scan, plan_of(scan, tumor)).apply(scan)
    mask = literal_mask(scan, tumor)
    soft = ndimage.gaussian_filter(mask.astype(np.float64), sigma_c)  # t''
    expected = (1 - soft) * scan.image.array + soft * literal_texture(scan, tumor)
    np.testing.assert_array_equal(label == 2, mask)
    # The kernel ends at 3 sigma (0.3 % of its weight), the contrast is 50 HU and the noise 15: below half a HU.
    np.testing.assert_allclose(image, expected, atol=0.5)
    assert np.abs(image - scan.image.array)[mask].mean() > 30


def test_blend_weights():
    np.testing.assert_allclose(
        blend(np.float32([100, 100, 100]), np.float32([0, 0.25, 1]), np.float32([40, 40, 40])), [100, 85, 40]
    )


def test_edge_blur_is_in_mm_on_thick_slices():
    scan = flat_scan((15, 61, 61), THICK)
    tumor = at(scan, ball(16.0, sigma_t_hu=0.0, mu_t_hu=0.0, sigma_c_mm=1.2), (7.0, 30.0, 30.25))
    image, _ = render(scan, plan_of(scan, tumor)).apply(scan)
    alpha = 1 - image[7, 30, 30:] / 100  # along x, through the middle: slice thickness hardly matters there
    distance = (np.arange(31) - 0.25) * 0.8
    blurred = ndimage.gaussian_filter1d((np.arange(-400, 401) / 10 <= 16.0) * 1.0, 12)[400:]
    near = np.interp(distance, np.arange(401) / 10, blurred)
    # The mask's edge lies between two voxels, here within 0.1 mm of where it should: 0.33 / mm is the blur's slope.
    np.testing.assert_allclose(alpha, near, atol=0.04)
    assert np.interp(0.5, alpha[::-1], distance[::-1]) == pytest.approx(16.0, abs=0.15)


@pytest.mark.parametrize("blur", [{"sigma_c_mm": 20.0}, {"sigma_b_mm": 20.0}, {"sigma_d_mm": 20.0, "capsule_hu": 9.0}])
def test_a_blur_of_thousands_of_voxels_is_refused(blur):
    """Its weights would take more memory than all voxels."""
    scan = flat_scan((9, 9, 9), (1.5, 1.5, 0.01))
    tumor = at(scan, ball(0.5, half_axes=(0.5, 0.5, 20.0), **blur))
    with pytest.raises(TumorgenError, match=r"times what is rendered; lower its .* or blurs"):
        render(scan, plan_of(scan, tumor))


def test_without_blur_the_edge_is_hard():
    scan = flat_scan(SHAPE)
    tumor = at(scan, ball(8.0, sigma_t_hu=0.0, mu_t_hu=40.0))
    image, label = render(scan, plan_of(scan, tumor)).apply(scan)
    np.testing.assert_array_equal(image, np.where(literal_mask(scan, tumor), 40.0, 100.0))
    np.testing.assert_array_equal(label, np.where(literal_mask(scan, tumor), 2, 1))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), THICK], ids=["1 mm", "5 mm slices"])
def test_only_liver_changes_when_the_mass_effect_is_off(spacing):
    shape = tuple(int(46 / s) for s in spacing)
    liver = np.zeros(shape, bool)
    liver[:, :, : shape[2] // 2] = True
    scan = scan_of(np.random.default_rng(1).normal(90, 8, shape), spacing, liver)
    edge = (float(shape[0] // 2), float(shape[1] // 2), shape[2] / 2 - 2.0)
    tumor = at(scan, ball(8.0, sigma_e_mm=2.0, sigma_c_mm=1.2, capsule_hu=120.0), edge)
    patch = render(scan, plan_of(scan, tumor))
    image, label = patch.apply(scan)
    changed = image != scan.image.array
    assert changed.any()
    assert not (changed & ~liver).any()
    np.testing.assert_array_equal(label > 0, liver)
    assert 0.2 < patch.outcomes[0].clipped_fraction < 0.6


def test_mean_and_noise_inside_are_those_of_the_row():
    scan = ball_scan(noise_sd=10.0)
    found = []
    for seed in range(12):
        tumor = at(scan, ball(16.0, mu_t_hu=55.0, sigma_t_hu=12.0, texture_seed=seed))
        found.append(render(scan, plan_of(scan, tumor)).outcomes[0])
    # 17 000 voxels, correlated over a few: mean known to 0.4 HU, standard deviation to 2 %, each; twelve of them.
    assert np.mean([o.mean_hu for o in found]) == pytest.approx(55.0, abs=0.5)
    assert np.mean([o.sd_hu for o in found]) == pytest.approx(12.0, rel=0.03)
    assert found[0].contrast_hu == pytest.approx(found[0].mean_hu - scan.mu_p_hu, abs=0.01)


# --- Eq. 5 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "percent", "factor"),
    [
        (0.0, 30.0, 0.7),
        (0.25, 30.0, 1 - 0.5625 * 0.3),
        (0.5, 30.0, 0.925),
        (0.5, 60.0, 0.85),
        (0.9, 30.0, 0.997),
        (1.0, 30.0, 1.0),
        (0.5, 0.0, 1.0),
    ],
)
def test_gamma_prime_is_equation_5(part, percent, factor):
    gamma_max = 13.0
    assert pull_factor(np.array((part * gamma_max) ** 2), gamma_max, percent) == pytest.approx(factor, rel=1e-12)


def gamma_prime(gamma: np.ndarray, gamma_max: float, percent: float = 30.0) -> np.ndarray:
    """Equation 5 as printed, and the identity beyond gamma_max."""
    pulled = (1 - (1 - gamma / gamma_max) ** 2 * percent / 100) * gamma
    return np.where(gamma < gamma_max, pulled, gamma)


def moved_scan(function, spacing=(1.0, 1.0, 1.0), percent=30.0, sigma_p=0.0, shape=(41, 41, 41)):
    """A scan of a function of (z, y, x) mm from a tiny tumour that pushes up to 15 mm; the scan after it, and gamma."""
    scan = flat_scan(shape, spacing)
    tumor = at(scan, ball(8.0, half_axes=(1.2, 1.2, 1.2), gamma_max_mm=15.0, mass_effect_percent=percent))
    hu = function(*offsets_mm(scan, tumor))
    scan = scan_of(hu, spacing)
    image, label = render(scan, plan_of(scan, tumor, sigma_p_hu=sigma_p)).apply(scan)
    return scan, tumor, image, label


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.8, 1.1)], ids=str)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_ramp_is_read_where_equation_5_says(axis, spacing):
    shape = tuple(int(41 / s) for s in spacing)
    scan, tumor, image, label = moved_scan(lambda *zyx: 100 + 2.0 * zyx[axis], spacing, shape=shape)
    gamma = distance_mm(scan, tumor)
    factor = np.divide(gamma_prime(gamma, 15.0), gamma, out=np.ones_like(gamma), where=gamma > 0)
    expected = 100 + 2.0 * offsets_mm(scan, tumor)[axis] * factor
    away = (label != 2) & (gamma > 2.5)
    np.testing.assert_allclose(image[away], expected[away], atol=2e-3)  # linear interpolation of a ramp is exact
    assert (
        np.abs(image - scan.image.array)[away].max() > 1.0
    )  # it moves by up to 15 x 4/27 x 0.3 = 0.67 mm, at 2 HU / mm


def test_content_is_pushed_outwards():
    def shell(z, y, x):
        return 100 + 60 * np.exp(-((np.sqrt(z**2 + y**2 + x**2) - 7.0) ** 2) / 4)

    _, _, image, _ = moved_scan(shell, percent=60.0)
    along = image[20, 20, 20:36]
    gamma = np.arange(16.0)
    expected = shell(0, 0, gamma_prime(gamma, 15.0, 60.0))
    # Linear interpolation flattens a bump of 1.4 mm by up to 3 HU.
    np.testing.assert_allclose(along[3:], expected[3:], atol=4.0)
    assert np.argmax(expected[3:]) + 3 > 7
    assert np.argmax(along[3:]) == np.argmax(expected[3:])


def test_zero_intensity_warp_is_identity():
    rng = np.random.default_rng(3)
    scan = scan_of(rng.normal(100, 10, SHAPE))
    plain = at(scan, ball(6.0, sigma_c_mm=0.8))
    off = replace(plain, gamma_max_mm=30.0)
    first, second = (render(scan, plan_of(scan, t)).apply(scan) for t in (plain, off))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), THICK], ids=["1 mm", "5 mm slices"])
def test_nothing_changes_beyond_gamma_max_nor_at_the_centre(spacing):
    rng = np.random.default_rng(4)
    scan = scan_of(rng.normal(100, 10, tuple(int(48 / s) for s in spacing)), spacing)
    tumor = at(scan, ball(8.0, half_axes=(0.2, 0.2, 0.2), gamma_max_mm=16.0, mass_effect_percent=30.0))
    patch = render(scan, plan_of(scan, tumor))
    image, _ = patch.apply(scan)
    gamma = distance_mm(scan, tumor)
    changed = image != scan.image.array
    assert not changed[gamma >= 16.0].any()
    assert changed[(gamma > 2) & (gamma < 14)].mean() > 0.95
    inside = np.zeros(changed.shape, bool)
    inside[patch.blocks[0].box] = True
    assert inside[gamma < 16.0].all()


def growth(radius: float, gamma_max: float) -> float:
    """Cubed ratio of where Eq. 5 puts the surface of a ball: gamma'(gamma) = radius."""
    gamma = np.linspace(radius, gamma_max, 2_000_001)
    return float((np.interp(radius, gamma_prime(gamma, gamma_max), gamma) / radius) ** 3)


def test_a_20_mm_ball_grows_by_4_percent():
    assert growth(20.0, 26.0) == pytest.approx(1.04, abs=0.005)  # DESIGN
    scan = flat_scan((61, 61, 61))
    still = at(scan, ball(20.0))
    volumes = [
        render(scan, plan_of(scan, replace(still, mass_effect_percent=i))).outcomes[0].volume_mm3 for i in (0.0, 30.0)
    ]
    # The surface of 33 500 voxels is known to a few tens of them: 0.3 %.
    assert volumes[1] / volumes[0] == pytest.approx(growth(20.0, 26.0), abs=0.006)


@pytest.mark.parametrize("seed", range(4))
def test_the_deformed_shape_moves_with_the_tissue(seed):
    scan = flat_scan((57, 57, 57))
    tumor = at(
        scan, ball(16.0, half_axes=(13.0, 15.0, 12.5), sigma_e_mm=4.0, shape_seed=seed, mass_effect_percent=40.0)
    )
    _, label = render(scan, plan_of(scan, tumor)).apply(scan)
    gamma = distance_mm(scan, tumor)
    factor = np.divide(gamma_prime(gamma, tumor.gamma_max_mm, 40.0), gamma, out=np.ones_like(gamma), where=gamma > 0)
    points = np.stack([o * factor for o in offsets_mm(scan, tumor)]).reshape(3, -1)
    q = literal_level(tumor, points).reshape(scan.liver.shape)
    still = literal_level(tumor, np.stack(offsets_mm(scan, tumor)).reshape(3, -1)).reshape(scan.liver.shape)
    clear = np.abs(q - 1) > 0.01  # interpolating q on a 1 mm grid is off by as much near the surface
    np.testing.assert_array_equal((label == 2)[clear], (q <= 1)[clear])
    assert ((q <= 1) != (still <= 1)).sum() > 300  # voxels that the mass effect decides


def pulled_by_hand(values: np.ndarray, scan: Scan, tumor: Tumor) -> tuple[np.ndarray, np.ndarray]:
    """Every voxel from the voxel nearest to where Eq. 5 reads it, and where that is not a matter of rounding."""
    gamma = distance_mm(scan, tumor)
    factor = np.divide(
        gamma_prime(gamma, tumor.gamma_max_mm, tumor.mass_effect_percent),
        gamma,
        out=np.ones_like(gamma),
        where=gamma > 0,
    )
    index = np.indices(values.shape)
    source = [
        i + o * (factor - 1) / s
        for i, o, s in zip(index, offsets_mm(scan, tumor), scan.geometry.spacing_mm, strict=True)
    ]
    sure = np.all([np.abs(np.abs(c - np.floor(c)) - 0.5) > 1e-3 for c in source], axis=0)
    return values[tuple(np.rint(c).astype(int) for c in source)], sure


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), THICK], ids=["1 mm", "5 mm slices"])
def test_labels_move_with_the_image(spacing):
    # An earlier tumour and the liver's edge, both near a later tumour that pushes hard.
    shape = tuple(int(64 / s) for s in spacing)
    scan = flat_scan(shape, spacing)
    liver = offsets_mm(scan, at(scan, ball()))[2] < 8.0
    scan = replace(scan, inside=liver)
    middle = [n // 2 for n in shape]
    first = at(scan, ball(6.0), (middle[0], middle[1] - 12.0 / spacing[1], middle[2]))
    pusher = at(scan, ball(1.2, gamma_max_mm=24.0, mass_effect_percent=80.0))
    alone = render(scan, plan_of(scan, first)).apply(scan)[1]
    both = render(scan, plan_of(scan, first, pusher)).apply(scan)[1]
    expected, sure = pulled_by_hand(alone, scan, pusher)
    sure &= distance_mm(scan, pusher) > 7  # the second tumour itself, swollen
    np.testing.assert_array_equal(both[sure], expected[sure])
    for value in (0, 1, 2):  # each of them had something to move
        assert ((alone == value) & (expected != value) & sure).any()


def test_the_noise_keeps_its_standard_deviation():
    volume, liver = ball_volume(seed=5)
    scan = prepare_scan(volume, liver, Vessels(), "ball")
    tumor = at(scan, ball(16.0, half_axes=(8.0, 8.0, 8.0), gamma_max_mm=30.0, mass_effect_percent=30.0))
    gamma = distance_mm(scan, tumor)
    shell = (gamma > 12) & (gamma < 27)
    before = volume.array[shell].std()
    kept = render(scan, plan_of(scan, tumor)).apply(scan)[0][shell].std() / before
    plain = render(scan, plan_of(scan, tumor, sigma_p_hu=0.0)).apply(scan)[0][shell].std() / before
    # This phantom's noise is correlated over 0.7 voxels, of which a part is taken for anatomy: 4 % are lost, against
    # a quarter with linear interpolation alone.
    assert kept == pytest.approx(1.0, abs=0.06)
    assert plain < 0.85


def test_white_noise_keeps_its_standard_deviation():
    scan = scan_of(np.random.default_rng(6).normal(100, 15, (65, 65, 65)))
    tumor = at(scan, ball(16.0, half_axes=(4.0, 4.0, 4.0), gamma_max_mm=30.0, mass_effect_percent=30.0))
    gamma = distance_mm(scan, tumor)
    shell = (gamma > 8) & (gamma < 27)
    before = scan.image.array[shell].std()
    kept = render(scan, plan_of(scan, tumor)).apply(scan)[0][shell].std() / before
    plain = render(scan, plan_of(scan, tumor, sigma_p_hu=0.0)).apply(scan)[0][shell].std() / before
    assert kept == pytest.approx(1.0, abs=0.03)
    assert plain == pytest.approx(0.63, abs=0.06)  # DESIGN's figure for linear interpolation


@pytest.mark.parametrize("structure", ["edge", "vessel"])
def test_anatomy_moves_whole(structure):
    n, c = 81, 40
    hu = np.full((n, n, n), 100.0)
    if structure == "edge":
        hu[:, :, c + 8 :] = -100
    else:
        hu[:, :, c + 7 : c + 10] += 60
    scan = scan_of(hu)
    tumor = at(scan, ball(32.0, half_axes=(3.0, 3.0, 3.0), mass_effect_percent=30.0, gamma_max_mm=39.0))
    exact, kept = (render(scan, plan_of(scan, tumor, sigma_p_hu=s)).apply(scan)[0] for s in (0.0, 15.0))
    away = distance_mm(scan, tumor) > 5
    # Half a sigma_p is hardly seen; a ghost of an edge is.
    assert np.abs(kept - exact)[away].max() < 15.0


# --- Eq. 6 to 8 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high", "sigma_d"), [(0.4, 0.7, 0.8), (0.2, 0.9, 1.5)])
def test_capsule_is_equations_6_to_8(low, high, sigma_d):
    scan = flat_scan(SHAPE)
    bare = at(scan, ball(9.0, half_axes=(8.0, 9.0, 10.4), sigma_c_mm=1.1, sigma_t_hu=0.0))
    capsule = {"capsule_hu": 120.0, "capsule_low": low, "capsule_high": high, "sigma_d_mm": sigma_d}
    soft = ndimage.gaussian_filter(literal_mask(scan, bare).astype(np.float64), 1.1, truncate=3.0)
    edge = (soft >= low) & (soft <= high)  # Eq. 6
    blurred = ndimage.gaussian_filter(edge.astype(np.float64), sigma_d, truncate=3.0)  # Eq. 7
    added = 120 * blurred  # Eq. 8
    without, with_rim = (
        render(scan, plan_of(scan, t)).apply(scan)[0].astype(np.float64) for t in (bare, replace(bare, **capsule))
    )
    np.testing.assert_allclose(with_rim - without, added, atol=0.02)  # float32
    assert edge.sum() > 500
    assert added.max() > 50


@pytest.mark.parametrize(("switched_off", "gamma_max"), [("capsule_hu", 10.4), ("mass_effect_percent", 18.0)])
def test_a_step_that_is_off_leaves_the_grain(switched_off, gamma_max):
    scan = flat_scan((51, 51, 51))
    tumor = at(scan, ball(8.0, sigma_c_mm=0.8, capsule_hu=120.0, mass_effect_percent=30.0, gamma_max_mm=gamma_max))
    first, second = (
        render(scan, plan_of(scan, t)).apply(scan)[0] for t in (tumor, replace(tumor, **{switched_off: 0.0}))
    )
    core = distance_mm(scan, tumor) < 3  # neither capsule nor blur reaches it, and texture is laid on after the warp
    np.testing.assert_allclose(first[core], second[core], atol=1e-3)


def test_capsule_lies_on_the_edge_and_fades_on_both_sides():
    scan = flat_scan((61, 61, 61))
    tumor = at(scan, ball(20.0, sigma_t_hu=0.0, mu_t_hu=100.0, sigma_c_mm=1.2, capsule_hu=120.0))
    image, _ = render(scan, plan_of(scan, tumor)).apply(scan)
    gamma = distance_mm(scan, tumor)
    added = image - 100
    assert added.min() > -1e-4  # float32
    assert gamma[np.unravel_index(added.argmax(), added.shape)] == pytest.approx(20.0, abs=1.5)
    assert added[(gamma < 14) | (gamma > 26)].max() < 1e-4
    assert 40 < added[(gamma > 19) & (gamma < 20.5)].mean() < 120


def test_no_capsule_is_identity():
    scan = scan_of(np.random.default_rng(7).normal(100, 10, SHAPE))
    bare = at(scan, ball(8.0, sigma_c_mm=0.9))
    other = replace(bare, capsule_low=0.1, capsule_high=0.9, sigma_d_mm=3.0)
    first, second = (render(scan, plan_of(scan, t)).apply(scan)[0] for t in (bare, other))
    np.testing.assert_array_equal(first, second)


def test_capsule_on_thick_slices_is_as_bright_as_on_thin_ones():
    rims = []
    for spacing in ((1.0, 1.0, 1.0), THICK):
        scan = flat_scan(tuple(int(56 / s) for s in spacing), spacing)
        tumor = at(scan, ball(16.0, sigma_t_hu=0.0, mu_t_hu=100.0, sigma_c_mm=1.0, capsule_hu=120.0))
        image = render(scan, plan_of(scan, tumor)).apply(scan)[0]
        rims.append(float((image - 100).sum() * scan.geometry.voxel_volume_mm3))
    # A rim 1 mm wide, sampled on voxels of 0.8 to 1.25 mm: what falls into [lb, ub] varies by a tenth.
    assert rims[1] == pytest.approx(rims[0], rel=0.15)


def test_the_swollen_tumours_capsule_lies_on_its_swollen_edge():
    scan = flat_scan((61, 61, 61))
    tumor = at(
        scan,
        ball(20.0, sigma_t_hu=0.0, mu_t_hu=100.0, sigma_c_mm=0.8, capsule_hu=120.0, mass_effect_percent=80.0),
    )
    image, label = render(scan, plan_of(scan, tumor, sigma_p_hu=0.0)).apply(scan)
    gamma = distance_mm(scan, tumor)
    edge = 20.0 * growth_80() ** (1 / 3)
    added = image - 100
    assert edge > 20.5
    assert np.average(gamma, weights=added) == pytest.approx(edge, abs=0.5)
    assert (3 * (label == 2).sum() / (4 * np.pi)) ** (1 / 3) == pytest.approx(edge, abs=0.1)


def growth_80() -> float:
    gamma = np.linspace(20.0, 26.0, 2_000_001)
    return float((np.interp(20.0, gamma_prime(gamma, 26.0, 80.0), gamma) / 20.0) ** 3)


# --- purity ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planned(any_scan) -> tuple[Scan, Plan]:
    """A sample with every step on."""
    return any_scan, draw_variant(any_scan, Settings(sizes=("small",)), 3, 0)


def bits(scan: Scan, plan: Plan) -> tuple[bytes, bytes]:
    image, label = render(scan, plan).apply(scan)
    return image.tobytes(), label.tobytes()


def test_rendering_leaves_the_scan_alone(planned):
    scan, plan = planned
    before = scan.image.array.tobytes(), scan.liver.tobytes(), scan.vessels.tobytes()
    bits(scan, plan)
    assert (scan.image.array.tobytes(), scan.liver.tobytes(), scan.vessels.tobytes()) == before


def test_the_same_bits_twice_and_from_four_threads(planned):
    scan, plan = planned
    first = bits(scan, plan)
    np.random.seed(1)  # noqa: NPY002 - the global state must play no part
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: bits(scan, plan), range(4))) == [first] * 4


def test_a_plan_read_back_renders_the_same_bits(planned, tmp_path):
    scan, plan = planned
    outcomes = render(scan, plan).outcomes
    files = Files(len(outcomes), 1.5, "a", "b", "c", "d", "e", "f", "1", "2", "3")
    write_manifest([Record(plan, outcomes, files)], tmp_path / "manifest.csv")
    (record,) = read_manifest(tmp_path / "manifest.csv")
    assert bits(scan, record.plan) == bits(scan, plan)
    assert record.outcomes == outcomes


def test_outside_boxes_is_bit_identical(planned):
    scan, plan = planned
    patch = render(scan, plan)
    image, label = patch.apply(scan)
    outside = np.ones(image.shape, bool)
    for block, outcome in zip(patch.blocks, patch.outcomes, strict=True):
        outside[block.box] = False
        assert outcome.box == block.box
    assert (~outside).any()
    assert outside.any()
    np.testing.assert_array_equal(image[outside], scan.image.array[outside])
    np.testing.assert_array_equal(label[outside], scan.liver[outside])
    assert (image.dtype, label.dtype) == (scan.image.array.dtype, np.uint8)


def test_what_is_unchanged_inside_a_box_is_bit_identical():
    # float64 voxels that no float32 holds: a round trip through it would show.
    hu = np.random.default_rng(8).normal(100, 10, SHAPE)
    scan = scan_of(hu)
    patch = render(scan, plan_of(scan, at(scan, ball(8.0, sigma_c_mm=0.6))))
    image, _ = patch.apply(scan)
    changed = image != hu
    assert changed.sum() < 0.6 * patch.blocks[0].image.size
    assert (hu[patch.blocks[0].box].astype(np.float32) != hu[patch.blocks[0].box]).mean() > 0.9


def test_a_cropped_scan_gives_the_same_tumour():
    hu = np.random.default_rng(9).normal(100, 12, (50, 52, 54))
    whole = scan_of(hu)
    crop = (slice(12, 50), slice(0, 45), slice(9, 48))
    x, y, z = whole.geometry.to_mm((12, 0, 9))
    cut = scan_of(np.ascontiguousarray(hu[crop]), origin_mm=(x, y, z))
    options = {"half_axes": (7.1, 6.2, 8.7), "sigma_e_mm": 1.0, "sigma_c_mm": 0.8, "capsule_hu": 120.0}
    tumor = at(whole, ball(8.0, mass_effect_percent=30.0, **options), (15.0, 40.0, 30.0))  # near two faces of the crop
    in_whole = render(whole, plan_of(whole, tumor, sigma_p_hu=10.0)).apply(whole)
    in_cut = render(cut, plan_of(cut, tumor, sigma_p_hu=10.0)).apply(cut)
    np.testing.assert_array_equal(in_whole[1][crop], in_cut[1])
    # The local mean that tells noise from anatomy reaches 3 voxels: that far from the cut faces all is equal, but for
    # float32 coordinates that count from another corner.
    core = (slice(4, -4), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(in_whole[0][crop][core], in_cut[0][core], atol=0.01)


# --- edited rows -----------------------------------------------------------------------------------------------------


def test_a_moved_row_renders_elsewhere():
    scan = flat_scan((41, 41, 61))
    tumor = at(scan, ball(8.0, half_axes=(6.0, 7.0, 8.0), sigma_e_mm=1.5, sigma_c_mm=0.8, capsule_hu=120.0))
    moved = replace(tumor, center_x_mm=tumor.center_x_mm + 12.0)
    first, second = (render(scan, plan_of(scan, t)).apply(scan) for t in (tumor, moved))
    for before, after in zip(first, second, strict=True):
        np.testing.assert_allclose(np.roll(before, 12, axis=2), after, atol=1e-3)


def test_a_row_is_moved_along_the_scans_own_axes():
    turned = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)  # x of the image runs along y in space
    scan = flat_scan(SHAPE, direction=turned)
    tumor = at(scan, ball(6.0))
    moved = replace(tumor, center_y_mm=tumor.center_y_mm + 5.0)
    first, second = (render(scan, plan_of(scan, t)).apply(scan)[1] for t in (tumor, moved))
    np.testing.assert_array_equal(np.roll(first, 5, axis=2), second)


def test_a_darker_row_renders_darker():
    scan = flat_scan(SHAPE)
    tumor = at(scan, ball(8.0, sigma_c_mm=0.8, mu_t_hu=60.0))
    first, second = (render(scan, plan_of(scan, t)) for t in (tumor, replace(tumor, mu_t_hu=20.0)))
    assert first.outcomes[0].mean_hu - second.outcomes[0].mean_hu == pytest.approx(40 * 0.93, abs=3)  # but for the edge
    np.testing.assert_array_equal(first.apply(scan)[1], second.apply(scan)[1])


def test_center_voxel_is_where_the_centre_lies():
    scan = flat_scan(SHAPE, (2.0, 1.0, 1.5))
    outcome = render(scan, plan_of(scan, at(scan, ball(), (10.4, 20.6, 30.0)))).outcomes[0]
    assert (outcome.center_z_voxel, outcome.center_y_voxel, outcome.center_x_voxel) == (10, 21, 30)


@pytest.mark.parametrize("index", [(-0.6, 20, 20), (20, 42.6, 20), (20, 20, 45.0)])
def test_a_centre_outside_the_scan_is_refused(index):
    scan = flat_scan(SHAPE)
    inside = at(scan, ball())
    with pytest.raises(TumorgenError, match=r"example_v0000, tumour 1: centre .* lies outside the scan"):
        render(scan, plan_of(scan, inside, at(scan, ball(), index)))


@pytest.mark.parametrize("index", [(-0.5, -0.5, -0.5), (40.49, 42.49, 44.49), (0, 20, 44)])
def test_a_centre_at_the_scans_edge_renders(index):
    scan = scan_of(np.random.default_rng(0).normal(100, 10, SHAPE))
    tumor = ball(8.0, sigma_e_mm=2.0, sigma_c_mm=1.0, capsule_hu=120.0, mass_effect_percent=99.0)
    outcome = render(scan, plan_of(scan, at(scan, tumor, index))).outcomes[0]
    assert outcome.volume_mm3 > 0
    assert outcome.clipped_fraction > 0.3


def test_another_scan_is_refused():
    scan = scan_of(np.random.default_rng(0).normal(100, 10, SHAPE))
    plan = plan_of(scan, at(scan, ball()))
    array, place = scan.image.array, scan.geometry
    one_voxel, one_liver = array.copy(), scan.liver.copy()
    one_voxel[3, 4, 5] += 1
    one_liver[3, 4, 5] = False

    def other(array=array, liver=scan.liver, **geometry):
        return prepare_scan(Volume(array, replace(place, **geometry)), liver, Vessels(), "example")

    render(other(), plan)
    with pytest.raises(TumorgenError, match="its voxels or geometry differ"):
        render(other(one_voxel), plan)
    with pytest.raises(TumorgenError, match="another liver mask"):
        render(other(liver=one_liver), plan)
    with pytest.raises(TumorgenError, match="planned for shape"):
        render(other(spacing_mm=(1.0, 1.0, 1.01)), plan)
    with pytest.raises(TumorgenError, match="planned for shape"):
        render(other(array[1:], scan.liver[1:], shape=(40, 43, 45)), plan)
    with pytest.raises(TumorgenError, match="geometry differ"):
        render(other(origin_mm=(0.0, 0.0, 0.0)), plan)


# --- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_the_image_keeps_its_type(dtype):
    scan = scan_of(np.full(SHAPE, 100, dtype))
    image, label = render(scan, plan_of(scan, at(scan, ball(sigma_c_mm=0.8, sigma_t_hu=0.0)))).apply(scan)
    assert image.dtype == dtype
    assert label.dtype == np.uint8
    assert image[20, 21, 22] == 50
    reference = flat_scan(SHAPE)
    expected = render(reference, plan_of(reference, at(reference, ball(sigma_c_mm=0.8, sigma_t_hu=0.0)))).apply(
        reference
    )
    # Integers are rounded, not cut: never more than half a HU away, and zero on average.
    apart = image.astype(float) - expected[0]
    assert np.abs(apart).max() <= 0.5 + 1e-4
    assert abs(apart.mean()) < 0.01


def test_values_stay_within_the_type():
    values = np.float32([-40000.0, -1.5, -0.5, 0.4, 0.6, 2.5, 70000.0])
    assert cast_to_type(values, np.dtype("int16")).tolist() == [-32768, -2, 0, 0, 1, 2, 32767]
    assert cast_to_type(values, np.dtype("uint16")).tolist() == [0, 0, 0, 0, 1, 2, 65535]
    assert cast_to_type(values, np.dtype("float32")).tolist() == values.tolist()


def test_a_dark_tumour_does_not_wrap_round_in_unsigned_voxels():
    scan = scan_of(np.full(SHAPE, 60, np.uint16))
    image, _ = render(scan, plan_of(scan, at(scan, ball(mu_t_hu=-50.0, sigma_t_hu=30.0)))).apply(scan)
    assert image.max() < 200


# --- several tumours, and what is measured ---------------------------------------------------------------------------


def test_tumours_render_in_order_each_on_the_one_before():
    scan = flat_scan(SHAPE)
    dark = at(scan, ball(8.0, mu_t_hu=20.0, sigma_t_hu=0.0))
    bright = at(scan, ball(6.0, mu_t_hu=80.0, sigma_t_hu=0.0), (20.0, 21.0, 29.0))
    over, under = (render(scan, plan_of(scan, *pair)) for pair in ((dark, bright), (bright, dark)))
    both = literal_mask(scan, dark) & literal_mask(scan, bright)
    assert both.any()
    assert (over.apply(scan)[0][both] == 80).all()
    assert (under.apply(scan)[0][both] == 20).all()
    for patch in (over, under):
        image, label = patch.apply(scan)
        np.testing.assert_array_equal(label == 2, literal_mask(scan, dark) | literal_mask(scan, bright))
        assert set(np.unique(image)) == {20, 80, 100}


def test_a_third_tumour_is_rendered_on_what_both_before_it_left():
    scan = flat_scan(SHAPE)
    dark = at(scan, ball(9.0, mu_t_hu=20.0, sigma_t_hu=0.0))
    bright = at(scan, ball(8.0, mu_t_hu=80.0, sigma_t_hu=0.0), (20.0, 21.0, 25.0))
    third = at(scan, ball(1.0, gamma_max_mm=12.0, mass_effect_percent=30.0, mu_t_hu=50.0, sigma_t_hu=0.0))
    image, _ = render(scan, plan_of(scan, dark, bright, third, sigma_p_hu=0.0)).apply(scan)
    deep = ndimage.binary_erosion(literal_mask(scan, bright), iterations=3) & (distance_mm(scan, third) > 3)
    assert deep.sum() > 100
    assert (image[deep] == 80).all()  # the dark one lies below the bright one, also where the third moves them


def test_a_row_that_changes_nothing_is_measured_all_the_same():
    scan = flat_scan(SHAPE)
    tumor = at(scan, ball(8.0))
    first, again = render(scan, plan_of(scan, tumor, tumor)).outcomes
    assert again.volume_mm3 == first.volume_mm3
    assert again.mean_hu == first.mean_hu
    assert again.clipped_fraction == 0


def test_tumours_far_apart_do_not_depend_on_their_order():
    scan = scan_of(np.random.default_rng(2).normal(100, 10, (30, 30, 90)))
    tumors = [
        at(scan, ball(5.0, sigma_c_mm=0.8, mass_effect_percent=30.0, texture_seed=i), (15.0, 15.0, x))
        for i, x in enumerate((20.0, 65.0))
    ]
    assert bits(scan, plan_of(scan, *tumors)) == bits(scan, plan_of(scan, *tumors[::-1]))


def test_an_empty_plan_is_the_healthy_scan(scan):
    image, label = render(scan, plan_of(scan)).apply(scan)
    np.testing.assert_array_equal(image, scan.image.array)
    np.testing.assert_array_equal(label, scan.liver)


def test_outcomes_are_those_of_image_and_label():
    hu = np.random.default_rng(11).normal(100, 10, SHAPE)
    liver = np.indices(SHAPE)[2] < 26
    vessels_at = (slice(None), slice(18, 24), slice(14, 20))
    hu[vessels_at] += 80
    scan = scan_of(hu, (1.0, 0.9, 1.1), liver)
    tumor = at(scan, ball(8.0, half_axes=(7.0, 8.0, 9.0), sigma_c_mm=0.7))
    patch = render(scan, plan_of(scan, tumor))
    image, label = patch.apply(scan)
    here = label == 2
    outcome: Outcome = patch.outcomes[0]
    assert outcome.volume_mm3 == pytest.approx(here.sum() * 0.99, abs=0.001)
    assert outcome.equivalent_radius_mm == pytest.approx((3 * here.sum() * 0.99 / (4 * np.pi)) ** (1 / 3), abs=1e-4)
    assert outcome.mean_hu == pytest.approx(image[here].mean(), abs=1e-3)
    assert outcome.sd_hu == pytest.approx(image[here].std(), abs=1e-3)
    vessels = np.zeros(SHAPE, bool)
    vessels[scan.roi] = scan.vessels
    assert outcome.vessel_overlap == pytest.approx(vessels[here].mean(), abs=1e-4)
    assert 0.05 < outcome.vessel_overlap < 0.5
    full = literal_mask(scan, tumor)
    np.testing.assert_array_equal(here, full & liver)
    assert outcome.clipped_fraction == pytest.approx(1 - here.sum() / full.sum(), abs=1e-4)


def test_a_tumour_off_the_liver_leaves_no_label():
    liver = np.indices(SHAPE)[2] < 10
    scan = scan_of(np.full(SHAPE, 100.0), liver=liver)
    patch = render(scan, plan_of(scan, at(scan, ball(6.0), (20.0, 20.0, 35.0))))
    outcome = patch.outcomes[0]
    assert outcome.volume_mm3 == 0
    assert np.isnan(outcome.mean_hu)
    assert np.isnan(outcome.sd_hu)
    assert outcome.clipped_fraction == 1.0
    np.testing.assert_array_equal(patch.apply(scan)[0], scan.image.array)


def test_geometry_of_a_plan_is_compared_within_header_rounding():
    scan = flat_scan(SHAPE, (0.7, 0.7, 0.7))
    plan = plan_of(scan, at(scan, ball()))
    plan.check_fits(
        Geometry(SHAPE, (float(np.float32(0.7)), 0.7, 0.7)), plan.source_image_sha256, plan.source_mask_sha256
    )


def test_label_and_blended_image_agree_on_thick_slices():
    # The label is where at least half of a voxel is tumour, and the hard-edged blend weight is that very fraction.
    scan = flat_scan((13, 51, 51), THICK)
    tumor = at(scan, ball(12.0, half_axes=(10.0, 12.0, 14.0), sigma_t_hu=0.0, mu_t_hu=0.0))
    image, label = render(scan, plan_of(scan, tumor)).apply(scan)
    np.testing.assert_array_equal(label == 2, 1 - image / 100 >= 0.5)
    partial = np.unique(image)
    assert partial.size > 3  # thick slices have partial volumes
