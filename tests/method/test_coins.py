"""Texture model `published`: mean, range and grain of the coins as they are described, and the scan's own noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import COINS, THICK, at, ball, distance_mm, flat_scan, plan_of, scan_of
from scipy import ndimage

from tumorgen.method.body import tumor_grid
from tumorgen.method.coins import coins_hu, gaussian_rows, mean_above
from tumorgen.method.plan import Tumor
from tumorgen.method.rendering import render
from tumorgen.method.shape import Grid, grid_around

MU_P = 110.0
ROW = ball(20.0, mu_t_hu=MU_P - 0.525 * 100, **COINS)  # it takes 100 HU off where the texture is 1
BLURS = [(3.0, 3.0), (9.0, 4.0), (15.0, 4.0), (9.0, 6.5), (15.0, 8.0)]


def cube_of(half_mm: float, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Grid:
    """Voxels around a voxel's centre, up to `half_mm` from it."""
    return grid_around((40.0, 41.0, 42.0), (-half_mm,) * 3, (half_mm,) * 3, spacing)


def textures(row: Tumor, grid: Grid, seeds: int) -> np.ndarray:
    """Textures (seed, z, y, x) of a row, about one half in the mean."""
    return np.stack([coins_hu(replace(row, texture_seed=seed), grid, MU_P) for seed in range(seeds)]) / -100


def literal(clump: float, blur: float, seed: int, voxels: int = 150) -> np.ndarray:
    """The description word for word, in voxels of 1 mm; its noise is 4 standard deviations from its mean at 0 and 1.

    That is about how far the extremes of a scan's volume lie; a small volume's lie nearer.
    """
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.random((voxels,) * 3), clump, mode="wrap")
    sd = np.sqrt(1 / 12 / (8 * np.pi**1.5 * clump**3))
    chance = 0.05 + 0.2 * (0.5 + (noise - 0.5) / (8 * sd)).clip(0, 1)
    coins = (rng.random(chance.shape) < chance).astype(float)
    blurred = ndimage.gaussian_filter(coins, blur, mode="wrap")
    return (blurred * 0.525 / blurred[blurred > 0.12].mean()).clip(0, 1)


