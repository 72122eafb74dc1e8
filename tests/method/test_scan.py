"""Vessels (Eq. 1 and 2), statistics of the parenchyma and the clearance map, against literal computations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import THICK, flat_scan, scan_of
from phantoms import LIVER_HU, LIVER_RADIUS_MM, NOISE_SD, ball_scan, ball_volume
from scipy import ndimage

from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.bulk import median_and_robust_sd
from tumorgen.method.placement import count_clear
from tumorgen.method.scan import (
    digest_voxels,
    load_scan,
    prepare_scan,
    smoothing_sigma,
    sort_by_clearance,
)
from tumorgen.method.settings import Vessels

SPACINGS = [(1.0, 1.0, 1.0), THICK]


@pytest.fixture(scope="module", params=SPACINGS, ids=["1 mm", "5 mm slices"])
def tube(request):
    """The ball with a vessel of 5 mm radius along x, and little noise."""
    return ball_scan(request.param, vessel_radius_mm=5.0, noise_sd=5.0)


def test_vessels_are_what_the_smoothed_scan_has_above_the_mean_by_b(tube):
    # Eq. 1 and 2 literally, in float64 on the whole image: no box, no library code.
    hu = tube.image.array.astype(np.float64)
    sigma_a = 0.5 + 0.025 * 1.4826 * np.median(np.abs(hu[tube.liver] - np.median(hu[tube.liver])))
    sigmas = [max(sigma_a / s, sigma_a) for s in tube.geometry.spacing_mm]
    values = hu[tube.liver]
    spread = 1.4826 * np.median(np.abs(values - np.median(values)))
    threshold = values[np.abs(values - np.median(values)) <= 3 * spread].mean() + 15.0  # outliers left out, as in mu_p
    smooth = ndimage.gaussian_filter(hu, sigmas)
    expected = tube.liver & (smooth > threshold)
    undecided = np.abs(smooth - threshold) < 1e-3  # float32 against float64
    found = np.zeros_like(expected)
    found[tube.roi] = tube.vessels
    assert expected.sum() > 1000
    np.testing.assert_array_equal(found[~undecided], expected[~undecided])


def test_a_tube_is_found_where_it_is(tube):
    z, y, _ = np.meshgrid(
        *[(np.arange(n) - n // 2) * s for n, s in zip(tube.geometry.shape, tube.geometry.spacing_mm, strict=True)],
        indexing="ij",
    )
    from_axis = np.hypot(z, y)[tube.roi]
    liver = tube.liver[tube.roi]
    # The smoothing moves the contour by about half its width; a slice on which the tube ends is 5 mm thick.
    assert tube.vessels[liver & (from_axis <= 3)].mean() > 0.99
    assert tube.vessels[liver & (from_axis > 5 + max(tube.geometry.spacing_mm))].mean() < 1e-3


def test_offset_b_decides(tube):
    volume, liver = tube.image, tube.liver
    found = [prepare_scan(volume, liver, Vessels(offset_hu=b), "b").vessels.sum() for b in (5.0, 15.0, 40.0, 100.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[1] > found[2] > found[3] == 0


@pytest.mark.parametrize("outliers", [0.0, 0.02])
def test_sigma_a_comes_from_a_robust_estimate(outliers):
    rng = np.random.default_rng(0)
    hu = rng.normal(100.0, 20.0, (40, 40, 40)).astype(np.float32)
    hu[rng.random(hu.shape) < outliers] = -900.0
    # Table 1: 0.5 + 0.025 * 20 = 1.0. Two per cent of outliers move the median absolute deviation by 3 %.
    assert scan_of(hu).sigma_a == pytest.approx(1.0, abs=0.03)


def test_robust_statistics_of_a_normal_sample_are_its_own():
    found = median_and_robust_sd(np.random.default_rng(1).normal(7.0, 3.0, 200_000))
    assert found == pytest.approx((7.0, 3.0), rel=0.01)  # 4 errors


@pytest.mark.parametrize(
    ("spacing", "sigma"),
    [
        ((1.0, 1.0, 1.0), (0.9, 0.9, 0.9)),
        ((0.5, 0.75, 0.6), (1.8, 1.2, 1.5)),
        (THICK, (0.9, 1.125, 1.125)),  # mm within the slice; not below sigma_a voxels across it
    ],
)
def test_smoothing_is_in_mm_but_never_below_as_many_voxels(spacing, sigma):
    np.testing.assert_allclose(smoothing_sigma(0.9, Geometry((9, 9, 9), spacing)), sigma, rtol=1e-12)


def test_parenchyma_is_liver_without_vessels(tube):
    hu = tube.image.array[tube.roi][tube.liver[tube.roi] & ~tube.vessels].astype(np.float64)
    hu = hu[np.abs(hu - np.median(hu)) <= 3 * 1.4826 * np.median(np.abs(hu - np.median(hu)))]
    assert tube.mu_p_hu == pytest.approx(hu.mean(), abs=1e-6)
    assert tube.sigma_p_hu == pytest.approx(hu.std(), abs=1e-6)
    # Of the phantom: 100 HU, noise of 5 HU; a vessel's blurred flank stays in the parenchyma, the tails are cut.
    assert tube.mu_p_hu == pytest.approx(LIVER_HU, abs=0.5)
    assert tube.sigma_p_hu == pytest.approx(5.0, rel=0.06)


def test_a_mask_that_spills_over_hardly_changes_the_statistics(scan):
    spilled = ndimage.binary_dilation(scan.liver, iterations=6)  # the phantom's liver ends 5 mm outside its mask
    spilled[:60] = scan.liver[:60]
    spilled[64:] = scan.liver[64:]
    first = scan.image.array[spilled].astype(np.float64)
    assert first.std() > 2 * NOISE_SD
    spilt = prepare_scan(scan.image, spilled, Vessels(), "spilt")
    # The mean of Eq. 2 moves by 2 HU, and with it what passes for a vessel: per cents, where the plain one doubles.
    assert spilt.sigma_p_hu == pytest.approx(scan.sigma_p_hu, rel=0.05)
    assert spilt.mu_p_hu == pytest.approx(scan.mu_p_hu, abs=1.5)


def test_a_mask_one_voxel_too_large_does_not_make_the_liver_a_vessel():
    volume, liver = ball_volume((1.5, 1.5, 1.5), noise_sd=10.0)
    shell = ndimage.binary_dilation(liver) & ~liver
    shell[: len(shell) // 2] = False  # lung lies above a liver; all around it would be more than a mask may have
    hu = np.where(shell, -1000, volume.array).astype(np.int16)
    scan = prepare_scan(Volume(hu, volume.geometry), liver | shell, Vessels(), "lung")
    # 0.3 % of this phantom's noise passes for vessels where the mask is right.
    assert scan.vessels.sum() < 0.05 * liver.sum()


@pytest.mark.parametrize("spacing", [*SPACINGS, (2.0, 1.1, 0.6)])
def test_clearance_is_the_distance_to_the_nearest_vessel(spacing):
    rng = np.random.default_rng(3)
    liver = rng.random((18, 22, 25)) < 0.7
    vessels = liver & (rng.random(liver.shape) < 0.003)
    candidates, clearance = sort_by_clearance(liver, vessels, spacing)
    exact = ndimage.distance_transform_edt(~vessels, sampling=spacing)
    np.testing.assert_allclose(clearance, exact.ravel()[candidates], rtol=1e-5)  # float32
    assert (np.diff(clearance) <= 0).all()
    np.testing.assert_array_equal(np.sort(candidates), np.flatnonzero(liver))
    ties = np.diff(clearance) == 0
    assert ties.any()
    assert (np.diff(candidates)[ties] > 0).all()


def test_clearance_of_a_scan_reaches_across_its_box(tube):
    vessels = np.zeros(tube.liver.shape, bool)
    vessels[tube.roi] = tube.vessels
    exact = ndimage.distance_transform_edt(~vessels, sampling=tube.geometry.spacing_mm)
    for pick in (0, 17, tube.candidates.size // 2, tube.candidates.size - 1):
        voxel = tube.voxel(pick)
        assert tube.liver[voxel]
        assert tube.clearance_mm[pick] == pytest.approx(exact[voxel], rel=1e-5)


def test_no_vessel_leaves_every_place_free():
    scan = ball_scan((3.0, 3.0, 3.0), noise_sd=3.0)
    assert not scan.vessels.any()
    assert np.isposinf(scan.clearance_mm).all()
    assert count_clear(scan, 32.0) == scan.candidates.size == scan.liver.sum()


def test_all_vessel_leaves_no_place_free():
    volume, liver = ball_volume((3.0, 3.0, 3.0))
    scan = prepare_scan(volume, liver, Vessels(offset_hu=-500.0), "red")
    assert scan.vessels.sum() == liver.sum()
    assert count_clear(scan, 0.5) == 0
    assert scan.mu_p_hu == pytest.approx(LIVER_HU, abs=1)  # measured on the whole liver then
    assert scan.sigma_p_hu == pytest.approx(NOISE_SD, rel=0.05)


@pytest.mark.parametrize("radius", [1.0, 2.0, 2.5])
def test_a_vessel_exactly_at_r_is_within_r(radius):
    liver = np.ones((1, 1, 9), bool)
    vessels = np.zeros_like(liver)
    vessels[..., 0] = True
    candidates, clearance = sort_by_clearance(liver, vessels, (1.0, 1.0, 1.0))
    scan = flat_scan((1, 1, 9)).knowing(by_clearance=(candidates, clearance))
    assert count_clear(scan, radius) == 9 - 1 - int(radius)


def test_the_box_holds_liver_and_filter_support(any_scan):
    outside = np.ones(any_scan.liver.shape, bool)
    outside[any_scan.roi] = False
    assert not any_scan.liver[outside].any()
    reach = [round(LIVER_RADIUS_MM / s + 4 * max(0.875 / s, 0.875)) for s in any_scan.geometry.spacing_mm]
    for box, n, r in zip(any_scan.roi, any_scan.geometry.shape, reach, strict=True):
        assert box.start <= max(0, n // 2 - r + 2)
        assert box.stop >= min(n, n // 2 + r - 1)


def test_a_liver_that_fills_the_scan():
    scan = flat_scan((7, 8, 9))
    assert scan.roi == (slice(0, 7), slice(0, 8), slice(0, 9))
    assert (scan.mu_p_hu, scan.sigma_p_hu, scan.sigma_a) == (100.0, 0.0, 0.5)


@pytest.mark.parametrize("hu", [-600.0, -51.0, 301.0, 1100.0])
def test_values_that_are_not_hu_are_refused(hu):
    with pytest.raises(TumorgenError, match="the mask is wrong, or the values are not HU"):
        scan_of(np.full((5, 5, 5), hu))


@pytest.mark.parametrize("liver", [np.zeros((5, 5, 5), bool), np.ones((5, 5, 4), bool)])
def test_a_mask_that_is_empty_or_of_another_shape_is_refused(liver):
    with pytest.raises(TumorgenError, match="is empty or has another shape than the image"):
        scan_of(np.full((5, 5, 5), 100.0), liver=liver)


ARRAY = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
PLACE = Geometry((2, 3, 4), (1.0, 0.7, 0.7))


@pytest.mark.parametrize(
    ("array", "geometry"),
    [
        (np.where(ARRAY == 5, 6, ARRAY).astype(np.int16), PLACE),
        (ARRAY.astype(np.int32), PLACE),
        (ARRAY.reshape(3, 2, 4), replace(PLACE, shape=(3, 2, 4))),
        (ARRAY, replace(PLACE, spacing_mm=(1.0, 0.7, 0.70001))),
        (ARRAY, replace(PLACE, origin_mm=(0.0, 0.0, 1.0))),
        (ARRAY, replace(PLACE, direction=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))),
    ],
    ids=["voxel", "type", "shape", "spacing", "origin", "direction"],
)
def test_digest_tells_scans_apart(array, geometry):
    assert digest_voxels(array, geometry) != digest_voxels(ARRAY, PLACE)


@pytest.mark.parametrize(
    "array",
    [ARRAY.copy(), ARRAY.astype(">i2"), np.asfortranarray(ARRAY), np.repeat(ARRAY, 2, axis=2)[..., ::2]],
    ids=["copy", "big-endian", "other order in memory", "not contiguous"],
)
def test_digest_is_of_what_the_voxels_are(array):
    assert digest_voxels(array, PLACE) == digest_voxels(ARRAY, PLACE)


def test_digest_of_geometry_in_numpys_numbers():
    assert digest_voxels(ARRAY, replace(PLACE, spacing_mm=tuple(np.array(PLACE.spacing_mm)))) == digest_voxels(
        ARRAY, PLACE
    )


def test_files_are_loaded_and_checked_against_each_other(tmp_path):
    volume, liver = ball_volume((4.0, 4.0, 4.0))
    write_volume(volume, tmp_path / "case_7_0000.nii.gz")
    write_volume(Volume(liver, volume.geometry), tmp_path / "mask.nii.gz")
    shifted = replace(volume.geometry, origin_mm=(-65.0, -60.0, 30.0))
    write_volume(Volume(liver, shifted), tmp_path / "shifted.nii.gz")
    scan = load_scan(tmp_path / "case_7_0000.nii.gz", tmp_path / "mask.nii.gz")
    assert scan.case == "case_7"
    np.testing.assert_array_equal(scan.liver, liver)
    np.testing.assert_array_equal(scan.image.array, volume.array)
    with pytest.raises(TumorgenError, match=r"shifted\.nii\.gz: does not fit .*5\.00 mm apart"):
        load_scan(tmp_path / "case_7_0000.nii.gz", tmp_path / "shifted.nii.gz")
    write_volume(Volume(~liver & (volume.array < -500), volume.geometry), tmp_path / "air.nii.gz")
    with pytest.raises(TumorgenError, match=r"case_7_0000\.nii\.gz: the mean in the liver mask is -1000"):
        load_scan(tmp_path / "case_7_0000.nii.gz", tmp_path / "air.nii.gz")
