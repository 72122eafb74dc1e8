"""How a lesion looks: a blurred disc of known contrast, edge and noise measures what it was made of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage, special

from tumorgen.realism.appearance import (
    GREY_STEP_HU,
    PROFILE_MM,
    WIDTH_OF_SIGMA,
    Appearance,
    measure_appearance,
    quantize_grey,
    signed_distance_mm,
)
from tumorgen.realism.lesions import find_lesions

SPACINGS = {"1 mm": (1.0, 1.0, 1.0), "5 mm slices": (5.0, 0.8, 0.8)}
LIVER_HU, RADIUS_MM, SIDE_MM, HEIGHT_MM = 100.0, 9.0, 90.0, 40.0


def disc(
    spacing_mm=(1.0, 1.0, 1.0), *, contrast_hu=-45.0, sigma_mm=1.2, noise_sd=0.0, grain=0.8, radius_mm=RADIUS_MM
) -> tuple[np.ndarray, np.ndarray]:
    """A disc that goes through all slices of a liver, its edge an error function of `sigma_mm`; the scan, the label."""
    shape = tuple(round(mm / s) for mm, s in zip((HEIGHT_MM, SIDE_MM, SIDE_MM), spacing_mm, strict=True))
    y, x = (np.arange(n) * s - n // 2 * s for n, s in zip(shape[1:], spacing_mm[1:], strict=True))
    distance = np.hypot(y[:, None], x) - radius_mm
    tissue = LIVER_HU + contrast_hu * special.ndtr(-distance / sigma_mm)
    noise = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal(shape), (0, grain, grain))
    labels = np.where(distance <= 0, 2, 1).astype(np.uint8) * np.ones((shape[0], 1, 1), np.uint8)
    return tissue + noise * noise_sd / noise.std(), labels


def measure(hu: np.ndarray, labels: np.ndarray, spacing_mm=(1.0, 1.0, 1.0), lesion: int = 0) -> Appearance:
    found = find_lesions(labels, spacing_mm).lesions
    return measure_appearance(hu, labels, found[lesion], spacing_mm)


@pytest.fixture(params=SPACINGS.values(), ids=SPACINGS.keys())
def spacing_mm(request):
    return request.param


def test_contrast_is_that_of_the_disc(spacing_mm):
    found = measure(*disc(spacing_mm, noise_sd=12.0), spacing_mm)
    assert found.parenchyma_hu == pytest.approx(LIVER_HU, abs=1)  # a few thousand voxels of noise
    assert found.parenchyma_sd_hu == pytest.approx(12, rel=0.05)  # 0.3 % of a normal distribution lies beyond 3 SD
    assert found.core_contrast_hu == pytest.approx(-45, abs=2)  # at 2 mm depth the edge has come to 95 %
    assert found.contrast_over_sd == pytest.approx(found.contrast_hu / found.parenchyma_sd_hu)
    assert found.reason == ""


def test_contrast_of_the_label_is_less_than_the_core_s_by_what_the_edge_takes():
    hu, labels = disc()
    found = measure(hu, labels)
    assert found.contrast_hu == pytest.approx(hu[labels == 2].mean() - LIVER_HU, abs=GREY_STEP_HU)
    assert found.core_contrast_hu < found.contrast_hu < 0


@pytest.mark.parametrize("sigma_mm", [0.8, 1.2, 2.0])
def test_edge_has_the_width_and_place_that_were_drawn(spacing_mm, sigma_mm):
    found = measure(*disc(spacing_mm, sigma_mm=sigma_mm, noise_sd=5.0), spacing_mm)
    assert found.edge_width_mm == pytest.approx(WIDTH_OF_SIGMA * sigma_mm, abs=0.4)  # bins of 0.5 mm widen it a little
    assert found.edge_middle_mm == pytest.approx(0, abs=0.2)


def test_label_inside_the_edge_moves_its_middle_outwards():
    hu, _ = disc(radius_mm=10.0)
    _, labels = disc(radius_mm=9.0)
    assert measure(hu, labels).edge_middle_mm == pytest.approx(1, abs=0.2)


def test_an_outline_that_is_moved_to_the_edge_measures_what_an_exact_label_does(spacing_mm):
    hu, exact = disc(spacing_mm, radius_mm=10.0, noise_sd=8.0)
    _, inside = disc(spacing_mm, radius_mm=9.0)
    (lesion,) = find_lesions(inside, spacing_mm).lesions
    moved, straight = measure_appearance(hu, inside, lesion, spacing_mm, outward_mm=1.0), measure(hu, exact, spacing_mm)
    assert moved.edge_middle_mm == pytest.approx(straight.edge_middle_mm, abs=0.3)
    assert moved.contrast_hu == pytest.approx(straight.contrast_hu, abs=2)
    assert moved.outside_hu == pytest.approx(straight.outside_hu, abs=3)  # 15 HU a mm, of outlines between voxels


def test_disc_without_a_rim_has_none_and_a_bright_ring_is_one(spacing_mm):
    hu, labels = disc(spacing_mm)
    distance = signed_distance_mm(labels == 2, spacing_mm)
    plain, ringed = (
        measure(each, labels, spacing_mm) for each in (hu, hu + 60 * np.exp(-((distance - 1) ** 2) / (2 * 0.8**2)))
    )
    assert plain.rim_hu == pytest.approx(0, abs=1.5)
    assert 20 < ringed.rim_hu < 60
    assert ringed.rim_over_contrast == pytest.approx(ringed.rim_hu / abs(ringed.core_contrast_hu))
    assert plain.outside_hu < 0 < ringed.outside_hu


def test_noise_that_goes_on_unchanged_has_no_difference_and_ratios_of_one(spacing_mm):
    found = measure(*disc(spacing_mm, noise_sd=12.0, sigma_mm=0.4), spacing_mm)
    assert found.lag1 == pytest.approx(0, abs=0.05)
    assert found.sd_ratio == pytest.approx(1, abs=0.08)
    assert found.high_sd_ratio == pytest.approx(1, abs=0.08)
    assert found.low_sd_ratio == pytest.approx(1, abs=0.25)  # of a smooth field a disc has few independent values


def test_smoother_noise_inside_shows_as_lag_and_as_missing_high_frequencies(spacing_mm):
    hu, labels = disc(spacing_mm, noise_sd=12.0, sigma_mm=0.4)
    coarse, _ = disc(spacing_mm, noise_sd=12.0, sigma_mm=0.4, grain=2.5)
    found = measure(np.where(labels == 2, coarse, hu), labels, spacing_mm)
    assert found.lag1 > 0.15
    assert found.high_sd_ratio < 0.7
    assert found.low_sd_ratio > 1.3


def test_profile_runs_from_the_disc_to_the_parenchyma():
    profile = np.array(measure(*disc()).profile_hu)
    assert len(profile) == len(PROFILE_MM)
    expected = -45 * special.ndtr(-np.array(PROFILE_MM) / 1.2)
    known = np.isfinite(profile)
    assert known.sum() >= 20  # at 1 mm not every bin of half a millimetre has voxels
    np.testing.assert_allclose(profile[known], expected[known], atol=4.5)  # a bin's voxels lie up to 0.25 mm off it


def test_other_tumours_and_what_is_no_liver_do_not_count():
    hu, labels = disc()
    crowded, filled = hu.copy(), labels.copy()
    filled[:, 40:50, 60:70] = 2  # 15 to 25 mm from the middle: within the ring of the disc
    crowded[:, 40:50, 60:70] = 20
    filled[:, 20:30, 30:60] = 0  # a hole in the mask, with what it was made for in it
    crowded[:, 20:30, 30:60] = -100
    alone, among = measure(hu, labels), measure(crowded, filled)
    assert among.parenchyma_hu == pytest.approx(alone.parenchyma_hu, abs=0.5)
    assert among.core_contrast_hu == pytest.approx(alone.core_contrast_hu, abs=0.5)


def test_distances_lie_half_a_voxel_off_the_outline_in_the_plane():
    mask = np.zeros((3, 9, 9), bool)
    mask[1, 3:6, 3:6] = True
    distance = signed_distance_mm(mask, (5.0, 0.8, 0.8))
    np.testing.assert_allclose(distance[1, 4], [2.0, 1.2, 0.4, -0.4, -1.2, -0.4, 0.4, 1.2, 2.0], atol=1e-6)


def test_grey_levels_are_those_of_eight_bits_in_the_window_of_the_liver():
    levels = quantize_grey(np.arange(-2000, 2000))
    assert len(np.unique(levels)) == 256
    assert (levels.min(), levels.max()) == (-160, 240)
    np.testing.assert_allclose(quantize_grey(levels), levels)  # a scan that has them keeps them
    assert np.abs(levels[2000:2200] - np.arange(200)).max() <= GREY_STEP_HU / 2 + 1e-9


def test_lesion_without_liver_around_it_is_not_measured():
    hu, labels = disc()
    labels[labels == 1] = 0
    found = measure(hu, labels)
    assert found.reason == "fewer than 50 voxels of parenchyma around it"
    assert math.isnan(found.contrast_hu)
    assert math.isnan(found.rim_hu)


def test_clipped_lesion_is_not_measured():
    hu, labels = disc(contrast_hu=-400.0)
    assert measure(hu, labels).reason == "clipped at -160 or 240 HU"


def test_tiny_lesion_has_a_contrast_but_no_noise():
    hu, labels = disc(radius_mm=9.0)
    labels = np.ones_like(labels)
    labels[20, 43:48, 43:48] = 2
    found = measure(hu, labels)
    assert math.isnan(found.lag1)
    assert math.isnan(found.sd_ratio)
    assert math.isfinite(found.contrast_hu)
    assert found.reason == "fewer than 12 voxels well inside"