@pytest.fixture(scope="module", params=BLURS, ids=str)
def both(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Textures of a clump and a blur, and what the description has."""
    clump, blur = request.param
    ours = textures(replace(ROW, clump_mm=clump, grain_mm=blur), cube_of(45), 8)
    return ours, np.stack([literal(clump, blur, seed) for seed in range(3)])


def test_mean_and_deviation_are_the_literal_ones(both):
    ours, theirs = both
    # Volumes like these hold some hundreds of independent values at the coarsest grain.
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.02)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.15)
    assert ours.min() > 0.1
    assert ours.max() <= 1


def test_the_grain_is_the_literal_one(both):
    ours, theirs = both
    for axis in (1, 2, 3):
        for lag in (2, 5):
            found, expected = (correlation(some, axis, lag) for some in (ours, theirs))
            assert found == pytest.approx(expected, abs=0.03)


def correlation(drawn: np.ndarray, axis: int, lag: int) -> float:
    """Correlation of voxels `lag` apart along an axis."""
    n = drawn.shape[axis]
    return float(
        np.corrcoef(*(np.take(drawn, np.arange(*ends), axis).ravel() for ends in ((0, n - lag), (lag, n))))[0, 1]
    )


@pytest.mark.parametrize(("clump", "blur"), BLURS)
def test_the_level_is_the_mean_of_what_is_above(clump, blur):
    row = replace(ROW, clump_mm=clump, grain_mm=blur)
    found = textures(row, cube_of(45), 12)
    coins = found / 0.525 * mean_above(row, blur)
    assert found[coins > 0.12].mean() == pytest.approx(0.525, abs=0.01)


def test_mean_above_without_any_spread_is_the_mean():
    still = replace(ROW, chance_span=0.0, least_chance=0.15, grain_mm=20.0)
    assert mean_above(still, 20.0) == pytest.approx(0.15, abs=1e-4)


def test_what_is_taken_off_grows_with_the_contrast_alone():
    grid = cube_of(20)
    deep = replace(ROW, mu_t_hu=MU_P + 2 * (ROW.mu_t_hu - MU_P))
    np.testing.assert_allclose(coins_hu(deep, grid, MU_P), 2 * coins_hu(ROW, grid, MU_P), rtol=1e-6)


def test_no_more_is_taken_off_than_the_texture_at_1():
    full = replace(ROW, texture_level=0.9, mu_t_hu=MU_P - 0.9 * 100)
    taken = -coins_hu(full, cube_of(40), MU_P)
    assert taken.max() == pytest.approx(100, abs=1e-3)
    assert (taken > 100 - 1e-3).mean() == pytest.approx(0.2, abs=0.15)  # where the coins are a ninth above their mean


def test_the_same_tumour_at_1_mm_and_at_3_mm():
    fine, coarse = (coins_hu(ROW, cube_of(30, spacing), MU_P) for spacing in ((1.0, 1.0, 1.0), (3.0, 3.0, 3.0)))
    middle, (n, m) = coarse.shape[0] // 2, (fine.shape[0] // 2, coarse.shape[0] // 2)
    reach = min(n // 3, middle)
    there = slice(n - 3 * reach, n + 3 * reach + 1, 3)
    here = slice(m - reach, m + reach + 1)
    np.testing.assert_allclose(coarse[here, here, here], fine[there, there, there], atol=1e-3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), THICK], ids=["1 mm", "5 mm slices"])
def test_texture_is_that_of_its_seed_and_nothing_else(spacing):
    grid = cube_of(15, spacing)
    first = coins_hu(ROW, grid, MU_P)
    assert first.shape == grid.shape
    np.testing.assert_array_equal(first, coins_hu(replace(ROW, shape_seed=77, eta=1.1), grid, MU_P))
    assert not np.array_equal(first, coins_hu(replace(ROW, texture_seed=3), grid, MU_P))
    part = (slice(1, 4), slice(2, 9), slice(0, 7))
    np.testing.assert_allclose(coins_hu(ROW, grid.part(part), MU_P), first[part], atol=1e-3)  # offsets are rounded


def test_texture_does_not_depend_on_where_the_scan_ends():
    scan = flat_scan((60, 60, 60))
    rows = [at(scan, replace(ROW, radius_mm=8.0, half_axis_z_mm=8.0), index) for index in ((30, 30, 30), (1, 2, 0))]
    first, second = (coins_hu(row, tumor_grid(row, scan.geometry), MU_P) for row in rows)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("order", [1, 2])
def test_rows_keep_a_constant_or_the_variance(order):
    operator, points = gaussian_rows(np.linspace(-3.3, 4.7, 23), 1.7, order)
    matrix = operator.checked().toarray().astype(np.float64)
    assert matrix.shape == (23, len(points))
    np.testing.assert_allclose((matrix**order).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(matrix @ np.array(points) / matrix.sum(axis=1), np.linspace(-3.3, 4.7, 23), atol=0.02)


def test_the_scan_keeps_its_noise():
    """Two scans that differ in noise alone differ in it inside the tumour, too."""
    noise = np.random.default_rng(5).normal(0, 12, (60, 60, 60)).astype(np.float32)
    smooth, noisy = scan_of(np.full(noise.shape, MU_P, np.float32)), scan_of(MU_P + noise)
    row = at(smooth, replace(ROW, sigma_c_mm=1.5, sigma_e_mm=2.0))
    images = [render(scan, plan_of(scan, row, mu_p_hu=MU_P)).apply(scan) for scan in (smooth, noisy)]
    np.testing.assert_allclose(images[1][0] - images[0][0], noise, atol=1e-3)
    inside = distance_mm(smooth, row) < 10
    assert (images[0][0][inside] < MU_P - 20).all()
    np.testing.assert_array_equal(images[0][1], images[1][1])
