"""The mass effect: the box it moves, where voxels are read from (Eq. 5), what counts as noise, anatomy and labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import (
    THICK,
    at,
    ball,
    distance_mm,
    flat_scan,
    gamma_prime,
    literal_level,
    offsets_mm,
    plan_of,
    scan_of,
)
from phantoms import ball_volume

from tumorgen.method.mass_effect import Pull, noise_of, pull_factor, squared_slope
from tumorgen.method.plan import Tumor
from tumorgen.method.rendering import render
from tumorgen.method.scan import Scan, prepare_scan
from tumorgen.method.settings import Vessels

SPACING = (1.6, 0.8, 1.1)


@pytest.mark.parametrize("center", [(15.0, 22.0, 20.0), (14.7, 21.6, 20.2), (0.0, 43.0, 38.9)], ids=str)
def test_voxels_within_gamma_max_are_read_from_where_equation_5_says(center):
    scan = flat_scan((30, 44, 40), SPACING)
    tumor = at(scan, ball(7.0, mass_effect_percent=40.0), center)
    pull = Pull.of(tumor, scan.geometry)
    whole = np.zeros(scan.geometry.shape, bool)
    whole[pull.box] = pull.moving
    gamma = distance_mm(scan, tumor)
    clear = np.abs(gamma - tumor.gamma_max_mm) > 1e-4  # float32
    np.testing.assert_array_equal(whole[clear], (gamma < tumor.gamma_max_mm)[clear])
    factor = pull_factor(gamma[whole] ** 2, tumor.gamma_max_mm, 40.0)
    for axis, offsets in enumerate(offsets_mm(scan, tumor)):
        expected = center[axis] + offsets[whole] * factor / SPACING[axis] - pull.box[axis].start
        np.testing.assert_allclose(pull.source[axis], expected, atol=2e-4)  # mm are rounded in a row, indices float32


@pytest.mark.parametrize("without", ["mass_effect_percent", "gamma_max_mm"])
def test_without_it_nothing_moves(without):
    scan = flat_scan((30, 44, 40), SPACING)
    pull = Pull.of(at(scan, ball(7.0, **{"mass_effect_percent": 40.0, without: 0.0})), scan.geometry)
    assert not pull.moving.any()
    assert pull.source.shape == (3, 0)


@pytest.mark.parametrize("shape", [(6, 7, 8), (1, 7, 8), (2, 2, 2), (1, 1, 1)])
def test_squared_slope_is_numpys_gradient(shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    along = [np.gradient(values, axis=axis) for axis in range(3) if shape[axis] > 1]
    np.testing.assert_allclose(squared_slope(values), np.sum(np.square(along), axis=0), rtol=1e-5, atol=1e-6)


def test_white_noise_is_noise_and_a_step_is_not():
    hu = np.random.default_rng(0).normal(100, 10, (24, 24, 24)).astype(np.float32)
    noise = noise_of(hu, 10.0)
    assert noise.std() > 9.0
    hu[:, :, 12:] += 400
    step = noise_of(hu, 10.0)
    assert np.abs(step[:, :, 11:13]).max() < 1.0
    np.testing.assert_array_equal(step[:, :, :6], noise[:, :, :6])


def test_no_noise_where_there_is_none():
    assert not noise_of(np.full((5, 5, 5), 70, np.float32), 0.0).any()


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
    scan = scan_of(rng.normal(100, 10, (41, 43, 45)))
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
