"""A tumour by itself: its edge and its capsule (Eq. 6 to 8) against literal computations."""

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
    literal_mask,
    plan_of,
    scan_of,
)
from scipy import ndimage

from tumorgen.errors import TumorgenError
from tumorgen.method.rendering import render

SHAPE = (41, 43, 45)


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


@pytest.mark.parametrize(("low", "high", "sigma_d"), [(0.4, 0.7, 0.8), (0.2, 0.9, 1.5), (0.0, 0.9, 1.5)])
def test_capsule_is_equations_6_to_8(low, high, sigma_d):
    scan = flat_scan(SHAPE)
    bare = at(scan, ball(9.0, half_axes=(8.0, 9.0, 10.4), sigma_c_mm=1.1, sigma_t_hu=0.0))
    capsule = {"capsule_hu": 120.0, "capsule_low": low, "capsule_high": high, "sigma_d_mm": sigma_d}
    soft = ndimage.gaussian_filter(literal_mask(scan, bare).astype(np.float64), 1.1, truncate=3.0)
    edge = (soft >= low) & (soft <= high) & (soft > 0)  # Eq. 6; where there is no t'', there is no edge
    blurred = ndimage.gaussian_filter(edge.astype(np.float64), sigma_d, truncate=3.0)  # Eq. 7
    added = 120 * blurred  # Eq. 8
    without, with_rim = (
        render(scan, plan_of(scan, t)).apply(scan)[0].astype(np.float64) for t in (bare, replace(bare, **capsule))
    )
    np.testing.assert_allclose(with_rim - without, added, atol=0.02)  # float32
    assert edge.sum() > 500
    assert added.max() > 50


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
